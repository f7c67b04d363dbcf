//! A hypervisor's calls on the hashed page table it owns (PAPR, "Hash Page Table hcalls"): the guest
//! names entries, the hypervisor changes them and does the TLB invalidation.
//!
//! Owns the calls' step order and their answers, as typed methods and by register
//! ([`Hypervisor::dispatch`]). Refuses what is not the table's: who may call, what entering the
//! hypervisor costs, and page states (the flags of cooperative memory over-commitment give
//! H_PARAMETER, as from a platform without it).

mod bulk;
mod codes;
mod dispatch;
mod entry;
mod page;
mod reference;
mod resize;

use crate::addr::{HpteIndex, PageSize, Vpn};
use crate::hpt::{Barrier, Hpt, TableAccess};
use crate::hpte::{Hpte, HpteR, HpteV};
use crate::invalidate::TlbInvalidate;

pub use bulk::{BlockStatus, block_request, bulk_request};
pub use codes::*;
pub use dispatch::CallRegisters;
pub use resize::PREPARE_GROUPS_MAX;

/// The hypervisor's lock: a software bit of doubleword 0 that it keeps from the guest (the bit of
/// Linux 6.1 arch/powerpc/kvm, `HPTE_V_HVLOCK`).
const HV_LOCK: u64 = 0x40;
/// Software bits that a guest cannot set: the lock and its neighbour, as KVM and QEMU clear them.
const HV_BITS: u64 = 0x60;

/// What a call gives: the access failed, or the hypervisor answered.
pub type Answer<T, E> = Result<Result<T, HcallError>, E>;

/// A hypervisor as the owner of one guest's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hypervisor {
    hpt: Hpt,
    memory_bytes: u64,
    prepared: Option<resize::Prepared>,
}

/// An entry whose V is cleared and whose lock is held, until the TLBs have forgotten it.
#[derive(Clone, Copy, Debug)]
struct Cleared {
    index: HpteIndex,
    /// Doubleword 0 as it lay in the table.
    dw0: u64,
    /// The same as the guest knows it.
    v: HpteV,
    operand: TlbInvalidate,
}

impl Hypervisor {
    /// The owner of `hpt`, whose guest has the real addresses below `memory_bytes`.
    pub const fn new(hpt: Hpt, memory_bytes: u64) -> Self {
        Self {
            hpt,
            memory_bytes,
            prepared: None,
        }
    }

    /// The table.
    pub const fn hpt(&self) -> &Hpt {
        &self.hpt
    }

    const fn has(&self, index: HpteIndex) -> bool {
        index.0 < self.hpt.groups() * 8
    }

    /// An entry of the table as the guest knows it: calls have the ISA 2.x layout on every CPU.
    fn guests(&self, dw0: u64, dw1: u64) -> Hpte {
        self.hpt.format().decode(dw0, dw1)
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

    /// Takes the lock of an entry, or `None` if another has it. Gives doubleword 0 without the lock
    /// bit.
    fn try_lock<A: TableAccess>(
        &self,
        a: &mut A,
        index: HpteIndex,
    ) -> Result<Option<u64>, A::Error> {
        let ra = self.hpt.hpte_ra(index);
        loop {
            let v = a.load(ra, "hypervisor: load V")?;
            if v & HV_LOCK != 0 {
                return Ok(None);
            }
            if a.compare_exchange(ra, v, v | HV_LOCK, "hypervisor: lock entry")? {
                a.barrier(Barrier::Isync, "hypervisor: acquire")?;
                return Ok(Some(v));
            }
        }
    }

    /// Takes the lock of an entry; the caller holds no other.
    fn lock<A: TableAccess>(&self, a: &mut A, index: HpteIndex) -> Result<u64, A::Error> {
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
        dw0: u64,
    ) -> Result<(), A::Error> {
        a.barrier(Barrier::Lwsync, "hypervisor: release")?;
        a.store(self.hpt.hpte_ra(index), dw0, "hypervisor: unlock entry")
    }
}

/// Base and actual page size of an entry; every code of L and LP names one pair.
fn sizes(hpte: Hpte) -> Option<(PageSize, PageSize)> {
    PageSize::ALL
        .into_iter()
        .find_map(|base| Some((base, hpte.actual(base)?)))
}

#[cfg(test)]
mod call_tests;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
