//! What the recorded inserts tell about the number of groups of the recorded hash table.

use super::Event;
use emu_mmu::{PageSize, SegmentSize, Vpn};
use serde::{Serialize, Serializer};

/// The sizes of a hash table, as log2 of its groups, that explain the group of every recorded insert. Empty if
/// no insert was recorded, or if none explains them all. Kernel pages alone often leave more than one: their
/// hashes differ in the low bits only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HtabSizes(u32);

impl HtabSizes {
    /// The sizes that the emulated machine may have.
    pub const BITS: std::ops::RangeInclusive<u8> = 11..=28;

    /// The set whose bit n stands for 2^n groups; `None` if it has others than [`BITS`](Self::BITS).
    pub fn from_mask(mask: u32) -> Option<HtabSizes> {
        let all: u32 = Self::BITS.map(|bits| 1 << bits).sum();
        (mask & !all == 0).then_some(HtabSizes(mask))
    }

    /// Bit n for 2^n groups.
    pub const fn mask(self) -> u32 {
        self.0
    }

    /// The sizes, smallest first.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        Self::BITS.filter(move |bits| self.0 & (1 << bits) != 0)
    }

    /// The size to take: `usual` if it explains the inserts, else the smallest that does.
    pub fn choose(self, usual: u8) -> u8 {
        let usual_explains = self.iter().any(|bits| bits == usual);
        match self.iter().next() {
            Some(smallest) if !usual_explains => smallest,
            _ => usual,
        }
    }
}

impl Serialize for HtabSizes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Finds the numbers of low hash bits that explain the group of every insert. Which segment size an insert had
/// is not recorded: either may explain it, and the wrong one hardly ever does.
#[derive(Debug)]
pub(crate) struct MaskVotes {
    explaining: u32,
    inserts: u64,
}

impl Default for MaskVotes {
    fn default() -> Self {
        MaskVotes {
            explaining: HtabSizes::BITS.map(|bits| 1 << bits).sum(),
            inserts: 0,
        }
    }
}

impl MaskVotes {
    /// HPTE_V_SECONDARY in `vflags`.
    const SECONDARY: u64 = 0x2;

    /// Takes a record of an insert; others and pages of other sizes than 4K and 64K are passed by.
    pub fn record(&mut self, event: &Event) {
        let Event::Hpins {
            group,
            vpn,
            vflags,
            psize,
            ..
        } = *event
        else {
            return;
        };
        let base = match psize {
            0 => PageSize::P4K,
            2 => PageSize::P64K,
            _ => return,
        };
        // The kernel counts a group in entries: 8 each.
        let group = group / 8;
        let explains = |segment| {
            let hash = Vpn::new(vpn).hash(segment, base);
            let hash = match vflags & Self::SECONDARY {
                0 => hash,
                _ => !hash,
            };
            let least = u64::BITS - group.leading_zeros();
            let most = (hash ^ group).trailing_zeros();
            HtabSizes::BITS
                .filter(|&bits| (least..=most).contains(&u32::from(bits)))
                .map(|bits| 1 << bits)
                .sum::<u32>()
        };
        self.explaining &= explains(SegmentSize::S1T) | explains(SegmentSize::S256M);
        self.inserts += 1;
    }

    /// What explains every insert.
    pub fn sizes(&self) -> HtabSizes {
        match self.inserts {
            0 => HtabSizes::default(),
            _ => HtabSizes(self.explaining),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(vpn: u64, segment: SegmentSize, mask: u64, secondary: bool) -> Event {
        let hash = Vpn::new(vpn).hash(segment, PageSize::P64K);
        let hash = if secondary { !hash } else { hash };
        Event::Hpins {
            group: (hash & mask) * 8,
            vpn,
            pa: 0,
            rflags: 0,
            vflags: if secondary { 2 } else { 0 },
            psize: 2,
        }
    }

    #[test]
    fn the_inserts_leave_one_mask() {
        let mut votes = MaskVotes::default();
        assert_eq!(votes.sizes(), HtabSizes::default(), "nothing was recorded");
        for i in 0..64u64 {
            let segment = match i % 2 {
                0 => SegmentSize::S1T,
                _ => SegmentSize::S256M,
            };
            let vpn = 0xad_9a7e_7000_0000 ^ (i * 0x123_4567_8910);
            votes.record(&insert(vpn, segment, 0x3fff, i % 9 == 0));
        }
        assert_eq!(votes.sizes().iter().collect::<Vec<_>>(), [14]);
        assert_eq!(votes.sizes().choose(18), 14);
        votes.record(&insert(0x77_1234_5670, SegmentSize::S1T, 0x1_ffff, false));
        assert_eq!(votes.sizes().mask(), 0, "no mask explains both tables");
    }

    #[test]
    fn one_insert_leaves_it_open() {
        let mut votes = MaskVotes::default();
        votes.record(&insert(0x20, SegmentSize::S1T, 0x1_ffff, false));
        let sizes = votes.sizes();
        assert!(sizes.iter().count() > 1 && sizes.choose(18) == 18);
        assert_eq!(HtabSizes::from_mask(sizes.mask()), Some(sizes));
        assert_eq!(HtabSizes::from_mask(1), None);
    }

    #[test]
    fn the_usual_size_is_taken_where_it_explains() {
        let sizes = HtabSizes::from_mask(1 << 16 | 1 << 17).unwrap();
        assert_eq!([16, 17, 18].map(|usual| sizes.choose(usual)), [16, 17, 16]);
        assert_eq!(HtabSizes::default().choose(18), 18);
    }
}
