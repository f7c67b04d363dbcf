//! Option 2 of the thread, "stick a ptl there": apply_to_pte_range takes init_mm.page_table_lock for
//! init_mm, after pte_alloc_kernel, which takes the same lock. Proposed again by Alexander Gordeev,
//! "Fix apply_to_pte_range() vs lazy MMU mode", April 2025, and dropped.

use crate::kernel::Linux;
use crate::lazy_mmu::LazyMmuPolicy;
use crate::mm::Mm;
use emu_core::{Ctx, Run};

/// Policy `apply-ptl`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ApplyPtl;

impl LazyMmuPolicy for ApplyPtl {
    fn name(&self) -> &'static str {
        "apply-ptl"
    }

    fn origin(&self) -> &'static str {
        "Benjamin Herrenschmidt, LKML, March 2011; Alexander Gordeev, \
         cover.1744128123.git.agordeev@linux.ibm.com, April 2025"
    }

    fn about(&self) -> &'static str {
        "init_mm.page_table_lock is held round the lazy section of apply_to_pte_range, taken \
         after the table is allocated. The lock keeps preemption off, serialises all such \
         users, and makes sleeping callbacks illegal."
    }

    fn kernel_section_begin(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        linux.spin_lock(cx, Mm::INIT.page_table_lock())
    }

    fn kernel_section_end(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        linux.spin_unlock(cx, Mm::INIT.page_table_lock())
    }
}
