//! Effective to real address: one CPU's SLB, ERATs and TLB, the walk of the table, protection, and
//! the R and C bits.
//!
//! Owns the order of all these (Power ISA 2.07 Book III-S 5.7). Refuses time: a [`Probe`] hears
//! what happened and charges for it, and interrupts: a [`Fault`] says what is to be delivered.

mod explain;
mod features;
mod lookaside;
mod real;
mod refill;
mod slow;
mod state;
mod table;
mod walk_memory;

use crate::addr::{Ea, Ra};
use crate::choices::{Choices, Deviations};
use crate::erat::Erat;
use crate::fault::Fault;
use crate::hpt::Hpt;
use crate::protect::Access;
use crate::registers::Registers;
use crate::replace::GeometryError;
use crate::slb::Slb;
use crate::tlb::Tlb;

pub use explain::{EntryVerdict, Explanation, GroupExplained, SearchExplained};
pub use features::{GuestRealMode, MmuFeatures};
use refill::Refilled;
use slow::Slow;
pub use state::{AccessState, MmuGeometry, Probe, RcStep, Walk};
pub use walk_memory::WalkMemory;

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
    /// Invalidations by address that took another page's translation along: legal, and lost work.
    pub over_invalidated: u64,
    features: MmuFeatures,
}

/// Where an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Translation {
    /// The real address.
    pub ra: Ra,
    /// W, I, M and G as four bits; M alone in real mode.
    pub wimg: u8,
}

/// W, I, M, G of real mode and of storage that nothing says otherwise of.
const WIMG_MEMORY: u8 = 0b0010;

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
            over_invalidated: 0,
            features,
        })
    }

    /// Takes over the state of another MMU, in the memory of this one: what `clone` gives, sooner.
    pub fn copy_from(&mut self, other: &Self) {
        self.slb.copy_from(&other.slb);
        self.erat.copy_from(&other.erat);
        self.ierat.copy_from(&other.ierat);
        self.tlb.copy_from(&other.tlb);
        self.registers = other.registers;
        (self.choices, self.deviations) = (other.choices, other.deviations);
        (self.over_invalidated, self.features) = (other.over_invalidated, other.features);
    }

    /// What the CPU has.
    pub const fn features(&self) -> &MmuFeatures {
        &self.features
    }

    /// Switches the host's short way to an ERAT hit off or on. Nothing that can be observed changes
    /// but the host's time; it is on.
    pub fn set_quick_hits(&mut self, enabled: bool) {
        self.erat.enable_rows(enabled);
        self.ierat.enable_rows(enabled);
    }

    /// The real address of a load or store in a relocated 64-bit mode that hits the ERAT and needs
    /// nothing more: what [`Self::translate`] does first, without a probe. `None` says nothing.
    #[inline(always)]
    pub fn quick_hit(&mut self, ea: Ea, access: Access, state: AccessState) -> Option<Ra> {
        let plain = state.dr && state.sf && self.registers.keys.allow_all();
        if !plain || matches!(access, Access::Fetch) {
            return None;
        }
        let store = matches!(access, Access::Store);
        self.erat.quick(ea, state.pr, store)
    }

    /// [`Self::quick_hit`] of a load, or a store, in [`AccessState::kernel`] while no class key forbids anything:
    /// for a caller that has seen to both before.
    #[inline(always)]
    pub fn quick_kernel_hit(&mut self, ea: Ea, store: bool) -> Option<Ra> {
        self.erat.quick(ea, false, store)
    }

    /// Translates one access: the real address, or the fault. The access must not cross a 4 KB
    /// boundary.
    ///
    /// # Errors
    /// [`Fault`], with the cause bits of Power ISA 2.07 Book III-S 6.5.
    #[inline]
    pub fn translate<M: WalkMemory, P: Probe>(
        &mut self,
        memory: &M,
        hpt: &Hpt,
        ea: Ea,
        access: Access,
        state: AccessState,
        probe: &mut P,
    ) -> Result<Ra, Fault> {
        let data = !matches!(access, Access::Fetch);
        if data && state.dr && state.sf && self.registers.keys.allow_all() {
            return self.translate_data(memory, hpt, ea, access, state, probe);
        }
        let ea = state.cut(ea);
        let relocated = if data { state.dr } else { state.ir };
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

    /// A relocated load or store in 64-bit mode, while no class key forbids anything.
    #[inline(always)]
    fn translate_data<M: WalkMemory, P: Probe>(
        &mut self,
        memory: &M,
        hpt: &Hpt,
        ea: Ea,
        access: Access,
        state: AccessState,
        probe: &mut P,
    ) -> Result<Ra, Fault> {
        match self.erat.find(ea) {
            Some(slot) => {
                if let Some((vpn, page)) = self.erat.permitted(slot, state.pr, access) {
                    probe.walk(&Walk {
                        vpn: Some(vpn),
                        erat_hit: true,
                        ..Walk::new(ea)
                    });
                    return Ok(Ra::new(page.get() | ea.get() & 0xfff));
                }
            }
            None => match self.refill(ea, access, state, probe) {
                Refilled::Served(ra) => return Ok(ra),
                Refilled::Unknown(segment, vpn) => {
                    let (at, page) = ((ea, access, state), (&segment, vpn));
                    return self.walk_table((memory, hpt), at, page, probe);
                }
                Refilled::Long => {}
            },
        }
        self.translate_with_attributes(memory, hpt, ea, access, state, probe)
            .map(|t| t.ra)
    }

    /// As [`Self::translate`], and tells the storage attributes too.
    ///
    /// # Errors
    /// [`Fault`].
    #[inline(never)]
    pub fn translate_with_attributes<M: WalkMemory, P: Probe>(
        &mut self,
        memory: &M,
        hpt: &Hpt,
        ea: Ea,
        access: Access,
        state: AccessState,
        probe: &mut P,
    ) -> Result<Translation, Fault> {
        Slow {
            ea: state.cut(ea),
            walk: Walk::new(state.cut(ea)),
            unserved: false,
            mmu: self,
            memory,
            hpt,
            access,
            state,
            probe,
        }
        .translate()
    }

    #[inline(always)]
    fn erat_of(&mut self, access: Access) -> &mut Erat {
        match access {
            Access::Fetch => &mut self.ierat,
            Access::Load | Access::Store => &mut self.erat,
        }
    }
}

#[cfg(test)]
mod quick_tests;
#[cfg(test)]
mod tests;
