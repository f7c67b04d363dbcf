//! The NEON compare alone against the plain one, for any compiler that has AArch64's standard library:
//! run by .ci/neon/run under emulation. The same comparison is among the tests of emu-mmu, which a host
//! of that architecture runs.

#[path = "../../emu-mmu/src/pteg/backend/neon.rs"]
mod neon;

use neon::Neon;

pub unsafe trait GroupKernel {
    unsafe fn masked_equal(group: *const u64, want: u64, mask: u64) -> u8;
}

#[repr(align(128))]
struct Group([u64; 16]);

const GROUPS: u64 = 1_000_000;

fn plain(group: &[u64; 16], want: u64, mask: u64) -> u8 {
    (0..8).fold(0, |slots, slot| {
        let dw0 = u64::from_be(group[2 * slot]);
        slots | u8::from((dw0 ^ want) & mask == 0) << slot
    })
}

// splitmix64
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn main() {
    let (mut state, mut hits) = (1, 0u64);
    for n in 0..GROUPS {
        let mut group = Group([0; 16]);
        group.0.iter_mut().for_each(|word| *word = random(&mut state));
        let (one, two) = (random(&mut state) % 8, random(&mut state) % 8);
        group.0[2 * two as usize] = group.0[2 * one as usize];
        // A match, or one that misses by a bit.
        let miss = u64::from(n % 3 == 0) << (random(&mut state) % 64);
        let want = u64::from_be(group.0[2 * one as usize]) ^ miss;
        for mask in [random(&mut state), !0, 1, 0, !0x7f | 1, !0x7f | 3] {
            // SAFETY: the group is 128 bytes, aligned.
            let found = unsafe { Neon::masked_equal(group.0.as_ptr(), want, mask) };
            assert_eq!(found, plain(&group.0, want, mask), "group {} mask {:#x}", n, mask);
            hits += u64::from(found.count_ones());
        }
    }
    println!("{} groups, 6 masks each, {} hits: agree", GROUPS, hits);
}
