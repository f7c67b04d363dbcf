//! Real mode: the address without the SLB, and for a guest the area it is given.

use super::features::GuestRealMode;
use super::{AccessState, Mmu};
use crate::addr::{Ea, PageSize, Ra, SegmentSize, Vsid};
use crate::fault::{CAUSE_PROTECTION, CAUSE_STORE, Fault};
use crate::protect::Access;
use crate::registers::Lpcr;
use crate::slb::SlbEntry;

/// EA bits 4:63.
const REAL_MASK: u64 = u64::MAX >> 4;
/// The VSID of the VRMA, a 1 TB segment (Power ISA 2.07 Book III-S 5.7.3.4).
const VRMA_VSID: Vsid = Vsid::new(0x1FF_FFFF);

/// Where a real mode address leads.
pub(super) enum Real {
    /// To memory.
    Address(Ra),
    /// Into the table, through this segment.
    Vrma(SlbEntry),
}

impl Mmu {
    /// Power ISA 2.07 Book III-S 5.7.3: HRMOR for the hypervisor; RMLS and RMOR, or the VRMA, for a
    /// guest.
    #[inline]
    pub(super) fn real(&self, ea: Ea, access: Access, state: AccessState) -> Result<Real, Fault> {
        let real = ea.get() & REAL_MASK;
        if state.hv || self.features.guest_real_mode == GuestRealMode::None {
            let base = if ea.get() >> 63 == 0 {
                self.registers.hrmor
            } else {
                0
            };
            return Ok(Real::Address(Ra::new(real | base)));
        }
        let lpcr = self.registers.lpcr;
        let page = match self.features.guest_real_mode {
            GuestRealMode::Vrma => Some(self.registers.vrma_ps),
            _ if lpcr.0 & Lpcr::VPM0 != 0 => lpcr.vrma_page(),
            _ => {
                if real >= lpcr.rmls_limit() {
                    return Err(limit_exceeded(ea, access));
                }
                return Ok(Real::Address(Ra::new(real | self.registers.rmor)));
            }
        };
        match page {
            Some(page) => Ok(Real::Vrma(vrma(page))),
            None => Err(Fault::no_page(ea, access)),
        }
    }
}

/// The segment of the VRMA: EA bits 0:23 do not count, and key 0 is used in every state.
const fn vrma(page: PageSize) -> SlbEntry {
    SlbEntry {
        esid: Ea::new(0).esid(SegmentSize::S1T),
        vsid: VRMA_VSID,
        segment: SegmentSize::S1T,
        ks: false,
        kp: false,
        n: false,
        class: false,
        page,
        valid: true,
    }
}

/// A guest's real address at or past its limit: a protection violation.
const fn limit_exceeded(ea: Ea, access: Access) -> Fault {
    match access {
        Access::Fetch => Fault::InstructionStorage {
            ea,
            srr1: CAUSE_PROTECTION,
        },
        Access::Load => Fault::DataStorage {
            dar: ea,
            dsisr: CAUSE_PROTECTION,
        },
        Access::Store => Fault::DataStorage {
            dar: ea,
            dsisr: CAUSE_PROTECTION | CAUSE_STORE,
        },
    }
}
