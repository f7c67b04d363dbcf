//! x86-64 AVX-512. Kept because it beats AVX2 and the scalar compare (`emu bench hpt`,
//! `simd_vs_scalar`).

use super::{GroupKernel, GroupLoop};
use core::arch::asm;
use core::arch::x86_64::*;

/// Runs a loop compiled for AVX-512.
#[target_feature(enable = "avx512f,avx2,bmi1,bmi2,popcnt,lzcnt")]
pub fn run<L: GroupLoop>(work: L) -> L::Output {
    work.run::<Avx512>()
}

pub struct Avx512;

/// The doublewords 0 of a group. Assembly, because others may be storing there: a Rust load would have
/// to be atomic.
///
/// # Safety
/// `group` points to 128 readable bytes.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn doublewords0(group: *const u64) -> __m512i {
    let even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    let value: __m512i;
    // SAFETY: reads the 128 bytes that the caller vouches for and changes nothing.
    unsafe {
        asm!(
            "vmovdqu64 {value}, zmmword ptr [{at}]",
            "vpermt2q {value}, {even}, zmmword ptr [{at} + 64]",
            at = in(reg) group,
            even = in(zmm_reg) even,
            value = out(zmm_reg) value,
            options(readonly, nostack, preserves_flags),
        );
    }
    value
}

// SAFETY: needed by the trait; it reads the two lines of the group.
unsafe impl GroupKernel for Avx512 {
    #[inline(always)]
    unsafe fn masked_equal(group: *const u64, want: u64, mask: u64) -> u8 {
        // SAFETY: intrinsics and assembly of a feature that the caller vouches for, on the 128 bytes
        // that it vouches for.
        unsafe {
            let dw0 = doublewords0(group);
            let want = _mm512_set1_epi64(want.to_be().cast_signed());
            let mask = _mm512_set1_epi64(mask.to_be().cast_signed());
            _mm512_testn_epi64_mask(_mm512_xor_si512(dw0, want), mask)
        }
    }
}
