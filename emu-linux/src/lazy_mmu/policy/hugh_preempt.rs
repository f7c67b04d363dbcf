//! Hugh Dickins, "mmotm threatens ppc preemption again", LKML, 20 March 2011: the workaround as posted.
//! Preemption goes off in apply_to_pte_range for init_mm right after pte_alloc_kernel, before its
//! result is tested: where the table cannot be allocated, the function returns -ENOMEM with
//! preemption off for good.

use crate::kernel::Linux;
use crate::lazy_mmu::LazyMmuPolicy;
use emu_core::{Ctx, Run};

/// Policy `hugh-preempt`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HughPreempt;

impl LazyMmuPolicy for HughPreempt {
    fn name(&self) -> &'static str {
        "hugh-preempt"
    }

    fn origin(&self) -> &'static str {
        "Hugh Dickins, \"mmotm threatens ppc preemption again\", LKML, 20 March 2011, as posted"
    }

    fn about(&self) -> &'static str {
        "Preemption is off in apply_to_pte_range for init_mm, from before the test of the \
         allocation to after leave. A failing page-table allocation leaks one preempt count."
    }

    fn kernel_table_allocated(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        linux.preempt_disable(cx)
    }

    fn kernel_section_end(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        linux.preempt_enable(cx)
    }
}
