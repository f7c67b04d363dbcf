//! Locks of a CONFIG_PREEMPT_RT kernel: spinlocks that sleep, migrate_disable, local locks.
//!
//! Owns what differs from `sync` there. Which locks stay raw is decided here, as their declarations decide it in
//! the kernel: the run queues' (taken as raw words anyway), native_tlbie_lock, and the lock of the free stacks,
//! which finish_task_switch takes and a real kernel puts off to RCU. pSeries_lpar_tlbie_lock is a plain spinlock in
//! 2.6.38 and in 6.1, so it sleeps. There is no priority inheritance: who finds a lock taken yields and tries again.
//!
//! rt_spin_lock keeps the owner from being moved in 6.1; the -rt tree of early 2011 had no migrate_disable.

use crate::config::{KernelVersion, Preempt};
use crate::functions::Func;
use crate::kernel::Linux;
use crate::layout::pa;
use crate::leaks::Hold;
use crate::memmap::{field, global, pcpu, percpu, task};
use crate::reports::AtomicContext;
use crate::tracepoint::Tracepoint;
use emu_core::{Ctx, Exception, Run};
use emu_mmu::{Barrier, Ea};

/// Locks that spin although the kernel is preemptible throughout.
const RAW: [Ea; 2] = [global::NATIVE_TLBIE_LOCK, global::TASKLIST_LOCK];

impl Linux {
    /// True if this spinlock sleeps in the modelled kernel.
    pub(crate) fn spinlock_sleeps(&self, lock: Ea) -> bool {
        self.preempt == Preempt::Rt && !RAW.contains(&lock)
    }

    /// rt_spin_lock().
    pub(crate) fn rt_spin_lock(&self, cx: &mut Ctx<'_>, lock: Ea) -> Run<()> {
        self.rt_might_sleep(cx)?;
        self.work(cx, Func::SpinLock)?;
        let owner = cx.local();
        loop {
            let held = cx.load_reserve(lock, "rt_spin_lock")?;
            if held == 0 && cx.store_conditional(lock, owner, "rt_spin_lock")? {
                break;
            }
            if held == owner {
                return Err(Exception::Corrupt("a task sleeps on a lock of its own"));
            }
            cx.spin("rt_spin_lock: taken")?;
            // What starts the first tasks is no task yet; nobody else waits for its CPU.
            if !self.is_idle_task(cx) {
                self.yield_once(cx)?;
            }
        }
        cx.barrier(Barrier::Isync, "rt_spin_lock")?;
        if self.layout.version == KernelVersion::V6_1 {
            self.migrate_disable(cx)?;
        }
        self.note_hold(cx, Hold::Lock(lock));
        self.trace(cx, Tracepoint::LockAcquired { lock: lock.get() });
        Ok(())
    }

    /// rt_spin_unlock().
    pub(crate) fn rt_spin_unlock(&self, cx: &mut Ctx<'_>, lock: Ea) -> Run<()> {
        self.trace(cx, Tracepoint::LockReleased { lock: lock.get() });
        self.note_hold(cx, Hold::Unlock(lock));
        if self.layout.version == KernelVersion::V6_1 {
            self.migrate_enable(cx)?;
        }
        self.raw_unlock(cx, lock, "rt_spin_unlock")
    }

    /// spin_lock_irqsave(): interrupts stay on where the lock sleeps. Gives what was.
    pub(crate) fn spin_lock_irqsave(&self, cx: &mut Ctx<'_>, lock: Ea) -> Run<bool> {
        let enabled = !self.spinlock_sleeps(lock) && self.local_irq_save(cx)?;
        self.spin_lock(cx, lock)?;
        Ok(enabled)
    }

    /// spin_unlock_irqrestore().
    pub(crate) fn spin_unlock_irqrestore(
        &self,
        cx: &mut Ctx<'_>,
        lock: Ea,
        enabled: bool,
    ) -> Run<()> {
        self.spin_unlock(cx, lock)?;
        self.local_irq_restore(cx, enabled)
    }

    /// local_lock_irqsave() of the allocators' per-CPU lists: interrupts off, or a lock of this CPU that sleeps,
    /// its owner bound to the CPU. Gives what was.
    #[inline]
    pub(crate) fn local_lock_irqsave(&self, cx: &mut Ctx<'_>) -> Run<bool> {
        if self.preempt != Preempt::Rt {
            return self.local_irq_save(cx);
        }
        self.rt_might_sleep(cx)?;
        self.migrate_disable(cx)?;
        let cpu = cx.read_cpu_id("local_lock: this_cpu")?;
        self.rt_spin_lock(cx, field(percpu(cpu.0), pcpu::LOCAL_LOCK))?;
        Ok(false)
    }

    /// local_unlock_irqrestore().
    #[inline]
    pub(crate) fn local_unlock_irqrestore(&self, cx: &mut Ctx<'_>, enabled: bool) -> Run<()> {
        if self.preempt != Preempt::Rt {
            return self.local_irq_restore(cx, enabled);
        }
        let cpu = cx.read_cpu_id("local_unlock: this_cpu")?;
        self.rt_spin_unlock(cx, field(percpu(cpu.0), pcpu::LOCAL_LOCK))?;
        self.migrate_enable(cx)
    }

    /// migrate_disable(): the running task stays on its CPU until as many migrate_enable()s.
    fn migrate_disable(&self, cx: &mut Ctx<'_>) -> Run<()> {
        self.add_migration_disabled(cx, 1)
    }

    fn migrate_enable(&self, cx: &mut Ctx<'_>) -> Run<()> {
        self.add_migration_disabled(cx, 1u64.wrapping_neg())
    }

    fn add_migration_disabled(&self, cx: &mut Ctx<'_>, n: u64) -> Run<()> {
        let ea = field(self.current(cx), task::MIGRATION_DISABLED);
        let count = cx.load_u64(ea, "migrate_disable: load")?;
        cx.store_u64(ea, count.wrapping_add(n), "migrate_disable: store")
    }

    /// Mask of the CPUs that a task may run on now.
    #[inline(always)]
    pub(crate) fn cpus_allowed(&self, cx: &mut Ctx<'_>, of: Ea, step: emu_core::Step) -> Run<u64> {
        let allowed = cx.load_u64(field(of, task::CPUS_ALLOWED), step)?;
        if self.preempt == Preempt::Rt
            && cx.load_u64(field(of, task::MIGRATION_DISABLED), step)? != 0
        {
            return Ok(1 << (cx.load_u64(field(of, task::CPU), step)? & 63));
        }
        Ok(allowed)
    }

    /// rtlock_might_resched() (6.1), might_sleep() of rt_spin_lock before: a report if the caller may not sleep.
    /// Takes no time unless it reports.
    fn rt_might_sleep(&self, cx: &mut Ctx<'_>) -> Run<()> {
        let at = pa(field(self.current(cx), task::PREEMPT_COUNT));
        let preempt_count = cx.peek_u64(at) as u32;
        let irqs_off = !cx.interrupts_enabled();
        if (preempt_count == 0 && !irqs_off) || self.is_idle_task(cx) {
            return Ok(());
        }
        let place = match self.layout.version {
            KernelVersion::V2_6_38 => "kernel/rtmutex.c:684",
            KernelVersion::V6_1 => "kernel/locking/spinlock_rt.c:46",
        };
        let context = AtomicContext {
            preempt_count,
            irqs_off,
        };
        self.report_sleeping_lock(cx, place, context)
    }

    fn is_idle_task(&self, cx: &Ctx<'_>) -> bool {
        self.current(cx) == field(percpu(cx.cpu_id().0), pcpu::IDLE_TASK)
    }
}
