//! The mmotm of March 2011, as posted: Jeremy Fitzhardinge, "Add apply_to_page_range_batch() and use it",
//! 15 December 2010 and 24 January 2011, on v2.6.38. vmalloc and vfree go through lazy sections on
//! kernel page tables, which have no lock, and the hooks do nothing about preemption. Nothing flushes
//! the batch at a context switch.

use crate::lazy_mmu::LazyMmuPolicy;

/// Policy `mmotm`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mmotm;

impl LazyMmuPolicy for Mmotm {
    fn name(&self) -> &'static str {
        "mmotm"
    }

    fn origin(&self) -> &'static str {
        "Jeremy Fitzhardinge, \"Add apply_to_page_range_batch() and use it\", 24 January 2011 \
         (mmotm of March 2011)"
    }

    fn about(&self) -> &'static str {
        "vmalloc and vfree update kernel page tables in lazy sections without a lock. The hooks \
         look up this CPU's batch while preemptible, and a switch leaves the batch as it is: \
         the state that printed six reports at swapon and swapoff."
    }
}
