//! Ranges of memory: zeroed, copied.
//!
//! Owns the way through their doublewords. None is atomic as a whole. Refuses ranges that end outside.

use super::{GuestMemory, MemoryError};
use crate::addr::Ra;
use std::sync::atomic::{AtomicU64, Ordering};

impl GuestMemory {
    /// Zeroes `len_bytes` from `ra`, by doubleword where it can. Not atomic as a whole.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`], before anything is written.
    pub fn zero(&self, ra: Ra, len_bytes: u64) -> Result<(), MemoryError> {
        let end = self.end_of(ra, len_bytes)?;
        let words = ra.get().next_multiple_of(8).min(end)..end & !7;
        for at in (ra.get()..words.start).chain(words.end.max(words.start)..end) {
            self.store_u8(Ra::new(at), 0)?;
        }
        let noted = self.journal.get().is_some();
        for at in words.step_by(8) {
            let word = self.word(at);
            // There is nothing to note of what is zero already.
            if !noted {
                word.store(0, Ordering::Release);
            } else if word.load(Ordering::Relaxed) != 0 {
                self.store_u64(Ra::new(at), 0)?;
            }
        }
        Ok(())
    }

    /// Copies `len_bytes` from `from` to `to`, by doubleword, upwards. Not atomic as a whole.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`]; [`MemoryError::Misaligned`] where an address or the length is no multiple of
    /// 8. Nothing is written then.
    pub fn copy(&self, to: Ra, from: Ra, len_bytes: u64) -> Result<(), MemoryError> {
        self.end_of(to, len_bytes)?;
        self.end_of(from, len_bytes)?;
        for at in [to, from, Ra::new(len_bytes)] {
            if !at.get().is_multiple_of(8) {
                let bytes = 8;
                return Err(MemoryError::Misaligned { ra: at, bytes });
            }
        }
        for offset in (0..len_bytes).step_by(8) {
            let value = self.word(from.get() + offset).load(Ordering::Acquire);
            // What it holds already needs no store, nor a note of one.
            if self.word(to.get() + offset).load(Ordering::Relaxed) != value {
                self.store_u64(Ra::new(to.get() + offset), u64::from_be(value))?;
            }
        }
        Ok(())
    }

    fn end_of(&self, ra: Ra, len_bytes: u64) -> Result<u64, MemoryError> {
        let end = (ra.get().checked_add(len_bytes)).filter(|&end| end <= self.len());
        let bytes = len_bytes;
        end.ok_or(MemoryError::OutOfBounds { ra, bytes })
    }

    /// The doubleword at an address that is aligned and inside, big-endian.
    #[inline(always)]
    fn word(&self, at: u64) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at < self.len());
        // SAFETY: the mapping lives as long as `self`, all access to it is atomic, and every caller has checked
        // the bounds and the alignment.
        unsafe { AtomicU64::from_ptr(self.base.add(at as usize).cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_range_is_copied_and_brought_back(
            held in prop::collection::vec(any::<u8>(), 512),
            (to, from, words) in (0u64..48, 0u64..48, 0u64..16),
            journal: bool,
        ) {
            let memory = GuestMemory::new(4096).unwrap();
            for (at, &byte) in (0..).zip(&held) {
                memory.store_u8(Ra::new(at), byte).unwrap();
            }
            if journal {
                memory.start_journal();
            }
            let all = || (0..512).map(|at| memory.load_u8(Ra::new(at)).unwrap());
            let mut expected: Vec<u8> = all().collect();
            for offset in 0..words * 8 {
                expected[(to * 8 + offset) as usize] = expected[(from * 8 + offset) as usize];
            }
            memory.copy(Ra::new(to * 8), Ra::new(from * 8), words * 8).unwrap();
            prop_assert!(all().eq(expected));
            if journal {
                memory.undo_journal().unwrap();
                prop_assert!(all().eq(held));
            }
        }
    }

    #[test]
    fn a_range_that_ends_outside_is_refused() {
        let memory = GuestMemory::new(4096).unwrap();
        memory.store_u64(Ra::new(0), 7).unwrap();
        for (to, from, bytes) in [
            (4088, 0, 16),
            (0, 4088, 16),
            (4, 0, 8),
            (0, 4, 8),
            (0, 8, 4),
        ] {
            assert!(memory.copy(Ra::new(to), Ra::new(from), bytes).is_err());
        }
        assert!(memory.copy(Ra::new(u64::MAX - 7), Ra::new(0), 16).is_err());
        assert_eq!(memory.load_u64(Ra::new(0)), Ok(7));
    }
}
