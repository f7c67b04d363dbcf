//! Option 4 of the thread in its naive form: only hpte_need_flush knows that the PTE is init_mm's and flushes
//! it at once. Enter and leave still look a batch up while preemptible and mark it active, which is harmless
//! to init_mm and not to the next task that runs on that CPU and updates its own page tables.

use crate::kernel::Linux;
use crate::lazy_mmu::LazyMmuPolicy;
use crate::memmap::{batch, field};
use crate::mm::Mm;
use emu_core::{Ctx, Run};
use emu_mmu::Ea;

/// Policy `no-power-batch-naive`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPowerBatchNaive;

impl LazyMmuPolicy for NoPowerBatchNaive {
    fn name(&self) -> &'static str {
        "no-power-batch-naive"
    }

    fn origin(&self) -> &'static str {
        "\"mmotm threatens ppc preemption again\", LKML, March 2011 (option 4, by a test in \
         hpte_need_flush alone)"
    }

    fn about(&self) -> &'static str {
        "hpte_need_flush flushes every page of init_mm at once, but enter and leave still mark a \
         batch active while preemptible: a section switched out inside leaves its flag to \
         whatever task runs there next."
    }

    fn batch_active(&self, _: &Linux, cx: &mut Ctx<'_>, b: Ea, mm: Mm) -> Run<bool> {
        if mm.is_init() {
            return Ok(false);
        }
        Ok(cx.load_u64(field(b, batch::ACTIVE), "hpte_need_flush: active")? != 0)
    }
}
