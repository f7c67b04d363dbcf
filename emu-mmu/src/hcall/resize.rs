//! H_RESIZE_HPT_PREPARE and H_RESIZE_HPT_COMMIT: another table of another size for the guest.
//!
//! Owns the order of the two calls and their answers. Refuses to find memory for the table, to stop the
//! guest's other CPUs, and to empty TLBs afterwards: the caller does.

use super::{Answer, HcallError, Hypervisor};
use crate::addr::{HpteIndex, Ra};
use crate::hpt::{Hpt, Keep, Rehashed, ResizeError};
use crate::hpte::Hpte;
use crate::memory::{GuestMemory, MemoryError};

/// Groups that one H_RESIZE_HPT_PREPARE empties before it answers.
pub const PREPARE_GROUPS_MAX: u64 = 1 << 14;

/// The next table, as far as it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    hpt: Hpt,
    groups_ready: u64,
}

impl Prepared {
    fn shift(&self) -> u64 {
        u64::from(self.hpt.groups_log2()) + 7
    }
}

/// log2 of the bytes of the largest table for a guest: four 128ths of its memory (a 128th rounded up
/// and twice that, as QEMU 7.2 hw/ppc/spapr allows).
fn shift_max(memory_bytes: u64) -> u64 {
    let memory = memory_bytes.checked_next_power_of_two();
    let memory_log2 = memory.map_or(64, |bytes| u64::from(bytes.trailing_zeros()));
    memory_log2.saturating_sub(7).clamp(18, 46) + 1
}

impl Hypervisor {
    /// H_RESIZE_HPT_PREPARE: makes an empty table of 2^`shift` bytes beside the one in use, a part of
    /// it at each call. `place` gives memory of so many bytes, aligned to its size. Another `shift`
    /// than before starts anew; 0 gives up what was prepared.
    ///
    /// # Errors
    /// [`MemoryError`]; H_LONG_BUSY_ORDER_1_MSEC until all of it is empty, H_PARAMETER for a flag or a
    /// size outside 2^18 to 2^46, H_RESOURCE for a table past what the guest's memory is worth,
    /// H_NO_MEM if `place` has none that is aligned, inside `memory` and beside the table in use.
    pub fn resize_prepare(
        &mut self,
        memory: &GuestMemory,
        flags: u64,
        shift: u64,
        place: impl FnOnce(u64) -> Option<Ra>,
    ) -> Answer<(), MemoryError> {
        if flags != 0 || shift != 0 && !(18..=46).contains(&shift) {
            return Ok(Err(HcallError::Parameter));
        }
        let begun = self.prepared.filter(|p| p.shift() == shift);
        self.prepared = begun;
        if shift == 0 {
            return Ok(Ok(()));
        }
        if shift > shift_max(self.memory_bytes) {
            return Ok(Err(HcallError::Resource));
        }
        let fits = |hpt: &Hpt| {
            let end = hpt.base().checked_add(hpt.size_bytes());
            let apart = !self.hpt.contains(hpt.base()) && !hpt.contains(self.hpt.base());
            apart && end.is_some_and(|end| end.get() <= memory.len())
        };
        let make = || {
            let base = place(1 << shift)?;
            let hpt = Hpt::new(base, (shift - 7) as u8).ok()?;
            fits(&hpt).then_some(Prepared {
                hpt: hpt.with_format(self.hpt.format()),
                groups_ready: 0,
            })
        };
        let Some(mut next) = begun.or_else(make) else {
            return Ok(Err(HcallError::NoMemory));
        };
        let end = next
            .hpt
            .groups()
            .min(next.groups_ready + PREPARE_GROUPS_MAX);
        for index in next.groups_ready * 8..end * 8 {
            if memory.load_u64(next.hpt.hpte_ra(HpteIndex(index)))? != 0 {
                next.hpt.put(memory, index, Hpte::default())?;
            }
        }
        next.groups_ready = end;
        self.prepared = Some(next);
        let done = end == next.hpt.groups();
        Ok(if done {
            Ok(())
        } else {
            Err(HcallError::LongBusy)
        })
    }

    /// H_RESIZE_HPT_COMMIT: moves the bolted entries into the prepared table, which is the guest's from
    /// then on; the others come back by faults. Nothing may use either table meanwhile, and no TLB may
    /// hold translations of the old one afterwards.
    ///
    /// # Errors
    /// [`MemoryError`]; H_PARAMETER for a flag, H_CLOSED if no table of this size was prepared, H_BUSY
    /// if it is not ready, H_PTEG_FULL if a bolted entry has no room: what was prepared is given up,
    /// and the old table stays.
    pub fn resize_commit(
        &mut self,
        memory: &GuestMemory,
        flags: u64,
        shift: u64,
    ) -> Answer<Rehashed, MemoryError> {
        if flags != 0 {
            return Ok(Err(HcallError::Parameter));
        }
        let Some(next) = self.prepared.filter(|p| p.shift() == shift) else {
            return Ok(Err(HcallError::Closed));
        };
        if next.groups_ready < next.hpt.groups() {
            return Ok(Err(HcallError::Busy));
        }
        self.prepared = None;
        match self.hpt.rehash(memory, &next.hpt, Keep::Bolted) {
            Ok(rehashed) => {
                self.hpt = next.hpt;
                Ok(Ok(rehashed))
            }
            Err(ResizeError::BoltedFull { .. }) => Ok(Err(HcallError::PtegFull)),
            Err(ResizeError::Memory(error)) => Err(error),
            // Not reached: such a table was refused before. Nothing is lost by saying no again.
            Err(ResizeError::Overlap) => Ok(Err(HcallError::NoMemory)),
        }
    }
}
