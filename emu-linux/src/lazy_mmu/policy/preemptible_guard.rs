//! From the thread of March 2011: enter and leave return at once if preemptible(). With CONFIG_PREEMPT
//! kernel sections are preemptible, so init_mm is not batched; sections under a page-table lock are.

use crate::kernel::Linux;
use crate::lazy_mmu::{LazyMmuPolicy, flush_and_clear_active, set_active};
use crate::mm::Mm;
use emu_core::{Ctx, Run};

/// Policy `preemptible-guard`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PreemptibleGuard;

impl LazyMmuPolicy for PreemptibleGuard {
    fn name(&self) -> &'static str {
        "preemptible-guard"
    }

    fn origin(&self) -> &'static str {
        "\"mmotm threatens ppc preemption again\", LKML, March 2011: `if (preemptible()) return` \
         in the hooks"
    }

    fn about(&self) -> &'static str {
        "The hooks return at once when they could be preempted. Sections under a lock batch as \
         before; kernel sections touch no per-CPU state and flush every page alone."
    }

    fn enter(&self, linux: &Linux, cx: &mut Ctx<'_>, _mm: Mm) -> Run<()> {
        if linux.preemptible(cx)? {
            Ok(())
        } else {
            set_active(linux, cx)
        }
    }

    fn leave(&self, linux: &Linux, cx: &mut Ctx<'_>, _mm: Mm) -> Run<()> {
        if linux.preemptible(cx)? {
            Ok(())
        } else {
            flush_and_clear_active(linux, cx)
        }
    }
}
