//! The same workaround with the test first: preemption goes off only once there is a table. This is the
//! form that commit a8a93f3f03b7 ("mm: disable preemption in apply_to_pte_range", February 2009) had,
//! before 252a6bf2a3a7 took it out again.

use crate::kernel::Linux;
use crate::lazy_mmu::LazyMmuPolicy;
use emu_core::{Ctx, Run};

/// Policy `hugh-preempt-fixed`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HughPreemptFixed;

impl LazyMmuPolicy for HughPreemptFixed {
    fn name(&self) -> &'static str {
        "hugh-preempt-fixed"
    }

    fn origin(&self) -> &'static str {
        "commit a8a93f3f03b7 (2009), the order that the workaround of March 2011 missed"
    }

    fn about(&self) -> &'static str {
        "Preemption is off in apply_to_pte_range for init_mm, from the test of the allocation \
         to after leave, for up to 512 PTEs and three flushes, on every architecture."
    }

    fn kernel_section_begin(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        linux.preempt_disable(cx)
    }

    fn kernel_section_end(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        linux.preempt_enable(cx)
    }
}
