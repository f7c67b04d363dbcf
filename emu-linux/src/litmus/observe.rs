//! What can be seen when a run is over.
//!
//! Owns how each location is read. Memory is read as it lies, a TLB without using it.

use super::guest::Shared;
use super::place::{
    BITS, CPUS_MAX, OfTask, batch, batch_active, batch_index, ea, entry_frame, frame_number, group,
    of_task, pattern, pte, table, vpn,
};
use super::test::{Invariant, Location};
use emu_core::CpuId;
use emu_core::explore::Arena;
use emu_mmu::{GuestMemory, HpteIndex, HpteV, MemoryError, Ra, SegmentSize};

/// The values of a test's locations.
pub(super) fn observe(arena: &Arena, shared: &Shared) -> Result<Vec<u64>, MemoryError> {
    let locations = shared.test.locations.iter();
    locations.map(|(at, _)| value(arena, shared, *at)).collect()
}

fn value(arena: &Arena, shared: &Shared, at: Location) -> Result<u64, MemoryError> {
    let memory = arena.machine().memory();
    match at {
        Location::Register(task, number) => {
            memory.load_u64(of_task(task, OfTask::Register(number)))
        }
        Location::Word(at) => memory.load_u64(Ra::new(at)),
        Location::Pte(page) => {
            let value = memory.load_u64(pte(page))?;
            let present = value & BITS.present != 0;
            Ok(if present {
                frame_number(BITS.frame(value))
            } else {
                0
            })
        }
        Location::PteBits(page, bits) => Ok(u64::from(memory.load_u64(pte(page))? & bits == bits)),
        Location::Hpte(page) => match entries(memory, page)?.first() {
            Some(&(_, r)) => Ok(entry_frame(r)),
            None => Ok(0),
        },
        Location::HpteBits(page, second, mask, bits) => match entries(memory, page)?.first() {
            Some(&(v, r)) => Ok(u64::from(if second { r } else { v } & mask == bits)),
            None => Ok(0),
        },
        Location::Hptes(page) => Ok(entries(memory, page)?.len() as u64),
        Location::Tlb(cpu, page) => Ok(cached(arena, cpu, page)),
        Location::Batch(cpu) => memory.load_u64(batch_index(batch(cpu))),
        Location::Active(cpu) => memory.load_u64(batch_active(batch(cpu))),
        Location::PreemptCount(task) => memory.load_u64(of_task(task, OfTask::PreemptCount)),
        Location::Cpu(task) => memory.load_u64(of_task(task, OfTask::Cpu)),
        Location::Invariant(invariant) => Ok(u64::from(is_broken(memory, shared, invariant)?)),
    }
}

/// Both doublewords of each valid entry of a page, the primary group's first.
fn entries(memory: &GuestMemory, page: usize) -> Result<Vec<(u64, u64)>, MemoryError> {
    let mut found = Vec::new();
    for (index, secondary) in slots(page) {
        let at = table().hpte_ra(index);
        let v = memory.load_u64(at)?;
        if HpteV(v).matches(pattern(page)) && HpteV(v).is_secondary() == secondary {
            found.push((v, memory.load_u64(at + 8)?));
        }
    }
    Ok(found)
}

fn slots(page: usize) -> impl Iterator<Item = (HpteIndex, bool)> {
    [false, true].into_iter().flat_map(move |secondary| {
        let first = group(page, secondary).0 * 8;
        (first..first + 8).map(move |index| (HpteIndex(index), secondary))
    })
}

/// The frame that a CPU's ERAT, or else its TLB, has for a page.
fn cached(arena: &Arena, cpu: u16, page: usize) -> u64 {
    let Some(mmu) = arena.mmu(CpuId(cpu)) else {
        return 0;
    };
    if let Some(entry) = mmu.erat.peek(ea(page)) {
        return frame_number(entry.ra);
    }
    let entry = mmu.tlb.peek(vpn(page), SegmentSize::S256M);
    entry.map_or(0, |entry| entry_frame(entry.r.0))
}

fn is_broken(
    memory: &GuestMemory,
    shared: &Shared,
    invariant: Invariant,
) -> Result<bool, MemoryError> {
    let pages = 0..shared.test.init.pages.len();
    Ok(match invariant {
        Invariant::DuplicateHpte => shared.watch.lock().duplicate,
        Invariant::StaleTranslation => shared.watch.lock().stale,
        Invariant::StuckLock => {
            let mut locked = false;
            for page in pages {
                locked |= memory.load_u64(pte(page))? & BITS.busy != 0;
                for (index, _) in slots(page) {
                    locked |= HpteV(memory.load_u64(table().hpte_ra(index))?).is_locked();
                }
            }
            locked
        }
        Invariant::UnbalancedPreempt => {
            let mut counted = false;
            for task in 0..shared.test.tasks.len() {
                counted |= memory.load_u64(of_task(task, OfTask::PreemptCount))? != 0;
            }
            counted
        }
        Invariant::LostFlush => {
            let mut queued = false;
            for cpu in 0..CPUS_MAX {
                queued |= memory.load_u64(batch_index(batch(cpu)))? != 0;
            }
            queued
        }
    })
}
