//! What a verb does, on a CPU, without the guest code that asked for it.
//!
//! Owns what comes before a verb and after it: interrupts, the engine, the way on from a stop. The verbs
//! themselves are in `body`. Does what the verb of [`crate::Ctx`] of that name does in an exploration, step for step; a test holds the
//! two against each other. Refuses time between host threads: an exploration has one.

use super::{Stage, Then, Verb};
use crate::cost::{Category, Cycles};
use crate::cpu::Cpu;
use crate::ctx::order;
use crate::exception::{Exception, Interrupt, Step};
use crate::explore::{Others, Watch};
use crate::guest::Pause;
use crate::machine::Machine;
use crate::probe::{Event, Interest};
use emu_mmu::{Barrier, Fault};

/// Why a verb gave no answer.
pub(super) enum Leave {
    /// The guest code ends with this.
    End(Exception),
    /// An interrupt landed: its handler runs, and then the verb goes on from there.
    Interrupt(Interrupt, Then),
    /// A storage interrupt, the so manieth of this access: its handler runs, and the access is made again.
    /// Interrupts were enabled or not.
    Storage(Fault, bool, u32),
    /// The engine has the CPU, and goes on from there.
    Pause(Pause, Stage),
}

/// What a context carries from CPU to CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Carried {
    pub local: u64,
    pub depth: u32,
}

/// Faults of one access after which a CPU waits for somebody else (as `Ctx`).
const FAULTS_OF_A_WAIT: u32 = 3;

/// Who hears of each step before it is made, without the engine in between.
pub(crate) struct Watching<'w> {
    pub watch: &'w mut dyn Watch,
    /// What it wants to hear of what a step does, the observer does not.
    pub hears_accesses: bool,
    /// What stands on the other CPUs.
    pub others: Others<'w>,
    /// Steps of all CPUs less the verbs of this one.
    pub steps_less_verbs: u64,
    /// The step before which the engine wants the CPU.
    pub pause_at: u64,
}

/// A verb under way.
pub(super) struct Under<'a, 'w> {
    pub machine: &'a Machine,
    pub cpu: &'a mut Cpu,
    pub carried: &'a mut Carried,
    pub watching: Option<&'a mut Watching<'w>>,
    /// Storage interrupts of this access so far.
    pub(super) faults: u32,
}

pub(super) type Leaves<T> = Result<T, Leave>;

impl<'a, 'w> Under<'a, 'w> {
    pub fn new(
        machine: &'a Machine,
        cpu: &'a mut Cpu,
        carried: &'a mut Carried,
        watching: Option<&'a mut Watching<'w>>,
    ) -> Self {
        Under {
            machine,
            cpu,
            carried,
            watching,
            faults: 0,
        }
    }

    /// Goes on with a verb from where it stands until there is an answer, or none yet.
    #[inline(always)]
    pub fn perform(&mut self, verb: &Verb, is_step: bool, stage: Stage) -> Leaves<u64> {
        if stage != Stage::Begin {
            return self.go_on(verb, stage);
        }
        if is_step {
            let attends = self.cpu.attends_now();
            self.cpu.counters.verbs += 1;
            if attends {
                return self.go_on(verb, Stage::Attend(Then::Body(0)));
            }
        }
        self.faults = 0;
        self.body(verb)
    }

    #[inline(never)]
    pub(super) fn go_on(&mut self, verb: &Verb, mut stage: Stage) -> Leaves<u64> {
        loop {
            stage = match stage {
                Stage::Begin => Stage::Body(0),
                Stage::Landed(then) => {
                    self.cpu.counters.verbs += 1;
                    Stage::Attend(then)
                }
                Stage::Attend(then) => {
                    self.attend(then)?;
                    match then {
                        Then::Body(faults) => Stage::Body(faults),
                        Then::Faulted(faults) => Stage::Faulted(faults),
                        Then::Done(value) => Stage::Done(value),
                    }
                }
                Stage::Handled(faults) => match self.cpu.clock >= self.cpu.deadline {
                    true => Stage::Attend(Then::Faulted(faults)),
                    false => Stage::Faulted(faults),
                },
                Stage::Faulted(faults) if faults % FAULTS_OF_A_WAIT == 0 => {
                    let after = Stage::Attend(Then::Body(faults));
                    return Err(Leave::Pause(Pause::Spin, after));
                }
                Stage::Faulted(faults) => Stage::Body(faults),
                Stage::Body(faults) => {
                    self.faults = faults;
                    return self.body(verb);
                }
                Stage::Completed => {
                    if let Verb::Barrier(barrier, step) = *verb {
                        self.note_barrier(barrier, step);
                    }
                    Stage::Done(0)
                }
                Stage::Done(value) => return Ok(value),
            };
        }
    }

    /// Tells what the step does.
    #[inline(always)]
    pub(super) fn note(&mut self, event: impl FnOnce() -> Event) {
        match &mut self.watching {
            Some(watching) if watching.hears_accesses => {
                watching.watch.access(self.cpu.id, event());
            }
            _ => self.machine.note(self.cpu, Interest::ACCESSES, event),
        }
    }

    pub(super) fn note_barrier(&mut self, barrier: Barrier, step: Step) {
        self.note(|| Event::Barrier { barrier, step });
        order::note_ptesync(self.machine, self.cpu, barrier);
    }

    /// rfid at the end of the handler of an interrupt.
    pub fn return_from_interrupt(&mut self) {
        let rfid = self.machine.costs.rfid;
        self.carried.depth -= 1;
        self.cpu.depth = self.carried.depth;
        self.cpu.charge(Category::Interrupts, rfid);
        self.cpu.set_interrupts(true, || None);
    }

    /// rfid at the end of the handler of a storage interrupt.
    pub fn return_from_storage(&mut self, enabled: bool) {
        let rfid = self.machine.costs.rfid;
        self.cpu.charge(Category::StorageInterrupts, rfid);
        self.cpu.set_interrupts(enabled, || None);
    }
}

impl Under<'_, '_> {
    pub(super) fn attend(&mut self, then: Then) -> Leaves<()> {
        if self.machine.stopping() {
            return Err(end(Exception::Stop));
        }
        let cpu = &mut *self.cpu;
        if cpu.interrupts_enabled && cpu.interrupt_due_at() <= cpu.clock {
            return Err(self.interrupt(then));
        }
        if cpu.counters.verbs > cpu.stop_after {
            let watching = self.watching.as_deref_mut();
            let Some(watching) = watching.filter(|watching| {
                let step = watching.steps_less_verbs.wrapping_add(cpu.counters.verbs);
                step < watching.pause_at
            }) else {
                return Err(Leave::Pause(Pause::Budget, Stage::Attend(then)));
            };
            let step = watching.steps_less_verbs.wrapping_add(cpu.counters.verbs);
            (watching.watch).step(watching.others.with_running(cpu, step));
        }
        cpu.set_deadline();
        Ok(())
    }

    fn interrupt(&mut self, then: Then) -> Leave {
        let (machine, cpu) = (self.machine, &mut *self.cpu);
        let kind = if cpu.forced_interrupt || cpu.decrementer <= cpu.clock {
            cpu.forced_interrupt = false;
            cpu.decrementer = Cycles::MAX;
            Interrupt::Decrementer
        } else {
            cpu.ipi_at = None;
            Interrupt::Ipi
        };
        cpu.counters.interrupts += 1;
        cpu.reservation = None;
        cpu.set_interrupts(false, || None);
        cpu.charge(Category::Interrupts, machine.costs.interrupt_entry);
        machine.note(cpu, Interest::SWITCHES, || Event::Interrupt);
        self.carried.depth += 1;
        cpu.depth = self.carried.depth;
        Leave::Interrupt(kind, then)
    }
}

pub(super) fn end(exception: Exception) -> Leave {
    Leave::End(exception)
}
