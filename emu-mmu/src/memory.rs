//! Guest memory: one anonymous host mapping, read and written by value.
//!
//! Owns the only mapping code and the only raw pointers of the crate. Every access is big-endian,
//! naturally aligned, atomic for its size, acquire on load and release on store. Refuses references
//! into guest memory: another CPU may be writing it.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

use memmap2::{MmapOptions, MmapRaw};
use thiserror::Error;

use crate::addr::Ra;

mod access;
mod file_map;
mod groups;
mod journal;
mod range;
#[cfg(feature = "vm-memory")]
mod vm_region;

pub use file_map::FileMap;
pub(crate) use groups::{GroupAt, Groups, prefetch_read};
use journal::Journal;
pub use journal::JournalMark;
#[cfg(feature = "vm-memory")]
pub use vm_region::GuestRegion;

/// Why an access to guest memory, or its creation, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum MemoryError {
    /// The access ends past the last byte.
    #[error("real address {ra} + {bytes} bytes is outside guest memory")]
    OutOfBounds {
        /// First byte of the access.
        ra: Ra,
        /// Size of the access in bytes.
        bytes: u64,
    },
    /// The address is not a multiple of the access size.
    #[error("real address {ra} is not aligned to {bytes} bytes")]
    Misaligned {
        /// First byte of the access.
        ra: Ra,
        /// Size of the access in bytes.
        bytes: u64,
    },
    /// A length of zero, or not a multiple of 4096.
    #[error("guest memory of {bytes} bytes: the length must be a positive multiple of 4096")]
    BadLength {
        /// The length asked for, in bytes.
        bytes: u64,
    },
    /// The host has no room for the mapping.
    #[error("the host refused a mapping of {bytes} bytes")]
    HostRefused {
        /// The length asked for, in bytes.
        bytes: u64,
    },
}

/// The memory of a guest, from real address 0. It costs only the pages that were touched.
pub struct GuestMemory {
    map: MmapRaw,
    base: *mut u8,
    len: u64,
    /// `len / 8`: one compare then finds a doubleword that is out of bounds or not aligned.
    doublewords: u64,
    /// What stores overwrote, if anybody wants it back.
    journal: OnceLock<Journal>,
    /// Stores below this address need no journal: all, or none. One compare finds both those that do and
    /// those out of bounds.
    unjournalled: AtomicU64,
}

// SAFETY: needed because `base` is a raw pointer. It points into `map`, which `self` owns and never
// moves or resizes, and every access through it is atomic.
unsafe impl Send for GuestMemory {}
// SAFETY: as for `Send`: shared access is by atomic operations only.
unsafe impl Sync for GuestMemory {}

impl fmt::Debug for GuestMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestMemory")
            .field("len_bytes", &self.len)
            .finish_non_exhaustive()
    }
}

impl GuestMemory {
    /// Maps `len_bytes` of zeroed memory without reserving host memory for it.
    ///
    /// # Errors
    /// [`MemoryError::BadLength`] for 0 or no multiple of 4096; [`MemoryError::HostRefused`] if the
    /// host cannot map it.
    pub fn new(len_bytes: u64) -> Result<Self, MemoryError> {
        if len_bytes == 0 || !len_bytes.is_multiple_of(4096) {
            return Err(MemoryError::BadLength { bytes: len_bytes });
        }
        let refused = MemoryError::HostRefused { bytes: len_bytes };
        let len = usize::try_from(len_bytes).map_err(|_| refused)?;
        if len > isize::MAX as usize {
            return Err(refused);
        }
        let map = MmapOptions::new()
            .len(len)
            .no_reserve_swap()
            .map_anon()
            .map_err(|_| refused)?;
        let map = MmapRaw::from(map);
        let base = map.as_mut_ptr();
        Ok(Self {
            map,
            base,
            len: len_bytes,
            doublewords: len_bytes / 8,
            journal: OnceLock::new(),
            unjournalled: AtomicU64::new(len_bytes),
        })
    }

    /// Size in bytes.
    #[inline]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no byte; [`Self::new`] makes none such.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The host address of an access, after one compare for bounds and one test for alignment.
    /// `bytes` is a power of two; a multiple of 4096 as length makes the last aligned access end
    /// inside.
    #[inline(always)]
    pub(crate) fn at(&self, ra: Ra, bytes: u64) -> Result<*mut u8, MemoryError> {
        let fits = match bytes {
            // Low bits that are set become the highest.
            8 => ra.get().rotate_right(3) < self.doublewords,
            _ => ra.get() < self.len && ra.get() & (bytes - 1) == 0,
        };
        if !fits {
            return Err(self.refused(ra, bytes));
        }
        // SAFETY: pointer arithmetic inside the mapping: `ra` is below its length.
        Ok(unsafe { self.base.add(ra.get() as usize) })
    }

    /// Why there is no such access.
    #[cold]
    fn refused(&self, ra: Ra, bytes: u64) -> MemoryError {
        match ra.get() >= self.len {
            true => MemoryError::OutOfBounds { ra, bytes },
            false => MemoryError::Misaligned { ra, bytes },
        }
    }

    /// Does one store of `bytes` bytes, under the journal if there is one.
    #[inline(always)]
    fn write<T>(
        &self,
        ra: Ra,
        bytes: u64,
        write: impl FnOnce(*mut u8) -> T,
    ) -> Result<T, MemoryError> {
        if ra.get() < self.unjournalled.load(Ordering::Relaxed) && ra.get() & (bytes - 1) == 0 {
            // SAFETY: pointer arithmetic inside the mapping, whose length is the most that it is compared
            // with.
            return Ok(write(unsafe { self.base.add(ra.get() as usize) }));
        }
        self.write_journalled(ra, bytes, write)
    }

    #[cold]
    #[inline(never)]
    fn write_journalled<T>(
        &self,
        ra: Ra,
        bytes: u64,
        write: impl FnOnce(*mut u8) -> T,
    ) -> Result<T, MemoryError> {
        let p = self.at(ra, bytes)?;
        match self.journal.get() {
            None => Ok(write(p)),
            Some(journal) => self.journalled(journal, ra, || write(p)),
        }
    }

    /// Stores a doubleword past the journal.
    #[inline]
    fn put_u64(&self, ra: Ra, value: u64) -> Result<(), MemoryError> {
        let p = self.at(ra, 8)?.cast::<u64>();
        // SAFETY: as for every store of this size.
        unsafe { AtomicU64::from_ptr(p) }.store(value.to_be(), Ordering::Release);
        Ok(())
    }

    /// Loads a group of 128 bytes as 16 doublewords, each atomic, in ascending order; the group as
    /// a whole is not.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`], or [`MemoryError::Misaligned`] if `ra` is no multiple of 128.
    #[inline]
    pub fn load_group(&self, ra: Ra) -> Result<[u64; 16], MemoryError> {
        let p = self.at(ra, 128)?.cast::<u64>();
        let mut group = [0; 16];
        for (i, word) in group.iter_mut().enumerate() {
            // SAFETY: `at` checked 128 bytes at `ra`; doubleword `i` is one of the 16 in them.
            let dw = unsafe { AtomicU64::from_ptr(p.add(i)) };
            *word = u64::from_be(dw.load(Ordering::Acquire));
        }
        Ok(group)
    }

    /// The entries of the group at `ra` whose doubleword 0 is `want` in the bits of `mask`; bit `n` is
    /// slot `n`.
    ///
    /// # Errors
    /// As [`Self::load_group`].
    #[inline]
    pub(crate) fn match_group(&self, ra: Ra, want: u64, mask: u64) -> Result<u8, MemoryError> {
        let p = self.at(ra, 128)?.cast::<u64>();
        let load = |i: usize| {
            // SAFETY: `at` checked 128 bytes at `ra`; doubleword `2 * i` is one of the 16 in them.
            let dw = unsafe { AtomicU64::from_ptr(p.add(2 * (i & 7))) };
            dw.load(Ordering::Acquire)
        };
        let (want, mask) = (want.to_be(), mask.to_be());
        // A group without any entry is soon seen to be one.
        if want != 0 && (0..8).fold(0, |all, i| all | load(i)) == 0 {
            return Ok(0);
        }
        let found = |i: usize| u8::from(load(i) & mask == want) << i;
        Ok((0..8).fold(0, |all, i| all | found(i)))
    }

    /// Asks the host to back a range with its huge pages, and tells whether it will try. For what is
    /// used at random and whole, such as a hash table: it then costs few host TLB entries. Elsewhere
    /// each touched page would cost a huge one.
    pub fn prefer_huge_pages(&self, ra: Ra, len_bytes: u64) -> bool {
        let inside = ra
            .get()
            .checked_add(len_bytes)
            .is_some_and(|end| end <= self.len);
        inside && self.advise_huge(ra.get() as usize, len_bytes as usize)
    }

    #[cfg(target_os = "linux")]
    fn advise_huge(&self, offset: usize, len: usize) -> bool {
        self.map
            .advise_range(memmap2::Advice::HugePage, offset, len)
            .is_ok()
    }

    #[cfg(not(target_os = "linux"))]
    fn advise_huge(&self, _offset: usize, _len: usize) -> bool {
        false
    }

    /// Length of the host mapping in bytes, for diagnostics.
    pub fn mapped_bytes(&self) -> usize {
        self.map.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resident pages of this process, from /proc/self/statm.
    fn resident_pages() -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
        statm
            .split_whitespace()
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("resident field")
    }

    #[test]
    fn refuses_bad_lengths() {
        for bytes in [0, 1, 4097] {
            assert_eq!(
                GuestMemory::new(bytes).unwrap_err(),
                MemoryError::BadLength { bytes }
            );
        }
        let bytes = 1 << 63;
        assert_eq!(
            GuestMemory::new(bytes).unwrap_err(),
            MemoryError::HostRefused { bytes }
        );
        let bytes = 1 << 60;
        assert_eq!(
            GuestMemory::new(bytes).unwrap_err(),
            MemoryError::HostRefused { bytes }
        );
    }

    #[test]
    fn big_guest_costs_what_it_touches() {
        let before = resident_pages();
        let m = GuestMemory::new(64 << 30).expect("64 GiB");
        for i in 0..64 {
            m.store_u64(Ra::new(i << 30), i).expect("store");
        }
        assert_eq!(m.load_u64(Ra::new(63 << 30)), Ok(63));
        assert_eq!(m.mapped_bytes() as u64, m.len());
        // 64 touched pages; transparent huge pages may make each 2 MiB. Other tests run beside this
        // one.
        assert!(resident_pages().saturating_sub(before) < 64 * 512 + 65_536);
    }

    #[test]
    fn big_endian_and_aligned() {
        let m = GuestMemory::new(8192).expect("memory");
        m.store_u64(Ra::new(8), 0x0102_0304_0506_0708)
            .expect("store");
        assert_eq!(m.load_u8(Ra::new(8)), Ok(1));
        assert_eq!(m.load_u16(Ra::new(10)), Ok(0x0304));
        assert_eq!(m.load_u32(Ra::new(12)), Ok(0x0506_0708));
        m.store_u16(Ra::new(14), 0xaabb).expect("store");
        assert_eq!(m.load_u64(Ra::new(8)), Ok(0x0102_0304_0506_aabb));
        let e = MemoryError::Misaligned {
            ra: Ra::new(4),
            bytes: 8,
        };
        assert_eq!(m.load_u64(Ra::new(4)), Err(e));
        let e = MemoryError::OutOfBounds {
            ra: Ra::new(8192),
            bytes: 1,
        };
        assert_eq!(m.load_u8(Ra::new(8192)), Err(e));
        let e = MemoryError::OutOfBounds {
            ra: Ra::new(u64::MAX - 7),
            bytes: 8,
        };
        assert_eq!(m.store_u64(Ra::new(u64::MAX - 7), 1), Err(e));
    }

    #[test]
    fn compare_exchange_group_zero() {
        let m = GuestMemory::new(4096).expect("memory");
        assert_eq!(m.compare_exchange_u64(Ra::new(128), 0, 7), Ok(Ok(0)));
        assert_eq!(m.compare_exchange_u64(Ra::new(128), 0, 9), Ok(Err(7)));
        assert_eq!(m.compare_exchange_u32(Ra::new(132), 7, 8), Ok(Ok(7)));
        let group = m.load_group(Ra::new(128)).expect("group");
        assert_eq!((group[0], group[1]), (8, 0));
        assert!(m.load_group(Ra::new(64)).is_err());
        m.store_u64(Ra::new(136), u64::MAX).expect("store");
        m.zero(Ra::new(129), 9).expect("zero");
        assert_eq!(m.load_u64(Ra::new(128)), Ok(0));
        assert_eq!(m.load_u64(Ra::new(136)), Ok(0x0000_ffff_ffff_ffff));
        assert!(m.zero(Ra::new(4095), 2).is_err());
    }
}
