//! The compare of a whole group as it lies in memory, once for each kind of vector unit.
//!
//! Owns which back ends there are, which of them this host can run, and the one place where a loop
//! enters code that needs a CPU feature: the loop runs inside it, so that a compare costs no call.
//! Refuses to write, and refuses to be believed: a group that others write is compared as a hint.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

/// Which instructions compare a group. [`Backend::best`] is what a table uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// One doubleword after another, on any host: what the others are tested against.
    Scalar,
    /// x86-64 AVX2: four loads of 32 bytes.
    Avx2,
    /// x86-64 AVX-512 (F): two loads of 64 bytes, one compare.
    Avx512,
    /// AArch64 Advanced SIMD. Tested for results, never measured.
    Neon,
}

impl Backend {
    /// Every back end, slowest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Neon, Self::Avx2, Self::Avx512];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }

    /// Whether this host can run it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => std::arch::is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => true,
            _ => false,
        }
    }

    /// The fastest that this host can run.
    pub fn best() -> Self {
        let mut best = Self::Scalar;
        for backend in Self::ALL {
            if backend.is_available() {
                best = backend;
            }
        }
        best
    }

    /// This back end if the host can run it.
    pub(crate) fn chosen(self) -> Option<Chosen> {
        self.is_available().then_some(Chosen(self))
    }
}

/// A back end that was found available: what a table keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chosen(Backend);

impl Chosen {
    /// The fastest that this host can run.
    pub(crate) fn best() -> Self {
        Chosen(Backend::best())
    }

    /// Runs a loop with this back end's compare.
    #[inline]
    pub(crate) fn run<L: GroupLoop>(self, work: L) -> L::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: needed to enter code compiled for a CPU feature; a `Chosen` is made only when
            // that was found available.
            Backend::Avx2 => unsafe { avx2::run(work) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as for AVX2.
            Backend::Avx512 => unsafe { avx512::run(work) },
            #[cfg(target_arch = "aarch64")]
            Backend::Neon => work.run::<neon::Neon>(),
            _ => work.run::<scalar::Scalar>(),
        }
    }
}

/// A compare of eight entries.
///
/// # Safety
/// [`Self::masked_equal`] must read the 128 bytes at its pointer and nothing else.
pub(crate) unsafe trait GroupKernel {
    /// The slots whose doubleword 0 equals `want` in the bits of `mask`; bit `n` is slot `n`.
    ///
    /// # Safety
    /// `group` points to 128 readable bytes, aligned to 128; the CPU has the back end's feature.
    /// Others may write them meanwhile by atomic stores: then the result is a hint.
    unsafe fn masked_equal(group: *const u64, want: u64, mask: u64) -> u8;
}

/// A loop over groups, generic over the compare. `run` must be `#[inline(always)]`, or the loop
/// would not be compiled for the back end's feature.
pub(crate) trait GroupLoop {
    /// What the loop gives.
    type Output;

    /// Runs it.
    fn run<K: GroupKernel>(self) -> Self::Output;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[repr(align(128))]
    struct Group([u64; 16]);

    struct Compare<'a> {
        group: &'a Group,
        want: u64,
        mask: u64,
    }

    impl GroupLoop for Compare<'_> {
        type Output = u8;

        #[inline(always)]
        fn run<K: GroupKernel>(self) -> u8 {
            // SAFETY: the group is 128 bytes, aligned; `Chosen` vouches for the feature.
            unsafe { K::masked_equal(self.group.0.as_ptr(), self.want, self.mask) }
        }
    }

    fn plain(group: &[u64; 16], want: u64, mask: u64) -> u8 {
        (0..8).fold(0, |slots, slot| {
            let dw0 = u64::from_be(group[2 * slot]);
            slots | u8::from((dw0 ^ want) & mask == 0) << slot
        })
    }

    proptest! {
        #[test]
        fn back_ends_agree(
            words in prop::array::uniform16(any::<u64>()),
            pick in 0usize..8,
            second in 0usize..8,
            flip in 0u32..64,
            mask: u64,
        ) {
            let mut group = Group(words);
            // A second match, and one that misses by a bit, so that random words do not all differ.
            group.0[2 * second] = group.0[2 * pick];
            let want = u64::from_be(group.0[2 * pick]) ^ (u64::from(flip % 3 == 0) << flip);
            for mask in [mask, u64::MAX, 1, 0, !0x7f | 1, !0x7f | 3] {
                let expected = plain(&group.0, want, mask);
                for chosen in Backend::ALL.into_iter().filter_map(Backend::chosen) {
                    let found = chosen.run(Compare { group: &group, want, mask });
                    prop_assert_eq!(found, expected, "{:?} mask {:#x}", chosen, mask);
                }
            }
        }
    }

    #[test]
    fn each_slot_has_its_own_bit() {
        for slot in 0..8 {
            let mut group = Group([0; 16]);
            group.0[2 * slot] = 1u64.to_be();
            for chosen in Backend::ALL.into_iter().filter_map(Backend::chosen) {
                let (want, mask) = (1, 1);
                let found = chosen.run(Compare {
                    group: &group,
                    want,
                    mask,
                });
                assert_eq!(found, 1 << slot, "{chosen:?}");
            }
        }
    }

    #[test]
    fn the_best_can_run() {
        assert!(Backend::best().is_available());
        assert!(Backend::Scalar.is_available());
    }
}
