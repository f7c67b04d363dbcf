//! The threaded engine: a host thread for each CPU.
//!
//! Owns the threads, when they start and how they end. Each runs its CPU in short stretches of guest
//! code and goes back to the board in between, which is where clocks are held together, mail is taken
//! and contexts change hands. An observed run takes turns: one stretch at a time, on whichever CPU the
//! host lets go on, so that the observer hears of what happened in the order in which it happened; what
//! else guest code tells a checker between two verbs is in that order too. Without an observer stretches
//! overlap, and CPUs meet in guest memory alone. Refuses to be repeatable, but with one CPU.

use super::{
    BUDGET_MAX, Engine, EngineError, RunEnd, adopt_newborn, choose_budget, prepare, take_letters,
    wake,
};
use crate::board::{ASIDE, Turn};
use crate::cost::Cycles;
use crate::cpu::CpuId;
use crate::exception::Exception;
use crate::guest::{Context, ContextEnd, ContextId, Outcome, Pause, Resumed, StackPool};
use crate::handover::{Handover, Taken};
use crate::machine::Machine;
use parking_lot::Mutex;
use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

/// Stretches in a quantum, at least: other CPUs wait no longer than one for an invalidation to be done.
const STRETCHES: u64 = 4;
/// Longest stretch in cycles, however long the quantum.
const STRETCH_MAX: u64 = 500;
/// How long the thread that polls sleeps at most.
const POLL: Duration = Duration::from_millis(20);

/// How a run ended.
enum Ending {
    Halted,
    Stopped,
    Failed(EngineError),
}

/// What the threads of a run share.
struct Crew {
    machine: Arc<Machine>,
    contexts: Handover<Context>,
    stacks: Mutex<StackPool>,
    quantum: u64,
    /// Held during a stretch of an observed run.
    turn: Option<Mutex<()>>,
    ending: Mutex<Option<Ending>>,
}

/// Ends the run when a thread leaves, for whatever reason.
struct Leave<'a>(&'a Crew);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.machine.board.close();
    }
}

/// The thread of one CPU.
struct Worker<'a> {
    crew: &'a Crew,
    index: usize,
    /// `None` after a panic, which took it along.
    cpu: Option<Resumed>,
    /// The context that is on the CPU.
    held: Option<(ContextId, Context)>,
    poll: Option<&'a mut dyn FnMut(Cycles)>,
}

/// Goes on, or leaves.
type Step = Result<ControlFlow<()>, EngineError>;

impl Engine {
    /// As [`Engine::run`], with a host thread for each CPU that was started; this thread is one of them.
    ///
    /// What the scheduler is asked it still decides, but not which CPU goes on: the host does, within the
    /// machine's quantum. So no two runs need be alike, but with one CPU, which runs as under
    /// [`Engine::run`]. Guest code keeps the contract of [`GuestCode`](crate::GuestCode).
    ///
    /// # Errors
    /// As [`Engine::run`]; [`EngineError::Panicked`] if code on a CPU panicked, [`EngineError::Thread`] if the
    /// host refused a thread.
    pub fn run_threads(&mut self) -> Result<RunEnd, EngineError> {
        self.run_threads_polled(&mut |_| ())
    }

    /// The same, calling `poll` on the calling thread, now and then, with the time that the slowest CPU has
    /// come to.
    ///
    /// # Errors
    /// As [`Engine::run_threads`].
    pub fn run_threads_polled(
        &mut self,
        poll: &mut dyn FnMut(Cycles),
    ) -> Result<RunEnd, EngineError> {
        let machine = self.machine.clone();
        let started = |cpu: &Option<Resumed>| {
            cpu.as_ref()
                .is_some_and(|cpu| cpu.context != ContextId::NONE)
        };
        let cpus: Vec<Resumed> = self
            .cpus
            .iter_mut()
            .filter(|cpu| started(cpu))
            .filter_map(Option::take)
            .collect();
        let clocks = cpus.iter().map(|cpu| (cpu.id.index(), cpu.clock.get()));
        machine.board.open(clocks);
        let alone = cpus.len() < 2;
        machine.threads.store(!alone, Ordering::Relaxed);
        let turns = machine.is_observed() && !alone;
        let crew = Crew {
            contexts: Handover::new(std::mem::take(&mut self.contexts)),
            stacks: Mutex::new(std::mem::take(&mut self.stacks)),
            quantum: self.quantum.get(),
            turn: turns.then(|| Mutex::new(())),
            ending: Mutex::new(None),
            machine,
        };
        for cpu in crew.run(cpus, poll) {
            let index = cpu.id.index();
            self.cpus[index] = Some(cpu);
        }
        crew.machine.threads.store(false, Ordering::Relaxed);
        self.contexts = crew.contexts.take_all();
        self.stacks = crew.stacks.into_inner();
        match crew.ending.into_inner() {
            Some(Ending::Halted) => Ok(self.end(false)),
            Some(Ending::Stopped) | None => Ok(self.end(true)),
            Some(Ending::Failed(error)) => {
                self.machine.request_stop();
                Err(error)
            }
        }
    }
}

impl Crew {
    /// Runs each CPU on a thread, the first on this one; gives back those that did not panic.
    fn run(&self, cpus: Vec<Resumed>, poll: &mut dyn FnMut(Cycles)) -> Vec<Resumed> {
        let mut cpus = cpus.into_iter();
        let Some(first) = cpus.next() else {
            self.end(Ending::Failed(EngineError::Deadlock));
            return Vec::new();
        };
        thread::scope(|scope| {
            let _leave = Leave(self);
            let mut threads = Vec::new();
            let mut unstarted = Vec::new();
            for cpu in cpus {
                if self.machine.board.is_closed() {
                    unstarted.push(cpu);
                    continue;
                }
                // In a cell that outlives a thread that could not be made.
                let slot = Arc::new(Mutex::new(Some(cpu)));
                let own = slot.clone();
                let name = own.lock().as_ref().map(|cpu| format!("cpu {}", cpu.id));
                let work = move || {
                    let cpu = own.lock().take()?;
                    self.work(cpu, None)
                };
                let builder = thread::Builder::new().name(name.unwrap_or_default());
                match builder.spawn_scoped(scope, work) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        self.end(Ending::Failed(EngineError::Thread(error)));
                        unstarted.extend(slot.lock().take());
                    }
                }
            }
            let first = self.work(first, Some(poll));
            let others = threads.into_iter().filter_map(|t| t.join().ok().flatten());
            first.into_iter().chain(others).chain(unstarted).collect()
        })
    }

    fn work<'a>(
        &'a self,
        cpu: Resumed,
        poll: Option<&'a mut dyn FnMut(Cycles)>,
    ) -> Option<Resumed> {
        let _leave = Leave(self);
        let mut worker = Worker {
            crew: self,
            index: cpu.id.index(),
            cpu: Some(cpu),
            held: None,
            poll,
        };
        worker.run();
        worker.cpu
    }

    /// Ends the run; the first end counts.
    fn end(&self, ending: Ending) {
        self.ending.lock().get_or_insert(ending);
        self.machine.board.close();
    }
}

impl Worker<'_> {
    fn run(&mut self) {
        loop {
            match self.step() {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break,
                Err(error) => {
                    self.crew.end(Ending::Failed(error));
                    break;
                }
            }
        }
        if let Some((id, context)) = self.held.take() {
            self.give_back(id, Some(context));
        }
    }

    /// One stretch of guest code, and what has to be before it and after it.
    fn step(&mut self) -> Step {
        let Some(cpu) = self.cpu.as_mut() else {
            return Ok(ControlFlow::Break(()));
        };
        let (crew, machine) = (self.crew, &*self.crew.machine);
        if machine.stopping() {
            crew.end(Ending::Stopped);
            return Ok(ControlFlow::Break(()));
        }
        let ready = |ipi| {
            cpu.receive_ipi(ipi);
            take_letters(machine, cpu);
            (cpu.ready_at().get(), cpu.waiting)
        };
        let poll = &mut self.poll;
        let sleep = poll.as_ref().map(|_| POLL);
        let look = || {
            if machine.stopping() {
                crew.end(Ending::Stopped);
            }
            if let (Some(poll), Some(now)) = (poll.as_mut(), machine.board.slowest()) {
                poll(Cycles::new(now));
            }
        };
        let board = &machine.board;
        let allowed = match board.turn(self.index, crew.quantum, sleep, ready, look) {
            Turn::Run(allowed) if crew.machine.runs_threads() => {
                allowed.min((crew.quantum / STRETCHES).min(STRETCH_MAX))
            }
            Turn::Run(allowed) => allowed,
            Turn::Closed => return Ok(ControlFlow::Break(())),
            Turn::Deadlock => return Err(EngineError::Deadlock),
        };
        let budget = choose_budget(machine, Cycles::new(allowed).min(BUDGET_MAX));
        if self.hold_context()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.stretch(budget)
    }

    /// Sees that the context of the CPU is held.
    fn hold_context(&mut self) -> Step {
        let (Some(cpu), crew) = (self.cpu.as_mut(), self.crew) else {
            return Ok(ControlFlow::Break(()));
        };
        let (wanted, machine) = (cpu.context, &crew.machine);
        if self.held.as_ref().is_some_and(|(id, _)| *id == wanted) {
            return Ok(ControlFlow::Continue(()));
        }
        loop {
            if machine.board.is_closed() {
                return Ok(ControlFlow::Break(()));
            }
            let taken =
                crew.contexts
                    .take(wanted.index(), self.index, &machine.board, |contexts| {
                        adopt_newborn(machine, contexts, &mut crew.stacks.lock())
                    })?;
            match taken {
                Taken::Context(context) => {
                    self.held = Some((wanted, context));
                    return Ok(ControlFlow::Continue(()));
                }
                Taken::Elsewhere { alone: true } => return Err(EngineError::Deadlock),
                Taken::Elsewhere { alone: false } => {
                    let most = self.poll.as_ref().map(|_| POLL);
                    machine.board.sleep(self.index, ASIDE, most);
                    let back_at = machine.board.clock(self.index);
                    if back_at != ASIDE {
                        cpu.idle_until(Cycles::new(back_at));
                    }
                    if let (Some(poll), Some(now)) = (&mut self.poll, machine.board.slowest()) {
                        poll(Cycles::new(now));
                    }
                    if machine.stopping() {
                        crew.end(Ending::Stopped);
                    }
                }
                Taken::Nowhere => {
                    return Err(EngineError::NoContext {
                        cpu: cpu.id,
                        context: wanted.get(),
                    });
                }
            }
        }
    }

    /// Runs the context that is held.
    fn stretch(&mut self, budget: Cycles) -> Step {
        let (Some(mut cpu), Some((id, mut context))) = (self.cpu.take(), self.held.take()) else {
            return Ok(ControlFlow::Break(()));
        };
        let (crew, board) = (self.crew, &self.crew.machine.board);
        wake(&crew.machine, &mut cpu);
        if let Some(poll) = &mut self.poll {
            poll(cpu.clock);
        }
        let turn = crew.turn.as_ref().map(Mutex::lock);
        if turn.is_some() && board.is_closed() {
            (self.cpu, self.held) = (Some(cpu), Some((id, context)));
            return Ok(ControlFlow::Break(()));
        }
        board.begin(self.index);
        prepare(&crew.machine, &mut cpu, budget);
        let resumed = catch_unwind(AssertUnwindSafe(|| context.resume(cpu)));
        board.end(self.index);
        drop(turn);
        match resumed {
            Ok((cpu, outcome)) => {
                self.cpu = Some(cpu);
                self.after(id, context, outcome)
            }
            Err(panic) => Err(EngineError::Panicked {
                cpu: CpuId(self.index as u16),
                message: message_of(&*panic),
            }),
        }
    }

    fn after(&mut self, id: ContextId, context: Context, outcome: Outcome) -> Step {
        let crew = self.crew;
        match outcome {
            Outcome::Paused(pause) => {
                match pause {
                    Pause::Switch => self.give_back(id, Some(context)),
                    _ => self.held = Some((id, context)),
                }
                if pause == Pause::Completion {
                    crew.machine.board.complete(self.index);
                }
                if let (Pause::Wait, Some(cpu)) = (pause, self.cpu.as_mut()) {
                    cpu.waiting = true;
                }
            }
            Outcome::Ended(end) => {
                let kept = context.ended(&mut crew.stacks.lock());
                let gone = kept.is_none();
                self.give_back(id, kept);
                if gone {
                    crew.machine.contexts_free.lock().push(id);
                }
                match end {
                    Ok(ContextEnd::SwitchTo(next)) => {
                        if let Some(cpu) = self.cpu.as_mut() {
                            cpu.context = next;
                        }
                    }
                    Ok(ContextEnd::Halt) => crew.end(Ending::Halted),
                    Err(Exception::Stop) => crew.end(Ending::Stopped),
                    Err(exception) => {
                        let cpu = CpuId(self.index as u16);
                        return Err(EngineError::Guest { cpu, exception });
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn give_back(&self, id: ContextId, context: Option<Context>) {
        let clock = self.cpu.as_ref().map_or(0, |cpu| cpu.clock.get());
        let board = &self.crew.machine.board;
        let contexts = &self.crew.contexts;
        contexts.give_back(id.index(), context, clock, board);
    }
}

/// What a panic said.
fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
