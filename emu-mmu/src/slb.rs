//! The segment lookaside buffer: effective segment to virtual segment, written by software only.
//!
//! Owns the entries and the operand words of `slbmte`, `slbmfee`, `slbmfev`, `slbie` and `slbia`.
//! Refuses lookaside data made from its entries: that is `translate`'s to drop.

mod operands;

use thiserror::Error;

use crate::addr::{Ea, Esid, PageSize, SegmentSize, Vsid};
use crate::choices::{Choices, MustBeZero, SlbMultihit};

pub use operands::{SlbieOperand, SlbiegOperand};

/// Why an SLB instruction was refused. The architecture leaves each of these undefined (Power ISA
/// 2.07 Book III-S 5.9.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SlbError {
    /// The index is past the last entry.
    #[error("SLB index {index}: the SLB has {entries} entries")]
    Index {
        /// The index asked for.
        index: u64,
        /// Entries of this SLB.
        entries: usize,
    },
    /// B is 0b10 or 0b11.
    #[error("reserved segment size B={b}")]
    SegmentSize {
        /// The B field.
        b: u64,
    },
    /// L||LP is no page size.
    #[error("reserved page size L||LP={llp:#05b}")]
    PageSize {
        /// The three bits.
        llp: u64,
    },
    /// `slbia` with a reserved IH.
    #[error("reserved slbia IH={ih}")]
    Ih {
        /// The IH field.
        ih: u8,
    },
}

/// One entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SlbEntry {
    /// Effective segment.
    pub esid: Esid,
    /// Virtual segment.
    pub vsid: Vsid,
    /// Segment size.
    pub segment: SegmentSize,
    /// Key when MSR PR=0.
    pub ks: bool,
    /// Key when MSR PR=1.
    pub kp: bool,
    /// No-execute segment.
    pub n: bool,
    /// Class: a group for `slbie` and `slbia` (Linux: 1 = user).
    pub class: bool,
    /// Base page size.
    pub page: PageSize,
    /// V.
    pub valid: bool,
}

/// RB: the entry is valid.
const RB_V: u64 = 0x0800_0000;
/// RS bits of L||LP.
const RS_LLP: u64 = 0x130;
const RS_KS: u64 = 0x800;
const RS_KP: u64 = 0x400;
const RS_N: u64 = 0x200;
const RS_C: u64 = 0x080;
/// RS bits 0:51 without B.
const RS_VSID: u64 = 0x3FFF_FFFF_FFFF_F000;
/// RB bits 24:35: below the ESID of a 1 TB segment, must be 0.
const RB_LOW_ESID_1T: u64 = 0x0000_00FF_F000_0000;
/// RS bits 40:51: below the VSID of a 1 TB segment, must be 0.
const RS_LOW_VSID_1T: u64 = 0x00FF_F000;
/// RB carries a 12-bit index.
const ENTRIES_MAX: usize = 4096;

/// L at bit 55 and LP at bits 58:59.
const fn rs_llp(page: PageSize) -> u64 {
    let llp = page.llp() as u64;
    (llp >> 2) << 8 | (llp & 3) << 4
}

impl SlbEntry {
    /// A valid entry for privileged use, as Linux 2.6.38 arch/powerpc/mm/slb.c makes them: Ks=0,
    /// Kp=1, class 0, executable.
    pub const fn kernel(ea: Ea, vsid: Vsid, segment: SegmentSize, page: PageSize) -> Self {
        Self {
            esid: ea.esid(segment),
            vsid,
            segment,
            ks: false,
            kp: true,
            n: false,
            class: false,
            page,
            valid: true,
        }
    }

    /// The RS word of `slbmte` (Power ISA 2.07 Book III-S 5.9.3.1): B, VSID, Ks, Kp, N, L, C, LP.
    pub const fn rs(&self) -> u64 {
        let vsid_shift = self.segment.shift() - 16;
        let mut rs = (self.segment.b_field() << 62) | ((self.vsid.get() << vsid_shift) & RS_VSID);
        if self.ks {
            rs |= RS_KS;
        }
        if self.kp {
            rs |= RS_KP;
        }
        if self.n {
            rs |= RS_N;
        }
        if self.class {
            rs |= RS_C;
        }
        rs | rs_llp(self.page)
    }

    /// The RB word of `slbmte`: ESID, V and the index (its low 12 bits).
    pub const fn rb(&self, index: u64) -> u64 {
        let v = if self.valid { RB_V } else { 0 };
        (self.esid.get() << self.segment.shift()) | v | (index & 0xfff)
    }

    /// The entry of two `slbmte` words. Low ESID bits of a 1 TB segment do not count.
    ///
    /// # Errors
    /// [`SlbError::SegmentSize`] or [`SlbError::PageSize`] for reserved fields.
    pub fn from_words(rs: u64, rb: u64) -> Result<Self, SlbError> {
        let b = rs >> 62;
        let segment = SegmentSize::from_b_field(b).ok_or(SlbError::SegmentSize { b })?;
        let llp = (rs & RS_LLP) >> 6 & 4 | (rs & RS_LLP) >> 4 & 3;
        Ok(Self {
            esid: Ea::new(rb).esid(segment),
            vsid: Vsid::new((rs & RS_VSID) >> (segment.shift() - 16)),
            segment,
            ks: rs & RS_KS != 0,
            kp: rs & RS_KP != 0,
            n: rs & RS_N != 0,
            class: rs & RS_C != 0,
            page: PageSize::from_llp(llp as u8).ok_or(SlbError::PageSize { llp })?,
            valid: rb & RB_V != 0,
        })
    }

    /// Whether this valid entry translates an address.
    #[inline]
    pub const fn covers(&self, ea: Ea) -> bool {
        self.valid && ea.esid(self.segment).get() == self.esid.get()
    }

    /// Whether two valid entries translate some address both.
    fn overlaps(&self, other: &Self) -> bool {
        let s = self.segment.shift().max(other.segment.shift());
        let start = |e: &Self| (e.esid.get() << e.segment.shift()) >> s;
        self.valid && other.valid && start(self) == start(other)
    }
}

/// The SLB of one thread.
#[derive(Clone, Debug)]
pub struct Slb {
    entries: Vec<SlbEntry>,
    /// RS and RB that made each entry: bits that must be 0 count for some [`Choices`].
    operands: Vec<(u64, u64)>,
    /// The entry that hit last for a 256 MB segment or one like it. Only looked at while no two entries
    /// overlap.
    hints: [u16; HINTS],
    overlap: bool,
}

impl Slb {
    /// Takes over what another holds, in the same memory.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.entries.clone_from(&other.entries);
        self.operands.clone_from(&other.operands);
        (self.hints, self.overlap) = (other.hints, other.overlap);
    }
}

/// Segments of 256 MB whose entries are remembered apart.
const HINTS: usize = 64;

/// The hint of an address. Kernels keep areas apart by the top bits.
const fn hint_of(ea: Ea) -> usize {
    (ea.get() >> 28 ^ ea.get() >> 59) as usize % HINTS
}

impl Slb {
    /// An SLB of `entries` invalid entries, at most 4096 (an index has 12 bits).
    pub fn new(entries: usize) -> Self {
        let entries = vec![SlbEntry::default(); entries.min(ENTRIES_MAX)];
        Self {
            operands: vec![(0, 0); entries.len()],
            entries,
            hints: [0; HINTS],
            overlap: false,
        }
    }

    /// All entries by index.
    pub fn entries(&self) -> &[SlbEntry] {
        &self.entries
    }

    /// Whether two valid entries translate the same address: a software error that hardware answers
    /// with a machine check (multihit) or with either entry. [`Self::lookup`] then takes the lowest
    /// index.
    pub const fn has_overlap(&self) -> bool {
        self.overlap
    }

    /// Entries went: an overlap may be gone.
    fn removed(&mut self) {
        if self.overlap {
            let e = &self.entries;
            self.overlap = (1..e.len()).any(|i| e[..i].iter().any(|o| o.overlaps(&e[i])));
        }
    }

    /// One entry was written over another.
    fn written(&mut self, index: usize) {
        self.removed();
        let new = &self.entries[index];
        let mut others = self.entries.iter().enumerate();
        self.overlap |= others.any(|(i, other)| i != index && other.overlaps(new));
    }

    /// `slbmte`: writes the entry that RB names.
    ///
    /// # Errors
    /// [`SlbError`] for an index, B or L||LP this CPU lacks; nothing is written then.
    pub fn slbmte(&mut self, rs: u64, rb: u64) -> Result<(), SlbError> {
        let index = rb & 0xfff;
        let entry = SlbEntry::from_words(rs, rb)?;
        let entries = self.entries.len();
        let slot = self.entries.get_mut(index as usize);
        *slot.ok_or(SlbError::Index { index, entries })? = entry;
        self.operands[index as usize] = (rs, rb);
        self.written(index as usize);
        Ok(())
    }

    fn at(&self, index: u64) -> Result<&SlbEntry, SlbError> {
        let entries = self.entries.len();
        let i = usize::try_from(index).unwrap_or(usize::MAX);
        self.entries
            .get(i)
            .ok_or(SlbError::Index { index, entries })
    }

    /// `slbmfee`: ESID and V of an entry, 0 if invalid.
    ///
    /// # Errors
    /// [`SlbError::Index`].
    pub fn slbmfee(&self, index: u64) -> Result<u64, SlbError> {
        let e = self.at(index)?;
        Ok(if e.valid { e.rb(0) } else { 0 })
    }

    /// `slbmfev`: the RS word of an entry, 0 if invalid.
    ///
    /// # Errors
    /// [`SlbError::Index`].
    pub fn slbmfev(&self, index: u64) -> Result<u64, SlbError> {
        let e = self.at(index)?;
        Ok(if e.valid { e.rs() } else { 0 })
    }

    /// `slbfee.`: the RS word of the entry that translates `ea` (CR0 = 0b001), `None` if there is none
    /// (CR0 = 0b000, RT = 0).
    pub fn slbfee(&self, ea: Ea) -> Option<u64> {
        self.entries.iter().find(|e| e.covers(ea)).map(SlbEntry::rs)
    }

    /// `slbie`: invalidates the entry that translates `ea`, if class and size agree; returns how
    /// many went. Where they do not agree the architecture lets anything happen; here nothing does.
    pub fn slbie(&mut self, ea: Ea, class: bool, segment: SegmentSize) -> u32 {
        let mut gone = 0;
        for e in &mut self.entries {
            if e.covers(ea) && e.class == class && e.segment == segment {
                e.valid = false;
                gone += 1;
            }
        }
        if gone != 0 {
            self.removed();
        }
        gone
    }

    /// `slbia IH` (Power ISA 2.07 and 3.1 Book III, slbia): 0, 1, 2, 6 spare entry 0; 3 takes class
    /// 1; 4 takes all; 7 takes none. Returns how many entries went.
    ///
    /// # Errors
    /// [`SlbError::Ih`] for 5 and above 7.
    pub fn slbia(&mut self, ih: u8) -> Result<u32, SlbError> {
        if ih == 5 || ih > 7 {
            return Err(SlbError::Ih { ih });
        }
        let mut gone = 0;
        for (i, e) in self.entries.iter_mut().enumerate() {
            let hit = match ih {
                3 => e.class,
                4 => true,
                7 => false,
                _ => i != 0,
            };
            if hit && e.valid {
                e.valid = false;
                gone += 1;
            }
        }
        self.removed();
        Ok(gone)
    }

    /// The entry that hit last for such an address, if it translates `ea`.
    #[inline(always)]
    pub(crate) fn at_hand(&self, ea: Ea) -> Option<&SlbEntry> {
        let hint = usize::from(self.hints[hint_of(ea)]);
        let entry = self.entries.get(hint)?;
        (!self.overlap && entry.covers(ea)).then_some(entry)
    }

    /// The entry that translates `ea`, with its index.
    #[inline]
    pub fn lookup(&mut self, ea: Ea) -> Option<(usize, &SlbEntry)> {
        let hint = usize::from(self.hints[hint_of(ea)]);
        if !self.overlap && self.entries.get(hint).is_some_and(|e| e.covers(ea)) {
            return Some((hint, &self.entries[hint]));
        }
        let index = self.entries.iter().position(|e| e.covers(ea))?;
        self.hints[hint_of(ea)] = index as u16;
        Some((index, &self.entries[index]))
    }
}

/// What one search of the SLB found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlbSearch {
    /// The entry, and the bits or-ed into what the table is searched for.
    Hit(SlbEntry, u64),
    /// No entry.
    Miss,
    /// Several entries, and they make a machine check.
    Multihit,
}

impl Slb {
    /// Searches under these choices.
    #[inline]
    pub(crate) fn search(&mut self, ea: Ea, choices: &Choices) -> SlbSearch {
        if choices.are_default() {
            return match self.lookup(ea) {
                Some((_, &entry)) => SlbSearch::Hit(entry, 0),
                None => SlbSearch::Miss,
            };
        }
        self.search_chosen(ea, choices)
    }

    fn search_chosen(&self, ea: Ea, choices: &Choices) -> SlbSearch {
        let large = |i: usize| self.entries[i].segment == SegmentSize::S1T;
        let low_esid = |i: usize| large(i) && self.operands[i].1 & RB_LOW_ESID_1T != 0;
        let mut hits = (0..self.entries.len()).filter(|&i| {
            let dead = choices.slb_1t_low_esid == MustBeZero::Compared && low_esid(i);
            self.entries[i].covers(ea) && !dead
        });
        let Some(first) = hits.next() else {
            return SlbSearch::Miss;
        };
        if choices.slb_multihit == SlbMultihit::MachineCheck && hits.next().is_some() {
            return SlbSearch::Multihit;
        }
        let low_vsid = choices.slb_1t_low_vsid == MustBeZero::Compared && large(first);
        let or = if low_vsid {
            self.operands[first].0 & RS_LOW_VSID_1T
        } else {
            0
        };
        SlbSearch::Hit(self.entries[first], or)
    }
}

#[cfg(test)]
mod tests;
