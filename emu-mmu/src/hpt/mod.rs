//! The hashed page table: where it lies, and the operations software makes on it.
//!
//! Owns the step order of Linux's native table writer, each operation once, generic over
//! [`TableAccess`]. Refuses to know who runs it, what a step costs, or when another CPU sees it.

mod batch;
mod direct;
mod entry;
mod health;
mod lock;
mod range;
mod resize;

use thiserror::Error;

use crate::addr::{GroupIndex, HpteIndex, PageSize, Ra};
use crate::hpte::{Hpte, HpteFormat};
use crate::invalidate::TlbInvalidate;
use crate::memory::{GuestMemory, MemoryError};

pub use batch::{Batch, Exclusive, Mapping, Pages, Shared, Sharing};
pub use direct::Direct;
pub use health::Health;
pub use range::{FlushEntry, tlbie_sequence, tlbiel_sequence};
pub use resize::{Keep, Rehashed, ResizeError};

/// The label of one step: the function and what it does, for example "native_hpte_insert: store V".
pub type Step = &'static str;

/// A storage ordering instruction (Power ISA 2.07 Book II 4.4.3, Book III-S 5.9.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Barrier {
    /// `eieio`.
    Eieio,
    /// `ptesync`.
    Ptesync,
    /// `tlbsync`.
    Tlbsync,
    /// `isync`.
    Isync,
    /// `lwsync`.
    Lwsync,
}

/// How an operation reaches the table: one method call is one step another CPU may come before or
/// after.
pub trait TableAccess {
    /// Why a step could not be made.
    type Error;

    /// Loads a doubleword.
    ///
    /// # Errors
    /// The implementation's.
    fn load(&mut self, ra: Ra, step: Step) -> Result<u64, Self::Error>;

    /// Stores a doubleword.
    ///
    /// # Errors
    /// The implementation's.
    fn store(&mut self, ra: Ra, value: u64, step: Step) -> Result<(), Self::Error>;

    /// Stores `new` if the doubleword is `old`; tells whether it did.
    ///
    /// # Errors
    /// The implementation's.
    fn compare_exchange(
        &mut self,
        ra: Ra,
        old: u64,
        new: u64,
        step: Step,
    ) -> Result<bool, Self::Error>;

    /// Executes a barrier.
    ///
    /// # Errors
    /// The implementation's.
    fn barrier(&mut self, barrier: Barrier, step: Step) -> Result<(), Self::Error>;

    /// Executes `tlbie`, or `tlbiel` if the operand is local.
    ///
    /// # Errors
    /// The implementation's.
    fn tlb_invalidate(&mut self, operand: TlbInvalidate, step: Step) -> Result<(), Self::Error>;

    /// Waits a moment: an entry's lock is held by another.
    ///
    /// # Errors
    /// The implementation's; the only way out of a lock that is never released.
    fn spin(&mut self, step: Step) -> Result<(), Self::Error>;
}

/// When software compares an entry it is about to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum CompareOrder {
    /// Lock, then compare (Linux 2.6.38).
    UnderLock,
    /// Compare, lock if equal, compare again (Linux 6.1).
    BeforeLock,
}

/// A table that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum HptError {
    /// The size is outside what SDR1 can say.
    #[error("2^{groups_log2} groups: a table has 2^11 to 2^39")]
    Size {
        /// log2 of the number of groups.
        groups_log2: u8,
    },
    /// The base is not a multiple of the table's size, or has bits SDR1 lacks.
    #[error("table base {base} is not a multiple of its {size_bytes} bytes below 2^60")]
    Base {
        /// The base address.
        base: Ra,
        /// The table's size in bytes.
        size_bytes: u64,
    },
    /// HR is set: the entry is for radix translation.
    #[error("partition table entry {dw0:#x} is for radix translation (HR = 1)")]
    Radix {
        /// Doubleword 0.
        dw0: u64,
    },
}

/// HTABORG in SDR1 and in a partition table entry.
const HTABORG: u64 = 0x0FFF_FFFF_FFFC_0000;

/// A hashed page table: its place and size, as SDR1 gives them (Power ISA 2.07 Book III-S 5.7.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hpt {
    base: Ra,
    groups_log2: u8,
    format: HpteFormat,
}

impl Hpt {
    /// A table of `2^groups_log2` groups at `base`.
    ///
    /// # Errors
    /// [`HptError::Size`] outside 11 to 39; [`HptError::Base`] unless aligned to the table's size.
    pub const fn new(base: Ra, groups_log2: u8) -> Result<Self, HptError> {
        if groups_log2 < 11 || groups_log2 > 39 {
            return Err(HptError::Size { groups_log2 });
        }
        let size_bytes = 128 << groups_log2;
        if base.get() & (size_bytes - 1) != 0 || base.get() >> 60 != 0 {
            return Err(HptError::Base { base, size_bytes });
        }
        Ok(Self {
            base,
            groups_log2,
            format: HpteFormat::Isa2,
        })
    }

    /// The table that SDR1 names. Low HTABORG bits that must be 0 are added to the address of a
    /// group, as QEMU 7.2 does; the architecture leaves it undefined.
    ///
    /// # Errors
    /// [`HptError::Size`] for HTABSIZE above 28.
    pub const fn from_sdr1(sdr1: u64) -> Result<Self, HptError> {
        let groups_log2 = 11 + (sdr1 & 0x1f) as u8;
        if groups_log2 > 39 {
            return Err(HptError::Size { groups_log2 });
        }
        Ok(Self {
            base: Ra::new(sdr1 & HTABORG),
            groups_log2,
            format: HpteFormat::Isa2,
        })
    }

    /// The table that doubleword 0 of an ISA 3.0 partition table entry names, and the page size of
    /// the VRMA there (Power ISA 3.0 Book III 5.7.6.1).
    ///
    /// # Errors
    /// [`HptError::Size`] as [`Self::from_sdr1`]; [`HptError::Radix`] if HR is set.
    pub const fn from_partition_entry(dw0: u64) -> Result<(Self, Option<PageSize>), HptError> {
        if dw0 >> 63 != 0 {
            return Err(HptError::Radix { dw0 });
        }
        let table = match Self::from_sdr1(dw0 & (HTABORG | 0x1f)) {
            Ok(table) => table.with_format(HpteFormat::Isa3),
            Err(error) => return Err(error),
        };
        Ok((table, PageSize::from_llp((dw0 >> 5 & 7) as u8)))
    }

    /// The same table with entries in another layout.
    pub const fn with_format(self, format: HpteFormat) -> Self {
        Self { format, ..self }
    }

    /// How its entries lie in memory.
    #[inline]
    pub const fn format(&self) -> HpteFormat {
        self.format
    }

    /// First byte.
    #[inline]
    pub const fn base(&self) -> Ra {
        self.base
    }

    /// log2 of the number of groups.
    #[inline]
    pub const fn groups_log2(&self) -> u8 {
        self.groups_log2
    }

    /// Number of groups.
    #[inline]
    pub const fn groups(&self) -> u64 {
        1 << self.groups_log2
    }

    /// Size in bytes.
    #[inline]
    pub const fn size_bytes(&self) -> u64 {
        128 << self.groups_log2
    }

    /// The mask from hash to group number.
    #[inline]
    pub const fn hash_mask(&self) -> u64 {
        self.groups() - 1
    }

    /// The primary group of a hash.
    #[inline]
    pub const fn primary(&self, hash: u64) -> GroupIndex {
        GroupIndex(hash & self.hash_mask())
    }

    /// The secondary group of a hash.
    #[inline]
    pub const fn secondary(&self, hash: u64) -> GroupIndex {
        GroupIndex(!hash & self.hash_mask())
    }

    /// First byte of an entry. An index past the table wraps into it.
    #[inline]
    pub const fn hpte_ra(&self, index: HpteIndex) -> Ra {
        Ra::new(self.base.get() + ((index.0 << 4) & (self.size_bytes() - 1)))
    }

    /// First byte of a group. A number past the table wraps into it.
    #[inline]
    pub const fn group_ra(&self, group: GroupIndex) -> Ra {
        Ra::new(self.base.get() + ((group.0 << 7) & (self.size_bytes() - 1)))
    }

    /// Whether a real address lies in the table.
    #[inline]
    pub const fn contains(&self, ra: Ra) -> bool {
        ra.get().wrapping_sub(self.base.get()) < self.size_bytes()
    }

    /// The entry that holds a real address of the table.
    #[inline]
    pub const fn index_of(&self, ra: Ra) -> Option<HpteIndex> {
        if self.contains(ra) {
            Some(HpteIndex((ra.get() - self.base.get()) >> 4))
        } else {
            None
        }
    }

    /// SDR1: HTABORG and HTABSIZE.
    #[inline]
    pub const fn sdr1(&self) -> u64 {
        self.base.get() | (self.groups_log2 as u64 - 11)
    }

    /// Every entry in table order, read without locks: for tests, checkers and reports.
    pub fn entries<'m>(
        &self,
        memory: &'m GuestMemory,
    ) -> impl Iterator<Item = Result<(HpteIndex, Hpte), MemoryError>> + use<'m> {
        let table = *self;
        (0..self.groups() * 8).map(move |i| {
            let ra = table.hpte_ra(HpteIndex(i));
            let hpte = table
                .format
                .decode(memory.load_u64(ra)?, memory.load_u64(ra + 8)?);
            Ok((HpteIndex(i), hpte))
        })
    }

    /// How many entries are valid.
    ///
    /// # Errors
    /// [`MemoryError`] if the table reaches outside memory.
    pub fn count_valid(&self, memory: &GuestMemory) -> Result<u64, MemoryError> {
        self.entries(memory)
            .try_fold(0, |n, entry| Ok(n + u64::from(entry?.1.v.is_valid())))
    }
}

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
