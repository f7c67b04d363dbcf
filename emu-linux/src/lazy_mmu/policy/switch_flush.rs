//! Commit d6bf29b44ddf, "powerpc: mmu_gather rework" (Peter Zijlstra, May 2011, 3.0-rc1), option 3 of the
//! thread: `__switch_to` flushes the batch of a task that is switched out inside a lazy section, notes that
//! in TLF_LAZY_MMU, and makes the batch active again where the task goes on. Enter, leave and the flush keep
//! their plain accessors, so a switch between their steps still goes wrong.

use crate::kernel::Linux;
use crate::lazy_mmu::LazyMmuPolicy;
use crate::memmap::{TLF_LAZY_MMU, batch, field, task};
use emu_core::{Ctx, Run};

/// Policy `switch-flush`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SwitchFlush;

impl LazyMmuPolicy for SwitchFlush {
    fn name(&self) -> &'static str {
        "switch-flush"
    }

    fn origin(&self) -> &'static str {
        "commit d6bf29b44ddf, \"powerpc: mmu_gather rework\" (3.0); option 3 of March 2011"
    }

    fn about(&self) -> &'static str {
        "A task switched out inside a lazy section has its batch flushed, and gets an active one \
         again where it goes on. Enter, leave and the flush look this CPU's batch up while \
         preemptible, so each can be torn between its steps."
    }

    fn switch_out(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        flush_at_switch_out(linux, cx)
    }

    fn switch_in(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        reactivate_at_switch_in(linux, cx)
    }
}

/// The outgoing half: if this CPU's batch is active, sets TLF_LAZY_MMU on `current`, flushes what is queued,
/// active = 0.
///
/// # Errors
/// The end of the run.
pub fn flush_at_switch_out(linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
    let b = linux.this_cpu_batch(cx, "__switch_to")?;
    if cx.load_u64(field(b, batch::ACTIVE), "__switch_to: active")? == 0 {
        return Ok(());
    }
    let ea = field(linux.current(cx), task::LOCAL_FLAGS);
    let flags = cx.load_u64(ea, "__switch_to: local_flags")?;
    cx.store_u64(ea, flags | TLF_LAZY_MMU, "__switch_to: set TLF_LAZY_MMU")?;
    if cx.load_u64(field(b, batch::INDEX), "__switch_to: index")? != 0 {
        linux.flush_tlb_pending(cx, b)?;
    }
    cx.store_u64(field(b, batch::ACTIVE), 0, "__switch_to: active = 0")
}

/// The incoming half: if `current` has TLF_LAZY_MMU, clears it and makes this CPU's batch active.
///
/// # Errors
/// The end of the run.
pub fn reactivate_at_switch_in(linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
    let ea = field(linux.current(cx), task::LOCAL_FLAGS);
    let flags = cx.load_u64(ea, "__switch_to: local_flags")?;
    if flags & TLF_LAZY_MMU == 0 {
        return Ok(());
    }
    cx.store_u64(ea, flags & !TLF_LAZY_MMU, "__switch_to: clear TLF_LAZY_MMU")?;
    let b = linux.this_cpu_batch(cx, "__switch_to")?;
    cx.store_u64(field(b, batch::ACTIVE), 1, "__switch_to: active = 1")
}
