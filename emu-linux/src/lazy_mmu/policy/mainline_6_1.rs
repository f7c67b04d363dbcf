//! Commit b9ef323ea168, "powerpc/64s: Disable preemption in hash lazy mmu mode" (Nicholas Piggin, October
//! 2022): enter disables preemption, leave flushes and enables it. vmalloc does not use lazy sections.

use crate::kernel::Linux;
use crate::lazy_mmu::{LazyMmuPolicy, VmallocWalk, flush_and_clear_active, set_active};
use crate::mm::Mm;
use emu_core::{Ctx, Run};

/// Policy `mainline-6.1`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mainline61;

impl LazyMmuPolicy for Mainline61 {
    fn name(&self) -> &'static str {
        "mainline-6.1"
    }

    fn origin(&self) -> &'static str {
        "commit b9ef323ea168, \"powerpc/64s: Disable preemption in hash lazy mmu mode\" (6.1)"
    }

    fn about(&self) -> &'static str {
        "Preemption is off between enter and leave, on hash only. vmalloc and vfree do not use \
         lazy sections, so every hashed page of theirs is flushed alone."
    }

    fn vmalloc_walk(&self) -> VmallocWalk {
        VmallocWalk::OpenCoded
    }

    fn enter(&self, linux: &Linux, cx: &mut Ctx<'_>, _mm: Mm) -> Run<()> {
        linux.preempt_disable(cx)?;
        set_active(linux, cx)
    }

    fn leave(&self, linux: &Linux, cx: &mut Ctx<'_>, _mm: Mm) -> Run<()> {
        flush_and_clear_active(linux, cx)?;
        linux.preempt_enable(cx)
    }
}
