//! The storage access of one instruction: how many bytes, whether it must be aligned, what it counts
//! as, and what happens over a page boundary.
//!
//! Owns the order of these round [`Mmu::translate`] (Power ISA 2.07 Book II 3.2 and 4.3, Book III-S
//! 5.7.9 and 6.5.8). Refuses to move data: it gives real addresses.

use crate::addr::{Ea, Ra};
use crate::choices::LarxUncached;
use crate::fault::{CAUSE_STORAGE_CLASS, CAUSE_STORE, Fault};
use crate::hpt::Hpt;
use crate::protect::Access;
use crate::translate::{AccessState, Mmu, Probe, Translation, WalkMemory};

/// What an instruction does to storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Storage {
    /// Fetches an instruction.
    Fetch,
    /// Loads this many bytes.
    Load(u8),
    /// Stores this many bytes.
    Store(u8),
    /// `larx` of this many bytes.
    LoadReserve(u8),
    /// `stcx.` of this many bytes that holds its reservation.
    StoreConditional(u8),
    /// `dcbz`: a store to a block of 128 bytes.
    Dcbz,
    /// `dcbst`, `dcbf`: a load.
    Dcbst,
    /// `icbi`: a load.
    Icbi,
    /// `dcbt`: a hint, which never faults; here it does nothing.
    Dcbt,
}

/// Bytes of a cache block (970 to POWER9).
const BLOCK_BYTES: u64 = 128;
/// Bytes of the granule over whose boundary an access is made in two parts.
const GRANULE_BYTES: u64 = 4096;
/// W and I in a WIMG value.
const WRITE_THROUGH_OR_INHIBITED: u8 = 0b1100;

impl Storage {
    /// What protection takes it for; `None` for a hint.
    pub const fn access(self) -> Option<Access> {
        match self {
            Self::Fetch => Some(Access::Fetch),
            Self::Load(_) | Self::LoadReserve(_) | Self::Dcbst | Self::Icbi => Some(Access::Load),
            Self::Store(_) | Self::StoreConditional(_) | Self::Dcbz => Some(Access::Store),
            Self::Dcbt => None,
        }
    }

    /// Bytes from the address on that it may touch; block operations touch the block.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Fetch => 4,
            Self::Load(n) | Self::Store(n) | Self::LoadReserve(n) | Self::StoreConditional(n) => {
                n as u64
            }
            Self::Dcbz => BLOCK_BYTES,
            Self::Dcbst | Self::Icbi | Self::Dcbt => 1,
        }
    }

    const fn must_be_aligned(self) -> bool {
        matches!(self, Self::LoadReserve(_) | Self::StoreConditional(_))
    }
}

/// Where an access went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Accessed {
    /// The real address of its first byte.
    pub ra: Ra,
    /// The real address of the first byte in the next page, if it has one.
    pub next_page: Option<Ra>,
}

impl Mmu {
    /// Translates what an instruction accesses, page by page; `None` for a hint. The first page's R
    /// and C stay set if the second one faults, as the architecture allows.
    ///
    /// # Errors
    /// The first [`Fault`]. `larx` and `stcx.` fault by alignment before translation; `dcbz` to W or
    /// I storage takes an alignment interrupt after it, and `larx` or `stcx.` there a data storage
    /// interrupt unless [`LarxUncached`] says otherwise.
    pub fn access<M: WalkMemory, P: Probe>(
        &mut self,
        memory: &M,
        hpt: &Hpt,
        ea: Ea,
        storage: Storage,
        state: AccessState,
        probe: &mut P,
    ) -> Result<Option<Accessed>, Fault> {
        let Some(access) = storage.access() else {
            return Ok(None);
        };
        let ea = match storage {
            Storage::Dcbz | Storage::Icbi => Ea::new(ea.get() & !(BLOCK_BYTES - 1)),
            _ => ea,
        };
        let ea = state.cut(ea);
        let bytes = storage.bytes();
        if storage.must_be_aligned() && ea.get() & (bytes - 1) != 0 {
            return Err(Fault::Alignment { dar: ea });
        }
        let first = self.translate_with_attributes(memory, hpt, ea, access, state, probe)?;
        self.storage_class(storage, ea, first)?;
        let to_boundary = GRANULE_BYTES - ea.get() % GRANULE_BYTES;
        let next_page = if bytes > to_boundary {
            let ea = state.cut(ea + to_boundary);
            let next = self.translate_with_attributes(memory, hpt, ea, access, state, probe)?;
            Some(next.ra)
        } else {
            None
        };
        let ra = first.ra;
        Ok(Some(Accessed { ra, next_page }))
    }

    /// Whether this storage allows this instruction.
    fn storage_class(&self, storage: Storage, ea: Ea, at: Translation) -> Result<(), Fault> {
        if at.wimg & WRITE_THROUGH_OR_INHIBITED == 0 {
            return Ok(());
        }
        let (dar, class) = (ea, CAUSE_STORAGE_CLASS);
        let performed = self.choices.larx_uncached == LarxUncached::Performed;
        match storage {
            Storage::Dcbz if !self.deviations.dcbz_uncached => Err(Fault::Alignment { dar }),
            Storage::LoadReserve(_) if !performed => Err(Fault::DataStorage { dar, dsisr: class }),
            Storage::StoreConditional(_) if !performed => {
                let dsisr = class | CAUSE_STORE;
                Err(Fault::DataStorage { dar, dsisr })
            }
            _ => Ok(()),
        }
    }
}
