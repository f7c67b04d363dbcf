//! The TLB: copies of table entries, found by virtual page.
//!
//! Owns its sets and what an invalidation removes (Power ISA 2.07 Book III-S 5.9.3.3). Refuses
//! coherence: a copy lives until it is evicted or invalidated, whatever happens to the table.

use crate::addr::{PageSize, Ra, SegmentSize, Vpn};
use crate::hpte::HpteR;
use crate::invalidate::TlbInvalidate;
use crate::replace::{GeometryError, Replacement, Replacer, TlbGeometry};

/// One translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TlbEntry {
    /// First 4 KB page of the actual page.
    pub vpn: Vpn,
    /// Segment size.
    pub segment: SegmentSize,
    /// Base page size of the segment it was made for.
    pub base: PageSize,
    /// Actual page size: the range this entry serves.
    pub actual: PageSize,
    /// Doubleword 1 as it was when the entry was made.
    pub r: HpteR,
    /// The table entry it was made from.
    pub hpte_ra: Ra,
    /// The partition it belongs to.
    pub lpid: u32,
}

/// What stands for the page of an empty entry.
const NO_PAGE: Vpn = Vpn::new(u64::MAX);

/// The VPN bits receivers compare: virtual address bits 14 and up of 78.
const COMPARED: u64 = (1 << 52) - 1;

/// Whether the operand's virtual page and this one lie in one page of this size; the top 14 address
/// bits are not compared.
#[inline]
pub(crate) const fn same_page(operand: &TlbInvalidate, vpn: Vpn, actual: PageSize) -> bool {
    ((operand.vpn.get() ^ vpn.get()) & COMPARED) >> (actual.shift() - 12) == 0
}

/// Whether an invalidation names the page of a copy that was made with these sizes. Base, actual
/// and segment size must agree, as the architecture lets a receiver require.
#[inline]
pub(crate) fn names(
    operand: &TlbInvalidate,
    vpn: Vpn,
    sizes: (SegmentSize, PageSize, PageSize),
) -> bool {
    same_page(operand, vpn, sizes.2) && sizes == (operand.segment, operand.base, operand.actual)
}

/// A set-associative TLB for pages of all sizes.
#[derive(Clone, Debug)]
pub struct Tlb {
    geometry: TlbGeometry,
    entries: Vec<Option<TlbEntry>>,
    /// The virtual page of each entry; that of an empty one matches nothing but by chance.
    pages: Vec<Vpn>,
    /// Entries of each actual size: sizes not present need no probe.
    of_size: [u32; 4],
    replacer: Replacer,
    /// The partition whose entries are found.
    lpid: u32,
    /// The last invalidation took an entry whose page the operand did not mean.
    took_other_page: bool,
}

impl Tlb {
    /// An empty TLB.
    ///
    /// # Errors
    /// [`GeometryError::Tlb`].
    pub fn new(geometry: TlbGeometry, replacement: Replacement) -> Result<Self, GeometryError> {
        geometry.check()?;
        let entries = vec![None; geometry.entries() as usize];
        let replacer = Replacer::new(geometry, replacement);
        Ok(Self {
            geometry,
            pages: vec![NO_PAGE; entries.len()],
            entries,
            of_size: [0; 4],
            replacer,
            lpid: 0,
            took_other_page: false,
        })
    }

    /// Takes over what another TLB holds, in the same memory.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        (self.geometry, self.of_size) = (other.geometry, other.of_size);
        (self.lpid, self.took_other_page) = (other.lpid, other.took_other_page);
        self.entries.clone_from(&other.entries);
        self.pages.clone_from(&other.pages);
        self.replacer.copy_from(&other.replacer);
    }

    /// The partition whose entries are found.
    pub const fn lpid(&self) -> u32 {
        self.lpid
    }

    /// Finds the entries of another partition from now on.
    pub const fn set_lpid(&mut self, lpid: u32) {
        self.lpid = lpid;
    }

    /// Whether the last invalidation by address took an entry whose page differs in the 14 address
    /// bits that no operand carries.
    pub const fn took_other_page(&self) -> bool {
        self.took_other_page
    }

    /// Its shape.
    pub const fn geometry(&self) -> TlbGeometry {
        self.geometry
    }

    /// The set of a page of a size.
    fn set(&self, vpn: Vpn, actual: PageSize) -> usize {
        let page = vpn.get() >> (actual.shift() - 12);
        (page & u64::from(self.geometry.sets - 1)) as usize
    }

    fn slots(&self, set: usize) -> core::ops::Range<usize> {
        let ways = self.geometry.ways as usize;
        let first = set * ways;
        first..first + ways
    }

    /// The slot of the entry that serves a page.
    #[inline(always)]
    pub(crate) fn find(&self, vpn: Vpn, segment: SegmentSize) -> Option<usize> {
        for actual in PageSize::ALL {
            if self.of_size[actual as usize] == 0 {
                continue;
            }
            let page = vpn.align_down(actual);
            let slots = self.slots(self.set(vpn, actual));
            let (first, ways) = (slots.start, &self.pages[slots]);
            // Most have four ways: then there is no loop.
            let held = match <&[Vpn; 4]>::try_from(ways) {
                Ok([a, b, c, d]) => *a == page || *b == page || *c == page || *d == page,
                Err(_) => ways.contains(&page),
            };
            if !held {
                continue;
            }
            for (way, held) in ways.iter().enumerate() {
                if *held == page && self.serves(first + way, page, (actual, segment)) {
                    return Some(first + way);
                }
            }
        }
        None
    }

    fn serves(&self, slot: usize, page: Vpn, sizes: (PageSize, SegmentSize)) -> bool {
        self.is_of(slot, page, sizes, self.lpid)
    }

    fn is_of(&self, slot: usize, page: Vpn, sizes: (PageSize, SegmentSize), lpid: u32) -> bool {
        self.entries[slot]
            .as_ref()
            .is_some_and(|e| e.vpn == page && (e.actual, e.segment) == sizes && e.lpid == lpid)
    }

    /// The entry in a slot.
    #[inline]
    pub(crate) fn entry(&self, slot: usize) -> Option<&TlbEntry> {
        self.entries.get(slot)?.as_ref()
    }

    /// Notes a use of a slot.
    #[inline]
    pub(crate) fn touch(&mut self, slot: usize) {
        self.replacer.touch(slot);
    }

    /// The entry that serves a page, noted as used. It may have been made for another base page
    /// size: compare [`TlbEntry::base`].
    pub fn lookup(&mut self, vpn: Vpn, segment: SegmentSize) -> Option<TlbEntry> {
        let slot = self.find(vpn, segment)?;
        self.replacer.touch(slot);
        self.entries[slot]
    }

    /// As [`Self::lookup`], without noting a use: for checkers and reports.
    pub fn peek(&self, vpn: Vpn, segment: SegmentSize) -> Option<TlbEntry> {
        self.entries[self.find(vpn, segment)?]
    }

    fn take(&mut self, slot: usize) -> Option<TlbEntry> {
        let e = self.entries[slot]?;
        self.empty(slot, e.actual);
        Some(e)
    }

    /// Empties a slot that holds a page of this size.
    fn empty(&mut self, slot: usize, actual: PageSize) {
        self.entries[slot] = None;
        self.pages[slot] = NO_PAGE;
        self.of_size[actual as usize] -= 1;
    }

    /// Puts an entry in, its VPN aligned to its actual page, and returns the one that had to go:
    /// the one for the same page, else the policy's victim if the set is full.
    pub fn insert(&mut self, entry: TlbEntry) -> Option<TlbEntry> {
        let entry = TlbEntry {
            vpn: entry.vpn.align_down(entry.actual),
            ..entry
        };
        let slots = self.slots(self.set(entry.vpn, entry.actual));
        let (first, ways) = (slots.start, &self.pages[slots]);
        let old = ways.iter().enumerate().find_map(|(way, &page)| {
            let sizes = (entry.actual, entry.segment);
            let same = page == entry.vpn && self.is_of(first + way, page, sizes, entry.lpid);
            same.then_some(first + way)
        });
        match old {
            Some(slot) => self.replace(slot, entry),
            None => self.insert_absent(entry),
        }
    }

    /// As [`Self::insert`], of an entry whose VPN is aligned and whose page has none.
    pub(crate) fn insert_absent(&mut self, entry: TlbEntry) -> Option<TlbEntry> {
        let set = self.set(entry.vpn, entry.actual);
        let slots = self.slots(set);
        let (first, ways) = (slots.start, &self.pages[slots]);
        let entries = &self.entries;
        let is_free = |(way, page): (usize, &Vpn)| {
            (*page == NO_PAGE && entries[first + way].is_none()).then_some(first + way)
        };
        match ways.iter().enumerate().find_map(is_free) {
            Some(slot) => {
                self.put(slot, entry);
                None
            }
            None => {
                let victim = self.replacer.victim(set, |_| 0);
                self.replace(victim, entry)
            }
        }
    }

    #[inline(never)]
    fn replace(&mut self, slot: usize, entry: TlbEntry) -> Option<TlbEntry> {
        let gone = self.take(slot);
        self.put(slot, entry);
        gone
    }

    #[inline(always)]
    fn put(&mut self, slot: usize, entry: TlbEntry) {
        self.entries[slot] = Some(entry);
        self.pages[slot] = entry.vpn;
        self.of_size[entry.actual as usize] += 1;
        self.replacer.touch(slot);
    }

    /// Removes what a `tlbie` or `tlbiel` by address names, and returns how many entries went.
    pub fn invalidate(&mut self, operand: &TlbInvalidate) -> u32 {
        self.invalidate_of(self.lpid, operand)
    }

    /// As [`Self::invalidate`], for the entries of a partition.
    pub fn invalidate_of(&mut self, lpid: u32, operand: &TlbInvalidate) -> u32 {
        // The 14 address bits left out of the compare never reach the set number: sets are at most
        // 2^16.
        let set = self.set(operand.vpn, operand.actual);
        let mut gone = 0;
        self.took_other_page = false;
        let slots = self.slots(set);
        // An empty entry or another page: by far the most.
        let compared = COMPARED & !(operand.actual.bytes() / 4096 - 1);
        let page = operand.vpn.get() & compared;
        let alike = |held: &Vpn| held.get() & compared == page;
        let Some(way) = self.pages[slots.clone()].iter().position(alike) else {
            return 0;
        };
        for i in slots.start + way..slots.end {
            let Some(e) = &self.entries[i] else { continue };
            if e.lpid == lpid && names(operand, e.vpn, (e.segment, e.base, e.actual)) {
                self.took_other_page |= e.vpn != operand.vpn.align_down(e.actual);
                self.empty(i, e.actual);
                gone += 1;
            }
        }
        gone
    }

    /// Removes a congruence class (`tlbiel` with IS=3) and returns how many entries went; a set past
    /// the last wraps.
    pub fn invalidate_set(&mut self, set: u32) -> u32 {
        self.invalidate_set_of(set, false)
    }

    /// Removes a congruence class, or of it this partition's entries only (IS=2).
    pub fn invalidate_set_of(&mut self, set: u32, own_only: bool) -> u32 {
        let set = (set & (self.geometry.sets - 1)) as usize;
        let mut gone = 0;
        for i in self.slots(set) {
            if self.entries[i].is_some_and(|e| !own_only || e.lpid == self.lpid) {
                self.take(i);
                gone += 1;
            }
        }
        gone
    }

    /// Removes everything and returns how many entries went.
    pub fn invalidate_all(&mut self) -> u32 {
        self.invalidate_all_of(false)
    }

    /// Removes everything, or this partition's entries only.
    pub fn invalidate_all_of(&mut self, own_only: bool) -> u32 {
        (0..self.geometry.sets)
            .map(|set| self.invalidate_set_of(set, own_only))
            .sum()
    }

    /// Every entry present.
    pub fn entries(&self) -> impl Iterator<Item = &TlbEntry> {
        self.entries.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PageSize::{P4K, P16M, P64K};
    use SegmentSize::{S1T, S256M};

    fn tlb() -> Tlb {
        Tlb::new(TlbGeometry { sets: 16, ways: 2 }, Replacement::Lru).expect("geometry")
    }

    fn entry(vpn: u64, base: PageSize, actual: PageSize) -> TlbEntry {
        let (vpn, r, hpte_ra) = (Vpn::new(vpn), HpteR(0x196), Ra::new(0));
        TlbEntry {
            vpn,
            segment: S256M,
            base,
            actual,
            r,
            hpte_ra,
            lpid: 0,
        }
    }

    fn op(vpn: u64, segment: SegmentSize, base: PageSize, actual: PageSize) -> TlbInvalidate {
        TlbInvalidate {
            vpn: Vpn::new(vpn),
            segment,
            base,
            actual,
            local: false,
        }
    }

    #[test]
    fn invalidation_scope() {
        let mut t = tlb();
        t.insert(entry(0x12345, P4K, P4K));
        t.insert(entry(0x12346, P4K, P4K));
        assert_eq!(t.invalidate(&op(0x12345, S1T, P4K, P4K)), 0, "B");
        assert_eq!(t.invalidate(&op(0x12345, S256M, P4K, P64K)), 0, "AP");
        assert_eq!(t.invalidate(&op(0x12347, S256M, P4K, P4K)), 0, "page");
        assert_eq!(
            t.invalidate(&op(0x12345 | 1 << 51, S256M, P4K, P4K)),
            0,
            "VA bit 14"
        );
        assert_eq!(
            t.invalidate(&op(0x12345 | 0xfff << 52, S256M, P4K, P4K)),
            1,
            "VA bits 0:13"
        );
        assert!(t.peek(Vpn::new(0x12345), S256M).is_none());
        assert!(t.peek(Vpn::new(0x12346), S256M).is_some());
        assert_eq!(t.invalidate_all(), 1);
        assert_eq!(t.entries().count(), 0);
    }

    #[test]
    fn large_pages_serve_their_range() {
        let mut t = tlb();
        t.insert(entry(0x1234_5678, P16M, P16M));
        t.insert(entry(0x9_0013, P4K, P64K));
        assert_eq!(
            t.lookup(Vpn::new(0x1234_5000), S256M).map(|e| e.actual),
            Some(P16M)
        );
        assert_eq!(t.lookup(Vpn::new(0x1234_6000), S256M), None);
        assert_eq!(
            t.lookup(Vpn::new(0x9_001f), S256M).map(|e| e.base),
            Some(P4K)
        );
        assert_eq!(t.lookup(Vpn::new(0x9_0013), S1T), None);
        assert_eq!(t.invalidate(&op(0x9_0010, S256M, P64K, P64K)), 0, "base");
        assert_eq!(t.invalidate(&op(0x9_0018, S256M, P4K, P64K)), 1);
    }

    #[test]
    fn replacement_and_sets() {
        let mut t = tlb();
        assert_eq!(t.insert(entry(0x10, P4K, P4K)), None);
        assert_eq!(t.insert(entry(0x20, P4K, P4K)), None);
        assert!(t.lookup(Vpn::new(0x10), S256M).is_some());
        assert_eq!(
            t.insert(entry(0x30, P4K, P4K)).map(|e| e.vpn.get()),
            Some(0x20)
        );
        let again = t.insert(entry(0x30, P4K, P4K)).map(|e| e.vpn.get());
        assert_eq!(again, Some(0x30), "same page replaces itself");
        t.insert(entry(0x31, P4K, P4K));
        assert_eq!(t.invalidate_set(0), 2);
        assert_eq!(t.invalidate_set(17), 1);
    }

    #[test]
    fn one_error() {
        assert!(Tlb::new(TlbGeometry { sets: 3, ways: 1 }, Replacement::Lru).is_err());
    }
}
