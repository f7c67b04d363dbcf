//! A moment of a run in an arena, to be returned to: runs that share their beginning make it once.
//!
//! Owns the copy of everything that runs change. Refuses contexts on coroutines, which cannot be put back:
//! only an arena with scripts ([`Arena::with_scripts`]) has such moments.

use super::arena::Arena;
use super::late::Late;
use super::run::Standing;
use super::view::ArenaError;
use crate::cpu::Cpu;
use crate::guest::Context;
use crate::script::Place;
use emu_mmu::{JournalMark, TlbInvalidate};

/// What lies in a CPU's place on the board: invalidations, and when an interrupt is due.
type Inbox = (Vec<TlbInvalidate>, Option<u64>);

/// A moment of a run.
#[derive(Default)]
pub struct Mark {
    memory: JournalMark,
    #[expect(clippy::vec_box, reason = "they change places with the arena's")]
    cpus: Vec<Box<Cpu>>,
    places: Vec<Place>,
    ticked: Vec<u64>,
    inboxes: Vec<Inbox>,
    standing: Standing,
    late: Option<Late>,
}

impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mark")
            .field("standing", &self.standing)
            .finish_non_exhaustive()
    }
}

impl Arena {
    /// Makes a mark, in the memory of another.
    ///
    /// # Errors
    /// [`ArenaError::NoScripts`].
    pub fn mark(&self, mark: &mut Mark) -> Result<(), ArenaError> {
        mark.memory = self.machine.memory.journal_mark();
        for (index, cpu) in self.cpus.iter().flatten().enumerate() {
            match mark.cpus.get_mut(index) {
                Some(copy) => copy.copy_from(cpu),
                None => mark.cpus.push(cpu.clone()),
            }
        }
        for (index, (id, _)) in self.slots.iter().enumerate() {
            let Some(Some(Context::Script(script))) = self.contexts.get(id.index()) else {
                return Err(ArenaError::NoScripts);
            };
            match mark.places.get_mut(index) {
                Some(place) => place.clone_from(script.place()),
                None => mark.places.push(script.place().clone()),
            }
        }
        mark.ticked.clone_from(&self.ticked);
        let board = &self.machine.board;
        mark.inboxes.clear();
        mark.inboxes
            .extend((0..self.cpus.len()).map(|cpu| board.look_at(cpu)));
        mark.standing = self.standing;
        mark.late.clone_from(&self.late);
        Ok(())
    }

    /// Returns to a mark of the same run. Those made since are none any more.
    ///
    /// # Errors
    /// [`ArenaError::Memory`]; [`ArenaError::NoScripts`].
    pub fn return_to(&mut self, mark: &Mark) -> Result<(), ArenaError> {
        self.put_back(mark)?;
        for (cpu, copy) in self.cpus.iter_mut().flatten().zip(&mark.cpus) {
            cpu.copy_from(copy);
        }
        Ok(())
    }

    /// The same for the last time: the mark is none any more either, but for its memory.
    ///
    /// # Errors
    /// As [`Arena::return_to`].
    pub fn return_for_good(&mut self, mark: &mut Mark) -> Result<(), ArenaError> {
        self.put_back(mark)?;
        for (cpu, copy) in self.cpus.iter_mut().flatten().zip(&mut mark.cpus) {
            std::mem::swap(cpu, copy);
        }
        Ok(())
    }

    /// Brings back everything but the CPUs.
    fn put_back(&mut self, mark: &Mark) -> Result<(), ArenaError> {
        self.machine.memory.undo_journal_to(mark.memory)?;
        for ((id, _), place) in self.slots.iter().zip(&mark.places) {
            let Some(Some(Context::Script(script))) = self.contexts.get_mut(id.index()) else {
                return Err(ArenaError::NoScripts);
            };
            script.go_to(place);
        }
        self.ticked.clone_from(&mark.ticked);
        for (cpu, inbox) in mark.inboxes.iter().enumerate() {
            self.machine.board.put_back(cpu, inbox);
        }
        self.standing = mark.standing;
        self.late.clone_from(&mark.late);
        Ok(())
    }
}
