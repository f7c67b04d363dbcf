//! The scheduler of the modelled kernel: run queues, schedule(), preemption, wake-ups, balancing.
//!
//! Owns which task a CPU runs. Round robin with a slice of one tick stands in for CFS: the order of tasks
//! is not what is studied, where they can be switched is. Refuses task creation (`task`).

use crate::config::Preempt;
use crate::functions::Func;
use crate::kernel::Linux;
use crate::kernel_path::{PREEMPTED, SCHEDULE};
use crate::memmap::{STATE_RUNNING, STATE_SLEEPING, TIF_NEED_RESCHED, field, pcpu, percpu, task};
use crate::sync::PREEMPT_ACTIVE;
use crate::tracepoint::Tracepoint;
use emu_core::{Choice, ContextId, CpuId, Ctx, Options, Run};
use emu_mmu::Ea;

const NONE: Ea = Ea::new(0);
/// Ticks of a time slice.
pub(crate) const SLICE_TICKS: u64 = 1;
/// Ticks between two looks for a busier CPU.
const BALANCE_TICKS: u64 = 4;

impl Linux {
    /// schedule(), called by the task itself.
    pub(crate) fn schedule(&self, cx: &mut Ctx<'_>) -> Run<()> {
        let current = self.current(cx);
        let preempt_count = self.preempt_count(cx)? as u32;
        let sleeps = cx.load_u64(field(current, task::STATE), "schedule: state")? == STATE_SLEEPING;
        self.trace(
            cx,
            Tracepoint::VoluntarySchedule {
                preempt_count,
                sleeps,
            },
        );
        if preempt_count != 0 {
            self.report_scheduling_while_atomic(cx, preempt_count)?;
        }
        loop {
            self.schedule_once(cx, false)?;
            if !self.need_resched(cx)? {
                return Ok(());
            }
        }
    }

    /// The end of a system call. Without kernel preemption a used-up slice ends here; with it the task has
    /// been switched out before.
    pub(crate) fn return_to_user(&self, cx: &mut Ctx<'_>) -> Run<()> {
        if self.preempt == Preempt::None && self.need_resched(cx)? {
            self.schedule(cx)?;
        }
        Ok(())
    }

    /// schedule() of the idle task: not a task that sleeps.
    pub(crate) fn schedule_idle(&self, cx: &mut Ctx<'_>) -> Run<()> {
        self.schedule_once(cx, false)
    }

    /// preempt_schedule(): the task is preempted here. Interrupts are on.
    pub(crate) fn preempt_schedule(&self, cx: &mut Ctx<'_>) -> Run<()> {
        loop {
            self.add_preempt_count(cx, PREEMPT_ACTIVE)?;
            self.schedule_once(cx, true)?;
            self.sub_preempt_count(cx, PREEMPT_ACTIVE)?;
            if !self.need_resched(cx)? {
                return Ok(());
            }
        }
    }

    /// One turn of schedule(). Returns when this task runs again, perhaps on another CPU.
    fn schedule_once(&self, cx: &mut Ctx<'_>, preempted: bool) -> Run<()> {
        cx.in_job(SCHEDULE, |cx| {
            cx.in_path(PREEMPTED, |cx| self.schedule_turn(cx, preempted))
        })
    }

    fn schedule_turn(&self, cx: &mut Ctx<'_>, preempted: bool) -> Run<()> {
        self.preempt_disable(cx)?;
        self.work(cx, Func::Schedule)?;
        let prev = self.current(cx);
        let enabled = self.local_irq_save(cx)?;
        let rq = percpu(cx.read_cpu_id("schedule: this_rq")?.0);
        self.raw_lock(cx, field(rq, pcpu::RQ_LOCK), "schedule: rq lock")?;
        self.change_flags(cx, prev, TIF_NEED_RESCHED, 0)?;
        let idle = Ea::new(cx.load_u64(field(rq, pcpu::RQ_IDLE), "schedule: idle")?);
        let state = cx.load_u64(field(prev, task::STATE), "schedule: state")?;
        if prev != idle {
            if preempted || state == STATE_RUNNING {
                if !self.begin_push(cx, rq, prev)? {
                    self.enqueue(cx, rq, prev)?;
                }
            } else {
                cx.store_u64(field(prev, task::ON_RQ), 0, "schedule: deactivate")?;
            }
        }
        let next = self.pick_next(cx, rq, idle)?;
        if next == prev {
            self.raw_unlock(cx, field(rq, pcpu::RQ_LOCK), "schedule: rq unlock")?;
        } else {
            self.context_switch(cx, rq, next, preempted)?;
        }
        self.local_irq_restore(cx, enabled)?;
        self.preempt_enable_no_resched(cx)
    }

    /// The first waiting task, or the idle task.
    pub(crate) fn pick_next(&self, cx: &mut Ctx<'_>, rq: Ea, idle: Ea) -> Run<Ea> {
        let next = self.dequeue_first(cx, rq)?;
        Ok(if next == NONE { idle } else { next })
    }

    /// context_switch(), `__switch_to` and finish_task_switch. The run-queue lock goes with the switch and
    /// is released by whoever runs next.
    fn context_switch(&self, cx: &mut Ctx<'_>, rq: Ea, next: Ea, preempted: bool) -> Run<()> {
        self.work(cx, Func::ContextSwitch)?;
        self.count(&self.counters.context_switches);
        if preempted {
            self.count(&self.counters.preemptions);
        }
        cx.store_u64(field(rq, pcpu::RQ_CURR), next.get(), "context_switch: curr")?;
        let context = self.announce_switch(cx, next, preempted)?;
        self.switch_mm(cx, next)?;
        self.policy.switch_out(self, cx)?;
        cx.switch_to(context)?;
        self.policy.switch_in(self, cx)?;
        self.finish_task_switch(cx)
    }

    /// Traces the switch and gives the next task's context.
    pub(crate) fn announce_switch(
        &self,
        cx: &mut Ctx<'_>,
        next: Ea,
        preempted: bool,
    ) -> Run<ContextId> {
        let next_pid = cx.load_u64(field(next, task::PID), "context_switch: pid")? as u32;
        self.trace(
            cx,
            Tracepoint::SwitchTo {
                next: next.get(),
                next_pid,
                preempted,
            },
        );
        let context = cx.load_u64(field(next, task::CONTEXT), "context_switch: context")?;
        Ok(ContextId::from_index(context as u32))
    }

    /// What the incoming task does for the outgoing one: releases the run queue of the CPU it now runs on,
    /// frees an exited task, wakes a task that asked to be moved.
    pub(crate) fn finish_task_switch(&self, cx: &mut Ctx<'_>) -> Run<()> {
        let cpu = cx.read_cpu_id("finish_task_switch: this_rq")?;
        let rq = percpu(cpu.0);
        let current = self.current(cx);
        let last = cx.load_u64(field(current, task::LAST_CPU), "finish_task_switch: cpu")?;
        if last != u64::from(cpu.0) {
            self.count(&self.counters.migrations);
            cx.store_u64(
                field(current, task::LAST_CPU),
                u64::from(cpu.0),
                "finish_task_switch",
            )?;
        }
        cx.store_u64(
            field(current, task::CPU),
            u64::from(cpu.0),
            "finish_task_switch: cpu",
        )?;
        let dead = Ea::new(cx.load_u64(field(rq, pcpu::RQ_DEAD), "finish_task_switch: dead")?);
        cx.store_u64(field(rq, pcpu::RQ_DEAD), 0, "finish_task_switch: dead")?;
        let moving = Ea::new(cx.load_u64(field(rq, pcpu::RQ_MOVING), "finish_task_switch: move")?);
        cx.store_u64(field(rq, pcpu::RQ_MOVING), 0, "finish_task_switch: move")?;
        self.raw_unlock(
            cx,
            field(rq, pcpu::RQ_LOCK),
            "finish_task_switch: rq unlock",
        )?;
        self.finish_push(cx, rq)?;
        if dead != NONE {
            self.free_task(cx, dead)?;
        }
        if moving != NONE {
            let to = cx.load_u64(field(moving, task::MOVE_TO), "finish_task_switch: move to")?;
            self.wake_up_on(cx, moving, Some(CpuId(to as u16)))?;
        }
        Ok(())
    }

    pub(crate) fn change_flags(&self, cx: &mut Ctx<'_>, of: Ea, clear: u64, set: u64) -> Run<()> {
        let ea = field(of, task::FLAGS);
        loop {
            let flags = cx.load_reserve(ea, "thread flags")?;
            if cx.store_conditional(ea, (flags & !clear) | set, "thread flags")? {
                return Ok(());
            }
        }
    }

    /// Appends to a run queue; its lock is held.
    pub(crate) fn enqueue(&self, cx: &mut Ctx<'_>, rq: Ea, of: Ea) -> Run<()> {
        let step = "enqueue_task";
        cx.store_u64(field(of, task::NEXT), 0, step)?;
        cx.store_u64(field(of, task::ON_RQ), 1, step)?;
        let tail = Ea::new(cx.load_u64(field(rq, pcpu::RQ_TAIL), step)?);
        let link = if tail == NONE {
            field(rq, pcpu::RQ_HEAD)
        } else {
            field(tail, task::NEXT)
        };
        cx.store_u64(link, of.get(), step)?;
        cx.store_u64(field(rq, pcpu::RQ_TAIL), of.get(), step)?;
        let waiting = cx.load_u64(field(rq, pcpu::RQ_WAITING), step)?;
        cx.store_u64(field(rq, pcpu::RQ_WAITING), waiting + 1, step)
    }

    /// Takes the first task out of a run queue, 0 if none; its lock is held.
    fn dequeue_first(&self, cx: &mut Ctx<'_>, rq: Ea) -> Run<Ea> {
        let step = "dequeue_task";
        let head = Ea::new(cx.load_u64(field(rq, pcpu::RQ_HEAD), step)?);
        if head == NONE {
            return Ok(NONE);
        }
        let next = cx.load_u64(field(head, task::NEXT), step)?;
        cx.store_u64(field(rq, pcpu::RQ_HEAD), next, step)?;
        if next == 0 {
            cx.store_u64(field(rq, pcpu::RQ_TAIL), 0, step)?;
        }
        let waiting = cx.load_u64(field(rq, pcpu::RQ_WAITING), step)?;
        cx.store_u64(field(rq, pcpu::RQ_WAITING), waiting.wrapping_sub(1), step)?;
        Ok(head)
    }

    /// try_to_wake_up(), on `cpu` if one is named and allowed, else where the task last ran.
    pub(crate) fn wake_up_on(&self, cx: &mut Ctx<'_>, of: Ea, cpu: Option<CpuId>) -> Run<()> {
        self.work(cx, Func::WakeUp)?;
        let enabled = self.local_irq_save(cx)?;
        let home = self.lock_task_rq(cx, of)?;
        let mut rq = percpu(home as u16);
        let state = cx.load_u64(field(of, task::STATE), "try_to_wake_up: state")?;
        let mut kick = None;
        if state == STATE_SLEEPING {
            cx.store_u64(
                field(of, task::STATE),
                STATE_RUNNING,
                "try_to_wake_up: state",
            )?;
            if cx.load_u64(field(of, task::ON_RQ), "try_to_wake_up: on_rq")? == 0 {
                let to = self.select_cpu(cx, of, cpu.map_or(home, |c| u64::from(c.0)))?;
                if to != home {
                    self.raw_unlock(cx, field(rq, pcpu::RQ_LOCK), "try_to_wake_up: rq unlock")?;
                    rq = percpu(to as u16);
                    self.raw_lock(cx, field(rq, pcpu::RQ_LOCK), "try_to_wake_up: rq lock")?;
                }
                cx.store_u64(field(of, task::CPU), to, "try_to_wake_up: task_cpu")?;
                self.enqueue(cx, rq, of)?;
                kick = self.kick_if_idle(cx, rq, to)?;
            }
        }
        self.raw_unlock(cx, field(rq, pcpu::RQ_LOCK), "try_to_wake_up: rq unlock")?;
        if let Some(to) = kick {
            cx.send_ipi(to)?;
        }
        self.local_irq_restore(cx, enabled)
    }

    /// Takes the lock of the run queue that a task is on or was on last (task_rq_lock); gives its CPU.
    fn lock_task_rq(&self, cx: &mut Ctx<'_>, of: Ea) -> Run<u64> {
        let at = field(of, task::CPU);
        loop {
            let home = cx.load_u64(at, "try_to_wake_up: task_cpu")?;
            let lock = field(percpu(home as u16), pcpu::RQ_LOCK);
            self.raw_lock(cx, lock, "try_to_wake_up: rq lock")?;
            // Tasks that are pushed or pulled may have left meanwhile.
            if !self.tasks_move || cx.load_u64(at, "try_to_wake_up: task_cpu")? == home {
                return Ok(home);
            }
            self.raw_unlock(cx, lock, "try_to_wake_up: rq unlock")?;
        }
    }

    /// wake_up_process().
    pub(crate) fn wake_up(&self, cx: &mut Ctx<'_>, of: Ea) -> Run<()> {
        self.wake_up_on(cx, of, None)
    }

    /// Puts a new task on a CPU's run queue (wake_up_new_task).
    pub(crate) fn wake_up_new(&self, cx: &mut Ctx<'_>, of: Ea, cpu: CpuId) -> Run<()> {
        let enabled = self.local_irq_save(cx)?;
        let rq = percpu(cpu.0);
        self.raw_lock(cx, field(rq, pcpu::RQ_LOCK), "wake_up_new_task: rq lock")?;
        self.enqueue(cx, rq, of)?;
        let kick = self.kick_if_idle(cx, rq, u64::from(cpu.0))?;
        self.raw_unlock(cx, field(rq, pcpu::RQ_LOCK), "wake_up_new_task: rq unlock")?;
        if let Some(to) = kick {
            cx.send_ipi(to)?;
        }
        self.local_irq_restore(cx, enabled)
    }

    /// Tells an idle CPU that it has work: the CPU to interrupt, if it is another one.
    pub(crate) fn kick_if_idle(&self, cx: &mut Ctx<'_>, rq: Ea, cpu: u64) -> Run<Option<CpuId>> {
        let running = cx.load_u64(field(rq, pcpu::RQ_CURR), "check_preempt_curr")?;
        let idle = cx.load_u64(field(rq, pcpu::RQ_IDLE), "check_preempt_curr")?;
        if running != idle {
            return Ok(None);
        }
        self.change_flags(cx, Ea::new(idle), 0, TIF_NEED_RESCHED)?;
        let here = cx.read_cpu_id("check_preempt_curr")?;
        Ok((u64::from(here.0) != cpu).then_some(CpuId(cpu as u16)))
    }

    /// The wanted CPU if the task may run there, else the first where it may.
    fn select_cpu(&self, cx: &mut Ctx<'_>, of: Ea, wanted: u64) -> Run<u64> {
        let allowed = self.cpus_allowed(cx, of, "select_task_rq")?;
        if allowed & (1 << wanted) != 0 && wanted < u64::from(self.cpus) {
            return Ok(wanted);
        }
        Ok(u64::from(allowed.trailing_zeros()).min(u64::from(self.cpus) - 1))
    }

    /// scheduler_tick(): ends a slice that is used up and looks for a busier CPU. Interrupts are off.
    pub(crate) fn scheduler_tick(&self, cx: &mut Ctx<'_>) -> Run<()> {
        self.work(cx, Func::SchedulerTick)?;
        let rq = percpu(cx.read_cpu_id("scheduler_tick: this_rq")?.0);
        let ticks = cx.load_u64(field(rq, pcpu::TICKS), "scheduler_tick: ticks")? + 1;
        cx.store_u64(field(rq, pcpu::TICKS), ticks, "scheduler_tick: ticks")?;
        let current = self.current(cx);
        let idle = cx.load_u64(field(rq, pcpu::RQ_IDLE), "scheduler_tick: idle")?;
        if current.get() != idle {
            let slice = field(current, task::TIME_SLICE);
            let left = cx
                .load_u64(slice, "scheduler_tick: slice")?
                .saturating_sub(1);
            cx.store_u64(
                slice,
                if left == 0 { SLICE_TICKS } else { left },
                "scheduler_tick: slice",
            )?;
            let waiting = cx.load_u64(field(rq, pcpu::RQ_WAITING), "scheduler_tick: waiting")?;
            if left == 0 && waiting > 0 {
                self.change_flags(cx, current, 0, TIF_NEED_RESCHED)?;
            }
            self.disturb_running_task(cx, current, ticks)?;
        }
        if self.cpus > 1 && self.balance {
            let clocked = u64::from(ticks.is_multiple_of(BALANCE_TICKS));
            if cx.choose(Choice::Migration, Options { count: 2, clocked }) == 1 {
                self.load_balance(cx, rq)?;
            }
        }
        Ok(())
    }

    /// load_balance(): pulls one waiting task from the CPU where most wait, if more wait there than here.
    pub(crate) fn load_balance(&self, cx: &mut Ctx<'_>, rq: Ea) -> Run<()> {
        self.work(cx, Func::LoadBalance)?;
        let mine = cx.load_u64(field(rq, pcpu::RQ_WAITING), "load_balance: mine")?;
        let mut busiest = (mine, NONE);
        for cpu in 0..self.cpus {
            let other = percpu(cpu);
            // Its own count may have grown since, and its lock must not be taken twice.
            if other == rq {
                continue;
            }
            let waiting = cx.load_u64(field(other, pcpu::RQ_WAITING), "load_balance: other")?;
            if waiting > busiest.0 && !self.takes_a_pushed_task(cx, other)? {
                busiest = (waiting, other);
            }
        }
        if busiest.1 == NONE {
            return Ok(());
        }
        let from = busiest.1;
        let (first, second) = if from < rq { (from, rq) } else { (rq, from) };
        self.raw_lock(cx, field(first, pcpu::RQ_LOCK), "load_balance: rq lock")?;
        self.raw_lock(cx, field(second, pcpu::RQ_LOCK), "load_balance: rq lock")?;
        let pulled = self.dequeue_first(cx, from)?;
        if pulled != NONE {
            let here = cx.read_cpu_id("load_balance: cpu")?;
            let allowed = self.cpus_allowed(cx, pulled, "can_migrate_task")?;
            if allowed & (1 << here.0) != 0 {
                cx.store_u64(field(pulled, task::CPU), u64::from(here.0), "set_task_cpu")?;
                self.enqueue(cx, rq, pulled)?;
                self.kick_if_idle(cx, rq, u64::from(here.0))?;
            } else {
                self.enqueue(cx, from, pulled)?;
            }
        }
        self.raw_unlock(cx, field(second, pcpu::RQ_LOCK), "load_balance: rq unlock")?;
        self.raw_unlock(cx, field(first, pcpu::RQ_LOCK), "load_balance: rq unlock")
    }

    /// preemptible(): preempt_count is zero and interrupts are on. A constant 0 without preemption.
    pub fn preemptible(&self, cx: &mut Ctx<'_>) -> Run<bool> {
        Ok(self.preempt.preempts_kernel()
            && self.preempt_count(cx)? == 0
            && cx.interrupts_enabled())
    }
}
