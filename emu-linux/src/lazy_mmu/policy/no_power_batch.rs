//! Option 4 of the thread, by accessor: powerpc never batches init_mm. The hooks of a kernel section do
//! nothing at all, so no per-CPU state is touched and every hashed page is flushed at once.

use crate::kernel::Linux;
use crate::lazy_mmu::{LazyMmuPolicy, flush_and_clear_active, set_active};
use crate::mm::Mm;
use emu_core::{Ctx, Run};

/// Policy `no-power-batch`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPowerBatch;

impl LazyMmuPolicy for NoPowerBatch {
    fn name(&self) -> &'static str {
        "no-power-batch"
    }

    fn origin(&self) -> &'static str {
        "Benjamin Herrenschmidt, \"mmotm threatens ppc preemption again\", LKML, March 2011 \
         (option 4)"
    }

    fn about(&self) -> &'static str {
        "On powerpc the hooks of a section on init_mm do nothing: no per-CPU state is touched, \
         preemption stays on, and every kernel page is flushed alone, as before batching."
    }

    fn enter(&self, linux: &Linux, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        if mm.is_init() {
            Ok(())
        } else {
            set_active(linux, cx)
        }
    }

    fn leave(&self, linux: &Linux, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        if mm.is_init() {
            Ok(())
        } else {
            flush_and_clear_active(linux, cx)
        }
    }
}
