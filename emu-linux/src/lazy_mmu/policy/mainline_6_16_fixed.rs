//! Commit 44562c71e2cf, "mm/vmalloc: Enter lazy mmu mode while manipulating vmalloc ptes" (6.16), on top
//! of b9ef323ea168, with fea18c686320 ("mm/vmalloc: leave lazy MMU mode on PTE mapping error")
//! applied: what the series of 2011 wanted, with preemption off inside the hooks.

use crate::kernel::Linux;
use crate::lazy_mmu::{LazyMmuPolicy, VmallocWalk, flush_and_clear_active, set_active};
use crate::mm::Mm;
use emu_core::{Ctx, Run};

/// Policy `mainline-6.16-fixed`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mainline616Fixed;

impl LazyMmuPolicy for Mainline616Fixed {
    fn name(&self) -> &'static str {
        "mainline-6.16-fixed"
    }

    fn origin(&self) -> &'static str {
        "commits 44562c71e2cf and fea18c686320 (6.16) over b9ef323ea168"
    }

    fn about(&self) -> &'static str {
        "vmalloc and vfree enter a lazy section for each PTE table, with preemption off inside \
         it; the section is left on every path, errors included."
    }

    fn vmalloc_walk(&self) -> VmallocWalk {
        VmallocWalk::OpenCodedLazy
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
