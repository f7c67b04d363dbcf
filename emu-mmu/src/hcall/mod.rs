//! A hypervisor's calls on the hashed page table it owns (PAPR, "Hash Page Table hcalls"): the guest
//! names entries, the hypervisor changes them and does the TLB invalidation.
//!
//! Owns the calls' flags, return codes, words and step order. Refuses what is not the table's: who
//! may call, what entering the hypervisor costs, and page contents (`H_ZERO_PAGE` and the cache flags
//! of H_ENTER are refused with H_PARAMETER).
//!
//! Flags and codes are those of PAPR as Linux 6.1 arch/powerpc/include/asm/hvcall.h names them.

mod bulk;
mod entry;

use thiserror::Error;

use crate::addr::{HpteIndex, PageSize, Vpn};
use crate::hpt::{Barrier, Hpt, TableAccess};
use crate::hpte::{Hpte, HpteR, HpteV};
use crate::invalidate::TlbInvalidate;

pub use bulk::{BlockStatus, block_request, bulk_request};

/// H_ENTER: use exactly the slot named, not the first free one of its group.
pub const H_EXACT: u64 = 1 << 39;
/// H_READ: the four entries of the aligned block that holds the index.
pub const H_READ_4: u64 = 1 << 37;
/// H_REMOVE and H_PROTECT: only if doubleword 0 without its low seven bits equals the AVPN operand.
pub const H_AVPN: u64 = 1 << 31;
/// H_REMOVE: only if doubleword 0 has no bit of the AVPN operand.
pub const H_ANDCOND: u64 = 1 << 30;

/// H_BULK_REMOVE and H_BLOCK_REMOVE: the word asks for a removal.
pub const HBR_REQUEST: u64 = 0x4000_0000_0000_0000;
/// The word answers one.
pub const HBR_RESPONSE: u64 = 0x8000_0000_0000_0000;
/// No word after this one counts.
pub const HBR_END: u64 = 0xC000_0000_0000_0000;
/// H_BULK_REMOVE: as [`H_AVPN`].
pub const HBR_AVPN: u64 = 0x0200_0000_0000_0000;
/// H_BULK_REMOVE: as [`H_ANDCOND`].
pub const HBR_ANDCOND: u64 = 0x0100_0000_0000_0000;
/// Answer of H_BULK_REMOVE: no such entry.
pub const HBR_NOT_FOUND: u64 = 0x1000_0000_0000_0000;
/// Answer of H_BULK_REMOVE: the word itself was wrong.
pub const HBR_PARAMETER: u64 = 0x2000_0000_0000_0000;
/// Answer of H_BULK_REMOVE: R of the entry removed.
pub const HBR_R: u64 = 0x0800_0000_0000_0000;
/// Answer of H_BULK_REMOVE: C of the entry removed.
pub const HBR_C: u64 = 0x0400_0000_0000_0000;
/// H_BLOCK_REMOVE: as [`H_AVPN`], with the AVPN of the whole block.
pub const HBLKR_AVPN: u64 = 0x0100_0000_0000_0000;
/// Bits of an answer of H_BLOCK_REMOVE.
pub const HBLKR_CTRL_MASK: u64 = 0xF800_0000_0000_0000;
/// Answer of H_BLOCK_REMOVE: removed.
pub const HBLKR_SUCCESS: u64 = 0x8000_0000_0000_0000;
/// Answer of H_BLOCK_REMOVE: no such entry.
pub const HBLKR_NOT_FOUND: u64 = 0x8800_0000_0000_0000;
/// Answer of H_BLOCK_REMOVE: the entry is being changed; ask again.
pub const HBLKR_BUSY: u64 = 0xA000_0000_0000_0000;

/// Translations in one H_BULK_REMOVE.
pub const BULK_ENTRIES_MAX: usize = 4;
/// Translations in one H_BLOCK_REMOVE, and pages in its block.
pub const BLOCK_ENTRIES_MAX: usize = 8;

/// The hypervisor's lock: a software bit of doubleword 0 that it keeps from the guest (the bit of
/// Linux 6.1 arch/powerpc/kvm, `HPTE_V_HVLOCK`).
const HV_LOCK: u64 = 0x40;
/// Software bits that a guest cannot set: the lock and its neighbour, as KVM and QEMU clear them.
const HV_BITS: u64 = 0x60;

/// A hypervisor call on the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Hcall {
    /// H_REMOVE.
    Remove,
    /// H_ENTER.
    Enter,
    /// H_READ.
    Read,
    /// H_PROTECT.
    Protect,
    /// H_BULK_REMOVE.
    BulkRemove,
    /// H_BLOCK_REMOVE.
    BlockRemove,
}

impl Hcall {
    /// Number of calls.
    pub const COUNT: usize = 6;
    /// All of them, by opcode.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Remove,
        Self::Enter,
        Self::Read,
        Self::Protect,
        Self::BulkRemove,
        Self::BlockRemove,
    ];

    /// The number in register 3.
    pub const fn opcode(self) -> u64 {
        match self {
            Self::Remove => 0x04,
            Self::Enter => 0x08,
            Self::Read => 0x0c,
            Self::Protect => 0x18,
            Self::BulkRemove => 0x124,
            Self::BlockRemove => 0x328,
        }
    }

    /// The name in PAPR.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Remove => "H_REMOVE",
            Self::Enter => "H_ENTER",
            Self::Read => "H_READ",
            Self::Protect => "H_PROTECT",
            Self::BulkRemove => "H_BULK_REMOVE",
            Self::BlockRemove => "H_BLOCK_REMOVE",
        }
    }
}

/// Return code of a call that did its work.
pub const H_SUCCESS: i64 = 0;
/// Return code of a call that did part of its work; the answers say which.
pub const H_PARTIAL: i64 = 5;

/// Why a call did not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum HcallError {
    /// An operand that is none: an index past the table, a flag the call lacks, a page size that does
    /// not exist, a real page that is not the guest's.
    #[error("H_PARAMETER")]
    Parameter,
    /// No free slot where one was asked for.
    #[error("H_PTEG_FULL")]
    PtegFull,
    /// The entry is not valid, or not the one that was meant.
    #[error("H_NOT_FOUND")]
    NotFound,
}

impl HcallError {
    /// The return code in register 3.
    pub const fn code(self) -> i64 {
        match self {
            Self::Parameter => -4,
            Self::PtegFull => -6,
            Self::NotFound => -7,
        }
    }
}

/// What a call gives: the access failed, or the hypervisor answered.
pub type Answer<T, E> = Result<Result<T, HcallError>, E>;

/// A hypervisor as the owner of one guest's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hypervisor {
    hpt: Hpt,
    memory_bytes: u64,
}

/// An entry whose V is cleared and whose lock is held, until the TLBs have forgotten it.
#[derive(Clone, Copy, Debug)]
struct Cleared {
    index: HpteIndex,
    v: HpteV,
    operand: TlbInvalidate,
}

impl Hypervisor {
    /// The owner of `hpt`, whose guest has the real addresses below `memory_bytes`.
    pub const fn new(hpt: Hpt, memory_bytes: u64) -> Self {
        Self { hpt, memory_bytes }
    }

    /// The table.
    pub const fn hpt(&self) -> &Hpt {
        &self.hpt
    }

    const fn has(&self, index: HpteIndex) -> bool {
        index.0 < self.hpt.groups() * 8
    }

    /// The translation in an entry. The AVPN lacks the low page number bits of small pages; the group
    /// it is in gives them back, for they went into the hash unshifted.
    fn page_in(&self, index: HpteIndex, hpte: Hpte) -> Option<TlbInvalidate> {
        let (base, actual) = sizes(hpte)?;
        let segment = hpte.v.segment()?;
        let known = Vpn::new(hpte.v.avpn() << 11);
        let group = if hpte.v.is_secondary() {
            !index.group().0
        } else {
            index.group().0
        };
        let missing_bits = 23_u32.saturating_sub(base.shift());
        let missing = (group ^ known.hash(segment, base)) & ((1 << missing_bits) - 1);
        let vpn = Vpn::new(known.get() | (missing << (base.shift() - 12)));
        Some(TlbInvalidate {
            vpn,
            segment,
            base,
            actual,
            local: false,
        })
    }

    /// Takes the lock of an entry, or `None` if another has it. Gives V without the lock bit.
    fn try_lock<A: TableAccess>(
        &self,
        a: &mut A,
        index: HpteIndex,
    ) -> Result<Option<HpteV>, A::Error> {
        let ra = self.hpt.hpte_ra(index);
        loop {
            let v = a.load(ra, "hypervisor: load V")?;
            if v & HV_LOCK != 0 {
                return Ok(None);
            }
            if a.compare_exchange(ra, v, v | HV_LOCK, "hypervisor: lock entry")? {
                a.barrier(Barrier::Isync, "hypervisor: acquire")?;
                return Ok(Some(HpteV(v)));
            }
        }
    }

    /// Takes the lock of an entry; the caller holds no other.
    fn lock<A: TableAccess>(&self, a: &mut A, index: HpteIndex) -> Result<HpteV, A::Error> {
        loop {
            if let Some(v) = self.try_lock(a, index)? {
                return Ok(v);
            }
            a.spin("hypervisor: spin")?;
        }
    }

    /// Gives the lock back: nobody else writes V meanwhile.
    fn unlock<A: TableAccess>(
        &self,
        a: &mut A,
        index: HpteIndex,
        v: HpteV,
    ) -> Result<(), A::Error> {
        a.barrier(Barrier::Lwsync, "hypervisor: release")?;
        a.store(self.hpt.hpte_ra(index), v.0, "hypervisor: unlock entry")
    }
}

/// Base and actual page size of an entry; every code of L and LP names one pair.
fn sizes(hpte: Hpte) -> Option<(PageSize, PageSize)> {
    PageSize::ALL
        .into_iter()
        .find_map(|base| Some((base, hpte.actual(base)?)))
}

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
