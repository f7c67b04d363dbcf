//! What the modelled kernel prints: the reports of debug_smp_processor_id and of the scheduler.
//!
//! Owns the way from a check to the log and to the run's list of reports, through printk_ratelimit.
//! Refuses the wording (`printk`) and the addresses (`symbols`).

use crate::config::KernelVersion;
use crate::functions::Func;
use crate::kernel::Linux;
use crate::layout::pa;
use crate::leaks::lock_name;
use crate::memmap::{STACK_BYTES, task};
use crate::printk::{
    Level, reporting_function, scheduling_while_atomic_report, sleeping_lock_report,
    smp_processor_id_report, spinlock_recursion_report, suppressed_line,
};
use crate::report::KernelReport;
use crate::symbols::Backtrace;
use emu_core::{Ctx, Run};
use emu_mmu::Ea;
use std::sync::atomic::Ordering;

/// Timer interrupts of a second.
const HZ: u64 = 250;

/// What keeps a task from sleeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtomicContext {
    pub preempt_count: u32,
    pub irqs_off: bool,
}

impl Linux {
    /// Name and pid of the running task, read without verbs: for reports.
    pub(crate) fn comm_and_pid(&self, cx: &Ctx<'_>) -> (String, u32) {
        let pid = pa(Ea::new(cx.local())) + task::PID;
        let pid = cx.machine().memory().load_u64(pid).unwrap_or(0) as u32;
        (self.comm_of(cx, cx.local()), pid)
    }

    /// Name of a task, read without verbs.
    pub(crate) fn comm_of(&self, cx: &Ctx<'_>, task: u64) -> String {
        let (at, memory) = (pa(Ea::new(task)), cx.machine().memory());
        let comm: Vec<u8> = (0..16)
            .filter_map(|i| memory.load_u8(at + (task::COMM + i)).ok())
            .take_while(|&byte| byte != 0)
            .collect();
        String::from_utf8_lossy(&comm).into_owned()
    }

    /// Prints one line.
    pub(crate) fn printk(&self, cx: &mut Ctx<'_>, level: Level, text: &str) -> Run<()> {
        self.work(cx, Func::Printk)?;
        self.log.lock().push(cx.now(), level, text);
        Ok(())
    }

    /// The report of debug_smp_processor_id, if the rate limit lets it through. Preemption is off while it
    /// prints, and enabled again without a look at need_resched.
    pub(crate) fn report_preemptible(&self, cx: &mut Ctx<'_>) -> Run<()> {
        self.preempt_disable(cx)?;
        // The verdict as one word: it passes in bit 0, and how many were suppressed before, plus one.
        let verdict = cx.beside(&self.kept, |kept, at| {
            let verdict = kept.report_passes(at.now.get());
            let suppressed = verdict.suppressed_before.map_or(0, |n| u64::from(n) + 1);
            u64::from(verdict.allowed) | suppressed << 1
        });
        if let Some(callbacks) = (verdict >> 1).checked_sub(1) {
            let callbacks = callbacks as u32;
            self.printk(
                cx,
                Level::Warning,
                &suppressed_line(reporting_function(self.layout.version), callbacks),
            )?;
        }
        if verdict & 1 != 0 {
            let count = (self.preempt_count(cx)? as u32).wrapping_sub(1);
            let stack = cx.local() + STACK_BYTES;
            let chain = |cx: &Ctx<'_>| self.symbols.backtrace(cx.frames(), stack);
            self.report(cx, chain, |version, cpu, comm, pid, backtrace| {
                smp_processor_id_report(version, cpu, comm, pid, count, backtrace)
            })?;
        } else {
            self.reports_suppressed.fetch_add(1, Ordering::Relaxed);
        }
        self.preempt_enable_no_resched(cx)
    }

    /// `BUG: sleeping function called from invalid context`, at most one a second (`__might_sleep`).
    pub(crate) fn report_sleeping_lock(
        &self,
        cx: &mut Ctx<'_>,
        place: &str,
        context: AtomicContext,
    ) -> Run<()> {
        let second = self.tick_cycles.get().saturating_mul(HZ);
        let passes = cx.beside(&self.kept, move |kept, at| {
            u64::from(kept.sleeping_lock_report_passes(at.now.get(), second))
        });
        if passes == 0 {
            self.reports_suppressed.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.report_bug(cx, |version, cpu, comm, pid, backtrace| {
            sleeping_lock_report(version, cpu, comm, pid, place, context, backtrace)
        })
    }

    /// `BUG: spinlock recursion`.
    pub(crate) fn report_spinlock_recursion(&self, cx: &mut Ctx<'_>, lock: Ea) -> Run<()> {
        let name = lock_name(lock);
        self.report_bug(cx, |version, cpu, comm, pid, backtrace| {
            spinlock_recursion_report(version, cpu, comm, pid, &name, backtrace)
        })
    }

    /// Prints a report with a dumped stack, which no rate limit holds back.
    fn report_bug(
        &self,
        cx: &mut Ctx<'_>,
        lines: impl FnOnce(KernelVersion, u16, &str, u32, &Backtrace) -> Vec<String>,
    ) -> Run<()> {
        let stack = cx.local() + STACK_BYTES;
        let chain = |cx: &Ctx<'_>| self.symbols.dump_stack_backtrace(cx.frames(), stack);
        self.report(cx, chain, lines)
    }

    /// Prints a report and lists it.
    fn report(
        &self,
        cx: &mut Ctx<'_>,
        backtrace: impl FnOnce(&Ctx<'_>) -> Backtrace,
        lines: impl FnOnce(KernelVersion, u16, &str, u32, &Backtrace) -> Vec<String>,
    ) -> Run<()> {
        if !self.keeps_log {
            return self.work(cx, Func::Printk);
        }
        let (comm, pid) = self.comm_and_pid(cx);
        let backtrace = backtrace(cx);
        let lines = lines(self.layout.version, cx.cpu_id().0, &comm, pid, &backtrace);
        self.work(cx, Func::Printk)?;
        self.log.lock().push_report(cx.now(), Level::Err, &lines);
        self.reports
            .lock()
            .push(KernelReport::new(&comm, pid, &lines, &backtrace));
        Ok(())
    }

    /// `BUG: scheduling while atomic`.
    pub(crate) fn report_scheduling_while_atomic(
        &self,
        cx: &mut Ctx<'_>,
        preempt_count: u32,
    ) -> Run<()> {
        let stack = cx.local() + STACK_BYTES;
        let chain = |cx: &Ctx<'_>| self.symbols.schedule_bug_backtrace(cx.frames(), stack);
        self.report(cx, chain, |version, cpu, comm, pid, backtrace| {
            scheduling_while_atomic_report(version, cpu, comm, pid, preempt_count, backtrace)
        })
    }
}
