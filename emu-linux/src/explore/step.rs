//! One step of a recorded run: where, what it touched, and what could happen instead.
//!
//! Owns the record and what tells one run from another. Refuses to listen: `record` does.

use emu_core::explore::Turn;
use emu_core::{CpuId, Step};
use emu_mmu::Ra;

/// Doublewords that a step has room for.
const TOUCHES_MAX: usize = 3;

/// What a step touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Touches {
    /// Doublewords of memory, each with 1 added if it was stored to. A step is one access; the last of a storage
    /// interrupt's handler is told with the access that is made again.
    memory: [u64; TOUCHES_MAX],
    /// The place of each among all that were ever touched, when that was learnt.
    places: [u32; TOUCHES_MAX],
    count: u8,
    /// There were more: nobody may be without concern.
    pub more: bool,
    /// What hardware may read or change behind everybody's back: an entry of the hash table, a TLB, an
    /// address that they translate; or what the checkers follow: a PTE set, a page freed.
    pub mmu: bool,
    /// The number of the CPU: another one if the task is moved before.
    pub cpu_number: bool,
}

impl Touches {
    /// Addresses of the doublewords of memory, and whether each was stored to.
    #[inline]
    pub fn memory(&self) -> impl Iterator<Item = (u64, bool)> {
        let touched = &self.memory[..usize::from(self.count)];
        touched.iter().map(|at| (at & !7, at & 1 == 1))
    }

    /// The same, and each one's place to be learnt.
    #[inline]
    pub fn memory_mut(&mut self) -> impl Iterator<Item = (u64, bool, &mut u32)> {
        let touched = &self.memory[..usize::from(self.count)];
        let both = touched.iter().zip(&mut self.places);
        both.map(|(at, place)| (at & !7, at & 1 == 1, place))
    }

    /// Addresses of the doublewords of memory, and each one's place.
    #[inline]
    pub fn places(&self) -> impl Iterator<Item = (u64, u32)> {
        let touched = &self.memory[..usize::from(self.count)];
        let both = touched.iter().zip(self.places);
        both.map(|(at, place)| (at & !7, place))
    }

    pub fn add(&mut self, ra: Ra, store: bool) {
        match self.memory.get_mut(usize::from(self.count)) {
            Some(place) => {
                *place = ra.get() & !7 | u64::from(store);
                self.count += 1;
            }
            None => self.more = true,
        }
    }
}

/// One step of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepRecord {
    /// Its number, from 1.
    pub step: u64,
    pub cpu: CpuId,
    /// The task, by the address of its stack.
    pub task: u64,
    /// Interrupts that the task is in the midst of.
    pub depth: u32,
    /// CPUs with an interrupt that has yet to land, a bit each.
    pub interrupted: u64,
    /// The kernel step it is, if it is one with a name.
    pub label: Option<Step>,
    /// What it touched.
    pub touches: Touches,
    /// A timer interrupt here would end the task's turn, and another waits.
    pub preemptible: bool,
    /// Other CPUs that could go on, a bit each.
    pub ready: u64,
    /// CPUs that wait and would find a task to pull, a bit each.
    pub could_pull: u64,
    /// Hash of memory before it; where that was asked for, of everything that what follows depends on.
    pub state: u64,
}

/// The CPUs of a mask, a bit each.
fn cpus_of(mut mask: u64) -> impl Iterator<Item = CpuId> {
    std::iter::from_fn(move || {
        let cpu = mask.trailing_zeros() as u16;
        (mask != 0).then(|| {
            mask &= mask - 1;
            CpuId(cpu)
        })
    })
}

impl StepRecord {
    /// What could happen instead of this step.
    pub fn turns(&self) -> impl Iterator<Item = Turn> {
        let interrupt = self.preemptible.then_some(Turn::Interrupt);
        let switches = cpus_of(self.ready).map(Turn::SwitchTo);
        let wakes = cpus_of(self.could_pull).map(Turn::Wake);
        interrupt.into_iter().chain(switches).chain(wakes)
    }
}

/// What tells this run from another: who made which steps (FNV-1a, 32 bits, of CPUs and names of steps).
pub(super) fn digest(steps: &[StepRecord]) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    let mut byte = |byte: u8| hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    for step in steps {
        step.cpu.0.to_be_bytes().into_iter().for_each(&mut byte);
        let label = step.label.unwrap_or_default();
        label.bytes().chain([0]).for_each(&mut byte);
    }
    hash
}
