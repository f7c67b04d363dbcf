//! The walk of the table: search of both groups, and the R and C bits. Refuses protection: the
//! caller judges in between.

use super::walk_memory::group;
use super::{Probe, RcStep, Walk, WalkMemory};
use crate::addr::{self, Ea, HpteIndex, PageSize, Ra};
use crate::choices::{HptMultihit, MustBeZero};
use crate::hpt::Hpt;
use crate::hpte::{Hpte, HpteFormat, HpteR, HpteV};
use crate::memory::MemoryError;
use crate::page_sizes::PageSizes;
use crate::protect::Access;
use crate::slb::SlbEntry;

/// How a CPU searches.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub sizes: PageSizes,
    pub avpn_low_bits: MustBeZero,
    pub rpn_low_bits: MustBeZero,
    pub multihit: HptMultihit,
    /// Bits or-ed into the word compared with doubleword 0.
    pub or: u64,
}

impl Rules {
    /// The actual page of an entry, if the entry is for a segment of this base page.
    #[inline]
    pub fn actual(&self, hpte: Hpte, base: PageSize) -> Option<PageSize> {
        let actual = self.sizes.actual(hpte, base)?;
        if self.rpn_low_bits == MustBeZero::Compared && hpte.v.is_large() {
            let code = self.sizes.code(base, actual)?.code;
            let inside = HpteR::RPN_MASK & (actual.bytes() - 1);
            if hpte.r.0 & inside != code << 12 {
                return None;
            }
        }
        Some(actual)
    }
}

/// What one search of the table found.
pub(super) enum Search {
    /// The entry, where it lies, and its actual page.
    Hit(Ra, Hpte, PageSize),
    /// No entry.
    Miss,
    /// Several entries, and they make a machine check.
    Multihit,
}

/// What a search compares: words wanted in the primary group and the bits of them that count.
struct Wanted {
    v: HpteV,
    compare: u64,
    hash: u64,
}

impl Wanted {
    #[inline(always)]
    fn of(ea: Ea, segment: &SlbEntry, rules: &Rules) -> Self {
        let (s, base) = (segment.segment, segment.page);
        let offset = ea.get() & ((1 << s.shift()) - 1);
        Wanted {
            v: HpteV(HpteV::wanted(segment.vsid, ea, s, base).0 | rules.or),
            compare: match rules.avpn_low_bits {
                MustBeZero::Ignored => HpteV::compare_mask(base),
                MustBeZero::Compared => HpteV::COMPARE_MASK,
            },
            hash: addr::hash(segment.vsid, offset, s, base),
        }
    }
}

/// Searches both groups for the entry of an address (Power ISA 2.07 Book III-S 5.7.7.3). What several
/// matches do is left undefined there: the rules say.
#[inline(always)]
pub(super) fn search<M: WalkMemory>(
    memory: &M,
    hpt: &Hpt,
    ea: Ea,
    segment: &SlbEntry,
    rules: &Rules,
    walk: &mut Walk,
) -> Result<Search, MemoryError> {
    let wanted = Wanted::of(ea, segment, rules);
    let plain = hpt.format() == HpteFormat::Isa2 && rules.multihit == HptMultihit::First;
    if plain
        && let Some((search, groups, compared)) = glance(memory, hpt, &wanted, rules, segment.page)?
    {
        walk.groups_read += groups;
        walk.entries_compared += compared;
        return Ok(search);
    }
    search_in_full(memory, hpt, &wanted, segment.page, rules, walk)
}

/// The search where each group has one entry that matches or none, with the groups read and the entries
/// compared; `None` if it is not as plain as that.
#[inline(always)]
fn glance<M: WalkMemory>(
    memory: &M,
    hpt: &Hpt,
    wanted: &Wanted,
    rules: &Rules,
    base: PageSize,
) -> Result<Option<(Search, u8, u8)>, MemoryError> {
    let mask = wanted.compare | HpteV::SECONDARY | HpteV::VALID;
    let word = (wanted.v.0 | HpteV::VALID) & mask;
    let (first, second) = (hpt.primary(wanted.hash), hpt.secondary(wanted.hash));
    let alike = memory.match_group(hpt.group_ra(first), word, mask)?;
    let (index, word, alike, groups) = match alike {
        0 => {
            let word = word | HpteV::SECONDARY;
            let alike = memory.match_group(hpt.group_ra(second), word, mask)?;
            (second, word, alike, 2)
        }
        alike => (first, word, alike, 1),
    };
    if alike == 0 {
        return Ok(Some((Search::Miss, 2, 16)));
    }
    if !alike.is_power_of_two() {
        return Ok(None);
    }
    let slot = alike.trailing_zeros() as u8;
    let hit = only_one(memory, hpt, index.slot(slot), (word, mask), rules, base)?;
    Ok(hit.map(|hit| (hit, groups, (groups - 1) * 8 + slot + 1)))
}

#[inline(never)]
fn search_in_full<M: WalkMemory>(
    memory: &M,
    hpt: &Hpt,
    wanted: &Wanted,
    base: PageSize,
    rules: &Rules,
    walk: &mut Walk,
) -> Result<Search, MemoryError> {
    let (want, compare) = (wanted.v, wanted.compare);
    let groups = [
        (hpt.primary(wanted.hash), want),
        (hpt.secondary(wanted.hash), want.with_secondary()),
    ];
    let mut first = Search::Miss;
    let plain = hpt.format() == HpteFormat::Isa2;
    let mask = compare | HpteV::SECONDARY | HpteV::VALID;
    for (index, want) in groups {
        walk.groups_read += 1;
        let word = want.with_valid().0 & mask;
        let alike = match plain {
            true => memory.match_group(hpt.group_ra(index), word, mask)?,
            false => u8::MAX,
        };
        if alike == 0 {
            walk.entries_compared += 8;
            continue;
        }
        let (pteg, hits) = loop {
            let raw = group(memory, hpt.group_ra(index))?;
            let pteg = raw.decoded(hpt.format());
            let hits = pteg.search_mask_of(want, compare, |e| rules.actual(e, base).is_some());
            let Some(slot) = hits.first() else {
                break (pteg, hits);
            };
            let v = raw.0[usize::from(slot)].v.0;
            if memory.still_holds(hpt.hpte_ra(index.slot(slot)), v)? {
                break (pteg, hits);
            }
        };
        if let Some(slot) = hits.first() {
            let hpte = pteg.0[usize::from(slot)];
            let ra = hpt.hpte_ra(index.slot(slot));
            let hit = match rules.actual(hpte, base) {
                Some(actual) => Search::Hit(ra, hpte, actual),
                None => Search::Miss, // Not reached: the search asked the same.
            };
            if rules.multihit == HptMultihit::First {
                walk.entries_compared += slot + 1;
                return Ok(hit);
            }
            if hits.count() > 1 || matches!(first, Search::Hit(..)) {
                walk.entries_compared += 8;
                return Ok(Search::Multihit);
            }
            first = hit;
        }
        walk.entries_compared += 8;
    }
    Ok(first)
}

/// The one entry of a group that matched, if it is as it was and has a page size: then the others need not be
/// read.
#[inline(always)]
fn only_one<M: WalkMemory>(
    memory: &M,
    hpt: &Hpt,
    index: HpteIndex,
    (word, mask): (u64, u64),
    rules: &Rules,
    base: PageSize,
) -> Result<Option<Search>, MemoryError> {
    let (v, r) = memory.load_entry(hpt.group_ra(index.group()), (index.0 & 7) as u8)?;
    let (ra, hpte) = (
        hpt.hpte_ra(index),
        Hpte {
            v: HpteV(v),
            r: HpteR(r),
        },
    );
    if v & mask != word || !memory.still_holds(ra, v)? {
        return Ok(None);
    }
    let actual = rules.actual(hpte, base);
    Ok(actual.map(|actual| Search::Hit(ra, hpte, actual)))
}

/// Sets R, and C for a store, by byte stores as hardware does (Power ISA 2.07 Book III-S 5.7.8): no
/// check that the entry is still valid. Returns doubleword 1 with them.
pub(super) fn set_rc<M: WalkMemory, P: Probe>(
    memory: &M,
    hpte_ra: Ra,
    r: HpteR,
    access: Access,
    walk: &mut Walk,
    probe: &mut P,
) -> Result<HpteR, MemoryError> {
    let mut word = r.0;
    if !r.r() {
        word |= HpteR::R;
        probe.before_rc(RcStep::R(hpte_ra));
        memory.store_u8(hpte_ra + 14, (word >> 8) as u8)?;
        walk.r_written = true;
    }
    if access == Access::Store && !r.c() {
        word |= HpteR::C;
        probe.before_rc(RcStep::C(hpte_ra));
        memory.store_u8(hpte_ra + 15, word as u8)?;
        walk.c_written = true;
    }
    Ok(HpteR(word))
}
