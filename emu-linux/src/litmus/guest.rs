//! What runs on the CPUs: tasks, idle loops, the timer interrupt that takes a task to another CPU.
//!
//! Owns the run queues, in guest memory beside any verb: the scheduler of a litmus test is not what is
//! tested, and takes no step. Refuses to make a task's steps: `steps` does.

use super::place::{CPUS_MAX, OfTask, current, of_task, queue};
use super::steps::perform;
use super::test::Litmus;
use super::watch::Watch;
use emu_core::{ContextEnd, ContextId, CpuId, Ctx, Exception, Interrupt, Run, Vectors};
use emu_mmu::{Fault, Ra};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};

/// What all guest code of a test shares with the host.
pub(super) struct Shared {
    pub test: Litmus,
    pub watch: Arc<Mutex<Watch>>,
    /// The idle context of each CPU, and each task's context.
    pub idle: OnceLock<Vec<ContextId>>,
    pub contexts: OnceLock<Vec<ContextId>>,
}

fn load(cx: &Ctx<'_>, at: Ra) -> Run<u64> {
    Ok(cx.machine().memory().load_u64(at)?)
}

fn store(cx: &Ctx<'_>, at: Ra, value: u64) -> Run<()> {
    Ok(cx.machine().memory().store_u64(at, value)?)
}

/// Appends a task to a run queue.
fn enqueue(cx: &Ctx<'_>, cpu: u16, task: usize) -> Run<()> {
    let waiting = load(cx, queue(cpu))?;
    let at = (64 - waiting.leading_zeros()).div_ceil(4) * 4;
    store(cx, queue(cpu), waiting | (task as u64 + 1) << at)
}

/// Takes the first task of a run queue.
fn dequeue(cx: &Ctx<'_>, cpu: u16) -> Run<Option<usize>> {
    let waiting = load(cx, queue(cpu))?;
    store(cx, queue(cpu), waiting >> 4)?;
    Ok(((waiting & 15) as usize).checked_sub(1))
}

impl Shared {
    fn context(&self, of: Option<usize>, cpu: u16) -> Run<ContextId> {
        let (list, number) = match of {
            Some(task) => (&self.contexts, task),
            None => (&self.idle, usize::from(cpu)),
        };
        let context = list.get().and_then(|list| list.get(number));
        context
            .copied()
            .ok_or(Exception::Corrupt("no such context"))
    }

    /// The context that a CPU goes on with: the first task that waits, or the idle loop.
    fn pick(&self, cx: &Ctx<'_>, cpu: u16) -> Run<ContextId> {
        let next = dequeue(cx, cpu)?;
        self.run_next(cx, cpu, next)
    }

    fn run_next(&self, cx: &Ctx<'_>, cpu: u16, next: Option<usize>) -> Run<ContextId> {
        store(cx, current(cpu), next.map_or(0, |task| task as u64 + 1))?;
        if let Some(task) = next {
            store(cx, of_task(task, OfTask::Cpu), u64::from(cpu))?;
        }
        self.context(next, cpu)
    }

    /// Leaves this CPU, to go on on another; returns there.
    pub fn move_to(&self, cx: &mut Ctx<'_>, task: usize, to: u16) -> Run<()> {
        let from = cx.cpu_id().0;
        let next = dequeue(cx, from)?;
        enqueue(cx, to, task)?;
        let to_is_idle = load(cx, current(to))? == 0;
        let next = match next {
            None if to == from => dequeue(cx, from)?,
            next => next,
        };
        let context = self.run_next(cx, from, next)?;
        if to != from && to_is_idle {
            cx.send_ipi(CpuId(to))?;
        }
        if next == Some(task) {
            return Ok(());
        }
        cx.switch_to(context)
    }

    /// The idle loop of a CPU, from where it waits or was just woken.
    pub fn idle(&self, cx: &mut Ctx<'_>, mut woken: bool) -> Run<ContextEnd> {
        loop {
            if !std::mem::take(&mut woken) {
                cx.wait_for_interrupt()?;
            }
            cx.set_interrupts(true)?;
            cx.set_interrupts(false)?;
            let cpu = cx.cpu_id().0;
            if load(cx, queue(cpu))? != 0 {
                let next = self.pick(cx, cpu)?;
                cx.switch_to(next)?;
                cx.set_interrupts(false)?;
            }
        }
    }

    /// A task from its first step to its last.
    pub fn run(&self, cx: &mut Ctx<'_>, task: usize) -> Run<ContextEnd> {
        cx.set_interrupts(true)?;
        cx.set_local(task as u64 + 1);
        for step in &self.test.tasks[task].steps {
            perform(self, cx, task, step)?;
        }
        cx.set_local(0);
        cx.set_interrupts(false)?;
        let cpu = cx.cpu_id().0;
        Ok(ContextEnd::SwitchTo(self.pick(cx, cpu)?))
    }
}

/// The interrupt vectors.
pub(super) struct LitmusVectors(pub Arc<Shared>);

impl Vectors for LitmusVectors {
    /// The access is given up: the step sees `fault`.
    fn storage(&self, _: &mut Ctx<'_>, fault: Fault) -> Run<()> {
        Err(Exception::Fault(fault))
    }

    /// A timer interrupt ends a task's turn, unless preemption is disabled: another that waits runs, and this
    /// one goes on on the next of its CPUs.
    fn interrupt(&self, cx: &mut Ctx<'_>, interrupt: Interrupt) -> Run<()> {
        let Some(task) = (cx.local() as usize).checked_sub(1) else {
            return Ok(());
        };
        let count = load(cx, of_task(task, OfTask::PreemptCount))?;
        if interrupt == Interrupt::Ipi || count != 0 {
            return Ok(());
        }
        let allowed = &self.0.test.tasks[task].cpus;
        let here = allowed.iter().position(|&cpu| cpu == cx.cpu_id().0);
        let next = here.map_or(0, |here| (here + 1) % allowed.len());
        debug_assert!(allowed[next] < CPUS_MAX);
        self.0.move_to(cx, task, allowed[next])
    }
}
