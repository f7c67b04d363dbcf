//! The arena: a machine that is brought back to one state and run on from there, as often as wanted.
//!
//! A coroutine cannot be wound back. So nothing runs in the state that is returned to but contexts that wait
//! for an interrupt in their idle loop, which are the same there every time, and contexts that have not begun;
//! whatever else a run leaves is dropped, and made anew.

use super::late::Late;
use super::run::Standing;
use super::view::{ArenaError, Limits};
use crate::cpu::{Cpu, CpuId};
use crate::engine::{Engine, Parts};
use crate::guest::{Context, ContextId, GuestCode, StackPool};
use crate::machine::Machine;
use crate::script::{Library, Script};
use emu_mmu::Mmu;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Makes the code of a context that has not begun. It is the same each time: what the code does depends on
/// nothing but what its verbs give it. What it shares with others lies in guest memory, or is reached by
/// [`crate::Ctx::beside`].
pub type Fresh = Arc<dyn Fn() -> GuestCode + Send + Sync>;

/// A context of the state that is returned to.
pub(super) struct Slot {
    fresh: Fresh,
    /// It waits in its idle loop where the exploration begins.
    idle: bool,
}

/// A machine to be run over and over.
pub struct Arena {
    pub(super) machine: Arc<Machine>,
    pub(super) base: Vec<Cpu>,
    pub(super) slots: Vec<(ContextId, Slot)>,
    pub(super) cpus: Vec<Option<Box<Cpu>>>,
    pub(super) contexts: Vec<Option<Context>>,
    pub(super) stacks: StackPool,
    pub(super) limits: Limits,
    pub(super) ticked: Vec<u64>,
    pub(super) standing: Standing,
    /// What is under way, if invalidations may be late.
    pub(super) late: Option<Late>,
    /// What is known of a context is done without its code.
    library: Option<Arc<Mutex<Library>>>,
    /// A run that is watched stops before each step.
    pub(super) stops: bool,
    /// Steps made by all runs together.
    pub(super) made: u64,
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena")
            .field("machine", &self.machine)
            .finish()
    }
}

impl Arena {
    /// Takes a machine whose CPUs all wait for an interrupt as the state to return to. `idle` makes the code of
    /// each CPU's context as it goes on from there; `tasks` are contexts that some CPU will switch to;
    /// `begin` are CPUs to be interrupted at once.
    ///
    /// # Errors
    /// A CPU that does not wait.
    pub fn new(
        engine: Engine,
        idle: Vec<Fresh>,
        tasks: Vec<(ContextId, Fresh)>,
        begin: &[CpuId],
        limits: Limits,
    ) -> Result<Self, ArenaError> {
        let Parts {
            machine,
            cpus,
            contexts,
            stacks,
        } = engine.into_parts();
        machine.memory.start_journal();
        let mut base = Vec::new();
        for (index, cpu) in cpus.into_iter().enumerate() {
            let cpu = cpu.filter(|cpu| cpu.waiting && !cpu.interrupts_enabled);
            let mut cpu = *cpu.ok_or(ArenaError::Busy(CpuId(index as u16)))?;
            cpu.explored = true;
            cpu.close_account();
            cpu.forced_interrupt = begin.contains(&cpu.id);
            base.push(cpu);
        }
        let ids = base.iter().map(|cpu| cpu.context);
        let waiting = ids
            .zip(idle)
            .map(|(id, fresh)| (id, Slot { fresh, idle: true }));
        let new = tasks
            .into_iter()
            .map(|(id, fresh)| (id, Slot { fresh, idle: false }));
        let slots = waiting.chain(new).collect();
        Ok(Arena {
            ticked: vec![0; base.len()],
            standing: Standing::default(),
            cpus: vec![],
            machine,
            base,
            slots,
            contexts,
            stacks,
            limits,
            late: None,
            library: None,
            stops: false,
            made: 0,
        })
    }

    /// From now on guest code is run only to find out what it does: what it did once, after the same answers to
    /// its verbs, is done again without it. What a run comes to is the same, under a scheduler that follows the clocks:
    /// no other is asked where guest code does not run.
    #[must_use]
    pub fn with_scripts(mut self) -> Self {
        let library = Library::new(self.machine.clone());
        self.library = Some(Arc::new(Mutex::new(library)));
        self
    }

    /// From now on a run that is watched stops before each step, so that all contexts can be looked at there.
    #[must_use]
    pub fn stop_before_steps(mut self) -> Self {
        self.stops = true;
        self
    }

    /// From now on a `tlbie` reaches another CPU when the plan says so (`Turn::Receive`), at the latest when
    /// its sender completes a `ptesync` after a `tlbsync` (Power ISA 2.07 Book III-S 5.9.3.3).
    #[must_use]
    pub fn with_late_invalidations(mut self) -> Self {
        self.machine.late.store(true, Ordering::Relaxed);
        self.late = Some(Late::new(self.base.len()));
        self
    }

    /// Steps that all runs so far made together: those that runs have in common and that were made once, once.
    pub fn steps_made(&self) -> u64 {
        self.made
    }

    /// So much is known of the guest code that the next run from the beginning forgets it.
    pub fn knows_too_much(&self) -> bool {
        let library = self.library.as_ref();
        library.is_some_and(|library| library.lock().is_full())
    }

    /// The machine.
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// The MMU of a CPU as the last run left it.
    pub fn mmu(&self, cpu: CpuId) -> Option<&Mmu> {
        Some(&self.cpus.get(cpu.index())?.as_ref()?.mmu)
    }

    pub(super) fn return_to_base(&mut self) -> Result<(), ArenaError> {
        self.machine.memory.undo_journal()?;
        if let Some(library) = &self.library {
            library.lock().tidy();
        }
        let ended_quiet: Vec<ContextId> = self
            .cpus
            .iter()
            .flatten()
            .filter(|cpu| cpu.waiting)
            .map(|cpu| cpu.context)
            .collect();
        for (id, slot) in &self.slots {
            let as_it_was = self.library.is_none() && slot.idle && ended_quiet.contains(id);
            if as_it_was && self.contexts.get(id.index()).is_some_and(Option::is_some) {
                continue;
            }
            if self.contexts.len() <= id.index() {
                self.contexts.resize_with(id.index() + 1, || None);
            }
            if let Some(library) = &self.library {
                match &mut self.contexts[id.index()] {
                    Some(Context::Script(script)) => script.begin_again(),
                    context => {
                        let script = Script::new(library.clone(), *id, slot.fresh.clone());
                        *context = Some(Context::Script(Box::new(script)));
                    }
                }
                continue;
            }
            // One that is half-way through is unwound; a clean one gives its stack back.
            self.contexts[id.index()] = None;
            let stack = self.stacks.take()?;
            let code = (slot.fresh)();
            self.contexts[id.index()] = Some(Context::new(self.machine.clone(), code, stack));
        }
        self.cpus.resize_with(self.base.len(), || None);
        for (cpu, base) in self.cpus.iter_mut().zip(&self.base) {
            match cpu {
                Some(cpu) => cpu.copy_from(base),
                None => *cpu = Some(Box::new(base.clone())),
            }
        }
        self.ticked = self.base.iter().map(|cpu| cpu.counters.verbs).collect();
        if let Some(late) = &mut self.late {
            late.clear();
        }
        for cpu in 0..self.base.len() {
            self.machine.board.take_letters(cpu, |_| ());
            self.machine.board.take_interrupt(cpu);
        }
        Ok(())
    }
}
