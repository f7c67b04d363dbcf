//! What an arena says: what stands at a step before it is made, how a run ended, why none could be made.
//!
//! Owns these, and the hash by which two steps are told apart. Refuses to run anything.

use super::late::Late;
use crate::cpu::{Cpu, CpuId};
use crate::exception::Exception;
use crate::guest::Context;
use crate::machine::Machine;
use crate::probe::Event;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Why there is no arena, or a run in it could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ArenaError {
    /// A CPU does not wait for an interrupt in the state to return to.
    #[error("CPU {0} does not wait for an interrupt where the exploration begins")]
    Busy(CpuId),
    /// The host refused a stack.
    #[error("no host stack for a guest context: {0}")]
    Stack(#[from] std::io::Error),
    /// Memory could not be brought back.
    #[error(transparent)]
    Memory(#[from] emu_mmu::MemoryError),
    /// Guest code switched to a context that does not exist.
    #[error("CPU {0} switched to a context that does not exist")]
    NoContext(CpuId),
    /// A moment of a run that cannot be returned to.
    #[error("guest code on coroutines cannot be put back: the arena has no scripts")]
    NoScripts,
}

/// Who hears of a run while it is made. A closure hears of the steps.
pub trait Watch {
    /// A step is about to be made.
    fn step(&mut self, view: StepView<'_>);

    /// True if [`Watch::access`] is to be told, instead of the machine's observer, what a step does by the
    /// script of its context. Without scripts the observer hears of it in any case.
    fn hears_accesses(&self) -> bool {
        false
    }

    /// The step of `cpu` did this: an event of [`crate::Interest::ACCESSES`].
    fn access(&mut self, _cpu: CpuId, _event: Event) {}
}

impl<F: FnMut(StepView<'_>)> Watch for F {
    fn step(&mut self, view: StepView<'_>) {
        self(view);
    }
}

/// How long a run may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Steps of a CPU after which a timer interrupt lands if none did.
    pub steps_between_ticks: u64,
    /// Steps after which a run is given up.
    pub steps_max: u64,
    /// Turns of waiting for another task or CPU after which a run is given up.
    pub waits_max: u64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArenaEnd {
    /// Every CPU waits and nothing is due.
    Quiet,
    /// Guest code switched the machine off.
    Halted,
    /// Guest code ended with an exception that nothing handled.
    Died(CpuId, Exception),
    /// It went on for too long.
    Hung,
}

/// What stands at a step before it is made.
#[derive(Clone, Copy)]
pub struct StepView<'m> {
    running: &'m Cpu,
    step: u64,
    others: &'m Others<'m>,
}

/// What stands on all CPUs but the one that runs, as long as it runs.
#[derive(Clone, Copy)]
pub(crate) struct Others<'m> {
    pub machine: &'m Machine,
    /// A bit each, as in [`StepView`].
    pub interrupted: u64,
    pub ready: u64,
    pub waiting: u64,
    pub under_way: usize,
    pub cpus: &'m [Option<Box<Cpu>>],
    pub contexts: &'m [Option<Context>],
    pub(super) late: Option<&'m Late>,
}

impl<'m> Others<'m> {
    /// What stands where one of the CPUs makes a step.
    #[inline]
    pub fn with_running(&'m self, running: &'m Cpu, step: u64) -> StepView<'m> {
        StepView {
            running,
            step,
            others: self,
        }
    }
}

impl fmt::Debug for StepView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepView")
            .field("step", &self.step)
            .field("cpu", &self.cpu())
            .finish_non_exhaustive()
    }
}

impl<'m> StepView<'m> {
    /// The machine.
    pub fn machine(&self) -> &'m Machine {
        self.others.machine
    }

    /// Number of the step, from 1.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The CPU that makes it.
    pub fn cpu(&self) -> CpuId {
        self.running.id
    }

    /// The number that guest code gave the context that runs.
    pub fn local(&self) -> u64 {
        self.running.local
    }

    /// Interrupts that the context which runs is in the midst of.
    pub fn depth(&self) -> u32 {
        self.running.depth
    }

    /// External interrupts are enabled there.
    pub fn interrupts_enabled(&self) -> bool {
        self.running.interrupts_enabled
    }

    /// CPUs with an interrupt that has yet to land, a bit each.
    pub fn interrupted(&self) -> u64 {
        let here = self.running.forced_interrupt || self.running.ipi_at.is_some();
        self.others.interrupted | u64::from(here) << self.running.id.index()
    }

    /// Other CPUs that could go on, a bit each.
    pub fn ready(&self) -> u64 {
        self.others.ready
    }

    /// CPUs that wait for an interrupt, a bit each.
    pub fn waiting(&self) -> u64 {
        let here = u64::from(self.running.waiting);
        self.others.waiting | here << self.running.id.index()
    }

    /// Invalidations by others that have not reached the CPU: 0 unless they may be late.
    pub fn under_way(&self) -> usize {
        self.others.under_way
    }

    /// A hash of what the CPUs hold beside memory: the context each runs, its interrupt state, reservation,
    /// SLB, TLB and ERATs, and what is under way to it. Two steps with the same hash, the same memory and
    /// contexts that have come equally far have the same futures, as long as no TLB or ERAT has to evict.
    pub fn hardware_hash(&self) -> u64 {
        let mut to = DefaultHasher::new();
        for (index, cpu) in self.others.cpus.iter().enumerate() {
            let running = (self.running.id.index() == index).then_some(self.running);
            if let Some(cpu) = running.or(cpu.as_deref()) {
                hash_cpu(cpu, &mut to);
            }
        }
        if let Some(late) = self.others.late {
            late.hash(&mut to);
        }
        to.finish()
    }
}

impl StepView<'_> {
    /// A hash of how far each context has come: of every answer that its verbs had. `None` if that is not known:
    /// the arena has no scripts, or does not stop before each step ([`super::Arena::stop_before_steps`]).
    pub fn contexts_hash(&self) -> Option<u64> {
        let (mut to, mut known) = (DefaultHasher::new(), false);
        for cpu in 0..self.others.cpus.len() {
            let (letters, interrupt) = self.others.machine.board.look_at(cpu);
            letters.hash(&mut to);
            interrupt.is_some().hash(&mut to);
        }
        // Contexts without a script are not returned to, so nothing ever switches to them.
        for context in self.others.contexts.iter().flatten() {
            if let Context::Script(script) = context {
                script.place().hash(&mut to);
                known = true;
            }
        }
        let held = self.others.cpus.get(self.running.id.index());
        let stops = held.is_some_and(Option::is_some);
        (stops && known).then(|| to.finish())
    }
}

fn hash_cpu(cpu: &Cpu, to: &mut DefaultHasher) {
    (cpu.id, cpu.context, cpu.depth, cpu.waiting).hash(to);
    let due = (cpu.forced_interrupt, cpu.ipi_at.is_some());
    (due, cpu.interrupts_enabled, cpu.tlbsync_done).hash(to);
    cpu.reservation.hash(to);
    cpu.mmu.slb.entries().hash(to);
    to.write_u64(of_set(cpu.mmu.tlb.entries()));
    to.write_u64(of_set(cpu.mmu.erat.entries()));
    to.write_u64(of_set(cpu.mmu.ierat.entries()));
}

/// A hash of translations, wherever each is held: that decides only which of them is evicted.
fn of_set<T: Hash>(entries: impl Iterator<Item = T>) -> u64 {
    let each = entries.map(|entry| {
        let mut of_one = DefaultHasher::new();
        entry.hash(&mut of_one);
        of_one.finish()
    });
    each.fold(0, u64::wrapping_add)
}
