//! Option 1 of the thread of March 2011: kernel page tables get a lock that every writer takes, as user
//! page tables have. Here that is init_mm.page_table_lock round each PTE table, in apply_to_pte_range and
//! in vmalloc's own loops; taken after the table is there, because pte_alloc_kernel takes the same lock.

use crate::kernel::Linux;
use crate::lazy_mmu::{LazyMmuPolicy, VmallocWalk};
use crate::mm::Mm;
use emu_core::{Ctx, Run};

/// Policy `kernel-ptl`.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelPtl;

impl LazyMmuPolicy for KernelPtl {
    fn name(&self) -> &'static str {
        "kernel-ptl"
    }

    fn origin(&self) -> &'static str {
        "\"mmotm threatens ppc preemption again\", LKML, March 2011 (option 1: a lock for kernel page \
         tables)"
    }

    fn about(&self) -> &'static str {
        "Every writer of kernel PTEs holds init_mm.page_table_lock, vmalloc's own loops included, \
         which batch under it. The lock keeps preemption off and serialises all of them."
    }

    fn vmalloc_walk(&self) -> VmallocWalk {
        VmallocWalk::OpenCodedLazy
    }

    fn kernel_section_begin(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        linux.spin_lock(cx, Mm::INIT.page_table_lock())
    }

    fn kernel_section_end(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        linux.spin_unlock(cx, Mm::INIT.page_table_lock())
    }

    fn kernel_loop_begin(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        self.kernel_section_begin(linux, cx)
    }

    fn kernel_loop_end(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        self.kernel_section_end(linux, cx)
    }
}
