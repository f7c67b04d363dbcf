//! The stage of an exploration: a kernel that has booted and done a scenario's set-up, with the tasks on its
//! run queues and not begun, in an arena (`set_up`).
//!
//! Owns what makes one run from there like the first: the arena brings the machine back, this the kernel
//! model's own records and the checkers.

mod moments;

pub(super) use moments::MomentId;

use super::record::{Heard, Recorder, Recording};
use super::scenario::ExploreScenario;
use super::set_up::{arena, set_up};
use super::step::StepRecord;
use crate::config::{KernelVersion, Pages, RunConfig, RunError};
use crate::disturbance::TIMER_PERIOD_MAX;
use crate::invariant::{Monitor, MonitorMark, SharedMonitor};
use crate::kept::KeptValues;
use crate::kernel::Linux;
use crate::lazy_mmu::LazyMmuPolicy;
use crate::machine::{machine_config, machine_of};
use crate::task::KernelVectors;
use crate::timing::Timing;
use crate::tracepoint;
use emu_core::explore::{Arena, ArenaEnd, ArenaError, Deviation, Plan};
use emu_core::{Clocked, CpuId, Cycles, Engine};
use emu_mmu::{Ea, MemoryError, MmuGeometry, Replacement, TlbGeometry};
use moments::Moment;
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

/// One scenario under one policy on so many CPUs.
pub(super) struct Stage {
    arena: Arena,
    linux: Arc<Linux>,
    monitor: Arc<SharedMonitor>,
    base: MonitorMark,
    kept: KeptValues,
    /// Where runs with the same beginning part, each later in the run than the one before; those behind the first
    /// `depth` are room for others.
    moments: Vec<Moment>,
    depth: usize,
    /// Moments that were ever remembered.
    made: u64,
    names: Vec<(Ea, String)>,
    /// Violations are told with what led to them.
    tells: bool,
    recorder: Recorder,
    heard: Arc<Heard>,
}

/// Where a recorded run parts from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parting {
    pub departure: Deviation,
    /// The first of the steps before it that are wanted, as a place in the other's.
    pub from: usize,
}

/// A recorded run that parted from another.
pub(super) struct Branch {
    pub ran: Ran,
    /// What each step did, from the other's step at the place `from` on.
    pub steps: Vec<StepRecord>,
    pub from: usize,
    /// The moment in which it parted.
    pub moment: Option<MomentId>,
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

impl Ran {
    /// Something broke, or it did not end of itself.
    pub fn tells_anything(&self) -> bool {
        !self.broken.is_empty() || !matches!(self.end, ArenaEnd::Quiet | ArenaEnd::Halted)
    }
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
        let monitor = Arc::new(SharedMonitor::new(Monitor::new(base, groups)));
        let recorder = Recorder::new(monitor.clone(), shape.hpt);
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
        let heard = Arc::<Heard>::default();
        let observer = Box::new(super::record::Listener {
            heard: heard.clone(),
            monitor: monitor.clone(),
        });
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
        let kept = linux.kept.values();
        let mut base = MonitorMark::new();
        monitor.with(|monitor| {
            monitor.keep_past();
            monitor.mark(&mut base);
        });
        Ok(Stage {
            kept,
            moments: Vec::new(),
            depth: 0,
            made: 0,
            names,
            tells: false,
            arena,
            linux,
            monitor,
            base,
            recorder,
            heard,
        })
    }

    /// Runs a plan; with `trace`, gives what each step did.
    pub fn run(
        &mut self,
        plan: &Plan,
        trace: Option<&mut Vec<StepRecord>>,
    ) -> Result<Ran, ExploreError> {
        let monitor = self.monitor.clone();
        let _held = monitor.hold();
        self.begin()?;
        let Some(trace) = trace else {
            let (end, steps) = self.arena.finish(plan, None)?;
            return Ok(self.ran(end, steps, Vec::new()));
        };
        self.recorder.begin();
        let (ran, steps) = self.finish_recorded(plan)?;
        *trace = steps;
        Ok(ran)
    }

    /// Goes on to the end of a plan's run, and gives what each step did.
    fn finish_recorded(&mut self, plan: &Plan) -> Result<(Ran, Vec<StepRecord>), ExploreError> {
        let all = Monitor::INTEREST.and(emu_core::Interest::ACCESSES);
        self.arena.machine().set_interest(all);
        let mut recording = Recording::new(&mut self.recorder, &self.heard, &self.linux);
        let finished = self.arena.finish(plan, Some(&mut recording));
        drop(recording);
        let (trace, broke_at) = self.recorder.take();
        self.arena.machine().set_interest(Monitor::INTEREST);
        let (end, steps) = finished?;
        Ok((self.ran(end, steps, broke_at), trace))
    }

    /// Takes the steps of a run that nobody needs any more.
    pub fn give_back(&mut self, steps: Vec<StepRecord>) {
        self.recorder.give_back(steps);
    }

    /// As [`Stage::branches`], and gives what each step did; `trace` and `broke_at` are of the plan's own run.
    pub fn recorded_branches(
        &mut self,
        plan: &Plan,
        (trace, broke_at): (&[StepRecord], &[(&'static str, u64)]),
        partings: &[Parting],
    ) -> Result<Vec<Branch>, ExploreError> {
        let monitor = self.monitor.clone();
        let _held = monitor.hold();
        self.begin_again()?;
        let mut all = Vec::new();
        for &Parting { departure, from } in partings {
            let ended = self.arena.go_to(plan, departure.step)?;
            let before = trace.partition_point(|step| step.step <= departure.step);
            if ended.is_some() {
                break;
            }
            let moment = self.part()?;
            let shared = trace.get(from..before).unwrap_or_default();
            self.recorder.begin_after(shared, broke_at);
            self.arena.depart(departure.turn);
            let (ran, steps) = self.finish_recorded(plan)?;
            all.push(Branch {
                ran,
                steps,
                from,
                moment: Some(moment),
            });
            self.return_to_parting()?;
        }
        Ok(all)
    }

    /// Runs a plan with one more departure, for each of `departures`, which are in the order of their steps and
    /// not before the plan's. What they have in common is run once.
    pub fn branches(
        &mut self,
        plan: &Plan,
        departures: &[Deviation],
        each: &mut dyn FnMut(usize, Ran) -> bool,
    ) -> Result<(), ExploreError> {
        let monitor = self.monitor.clone();
        let _held = monitor.hold();
        self.begin_again()?;
        for (number, departure) in departures.iter().enumerate() {
            let ended = self.arena.go_to(plan, departure.step)?;
            let moment = self.part()?;
            let (end, steps) = match ended {
                Some(end) => end,
                None => {
                    self.arena.depart(departure.turn);
                    self.arena.finish(plan, None)?
                }
            };
            let ran = self.ran(end, steps, Vec::new());
            if !each(number, ran) {
                break;
            }
            self.return_for_good(moment)?;
        }
        Ok(())
    }

    /// Brings everything back to where runs begin; no moment is remembered then.
    fn begin(&mut self) -> Result<(), ArenaError> {
        self.depth = 0;
        self.linux.begin_again(&self.kept);
        self.monitor.with(|monitor| {
            monitor.return_to(&self.base);
            monitor.keep_history(self.tells);
        });
        self.arena.machine().set_interest(Monitor::INTEREST);
        self.arena.begin()
    }

    /// What a run came to that has ended.
    fn ran(&mut self, end: ArenaEnd, steps: u64, broke_at: Vec<(&'static str, u64)>) -> Ran {
        let broken = self.monitor.with(|monitor| {
            if end != ArenaEnd::Quiet {
                monitor.cut_short();
            }
            monitor.end_of_run(tracepoint::Moment {
                cpu: CpuId(0),
                now: Cycles::ZERO,
                task: 0,
                pid: 0,
            });
            monitor.broken()
        });
        Ran {
            end,
            steps,
            broken,
            broke_at,
        }
    }

    /// From now on invalidations reach other CPUs as late as the architecture allows.
    pub fn with_late_invalidations(mut self) -> Self {
        self.arena = self.arena.with_late_invalidations();
        self.recorder.late = true;
        self
    }

    /// Addresses of the pages outside the linear map that recorded runs accessed.
    pub fn pages(&self) -> Vec<Ea> {
        self.recorder.pages().collect()
    }

    /// The MMU of a CPU as the last run left it.
    #[cfg(test)]
    pub(super) fn mmu(&self, cpu: CpuId) -> Option<&emu_mmu::Mmu> {
        self.arena.mmu(cpu)
    }

    /// A hash of what the last run changed in memory.
    #[cfg(test)]
    pub(super) fn memory_hash(&self) -> u64 {
        self.arena.machine().memory().journal_hash()
    }

    #[cfg(test)]
    pub(super) fn linux(&self) -> &Linux {
        &self.linux
    }

    /// From now on each recorded step tells the state before it, as a hash.
    pub fn with_states(mut self) -> Self {
        self.arena = self.arena.with_scripts().stop_before_steps();
        self.recorder.hashes_states = true;
        self
    }

    /// From now on guest code runs only to find out what it does.
    pub fn with_scripts(mut self) -> Self {
        self.arena = self.arena.with_scripts();
        self
    }

    /// From now on, what breaks is told with what led to it.
    pub fn tell(&mut self) {
        self.tells = true;
    }

    /// What broke in the last run, with what led to it.
    pub fn violations(&self) -> Vec<crate::report::ViolationReport> {
        self.monitor.with(|monitor| monitor.violations())
    }

    /// Steps that all runs so far made together.
    pub fn steps_made(&self) -> u64 {
        self.arena.steps_made()
    }

    /// Name of a task of the scenario, or of an idle task.
    pub fn task_name(&self, task: u64) -> String {
        let named = self.names.iter().find(|(stack, _)| stack.get() == task);
        named.map_or("idle", |(_, name)| name.as_str()).to_owned()
    }
}

impl Linux {
    /// Forgets what the kernel model keeps beside guest memory, so that one run is as the next.
    fn begin_again(&self, kept: &KeptValues) {
        self.log.lock().clear();
        self.kept.set(kept);
        self.reports.lock().clear();
        self.reports_suppressed.store(0, Ordering::Relaxed);
        *self.failed.lock() = None;
        *self.open_batches.lock() = None;
        if let Some(ledger) = &self.ledger {
            *ledger.lock() = Default::default();
        }
    }
}
