//! The engines. The deterministic one, here: one host thread runs all CPUs, one at a time. The threaded
//! one, in `threads`: a host thread for each CPU.
//!
//! Owns the order in which CPUs go on, by asking the scheduler. Refuses to decide which task a CPU runs:
//! that is guest code.

use crate::cost::{Category, Cycles};
use crate::cpu::{Cpu, CpuId, CpuReport};
use crate::exception::Exception;
use crate::guest::{Context, ContextEnd, ContextId, Outcome, Pause, StackPool};
use crate::machine::{Machine, MachineConfig};
use crate::probe::Observer;
use crate::scheduler::{Choice, Options, Scheduler};
use emu_mmu::{GeometryError, MemoryError};
use std::sync::Arc;

/// Longest budget: how soon a request to stop is noticed.
const BUDGET_MAX: Cycles = Cycles::new(10_000_000);

/// Why a machine could not be built or run on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// More CPUs than the engine has room for, or none.
    #[error("{0} CPUs: a machine has 1 to 64")]
    CpuCount(u16),
    /// The hash table ends beyond guest memory.
    #[error("the hash table ends at {end:#x}, beyond guest memory of {memory:#x} bytes")]
    TableOutsideMemory {
        /// First address after the table.
        end: u64,
        /// Size of guest memory in bytes.
        memory: u64,
    },
    /// The host refused the memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A translation structure that cannot be built.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The host refused a stack.
    #[error("no host stack for a guest context: {0}")]
    Stack(#[from] std::io::Error),
    /// Guest code ended with an exception that nothing handled.
    #[error("guest code on CPU {cpu} ended: {exception}")]
    Guest {
        /// The CPU it ran on.
        cpu: CpuId,
        /// What it ended with.
        exception: Exception,
    },
    /// Guest code switched to a context that does not exist or has ended.
    #[error("CPU {cpu} switched to context {context}, which does not exist")]
    NoContext {
        /// The CPU.
        cpu: CpuId,
        /// The context's number.
        context: u32,
    },
    /// Every CPU waits and no interrupt is due.
    #[error("deadlock: every CPU waits for an interrupt and none is due")]
    Deadlock,
    /// The host refused a thread.
    #[error("no host thread for a CPU: {0}")]
    Thread(std::io::Error),
    /// Code that a CPU ran panicked; every CPU was stopped.
    #[error("CPU {cpu} panicked: {message}")]
    Panicked {
        /// The CPU.
        cpu: CpuId,
        /// What the panic said.
        message: String,
    },
}

/// State of the machine when a run ended.
#[derive(Clone, Debug)]
pub struct RunEnd {
    /// Each CPU.
    pub cpus: Vec<CpuReport>,
    /// True if the run was stopped from outside rather than halted by the guest.
    pub stopped: bool,
    /// [`Machine::irqs_off_max`].
    pub irqs_off_max: Cycles,
}

/// Runs a machine.
pub struct Engine {
    machine: Arc<Machine>,
    cpus: Vec<Option<Box<Cpu>>>,
    contexts: Vec<Option<Context>>,
    stacks: StackPool,
    quantum: Cycles,
    /// CPUs that a debugger holds, as bits.
    held: u64,
}

/// An engine taken apart.
pub(crate) struct Parts {
    pub machine: Arc<Machine>,
    pub cpus: Vec<Option<Box<Cpu>>>,
    pub contexts: Vec<Option<Context>>,
    pub stacks: StackPool,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("machine", &self.machine)
            .finish()
    }
}

impl Engine {
    /// Builds a machine whose undetermined choices `scheduler` makes.
    ///
    /// # Errors
    /// A shape that cannot be, or memory that the host refuses.
    pub fn new(config: MachineConfig, scheduler: Box<dyn Scheduler>) -> Result<Self, EngineError> {
        Self::with_observer(config, scheduler, None)
    }

    /// The same, with an observer of hardware events.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn with_observer(
        config: MachineConfig,
        scheduler: Box<dyn Scheduler>,
        observer: Option<Box<dyn Observer>>,
    ) -> Result<Self, EngineError> {
        let quantum = config.quantum;
        let cpus = (0..config.cpus)
            .map(|i| Ok(Some(Box::new(Cpu::new(CpuId(i), &config)?))))
            .collect::<Result<_, GeometryError>>()?;
        let machine = Arc::new(Machine::new(config, scheduler, observer)?);
        Ok(Engine {
            machine,
            cpus,
            contexts: Vec::new(),
            stacks: StackPool::default(),
            quantum,
            held: 0,
        })
    }

    /// What the CPUs share.
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// Runs until guest code halts the machine or the run is stopped.
    ///
    /// # Errors
    /// Guest code that ends with an unhandled exception, a deadlock, a host out of stacks.
    pub fn run(&mut self) -> Result<RunEnd, EngineError> {
        self.run_polled(&mut |_| ())
    }

    /// The same, calling `poll` with the clock of the CPU that goes on whenever a budget begins: for
    /// progress and watchdogs.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn run_polled(&mut self, poll: &mut dyn FnMut(Cycles)) -> Result<RunEnd, EngineError> {
        loop {
            if self.machine.stopping() {
                return Ok(self.end(true));
            }
            let (index, budget) = self.next_cpu()?;
            let Some(mut cpu) = self.cpus[index].take() else {
                continue;
            };
            wake(&self.machine, &mut cpu);
            prepare(&self.machine, &mut cpu, budget);
            poll(cpu.clock);
            let outcome = self.resume(cpu)?;
            match outcome {
                Outcome::Paused(_) | Outcome::Ended(Ok(ContextEnd::SwitchTo(_))) => {}
                Outcome::Ended(Ok(ContextEnd::Halt)) => return Ok(self.end(false)),
                Outcome::Ended(Err(Exception::Stop)) => return Ok(self.end(true)),
                Outcome::Ended(Err(exception)) => {
                    self.machine.request_stop();
                    return Err(EngineError::Guest {
                        cpu: CpuId(index as u16),
                        exception,
                    });
                }
            }
        }
    }

    /// The CPU to go on and its budget.
    fn next_cpu(&mut self) -> Result<(usize, Cycles), EngineError> {
        let mut ready: Vec<(usize, Cycles)> = Vec::with_capacity(self.cpus.len());
        for (index, cpu) in self.cpus.iter_mut().enumerate() {
            let Some(cpu) = cpu else { continue };
            if cpu.context == ContextId::NONE || self.held >> index & 1 != 0 {
                continue;
            }
            cpu.receive_ipi(self.machine.board.take_interrupt(index));
            let at = cpu.ready_at();
            if at != Cycles::MAX {
                ready.push((index, at));
            }
        }
        // One that changes contexts keeps its budget: else the others would see memory only as it is at
        // such moments, with a run queue locked.
        let goes_on = |index: usize| {
            let cpu = self.cpus[index].as_ref();
            cpu.is_some_and(|cpu| cpu.switched && cpu.clock < cpu.budget_end)
        };
        let first = (0..ready.len())
            .min_by_key(|&i| (!goes_on(ready[i].0), ready[i].1))
            .ok_or(EngineError::Deadlock)?;
        let pick = if ready.len() == 1 {
            0
        } else {
            let options = Options {
                count: ready.len() as u64,
                clocked: first as u64,
            };
            self.machine.choose(Choice::NextCpu, options) as usize
        };
        let (index, at) = ready[pick.min(ready.len() - 1)];
        let others = ready.iter().filter(|r| r.0 != index).map(|r| r.1).min();
        let left = self.cpus[index]
            .as_ref()
            .filter(|_| goes_on(index))
            .map(|cpu| cpu.budget_end.saturating_sub(cpu.clock));
        let clocked = others.map_or(BUDGET_MAX, |next| {
            left.unwrap_or_else(|| (next.saturating_sub(at) + self.quantum).min(BUDGET_MAX))
        });
        Ok((index, choose_budget(&self.machine, clocked)))
    }

    fn resume(&mut self, cpu: Box<Cpu>) -> Result<Outcome, EngineError> {
        self.adopt_newborn()?;
        let (index, id, context_id) = (cpu.id.index(), cpu.id, cpu.context);
        let Some(Some(context)) = self.contexts.get_mut(context_id.index()) else {
            self.cpus[index] = Some(cpu);
            return Err(EngineError::NoContext {
                cpu: id,
                context: context_id.get(),
            });
        };
        let (mut cpu, outcome) = context.resume(cpu);
        cpu.switched = matches!(
            outcome,
            Outcome::Paused(Pause::Switch) | Outcome::Ended(Ok(ContextEnd::SwitchTo(_)))
        );
        match outcome {
            Outcome::Paused(Pause::Wait) => cpu.waiting = true,
            Outcome::Paused(Pause::Budget | Pause::Switch | Pause::Spin | Pause::Completion) => {}
            Outcome::Ended(end) => {
                let context = self.contexts[context_id.index()].take();
                match context.and_then(|context| context.ended(&mut self.stacks)) {
                    None => self.machine.contexts_free.lock().push(context_id),
                    kept => self.contexts[context_id.index()] = kept,
                }
                if let Ok(ContextEnd::SwitchTo(next)) = end {
                    cpu.context = next;
                }
            }
        }
        self.cpus[index] = Some(cpu);
        Ok(outcome)
    }

    /// What an exploration is made of. Contexts that were asked for and never begun are made there.
    pub(crate) fn into_parts(self) -> Parts {
        self.machine.newborn.lock().clear();
        Parts {
            machine: self.machine,
            cpus: self.cpus,
            contexts: self.contexts,
            stacks: self.stacks,
        }
    }

    fn adopt_newborn(&mut self) -> Result<(), EngineError> {
        adopt_newborn(&self.machine, &mut self.contexts, &mut self.stacks)
    }

    /// State of the CPUs as they stand, every clock brought to the last one: for after a run that ended
    /// with an error.
    pub fn snapshot(&mut self) -> RunEnd {
        self.end(true)
    }

    /// Lets every clock stand where the last one stands, so that the machine ends at one moment.
    fn end(&mut self, stopped: bool) -> RunEnd {
        let last = self
            .cpus
            .iter()
            .flatten()
            .map(|c| c.clock)
            .max()
            .unwrap_or_default();
        let cpus = self
            .cpus
            .iter_mut()
            .flatten()
            .map(|cpu| {
                cpu.idle_until(last);
                cpu.report()
            })
            .collect();
        RunEnd {
            cpus,
            stopped,
            irqs_off_max: self.machine.irqs_off_max(),
        }
    }
}

/// How many cycles a CPU runs before the next question, if `clocked` is what its clock allows.
fn choose_budget(machine: &Machine, clocked: Cycles) -> Cycles {
    let options = Options {
        count: u64::MAX,
        clocked: clocked.get().max(1),
    };
    Cycles::new(machine.choose(Choice::Budget, options).max(1))
}

/// Brings a CPU to the point where it goes on.
fn wake(machine: &Machine, cpu: &mut Cpu) {
    if cpu.waiting {
        // A context has told of its span before; instructions have not.
        if let Some(span) = cpu.end_irqs_off() {
            machine.note_irqs_off(span.cycles);
        }
        cpu.wait_until(cpu.ready_at());
        cpu.waiting = false;
        return;
    }
    let options = Options {
        count: 2,
        clocked: 0,
    };
    if cpu.interrupts_enabled && machine.choose(Choice::Interrupt, options) == 1 {
        cpu.forced_interrupt = true;
    }
}

/// Gives a CPU its mail and its budget.
fn prepare(machine: &Machine, cpu: &mut Cpu, budget: Cycles) {
    take_letters(machine, cpu);
    cpu.set_budget(budget, machine.is_observed());
}

/// Does the invalidations that other CPUs sent.
fn take_letters(machine: &Machine, cpu: &mut Cpu) {
    let received = machine.costs.tlbie_received;
    machine.board.take_letters(cpu.id.index(), |operand| {
        cpu.mmu.tlb_invalidate(&operand);
        cpu.charge(Category::TlbieWait, received);
    });
}

/// Makes the contexts that guest code asked for. The list stays locked meanwhile, so that a number that
/// is no longer on it is in `contexts`.
fn adopt_newborn(
    machine: &Arc<Machine>,
    contexts: &mut Vec<Option<Context>>,
    stacks: &mut StackPool,
) -> Result<(), EngineError> {
    let mut newborn = machine.newborn.lock();
    for (id, newborn) in newborn.drain(..) {
        let context = Context::born(machine.clone(), newborn, stacks)?;
        if contexts.len() <= id.index() {
            contexts.resize_with(id.index() + 1, || None);
        }
        contexts[id.index()] = Some(context);
    }
    Ok(())
}

mod debugger;
mod start;
pub use debugger::{Debugger, Go, Stop};
#[cfg(test)]
mod tests;
mod threads;
#[cfg(test)]
mod threads_tests;
