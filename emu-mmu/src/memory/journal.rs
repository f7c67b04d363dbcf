//! The write journal: what each store overwrote, so that memory can be brought back.
//!
//! Owns the old values, and a hash of what changed that follows each store. Refuses the batched forms:
//! they write to a table without telling. A table that is to be brought back is changed by the single
//! operations.

use super::{GuestMemory, MemoryError};
use crate::addr::Ra;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Doublewords as they were before each store, oldest first.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    old: Vec<(Ra, u64)>,
    hash: u64,
}

/// What one doubleword adds to the hash of memory (splitmix64 of both, Steele, Lea and Flood).
fn mixed(ra: Ra, value: u64) -> u64 {
    let mut z = value ^ ra.get().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Journal {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GuestMemory {
    /// Notes from now on what each store overwrites. Nobody else may use the memory at that moment; later
    /// calls do nothing.
    pub fn start_journal(&self) {
        let _ = self.journal.set(Journal::default());
        self.unjournalled.store(0, Ordering::Relaxed);
    }

    /// Stores something of a doubleword at `ra` by `write`, and notes what it changed.
    pub(super) fn journalled<T>(
        &self,
        journal: &Journal,
        ra: Ra,
        write: impl FnOnce() -> T,
    ) -> Result<T, MemoryError> {
        let at = Ra::new(ra.get() & !7);
        let mut entries = journal.entries();
        let old = self.load_u64(at)?;
        let result = write();
        let new = self.load_u64(at)?;
        if new != old {
            entries.old.push((at, old));
            entries.hash ^= mixed(at, old) ^ mixed(at, new);
        }
        Ok(result)
    }

    /// A hash of all that differs from when the journal was started or last undone: equal contents, equal
    /// hash. 0 without a journal.
    pub fn journal_hash(&self) -> u64 {
        self.journal.get().map_or(0, |j| j.entries().hash)
    }

    /// Brings back what memory held when the journal was started or last undone. Nobody else may use the
    /// memory meanwhile.
    ///
    /// # Errors
    /// None that is known; those of a store.
    pub fn undo_journal(&self) -> Result<(), MemoryError> {
        let Some(journal) = self.journal.get() else {
            return Ok(());
        };
        let mut entries = journal.entries();
        while let Some((ra, old)) = entries.old.pop() {
            self.put_u64(ra, old)?;
        }
        entries.hash = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(memory: &GuestMemory) -> Vec<u64> {
        (0..64)
            .map(|i| memory.load_u64(Ra::new(i * 8)).unwrap())
            .collect()
    }

    proptest! {
        #[test]
        fn what_was_stored_since_is_undone(
            before in prop::collection::vec((0u64..512, any::<u8>()), 0..40),
            rounds in prop::collection::vec(
                prop::collection::vec((0u64..512, any::<u8>(), 0u8..5), 0..40),
                1..4,
            ),
        ) {
            let memory = GuestMemory::new(4096).unwrap();
            for (at, value) in before {
                memory.store_u8(Ra::new(at), value).unwrap();
            }
            let held = all(&memory);
            memory.start_journal();
            let mut hashes = std::collections::HashMap::new();
            for round in rounds {
                for (at, value, what) in round {
                    let (ra, dw) = (Ra::new(at), Ra::new(at & !7));
                    match what {
                        0 => memory.store_u8(ra, value).unwrap(),
                        1 => memory.store_u16(Ra::new(at & !1), value.into()).unwrap(),
                        2 => memory.store_u32(Ra::new(at & !3), value.into()).unwrap(),
                        3 => memory.zero(dw, 16.min(512 - dw.get())).unwrap(),
                        _ => {
                            let old = memory.load_u64(dw).unwrap();
                            let _ = memory.compare_exchange_u64(dw, old, value.into()).unwrap();
                        }
                    }
                    let now = all(&memory);
                    let hash = memory.journal_hash();
                    prop_assert_eq!(hashes.entry(now.clone()).or_insert(hash), &hash);
                    prop_assert_eq!(hash == 0, now == held);
                }
                memory.undo_journal().unwrap();
                prop_assert_eq!(all(&memory), held.clone());
            }
        }
    }
}
