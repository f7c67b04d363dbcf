//! One translation told step by step: for people who ask why an access goes where it goes.
//!
//! Owns the telling. The answer itself is [`Mmu::translate`]'s, made on a copy; each step before it is
//! worked out again here.

use super::table::Rules;
use super::walk_memory::group as load_group;
use super::{AccessState, Mmu, Probe, RcStep, Walk, WalkMemory};
use crate::addr::{self, Ea, GroupIndex, PageSize, Ra, Vpn};
use crate::choices::{HptMultihit, MustBeZero};
use crate::fault::Fault;
use crate::hpt::Hpt;
use crate::hpte::{Hpte, HpteV};
use crate::memory::MemoryError;
use crate::protect::Access;
use crate::slb::SlbEntry;

/// Why an entry of a group was taken or passed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum EntryVerdict {
    /// V=0.
    Invalid,
    /// Its H bit is the other hash's.
    OtherHash,
    /// Its segment size is another.
    OtherSegmentSize,
    /// Its AVPN is another page's.
    OtherPage,
    /// L and LP decode to no page of this segment's base size.
    OtherPageSize,
    /// It matches, its actual page of this size.
    Matches(PageSize),
    /// It matches too: a software error. [`HptMultihit`] says what comes of it.
    MatchesToo(PageSize),
}

/// A group that was searched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupExplained {
    /// Its number.
    pub group: GroupIndex,
    /// Whether it is the secondary one.
    pub secondary: bool,
    /// Its first byte.
    pub ra: Ra,
    /// Its entries, and what became of each.
    pub entries: Vec<(Hpte, EntryVerdict)>,
}

/// What the hash is made from, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SearchExplained {
    /// The page.
    pub vpn: Vpn,
    /// Base page size, from the segment.
    pub base: PageSize,
    /// The 39-bit hash value.
    pub hash: u64,
    /// The word that doubleword 0 is compared with, H apart.
    pub want: HpteV,
    /// The groups read, in order: one if the first one matches and later matches make no difference.
    pub groups: Vec<GroupExplained>,
}

/// A translation, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Explanation {
    /// The effective address, cut to 32 bits if SF=0.
    pub ea: Ea,
    /// Whether it is translated at all (IR or DR).
    pub relocated: bool,
    /// The SLB entries that cover it, by index.
    pub segments: Vec<(usize, SlbEntry)>,
    /// The search of the table; `None` without a segment or in real mode.
    pub search: Option<SearchExplained>,
    /// The storage key: Kp in problem state, else Ks.
    pub key: bool,
    /// Bytes that the walker stored.
    pub stored: Vec<RcStep>,
    /// The real address, or the fault.
    pub result: Result<Ra, Fault>,
}

#[derive(Default)]
struct Stored(Vec<RcStep>);

impl Probe for Stored {
    fn walk(&mut self, _: &Walk) {}

    fn before_rc(&mut self, step: RcStep) {
        self.0.push(step);
    }
}

impl Mmu {
    /// Translates one access from empty buffers and says how. This MMU stays as it is; the table gets
    /// the R and C of the access.
    ///
    /// # Errors
    /// [`MemoryError`] if the table reaches outside memory. A fault is no error here but the result.
    pub fn explain<M: WalkMemory>(
        &self,
        memory: &M,
        hpt: &Hpt,
        ea: Ea,
        access: Access,
        state: AccessState,
    ) -> Result<Explanation, MemoryError> {
        let ea = state.cut(ea);
        let relocated = match access {
            Access::Fetch => state.ir,
            Access::Load | Access::Store => state.dr,
        };
        let covering = self.slb.entries().iter().copied().enumerate();
        let segments: Vec<_> = covering
            .filter(|(_, e)| relocated && e.covers(ea))
            .collect();
        let search = match segments.first() {
            Some((_, segment)) => Some(self.explain_search(memory, hpt, ea, segment)?),
            None => None,
        };
        let key = segments
            .first()
            .is_some_and(|(_, s)| if state.pr { s.kp } else { s.ks });
        let mut copy = self.clone();
        copy.tlb.invalidate_all();
        copy.erat.invalidate_all();
        copy.ierat.invalidate_all();
        let mut stored = Stored::default();
        let result = copy.translate(memory, hpt, ea, access, state, &mut stored);
        Ok(Explanation {
            ea,
            relocated,
            segments,
            search,
            key,
            stored: stored.0,
            result,
        })
    }

    fn explain_search<M: WalkMemory>(
        &self,
        memory: &M,
        hpt: &Hpt,
        ea: Ea,
        segment: &SlbEntry,
    ) -> Result<SearchExplained, MemoryError> {
        let (s, base) = (segment.segment, segment.page);
        let hash = addr::hash(segment.vsid, ea.get() & ((1 << s.shift()) - 1), s, base);
        let mut explained = SearchExplained {
            vpn: Vpn::from_ea(segment.vsid, ea, s),
            base,
            hash,
            want: HpteV::wanted(segment.vsid, ea, s, base).with_valid(),
            groups: Vec::new(),
        };
        let groups = [(hpt.primary(hash), false), (hpt.secondary(hash), true)];
        let mut found = false;
        for (group, secondary) in groups {
            let mut entries = Vec::with_capacity(8);
            let ra = hpt.group_ra(group);
            for hpte in load_group(memory, ra)?.decoded(hpt.format()).0 {
                let verdict = match self.judge_entry(hpte, explained.want, base, secondary) {
                    EntryVerdict::Matches(actual) if found => EntryVerdict::MatchesToo(actual),
                    verdict => verdict,
                };
                found |= matches!(verdict, EntryVerdict::Matches(_));
                entries.push((hpte, verdict));
            }
            explained.groups.push(GroupExplained {
                group,
                secondary,
                ra,
                entries,
            });
            if found && self.choices.hpt_multihit == HptMultihit::First {
                break;
            }
        }
        Ok(explained)
    }

    fn judge_entry(
        &self,
        hpte: Hpte,
        want: HpteV,
        base: PageSize,
        secondary: bool,
    ) -> EntryVerdict {
        let compare = match self.choices.avpn_low_bits {
            MustBeZero::Ignored => HpteV::compare_mask(base),
            MustBeZero::Compared => HpteV::COMPARE_MASK,
        };
        let differs = (hpte.v.0 ^ want.0) & compare;
        let rules = Rules {
            sizes: self.features.page_sizes,
            avpn_low_bits: self.choices.avpn_low_bits,
            rpn_low_bits: self.choices.rpn_low_bits,
            multihit: self.choices.hpt_multihit,
            or: 0,
        };
        if !hpte.v.is_valid() {
            EntryVerdict::Invalid
        } else if hpte.v.is_secondary() != secondary {
            EntryVerdict::OtherHash
        } else if differs & HpteV::B_MASK != 0 {
            EntryVerdict::OtherSegmentSize
        } else if differs != 0 {
            EntryVerdict::OtherPage
        } else {
            match rules.actual(hpte, base) {
                Some(actual) => EntryVerdict::Matches(actual),
                None => EntryVerdict::OtherPageSize,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{SegmentSize, Vsid};
    use crate::hpte::HpteR;
    use crate::memory::GuestMemory;
    use crate::translate::MmuGeometry;

    const EA: Ea = Ea::new(0x1234_5678);

    fn world() -> (GuestMemory, Hpt, Mmu, SlbEntry) {
        let memory = GuestMemory::new(1 << 20).expect("memory");
        let hpt = Hpt::new(Ra::new(1 << 18), 11).expect("table");
        let mut mmu = Mmu::new(&MmuGeometry::POWER8).expect("geometry");
        let segment = SlbEntry::kernel(EA, Vsid::new(0x77), SegmentSize::S256M, PageSize::P4K);
        mmu.slbmte(segment.rs(), segment.rb(5)).expect("slbmte");
        (memory, hpt, mmu, segment)
    }

    #[test]
    fn each_entry_says_why() {
        let (memory, hpt, mmu, segment) = world();
        let want = HpteV::wanted(segment.vsid, EA, segment.segment, segment.page).with_valid();
        let hash =
            Vpn::from_ea(segment.vsid, EA, segment.segment).hash(SegmentSize::S256M, PageSize::P4K);
        let group = hpt.primary(hash);
        let words = [
            (0, 0),
            (want.0 | HpteV::SECONDARY, 0),
            (want.0 | 1 << 62, 0),
            (want.0 ^ 0x80, 0),
            (want.0 | HpteV::LARGE, 0xff << 12),
            (want.0, 0x7000 | 0x92),
            (want.0 | HpteV::LARGE, 0x7 << 12),
        ];
        for (slot, (v, r)) in words.into_iter().enumerate() {
            let hpte = Hpte {
                v: HpteV(v),
                r: HpteR(r),
            };
            hpt.put(&memory, group.slot(slot as u8).0, hpte)
                .expect("put");
        }
        let state = AccessState::kernel();
        let told = mmu
            .explain(&memory, &hpt, EA, Access::Store, state)
            .expect("told");
        let search = told.search.expect("searched");
        let verdicts: Vec<_> = search.groups[0].entries.iter().map(|e| e.1).collect();
        use EntryVerdict as V;
        let (small, large) = (PageSize::P4K, PageSize::P64K);
        assert_eq!(
            verdicts,
            [
                V::Invalid,
                V::OtherHash,
                V::OtherSegmentSize,
                V::OtherPage,
                V::OtherPageSize,
                V::Matches(small),
                V::MatchesToo(large),
                V::Invalid,
            ]
        );
        assert_eq!(search.groups.len(), 1);
        assert_eq!(told.result, Ok(Ra::new(0x7678)));
        assert_eq!(told.segments[0].0, 5);
        assert_eq!(
            told.stored,
            [RcStep::R(hpt.hpte_ra(group.slot(5)))],
            "C was set"
        );
    }

    #[test]
    fn nothing_found() {
        let (memory, hpt, mmu, _) = world();
        let explain = |ea, state| mmu.explain(&memory, &hpt, ea, Access::Load, state);
        let told = explain(EA, AccessState::user()).expect("told");
        assert_eq!(told.search.expect("searched").groups.len(), 2);
        assert!(told.key && matches!(told.result, Err(Fault::DataStorage { .. })));
        let told = explain(Ea::new(1 << 40), AccessState::kernel()).expect("told");
        assert!(told.search.is_none() && told.segments.is_empty());
        let told = explain(EA, AccessState::real()).expect("told");
        assert!(!told.relocated && told.result == Ok(Ra::new(EA.get())));
    }
}
