//! preempt_disable and friends, spinlocks, interrupt state, get_cpu_var: the kernel's own words for
//! keeping others out.
//!
//! Owns preempt_count and lock words in guest memory. Refuses to decide who runs next (`sched`).

use crate::config::Preempt;
use crate::functions::Func;
use crate::kernel::Linux;
use crate::kernel_path::LOCK_WAIT;
use crate::leaks::Hold;
use crate::memmap::{self, TIF_NEED_RESCHED, field, global, task};
use crate::tracepoint::Tracepoint;
use emu_core::{CpuId, Ctx, Exception, Run, Step};
use emu_mmu::{Barrier, Ea};

/// What one preempt_disable adds.
pub(crate) const PREEMPT_OFFSET: u64 = 1;
/// What an interrupt handler adds.
pub(crate) const HARDIRQ_OFFSET: u64 = 0x1_0000;
/// Set while preemption itself runs the scheduler.
pub(crate) const PREEMPT_ACTIVE: u64 = 0x1000_0000;

impl Linux {
    /// The running task (`current`).
    #[inline]
    pub(crate) fn current(&self, cx: &Ctx<'_>) -> Ea {
        Ea::new(cx.local())
    }

    #[inline(always)]
    pub(crate) fn preempt_count(&self, cx: &mut Ctx<'_>) -> Run<u64> {
        cx.load_u64(
            field(self.current(cx), task::PREEMPT_COUNT),
            "preempt_count",
        )
    }

    /// Adds to preempt_count.
    pub(crate) fn add_preempt_count(&self, cx: &mut Ctx<'_>, n: u64) -> Run<()> {
        let ea = field(self.current(cx), task::PREEMPT_COUNT);
        let steps = ["add_preempt_count: load", "add_preempt_count: store"];
        let count = cx.update_u64(ea, steps, |_, count| count.wrapping_add(n))?;
        if count == 0 && self.preempt.preempts_kernel() {
            cx.begin_span();
        }
        if n == PREEMPT_OFFSET {
            self.note_hold(cx, Hold::PreemptOff);
        }
        Ok(())
    }

    /// Subtracts from preempt_count and gives what is left.
    pub(crate) fn sub_preempt_count(&self, cx: &mut Ctx<'_>, n: u64) -> Run<u64> {
        let ea = field(self.current(cx), task::PREEMPT_COUNT);
        let steps = ["sub_preempt_count: load", "sub_preempt_count: store"];
        let count = cx.update_u64(ea, steps, |cx, count| {
            let left = count.wrapping_sub(n);
            if left == 0 {
                self.note_preempt_on(cx);
            }
            left
        })?;
        let left = count.wrapping_sub(n);
        if n == PREEMPT_OFFSET {
            self.note_hold(cx, Hold::PreemptOn);
        }
        Ok(left)
    }

    /// preempt_disable(). Nothing where the kernel cannot be preempted, as the two after it.
    pub fn preempt_disable(&self, cx: &mut Ctx<'_>) -> Run<()> {
        if self.preempt == Preempt::None {
            return Ok(());
        }
        self.add_preempt_count(cx, PREEMPT_OFFSET)
    }

    /// preempt_enable(): the scheduler runs here if it was asked to meanwhile.
    pub fn preempt_enable(&self, cx: &mut Ctx<'_>) -> Run<()> {
        if self.preempt == Preempt::None {
            return Ok(());
        }
        let left = self.sub_preempt_count(cx, PREEMPT_OFFSET)?;
        if left == 0 && self.need_resched(cx)? && cx.interrupts_enabled() {
            self.preempt_schedule(cx)?;
        }
        Ok(())
    }

    /// preempt_enable_no_resched().
    pub(crate) fn preempt_enable_no_resched(&self, cx: &mut Ctx<'_>) -> Run<()> {
        if self.preempt == Preempt::None {
            return Ok(());
        }
        self.sub_preempt_count(cx, PREEMPT_OFFSET).map(|_| ())
    }

    pub(crate) fn need_resched(&self, cx: &mut Ctx<'_>) -> Run<bool> {
        let flags = cx.load_u64(field(self.current(cx), task::FLAGS), "need_resched")?;
        Ok(flags & TIF_NEED_RESCHED != 0)
    }

    /// local_irq_save(): gives what was.
    pub fn local_irq_save(&self, cx: &mut Ctx<'_>) -> Run<bool> {
        cx.set_interrupts(false)
    }

    /// local_irq_restore().
    pub fn local_irq_restore(&self, cx: &mut Ctx<'_>, enabled: bool) -> Run<()> {
        if enabled {
            cx.set_interrupts(true)?;
        }
        Ok(())
    }

    /// Takes a lock word without touching preempt_count. The word is the task that took it, so that one
    /// which waits for itself is told (CONFIG_DEBUG_SPINLOCK) and ends the run: it would spin for ever.
    pub(crate) fn raw_lock(&self, cx: &mut Ctx<'_>, lock: Ea, step: Step) -> Run<()> {
        cx.in_path(LOCK_WAIT, |cx| self.raw_lock_loop(cx, lock, step))
    }

    fn raw_lock_loop(&self, cx: &mut Ctx<'_>, lock: Ea, step: Step) -> Run<()> {
        self.work(cx, Func::SpinLock)?;
        let owner = cx.local();
        loop {
            let take = |held| (held == 0).then_some(owner);
            let (held, taken) = cx.exchange_u64(lock, [step; 2], take)?;
            if taken {
                return cx.barrier(Barrier::Isync, step);
            }
            if held == owner {
                self.report_spinlock_recursion(cx, lock)?;
                return Err(Exception::Corrupt("a task waits for a spinlock of its own"));
            }
            while cx.load_u64(lock, step)? != 0 {
                cx.spin(step)?;
            }
        }
    }

    pub(crate) fn raw_unlock(&self, cx: &mut Ctx<'_>, lock: Ea, step: Step) -> Run<()> {
        self.work(cx, Func::SpinUnlock)?;
        cx.barrier(Barrier::Lwsync, step)?;
        cx.store_u64(lock, 0, step)
    }

    /// spin_lock().
    pub fn spin_lock(&self, cx: &mut Ctx<'_>, lock: Ea) -> Run<()> {
        if self.spinlock_sleeps(lock) {
            return self.rt_spin_lock(cx, lock);
        }
        self.preempt_disable(cx)?;
        self.raw_lock(cx, lock, "spin_lock")?;
        self.note_hold(cx, Hold::Lock(lock));
        self.trace(cx, Tracepoint::LockAcquired { lock: lock.get() });
        Ok(())
    }

    /// spin_unlock().
    pub fn spin_unlock(&self, cx: &mut Ctx<'_>, lock: Ea) -> Run<()> {
        if self.spinlock_sleeps(lock) {
            return self.rt_spin_unlock(cx, lock);
        }
        self.trace(cx, Tracepoint::LockReleased { lock: lock.get() });
        self.note_hold(cx, Hold::Unlock(lock));
        self.raw_unlock(cx, lock, "spin_unlock")?;
        self.preempt_enable(cx)
    }

    /// in_interrupt(): this is an interrupt handler, which borrows the task it interrupted.
    pub(crate) fn in_interrupt(&self, cx: &mut Ctx<'_>) -> Run<bool> {
        Ok(self.preempt_count(cx)? & (PREEMPT_ACTIVE - HARDIRQ_OFFSET) != 0)
    }

    /// Takes a lock whose holder stays preemptible and may sleep: a task that finds it taken yields.
    pub(crate) fn sleeping_lock(&self, cx: &mut Ctx<'_>, lock: Ea) -> Run<()> {
        cx.in_path(LOCK_WAIT, |cx| self.sleeping_lock_loop(cx, lock))
    }

    fn sleeping_lock_loop(&self, cx: &mut Ctx<'_>, lock: Ea) -> Run<()> {
        self.work(cx, Func::SpinLock)?;
        loop {
            while cx.load_u64(lock, "rt_spin_lock: taken?")? != 0 {
                cx.spin("rt_spin_lock: taken?")?;
                self.yield_once(cx)?;
            }
            if cx.load_reserve(lock, "rt_spin_lock")? == 0
                && cx.store_conditional(lock, 1, "rt_spin_lock")?
            {
                self.note_hold(cx, Hold::Lock(lock));
                return cx.barrier(Barrier::Isync, "rt_spin_lock");
            }
        }
    }

    /// Gives it back.
    pub(crate) fn sleeping_unlock(&self, cx: &mut Ctx<'_>, lock: Ea) -> Run<()> {
        self.note_hold(cx, Hold::Unlock(lock));
        self.raw_unlock(cx, lock, "rt_spin_unlock")
    }

    /// smp_processor_id() of a CONFIG_DEBUG_PREEMPT kernel: the CPU's number, and a report if the caller
    /// could be moved to another CPU. `function` names the caller. Without preemption just the number.
    pub fn smp_processor_id(&self, cx: &mut Ctx<'_>, function: &'static str) -> Run<CpuId> {
        if self.preempt == Preempt::None {
            self.work(cx, Func::SmpProcessorId)?;
            return cx.read_cpu_id("smp_processor_id");
        }
        self.work(cx, Func::DebugSmpProcessorId)?;
        let cpu = cx.read_cpu_id("debug_smp_processor_id: this_cpu")?;
        let current = self.current(cx);
        let step = "debug_smp_processor_id";
        let interrupts_enabled = cx.interrupts_enabled();
        let (count, allowed) = match self.preempt {
            Preempt::Rt => (
                self.preempt_count(cx)?,
                self.cpus_allowed(cx, current, step)?,
            ),
            Preempt::None | Preempt::Full => {
                let fields = [task::PREEMPT_COUNT, task::CPUS_ALLOWED].map(|of| field(current, of));
                let [count, allowed] = cx.load_u64s(fields, ["preempt_count", step])?;
                (count, allowed)
            }
        };
        let pinned = self.pinned_for_debug(allowed, cpu);
        let running = cx.load_u64(global::SYSTEM_STATE, "debug_smp_processor_id")? == 1;
        let preempt_count = count as u32;
        self.trace(
            cx,
            Tracepoint::PerCpuLookup {
                function,
                preempt_count,
                interrupts_enabled,
                pinned,
                running,
            },
        );
        if preempt_count == 0 && interrupts_enabled && !pinned && running {
            self.report_preemptible(cx)?;
        }
        Ok(cpu)
    }

    /// Condition 3 of debug_smp_processor_id: the allowed mask is exactly this CPU. 6.1 asks for a
    /// per-CPU kernel thread or disabled migration instead; a task that is bound to one CPU counts as that.
    fn pinned_for_debug(&self, allowed: u64, cpu: CpuId) -> bool {
        allowed == 1 << cpu.0
    }

    /// `&__get_cpu_var(x)`: address of this CPU's copy, checked but not protected.
    pub fn this_cpu(&self, cx: &mut Ctx<'_>, offset: u64, function: &'static str) -> Run<Ea> {
        let cpu = self.smp_processor_id(cx, function)?;
        Ok(field(memmap::percpu(cpu.0), offset))
    }
}
