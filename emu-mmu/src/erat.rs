//! The ERAT: a small cache from effective page to real page, in front of SLB and TLB.
//!
//! Owns its entries, kept at a 4 KB granule with the virtual page and class they were made from, so
//! that slbie, slbia and tlbie remove the right ones. Refuses to follow the SLB: rewriting an SLB
//! entry leaves the data made from it (Power ISA 2.07 Book III-S 5.9.3.1).

mod changed;
mod pages;
mod rows;

use crate::addr::{Ea, PageSize, Ra, SegmentSize, Vpn};
use crate::hpte::HpteR;
use crate::invalidate::TlbInvalidate;
use crate::protect::{Access, allowed};
use crate::replace::{GeometryError, Replacement, Replacer, TlbGeometry};
use crate::tlb::names;
use pages::{Look, Pages};
use rows::{Permits, Rows, Use};

/// One effective page of 4 KB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EratEntry {
    /// First byte of the effective page.
    pub ea: Ea,
    /// First byte of the real page.
    pub ra: Ra,
    /// Virtual page.
    pub vpn: Vpn,
    /// Segment size.
    pub segment: SegmentSize,
    /// Base page size of the segment.
    pub base: PageSize,
    /// Actual page size of the table entry.
    pub actual: PageSize,
    /// Class of the SLB entry.
    pub class: bool,
    /// Ks of the SLB entry.
    pub ks: bool,
    /// Kp of the SLB entry.
    pub kp: bool,
    /// N of the SLB entry.
    pub n: bool,
    /// Doubleword 1 as it was when the entry was made.
    pub r: HpteR,
}

/// The bit of an access in [`Slot::permits`].
#[inline(always)]
const fn permit_bit(pr: bool, access: Access) -> u32 {
    let a = match access {
        Access::Fetch => 0,
        Access::Load => 1,
        Access::Store => 2,
    };
    a + if pr { 4 } else { 0 }
}

/// Key 1 in an index of [`PERMITS`], and what executes.
const KEY: usize = 0x20;
const EXECUTABLE: usize = 0x10;

/// The accesses of one privilege that need nothing more, as bits of [`permit_bit`]: by pp, C (bit 3), whether the
/// page executes and the storage key.
const PERMITS: [u8; 64] = {
    let mut of = [0; 64];
    let mut index = 0;
    while index < 64 {
        let (pp, key) = (index as u8 & 7, index & KEY != 0);
        let executable = (index & EXECUTABLE != 0) as u8;
        let changed = (index >> 3) as u8 & 1;
        let load = allowed(pp, key, Access::Load) as u8;
        let store = allowed(pp, key, Access::Store) as u8;
        of[index] = executable & load | load << 1 | (changed & store) << 2;
        index += 1;
    }
    of
};

/// The accesses that an entry needs nothing more for, without class keys.
#[inline(always)]
fn permits_of(entry: &EratEntry) -> u8 {
    let barred = entry.n || entry.r.0 & (HpteR::N | HpteR::G) != 0;
    let changed = usize::from(entry.r.c()) << 3;
    let index = usize::from(entry.r.pp() & 7) | changed | if barred { 0 } else { EXECUTABLE };
    let of_key = |key: bool| PERMITS[index | if key { KEY } else { 0 }];
    of_key(entry.ks) | of_key(entry.kp) << 4
}

/// The data accesses of a privilege among these.
#[inline(always)]
const fn data_permits(permits: u8, pr: bool) -> Permits {
    Permits {
        load: permits >> permit_bit(pr, Access::Load) & 1 != 0,
        store: permits >> permit_bit(pr, Access::Store) & 1 != 0,
    }
}

/// What a hit needs, beside the full entry.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    entry: EratEntry,
    /// Accesses that need nothing more: allowed, and for a store C is set.
    permits: u8,
}

/// A set-associative ERAT.
#[derive(Clone, Debug)]
pub struct Erat {
    geometry: TlbGeometry,
    /// Effective page << 1 | 1, or 0.
    tags: Vec<u64>,
    slots: Vec<Slot>,
    /// Slots in use.
    present: usize,
    rows: Rows,
    pages: Pages,
    replacer: Replacer,
}

const fn tag(ea: Ea) -> u64 {
    (ea.get() >> 12) << 1 | 1
}

impl Erat {
    /// An empty ERAT.
    ///
    /// # Errors
    /// [`GeometryError::Tlb`].
    pub fn new(geometry: TlbGeometry, replacement: Replacement) -> Result<Self, GeometryError> {
        geometry.check()?;
        let n = geometry.entries() as usize;
        let replacer = Replacer::new(geometry, replacement);
        Ok(Self {
            geometry,
            tags: vec![0; n],
            slots: vec![Slot::default(); n],
            present: 0,
            rows: Rows::new(replacer.is_patient()),
            pages: Pages::new(),
            replacer,
        })
    }

    /// Takes over what another ERAT holds, in the same memory.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        (self.geometry, self.present) = (other.geometry, other.present);
        self.tags.clone_from(&other.tags);
        self.slots.clone_from(&other.slots);
        self.rows.copy_from(&other.rows);
        self.pages.copy_from(&other.pages);
        self.replacer.copy_from(&other.replacer);
    }

    /// Switches the host's short way to a hit off or on: for a test that nothing else changes.
    pub(crate) fn enable_rows(&mut self, enabled: bool) {
        let replacer = &mut self.replacer;
        let enabled = enabled && replacer.is_patient();
        (self.rows).enable(enabled, |made| replacer.used(made.slot, made.at));
    }

    /// Whether the host's short ways are on.
    #[inline]
    pub(crate) const fn is_quick(&self) -> bool {
        self.rows.enabled()
    }

    /// The real address of a load or store that hits and needs nothing more, noted as used.
    #[inline(always)]
    pub(crate) fn quick(&mut self, ea: Ea, pr: bool, store: bool) -> Option<Ra> {
        let replacer = &mut self.replacer;
        self.rows.lookup(ea, pr, store, || replacer.tick())
    }

    fn ways(&self, ea: Ea) -> core::ops::Range<usize> {
        let set = (ea.get() >> 12 & u64::from(self.geometry.sets - 1)) as usize;
        let ways = self.geometry.ways as usize;
        let first = set * ways;
        first..first + ways
    }

    /// The slot that holds the page of `ea`.
    #[inline]
    pub(crate) fn find(&mut self, ea: Ea) -> Option<usize> {
        if !self.rows.may_hold(ea) {
            return None;
        }
        let guess = self.rows.guess(ea);
        if self.tags.get(guess) == Some(&tag(ea)) {
            return Some(guess);
        }
        self.search(ea)
    }

    #[cold]
    #[inline(never)]
    fn search(&mut self, ea: Ea) -> Option<usize> {
        let ways = self.ways(ea);
        let found = ways.start + self.tags[ways].iter().position(|&t| t == tag(ea))?;
        let before = self.rows.found(ea, found);
        self.note(before);
        Some(found)
    }

    /// Notes a use that was made on the short way.
    #[inline(always)]
    fn note(&mut self, made: Use) {
        self.replacer.used(made.slot, made.at);
    }

    /// The virtual and real page of a slot, noted as used, if the access needs nothing but them.
    #[inline(always)]
    pub(crate) fn permitted(&mut self, slot: usize, pr: bool, access: Access) -> Option<(Vpn, Ra)> {
        let s = &self.slots[slot];
        if s.permits >> permit_bit(pr, access) & 1 == 0 {
            return None;
        }
        self.replacer.touch(slot);
        let (ea, vpn, ra) = (s.entry.ea, s.entry.vpn, s.entry.ra);
        let permits = data_permits(s.permits, pr);
        let before = self.rows.permit(ea, pr, permits, slot, ra);
        self.note(before);
        Some((vpn, ra))
    }

    /// A slot's entry.
    pub(crate) fn entry(&self, slot: usize) -> &EratEntry {
        &self.slots[slot].entry
    }

    /// Notes a use of a slot.
    pub(crate) fn touch(&mut self, slot: usize) {
        self.replacer.touch(slot);
    }

    /// Empties a slot.
    #[inline]
    pub(crate) fn clear(&mut self, slot: usize) {
        if self.tags[slot] != 0 {
            self.tags[slot] = 0;
            let entry = &self.slots[slot].entry;
            self.rows.remove(entry.ea, slot);
            self.present -= 1;
            self.pages.remove(entry.vpn, entry.actual);
        }
    }

    /// The entry for an effective address, without noting a use: for checkers and reports.
    pub fn peek(&self, ea: Ea) -> Option<&EratEntry> {
        let slot = self.ways(ea).find(|&i| self.tags[i] == tag(ea))?;
        Some(&self.slots[slot].entry)
    }

    /// Puts an entry in, its addresses aligned to 4 KB, over the one for the same effective page or
    /// the policy's victim.
    pub fn insert(&mut self, entry: EratEntry) {
        let (ea, ra) = (
            entry.ea.align_down(PageSize::P4K),
            entry.ra.align_down(PageSize::P4K),
        );
        let entry = EratEntry { ea, ra, ..entry };
        let permits = permits_of(&entry);
        let slot = self.find(ea).unwrap_or_else(|| self.slot_for(ea));
        self.put(slot, entry, permits, false);
    }

    /// As [`Self::insert`], of an entry that permits the access it is made for, where no entry is held for its
    /// page and its addresses are aligned. False if it does not permit it, and nothing is done.
    #[inline(always)]
    pub(crate) fn insert_permitted(&mut self, entry: EratEntry, pr: bool, access: Access) -> bool {
        let permits = permits_of(&entry);
        let permitted = permits >> permit_bit(pr, access) & 1 != 0;
        if permitted {
            self.insert_absent(entry, permits, pr);
        }
        permitted
    }

    #[inline(always)]
    fn insert_absent(&mut self, entry: EratEntry, permits: u8, pr: bool) {
        let slot = self.slot_for(entry.ea);
        self.put(slot, entry, permits, pr);
    }

    #[inline(always)]
    fn put(&mut self, slot: usize, entry: EratEntry, permits: u8, pr: bool) {
        let EratEntry {
            ea,
            ra,
            vpn,
            actual,
            ..
        } = entry;
        self.clear(slot);
        self.tags[slot] = tag(ea);
        self.slots[slot] = Slot { entry, permits };
        self.present += 1;
        let permits = data_permits(permits, pr);
        let before = self.rows.add(ea, pr, permits, slot, ra);
        self.note(before);
        self.pages.add(vpn, actual, slot);
        self.replacer.touch(slot);
    }

    /// The slot for a page that is not held: a free one, or the policy's victim.
    #[inline(always)]
    fn slot_for(&mut self, ea: Ea) -> usize {
        let ways = self.ways(ea);
        let set = ways.start / self.geometry.ways as usize;
        let free = match self.present < self.tags.len() {
            true => self.tags[ways.clone()].iter().rposition(|&t| t == 0),
            false => None,
        };
        match free {
            Some(way) => ways.start + way,
            None => {
                let (rows, tags) = (&self.rows, &self.tags);
                let latest = |slot: usize| rows.last_use(Ea::new(tags[slot] >> 1 << 12), slot);
                self.replacer.victim(set, latest)
            }
        }
    }

    /// Removes the entries for which `pred` holds and returns how many went.
    fn remove(&mut self, pred: impl Fn(&EratEntry) -> bool) -> u32 {
        let mut gone = 0;
        for slot in 0..self.tags.len() {
            if self.tags[slot] != 0 && pred(&self.slots[slot].entry) {
                self.clear(slot);
                gone += 1;
            }
        }
        gone
    }

    /// Removes the entries of a virtual page and returns how many went.
    #[inline]
    pub fn invalidate(&mut self, operand: &TlbInvalidate) -> u32 {
        match self.pages.holds(operand.actual) {
            true => self.invalidate_held(operand),
            false => 0,
        }
    }

    #[inline(never)]
    fn invalidate_held(&mut self, operand: &TlbInvalidate) -> u32 {
        let named = |e: &EratEntry| names(operand, e.vpn, (e.segment, e.base, e.actual));
        match self.pages.look(operand.vpn, operand.actual) {
            Look::Nowhere => 0,
            Look::At(slot) if self.is_alone(slot, operand) => {
                let gone = named(&self.slots[slot].entry);
                if gone {
                    self.clear(slot);
                }
                u32::from(gone)
            }
            _ => self.remove(named),
        }
    }

    /// Whether a slot holds the one small page of the operand's bucket.
    fn is_alone(&self, slot: usize, operand: &TlbInvalidate) -> bool {
        let e = &self.slots[slot].entry;
        self.tags[slot] != 0
            && e.actual == PageSize::P4K
            && Pages::bucket(e.vpn) == Pages::bucket(operand.vpn)
    }

    /// Removes the entries made from a segment with this class and size (`slbie`) and returns how
    /// many went.
    pub fn invalidate_segment(&mut self, ea: Ea, class: bool, segment: SegmentSize) -> u32 {
        self.remove(|e| {
            e.ea.esid(segment) == ea.esid(segment) && e.class == class && e.segment == segment
        })
    }

    /// Removes the entries of class 1 and returns how many went.
    pub fn invalidate_class(&mut self) -> u32 {
        self.remove(|e| e.class)
    }

    /// Removes everything and returns how many entries went.
    pub fn invalidate_all(&mut self) -> u32 {
        self.remove(|_| true)
    }

    /// Every entry present.
    pub fn entries(&self) -> impl Iterator<Item = &EratEntry> {
        self.tags
            .iter()
            .zip(&self.slots)
            .filter(|(t, _)| **t != 0)
            .map(|(_, s)| &s.entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protect::{ClassKeys, check};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_entry_permits_what_the_check_allows(
            r: u64,
            bits in prop::array::uniform3(any::<bool>()),
        ) {
            let [ks, kp, n] = bits;
            let entry = EratEntry { ks, kp, n, r: HpteR(r), ..EratEntry::default() };
            for pr in [false, true] {
                for access in [Access::Fetch, Access::Load, Access::Store] {
                    let key = if pr { kp } else { ks };
                    let allowed = check(entry.r, key, n, access, &ClassKeys::default()).is_ok();
                    let changed = access != Access::Store || entry.r.c();
                    let permits = permits_of(&entry) >> permit_bit(pr, access) & 1 != 0;
                    prop_assert_eq!(permits, allowed && changed, "{:?} {:?}", pr, access);
                }
            }
        }
    }
}
