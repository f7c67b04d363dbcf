//! What a monitor is at some moment, to be brought back to it: an exploration returns there over and over.
//!
//! Owns the copy, and the hash by which two moments are told apart. The table of HPTEs is too large to be copied:
//! its rule remembers what changed.

use super::Monitor;
use emu_mmu::Ra;
use std::hash::{DefaultHasher, Hash, Hasher};

/// `Clone`, with a `clone_from` that uses the memory there is: a derived one makes it anew.
macro_rules! cloned_by_field {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl Clone for $type {
            fn clone(&self) -> Self {
                let $type { $($field),* } = self;
                $type { $($field: $field.clone()),* }
            }

            fn clone_from(&mut self, other: &Self) {
                let $type { $($field),* } = other;
                $(self.$field.clone_from($field);)*
            }
        }
    };
}

/// A monitor at some moment.
#[derive(Clone, Debug)]
pub(crate) struct MonitorMark {
    /// All but what each entry of the hash table serves.
    copy: Monitor,
    /// Changes of those that were remembered.
    changes: usize,
}

impl MonitorMark {
    /// Room for one.
    pub fn new() -> Self {
        MonitorMark {
            copy: Monitor::new(Ra::new(0), 0),
            changes: 0,
        }
    }
}

impl Monitor {
    /// Can be brought back to any mark made from now on.
    pub(crate) fn keep_past(&mut self) {
        self.duplicate_hpte.keep_past();
    }

    /// Makes a mark.
    pub(crate) fn mark(&self, mark: &mut MonitorMark) {
        mark.changes = self.duplicate_hpte.changes();
        mark.copy.copy_from(self);
    }

    /// Returns to a mark. Marks made since are no longer any.
    pub(crate) fn return_to(&mut self, mark: &MonitorMark) {
        self.duplicate_hpte.return_to(mark.changes);
        self.copy_from(&mark.copy);
    }

    /// The same for the last time: the mark is none any more either, but for its memory.
    pub(crate) fn return_for_good(&mut self, mark: &mut MonitorMark) {
        self.duplicate_hpte.return_to(mark.changes);
        std::mem::swap(self, &mut mark.copy);
        // These two were not copied.
        std::mem::swap(&mut self.duplicate_hpte, &mut mark.copy.duplicate_hpte);
        std::mem::swap(&mut self.news, &mut mark.copy.news);
        self.tell_news();
    }

    /// Takes over everything but the rule of the hash table, in the memory of this one.
    fn copy_from(&mut self, other: &Monitor) {
        // By name, so that none is forgotten.
        let Monitor {
            hpt_base,
            pte,
            table_bytes,
            pte_bytes,
            batch_escape,
            duplicate_hpte: _,
            flushing,
            served,
            stuck_lock,
            lost_flush,
            unbalanced_preempt,
            running,
            log,
            told,
            news: _,
        } = other;
        self.hpt_base = *hpt_base;
        self.pte = *pte;
        (self.table_bytes, self.pte_bytes) = (*table_bytes, *pte_bytes);
        self.batch_escape.clone_from(batch_escape);
        self.flushing.clone_from(flushing);
        self.served.clone_from(served);
        self.stuck_lock.clone_from(stuck_lock);
        self.lost_flush.clone_from(lost_flush);
        self.unbalanced_preempt.clone_from(unbalanced_preempt);
        self.running.clone_from(running);
        self.log.clone_from(log);
        self.told = *told;
        self.tell_news();
    }

    /// A hash of all that decides what may break from now on and of what broke, but for what guest memory says
    /// too: two monitors that differ in it may judge the same events differently. When something happened, and
    /// how often, decides nothing.
    pub(crate) fn state_hash(&self) -> u64 {
        let mut to = DefaultHasher::new();
        self.batch_escape.hash_state(&mut to);
        self.flushing.hash_state(&mut to);
        self.served.hash_state(&mut to);
        self.stuck_lock.hash_state(&mut to);
        self.lost_flush.hash_state(&mut to);
        self.unbalanced_preempt.hash_state(&mut to);
        self.broken().hash(&mut to);
        to.finish()
    }
}

/// A hash of a set of things, whatever their order.
pub(super) fn hash_of_set<T: Hash>(things: impl Iterator<Item = T>) -> u64 {
    things
        .map(|thing| {
            let mut of_one = DefaultHasher::new();
            thing.hash(&mut of_one);
            of_one.finish()
        })
        .fold(0, u64::wrapping_add)
}
