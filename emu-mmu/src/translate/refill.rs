//! What most misses of an ERAT are: a plain access to a segment that the SLB holds.
//!
//! Owns no step of its own: what is out of the ordinary goes the long way, before anything has changed.
//! With and without this every result and every counter is the same; a test holds them together.

use super::slow::Slow;
use super::{AccessState, Mmu, Probe, Walk, WalkMemory};
use crate::addr::{Ea, PageSize, Ra, Vpn};
use crate::erat::EratEntry;
use crate::fault::Fault;
use crate::hpt::Hpt;
use crate::hpte::HpteR;
use crate::protect::Access;
use crate::registers::Lpcr;
use crate::slb::SlbEntry;

/// Bits of LPCR with which a miss is out of the ordinary.
const LPCR_GUEST: u64 = Lpcr::ISL | Lpcr::VPM1;

/// Where an access goes on after it missed the ERAT.
pub(super) enum Refilled {
    /// The TLB had it, and now the ERAT has.
    Served(Ra),
    /// Neither the ERAT nor the TLB holds this page of this segment.
    Unknown(SlbEntry, Vpn),
    /// The long way; nothing has happened yet.
    Long,
}

/// The ERAT's entry for an address of a segment.
#[inline(always)]
pub(super) fn erat_entry(
    ea: Ea,
    (segment, vpn): (&SlbEntry, Vpn),
    (r, actual): (HpteR, PageSize),
) -> EratEntry {
    let ra = r.ra(actual).get() | ea.get() & (actual.bytes() - 1);
    EratEntry {
        ea: ea.align_down(PageSize::P4K),
        ra: Ra::new(ra).align_down(PageSize::P4K),
        vpn,
        segment: segment.segment,
        base: segment.page,
        actual,
        class: segment.class,
        ks: segment.ks,
        kp: segment.kp,
        n: segment.n,
        r,
    }
}

impl Mmu {
    /// Serves a relocated load or store that the ERAT lacks from the TLB. No class key forbids anything.
    #[inline(always)]
    pub(super) fn refill<P: Probe>(
        &mut self,
        ea: Ea,
        access: Access,
        state: AccessState,
        probe: &mut P,
    ) -> Refilled {
        let plain = self.registers.lpcr.0 & LPCR_GUEST == 0 && self.choices.are_default();
        if !plain || !self.erat.is_quick() {
            return Refilled::Long;
        }
        let Some(segment) = self.slb.at_hand(ea) else {
            return Refilled::Long;
        };
        let vpn = Vpn::from_ea(segment.vsid, ea, segment.segment);
        let Some(slot) = self.tlb.find(vpn, segment.segment) else {
            return Refilled::Unknown(*segment, vpn);
        };
        let held = self.tlb.entry(slot).filter(|e| e.base == segment.page);
        let Some((r, actual)) = held.map(|e| (e.r, e.actual)) else {
            return Refilled::Long;
        };
        let entry = erat_entry(ea, (segment, vpn), (r, actual));
        if !self.erat.insert_permitted(entry, state.pr, access) {
            return Refilled::Long;
        }
        self.tlb.touch(slot);
        probe.walk(&Walk {
            vpn: Some(vpn),
            slb_hit: true,
            tlb_hit: true,
            ..Walk::new(ea)
        });
        Refilled::Served(Ra::new(entry.ra.get() | ea.get() & 0xfff))
    }

    /// Serves an access from the table that [`Self::refill`] found neither ERAT nor TLB to hold.
    #[inline(never)]
    pub(super) fn walk_table<M: WalkMemory, P: Probe>(
        &mut self,
        (memory, hpt): (&M, &Hpt),
        (ea, access, state): (Ea, Access, AccessState),
        (segment, vpn): (&SlbEntry, Vpn),
        probe: &mut P,
    ) -> Result<Ra, Fault> {
        let mut slow = Slow {
            ea,
            walk: Walk {
                vpn: Some(vpn),
                slb_hit: true,
                ..Walk::new(ea)
            },
            unserved: false,
            mmu: self,
            memory,
            hpt,
            access,
            state,
            probe,
        };
        let result = slow.serve_from_table(segment, vpn);
        slow.probe.walk(&slow.walk);
        result
    }
}
