//! One access on the long way: ERAT, SLB, TLB, table, protection, R and C.

use super::real::Real;
use super::refill::erat_entry;
use super::table::{Rules, Search, search, set_rc};
use super::{AccessState, Mmu, Probe, Translation, WIMG_MEMORY, Walk, WalkMemory};
use crate::addr::{Ea, PageSize, Ra, Vpn};
use crate::choices::MixedPages;
use crate::fault::Fault;
use crate::hpt::Hpt;
use crate::hpte::HpteR;
use crate::invalidate::TlbInvalidate;
use crate::protect::{Access, Denied, check};
use crate::registers::Lpcr;
use crate::slb::{SlbEntry, SlbSearch};
use crate::tlb::TlbEntry;

/// An access, what it may look at, and what it has done.
pub(super) struct Slow<'a, M, P> {
    pub mmu: &'a mut Mmu,
    pub memory: &'a M,
    pub hpt: &'a Hpt,
    /// Cut to 32 bits if SF=0.
    pub ea: Ea,
    pub access: Access,
    pub state: AccessState,
    pub walk: Walk,
    /// The TLB holds an entry for the page that did not serve.
    pub unserved: bool,
    pub probe: &'a mut P,
}

/// Where the page of an access was found.
#[derive(Clone, Copy)]
struct Found {
    r: HpteR,
    actual: PageSize,
}

impl Found {
    /// Where an address of the page goes.
    fn at(&self, ea: Ea) -> Translation {
        let page = self.r.ra(self.actual).get();
        Translation {
            ra: Ra::new(page | ea.get() & (self.actual.bytes() - 1)),
            wimg: self.r.wimg(),
        }
    }
}

impl<M: WalkMemory, P: Probe> Slow<'_, M, P> {
    /// The whole of it.
    pub fn translate(mut self) -> Result<Translation, Fault> {
        let relocated = match self.access {
            Access::Fetch => self.state.ir,
            Access::Load | Access::Store => self.state.dr,
        };
        let result = if relocated {
            let to_hypervisor = !self.state.hv && self.mmu.registers.lpcr.0 & Lpcr::VPM1 != 0;
            let result = self.relocated();
            if to_hypervisor {
                result.map_err(Fault::to_hypervisor)
            } else {
                result
            }
        } else {
            match self.mmu.real(self.ea, self.access, self.state)? {
                Real::Address(ra) => {
                    let wimg = WIMG_MEMORY;
                    return Ok(Translation { ra, wimg });
                }
                Real::Vrma(segment) => self
                    .through_segment(&segment, 0)
                    .map(|found| found.at(self.ea))
                    .map_err(Fault::to_hypervisor),
            }
        };
        self.probe.walk(&self.walk);
        result
    }

    /// The ERAT, then the segment and what it leads to.
    fn relocated(&mut self) -> Result<Translation, Fault> {
        if let Some(result) = self.found_in_erat() {
            return result;
        }
        let (mut segment, or) = match self.mmu.slb.search(self.ea, &self.mmu.choices) {
            SlbSearch::Hit(segment, or) => (segment, or),
            SlbSearch::Miss => return Err(Fault::no_segment(self.ea, self.access)),
            SlbSearch::Multihit => return Err(Fault::SlbMultihit { dar: self.ea }),
        };
        self.walk.slb_hit = true;
        let isl = self.mmu.registers.lpcr.0 & Lpcr::ISL != 0;
        if isl && (!self.state.hv || self.mmu.deviations.isl_in_hypervisor_state) {
            segment.page = PageSize::P4K;
        }
        let found = self.through_segment(&segment, or)?;
        let vpn = Vpn::from_ea(segment.vsid, self.ea, segment.segment);
        let entry = erat_entry(self.ea, (&segment, vpn), (found.r, found.actual));
        self.mmu.erat_of(self.access).insert(entry);
        Ok(found.at(self.ea))
    }

    /// The page from the table, where the ERAT and the TLB hold nothing of it.
    #[inline(always)]
    pub fn serve_from_table(&mut self, segment: &SlbEntry, vpn: Vpn) -> Result<Ra, Fault> {
        let found = self.found_in_table(segment, vpn, (0, true))?;
        let entry = erat_entry(self.ea, (segment, vpn), (found.r, found.actual));
        let erat = self.mmu.erat_of(self.access);
        if !erat.insert_permitted(entry, self.state.pr, self.access) {
            // Not reached: the table's entry was judged, and has C where a store needs it.
            erat.insert(entry);
        }
        Ok(found.at(self.ea).ra)
    }

    /// The answer of the ERAT; `None` if it lacks the page, or a store finds C=0 there and goes back
    /// to the table.
    fn found_in_erat(&mut self) -> Option<Result<Translation, Fault>> {
        let keys = self.mmu.registers.keys;
        let erat = self.mmu.erat_of(self.access);
        let slot = erat.find(self.ea)?;
        let e = *erat.entry(slot);
        self.walk.vpn = Some(e.vpn);
        let key = if self.state.pr { e.kp } else { e.ks };
        if let Err(denied) = check(e.r, key, e.n, self.access, &keys) {
            self.walk.erat_hit = true;
            return Some(Err(Fault::denied(self.ea, self.access, denied)));
        }
        if self.access == Access::Store && !e.r.c() {
            erat.clear(slot);
            return None;
        }
        self.walk.erat_hit = true;
        erat.touch(slot);
        let ra = Ra::new(e.ra.get() | self.ea.get() & 0xfff);
        let wimg = e.r.wimg();
        Some(Ok(Translation { ra, wimg }))
    }

    /// What a segment leads to: the TLB, then the table. `or` goes into what the table is searched
    /// for.
    fn through_segment(&mut self, segment: &SlbEntry, or: u64) -> Result<Found, Fault> {
        let vpn = Vpn::from_ea(segment.vsid, self.ea, segment.segment);
        self.walk.vpn = Some(vpn);
        if self.access == Access::Fetch && segment.n {
            return Err(self.denied(Denied::NO_EXECUTE));
        }
        match self.found_in_tlb(segment, vpn)? {
            Some(found) => Ok(found),
            None => self.searched_for(segment, vpn, or),
        }
    }

    #[inline(never)]
    fn searched_for(&mut self, segment: &SlbEntry, vpn: Vpn, or: u64) -> Result<Found, Fault> {
        self.found_in_table(segment, vpn, (or, false))
    }

    fn denied(&self, denied: Denied) -> Fault {
        Fault::denied(self.ea, self.access, denied)
    }

    #[inline(always)]
    fn judge(&self, r: HpteR, segment: &SlbEntry) -> Result<(), Fault> {
        let key = if self.state.pr {
            segment.kp
        } else {
            segment.ks
        };
        check(r, key, segment.n, self.access, &self.mmu.registers.keys)
            .map_err(|denied| self.denied(denied))
    }

    /// The page from the TLB; `None` if the table must be read.
    fn found_in_tlb(&mut self, segment: &SlbEntry, vpn: Vpn) -> Result<Option<Found>, Fault> {
        let Some(e) = self.mmu.tlb.lookup(vpn, segment.segment) else {
            return Ok(None);
        };
        if e.base != segment.page {
            self.unserved = true;
            return Ok(None);
        }
        if let Err(fault) = self.judge(e.r, segment) {
            self.walk.tlb_hit = true;
            return Err(fault);
        }
        if self.access == Access::Store && !e.r.c() {
            self.unserved = true;
            return Ok(None);
        }
        self.walk.tlb_hit = true;
        let (r, actual) = (e.r, e.actual);
        Ok(Some(Found { r, actual }))
    }

    /// The page from the table; sets R and C there and fills the TLB. `absent` if the TLB has no entry for it.
    #[inline(always)]
    fn found_in_table(
        &mut self,
        segment: &SlbEntry,
        vpn: Vpn,
        (or, absent): (u64, bool),
    ) -> Result<Found, Fault> {
        let dar = self.ea;
        let machine_check = |error| Fault::MachineCheck { dar, error };
        let rules = Rules {
            sizes: self.mmu.features.page_sizes,
            avpn_low_bits: self.mmu.choices.avpn_low_bits,
            rpn_low_bits: self.mmu.choices.rpn_low_bits,
            multihit: self.mmu.choices.hpt_multihit,
            or,
        };
        let walk = &mut self.walk;
        let found = search(self.memory, self.hpt, dar, segment, &rules, walk);
        let (hpte_ra, hpte, actual) = match found.map_err(machine_check)? {
            Search::Hit(hpte_ra, hpte, actual) => (hpte_ra, hpte, actual),
            Search::Miss => {
                if self.unserved {
                    self.forget(vpn, segment);
                }
                return Err(Fault::no_page(self.ea, self.access));
            }
            Search::Multihit => return Err(Fault::TlbMultihit { dar }),
        };
        self.judge(hpte.r, segment)?;
        let (walk, probe) = (&mut self.walk, &mut *self.probe);
        let r = set_rc(self.memory, hpte_ra, hpte.r, self.access, walk, probe);
        let r = r.map_err(machine_check)?;
        let (segment, base) = (segment.segment, segment.page);
        if actual == base || self.mmu.choices.mixed_pages == MixedPages::Whole {
            let entry = TlbEntry {
                vpn: vpn.align_down(actual),
                segment,
                base,
                actual,
                r,
                hpte_ra,
                lpid: self.mmu.lpid(),
            };
            match absent {
                true => self.mmu.tlb.insert_absent(entry),
                false => self.mmu.tlb.insert(entry),
            };
        }
        Ok(Found { r, actual })
    }

    /// Drops the TLB's copy of a page the table no longer has, after a store with C=0 went back to
    /// look.
    fn forget(&mut self, vpn: Vpn, segment: &SlbEntry) {
        if let Some(e) = self.mmu.tlb.peek(vpn, segment.segment) {
            let (vpn, segment) = (e.vpn, e.segment);
            let (base, actual) = (e.base, e.actual);
            self.mmu.tlb.invalidate(&TlbInvalidate {
                vpn,
                segment,
                base,
                actual,
                local: true,
            });
        }
    }
}
