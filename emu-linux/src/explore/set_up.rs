//! What comes before an exploration: the kernel boots, does a scenario's set-up and makes its tasks, which
//! nobody wakes; then they stand on their run queues, in an arena.
//!
//! Refuses what happens after: that is the stage's.

use super::program::{Actor, Made};
use super::scenario::ExploreScenario;
use super::stage::ExploreError;
use crate::kernel::Linux;
use crate::layout::pa;
use crate::memmap::{TIF_NEED_RESCHED, field, global, pcpu, percpu, task};
use crate::mm::Mm;
use crate::run::boot_cpus;
use crate::task::TaskSpec;
use emu_core::explore::{Arena, Fresh, Limits};
use emu_core::{ContextId, CpuId, Ctx, Engine, EngineError, Machine, Run};
use emu_mmu::{Ea, MemoryError};
use parking_lot::Mutex;
use std::sync::Arc;

/// A run may be so long.
pub(super) const LIMITS: Limits = Limits {
    steps_between_ticks: 4_000,
    steps_max: 20_000,
    waits_max: 60,
};

/// A task that has not begun.
pub(super) struct Dormant {
    pub stack: Ea,
    cpu: u16,
}

/// What the set-up made, and the tasks that have not begun.
pub(super) type Prepared = (Made, Vec<Dormant>);

/// Boots, runs the set-up and makes the tasks, which nobody wakes.
pub(super) fn set_up(
    engine: &mut Engine,
    linux: &Arc<Linux>,
    scenario: &ExploreScenario,
    prepared: &Arc<Mutex<Option<Prepared>>>,
) -> Result<(), String> {
    let (scenario, into) = (scenario.clone(), prepared.clone());
    boot_cpus(
        engine,
        linux,
        Box::new(move |linux, cx| {
            let done = prepare(linux, cx, &scenario)?;
            *into.lock() = Some(done);
            Ok(())
        }),
    );
    match engine.run() {
        // Every CPU is idle, for nobody was woken.
        Err(EngineError::Deadlock) => match *prepared.lock() {
            Some(_) => Ok(()),
            None => Err("it did not finish".to_owned()),
        },
        Err(error) => Err(error.to_string()),
        Ok(_) => Err("it switched the machine off".to_owned()),
    }
}

fn prepare(linux: &Arc<Linux>, cx: &mut Ctx<'_>, scenario: &ExploreScenario) -> Run<Prepared> {
    let mut actor = Actor::new(Made::default(), None, 1);
    for op in &scenario.setup {
        actor.perform(linux, cx, op)?;
    }
    let made = actor.into_made();
    let mut dormant = Vec::new();
    for of in &scenario.tasks {
        let cpu = of.cpu.min(linux.cpus - 1);
        let mm = of.mm.as_ref().and_then(|mm| made.mms.get(mm)).copied();
        if let Some(mm) = mm {
            linux.mm_get(cx, mm)?;
        }
        let spec = TaskSpec {
            comm: of.name.clone(),
            pid: None,
            stack: None,
            cpus_allowed: linux.allowed(CpuId(cpu)),
            cpu: CpuId(cpu),
            mm,
            // Its context is made anew for each run.
            body: Box::new(|_, _| Ok(())),
        };
        if let Ok(stack) = linux.make_task(cx, spec, false)? {
            dormant.push(Dormant { stack, cpu });
        }
    }
    Ok((made, dormant))
}

/// Puts the tasks on their run queues and makes the arena.
pub(super) fn arena(
    engine: Engine,
    linux: &Arc<Linux>,
    scenario: &ExploreScenario,
    made: &Made,
    dormant: &[Dormant],
) -> Result<Arena, ExploreError> {
    let machine = engine.machine().clone();
    // One more than there are: the machine is not switched off when all have exited.
    let tasks = load(&machine, global::NR_TASKS)?;
    store(&machine, global::NR_TASKS, tasks + 1)?;
    let (mut contexts, mut begin): (Vec<(ContextId, Fresh)>, Vec<CpuId>) = Default::default();
    for (number, (of, task_made)) in scenario.tasks.iter().zip(dormant).enumerate() {
        enqueue(&machine, task_made)?;
        begin.push(CpuId(task_made.cpu));
        let context = load(&machine, field(task_made.stack, task::CONTEXT))? as u32;
        let mm = of.mm.as_ref().and_then(|mm| made.mms.get(mm)).copied();
        let code = code_of(linux, task_made.stack, of.run.clone(), made, mm, number);
        contexts.push((ContextId::from_index(context), code));
    }
    let idle = (0..linux.cpus).map(|cpu| {
        let linux = linux.clone();
        let idle = field(percpu(cpu), pcpu::IDLE_TASK);
        let fresh: Fresh = Arc::new(move || {
            let linux = linux.clone();
            Box::new(move |cx| linux.idle_again(cx, idle))
        });
        fresh
    });
    Ok(Arena::new(
        engine,
        idle.collect(),
        contexts,
        &begin,
        LIMITS,
    )?)
}

fn code_of(
    linux: &Arc<Linux>,
    stack: Ea,
    run: Vec<super::Op>,
    made: &Made,
    mm: Option<Mm>,
    number: usize,
) -> Fresh {
    let (linux, run, made) = (linux.clone(), Arc::new(run), made.clone());
    Arc::new(move || {
        let (run, made) = (run.clone(), made.clone());
        linux.task_code(
            stack,
            Box::new(move |linux, cx| {
                let mut actor = Actor::new(made, mm, number as u64 + 2);
                run.iter().try_for_each(|op| actor.perform(linux, cx, op))
            }),
        )
    })
}

fn load(machine: &Machine, at: Ea) -> Result<u64, MemoryError> {
    machine.memory().load_u64(pa(at))
}

fn store(machine: &Machine, at: Ea, value: u64) -> Result<(), MemoryError> {
    machine.memory().store_u64(pa(at), value)
}

/// Appends a task to its run queue and asks the idle task there to look.
fn enqueue(machine: &Machine, of: &Dormant) -> Result<(), MemoryError> {
    let rq = percpu(of.cpu);
    let tail = Ea::new(load(machine, field(rq, pcpu::RQ_TAIL))?);
    let link = match tail.get() {
        0 => field(rq, pcpu::RQ_HEAD),
        _ => field(tail, task::NEXT),
    };
    store(machine, field(of.stack, task::NEXT), 0)?;
    store(machine, field(of.stack, task::ON_RQ), 1)?;
    store(machine, link, of.stack.get())?;
    store(machine, field(rq, pcpu::RQ_TAIL), of.stack.get())?;
    let waiting = load(machine, field(rq, pcpu::RQ_WAITING))?;
    store(machine, field(rq, pcpu::RQ_WAITING), waiting + 1)?;
    let idle = Ea::new(load(machine, field(rq, pcpu::RQ_IDLE))?);
    let flags = field(idle, task::FLAGS);
    store(machine, flags, load(machine, flags)? | TIF_NEED_RESCHED)
}
