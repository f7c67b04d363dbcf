//! The machine of a test, in an arena that brings it back to the initial state.
//!
//! Owns how the initial state comes to be, and what the search sees of each step. Refuses to choose.

use super::guest::{LitmusVectors, Shared};
use super::observe::observe;
use super::place::{
    BATCH_MAX, MEMORY_BYTES, OfTask, batch, batch_active, batch_index, batch_page, batch_pte,
    current, ea, frame_ra, of_task, pte, queue, slb_entry, slot, table, variable,
};
use super::search::LitmusRunError;
use super::test::Litmus;
use super::watch::{Listener, Watch};
use emu_core::explore::{Arena, ArenaEnd, Fresh, Limits, Plan, StepView, Turn};
use emu_core::{
    Clocked, ContextEnd, ContextId, CostTable, CpuId, Ctx, Cycles, Engine, EngineError, Machine,
    MachineConfig, Run,
};
use emu_mmu::{MemoryError, MmuGeometry, Ra, Replacement, TlbGeometry};
use parking_lot::Mutex;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// Nothing of a test is ever evicted: it has no more pages than a set has ways.
const GEOMETRY: MmuGeometry = MmuGeometry {
    slb_entries: 8,
    erat: TlbGeometry { sets: 4, ways: 4 },
    ierat: TlbGeometry { sets: 1, ways: 1 },
    tlb: TlbGeometry { sets: 4, ways: 4 },
    erat_replacement: Replacement::Lru,
    tlb_replacement: Replacement::Lru,
};

/// No timer but the plan's. Who waits so often waits for ever.
const LIMITS: Limits = Limits {
    steps_between_ticks: 1 << 40,
    steps_max: 4_000,
    waits_max: 40,
};

/// A step of a task that is about to be made.
pub(super) struct Point {
    pub step: u64,
    pub cpu: CpuId,
    /// Equal if all that is to come is alike.
    pub state: u64,
    /// What could happen instead, but for other CPUs that go on.
    pub own: Vec<Vec<Turn>>,
    /// Other CPUs that could go on.
    pub others: Vec<CpuId>,
}

/// What a run came to.
pub(super) struct Ran {
    pub points: Vec<Point>,
    /// What the locations held; `None` if the run did not end.
    pub seen: Option<Vec<u64>>,
}

/// The machine of a test.
pub(super) struct Stage {
    arena: Arena,
    shared: Arc<Shared>,
    base: Watch,
}

impl Stage {
    pub fn new(test: &Litmus) -> Result<Self, LitmusRunError> {
        let cpus = test.cpus();
        let watch = Arc::new(Mutex::new(Watch::new()));
        let shared = Arc::new(Shared {
            test: test.clone(),
            watch: watch.clone(),
            idle: OnceLock::new(),
            contexts: OnceLock::new(),
        });
        let config = MachineConfig {
            cpus,
            memory_bytes: MEMORY_BYTES,
            hpt: table(),
            geometry: GEOMETRY,
            costs: CostTable::functional(),
            quantum: Cycles::new(1000),
        };
        let listener = Box::new(Listener(watch.clone()));
        let mut engine = Engine::with_observer(config, Box::new(Clocked::new()), Some(listener))?;
        let machine = engine.machine().clone();
        machine.set_vectors(Arc::new(LitmusVectors(shared.clone())));
        fill(&machine, test, &watch)?;
        let idle = (0..cpus).map(|cpu| boot(&mut engine, &shared, cpu));
        let _ = shared.idle.set(idle.collect());
        match engine.run() {
            // Every CPU waits, for no task has begun.
            Err(EngineError::Deadlock) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(LitmusRunError::Setup),
        }
        let contexts: Vec<ContextId> = shared.contexts.get().cloned().unwrap_or_default();
        let mut begin = Vec::new();
        for (task, of) in test.tasks.iter().enumerate() {
            let cpu = of.cpus.first().copied().unwrap_or(0);
            let waiting = machine.memory().load_u64(queue(cpu))?;
            let at = (64 - waiting.leading_zeros()).div_ceil(4) * 4;
            let waiting = waiting | (task as u64 + 1) << at;
            machine.memory().store_u64(queue(cpu), waiting)?;
            begin.push(CpuId(cpu));
        }
        let tasks = (contexts.into_iter().enumerate())
            .map(|(task, context)| (context, task_code(&shared, task)));
        let idle = (0..cpus).map(|_| {
            let shared = shared.clone();
            let fresh: Fresh = Arc::new(move || {
                let shared = shared.clone();
                Box::new(move |cx| shared.idle(cx, true))
            });
            fresh
        });
        let tasks: Vec<_> = tasks.collect();
        let arena = Arena::new(engine, idle.collect(), tasks, &begin, LIMITS)?;
        let base = watch.lock().clone();
        Ok(Stage {
            arena: arena.with_late_invalidations(),
            shared,
            base,
        })
    }

    /// Runs a plan; the points are those after step `from`. `interrupts` are left to it.
    pub fn run(
        &mut self,
        plan: &Plan,
        from: u64,
        interrupts: usize,
    ) -> Result<Ran, LitmusRunError> {
        self.shared.watch.lock().clone_from(&self.base);
        let (shared, mut points, mut failed) = (self.shared.clone(), Vec::new(), None);
        let mut watch = |view: StepView<'_>| {
            if view.step() > from && view.local() != 0 && view.depth() == 0 {
                match point(&shared, &view, interrupts) {
                    Ok(point) => points.push(point),
                    Err(error) => failed = Some(error),
                }
            }
        };
        let (end, _) = self.arena.run(plan, Some(&mut watch))?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let seen = match end {
            ArenaEnd::Quiet => Some(observe(&self.arena, &self.shared)?),
            ArenaEnd::Hung => None,
            ArenaEnd::Died(cpu, exception) => return Err(LitmusRunError::Died { cpu, exception }),
            ArenaEnd::Halted => return Err(LitmusRunError::Setup),
        };
        Ok(Ran { points, seen })
    }
}

/// What the search has to know of a step.
fn point(shared: &Shared, view: &StepView<'_>, interrupts: usize) -> Result<Point, MemoryError> {
    let memory = view.machine().memory();
    let mut state = DefaultHasher::new();
    (memory.journal_hash(), view.hardware_hash(), view.cpu()).hash(&mut state);
    (shared.watch.lock().state(), interrupts).hash(&mut state);
    let waits = |cpu: u16| -> Result<bool, MemoryError> {
        let task = memory.load_u64(current(cpu))?;
        let Some(task) = (task as usize).checked_sub(1) else {
            return Ok(false);
        };
        let at = memory.load_u64(of_task(task, OfTask::WaitsFor))?;
        let held = memory.load_u64(of_task(task, OfTask::WaitedFor))?;
        Ok(at != 0 && memory.load_u64(Ra::new(at))? == held)
    };
    let mut others = Vec::new();
    for cpu in 0..view.machine().cpus() {
        // One that waits for a change of what has not changed would only look again.
        if view.ready() >> cpu & 1 == 1 && !waits(cpu)? {
            others.push(CpuId(cpu));
        }
    }
    let mut own: Vec<Vec<Turn>> = (1..=view.under_way())
        .map(|count| vec![Turn::Receive(view.cpu()); count])
        .collect();
    if interrupts > 0 && view.interrupts_enabled() {
        own.push(vec![Turn::Interrupt]);
    }
    Ok(Point {
        step: view.step(),
        cpu: view.cpu(),
        state: state.finish(),
        own,
        others,
    })
}

/// Puts the initial state into memory.
fn fill(machine: &Machine, test: &Litmus, watch: &Mutex<Watch>) -> Result<(), MemoryError> {
    let (memory, init) = (machine.memory(), &test.init);
    for (number, (_, value)) in init.frames.iter().enumerate() {
        memory.store_u64(frame_ra(number), *value)?;
    }
    for (number, (_, value)) in init.variables.iter().enumerate() {
        memory.store_u64(variable(number), *value)?;
    }
    for (page, value) in init.ptes.iter().enumerate() {
        memory.store_u64(pte(page), *value)?;
    }
    for &(page, number, v, r) in &init.hptes {
        let at = table().hpte_ra(slot(page, u64::from(number)));
        for (ra, value) in [(at + 8, r), (at, v)] {
            memory.store_u64(ra, value)?;
            watch.lock().follow(ra, value);
        }
    }
    for &(cpu, page, value) in &init.queued {
        let at = batch(cpu);
        let index = memory.load_u64(batch_index(at))?.min(BATCH_MAX - 1);
        memory.store_u64(batch_page(at, index), page as u64)?;
        memory.store_u64(batch_pte(at, index), value)?;
        memory.store_u64(batch_index(at), index + 1)?;
    }
    for &cpu in &init.active {
        memory.store_u64(batch_active(batch(cpu)), 1)?;
    }
    Ok(())
}

/// Starts a CPU, which sets up its SLB, makes the accesses whose translations it is to have, and waits.
fn boot(engine: &mut Engine, shared: &Arc<Shared>, cpu: u16) -> ContextId {
    let shared = shared.clone();
    engine.start_cpu(
        cpu,
        Box::new(move |cx| {
            set_up(&shared, cx, cpu)?;
            shared.idle(cx, false)
        }),
    )
}

fn set_up(shared: &Shared, cx: &mut Ctx<'_>, cpu: u16) -> Run<()> {
    let entry = slb_entry();
    cx.slbmte(entry.rs(), entry.rb(0))?;
    for &(on, page, dirty) in &shared.test.init.cached {
        if on == cpu {
            let value = cx.load_u64(ea(page), "litmus: initial state")?;
            if dirty {
                cx.store_u64(ea(page), value, "litmus: initial state")?;
            }
        }
    }
    if cpu == 0 {
        // The numbers of the tasks' contexts; what runs in them is made anew for each run.
        let spawn = |_| cx.spawn(Box::new(|_| Ok(ContextEnd::Halt)));
        let contexts = (0..shared.test.tasks.len()).map(spawn).collect();
        let _ = shared.contexts.set(contexts);
    }
    Ok(())
}

fn task_code(shared: &Arc<Shared>, task: usize) -> Fresh {
    let shared = shared.clone();
    Arc::new(move || {
        let shared = shared.clone();
        Box::new(move |cx| shared.run(cx, task))
    })
}
