//! What removes translations from a CPU: slbmte, slbie, slbia, tlbie, tlbiel, and another partition.
//!
//! Removal never asks the table: a copy that nothing here names lives on.

use super::Mmu;
use crate::addr::{Ea, SegmentSize};
use crate::invalidate::{Scope, TlbInvalidate};
use crate::slb::{SlbEntry, SlbError, SlbiegOperand};

impl Mmu {
    /// Removes what a `tlbie` or `tlbiel` of this partition names from the TLB and both ERATs;
    /// returns how many entries went. What went though the operand meant another page is counted in
    /// [`Mmu::over_invalidated`].
    pub fn tlb_invalidate(&mut self, operand: &TlbInvalidate) -> u32 {
        let gone = self.tlb.invalidate(operand)
            + self.erat.invalidate(operand)
            + self.ierat.invalidate(operand);
        if gone != 0 && self.tlb.took_other_page() {
            self.over_invalidated += 1;
        }
        gone
    }

    /// As [`Self::tlb_invalidate`], for a `tlbie` whose RS names a partition (ISA 2.06 on). Entries
    /// of other partitions stay.
    pub fn tlb_invalidate_of(&mut self, lpid: u32, operand: &TlbInvalidate) -> u32 {
        if lpid == self.lpid() {
            return self.tlb_invalidate(operand);
        }
        self.tlb.invalidate_of(lpid, operand)
    }

    /// Removes what the IS field of an RB names (Power ISA 2.07 and 3.0 Book III, tlbie and tlbiel);
    /// returns how many entries went. More than one page at once takes both ERATs along: they cannot
    /// tell sets apart.
    pub fn tlb_invalidate_scope(&mut self, scope: &Scope) -> u32 {
        let from_tlb = match scope {
            Scope::Page(operand) => return self.tlb_invalidate(operand),
            // Entries made from a hashed table belong to no process.
            Scope::Process => return 0,
            Scope::Set { set, all_lpids } => self.tlb.invalidate_set_of(*set, !all_lpids),
            Scope::All { all_lpids } => self.tlb.invalidate_all_of(!all_lpids),
        };
        from_tlb + self.erat.invalidate_all() + self.ierat.invalidate_all()
    }

    /// LPIDR: the partition whose translations are made and used.
    pub const fn lpid(&self) -> u32 {
        self.tlb.lpid()
    }

    /// `mtspr LPIDR`. TLB entries of other partitions stay, unused; the ERATs, which are not tagged
    /// here, are emptied.
    pub fn set_lpid(&mut self, lpid: u32) {
        if lpid != self.lpid() {
            self.tlb.set_lpid(lpid);
            self.erat.invalidate_all();
            self.ierat.invalidate_all();
        }
    }

    /// `slbmte`. ERAT data made from the old entry stays, as the architecture allows and hardware
    /// does.
    ///
    /// # Errors
    /// [`SlbError`], also for a segment or page size that this CPU lacks.
    pub fn slbmte(&mut self, rs: u64, rb: u64) -> Result<(), SlbError> {
        let entry = SlbEntry::from_words(rs, rb)?;
        if !self.features.has_segment(entry.segment) {
            let b = entry.segment.b_field();
            return Err(SlbError::SegmentSize { b });
        }
        if !self.features.page_sizes.has_base(entry.page) {
            let llp = u64::from(entry.page.llp());
            return Err(SlbError::PageSize { llp });
        }
        self.slb.slbmte(rs, rb)
    }

    /// `slbie`: the SLB entry and the ERAT data of the segment, also data whose SLB entry was
    /// overwritten since. Returns how many entries went.
    pub fn slbie(&mut self, ea: Ea, class: bool, segment: SegmentSize) -> u32 {
        self.slb.slbie(ea, class, segment)
            + self.erat.invalidate_segment(ea, class, segment)
            + self.ierat.invalidate_segment(ea, class, segment)
    }

    /// `slbieg` (ISA 3.0) that reached this CPU. It removes only entries that hardware loaded from a
    /// segment table (LPCR UPRT = 1); software wrote every entry here, so none goes. Returns how many
    /// did.
    pub const fn slbieg(&mut self, operand: &SlbiegOperand) -> u32 {
        let _ = operand;
        0
    }

    /// `slbia IH`: SLB entries as [`crate::Slb::slbia`]; ERAT data of class 1 for IH 1 and 3, all of
    /// it otherwise. Returns how many entries went.
    ///
    /// # Errors
    /// [`SlbError::Ih`].
    pub fn slbia(&mut self, ih: u8) -> Result<u32, SlbError> {
        let gone = self.slb.slbia(ih)?;
        let erats = [&mut self.erat, &mut self.ierat];
        let from_erats = erats.map(|erat| match ih {
            1 | 3 => erat.invalidate_class(),
            _ => erat.invalidate_all(),
        });
        Ok(gone + from_erats[0] + from_erats[1])
    }
}
