//! Effective to real address: one CPU's SLB, ERATs and TLB, the walk of the table, protection, and
//! the R and C bits.
//!
//! Owns the order of all these (Power ISA 2.07 Book III-S 5.7). Refuses time: a [`Probe`] hears
//! what happened and charges for it. Real mode with HV=0 is the simple form without RMOR and limit;
//! class keys are not applied.

mod state;
mod table;

use crate::addr::{Ea, PageSize, Ra, SegmentSize, Vpn};
use crate::erat::{Erat, EratEntry};
use crate::fault::Fault;
use crate::hpt::Hpt;
use crate::hpte::HpteR;
use crate::invalidate::TlbInvalidate;
use crate::memory::GuestMemory;
use crate::protect::{Access, Denied, check};
use crate::replace::GeometryError;
use crate::slb::{Slb, SlbEntry, SlbError};
use crate::tlb::{Tlb, TlbEntry};

pub use state::{AccessState, MmuGeometry, Probe, Walk};
use table::{search, set_rc};

/// The MMU of one CPU (hardware thread).
#[derive(Clone, Debug)]
pub struct Mmu {
    /// Segment lookaside buffer. Writing it here leaves the ERATs alone; see the methods of `Mmu`.
    pub slb: Slb,
    /// Data ERAT.
    pub erat: Erat,
    /// Instruction ERAT.
    pub ierat: Erat,
    /// TLB.
    pub tlb: Tlb,
}

/// One access on its way through the slow path.
#[derive(Clone, Copy)]
struct Request {
    ea: Ea,
    access: Access,
    pr: bool,
}

/// Where the page of a request was found.
#[derive(Clone, Copy)]
struct Found {
    r: HpteR,
    actual: PageSize,
}

impl Mmu {
    /// An MMU with everything invalid.
    ///
    /// # Errors
    /// [`GeometryError`] for a shape that cannot be built.
    pub fn new(geometry: &MmuGeometry) -> Result<Self, GeometryError> {
        let g = geometry;
        if g.slb_entries == 0 || g.slb_entries > 4096 {
            return Err(GeometryError::Slb {
                entries: g.slb_entries,
            });
        }
        Ok(Self {
            slb: Slb::new(g.slb_entries),
            erat: Erat::new(g.erat, g.erat_replacement)?,
            ierat: Erat::new(g.ierat, g.erat_replacement)?,
            tlb: Tlb::new(g.tlb, g.tlb_replacement)?,
        })
    }

    /// Translates one access: the real address, or the fault. The access must not cross a 4 KB
    /// boundary.
    ///
    /// # Errors
    /// [`Fault`], with the cause bits of Power ISA 2.07 Book III-S 6.5.
    #[inline]
    pub fn translate<P: Probe>(
        &mut self,
        memory: &GuestMemory,
        hpt: &Hpt,
        ea: Ea,
        access: Access,
        state: AccessState,
        probe: &mut P,
    ) -> Result<Ra, Fault> {
        let ea = if state.sf {
            ea
        } else {
            Ea::new(ea.get() & 0xffff_ffff)
        };
        let fetch = matches!(access, Access::Fetch);
        if !(if fetch { state.ir } else { state.dr }) {
            return Ok(Ra::new(ea.get() & (u64::MAX >> 4)));
        }
        let erat = if fetch {
            &mut self.ierat
        } else {
            &mut self.erat
        };
        let slot = erat.find(ea);
        if let Some(slot) = slot
            && let Some((vpn, page)) = erat.permitted(slot, state.pr, access)
        {
            probe.walk(&Walk {
                vpn: Some(vpn),
                erat_hit: true,
                ..Walk::new(ea)
            });
            return Ok(Ra::new(page.get() | ea.get() & 0xfff));
        }
        let request = Request {
            ea,
            access,
            pr: state.pr,
        };
        let mut walk = Walk::new(ea);
        let result = self.translate_slow(memory, hpt, request, slot, &mut walk);
        probe.walk(&walk);
        result
    }

    /// Everything but the plain ERAT hit; `slot` is where the ERAT has the page, if it has.
    #[inline(never)]
    fn translate_slow(
        &mut self,
        memory: &GuestMemory,
        hpt: &Hpt,
        q: Request,
        slot: Option<usize>,
        walk: &mut Walk,
    ) -> Result<Ra, Fault> {
        let erat = if q.access == Access::Fetch {
            &mut self.ierat
        } else {
            &mut self.erat
        };
        if let Some(slot) = slot {
            let e = erat.entry(slot);
            walk.vpn = Some(e.vpn);
            let key = if q.pr { e.kp } else { e.ks };
            if let Err(denied) = check(e.r, key, e.n, q.access) {
                walk.erat_hit = true;
                return Err(Fault::denied(q.ea, q.access, denied));
            }
            // A store that finds C=0 goes back to the table.
            erat.clear(slot);
        }
        let Some((_, &segment)) = self.slb.lookup(q.ea) else {
            return Err(Fault::no_segment(q.ea, q.access));
        };
        walk.slb_hit = true;
        let vpn = Vpn::from_ea(segment.vsid, q.ea, segment.segment);
        walk.vpn = Some(vpn);
        if q.access == Access::Fetch && segment.n {
            return Err(Fault::denied(q.ea, q.access, Denied::NoExecute));
        }
        let found = match self.found_in_tlb(q, &segment, vpn, walk)? {
            Some(found) => found,
            None => self.found_in_table(memory, hpt, q, &segment, walk)?,
        };
        let page = found.r.ra(found.actual).get();
        let ra = Ra::new(page | q.ea.get() & (found.actual.bytes() - 1));
        let entry = EratEntry {
            ea: q.ea,
            ra,
            vpn,
            segment: segment.segment,
            base: segment.page,
            actual: found.actual,
            class: segment.class,
            ks: segment.ks,
            kp: segment.kp,
            n: segment.n,
            r: found.r,
        };
        let erat = if q.access == Access::Fetch {
            &mut self.ierat
        } else {
            &mut self.erat
        };
        erat.insert(entry);
        Ok(ra)
    }

    /// The page from the TLB; `None` if the table must be read.
    fn found_in_tlb(
        &mut self,
        q: Request,
        segment: &SlbEntry,
        vpn: Vpn,
        walk: &mut Walk,
    ) -> Result<Option<Found>, Fault> {
        let hit = self
            .tlb
            .lookup(vpn, segment.segment)
            .filter(|e| e.base == segment.page);
        let Some(e) = hit else { return Ok(None) };
        let key = if q.pr { segment.kp } else { segment.ks };
        check(e.r, key, segment.n, q.access).map_err(|d| {
            walk.tlb_hit = true;
            Fault::denied(q.ea, q.access, d)
        })?;
        if q.access == Access::Store && !e.r.c() {
            return Ok(None);
        }
        walk.tlb_hit = true;
        Ok(Some(Found {
            r: e.r,
            actual: e.actual,
        }))
    }

    /// The page from the table; sets R and C there and fills the TLB.
    fn found_in_table(
        &mut self,
        memory: &GuestMemory,
        hpt: &Hpt,
        q: Request,
        segment: &SlbEntry,
        walk: &mut Walk,
    ) -> Result<Found, Fault> {
        let machine_check = |error| Fault::MachineCheck { dar: q.ea, error };
        let vpn = Vpn::from_ea(segment.vsid, q.ea, segment.segment);
        let found = search(memory, hpt, vpn, segment, walk).map_err(machine_check)?;
        let Some((hpte_ra, hpte, actual)) = found else {
            self.forget(vpn, segment);
            return Err(Fault::no_page(q.ea, q.access));
        };
        let key = if q.pr { segment.kp } else { segment.ks };
        check(hpte.r, key, segment.n, q.access)
            .map_err(|denied| Fault::denied(q.ea, q.access, denied))?;
        let r = set_rc(memory, hpte_ra, hpte.r, q.access, walk).map_err(machine_check)?;
        let (segment, base) = (segment.segment, segment.page);
        self.tlb.insert(TlbEntry {
            vpn,
            segment,
            base,
            actual,
            r,
            hpte_ra,
        });
        Ok(Found { r, actual })
    }

    /// Drops the TLB's copy of a page the table no longer has, after a store with C=0 went back to
    /// look.
    fn forget(&mut self, vpn: Vpn, segment: &SlbEntry) {
        if let Some(e) = self.tlb.peek(vpn, segment.segment) {
            let TlbEntry {
                vpn,
                segment,
                base,
                actual,
                ..
            } = e;
            self.tlb.invalidate(&TlbInvalidate {
                vpn,
                segment,
                base,
                actual,
                local: true,
            });
        }
    }

    /// Removes what a `tlbie` or `tlbiel` names from the TLB and both ERATs; returns how many
    /// entries went.
    pub fn tlb_invalidate(&mut self, operand: &TlbInvalidate) -> u32 {
        self.tlb.invalidate(operand)
            + self.erat.invalidate(operand)
            + self.ierat.invalidate(operand)
    }

    /// `slbmte`. ERAT data made from the old entry stays, as the architecture allows and hardware
    /// does.
    ///
    /// # Errors
    /// [`SlbError`].
    pub fn slbmte(&mut self, rs: u64, rb: u64) -> Result<(), SlbError> {
        self.slb.slbmte(rs, rb)
    }

    /// `slbie`: the SLB entry and the ERAT data of the segment, also data whose SLB entry was
    /// overwritten since. Returns how many entries went.
    pub fn slbie(&mut self, ea: Ea, class: bool, segment: SegmentSize) -> u32 {
        self.slb.slbie(ea, class, segment)
            + self.erat.invalidate_segment(ea, class, segment)
            + self.ierat.invalidate_segment(ea, class, segment)
    }

    /// `slbia IH`: SLB entries as [`Slb::slbia`]; ERAT data of class 1 for IH 1 and 3, all of it
    /// otherwise. Returns how many entries went.
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

#[cfg(test)]
mod tests;
