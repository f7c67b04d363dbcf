//! Which virtual page an entry of the hash table serves, and which invalidations belong to a flush.
//!
//! Owns a decoder of the entry's first doubleword and the flushes under way, for the rules that need
//! either. Takes every large page for one of 64K: Linux bolts those of 16M once and never flushes them.

use super::mark::hash_of_set;
use crate::key_map::KeyMap;
use crate::tracepoint::Tracepoint;
use emu_mmu::{Ra, SegmentSize, Vpn};
use std::hash::{Hash, Hasher};

/// V and L of an HPTE's first doubleword (Power ISA 2.07 Book III-S 5.7.7.1).
const HPTE_V_VALID: u64 = 1;
const HPTE_V_SECONDARY: u64 = 2;
const HPTE_V_LARGE: u64 = 4;
/// Bits of the page number that AVPN leaves out: they follow from the group.
const BELOW_AVPN: u32 = 11;
const BELOW_AVPN_MASK: u64 = (1 << BELOW_AVPN) - 1;
/// AVPN without B.
const AVPN_MASK: u64 = 0x3fff_ffff_ffff_ff80;
const AVPN_SHIFT: u32 = 7;
const B_SHIFT: u32 = 62;

/// The low bits of a page number that a 64K page does not have.
const PIECE_BITS: u32 = 4;

/// A virtual page by its first 4K.
pub(super) type Page = (Vpn, SegmentSize);

/// The low bits of the primary group of a page, and the mask they are taken with.
fn group_low(vpn: u64, segment: SegmentSize) -> u64 {
    // In a segment of 1T the VSID also enters shifted by 25, above these bits.
    (vpn ^ (vpn >> (segment.shift() - 12))) & BELOW_AVPN_MASK
}

/// The page that a store into the table at `base` brings to life: its entry was not valid before.
#[inline]
pub(super) fn born(base: Ra, ra: Ra, old: u64, new: u64) -> Option<Page> {
    let first = ra.get() & 8 == 0;
    if !first || old & HPTE_V_VALID != 0 || new & HPTE_V_VALID == 0 {
        return None;
    }
    let segment = SegmentSize::from_b_field(new >> B_SHIFT)?;
    let mut group = (ra.get() - base.get()) >> 7;
    if new & HPTE_V_SECONDARY != 0 {
        group = !group;
    }
    let high = ((new & AVPN_MASK) >> AVPN_SHIFT) << BELOW_AVPN;
    let vsid_low = high >> (segment.shift() - 12);
    let offset = group ^ vsid_low;
    let low = if new & HPTE_V_LARGE != 0 {
        offset << PIECE_BITS
    } else {
        offset
    };
    let vpn = high | (low & BELOW_AVPN_MASK);
    Some((Vpn::new(vpn), segment))
}

/// True if entry number `slot` of the table lies in the secondary group of its page.
pub(super) fn is_secondary(page: Page, slot: u64) -> bool {
    (slot >> 3) & BELOW_AVPN_MASK != group_low(page.0.get(), page.1)
}

/// The invalidations that each task has still to issue for the flush it announced. Those of a
/// permission change (updatepp) belong to none.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    left: KeyMap<Left>,
}

cloned_by_field!(Flushing { left });

#[derive(Clone, Copy, Debug)]
struct Left {
    invalidations: u64,
    batch: bool,
}

/// What an invalidation was part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The flush of a batch.
    Batch,
    /// The flush of one page.
    Single,
    /// Neither.
    None,
}

impl Flushing {
    /// What decides what an invalidation is part of.
    pub fn hash_state(&self, to: &mut impl Hasher) {
        let left = self.left.iter();
        hash_of_set(left.map(|(task, left)| (task, left.invalidations, left.batch))).hash(to);
    }

    /// An event of Linux.
    #[inline]
    pub fn tracepoint(&mut self, task: u64, tp: &Tracepoint) {
        let (invalidations, batch) = match *tp {
            Tracepoint::BatchFlush { pieces, .. } => (pieces, true),
            Tracepoint::SingleFlush { .. } => {
                let before = self.left.get(&task).filter(|left| !left.batch);
                (before.map_or(0, |left| left.invalidations) + 1, false)
            }
            Tracepoint::TaskExit { .. } => (0, false),
            _ => return,
        };
        if invalidations == 0 {
            self.left.remove(&task);
        } else {
            self.left.insert(
                task,
                Left {
                    invalidations,
                    batch,
                },
            );
        }
    }

    /// `task` issued an invalidation.
    #[inline]
    pub fn invalidate(&mut self, task: u64) -> Part {
        let Some(left) = self.left.get_mut(&task) else {
            return Part::None;
        };
        left.invalidations -= 1;
        let part = if left.batch {
            Part::Batch
        } else {
            Part::Single
        };
        if left.invalidations == 0 {
            self.left.remove(&task);
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Ra = Ra::new(0x400_0000);
    /// EA 0xd000000000100000 in Linux 2.6.38: VSID 0xf09b89af5, primary group 0x1bf5 of 2^15.
    const V: u64 = 0x0000_f09b_89af_5001;
    const PAGE: Page = (Vpn::new(0xf_09b8_9af5_0100), SegmentSize::S256M);

    fn v_ra(group: u64) -> Ra {
        BASE + group * 128
    }

    #[test]
    fn a_page_is_told_from_either_group() {
        assert_eq!(born(BASE, v_ra(0x1bf5), 0, V), Some(PAGE));
        assert_eq!(born(BASE, v_ra(0x640a), 8, V | 2), Some(PAGE));
        let next = (PAGE.0.wrapping_add(1), PAGE.1);
        assert_eq!(born(BASE, v_ra(0x1bf4), 0, V), Some(next));
        assert!(!is_secondary(PAGE, 0x1bf5 * 8 + 3));
        assert!(is_secondary(PAGE, 0x640a * 8 + 3));
    }

    #[test]
    fn a_page_of_a_large_segment_agrees_with_the_architecture() {
        let (vpn, segment) = (Vpn::new(0x12_3456_789a_bcde), SegmentSize::S1T);
        let hash = vpn.hash(segment, emu_mmu::PageSize::P4K);
        let v = (segment.b_field() << 62) | ((vpn.get() >> 11) << 7) | 1;
        let ra = v_ra(hash & 0x7fff);
        assert_eq!(born(BASE, ra, 0, v), Some((vpn, segment)));
    }

    #[test]
    fn a_page_of_64k_agrees_with_the_architecture() {
        for segment in [SegmentSize::S256M, SegmentSize::S1T] {
            let vpn = Vpn::new(0x12_3456_789a_bcd0);
            let hash = vpn.hash(segment, emu_mmu::PageSize::P64K);
            let v = (segment.b_field() << 62) | ((vpn.get() >> 11) << 7) | 5;
            let ra = v_ra(hash & 0x7fff);
            assert_eq!(born(BASE, ra, 0, v), Some((vpn, segment)));
        }
    }

    #[test]
    fn only_a_birth_counts() {
        let ra = v_ra(0x1bf5);
        assert_eq!(born(BASE, ra, V | 8, V), None, "unlocked");
        assert_eq!(born(BASE, ra, V, 0), None, "taken out");
        assert_eq!(born(BASE, ra + 8, 0, V), None, "second doubleword");
    }

    #[test]
    fn an_invalidation_belongs_to_the_flush_that_its_task_announced() {
        let mut flushing = Flushing::default();
        let flush = Tracepoint::BatchFlush {
            entries: 2,
            pieces: 2,
            batch_cpu: 0,
        };
        flushing.tracepoint(1, &flush);
        assert_eq!(flushing.invalidate(2), Part::None);
        assert_eq!(flushing.invalidate(1), Part::Batch);
        assert_eq!(flushing.invalidate(1), Part::Batch);
        assert_eq!(flushing.invalidate(1), Part::None);
    }
}
