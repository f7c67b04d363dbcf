//! AArch64 Advanced SIMD. Tested for results under emulation; never measured on a CPU.

use super::GroupKernel;
use core::arch::aarch64::*;
use core::arch::asm;

pub struct Neon;

/// Doublewords 0 of two neighbouring entries. Assembly, because others may be storing there: a Rust
/// load would have to be atomic.
///
/// # Safety
/// `at` points to 32 readable bytes.
#[inline(always)]
unsafe fn load_dw0(at: *const u64) -> uint64x2_t {
    let (dw0, _dw1): (uint64x2_t, uint64x2_t);
    // SAFETY: reads the 32 bytes that the caller vouches for and changes nothing.
    unsafe {
        asm!(
            "ld2 {{v0.2d, v1.2d}}, [{at}]",
            at = in(reg) at,
            out("v0") dw0,
            out("v1") _dw1,
            options(readonly, nostack, preserves_flags),
        );
    }
    dw0
}

// SAFETY: needed by the trait; it reads four times 32 bytes of the group's 128.
unsafe impl GroupKernel for Neon {
    #[inline(always)]
    unsafe fn masked_equal(group: *const u64, want: u64, mask: u64) -> u8 {
        let mut slots = 0;
        for pair in 0..4 {
            // SAFETY: every AArch64 CPU has Advanced SIMD; the loads lie in the 128 bytes that the
            // caller vouches for.
            unsafe {
                let dw0 = load_dw0(group.add(4 * pair));
                let differs = veorq_u64(dw0, vdupq_n_u64(want.to_be()));
                let equal = vceqzq_u64(vandq_u64(differs, vdupq_n_u64(mask.to_be())));
                slots |= (vgetq_lane_u64::<0>(equal) as u8 & 1) << (2 * pair);
                slots |= (vgetq_lane_u64::<1>(equal) as u8 & 1) << (2 * pair + 1);
            }
        }
        slots
    }
}
