//! Commit 44562c71e2cf, "mm/vmalloc: Enter lazy mmu mode while manipulating vmalloc ptes" (6.16), before
//! fea18c686320: where a page cannot be mapped, the loop returns without leaving the section, and with the
//! hooks of b9ef323ea168 preemption stays off for good. A table that cannot be allocated is no such case: that
//! is found out before enter.

use super::Mainline616Fixed;
use crate::kernel::Linux;
use crate::lazy_mmu::{LazyMmuPolicy, VmallocWalk};
use crate::mm::Mm;
use emu_core::{Ctx, Run};

/// Policy `mainline-6.16`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mainline616;

impl LazyMmuPolicy for Mainline616 {
    fn name(&self) -> &'static str {
        "mainline-6.16"
    }

    fn origin(&self) -> &'static str {
        "commit 44562c71e2cf, \"mm/vmalloc: Enter lazy mmu mode while manipulating vmalloc ptes\" \
         (6.16), over b9ef323ea168"
    }

    fn about(&self) -> &'static str {
        "vmalloc and vfree enter a lazy section for each PTE table, with preemption off inside \
         it. A page that cannot be mapped ends the loop without leave: the batch stays active \
         and one preempt count leaks."
    }

    fn vmalloc_walk(&self) -> VmallocWalk {
        VmallocWalk::OpenCodedLazy
    }

    fn enter(&self, linux: &Linux, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        Mainline616Fixed.enter(linux, cx, mm)
    }

    fn leave(&self, linux: &Linux, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        Mainline616Fixed.leave(linux, cx, mm)
    }

    fn mapping_failed(&self, _: &Linux, _: &mut Ctx<'_>) -> Run<()> {
        Ok(())
    }
}
