//! Lazy-MMU policies: the named points where the remedies of 2011 to 2026 differ.
//!
//! Owns the trait, the shipped policies and their list. A policy is guest code: it runs on the emulated
//! CPU, its accesses are verbs, and it can be preempted wherever the real one can. Refuses tables of
//! booleans: what a rule does is what its file does.

mod composed;
pub mod policy;

pub use composed::{PolicyFile, PolicyFileError};

use crate::functions::Func;
use crate::kernel::Linux;
use crate::leaks::Hold;
use crate::memmap::{batch, field};
use crate::mm::Mm;
use crate::tracepoint::Tracepoint;
use emu_core::{Ctx, Run};
use emu_mmu::Ea;

/// How vmalloc maps and unmaps its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmallocWalk {
    /// Open-coded loops, no lazy section (v2.6.38; mainline before 6.16).
    OpenCoded,
    /// Open-coded loops with a lazy section round each PTE table (44562c71e2cf, 6.16).
    OpenCodedLazy,
    /// apply_to_page_range_batch (mmotm of 2011).
    ApplyBatch,
}

/// A rule for lazy-MMU sections, as code at the points where the rules differ. Every method has the
/// behaviour of v2.6.38 and mmotm as its default.
pub trait LazyMmuPolicy: Send + Sync {
    /// Short name, as typed after `--policy`.
    fn name(&self) -> &str;

    /// The mail or commit that it models.
    fn origin(&self) -> &str;

    /// What it does, for a person.
    fn about(&self) -> &str;

    /// How vmalloc walks page tables under this rule.
    fn vmalloc_walk(&self) -> VmallocWalk {
        VmallocWalk::ApplyBatch
    }

    /// arch_enter_lazy_mmu_mode(), before an update of `mm`. The kernel's hook has no argument; a rule that
    /// looks at `mm` models one that would have it.
    ///
    /// # Errors
    /// The end of the run, as for every method.
    fn enter(&self, linux: &Linux, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        let _ = mm;
        set_active(linux, cx)
    }

    /// arch_leave_lazy_mmu_mode().
    ///
    /// # Errors
    /// The end of the run.
    fn leave(&self, linux: &Linux, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        let _ = mm;
        flush_and_clear_active(linux, cx)
    }

    /// The test in hpte_need_flush: queue (true) or flush at once. `b` is this CPU's batch, `mm` the owner
    /// of the changed PTE; preemption is off.
    ///
    /// # Errors
    /// The end of the run.
    fn batch_active(&self, linux: &Linux, cx: &mut Ctx<'_>, b: Ea, mm: Mm) -> Run<bool> {
        let _ = (linux, mm);
        Ok(cx.load_u64(field(b, batch::ACTIVE), "hpte_need_flush: active")? != 0)
    }

    /// Where the range flush gets its batch: looked up again (default), although the caller has it.
    ///
    /// # Errors
    /// The end of the run.
    fn flush_range_batch(&self, linux: &Linux, cx: &mut Ctx<'_>, callers: Ea) -> Run<Ea> {
        let _ = callers;
        linux.this_cpu_batch(cx, linux.range_flush_function())
    }

    /// In `__switch_to`, on the outgoing task, run-queue lock held, interrupts off.
    ///
    /// # Errors
    /// The end of the run.
    fn switch_out(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        let _ = (linux, cx);
        Ok(())
    }

    /// In `__switch_to`, on the incoming task.
    ///
    /// # Errors
    /// The end of the run.
    fn switch_in(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        let _ = (linux, cx);
        Ok(())
    }

    /// In apply_to_pte_range for init_mm, right after pte_alloc_kernel and before its result is tested.
    ///
    /// # Errors
    /// The end of the run.
    fn kernel_table_allocated(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        let _ = (linux, cx);
        Ok(())
    }

    /// In apply_to_pte_range before enter, for init_mm: what the rule takes to keep others out.
    ///
    /// # Errors
    /// The end of the run.
    fn kernel_section_begin(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        let _ = (linux, cx);
        Ok(())
    }

    /// In apply_to_pte_range after leave, for init_mm: gives it back.
    ///
    /// # Errors
    /// The end of the run.
    fn kernel_section_end(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        let _ = (linux, cx);
        Ok(())
    }

    /// In vmalloc's open-coded loops at each PTE table, before its first PTE and before enter if there is
    /// a lazy section: what the rule takes to keep other writers out.
    ///
    /// # Errors
    /// The end of the run.
    fn kernel_loop_begin(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        let _ = (linux, cx);
        Ok(())
    }

    /// The same after the last PTE, or after the first that failed, and after leave: gives it back.
    ///
    /// # Errors
    /// The end of the run.
    fn kernel_loop_end(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        let _ = (linux, cx);
        Ok(())
    }

    /// In vmalloc's open-coded loops, inside a lazy section whose mapping failed: what ends the section.
    /// Default: leave, as on the way without an error.
    ///
    /// # Errors
    /// The end of the run.
    fn mapping_failed(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        linux.lazy_mmu_leave(cx, Mm::INIT)
    }
}

/// Micro-steps E1 and E2: this CPU's batch, then active = 1.
///
/// # Errors
/// The end of the run.
pub fn set_active(linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
    let b = linux.this_cpu_batch(cx, "arch_enter_lazy_mmu_mode")?;
    cx.store_u64(
        field(b, batch::ACTIVE),
        1,
        "arch_enter_lazy_mmu_mode: E2 active = 1",
    )
}

/// Micro-steps L1 to L3: this CPU's batch, flush if anything is queued, active = 0.
///
/// # Errors
/// The end of the run.
pub fn flush_and_clear_active(linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
    let b = linux.this_cpu_batch(cx, "arch_leave_lazy_mmu_mode")?;
    if cx.load_u64(field(b, batch::INDEX), "arch_leave_lazy_mmu_mode: L2 index")? != 0 {
        linux.flush_tlb_pending(cx, b)?;
    }
    cx.store_u64(
        field(b, batch::ACTIVE),
        0,
        "arch_leave_lazy_mmu_mode: L3 active = 0",
    )
}

impl Linux {
    /// arch_enter_lazy_mmu_mode() under the policy.
    pub(crate) fn lazy_mmu_enter(&self, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        cx.at("arch_enter_lazy_mmu_mode");
        self.work(cx, Func::LazyMmuEnter)?;
        self.policy.enter(self, cx, mm)?;
        self.trace(cx, Tracepoint::LazyEnter);
        self.note_hold(cx, Hold::LazyEnter);
        Ok(())
    }

    /// arch_leave_lazy_mmu_mode() under the policy.
    pub(crate) fn lazy_mmu_leave(&self, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        cx.at("arch_leave_lazy_mmu_mode");
        self.work(cx, Func::LazyMmuLeave)?;
        self.policy.leave(self, cx, mm)?;
        self.trace(cx, Tracepoint::LazyLeave);
        self.note_hold(cx, Hold::LazyLeave);
        Ok(())
    }
}
