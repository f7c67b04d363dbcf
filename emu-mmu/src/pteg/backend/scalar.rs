//! Doubleword by doubleword, on any host.

use super::GroupKernel;
use core::sync::atomic::{AtomicU64, Ordering};

pub struct Scalar;

// SAFETY: needed by the trait; it reads the eight doublewords 0 of the group.
unsafe impl GroupKernel for Scalar {
    #[inline(always)]
    unsafe fn masked_equal(group: *const u64, want: u64, mask: u64) -> u8 {
        let (want, mask) = (want.to_be(), mask.to_be());
        let mut slots = 0;
        for slot in 0..8 {
            // SAFETY: guest memory is reached by pointer; slot 7's doubleword 0 ends at byte 120 of
            // the 128 that the caller vouches for, and an atomic load may race with atomic stores.
            let dw0 = unsafe { AtomicU64::from_ptr(group.add(2 * slot).cast_mut()) };
            let equal = (dw0.load(Ordering::Relaxed) ^ want) & mask == 0;
            slots |= u8::from(equal) << slot;
        }
        slots
    }
}
