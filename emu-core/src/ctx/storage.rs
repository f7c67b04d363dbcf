//! What verbs of host-written guest code and interpreted instructions do alike when they reach memory.
//!
//! Owns translation with its charge, and who hears of a store. Refuses to resolve a fault.

use super::charge;
use crate::cpu::Cpu;
use crate::exception::Step;
use crate::machine::Machine;
use crate::probe::{Event, Interest};
use emu_mmu::{Access, AccessState, Ea, Fault, MemoryError, Probe, Ra, Walk};

/// Charges what a walk did to the CPU it happened on.
struct WalkCharge {
    walk: Option<Walk>,
}

impl Probe for WalkCharge {
    #[inline]
    fn walk(&mut self, walk: &Walk) {
        if !walk.erat_hit {
            self.walk = Some(*walk);
        }
    }
}

/// Translates one access on a CPU and charges what the ERAT could not serve.
pub(crate) fn translate(
    machine: &Machine,
    cpu: &mut Cpu,
    ea: Ea,
    access: Access,
    state: AccessState,
) -> Result<Ra, Fault> {
    let mut charge = WalkCharge { walk: None };
    let (memory, hpt) = (&machine.memory, &machine.hpt);
    let result = (cpu.mmu).translate(memory, hpt, ea, access, state, &mut charge);
    if let Some(walk) = charge.walk {
        charge::walk(machine, cpu, &walk);
    }
    result
}

/// Tells which translation served an access.
#[cold]
pub(crate) fn note_translation(machine: &Machine, cpu: &mut Cpu, ea: Ea, ra: Ra, access: Access) {
    let page = cpu.mmu.slb.lookup(ea).map(|(_, entry)| {
        let vpn = emu_mmu::Vpn::from_ea(entry.vsid, ea, entry.segment);
        (vpn, entry.segment)
    });
    let store = access == Access::Store;
    machine.note(cpu, Interest::TRANSLATIONS, || Event::Translated {
        ea,
        page,
        ra,
        store,
    });
}

/// Stores a doubleword and tells of the access and of the store.
pub(crate) fn store_told(
    machine: &Machine,
    cpu: &Cpu,
    ra: Ra,
    value: u64,
    step: Step,
) -> Result<(), MemoryError> {
    machine.note(cpu, Interest::ACCESSES, || Event::Access {
        ra,
        store: true,
        step,
    });
    store_heard(machine, cpu, ra, value, step)
}

/// Stores a doubleword and tells of the store those who want to hear of it there.
pub(crate) fn store_heard(
    machine: &Machine,
    cpu: &Cpu,
    ra: Ra,
    value: u64,
    step: Step,
) -> Result<(), MemoryError> {
    let of_table = machine.wants(Interest::TABLE_STORES) && machine.hpt.contains(ra);
    if of_table || machine.watches(ra) {
        let old = machine.memory.load_u64(ra)?;
        machine.memory.store_u64(ra, value)?;
        match of_table {
            true => note_table_store(machine, cpu, ra, (old, value), step),
            false => note_watched(machine, cpu, ra, (old, value), step),
        }
        return Ok(());
    }
    machine.memory.store_u64(ra, value)
}

/// Tells that a store-conditional replaced a doubleword.
pub(crate) fn note_replaced(machine: &Machine, cpu: &Cpu, ra: Ra, values: (u64, u64), step: Step) {
    if machine.hpt.contains(ra) {
        note_table_store(machine, cpu, ra, values, step);
    }
    if machine.watches(ra) {
        note_watched(machine, cpu, ra, values, step);
    }
}

fn note_table_store(machine: &Machine, cpu: &Cpu, ra: Ra, (old, new): (u64, u64), step: Step) {
    machine.note(cpu, Interest::TABLE_STORES, || Event::TableStore {
        ra,
        old,
        new,
        step,
    });
}

#[cold]
fn note_watched(machine: &Machine, cpu: &Cpu, ra: Ra, (old, new): (u64, u64), step: Step) {
    machine.note(cpu, Interest::WATCHED_STORES, || Event::WatchedStore {
        ra,
        old,
        new,
        step,
    });
}
