//! Effective to real address: one CPU's SLB, ERATs and TLB, the walk of the table, protection, and
//! the R and C bits.
//!
//! Owns the order of all these (Power ISA 2.07 Book III-S 5.7). Refuses time: a [`Probe`] hears
//! what happened and charges for it, and interrupts: a [`Fault`] says what is to be delivered.

mod features;
mod real;
mod state;
mod table;

use crate::addr::{Ea, PageSize, Ra, SegmentSize, Vpn};
use crate::choices::{Choices, Deviations};
use crate::erat::{Erat, EratEntry};
use crate::fault::Fault;
use crate::hpt::Hpt;
use crate::hpte::HpteR;
use crate::invalidate::TlbInvalidate;
use crate::memory::GuestMemory;
use crate::protect::{Access, Denied, check};
use crate::registers::{Lpcr, Registers};
use crate::replace::GeometryError;
use crate::slb::{Slb, SlbEntry, SlbError, SlbSearch};
use crate::tlb::{Tlb, TlbEntry};

pub use features::{GuestRealMode, MmuFeatures};
use real::Real;
pub use state::{AccessState, MmuGeometry, Probe, Walk};
use table::{Rules, search, set_rc};

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
    /// The registers that translation reads. What a change makes stale is software's to flush.
    pub registers: Registers,
    /// What is done where the architecture leaves it undefined.
    pub choices: Choices,
    /// Where the architecture is not followed.
    pub deviations: Deviations,
    features: MmuFeatures,
}

/// Where an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Translation {
    /// The real address.
    pub ra: Ra,
    /// W, I, M and G as four bits; M alone in real mode.
    pub wimg: u8,
}

/// W, I, M, G of real mode and of storage that nothing says otherwise of.
const WIMG_MEMORY: u8 = 0b0010;

/// One access on its way through the slow path.
#[derive(Clone, Copy)]
struct Request {
    ea: Ea,
    access: Access,
    pr: bool,
    hv: bool,
}

/// Where the page of a request was found.
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

impl Mmu {
    /// An MMU with everything invalid, all registers 0, and what most CPUs have
    /// ([`MmuFeatures::POWER8`]).
    ///
    /// # Errors
    /// [`GeometryError`] for a shape that cannot be built.
    pub fn new(geometry: &MmuGeometry) -> Result<Self, GeometryError> {
        Self::with_features(geometry, MmuFeatures::POWER8)
    }

    /// As [`Self::new`], with what a certain CPU has.
    ///
    /// # Errors
    /// [`GeometryError`] for a shape that cannot be built.
    pub fn with_features(
        geometry: &MmuGeometry,
        features: MmuFeatures,
    ) -> Result<Self, GeometryError> {
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
            registers: Registers::default(),
            choices: Choices::default(),
            deviations: Deviations::default(),
            features,
        })
    }

    /// What the CPU has.
    pub const fn features(&self) -> &MmuFeatures {
        &self.features
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
        let fetch = matches!(access, Access::Fetch);
        let ea = state.cut(ea);
        let relocated = if fetch { state.ir } else { state.dr };
        if !relocated && state.hv && self.registers.hrmor == 0 {
            return Ok(Ra::new(ea.get() & (u64::MAX >> 4)));
        }
        if relocated && self.registers.keys.allow_all() {
            let erat = self.erat_of(access);
            if let Some(slot) = erat.find(ea)
                && let Some((vpn, page)) = erat.permitted(slot, state.pr, access)
            {
                probe.walk(&Walk {
                    vpn: Some(vpn),
                    erat_hit: true,
                    ..Walk::new(ea)
                });
                return Ok(Ra::new(page.get() | ea.get() & 0xfff));
            }
        }
        self.translate_with_attributes(memory, hpt, ea, access, state, probe)
            .map(|t| t.ra)
    }

    /// As [`Self::translate`], and tells the storage attributes too.
    ///
    /// # Errors
    /// [`Fault`].
    #[inline(never)]
    pub fn translate_with_attributes<P: Probe>(
        &mut self,
        memory: &GuestMemory,
        hpt: &Hpt,
        ea: Ea,
        access: Access,
        state: AccessState,
        probe: &mut P,
    ) -> Result<Translation, Fault> {
        let ea = state.cut(ea);
        let request = Request {
            ea,
            access,
            pr: state.pr,
            hv: state.hv,
        };
        let relocated = match access {
            Access::Fetch => state.ir,
            Access::Load | Access::Store => state.dr,
        };
        let mut walk = Walk::new(ea);
        let result = if relocated {
            let result = self.translate_slow(memory, hpt, request, &mut walk);
            let to_hypervisor = !state.hv && self.registers.lpcr.0 & Lpcr::VPM1 != 0;
            if to_hypervisor {
                result.map_err(Fault::to_hypervisor)
            } else {
                result
            }
        } else {
            match self.real(ea, access, state)? {
                Real::Address(ra) => {
                    let wimg = WIMG_MEMORY;
                    return Ok(Translation { ra, wimg });
                }
                Real::Vrma(segment) => self
                    .through_segment(memory, hpt, request, &segment, 0, &mut walk)
                    .map(|found| found.at(ea))
                    .map_err(Fault::to_hypervisor),
            }
        };
        probe.walk(&walk);
        result
    }

    /// Relocated: the ERAT, then the segment and what it leads to.
    fn translate_slow(
        &mut self,
        memory: &GuestMemory,
        hpt: &Hpt,
        q: Request,
        walk: &mut Walk,
    ) -> Result<Translation, Fault> {
        if let Some(result) = self.found_in_erat(q, walk) {
            return result;
        }
        let (mut segment, or) = match self.slb.search(q.ea, &self.choices) {
            SlbSearch::Hit(segment, or) => (segment, or),
            SlbSearch::Miss => return Err(Fault::no_segment(q.ea, q.access)),
            SlbSearch::Multihit => return Err(Fault::SlbMultihit { dar: q.ea }),
        };
        walk.slb_hit = true;
        let isl = self.registers.lpcr.0 & Lpcr::ISL != 0;
        if isl && (!q.hv || self.deviations.isl_in_hypervisor_state) {
            segment.page = PageSize::P4K;
        }
        let found = self.through_segment(memory, hpt, q, &segment, or, walk)?;
        let translation = found.at(q.ea);
        let entry = EratEntry {
            ea: q.ea,
            ra: translation.ra,
            vpn: Vpn::from_ea(segment.vsid, q.ea, segment.segment),
            segment: segment.segment,
            base: segment.page,
            actual: found.actual,
            class: segment.class,
            ks: segment.ks,
            kp: segment.kp,
            n: segment.n,
            r: found.r,
        };
        self.erat_of(q.access).insert(entry);
        Ok(translation)
    }

    #[inline(always)]
    fn erat_of(&mut self, access: Access) -> &mut Erat {
        match access {
            Access::Fetch => &mut self.ierat,
            Access::Load | Access::Store => &mut self.erat,
        }
    }

    /// The answer of the ERAT; `None` if it lacks the page, or a store finds C=0 there and goes back
    /// to the table.
    fn found_in_erat(&mut self, q: Request, walk: &mut Walk) -> Option<Result<Translation, Fault>> {
        let keys = self.registers.keys;
        let erat = self.erat_of(q.access);
        let slot = erat.find(q.ea)?;
        let e = *erat.entry(slot);
        walk.vpn = Some(e.vpn);
        let key = if q.pr { e.kp } else { e.ks };
        if let Err(denied) = check(e.r, key, e.n, q.access, &keys) {
            walk.erat_hit = true;
            return Some(Err(Fault::denied(q.ea, q.access, denied)));
        }
        if q.access == Access::Store && !e.r.c() {
            erat.clear(slot);
            return None;
        }
        walk.erat_hit = true;
        erat.touch(slot);
        let ra = Ra::new(e.ra.get() | q.ea.get() & 0xfff);
        let wimg = e.r.wimg();
        Some(Ok(Translation { ra, wimg }))
    }

    /// What a segment leads to: the TLB, then the table.
    fn through_segment(
        &mut self,
        memory: &GuestMemory,
        hpt: &Hpt,
        q: Request,
        segment: &SlbEntry,
        or: u64,
        walk: &mut Walk,
    ) -> Result<Found, Fault> {
        let vpn = Vpn::from_ea(segment.vsid, q.ea, segment.segment);
        walk.vpn = Some(vpn);
        if q.access == Access::Fetch && segment.n {
            return Err(Fault::denied(q.ea, q.access, Denied::NO_EXECUTE));
        }
        match self.found_in_tlb(q, segment, vpn, walk)? {
            Some(found) => Ok(found),
            None => self.found_in_table(memory, hpt, q, segment, or, walk),
        }
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
        check(e.r, key, segment.n, q.access, &self.registers.keys).map_err(|d| {
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
        or: u64,
        walk: &mut Walk,
    ) -> Result<Found, Fault> {
        let machine_check = |error| Fault::MachineCheck { dar: q.ea, error };
        let vpn = Vpn::from_ea(segment.vsid, q.ea, segment.segment);
        let rules = Rules {
            sizes: self.features.page_sizes,
            avpn_low_bits: self.choices.avpn_low_bits,
            rpn_low_bits: self.choices.rpn_low_bits,
            or,
        };
        let found = search(memory, hpt, q.ea, segment, &rules, walk).map_err(machine_check)?;
        let Some((hpte_ra, hpte, actual)) = found else {
            self.forget(vpn, segment);
            return Err(Fault::no_page(q.ea, q.access));
        };
        let key = if q.pr { segment.kp } else { segment.ks };
        check(hpte.r, key, segment.n, q.access, &self.registers.keys)
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
