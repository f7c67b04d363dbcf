//! v2.6.38 as it was: vmalloc and vfree walk kernel page tables in loops of their own, outside any lazy
//! section, so each hashed page is flushed alone. Option 5 of the thread: keep it so.

use crate::lazy_mmu::{LazyMmuPolicy, VmallocWalk};

/// Policy `no-kernel-batch`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKernelBatch;

impl LazyMmuPolicy for NoKernelBatch {
    fn name(&self) -> &'static str {
        "no-kernel-batch"
    }

    fn origin(&self) -> &'static str {
        "v2.6.38, mm/vmalloc.c"
    }

    fn about(&self) -> &'static str {
        "Kernel page tables are never batched: vmalloc and vfree keep their open-coded loops, \
         and every hashed page costs a tlbie with full barriers of its own."
    }

    fn vmalloc_walk(&self) -> VmallocWalk {
        VmallocWalk::OpenCoded
    }
}
