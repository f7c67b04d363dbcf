//! The calls on one entry: H_ENTER, H_REMOVE, H_PROTECT, H_READ.

use super::{
    Answer, Cleared, H_ANDCOND, H_AVPN, H_COALESCE_CAND, H_EXACT, H_ICACHE_INVALIDATE,
    H_ICACHE_SYNCHRONIZE, H_LOCAL, H_R_XLATE, H_READ_4, H_ZERO_PAGE, HV_BITS, HV_LOCK, HcallError,
    Hpte, HpteIndex, HpteR, HpteV, Hypervisor, TableAccess, sizes,
};
use crate::addr::PageSize;
use crate::hpt::{Barrier, tlbie_sequence, tlbiel_sequence};

/// Flags of H_ENTER.
const ENTER_FLAGS: u64 =
    H_EXACT | H_ZERO_PAGE | H_ICACHE_INVALIDATE | H_ICACHE_SYNCHRONIZE | H_COALESCE_CAND;

/// Flag bits of H_PROTECT that go into doubleword 1, and where: pp0 and key bits 0:1 are shifted.
const PROTECT_LOW: u64 = HpteR::KEY_LO | HpteR::N | HpteR::PP_MASK;
const PP0_SHIFT: u32 = 55;
const KEY_HI_SHIFT: u32 = 48;

impl Hypervisor {
    /// H_ENTER: puts an entry into the first free slot of the group of `index`, or with [`H_EXACT`]
    /// into that very slot, and returns where. V is set whatever `v` says. No search for an existing
    /// match is made, and no TLB invalidation: nothing was there. With [`H_ZERO_PAGE`] the page is
    /// zeroed before anyone can reach it, unless it is a device's.
    ///
    /// # Errors
    /// Those of the access; H_PTEG_FULL if there is no room, H_PARAMETER.
    pub fn enter<A: TableAccess>(
        &self,
        a: &mut A,
        flags: u64,
        index: HpteIndex,
        v: HpteV,
        r: HpteR,
    ) -> Answer<HpteIndex, A::Error> {
        let actual = self.may_map(Hpte { v, r });
        let (true, true, Some(actual)) = (flags & !ENTER_FLAGS == 0, self.has(index), actual)
        else {
            return Ok(Err(HcallError::Parameter));
        };
        let slots = if flags & H_EXACT != 0 {
            index.slot()..index.slot() + 1
        } else {
            0..8
        };
        for slot in slots {
            let index = index.group().slot(slot);
            let ra = self.hpt.hpte_ra(index);
            if HpteV(a.load(ra, "H_ENTER: load V")?).is_valid() {
                continue;
            }
            let found = self.lock(a, index)?;
            if HpteV(found).is_valid() {
                self.unlock(a, index, found)?;
                continue;
            }
            if flags & H_ZERO_PAGE != 0 && r.0 & HpteR::I == 0 {
                super::page::zero(a, r.ra(actual), actual.bytes())?;
            }
            let v = HpteV(v.0 & !HV_BITS).with_valid();
            let (dw0, dw1) = self.hpt.format().encode(Hpte { v, r });
            a.store(ra + 8, dw1, "H_ENTER: store R")?;
            a.barrier(Barrier::Eieio, "H_ENTER: R before V")?;
            a.store(ra, dw0, "H_ENTER: store V")?;
            a.barrier(Barrier::Ptesync, "H_ENTER: ptesync")?;
            return Ok(Ok(index));
        }
        Ok(Err(HcallError::PtegFull))
    }

    /// The actual page size, if the sizes exist and the real page is the guest's memory, or a device's,
    /// which is never cached.
    fn may_map(&self, hpte: Hpte) -> Option<PageSize> {
        let (_, actual) = sizes(hpte)?;
        hpte.v.segment()?;
        let end = hpte.r.ra(actual).checked_add(actual.bytes())?;
        let memory = end.get() <= self.memory_bytes;
        (memory || hpte.r.0 & HpteR::I != 0).then_some(actual)
    }

    /// H_REMOVE: takes an entry out, invalidates its translation in every TLB (with [`H_LOCAL`] in
    /// this CPU's), and returns what it was, R and C as they were last written.
    ///
    /// # Errors
    /// Those of the access; H_NOT_FOUND if it is not valid or a condition of the flags fails,
    /// H_PARAMETER.
    pub fn remove<A: TableAccess>(
        &self,
        a: &mut A,
        flags: u64,
        index: HpteIndex,
        avpn: u64,
    ) -> Answer<Hpte, A::Error> {
        if flags & !(H_AVPN | H_ANDCOND | H_LOCAL) != 0 || !self.has(index) {
            return Ok(Err(HcallError::Parameter));
        }
        let dw0 = self.lock(a, index)?;
        match self.clear(a, flags, index, dw0, avpn)? {
            Ok(c) => {
                self.forget(a, flags, &c)?;
                Ok(Ok(self.release(a, &c)?))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Clears V of a locked entry that meets the conditions; the lock stays. Otherwise unlocks it.
    pub(super) fn clear<A: TableAccess>(
        &self,
        a: &mut A,
        flags: u64,
        index: HpteIndex,
        dw0: u64,
        avpn: u64,
    ) -> Answer<Cleared, A::Error> {
        let ra = self.hpt.hpte_ra(index);
        let hpte = self.guests(dw0, a.load(ra + 8, "hypervisor: load R")?);
        let operand = self.page_in(index, hpte);
        match operand {
            Some(operand) if hpte.v.is_valid() && meets(flags, hpte.v, avpn) => {
                a.store(ra, HV_LOCK, "hypervisor: clear V")?;
                let v = hpte.v;
                Ok(Ok(Cleared {
                    index,
                    dw0,
                    v,
                    operand,
                }))
            }
            _ => {
                self.unlock(a, index, dw0)?;
                Ok(Err(HcallError::NotFound))
            }
        }
    }

    /// The TLB sequence for one cleared entry: global, or local if the guest says so.
    pub(super) fn forget<A: TableAccess>(
        &self,
        a: &mut A,
        flags: u64,
        c: &Cleared,
    ) -> Result<(), A::Error> {
        if flags & H_LOCAL == 0 {
            tlbie_sequence(a, &[c.operand])
        } else {
            tlbiel_sequence(a, &[c.operand])
        }
    }

    /// Collects R and C of an entry that every TLB has forgotten, and gives its lock back.
    fn release<A: TableAccess>(&self, a: &mut A, c: &Cleared) -> Result<Hpte, A::Error> {
        // Only now can no CPU write R or C any more.
        let dw1 = a.load(self.hpt.hpte_ra(c.index) + 8, "hypervisor: load R and C")?;
        self.unlock(a, c.index, 0)?;
        let r = self.guests(c.dw0, dw1).r;
        Ok(Hpte { v: c.v, r })
    }

    /// Invalidates the translations of cleared entries under one set of barriers, collects R and C,
    /// and gives the locks back. Returns the entries as they were.
    pub(super) fn complete<A: TableAccess>(
        &self,
        a: &mut A,
        cleared: &[Cleared],
    ) -> Result<Vec<Hpte>, A::Error> {
        if cleared.is_empty() {
            return Ok(Vec::new());
        }
        let operands: Vec<_> = cleared.iter().map(|c| c.operand).collect();
        tlbie_sequence(a, &operands)?;
        cleared.iter().map(|c| self.release(a, c)).collect()
    }

    /// H_PROTECT: changes pp, N and key of an entry. It is not valid meanwhile, and its translation is
    /// invalidated in every TLB (with [`H_LOCAL`] in this CPU's).
    ///
    /// # Errors
    /// Those of the access; H_NOT_FOUND if it is not valid or not the one meant, H_PARAMETER.
    pub fn protect<A: TableAccess>(
        &self,
        a: &mut A,
        flags: u64,
        index: HpteIndex,
        avpn: u64,
    ) -> Answer<(), A::Error> {
        let bits = PROTECT_LOW | HpteR::PP0 >> PP0_SHIFT | HpteR::KEY_HI >> KEY_HI_SHIFT;
        if flags & !(H_AVPN | H_LOCAL | bits) != 0 || !self.has(index) {
            return Ok(Err(HcallError::Parameter));
        }
        let dw0 = self.lock(a, index)?;
        let c = match self.clear(a, flags & H_AVPN, index, dw0, avpn)? {
            Ok(cleared) => cleared,
            Err(error) => return Ok(Err(error)),
        };
        self.forget(a, flags, &c)?;
        let ra = self.hpt.hpte_ra(index);
        let r = a.load(ra + 8, "H_PROTECT: load R")?;
        let changed = PROTECT_LOW | HpteR::PP0 | HpteR::KEY_HI;
        let new = (flags & PROTECT_LOW)
            | (flags << PP0_SHIFT & HpteR::PP0)
            | (flags << KEY_HI_SHIFT & HpteR::KEY_HI);
        a.store(ra + 8, (r & !changed) | new, "H_PROTECT: store R")?;
        a.barrier(Barrier::Eieio, "H_PROTECT: R before V")?;
        a.store(ra, dw0, "H_PROTECT: store V")?;
        a.barrier(Barrier::Ptesync, "H_PROTECT: ptesync")?;
        Ok(Ok(()))
    }

    /// H_READ: one entry, or with [`H_READ_4`] the four of its aligned block; read without locks. The
    /// hypervisor's own bits are not shown.
    ///
    /// # Errors
    /// Those of the access; H_PARAMETER.
    pub fn read<A: TableAccess>(
        &self,
        a: &mut A,
        flags: u64,
        index: HpteIndex,
    ) -> Answer<Vec<Hpte>, A::Error> {
        if flags & !(H_READ_4 | H_R_XLATE) != 0 || !self.has(index) {
            return Ok(Err(HcallError::Parameter));
        }
        let (first, count) = match flags & H_READ_4 {
            0 => (index.0, 1),
            _ => (index.0 & !3, 4),
        };
        let mut entries = Vec::with_capacity(count as usize);
        for i in first..first + count {
            let ra = self.hpt.hpte_ra(HpteIndex(i));
            let dw0 = a.load(ra, "H_READ: load V")? & !HV_BITS;
            entries.push(self.guests(dw0, a.load(ra + 8, "H_READ: load R")?));
        }
        Ok(Ok(entries))
    }
}

/// The conditions of H_AVPN and H_ANDCOND.
fn meets(flags: u64, v: HpteV, avpn: u64) -> bool {
    (flags & H_AVPN == 0 || v.0 & HpteV::COMPARE_MASK == avpn)
        && (flags & H_ANDCOND == 0 || v.0 & avpn == 0)
}
