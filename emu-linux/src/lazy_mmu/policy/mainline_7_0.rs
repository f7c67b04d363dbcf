//! Commits 0a096ab7a3a6, 5ab246749569 and 313a05a15a1b (7.0; Kevin Brodsky, "Nesting support for lazy MMU
//! mode"): two counters in the task, enable_count and pause_count, decide. The hook of powerpc runs when the
//! first section is enabled and the last is disabled, and keeps preemption off as since b9ef323ea168;
//! hpte_need_flush asks the task, not the batch. The switch code is gone (58852f24f956).

use crate::kernel::Linux;
use crate::lazy_mmu::{LazyMmuPolicy, VmallocWalk};
use crate::memmap::{batch, field, task};
use crate::mm::Mm;
use emu_core::{Ctx, Run};
use emu_mmu::Ea;

/// Policy `mainline-7.0`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mainline70;

impl LazyMmuPolicy for Mainline70 {
    fn name(&self) -> &'static str {
        "mainline-7.0"
    }

    fn origin(&self) -> &'static str {
        "commits 0a096ab7a3a6, 5ab246749569 and 313a05a15a1b, \"Nesting support for lazy MMU \
         mode\" (7.0)"
    }

    fn about(&self) -> &'static str {
        "Counters in the task say whether it is inside a lazy section, so sections nest and can \
         be paused; preemption is off from the first enable to the last disable. vmalloc and \
         vfree have a section for each PTE table."
    }

    fn vmalloc_walk(&self) -> VmallocWalk {
        VmallocWalk::OpenCodedLazy
    }

    /// Generic enable.
    fn enter(&self, linux: &Linux, cx: &mut Ctx<'_>, _mm: Mm) -> Run<()> {
        if ignored(linux, cx)? {
            return Ok(());
        }
        let before = load(linux, cx, task::LAZY_ENABLE_COUNT)?;
        store(linux, cx, task::LAZY_ENABLE_COUNT, before.saturating_add(1))?;
        if before == 0 {
            linux.preempt_disable(cx)?;
        }
        Ok(())
    }

    /// Generic disable. Leaving an inner section flushes too.
    fn leave(&self, linux: &Linux, cx: &mut Ctx<'_>, _mm: Mm) -> Run<()> {
        if ignored(linux, cx)? {
            return Ok(());
        }
        let before = load(linux, cx, task::LAZY_ENABLE_COUNT)?;
        store(linux, cx, task::LAZY_ENABLE_COUNT, before.saturating_sub(1))?;
        flush(linux, cx)?;
        if before == 1 {
            linux.preempt_enable(cx)?;
        }
        Ok(())
    }

    fn batch_active(&self, linux: &Linux, cx: &mut Ctx<'_>, _: Ea, _: Mm) -> Run<bool> {
        Ok(!ignored(linux, cx)? && load(linux, cx, task::LAZY_ENABLE_COUNT)? > 0)
    }
}

impl Mainline70 {
    /// Generic pause: until [`resume`](Self::resume) updates are flushed at once and enable and disable do
    /// nothing. Pauses nest.
    ///
    /// # Errors
    /// The end of the run.
    pub fn pause(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        if linux.in_interrupt(cx)? {
            return Ok(());
        }
        let before = load(linux, cx, task::LAZY_PAUSE_COUNT)?;
        store(linux, cx, task::LAZY_PAUSE_COUNT, before.saturating_add(1))?;
        if before == 0 && load(linux, cx, task::LAZY_ENABLE_COUNT)? > 0 {
            flush(linux, cx)?;
            linux.preempt_enable(cx)?;
        }
        Ok(())
    }

    /// Generic resume.
    ///
    /// # Errors
    /// The end of the run.
    pub fn resume(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        if linux.in_interrupt(cx)? {
            return Ok(());
        }
        let before = load(linux, cx, task::LAZY_PAUSE_COUNT)?;
        store(linux, cx, task::LAZY_PAUSE_COUNT, before.saturating_sub(1))?;
        if before == 1 && load(linux, cx, task::LAZY_ENABLE_COUNT)? > 0 {
            linux.preempt_disable(cx)?;
        }
        Ok(())
    }
}

/// In interrupt, or paused: enable and disable do nothing.
fn ignored(linux: &Linux, cx: &mut Ctx<'_>) -> Run<bool> {
    Ok(linux.in_interrupt(cx)? || load(linux, cx, task::LAZY_PAUSE_COUNT)? > 0)
}

fn load(linux: &Linux, cx: &mut Ctx<'_>, counter: u64) -> Run<u8> {
    cx.load_u8(field(linux.current(cx), counter), "lazy_mmu_state")
}

fn store(linux: &Linux, cx: &mut Ctx<'_>, counter: u64, value: u8) -> Run<()> {
    cx.store_u8(field(linux.current(cx), counter), value, "lazy_mmu_state")
}

/// arch_flush_lazy_mmu_mode(): what this CPU's batch holds. Preemption is off.
fn flush(linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
    let b = linux.this_cpu_batch(cx, "arch_flush_lazy_mmu_mode")?;
    if cx.load_u64(field(b, batch::INDEX), "arch_flush_lazy_mmu_mode: index")? != 0 {
        linux.flush_tlb_pending(cx, b)?;
    }
    Ok(())
}
