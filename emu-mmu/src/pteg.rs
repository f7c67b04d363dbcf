//! The group: eight entries copied out of the table, and the compares the hardware makes on all of
//! them at once.
//!
//! Owns `match_mask`, `free_mask` and the hardware search of one group. Refuses to write: changes
//! go through `hpt`.

mod backend;

pub use backend::Backend;
pub(crate) use backend::{Chosen, GroupKernel, GroupLoop};

use crate::addr::{PageSize, Ra};
use crate::hpte::{Hpte, HpteFormat, HpteR, HpteV};
use crate::memory::{GuestMemory, MemoryError};

/// A copy of one group (Power ISA 2.07 Book III-S 5.7.7.2): 128 bytes, eight entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pteg(pub [Hpte; 8]);

const _: () = assert!(size_of::<Pteg>() == 128);

/// A set of slots of one group; bit `n` is slot `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SlotMask(pub u8);

impl SlotMask {
    /// No slot.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest slot.
    #[inline]
    pub const fn first(self) -> Option<u8> {
        if self.0 == 0 {
            None
        } else {
            Some(self.0.trailing_zeros() as u8)
        }
    }

    /// How many slots.
    #[inline]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }
}

impl Iterator for SlotMask {
    type Item = u8;

    /// Takes the lowest slot out of the set.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let slot = self.first()?;
        self.0 &= self.0 - 1;
        Some(slot)
    }
}

impl Pteg {
    /// Copies the group at `ra`. Each doubleword is atomic and dw0 is read before dw1, the group is
    /// not one snapshot.
    ///
    /// # Errors
    /// [`MemoryError`] if `ra` is outside memory or no multiple of 128.
    #[inline]
    pub fn load(memory: &GuestMemory, ra: Ra) -> Result<Self, MemoryError> {
        let words = memory.load_group(ra)?;
        Ok(Self(core::array::from_fn(|i| Hpte {
            v: HpteV(words[2 * i]),
            r: HpteR(words[2 * i + 1]),
        })))
    }

    /// The same group, its words read as entries of this layout.
    #[inline]
    pub const fn decoded(self, format: HpteFormat) -> Self {
        if matches!(format, HpteFormat::Isa2) {
            return self;
        }
        let mut group = self;
        let mut i = 0;
        while i < 8 {
            group.0[i] = format.decode(self.0[i].v.0, self.0[i].r.0);
            i += 1;
        }
        group
    }

    /// The slots where `pred` holds.
    #[inline]
    fn mask(&self, pred: impl Fn(Hpte) -> bool) -> SlotMask {
        let mut mask = 0;
        for (i, e) in self.0.iter().enumerate() {
            mask |= u8::from(pred(*e)) << i;
        }
        SlotMask(mask)
    }

    /// The slots whose entry [`HpteV::matches`] `v`; H is not compared.
    #[inline]
    pub fn match_mask(&self, v: HpteV) -> SlotMask {
        self.mask(|e| e.v.matches(v))
    }

    /// The slots with V=0.
    #[inline]
    pub fn free_mask(&self) -> SlotMask {
        self.mask(|e| !e.v.is_valid())
    }

    /// The slots the hardware would take for `v` (B, AVPN and H count) in a segment of this base
    /// page size: AVPN bits inside the page do not count, and L and LP must decode (Power ISA 2.07
    /// Book III-S 5.7.7.3).
    #[inline]
    pub fn search_mask(&self, v: HpteV, base: PageSize) -> SlotMask {
        let compare = HpteV::compare_mask(base);
        self.search_mask_of(v, compare, |hpte| hpte.actual(base).is_some())
    }

    /// As [`Self::search_mask`], with the compared bits of doubleword 0 (beside H and V) and the test
    /// of L and LP given.
    #[inline]
    pub fn search_mask_of(
        &self,
        v: HpteV,
        compare: u64,
        is_size: impl Fn(Hpte) -> bool,
    ) -> SlotMask {
        let compare = compare | HpteV::SECONDARY | HpteV::VALID;
        let want = v.with_valid().0 & compare;
        let mut hits = self.mask(|e| e.v.0 & compare == want);
        for slot in hits {
            if !is_size(self.0[usize::from(slot)]) {
                hits.0 &= !(1 << slot);
            }
        }
        hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{SegmentSize, Vpn};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn masks_agree_with_a_plain_loop(
            words in prop::array::uniform16(any::<u64>()),
            pick in 0usize..8,
            low: u8,
        ) {
            let mut group = Pteg::default();
            for (i, e) in group.0.iter_mut().enumerate() {
                *e = Hpte { v: HpteV(words[2 * i]), r: HpteR(words[2 * i + 1]) };
            }
            group.0[(pick + 3) % 8].v = HpteV(words[2 * pick] ^ u64::from(low & 0x7f));
            let want = HpteV(words[2 * pick]);
            let mut matching = Vec::new();
            let mut free = Vec::new();
            for (slot, e) in group.0.iter().enumerate() {
                if e.v.0 % 2 == 0 { free.push(slot as u8); }
                else if e.v.0 >> 7 == want.0 >> 7 { matching.push(slot as u8); }
            }
            prop_assert_eq!(group.match_mask(want).collect::<Vec<_>>(), matching);
            prop_assert_eq!(group.free_mask().collect::<Vec<_>>(), free);
        }
    }

    #[test]
    fn search_takes_h_size_and_large_avpn() {
        let (segment, vpn) = (SegmentSize::S256M, Vpn::new(0x1234_5000));
        let want = HpteV::new(vpn, segment, PageSize::P16M);
        let mut group = Pteg::default();
        let r = HpteR::new(Ra::new(0), PageSize::P16M, PageSize::P16M);
        group.0[2] = Hpte {
            v: HpteV(want.with_valid().0 | 0x80),
            r,
        };
        assert_eq!(
            group.search_mask(want, PageSize::P16M).first(),
            Some(2),
            "AVPN bit inside the page"
        );
        assert!(
            group
                .search_mask(want.with_secondary(), PageSize::P16M)
                .is_empty()
        );
        group.0[2].r = HpteR(1 << 12);
        assert!(
            group.search_mask(want, PageSize::P16M).is_empty(),
            "LP of 64 KB"
        );
        let v = HpteV::new(vpn, segment, PageSize::P4K);
        group.0[5].v = v.with_valid().with_lock().with_bolted();
        assert_eq!(group.search_mask(v, PageSize::P4K), SlotMask(1 << 5));
    }
}
