//! What commit d6bf29b44ddf (3.0) lacks to be sound: enter is one step and leave is one step as seen by the
//! scheduler, each with preemption off, and the range flush uses the batch that its caller holds. Between
//! them a section stays preemptible, and a switch flushes it.

use super::switch_flush::{flush_at_switch_out, reactivate_at_switch_in};
use crate::kernel::Linux;
use crate::lazy_mmu::{LazyMmuPolicy, flush_and_clear_active, set_active};
use crate::mm::Mm;
use emu_core::{Ctx, Run};
use emu_mmu::Ea;

/// Policy `switch-flush-sound`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SwitchFlushSound;

impl LazyMmuPolicy for SwitchFlushSound {
    fn name(&self) -> &'static str {
        "switch-flush-sound"
    }

    fn origin(&self) -> &'static str {
        "commit d6bf29b44ddf (3.0), with enter, leave and the range flush made safe; never posted"
    }

    fn about(&self) -> &'static str {
        "As switch-flush, and enter and leave are each run with preemption off, and the range \
         flush takes its caller's batch. A section can be preempted between any two PTEs; its \
         batch is cut there."
    }

    fn enter(&self, linux: &Linux, cx: &mut Ctx<'_>, _mm: Mm) -> Run<()> {
        linux.preempt_disable(cx)?;
        set_active(linux, cx)?;
        linux.preempt_enable(cx)
    }

    fn leave(&self, linux: &Linux, cx: &mut Ctx<'_>, _mm: Mm) -> Run<()> {
        linux.preempt_disable(cx)?;
        flush_and_clear_active(linux, cx)?;
        linux.preempt_enable(cx)
    }

    fn flush_range_batch(&self, _: &Linux, _: &mut Ctx<'_>, callers: Ea) -> Run<Ea> {
        Ok(callers)
    }

    fn switch_out(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        flush_at_switch_out(linux, cx)
    }

    fn switch_in(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        reactivate_at_switch_in(linux, cx)
    }
}
