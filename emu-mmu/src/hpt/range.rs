//! Many entries at once, and the TLB sequences that follow (Linux 2.6.38 `native_flush_hash_range`;
//! Power ISA 2.07 Book III-S 5.10.1.2).

use super::{Barrier, CompareOrder, Hpt, TableAccess};
use crate::addr::HpteIndex;
use crate::hpte::HpteV;
use crate::invalidate::TlbInvalidate;

/// One entry to invalidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FlushEntry {
    /// Where it is.
    pub index: HpteIndex,
    /// What it must be.
    pub want: HpteV,
}

impl Hpt {
    /// Invalidates every slot that still holds what it should, in order, and returns how many did.
    /// The TLB sequence over all of them is the caller's next step.
    ///
    /// # Errors
    /// Those of the access; entries before the one that failed stay invalidated.
    pub fn flush_range<A: TableAccess>(
        &self,
        a: &mut A,
        entries: &[FlushEntry],
        compare: CompareOrder,
    ) -> Result<u32, A::Error> {
        let mut cleared = 0;
        for e in entries {
            cleared += u32::from(self.invalidate(a, e.index, e.want, compare)?);
        }
        Ok(cleared)
    }
}

/// The global sequence: ptesync; tlbie each; eieio; tlbsync; ptesync. On CPUs that allow one
/// sequence at a time (970) the caller holds the lock. The operands' `local` is ignored.
///
/// # Errors
/// Those of the access.
pub fn tlbie_sequence<A: TableAccess>(
    a: &mut A,
    operands: &[TlbInvalidate],
) -> Result<(), A::Error> {
    a.barrier(Barrier::Ptesync, "tlbie: ptesync before")?;
    for operand in operands {
        a.tlb_invalidate(
            TlbInvalidate {
                local: false,
                ..*operand
            },
            "tlbie: tlbie",
        )?;
    }
    a.barrier(Barrier::Eieio, "tlbie: eieio")?;
    a.barrier(Barrier::Tlbsync, "tlbie: tlbsync")?;
    a.barrier(Barrier::Ptesync, "tlbie: ptesync after")
}

/// The local sequence: ptesync; tlbiel each; ptesync. The operands' `local` is ignored.
///
/// # Errors
/// Those of the access.
pub fn tlbiel_sequence<A: TableAccess>(
    a: &mut A,
    operands: &[TlbInvalidate],
) -> Result<(), A::Error> {
    a.barrier(Barrier::Ptesync, "tlbiel: ptesync before")?;
    for operand in operands {
        a.tlb_invalidate(
            TlbInvalidate {
                local: true,
                ..*operand
            },
            "tlbiel: tlbiel",
        )?;
    }
    a.barrier(Barrier::Ptesync, "tlbiel: ptesync after")
}
