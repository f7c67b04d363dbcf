//! A run of 128-byte groups, by number: what the batched table operations stand on.
//!
//! Owns the host addresses of the groups, checked once for the whole run, and the prefetches. A number
//! past the end wraps, so no access needs a check of its own. Refuses to know what an entry is.

use super::{GuestMemory, MemoryError};
use crate::addr::Ra;
use crate::pteg::GroupKernel;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a group.
const GROUP_BYTES: u64 = 128;

/// `2^n` groups of a guest's memory. Each doubleword is read and written atomically.
#[derive(Clone, Copy)]
pub(crate) struct Groups<'m> {
    base: *mut u8,
    /// Offsets of groups.
    mask: u64,
    memory: PhantomData<&'m GuestMemory>,
}

/// A group of a run: its offset in bytes, inside the run it was asked of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupAt(u64);

// SAFETY: needed because of the raw pointer. It points into memory that is borrowed for `'m` and
// that `GuestMemory` lets every thread reach, and every store through it is atomic.
unsafe impl Send for Groups<'_> {}
// SAFETY: as for `Send`.
unsafe impl Sync for Groups<'_> {}

impl<'m> Groups<'m> {
    /// The groups from `ra` on.
    ///
    /// # Errors
    /// [`MemoryError`] if they reach outside memory or `ra` is no multiple of 128.
    pub fn new(memory: &'m GuestMemory, ra: Ra, log2: u8) -> Result<Self, MemoryError> {
        let bytes = GROUP_BYTES << log2;
        let outside = MemoryError::OutOfBounds { ra, bytes };
        let last = ra.get().checked_add(bytes - GROUP_BYTES).ok_or(outside)?;
        let base = memory.at(ra, GROUP_BYTES)?;
        memory.at(Ra::new(last), GROUP_BYTES).map_err(|_| outside)?;
        Ok(Groups {
            base,
            mask: bytes - GROUP_BYTES,
            memory: PhantomData,
        })
    }

    /// A group by its number.
    #[inline(always)]
    pub const fn group(self, number: u64) -> GroupAt {
        GroupAt(number << 7 & self.mask)
    }

    /// The group whose number has every bit inverted: the other one of a hash.
    #[inline(always)]
    pub const fn other(self, at: GroupAt) -> GroupAt {
        GroupAt(!at.0 & self.mask)
    }

    /// The number of a group.
    #[inline(always)]
    pub const fn number(self, at: GroupAt) -> u64 {
        at.0 >> 7
    }

    /// A byte of a group; the offsets of another run wrap.
    #[inline(always)]
    fn byte(self, at: GroupAt, byte: usize) -> *mut u8 {
        let offset = (at.0 & self.mask) as usize + byte % GROUP_BYTES as usize;
        // SAFETY: pointer arithmetic inside the run, which `new` found to lie in memory.
        unsafe { self.base.add(offset) }
    }

    #[inline(always)]
    fn doubleword(&self, at: GroupAt, word: usize) -> &AtomicU64 {
        let pointer = self.byte(at, 8 * (word & 15)).cast();
        // SAFETY: an atomic access needs a pointer; doubleword 0 to 15 of a group lies inside the run,
        // aligned, and the memory is borrowed for as long as `self`. The reference stays in here.
        unsafe { AtomicU64::from_ptr(pointer) }
    }

    /// A doubleword (acquire).
    #[inline(always)]
    pub fn load(self, at: GroupAt, word: usize) -> u64 {
        u64::from_be(self.doubleword(at, word).load(Ordering::Acquire))
    }

    /// Stores a doubleword (release).
    #[inline(always)]
    pub fn store(self, at: GroupAt, word: usize, value: u64) {
        self.doubleword(at, word)
            .store(value.to_be(), Ordering::Release);
    }

    /// Stores `new` if the doubleword is `old`; tells whether it did.
    #[inline(always)]
    pub fn compare_exchange(self, at: GroupAt, word: usize, old: u64, new: u64) -> bool {
        let (old, new) = (old.to_be(), new.to_be());
        self.doubleword(at, word)
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The slots whose doubleword 0 equals `want` in the bits of `mask`. A hint if others write.
    #[inline(always)]
    pub fn masked_equal<K: GroupKernel>(self, at: GroupAt, want: u64, mask: u64) -> u8 {
        // SAFETY: the group's 128 bytes lie inside the run, aligned. A kernel's type is named only by
        // `Chosen::run`, inside code of its CPU feature.
        unsafe { K::masked_equal(self.byte(at, 0).cast(), want, mask) }
    }

    /// Brings both lines of a group near, to be read.
    #[inline(always)]
    pub fn prefetch(self, at: GroupAt) {
        prefetch::read_pair(self.byte(at, 0));
    }

    /// Brings both lines of a group near, to be written.
    #[inline(always)]
    pub fn prefetch_write(self, at: GroupAt) {
        prefetch::write_pair(self.byte(at, 0));
    }

    /// Brings the line of one doubleword near, to be written.
    #[inline(always)]
    pub fn prefetch_write_doubleword(self, at: GroupAt, word: usize) {
        prefetch::write(self.byte(at, 8 * (word & 15)));
    }

    /// The first words of a group's two lines together, and one word of each stored anew: the least
    /// that any change of a group costs. What is stored was never read as an entry.
    #[inline(always)]
    pub fn touch_lines(self, at: GroupAt, value: u64) -> u64 {
        let (first, second) = (self.doubleword(at, 0), self.doubleword(at, 8));
        let sum = first.load(Ordering::Relaxed) ^ second.load(Ordering::Relaxed);
        first.store(value, Ordering::Relaxed);
        second.store(value, Ordering::Relaxed);
        sum
    }

    /// The first words of a group's two lines together: the least that reading a group costs.
    #[inline(always)]
    pub fn read_lines(self, at: GroupAt) -> u64 {
        let (first, second) = (self.doubleword(at, 0), self.doubleword(at, 8));
        first.load(Ordering::Relaxed) ^ second.load(Ordering::Relaxed)
    }
}

/// Brings every line of a value of the host's near.
#[inline(always)]
pub(crate) fn prefetch_read<T>(value: &T) {
    let at: *const u8 = core::ptr::from_ref(value).cast();
    for line in (0..size_of::<T>()).step_by(64) {
        prefetch::read(at.wrapping_add(line));
    }
}

/// Hints to the host's caches. They never fault and change no value.
mod prefetch {
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn read(at: *const u8) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint is an intrinsic; it neither faults nor changes memory. SSE is on every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    /// PREFETCHW, which CPUs that lack it take for a no-op.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn write(at: *const u8) {
        // SAFETY: needed because the intrinsic gives a read hint without a target feature; it neither
        // faults nor changes memory.
        unsafe {
            core::arch::asm!(
                "prefetchw byte ptr [{at}]",
                at = in(reg) at,
                options(readonly, nostack, preserves_flags),
            );
        }
    }

    /// Two lines from `at` on. Assembly, so that the second address is no instruction of its own.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn read_pair(at: *const u8) {
        // SAFETY: hints neither fault nor change memory.
        unsafe {
            core::arch::asm!(
                "prefetcht0 byte ptr [{at}]",
                "prefetcht0 byte ptr [{at} + 64]",
                at = in(reg) at,
                options(readonly, nostack, preserves_flags),
            );
        }
    }

    /// Two lines from `at` on, to be written.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn write_pair(at: *const u8) {
        // SAFETY: as for `read_pair`.
        unsafe {
            core::arch::asm!(
                "prefetchw byte ptr [{at}]",
                "prefetchw byte ptr [{at} + 64]",
                at = in(reg) at,
                options(readonly, nostack, preserves_flags),
            );
        }
    }

    /// Two lines from `at` on.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub fn read_pair(at: *const u8) {
        read(at);
        read(at.wrapping_add(64));
    }

    /// Two lines from `at` on, to be written.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub fn write_pair(at: *const u8) {
        write(at);
        write(at.wrapping_add(64));
    }

    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    pub fn read(at: *const u8) {
        // SAFETY: needed because the intrinsic is unstable; a hint, which neither faults nor changes
        // memory.
        unsafe {
            core::arch::asm!("prfm pldl1keep, [{at}]", at = in(reg) at,
                options(readonly, nostack, preserves_flags));
        }
    }

    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    pub fn write(at: *const u8) {
        // SAFETY: as for the read hint.
        unsafe {
            core::arch::asm!("prfm pstl1keep, [{at}]", at = in(reg) at,
                options(readonly, nostack, preserves_flags));
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    #[inline(always)]
    pub fn read(_at: *const u8) {}

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    #[inline(always)]
    pub fn write(_at: *const u8) {}
}
