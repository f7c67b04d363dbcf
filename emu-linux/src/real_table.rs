//! The hash table in real mode: as the kernel reaches it before it has a linear map, and as the hypervisor
//! does.
//!
//! Owns that access. Refuses to say who else may write at the same time: its user does.

use crate::kernel_path::ENTRY_LOCK;
use emu_core::{Ctx, Exception, Run, Step};
use emu_mmu::{Barrier, Ra, TableAccess, TlbInvalidate};

/// The table by real addresses.
pub(crate) struct RealTable<'a, 'y> {
    cx: &'a mut Ctx<'y>,
    /// Nobody else writes: one CPU boots.
    alone: bool,
}

impl<'a, 'y> RealTable<'a, 'y> {
    /// As boot has it on one CPU: with nothing to race with, compare and store is enough.
    pub(crate) fn at_boot(cx: &'a mut Ctx<'y>) -> Self {
        RealTable { cx, alone: true }
    }

    /// Beside other CPUs.
    pub(crate) fn shared(cx: &'a mut Ctx<'y>) -> Self {
        RealTable { cx, alone: false }
    }
}

impl TableAccess for RealTable<'_, '_> {
    type Error = Exception;

    fn load(&mut self, ra: Ra, step: Step) -> Run<u64> {
        self.cx.load_real_u64(ra, step)
    }

    fn store(&mut self, ra: Ra, value: u64, step: Step) -> Run<()> {
        self.cx.store_real_u64(ra, value, step)
    }

    fn compare_exchange(&mut self, ra: Ra, old: u64, new: u64, step: Step) -> Run<bool> {
        if !self.alone {
            return self.cx.in_path(ENTRY_LOCK, |cx| {
                Ok(cx.load_reserve_real(ra, step)? == old
                    && cx.store_conditional_real(ra, new, step)?)
            });
        }
        if self.cx.load_real_u64(ra, step)? != old {
            return Ok(false);
        }
        self.cx.store_real_u64(ra, new, step)?;
        Ok(true)
    }

    fn barrier(&mut self, barrier: Barrier, step: Step) -> Run<()> {
        self.cx.barrier(barrier, step)
    }

    fn tlb_invalidate(&mut self, operand: TlbInvalidate, step: Step) -> Run<()> {
        self.cx.tlb_invalidate(operand, step)
    }

    fn spin(&mut self, step: Step) -> Run<()> {
        self.cx.in_path(ENTRY_LOCK, |cx| cx.spin(step))
    }
}
