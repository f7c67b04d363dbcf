//! What an access to memory costs.
//!
//! Owns the choice between one figure for each access and the caches, which a machine makes once. Refuses
//! the access itself.

use crate::cost::Category;
use crate::cpu::Cpu;
use crate::machine::Machine;
use crate::timing::SharedCaches;
use emu_mmu::{Ra, Walk};

/// A load.
#[inline(always)]
pub(crate) fn load(machine: &Machine, cpu: &mut Cpu, ra: Ra) {
    let (category, cycles) = match (&machine.caches, &mut cpu.caches) {
        (Some(shared), Some(own)) => shared.load(own, &machine.costs, ra),
        _ => (Category::LoadStore, machine.costs.load),
    };
    cpu.charge(category, cycles);
}

/// A store into the store queue; a line that this CPU has not to itself is waited for.
#[inline(always)]
pub(crate) fn store(machine: &Machine, cpu: &mut Cpu, ra: Ra) {
    cpu.charge(Category::LoadStore, machine.costs.store);
    line_to_oneself(machine, cpu, ra);
}

/// ldarx: a load by the reservation logic.
#[inline(always)]
pub(crate) fn load_reserve(machine: &Machine, cpu: &mut Cpu, ra: Ra) {
    cpu.charge(Category::Reservation, machine.costs.load_reserve);
    if let (Some(shared), Some(own)) = (&machine.caches, &mut cpu.caches) {
        let (category, cycles) = shared.load(own, &machine.costs, ra);
        if category != Category::LoadStore {
            cpu.charge(category, cycles);
        }
    }
}

/// stdcx., whether or not it stores.
#[inline(always)]
pub(crate) fn store_conditional(machine: &Machine, cpu: &mut Cpu, ra: Ra) {
    cpu.charge(Category::Reservation, machine.costs.store_conditional);
    line_to_oneself(machine, cpu, ra);
}

/// dcbz.
pub(crate) fn zero_line(machine: &Machine, cpu: &mut Cpu, ra: Ra) {
    cpu.charge(Category::LoadStore, machine.costs.store);
    if let (Some(shared), Some(own)) = (&machine.caches, &mut cpu.caches)
        && let Some((category, cycles)) = shared.make_zero(own, &machine.costs, ra)
    {
        cpu.charge(category, cycles);
    }
}

#[inline(always)]
fn line_to_oneself(machine: &Machine, cpu: &mut Cpu, ra: Ra) {
    if let (Some(shared), Some(own)) = (&machine.caches, &mut cpu.caches)
        && let Some((category, cycles)) = shared.store(own, &machine.costs, ra)
    {
        cpu.charge(category, cycles);
    }
}

/// What a translation did that the ERAT could not serve.
#[inline(always)]
pub(crate) fn walk(machine: &Machine, cpu: &mut Cpu, walk: &Walk) {
    let costs = &machine.costs;
    cpu.counters.erat_misses += 1;
    let mut cycles = costs.erat_miss;
    if !walk.tlb_hit && walk.groups_read > 0 {
        cpu.counters.walks += 1;
        cpu.counters.groups_read += u64::from(walk.groups_read);
        cycles += costs.walk + groups(machine, cpu, walk);
    }
    if walk.r_written || walk.c_written {
        cycles += costs.reference_change_update;
    }
    cpu.charge(Category::Translation, cycles);
}

/// Reading the groups of a walk, from L2 or beyond.
#[inline(always)]
fn groups(machine: &Machine, cpu: &mut Cpu, walk: &Walk) -> u64 {
    match &machine.caches {
        Some(shared) => groups_from(shared, machine, cpu, walk),
        None => 0,
    }
}

#[inline(never)]
fn groups_from(shared: &SharedCaches, machine: &Machine, cpu: &mut Cpu, walk: &Walk) -> u64 {
    let Some(own) = &mut cpu.caches else {
        return 0;
    };
    let (Some(vpn), Some((_, entry))) = (walk.vpn, cpu.mmu.slb.lookup(walk.ea)) else {
        return 0;
    };
    let hash = vpn.hash(entry.segment, entry.page);
    let hpt = &machine.hpt;
    let read = [hpt.primary(hash), hpt.secondary(hash)];
    let read = read.into_iter().take(usize::from(walk.groups_read));
    read.map(|group| shared.walk(own, &machine.costs, hpt.group_ra(group)))
        .sum()
}
