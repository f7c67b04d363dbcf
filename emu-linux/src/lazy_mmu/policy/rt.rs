//! The -rt tree of 2011, where the switch-out flush comes from: page-table locks sleep there, so a section
//! under one can be switched out, and `__switch_to` flushes its batch. With `--preempt rt` every section holds
//! its page-table lock, and that lock sleeps. On other kernels only the sections of apply_to_pte_range are as
//! there: they hold a sleeping lock of their own, while all spinlocks still keep preemption off.

use super::switch_flush::{flush_at_switch_out, reactivate_at_switch_in};
use crate::config::Preempt;
use crate::kernel::Linux;
use crate::lazy_mmu::LazyMmuPolicy;
use crate::memmap::global;
use crate::mm::Mm;
use emu_core::{Ctx, Run};

/// Policy `rt`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rt;

impl LazyMmuPolicy for Rt {
    fn name(&self) -> &'static str {
        "rt"
    }

    fn origin(&self) -> &'static str {
        "the -rt tree of 2011: sleeping page-table locks and the switch-out flush that commit \
         d6bf29b44ddf took over"
    }

    fn about(&self) -> &'static str {
        "Kernel sections hold a lock that sleeps, so they exclude each other and can still be \
         preempted; a switch flushes their batch. Enter, leave and the flush have the plain \
         accessors and the races of switch-flush. With --preempt rt the sections of user page tables \
         are like that too; on other kernels they keep preemption off."
    }

    fn kernel_section_begin(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        match linux.preempt {
            Preempt::Rt => linux.spin_lock(cx, Mm::INIT.page_table_lock()),
            Preempt::None | Preempt::Full => linux.sleeping_lock(cx, global::SLEEPING_PTL),
        }
    }

    fn kernel_section_end(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        match linux.preempt {
            Preempt::Rt => linux.spin_unlock(cx, Mm::INIT.page_table_lock()),
            Preempt::None | Preempt::Full => linux.sleeping_unlock(cx, global::SLEEPING_PTL),
        }
    }

    fn switch_out(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        flush_at_switch_out(linux, cx)
    }

    fn switch_in(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        reactivate_at_switch_in(linux, cx)
    }
}
