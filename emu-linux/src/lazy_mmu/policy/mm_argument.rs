//! From the thread of March 2011: the hooks of all architectures take the mm as an argument, and powerpc's
//! return at once for init_mm. On powerpc it does what `no-power-batch` does; what differs is the price,
//! every caller in the tree, and that one with two address spaces has to choose.

use super::NoPowerBatch;
use crate::kernel::Linux;
use crate::lazy_mmu::LazyMmuPolicy;
use crate::mm::Mm;
use emu_core::{Ctx, Run};

/// Policy `mm-argument`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MmArgument;

impl LazyMmuPolicy for MmArgument {
    fn name(&self) -> &'static str {
        "mm-argument"
    }

    fn origin(&self) -> &'static str {
        "\"mmotm threatens ppc preemption again\", LKML, March 2011: pass the mm to the hooks"
    }

    fn about(&self) -> &'static str {
        "Enter and leave are told the mm, and powerpc ignores init_mm: no per-CPU state is \
         touched, preemption stays on, every kernel page is flushed alone. A change of every \
         caller in the tree."
    }

    fn enter(&self, linux: &Linux, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        NoPowerBatch.enter(linux, cx, mm)
    }

    fn leave(&self, linux: &Linux, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        NoPowerBatch.leave(linux, cx, mm)
    }
}
