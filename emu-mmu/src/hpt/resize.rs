//! Another table of another size: prepare, rehash, and the change of SDR1 that the caller makes between
//! them (PAPR H_RESIZE_HPT_PREPARE and H_RESIZE_HPT_COMMIT do these for a guest).
//!
//! Nothing may use either table meanwhile, and no lookaside buffer may hold translations of the old one
//! afterwards: both are the caller's.

use super::{Batch, Hpt, Shared};
use crate::addr::{PageSize, SegmentSize, Vpn};
use crate::hpte::{Hpte, HpteV};
use crate::memory::{GuestMemory, MemoryError};
use crate::page_sizes::PageSizes;
use thiserror::Error;

/// Which entries go into the new table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Keep {
    /// Every valid one.
    All,
    /// Bolted ones, as a hypervisor does for its guest (the others come back by faults).
    Bolted,
}

/// What a rehash did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rehashed {
    /// Entries in the new table.
    pub moved: u64,
    /// Of those, in their secondary groups.
    pub secondary: u64,
    /// Valid entries left out, because they are not to be kept or both groups were full.
    pub dropped: u64,
}

/// Why a rehash failed. The old table is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ResizeError {
    /// Both groups of a bolted entry are full: it may not be dropped.
    #[error("no room for bolted entry {index}: both its groups in the new table are full")]
    BoltedFull {
        /// Its number in the old table.
        index: u64,
    },
    /// A table is outside memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The tables share memory.
    #[error("the new table overlaps the old one")]
    Overlap,
}

/// What an entry translates, from its words and its place: the AVPN, and below it the page number that
/// only the hash holds. `None` for an entry no search can reach.
pub(crate) fn translated(
    hpt: &Hpt,
    index: u64,
    hpte: Hpte,
) -> Option<(Vpn, SegmentSize, PageSize)> {
    let segment = hpte.v.segment()?;
    let sizes = PageSizes::POWER7;
    let base = PageSize::ALL
        .into_iter()
        .find(|&base| sizes.actual(hpte, base).is_some())?;
    let avpn = Vpn::new(hpte.v.avpn() << 11);
    let group = index >> 3;
    let hash = if hpte.v.is_secondary() { !group } else { group };
    // The hash of the page with zeros below the AVPN differs from the real one in those bits alone.
    let low_bits = 23u32.saturating_sub(base.shift());
    let low = (hash ^ avpn.hash(segment, base)) & ((1 << low_bits) - 1);
    let vpn = Vpn::new(avpn.get() | low << (base.shift() - 12));
    let found = vpn.hash(segment, base) & hpt.hash_mask() == hash & hpt.hash_mask();
    found.then_some((vpn, segment, base))
}

/// Entries moved at a time.
const CHUNK: usize = 1024;

impl Hpt {
    /// Empties a table before its use (PREPARE).
    ///
    /// # Errors
    /// [`MemoryError`] if it reaches outside memory.
    pub fn clear(&self, memory: &GuestMemory) -> Result<(), MemoryError> {
        (0..self.groups() * 8).try_for_each(|i| {
            if self.get(memory, i)? == Hpte::default() {
                return Ok(()); // A page never written costs nothing.
            }
            self.put(memory, i, Hpte::default())
        })
    }

    /// Puts the entries of this table into an empty one (COMMIT), each where its hash belongs there.
    ///
    /// # Errors
    /// [`ResizeError`].
    pub fn rehash(
        &self,
        memory: &GuestMemory,
        new: &Hpt,
        keep: Keep,
    ) -> Result<Rehashed, ResizeError> {
        if self.contains(new.base()) || new.contains(self.base()) {
            return Err(ResizeError::Overlap);
        }
        let mut batch = new.shared(memory)?;
        let mut done = Rehashed::default();
        let (mut entries, mut indices) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
        for index in 0..self.groups() * 8 {
            let hpte = self.get(memory, index)?;
            if !hpte.v.is_valid() {
                continue;
            }
            let kept = keep == Keep::All || hpte.v.is_bolted();
            let target = if kept {
                translated(self, index, hpte)
            } else {
                None
            };
            let Some((vpn, segment, base)) = target else {
                done.dropped += 1;
                continue;
            };
            let v = HpteV(hpte.v.0 & !HpteV::SECONDARY);
            entries.push((vpn.hash(segment, base), Hpte { v, r: hpte.r }));
            indices.push(index);
            if entries.len() == CHUNK {
                done.place(new, &mut batch, &entries, &indices)?;
                entries.clear();
                indices.clear();
            }
        }
        done.place(new, &mut batch, &entries, &indices)?;
        Ok(done)
    }
}

impl Rehashed {
    /// Puts entries into the new table and counts them; `indices` are their numbers in the old one.
    fn place(
        &mut self,
        new: &Hpt,
        batch: &mut Batch<'_, Shared>,
        entries: &[(u64, Hpte)],
        indices: &[u64],
    ) -> Result<(), ResizeError> {
        let mut homeless = None;
        batch.insert_hashed(entries, |i, place| match place {
            Some(index) => {
                self.moved += 1;
                self.secondary += u64::from(index.group() != new.primary(entries[i].0));
            }
            None if entries[i].1.v.is_bolted() => homeless = homeless.or(Some(indices[i])),
            None => self.dropped += 1,
        });
        match homeless {
            Some(index) => Err(ResizeError::BoltedFull { index }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Ra, Vsid};
    use crate::check::DuplicateChecker;
    use crate::hpt::Direct;
    use crate::hpte::HpteR;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SIZES: [(PageSize, PageSize); 6] = [
        (PageSize::P4K, PageSize::P4K),
        (PageSize::P4K, PageSize::P64K),
        (PageSize::P4K, PageSize::P16M),
        (PageSize::P64K, PageSize::P64K),
        (PageSize::P64K, PageSize::P16M),
        (PageSize::P16M, PageSize::P16M),
    ];

    /// A page of a segment: VSID, offset, sizes.
    type Page = (u64, u64, bool, usize);

    fn insert(memory: &GuestMemory, hpt: &Hpt, page: Page, bolted: bool) -> Option<Vpn> {
        let (vsid, offset, one_t, sizes) = page;
        let segment = if one_t {
            SegmentSize::S1T
        } else {
            SegmentSize::S256M
        };
        let (base, actual) = SIZES[sizes];
        let ea = crate::Ea::new(offset & ((1 << segment.shift()) - 1));
        let vpn = Vpn::from_ea(Vsid::new(vsid), ea, segment).align_down(base);
        let mut v = HpteV::new(vpn, segment, base);
        if actual != PageSize::P4K {
            v = v.with_large();
        }
        if bolted {
            v = v.with_bolted();
        }
        let r = HpteR::new(Ra::new(0), base, actual).with_flags(0x192);
        let hash = vpn.hash(segment, base);
        let mut tlb = |_| {};
        let mut a = Direct::new(memory, &mut tlb);
        for (group, secondary) in [(hpt.primary(hash), false), (hpt.secondary(hash), true)] {
            if hpt
                .insert(&mut a, group, v, r, secondary)
                .expect("insert")
                .is_some()
            {
                return Some(vpn);
            }
        }
        None
    }

    fn pages(memory: &GuestMemory, hpt: &Hpt) -> BTreeMap<(u64, bool), u64> {
        let mut found = BTreeMap::new();
        for index in 0..hpt.groups() * 8 {
            let hpte = hpt.get(memory, index).expect("get");
            if hpte.v.is_valid() {
                let (vpn, segment, _) = translated(hpt, index, hpte).expect("reachable");
                let key = (vpn.get(), segment == SegmentSize::S1T);
                *found.entry(key).or_default() += 1;
            }
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_rehash_keeps_every_page(
            wanted in proptest::collection::btree_set(
                (0u64..1 << 30, 0u64..1 << 40, any::<bool>(), 0usize..6), 1..300),
            larger: bool,
        ) {
            let memory = GuestMemory::new(16 << 20).expect("memory");
            let (small, large) = (
                Hpt::new(Ra::new(1 << 20), 11).expect("table"),
                Hpt::new(Ra::new(8 << 20), 14).expect("table"),
            );
            let (old, new) = if larger { (small, large) } else { (large, small) };
            for &page in &wanted {
                prop_assert!(insert(&memory, &old, page, false).is_some());
            }
            let before = pages(&memory, &old);
            new.clear(&memory).expect("clear");
            let done = old.rehash(&memory, &new, Keep::All).expect("rehash");
            prop_assert_eq!((done.moved, done.dropped), (wanted.len() as u64, 0));
            prop_assert_eq!(pages(&memory, &new), before);
            let duplicates = |hpt: Hpt| {
                let found = DuplicateChecker::scan(&memory, hpt.base(), hpt.groups_log2());
                found.expect("scan").len()
            };
            prop_assert_eq!(duplicates(old) == 0, duplicates(new) == 0);
        }
    }

    #[test]
    fn bolted_entries_alone_and_full_groups() {
        let memory = GuestMemory::new(16 << 20).expect("memory");
        let old = Hpt::new(Ra::new(8 << 20), 14).expect("table");
        let new = Hpt::new(Ra::new(1 << 20), 11).expect("table");
        for n in 0..32u64 {
            // Pages 2^11 apart share their groups in the new table, not in the old one.
            insert(&memory, &old, (n << 11, 0, false, 0), n % 2 == 0).expect("room");
        }
        let done = old.rehash(&memory, &new, Keep::Bolted).expect("rehash");
        assert_eq!((done.moved, done.dropped, done.secondary), (16, 16, 8));
        let more = insert(&memory, &old, (32 << 11, 0, false, 0), true);
        assert!(more.is_some());
        new.clear(&memory).expect("clear");
        let full = old.rehash(&memory, &new, Keep::Bolted);
        assert!(matches!(full, Err(ResizeError::BoltedFull { .. })));
        assert_eq!(
            old.rehash(&memory, &old, Keep::All),
            Err(ResizeError::Overlap)
        );
    }
}
