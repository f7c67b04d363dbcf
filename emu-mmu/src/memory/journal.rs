//! The write journal: what each store overwrote, so that memory can be brought back.
//!
//! Owns the old values, and a hash of what changed that follows each store. Refuses the batched forms:
//! they write to a table without telling. A table that is to be brought back is changed by the single
//! operations.

use super::{GuestMemory, MemoryError};
use crate::addr::Ra;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Stores that the journal has room for without a lock.
const ROOM: usize = 1 << 15;

/// How far a journal is; the beginning by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalMark(usize);

/// A store: the doubleword, what it held, what it holds then.
type Entry = (Ra, u64, u64);

/// What each store changed, oldest first. The words are atomic only so that a second host thread, which may
/// not store meanwhile, could do no worse than lose entries.
pub(super) struct Journal {
    /// Where, what it held, what it holds then.
    words: Box<[[AtomicU64; 3]]>,
    entries: AtomicUsize,
    /// What there was no room for.
    more: Mutex<Vec<Entry>>,
    /// The hash of the entries before this one.
    hash: AtomicU64,
    hashed: AtomicUsize,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

/// What one doubleword adds to the hash of memory (splitmix64 of both, Steele, Lea and Flood).
fn mixed(ra: Ra, value: u64) -> u64 {
    let mut z = value ^ ra.get().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Journal {
    fn new() -> Self {
        Journal {
            words: (0..ROOM).map(|_| Default::default()).collect(),
            entries: AtomicUsize::new(0),
            more: Mutex::default(),
            hash: AtomicU64::new(0),
            hashed: AtomicUsize::new(0),
        }
    }

    #[inline(always)]
    fn note(&self, (ra, old, new): Entry) {
        let number = self.entries.load(Ordering::Relaxed);
        self.entries.store(number + 1, Ordering::Relaxed);
        match self.words.get(number) {
            Some([at, before, after]) => {
                at.store(ra.get(), Ordering::Relaxed);
                before.store(old, Ordering::Relaxed);
                after.store(new, Ordering::Relaxed);
            }
            None => self.note_more((ra, old, new)),
        }
    }

    #[cold]
    #[inline(never)]
    fn note_more(&self, entry: Entry) {
        self.more().push(entry);
    }

    fn more(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.more.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, number: usize) -> Option<Entry> {
        match self.words.get(number) {
            Some([at, before, after]) => Some((
                Ra::new(at.load(Ordering::Relaxed)),
                before.load(Ordering::Relaxed),
                after.load(Ordering::Relaxed),
            )),
            None => self.more().get(number - ROOM).copied(),
        }
    }

    /// The hash of what differs now: it follows the entries when it is asked for.
    #[inline]
    fn hash(&self) -> u64 {
        let entries = self.entries.load(Ordering::Relaxed);
        match self.hashed.load(Ordering::Relaxed) == entries {
            true => self.hash.load(Ordering::Relaxed),
            false => self.follow(entries),
        }
    }

    #[inline(never)]
    fn follow(&self, entries: usize) -> u64 {
        let mut hash = self.hash.load(Ordering::Relaxed);
        for number in self.hashed.load(Ordering::Relaxed)..entries {
            if let Some((ra, old, new)) = self.entry(number) {
                hash ^= mixed(ra, old) ^ mixed(ra, new);
            }
        }
        self.hash.store(hash, Ordering::Relaxed);
        self.hashed.store(entries, Ordering::Relaxed);
        hash
    }
}

impl GuestMemory {
    /// Notes from now on what each store overwrites. From then on one host thread at a time may use the
    /// memory; later calls do nothing.
    pub fn start_journal(&self) {
        self.journal.get_or_init(Journal::new);
        self.unjournalled.store(0, Ordering::Relaxed);
    }

    /// Stores a doubleword and notes what it changed, if that is all there is to it: inside, aligned, with a
    /// journal. False if not, and nothing is done.
    #[inline]
    pub fn quick_journalled_u64(&self, ra: Ra, value: u64) -> bool {
        let (Some(journal), Ok(place)) = (self.journal.get(), self.at(ra, 8)) else {
            return false;
        };
        // SAFETY: as for every store of this size: `at` has checked bounds and alignment.
        let word = unsafe { AtomicU64::from_ptr(place.cast()) };
        let old = u64::from_be(word.load(Ordering::Acquire));
        if value != old {
            journal.note((ra, old, value));
            word.store(value.to_be(), Ordering::Release);
        }
        true
    }

    /// Stores something of a doubleword at `ra` by `write`, and notes what it changed.
    pub(super) fn journalled<T>(
        &self,
        journal: &Journal,
        ra: Ra,
        write: impl FnOnce() -> T,
    ) -> Result<T, MemoryError> {
        let at = Ra::new(ra.get() & !7);
        let old = self.load_u64(at)?;
        let result = write();
        let new = self.load_u64(at)?;
        if new != old {
            journal.note((at, old, new));
        }
        Ok(result)
    }

    /// A hash of all that differs from when the journal was started or last undone: equal contents, equal
    /// hash. 0 without a journal.
    #[inline]
    pub fn journal_hash(&self) -> u64 {
        self.journal.get().map_or(0, Journal::hash)
    }

    /// How far the journal is: what [`Self::undo_journal_to`] returns to.
    pub fn journal_mark(&self) -> JournalMark {
        let entries = |journal: &Journal| journal.entries.load(Ordering::Relaxed);
        JournalMark(self.journal.get().map_or(0, entries))
    }

    /// Brings back what memory held when the journal was started or last undone. Nobody else may use the
    /// memory meanwhile.
    ///
    /// # Errors
    /// None that is known; those of a store.
    pub fn undo_journal(&self) -> Result<(), MemoryError> {
        self.undo_journal_to(JournalMark::default())
    }

    /// Brings back what memory held at a mark that was made since, if it is not later than now. Nobody else may
    /// use the memory meanwhile.
    ///
    /// # Errors
    /// None that is known; those of a store.
    pub fn undo_journal_to(&self, mark: JournalMark) -> Result<(), MemoryError> {
        let Some(journal) = self.journal.get() else {
            return Ok(());
        };
        let entries = journal.entries.load(Ordering::Relaxed);
        let hashed = journal.hashed.load(Ordering::Relaxed);
        let mut hash = journal.hash.load(Ordering::Relaxed);
        for number in (mark.0..hashed.min(entries)).rev() {
            if let Some((ra, old, new)) = journal.entry(number) {
                hash ^= mixed(ra, old) ^ mixed(ra, new);
            }
        }
        for number in (mark.0.max(ROOM)..entries).rev() {
            if let Some((ra, old, _)) = journal.entry(number) {
                self.put_u64(ra, old)?;
            }
        }
        let with_room = mark.0.min(entries).min(ROOM)..entries.min(ROOM);
        let words = journal.words.get(with_room).unwrap_or_default();
        for [at, old, _] in words.iter().rev() {
            let at = Ra::new(at.load(Ordering::Relaxed));
            self.put_u64(at, old.load(Ordering::Relaxed))?;
        }
        let left = entries.min(mark.0);
        journal.entries.store(left, Ordering::Relaxed);
        journal.hash.store(hash, Ordering::Relaxed);
        journal.hashed.store(hashed.min(left), Ordering::Relaxed);
        if entries > ROOM {
            journal.more().truncate(left.saturating_sub(ROOM));
        }
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

    #[test]
    fn more_stores_than_there_is_room_for_are_undone() {
        let memory = GuestMemory::new(4096).unwrap();
        let held = all(&memory);
        memory.start_journal();
        let mut hashes = std::collections::HashMap::new();
        for i in 0..ROOM as u64 + 500 {
            memory.store_u64(Ra::new(i % 64 * 8), i / 64 % 2).unwrap();
            let hash = memory.journal_hash();
            assert_eq!(hashes.entry(all(&memory)).or_insert(hash), &hash);
        }
        memory.undo_journal().unwrap();
        assert_eq!(all(&memory), held);
        assert_eq!(memory.journal_hash(), 0);
    }

    proptest! {
        #[test]
        fn what_was_stored_since_is_undone(
            before in prop::collection::vec((0u64..512, any::<u8>()), 0..40),
            rounds in prop::collection::vec(
                prop::collection::vec((0u64..512, any::<u8>(), 0u8..6), 0..40),
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
                let mut marked = None;
                for (at, value, what) in round {
                    let (ra, dw) = (Ra::new(at), Ra::new(at & !7));
                    match what {
                        0 => memory.store_u8(ra, value).unwrap(),
                        1 => memory.store_u16(Ra::new(at & !1), value.into()).unwrap(),
                        2 => memory.store_u32(Ra::new(at & !3), value.into()).unwrap(),
                        3 => memory.zero(dw, 16.min(512 - dw.get())).unwrap(),
                        4 => match marked.take() {
                            None => marked = Some((memory.journal_mark(), all(&memory))),
                            Some((mark, then)) => {
                                memory.undo_journal_to(mark).unwrap();
                                prop_assert_eq!(all(&memory), then);
                            }
                        },
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
