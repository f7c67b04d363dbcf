//! The -rt tree of 2011, where the switch-out flush comes from: page-table locks sleep there, so a section
//! under one can be switched out, and `__switch_to` flushes its batch. Modelled as far as kernel sections go:
//! apply_to_pte_range holds a sleeping lock, and its holder stays preemptible. A task that finds it taken
//! yields and tries again; there is no priority inheritance, and other spinlocks keep preemption off.

use super::switch_flush::{flush_at_switch_out, reactivate_at_switch_in};
use crate::kernel::Linux;
use crate::lazy_mmu::LazyMmuPolicy;
use crate::memmap::global;
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
         accessors and the races of switch-flush."
    }

    fn kernel_section_begin(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        linux.sleeping_lock(cx, global::SLEEPING_PTL)
    }

    fn kernel_section_end(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        linux.sleeping_unlock(cx, global::SLEEPING_PTL)
    }

    fn switch_out(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        flush_at_switch_out(linux, cx)
    }

    fn switch_in(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        reactivate_at_switch_in(linux, cx)
    }
}
