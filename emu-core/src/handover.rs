//! Guest contexts between host threads.
//!
//! Owns the rule that a context is on one CPU at a time: a CPU that wants one which is still on another
//! waits until that one has given it back, whole. Refuses to know what a context is.

use crate::board::Board;
use crate::sync::Mutex;

/// What asking for a context gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<C> {
    /// It is the caller's until it gives it back.
    Context(C),
    /// Another CPU has it. The caller stands aside and is roused when it is back; `alone` if nobody else
    /// is at work, so that it never will be.
    Elsewhere {
        /// Nobody is at work.
        alone: bool,
    },
    /// There is none of that number.
    Nowhere,
}

/// A context that is on a CPU.
struct Out {
    id: usize,
    /// A bit for each CPU that waits for it.
    waiters: u64,
}

/// The contexts of a machine.
pub(crate) struct Handover<C> {
    table: Mutex<Table<C>>,
}

struct Table<C> {
    contexts: Vec<Option<C>>,
    out: Vec<Out>,
}

impl<C> Handover<C> {
    /// A table of contexts by number.
    pub fn new(contexts: Vec<Option<C>>) -> Self {
        let out = Vec::new();
        Handover {
            table: Mutex::new(Table { contexts, out }),
        }
    }

    /// The contexts that are there now, for after the run; none is left.
    pub fn take_all(&self) -> Vec<Option<C>> {
        std::mem::take(&mut self.table.lock().contexts)
    }

    /// Takes context `id` for `cpu`. If it is not there, `adopt` may add the ones made lately.
    ///
    /// # Errors
    /// Those of `adopt`.
    pub fn take<M: Clone, E>(
        &self,
        id: usize,
        cpu: usize,
        board: &Board<M>,
        adopt: impl FnOnce(&mut Vec<Option<C>>) -> Result<(), E>,
    ) -> Result<Taken<C>, E> {
        let mut table = self.table.lock();
        let Table { contexts, out } = &mut *table;
        if let Some(there) = out.iter_mut().find(|there| there.id == id) {
            there.waiters |= 1 << cpu;
            // Under the lock, so that whoever gives it back rouses a CPU that stands aside already.
            let alone = board.stand_aside(cpu);
            return Ok(Taken::Elsewhere { alone });
        }
        if contexts.get(id).is_none_or(Option::is_none) {
            adopt(contexts)?;
        }
        let Some(context) = contexts.get_mut(id).and_then(Option::take) else {
            return Ok(Taken::Nowhere);
        };
        out.push(Out { id, waiters: 0 });
        Ok(Taken::Context(context))
    }

    /// Gives a context back, or says that it has ended. `clock` is the time on the CPU that had it.
    pub fn give_back<M: Clone>(&self, id: usize, context: Option<C>, clock: u64, board: &Board<M>) {
        let mut table = self.table.lock();
        if let Some(slot) = table.contexts.get_mut(id) {
            *slot = context;
        }
        let Some(at) = table.out.iter().position(|there| there.id == id) else {
            return;
        };
        let Out { waiters, .. } = table.out.swap_remove(at);
        for cpu in (0..64).filter(|cpu| waiters & (1 << cpu) != 0) {
            board.rouse(cpu, clock);
        }
    }
}
