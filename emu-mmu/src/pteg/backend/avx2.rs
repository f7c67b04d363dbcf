//! x86-64 AVX2. Kept because it beats the scalar compare (`emu bench hpt`, `simd_vs_scalar_avx2`).

use super::{GroupKernel, GroupLoop};
use core::arch::asm;
use core::arch::x86_64::*;

/// Runs a loop compiled for AVX2.
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
pub fn run<L: GroupLoop>(work: L) -> L::Output {
    work.run::<Avx2>()
}

pub struct Avx2;

/// 32 bytes. Assembly, because others may be storing there: a Rust load would have to be atomic.
///
/// # Safety
/// `at` points to 32 readable bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load(at: *const u64) -> __m256i {
    let value: __m256i;
    // SAFETY: reads the 32 bytes that the caller vouches for and changes nothing.
    unsafe {
        asm!(
            "vmovdqu {value}, ymmword ptr [{at}]",
            at = in(reg) at,
            value = lateout(ymm_reg) value,
            options(readonly, nostack, preserves_flags),
        );
    }
    value
}

// SAFETY: needed by the trait; it reads four times 32 bytes of the group's 128.
unsafe impl GroupKernel for Avx2 {
    #[inline(always)]
    unsafe fn masked_equal(group: *const u64, want: u64, mask: u64) -> u8 {
        // SAFETY: intrinsics and assembly of a feature that the caller vouches for; both halves
        // lie in the 128 bytes that it vouches for.
        unsafe {
            let want = _mm256_set1_epi64x(want.to_be().cast_signed());
            let mask = _mm256_set1_epi64x(mask.to_be().cast_signed());
            half(group, want, mask) | half(group.add(8), want, mask) << 4
        }
    }
}

/// Four slots.
///
/// # Safety
/// `group` points to 64 readable bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn half(group: *const u64, want: __m256i, mask: __m256i) -> u8 {
    // SAFETY: both loads lie in the 64 bytes that the caller vouches for.
    let (low, high) = unsafe { (load(group), load(group.add(4))) };
    // Doublewords 0 of slots 0, 2, 1, 3, then in order.
    let mixed = _mm256_unpacklo_epi64(low, high);
    let dw0 = _mm256_permute4x64_epi64::<0b11_01_10_00>(mixed);
    let differs = _mm256_and_si256(_mm256_xor_si256(dw0, want), mask);
    let equal = _mm256_cmpeq_epi64(differs, _mm256_setzero_si256());
    _mm256_movemask_pd(_mm256_castsi256_pd(equal)) as u8
}
