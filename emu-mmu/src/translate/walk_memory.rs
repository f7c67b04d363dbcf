//! Memory as the walker of the table needs it.

use crate::addr::Ra;
use crate::hpte::{Hpte, HpteR, HpteV};
use crate::memory::{GuestMemory, MemoryError};
use crate::pteg::Pteg;

/// Memory that holds a hashed page table: [`GuestMemory`], or an embedder's own.
pub trait WalkMemory {
    /// Loads a group of 128 bytes as 16 big-endian doublewords, each atomic, the first of a pair not
    /// after the second.
    ///
    /// # Errors
    /// [`MemoryError`] if `ra` is outside memory or no multiple of 128.
    fn load_group(&self, ra: Ra) -> Result<[u64; 16], MemoryError>;

    /// The entries of the group at `ra` whose doubleword 0 may be `want` in the bits of `mask`; bit `n` is
    /// slot `n`. If there are none the walk goes on, else it loads the group. Memory that is not quicker to
    /// look at than to load says all.
    ///
    /// # Errors
    /// As [`Self::load_group`].
    #[inline(always)]
    fn match_group(&self, ra: Ra, want: u64, mask: u64) -> Result<u8, MemoryError> {
        let _ = (ra, want, mask);
        Ok(u8::MAX)
    }

    /// The two doublewords of one entry of the group at `ra`, the first read before the second.
    ///
    /// # Errors
    /// As [`Self::load_group`].
    #[inline(always)]
    fn load_entry(&self, ra: Ra, slot: u8) -> Result<(u64, u64), MemoryError> {
        let words = self.load_group(ra)?;
        let first = usize::from(slot & 7) * 2;
        Ok((words[first], words[first + 1]))
    }

    /// Stores a byte, atomically: R or C.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    fn store_u8(&self, ra: Ra, value: u8) -> Result<(), MemoryError>;

    /// Whether doubleword 0 at `ra` still is `v`, as [`Self::load_group`] gave it; asked of the entry that a
    /// walk found. If not, its two doublewords may be of two entries, and the walk reads the group
    /// again. Memory that gives both doublewords of an entry at once, or that nobody else writes, need
    /// not look.
    ///
    /// # Errors
    /// [`MemoryError`] if `ra` is outside memory or misaligned.
    fn still_holds(&self, ra: Ra, v: u64) -> Result<bool, MemoryError> {
        let _ = (ra, v);
        Ok(true)
    }
}

impl WalkMemory for GuestMemory {
    #[inline(always)]
    fn load_group(&self, ra: Ra) -> Result<[u64; 16], MemoryError> {
        GuestMemory::load_group(self, ra)
    }

    #[inline(always)]
    fn match_group(&self, ra: Ra, want: u64, mask: u64) -> Result<u8, MemoryError> {
        GuestMemory::match_group(self, ra, want, mask)
    }

    #[inline(always)]
    fn load_entry(&self, ra: Ra, slot: u8) -> Result<(u64, u64), MemoryError> {
        let at = ra + u64::from(slot & 7) * 16;
        Ok((self.load_u64(at)?, self.load_u64(at + 8)?))
    }

    #[inline(always)]
    fn store_u8(&self, ra: Ra, value: u8) -> Result<(), MemoryError> {
        GuestMemory::store_u8(self, ra, value)
    }

    #[inline(always)]
    fn still_holds(&self, ra: Ra, v: u64) -> Result<bool, MemoryError> {
        Ok(self.load_u64(ra)? == v)
    }
}

/// A copy of the group at `ra`, its words as they lie there.
#[inline]
pub(super) fn group<M: WalkMemory>(memory: &M, ra: Ra) -> Result<Pteg, MemoryError> {
    let words = memory.load_group(ra)?;
    Ok(Pteg(core::array::from_fn(|i| Hpte {
        v: HpteV(words[2 * i]),
        r: HpteR(words[2 * i + 1]),
    })))
}
