//! The stage of an exploration: a kernel that has booted and done a scenario's set-up, with the tasks on its
//! run queues and not begun, in an arena.
//!
//! Owns what makes one run from there like the first: the arena brings the machine back, this the kernel
//! model's own records and the checkers.

use super::program::{Actor, Made};
use super::record::{Recorder, StepRecord};
use super::scenario::ExploreScenario;
use crate::config::{KernelVersion, Pages, RunConfig, RunError};
use crate::disturbance::TIMER_PERIOD_MAX;
use crate::invariant::Monitor;
use crate::kernel::Linux;
use crate::layout::pa;
use crate::lazy_mmu::LazyMmuPolicy;
use crate::machine::{machine_config, machine_of};
use crate::memmap::{TIF_NEED_RESCHED, field, global, pcpu, percpu, task};
use crate::mm::Mm;
use crate::printk::Ratelimit;
use crate::run::boot_cpus;
use crate::task::{KernelVectors, TaskSpec};
use crate::timing::Timing;
use crate::tracepoint::Moment;
use emu_core::explore::{Arena, ArenaEnd, ArenaError, Fresh, Limits, Plan};
use emu_core::{Clocked, ContextId, CpuId, Ctx, Cycles, Engine, EngineError, Machine, Run};
use emu_mmu::{Ea, MemoryError, MmuGeometry, Replacement, TlbGeometry};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// log2 of the groups of the hash table: few collide.
const HTAB_BITS: u8 = 11;
/// Small, so that it is quickly brought back; large enough that nothing of a scenario is evicted.
const GEOMETRY: MmuGeometry = MmuGeometry {
    slb_entries: 16,
    erat: TlbGeometry { sets: 16, ways: 4 },
    ierat: TlbGeometry { sets: 1, ways: 1 },
    tlb: TlbGeometry { sets: 16, ways: 4 },
    erat_replacement: Replacement::Lru,
    tlb_replacement: Replacement::Lru,
};
/// A run may be so long.
const LIMITS: Limits = Limits {
    steps_between_ticks: 4_000,
    steps_max: 20_000,
    waits_max: 60,
};

/// Why an exploration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExploreError {
    /// A configuration that was refused.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The arena refused.
    #[error(transparent)]
    Arena(#[from] ArenaError),
    /// The set-up did not come to its end.
    #[error("the set-up of `{scenario}` failed under {policy}: {why}")]
    Setup {
        /// The scenario.
        scenario: String,
        /// The policy.
        policy: String,
        /// What happened.
        why: String,
    },
    /// Guest memory was refused.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// A task that has not begun.
struct Dormant {
    stack: Ea,
    cpu: u16,
}

/// What the set-up made, and the tasks that have not begun.
type Prepared = (Made, Vec<Dormant>);

/// One scenario under one policy on so many CPUs.
pub(super) struct Stage {
    arena: Arena,
    linux: Arc<Linux>,
    monitor: Arc<Mutex<Monitor>>,
    base: Monitor,
    ratelimit: Ratelimit,
    names: Vec<(Ea, String)>,
    /// Violations are told with what led to them.
    tells: bool,
    recorder: Arc<Mutex<Recorder>>,
}

/// What one run came to.
pub(super) struct Ran {
    pub end: ArenaEnd,
    pub steps: u64,
    /// Names of what broke.
    pub broken: Vec<&'static str>,
    /// Of a recorded run: what broke before its end, and at which step.
    pub broke_at: Vec<(&'static str, u64)>,
}

impl Stage {
    pub fn new(
        scenario: &ExploreScenario,
        policy: Box<dyn LazyMmuPolicy>,
        cpus: u16,
    ) -> Result<Self, ExploreError> {
        Self::with_timing(scenario, policy, cpus, Timing::Functional)
    }

    /// The same with a timing; it changes nothing that a plan or a rule sees.
    pub(super) fn with_timing(
        scenario: &ExploreScenario,
        policy: Box<dyn LazyMmuPolicy>,
        cpus: u16,
        timing: Timing,
    ) -> Result<Self, ExploreError> {
        let config = RunConfig {
            htab_bits: Some(HTAB_BITS),
            timing,
            timer_period: Some(TIMER_PERIOD_MAX),
            preempt: scenario.preempt,
            fail_alloc: scenario.fail_alloc,
            fail_map: scenario.fail_map,
            ..RunConfig::new(policy.name())
        };
        let machine = machine_of(&config, KernelVersion::V2_6_38)?;
        let mut shape = machine_config(&config, &machine, Pages::K4, cpus)?;
        shape.geometry = GEOMETRY;
        let (base, groups) = (shape.hpt.base(), shape.hpt.groups_log2());
        let monitor = Arc::new(Mutex::new(Monitor::new(base, groups)));
        let recorder = Arc::new(Mutex::new(Recorder::new(monitor.clone(), shape.hpt)));
        let mut linux = Linux::new(
            &config,
            KernelVersion::V2_6_38,
            Pages::K4,
            &shape,
            policy,
            Some(monitor.clone()),
            true,
        )?;
        linux.copies_lines = true;
        linux.keeps_log = false;
        #[cfg(test)]
        {
            linux.mutation = scenario.mutation;
        }
        let linux = Arc::new(linux);
        let observer = Box::new(super::record::Listener(recorder.clone()));
        let mut engine = Engine::with_observer(shape, Box::new(Clocked::new()), Some(observer))
            .map_err(RunError::from)?;
        engine
            .machine()
            .set_vectors(Arc::new(KernelVectors(linux.clone())));
        let prepared = Arc::new(Mutex::new(None));
        set_up(&mut engine, &linux, scenario, &prepared).map_err(|why| ExploreError::Setup {
            scenario: scenario.id.clone(),
            policy: linux.policy.name().to_owned(),
            why,
        })?;
        let (made, dormant) = prepared.lock().take().unwrap_or_default();
        let names = dormant.iter().zip(&scenario.tasks);
        let names = names
            .map(|(made, of)| (made.stack, of.name.clone()))
            .collect();
        let arena = arena(engine, &linux, scenario, &made, &dormant)?;
        let base = monitor.lock().clone();
        let ratelimit = *linux.ratelimit.lock();
        Ok(Stage {
            ratelimit,
            names,
            tells: false,
            arena,
            linux,
            monitor,
            base,
            recorder,
        })
    }

    /// Runs a plan; with `trace`, gives what each step did.
    pub fn run(
        &mut self,
        plan: &Plan,
        trace: Option<&mut Vec<StepRecord>>,
    ) -> Result<Ran, ExploreError> {
        self.linux.begin_again(self.ratelimit);
        let mut monitor = self.monitor.lock();
        monitor.clone_from(&self.base);
        monitor.keep_history(self.tells);
        drop(monitor);
        let mut broke_at = Vec::new();
        let (end, steps) = match trace {
            None => {
                self.arena.machine().set_interest(Monitor::INTEREST);
                self.arena.run(plan, None)?
            }
            Some(trace) => {
                let machine = self.arena.machine();
                machine.set_interest(Monitor::INTEREST.and(emu_core::Interest::ACCESSES));
                self.recorder.lock().begin();
                let (recorder, linux) = (self.recorder.clone(), self.linux.clone());
                let mut watch = |view: emu_core::explore::StepView<'_>| {
                    recorder.lock().step(&linux, &view);
                };
                let ran = self.arena.run(plan, Some(&mut watch))?;
                (*trace, broke_at) = self.recorder.lock().take();
                ran
            }
        };
        let mut monitor = self.monitor.lock();
        if end != ArenaEnd::Quiet {
            monitor.cut_short();
        }
        monitor.end_of_run(Moment {
            cpu: CpuId(0),
            now: Cycles::ZERO,
            task: 0,
            pid: 0,
        });
        let broken = monitor.broken();
        Ok(Ran {
            end,
            steps,
            broken,
            broke_at,
        })
    }

    /// From now on invalidations reach other CPUs as late as the architecture allows.
    pub fn with_late_invalidations(mut self) -> Self {
        self.arena = self.arena.with_late_invalidations();
        self.recorder.lock().late = true;
        self
    }

    /// Addresses of the pages outside the linear map that recorded runs accessed.
    pub fn pages(&self) -> Vec<Ea> {
        self.recorder.lock().pages().collect()
    }

    /// The MMU of a CPU as the last run left it.
    #[cfg(test)]
    pub(super) fn mmu(&self, cpu: CpuId) -> Option<&emu_mmu::Mmu> {
        self.arena.mmu(cpu)
    }

    #[cfg(test)]
    pub(super) fn linux(&self) -> &Linux {
        &self.linux
    }

    /// From now on, what breaks is told with what led to it.
    pub fn tell(&mut self) {
        self.tells = true;
    }

    /// What broke in the last run, with what led to it.
    pub fn violations(&self) -> Vec<crate::report::ViolationReport> {
        self.monitor.lock().violations()
    }

    /// Name of a task of the scenario, or of an idle task.
    pub fn task_name(&self, task: u64) -> String {
        let named = self.names.iter().find(|(stack, _)| stack.get() == task);
        named.map_or("idle", |(_, name)| name.as_str()).to_owned()
    }
}

/// Boots, runs the set-up and makes the tasks, which nobody wakes.
fn set_up(
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
fn arena(
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

impl Linux {
    /// Forgets what the kernel model keeps beside guest memory, so that one run is as the next.
    fn begin_again(&self, ratelimit: Ratelimit) {
        self.log.lock().clear();
        *self.ratelimit.lock() = ratelimit;
        self.reports.lock().clear();
        self.reports_suppressed.store(0, Ordering::Relaxed);
        self.sleeping_lock_reported
            .store(u64::MAX, Ordering::Relaxed);
        self.allocations.store(0, Ordering::Relaxed);
        *self.failed.lock() = None;
        self.pages_mapped.store(0, Ordering::Relaxed);
        *self.open_batches.lock() = None;
        if let Some(ledger) = &self.ledger {
            *ledger.lock() = Default::default();
        }
    }
}
