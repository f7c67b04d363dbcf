//! Tasks: creation, first run, exit, the idle loop, and the kernel's interrupt vectors.
//!
//! Owns the life of a task. Refuses to choose who runs (`sched`).

use crate::config::Preempt;
use crate::functions::Func;
use crate::kernel::{Errno, Kernel, Linux};
use crate::kernel_path::{HASH_FAULT, PREEMPTED, SCHEDULE, SLB_MISS};
use crate::latency::Operation;
use crate::layout::pa;
use crate::memmap::{
    STACKS_END, STACKS_START, STATE_DEAD, STATE_RUNNING, STATE_SLEEPING, field, global, pcpu,
    percpu, task,
};
use crate::mm::Mm;
use crate::sched::SLICE_TICKS;
use crate::sync::{HARDIRQ_OFFSET, PREEMPT_OFFSET};
use crate::tracepoint::Tracepoint;
use emu_core::{
    ContextEnd, CpuId, Ctx, Cycles, Exception, GuestCode, Interrupt, OffSpan, Run, Vectors,
};
use emu_mmu::{Ea, Fault};
use std::sync::Arc;

/// What a task runs.
pub type TaskBody = Box<dyn FnOnce(&Arc<Linux>, &mut Ctx<'_>) -> Run<()> + Send>;

/// A task to be made.
pub struct TaskSpec {
    /// Name, at most 15 bytes kept.
    pub comm: String,
    /// Process id; `None` takes the next.
    pub pid: Option<u32>,
    /// Low end of its stack; `None` takes the next free one.
    pub stack: Option<Ea>,
    /// Mask of the CPUs it may run on.
    pub cpus_allowed: u64,
    /// CPU it starts on.
    pub cpu: CpuId,
    /// Its address space; `None` for a kernel thread. The task takes over one use of it.
    pub mm: Option<Mm>,
    /// What it runs.
    pub body: TaskBody,
}

impl std::fmt::Debug for TaskSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskSpec")
            .field("comm", &self.comm)
            .field("pid", &self.pid)
            .finish()
    }
}

impl Linux {
    /// fork and exec in one: a new task, ready to run. Gives its address.
    pub fn spawn_task(self: &Arc<Self>, cx: &mut Ctx<'_>, spec: TaskSpec) -> Kernel<Ea> {
        self.make_task(cx, spec, true)
    }

    /// The same, on no run queue unless it is to be woken.
    pub(crate) fn make_task(
        self: &Arc<Self>,
        cx: &mut Ctx<'_>,
        spec: TaskSpec,
        wake: bool,
    ) -> Kernel<Ea> {
        self.work(cx, Func::Fork)?;
        let stack = match spec.stack {
            Some(stack) => stack,
            None => match self.alloc_stack(cx)? {
                Ok(stack) => stack,
                Err(errno) => return Ok(Err::<Ea, Errno>(errno)),
            },
        };
        let pid = match spec.pid {
            Some(pid) => u64::from(pid),
            None => {
                let next = cx.load_u64(global::NEXT_PID, "alloc_pid")?;
                cx.store_u64(global::NEXT_PID, next + 1, "alloc_pid")?;
                next
            }
        };
        let context = cx.spawn(self.task_code(stack, spec.body));
        let cpu = u64::from(spec.cpu.0);
        self.init_task(cx, stack, pid, cpu, context.get())?;
        let mm = spec.mm.map_or(0, |mm| mm.address().get());
        cx.store_u64(field(stack, task::MM), mm, "copy_process: mm")?;
        cx.store_u64(
            field(stack, task::CPUS_ALLOWED),
            spec.cpus_allowed,
            "copy_process",
        )?;
        cx.store_u64(
            field(stack, task::PREEMPT_COUNT),
            self.preempt_count_at_first(),
            "copy_process: preempt_count",
        )?;
        self.set_comm(cx, stack, &spec.comm)?;
        if let Some(monitor) = &self.monitor {
            let (task, comm) = (stack.get(), spec.comm.clone());
            cx.beside(monitor, move |monitor, _| {
                monitor.with(|monitor| monitor.name_task(task, &comm, pid as u32));
                0
            });
        }
        self.spin_lock(cx, global::TASKLIST_LOCK)?;
        let tasks = cx.load_u64(global::NR_TASKS, "copy_process: nr_tasks")?;
        cx.store_u64(global::NR_TASKS, tasks + 1, "copy_process: nr_tasks")?;
        self.spin_unlock(cx, global::TASKLIST_LOCK)?;
        // The scheduler frees it when the task has exited.
        self.note_given(pa(stack).get());
        if wake {
            self.wake_up_new(cx, stack, spec.cpu)?;
        }
        Ok(Ok(stack))
    }

    /// What a task's context runs, from its first switch-in to its exit.
    pub(crate) fn task_code(self: &Arc<Self>, stack: Ea, body: TaskBody) -> GuestCode {
        let linux = self.clone();
        Box::new(move |cx| {
            cx.set_local(stack.get());
            linux.schedule_tail(cx)?;
            body(&linux, cx)?;
            linux.exit_mm(cx)?;
            linux.exit(cx)
        })
    }

    /// preempt_count of a task that was never switched to: schedule_tail enables preemption.
    fn preempt_count_at_first(&self) -> u64 {
        match self.preempt {
            Preempt::None => 0,
            Preempt::Full | Preempt::Rt => PREEMPT_OFFSET,
        }
    }

    fn init_task(&self, cx: &mut Ctx<'_>, at: Ea, pid: u64, cpu: u64, context: u32) -> Run<()> {
        let fields = [
            (task::PREEMPT_COUNT, 0),
            (task::FLAGS, 0),
            (task::LOCAL_FLAGS, 0),
            (task::STATE, STATE_RUNNING),
            (task::CPU, cpu),
            (task::CPUS_ALLOWED, u64::MAX),
            (task::ON_RQ, 0),
            (task::NEXT, 0),
            (task::CONTEXT, u64::from(context)),
            (task::PID, pid),
            (task::TIME_SLICE, SLICE_TICKS),
            (task::LAST_CPU, cpu),
            (task::MM, 0),
            (task::MOVE_TO, 0),
        ];
        for (offset, value) in fields {
            cx.store_u64(field(at, offset), value, "copy_process")?;
        }
        // A kernel that has no such field does not clear it.
        if self.disturbances.migrate_every.is_some() {
            cx.store_u64(field(at, task::PUSH_TO), 0, "copy_process")?;
        }
        if self.preempt == Preempt::Rt {
            cx.store_u64(field(at, task::MIGRATION_DISABLED), 0, "copy_process")?;
        }
        Ok(())
    }

    fn set_comm(&self, cx: &mut Ctx<'_>, at: Ea, comm: &str) -> Run<()> {
        for i in 0..16u64 {
            let byte = comm
                .as_bytes()
                .get(i as usize)
                .copied()
                .filter(|_| i < 15)
                .unwrap_or(0);
            cx.store_u8(field(at, task::COMM + i), byte, "set_task_comm")?;
        }
        Ok(())
    }

    /// First steps of a new task (schedule_tail): it was switched to with the run-queue lock held.
    fn schedule_tail(&self, cx: &mut Ctx<'_>) -> Run<()> {
        self.policy.switch_in(self, cx)?;
        self.finish_task_switch(cx)?;
        cx.set_interrupts(true)?;
        self.preempt_enable(cx)
    }

    /// exit_mm(): gives up the address space.
    fn exit_mm(&self, cx: &mut Ctx<'_>) -> Run<()> {
        let Some(mm) = self.current_mm(cx)? else {
            return Ok(());
        };
        self.mmput(cx, mm)?;
        cx.store_u64(field(self.current(cx), task::MM), 0, "exit_mm")
    }

    /// do_exit(). The last task switches the machine off.
    fn exit(&self, cx: &mut Ctx<'_>) -> Run<ContextEnd> {
        self.work(cx, Func::Exit)?;
        let preempt_count = self.preempt_count(cx)? as u32;
        self.trace(cx, Tracepoint::TaskExit { preempt_count });
        self.note_exit(cx);
        let current = self.current(cx);
        self.spin_lock(cx, global::TASKLIST_LOCK)?;
        let left = cx
            .load_u64(global::NR_TASKS, "do_exit: nr_tasks")?
            .saturating_sub(1);
        cx.store_u64(global::NR_TASKS, left, "do_exit: nr_tasks")?;
        self.spin_unlock(cx, global::TASKLIST_LOCK)?;
        if left == 0 {
            return Ok(ContextEnd::Halt);
        }
        self.preempt_disable(cx)?;
        cx.set_interrupts(false)?;
        let rq = percpu(cx.read_cpu_id("do_exit: this_rq")?.0);
        self.raw_lock(cx, field(rq, pcpu::RQ_LOCK), "do_exit: rq lock")?;
        cx.store_u64(field(current, task::STATE), STATE_DEAD, "do_exit: state")?;
        cx.store_u64(field(current, task::ON_RQ), 0, "do_exit: deactivate")?;
        cx.store_u64(field(rq, pcpu::RQ_DEAD), current.get(), "do_exit: dead")?;
        let idle = Ea::new(cx.load_u64(field(rq, pcpu::RQ_IDLE), "do_exit: idle")?);
        let next = self.pick_next(cx, rq, idle)?;
        cx.store_u64(field(rq, pcpu::RQ_CURR), next.get(), "do_exit: curr")?;
        self.count(&self.counters.context_switches);
        let context = self.announce_switch(cx, next, false)?;
        self.switch_mm(cx, next)?;
        self.policy.switch_out(self, cx)?;
        Ok(ContextEnd::SwitchTo(context))
    }

    /// Gives an exited task's stack back. Stacks at places of their own are not reused.
    pub(crate) fn free_task(&self, cx: &mut Ctx<'_>, dead: Ea) -> Run<()> {
        if !(STACKS_START..STACKS_END).contains(&pa(dead).get()) {
            return Ok(());
        }
        self.spin_lock(cx, global::TASKLIST_LOCK)?;
        let head = cx.load_u64(global::STACK_FREE, "free_thread_info: list")?;
        cx.store_u64(dead, head, "free_thread_info: link")?;
        cx.store_u64(global::STACK_FREE, dead.get(), "free_thread_info: list")?;
        self.spin_unlock(cx, global::TASKLIST_LOCK)
    }

    /// Makes the running context this CPU's idle task.
    pub(crate) fn become_idle_task(&self, cx: &mut Ctx<'_>, context: u32) -> Run<()> {
        let cpu = cx.read_cpu_id("init_idle")?;
        let idle = field(percpu(cpu.0), pcpu::IDLE_TASK);
        cx.set_local(idle.get());
        self.init_task(cx, idle, 0, u64::from(cpu.0), context)?;
        cx.store_u64(
            field(idle, task::PREEMPT_COUNT),
            self.preempt_count_at_first(),
            "init_idle: preempt_count",
        )?;
        self.set_comm(cx, idle, &format!("swapper/{cpu}"))?;
        let rq = percpu(cpu.0);
        cx.store_u64(field(rq, pcpu::RQ_IDLE), idle.get(), "init_idle: rq idle")?;
        cx.store_u64(field(rq, pcpu::RQ_CURR), idle.get(), "init_idle: rq curr")
    }

    /// Counts this CPU as online; the boot CPU waits here until all are.
    pub(crate) fn come_online(&self, cx: &mut Ctx<'_>, wait_for_all: bool) -> Run<()> {
        self.spin_lock(cx, global::TASKLIST_LOCK)?;
        let online = cx.load_u64(global::NR_ONLINE, "cpu_up: online")? + 1;
        cx.store_u64(global::NR_ONLINE, online, "cpu_up: online")?;
        self.spin_unlock(cx, global::TASKLIST_LOCK)?;
        while wait_for_all && cx.load_u64(global::NR_ONLINE, "cpu_up: wait")? < u64::from(self.cpus)
        {
            cx.spin("cpu_up: wait")?;
        }
        Ok(())
    }

    /// cpu_idle(): never returns but for the end of the run.
    pub(crate) fn idle_loop(&self, cx: &mut Ctx<'_>) -> Run<ContextEnd> {
        cx.set_interrupts(true)?;
        self.idle_turns(cx)
    }

    fn idle_turns(&self, cx: &mut Ctx<'_>) -> Run<ContextEnd> {
        loop {
            self.work(cx, Func::Idle)?;
            if self.balance && self.cpus > 1 {
                let enabled = self.local_irq_save(cx)?;
                let rq = percpu(cx.read_cpu_id("idle_balance: this_rq")?.0);
                self.load_balance(cx, rq)?;
                self.local_irq_restore(cx, enabled)?;
            }
            cx.set_interrupts(false)?;
            if !self.need_resched(cx)? {
                cx.set_decrementer(Cycles::MAX)?;
                // Idle time is no preempt-off latency (stop_critical_timings).
                cx.end_span();
                cx.wait_for_interrupt()?;
            }
            self.idle_woken(cx)?;
        }
    }

    /// What cpu_idle() does when an interrupt has ended its wait.
    fn idle_woken(&self, cx: &mut Ctx<'_>) -> Run<()> {
        cx.set_interrupts(true)?;
        if self.need_resched(cx)? {
            cx.set_decrementer(self.disturbances.timer_period)?;
            self.preempt_enable_no_resched(cx)?;
            self.schedule_idle(cx)?;
            self.preempt_disable(cx)?;
        }
        Ok(())
    }

    /// cpu_idle() from its wait for an interrupt on, by a context that is the idle task `idle` anew.
    pub(crate) fn idle_again(&self, cx: &mut Ctx<'_>, idle: Ea) -> Run<ContextEnd> {
        cx.set_local(idle.get());
        self.idle_woken(cx)?;
        self.idle_turns(cx)
    }

    /// Sleeps until somebody wakes this task, unless `ready` says that there is no need.
    pub(crate) fn sleep_unless(
        &self,
        cx: &mut Ctx<'_>,
        mut ready: impl FnMut(&Ctx<'_>) -> bool,
    ) -> Run<()> {
        let state = field(self.current(cx), task::STATE);
        cx.store_u64(state, STATE_SLEEPING, "set_current_state")?;
        if ready(cx) {
            return cx.store_u64(state, STATE_RUNNING, "set_current_state");
        }
        self.schedule(cx)
    }

    /// sched_yield().
    pub(crate) fn yield_once(&self, cx: &mut Ctx<'_>) -> Run<()> {
        self.schedule(cx)
    }

    /// The CPUs that a task starting on `cpu` may run on: that one only with `--pin`, else all that the
    /// kernel is built for, present or not (so that one CPU is not a mask of exactly this CPU).
    pub(crate) fn allowed(&self, cpu: CpuId) -> u64 {
        if self.pin { 1 << cpu.0 } else { u64::MAX }
    }

    /// True if the running task is on another CPU than `to` and can go there.
    pub(crate) fn may_move_to(&self, cx: &Ctx<'_>, to: CpuId) -> bool {
        to != cx.cpu_id() && to.0 < self.cpus && !self.pin
    }

    /// Moves the running task to another CPU: it sleeps, and whoever runs next here wakes it there.
    pub(crate) fn migrate_current(&self, cx: &mut Ctx<'_>, to: CpuId) -> Run<()> {
        let current = self.current(cx);
        let enabled = self.local_irq_save(cx)?;
        let rq = percpu(cx.read_cpu_id("migrate: this_rq")?.0);
        cx.store_u64(
            field(current, task::MOVE_TO),
            u64::from(to.0),
            "migrate: to",
        )?;
        cx.store_u64(
            field(rq, pcpu::RQ_MOVING),
            current.get(),
            "migrate: request",
        )?;
        cx.store_u64(
            field(current, task::STATE),
            STATE_SLEEPING,
            "set_current_state",
        )?;
        self.local_irq_restore(cx, enabled)?;
        self.schedule(cx)
    }
}

/// The vectors of the modelled kernel.
#[derive(Debug)]
pub(crate) struct KernelVectors(pub Arc<Linux>);

impl Vectors for KernelVectors {
    fn storage(&self, cx: &mut Ctx<'_>, fault: Fault) -> Run<()> {
        match fault {
            Fault::DataStorage { dar, dsisr } => {
                let of = (Operation::HashFault, HASH_FAULT);
                let body = |cx: &mut Ctx<'_>| self.0.data_storage(cx, fault, dar, dsisr);
                self.0.timed_on(cx, of, body)
            }
            Fault::DataSegment { dar } => {
                let of = (Operation::SlbMiss, SLB_MISS);
                let body = |cx: &mut Ctx<'_>| self.0.slb_miss(cx, fault, dar);
                self.0.timed_on(cx, of, body)
            }
            _ => Err(Exception::Fault(fault)),
        }
    }

    fn longest_irqs_off(&self, cx: &Ctx<'_>, span: OffSpan) {
        self.0.keep_span(cx, span, |spans| &mut spans.irqs_off);
    }

    fn interrupt(&self, cx: &mut Ctx<'_>, interrupt: Interrupt) -> Run<()> {
        cx.in_job(SCHEDULE, |cx| {
            cx.in_path(PREEMPTED, |cx| self.0.handle_interrupt(cx, interrupt))
        })
    }
}

impl Linux {
    fn handle_interrupt(&self, cx: &mut Ctx<'_>, interrupt: Interrupt) -> Run<()> {
        self.work(cx, Func::DoIrq)?;
        self.add_preempt_count(cx, HARDIRQ_OFFSET)?;
        if interrupt == Interrupt::Decrementer {
            cx.set_decrementer(self.disturbances.timer_period)?;
            self.scheduler_tick(cx)?;
        }
        let left = self.sub_preempt_count(cx, HARDIRQ_OFFSET)?;
        let preempt = self.preempt.preempts_kernel();
        if preempt && left == 0 && self.need_resched(cx)? {
            cx.set_interrupts(true)?;
            self.preempt_schedule(cx)?;
            cx.set_interrupts(false)?;
        }
        Ok(())
    }
}
