//! Accesses of one size by value: load, store, compare and exchange.
//!
//! Owns what is atomic about each. Refuses groups and ranges.

use super::{GuestMemory, MemoryError};
use crate::addr::Ra;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

macro_rules! access {
    ($load:ident, $store:ident, $quick_store:ident, $ty:ty, $atomic:ty, $what:literal) => {
        #[doc = concat!("Loads ", $what, " (big-endian, acquire).")]
        ///
        /// # Errors
        /// [`MemoryError::OutOfBounds`] or [`MemoryError::Misaligned`].
        #[inline]
        pub fn $load(&self, ra: Ra) -> Result<$ty, MemoryError> {
            let p = self.at(ra, size_of::<$ty>() as u64)?.cast::<$ty>();
            // SAFETY: an atomic access to shared memory needs a pointer; `at` checked bounds and
            // alignment, and the mapping lives as long as `self`.
            let word = unsafe { <$atomic>::from_ptr(p) }.load(Ordering::Acquire);
            Ok(<$ty>::from_be(word))
        }

        #[doc = concat!("Stores ", $what, " (big-endian, release).")]
        ///
        /// # Errors
        /// [`MemoryError::OutOfBounds`] or [`MemoryError::Misaligned`].
        #[inline]
        pub fn $store(&self, ra: Ra, value: $ty) -> Result<(), MemoryError> {
            self.write(ra, size_of::<$ty>() as u64, |p| {
                // SAFETY: as for the load of this size.
                let word = unsafe { <$atomic>::from_ptr(p.cast()) };
                word.store(value.to_be(), Ordering::Release);
            })
        }

        #[doc = concat!("Stores ", $what, " if that is all there is to it: inside, aligned, no journal.")]
        /// False if not, and nothing is done.
        #[inline(always)]
        pub fn $quick_store(&self, ra: Ra, value: $ty) -> bool {
            let bytes = size_of::<$ty>() as u64;
            let plain = ra.get() < self.unjournalled.load(Ordering::Relaxed);
            if !plain || ra.get() & (bytes - 1) != 0 {
                return false;
            }
            // SAFETY: pointer arithmetic inside the mapping, whose length is the most that it is compared with.
            let p = unsafe { self.base.add(ra.get() as usize) };
            // SAFETY: as for the load of this size.
            let word = unsafe { <$atomic>::from_ptr(p.cast()) };
            word.store(value.to_be(), Ordering::Release);
            true
        }
    };
}

macro_rules! compare_exchange {
    ($name:ident, $ty:ty, $atomic:ty, $what:literal) => {
        #[doc = concat!("Compares and exchanges ", $what, ": `Ok(old)`, or `Err(found)` if not `old`.")]
        ///
        /// # Errors
        /// [`MemoryError::OutOfBounds`] or [`MemoryError::Misaligned`].
        #[inline]
        pub fn $name(&self, ra: Ra, old: $ty, new: $ty) -> Result<Result<$ty, $ty>, MemoryError> {
            let seen = self.write(ra, size_of::<$ty>() as u64, |p| {
                // SAFETY: as for the load of this size.
                let word = unsafe { <$atomic>::from_ptr(p.cast()) };
                word.compare_exchange(
                    old.to_be(),
                    new.to_be(),
                    Ordering::AcqRel,
                    Ordering::Acquire,
                )
            })?;
            Ok(seen.map(<$ty>::from_be).map_err(<$ty>::from_be))
        }
    };
}

impl GuestMemory {
    access!(load_u8, store_u8, quick_store_u8, u8, AtomicU8, "a byte");
    access!(
        load_u16,
        store_u16,
        quick_store_u16,
        u16,
        AtomicU16,
        "a halfword"
    );
    access!(
        load_u32,
        store_u32,
        quick_store_u32,
        u32,
        AtomicU32,
        "a word"
    );
    access!(
        load_u64,
        store_u64,
        quick_store_u64,
        u64,
        AtomicU64,
        "a doubleword"
    );
    compare_exchange!(compare_exchange_u32, u32, AtomicU32, "a word");
    compare_exchange!(compare_exchange_u64, u64, AtomicU64, "a doubleword");
}
