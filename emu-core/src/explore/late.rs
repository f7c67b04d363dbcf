//! Invalidations that are under way from one CPU to another, and what the CPUs themselves hold.
//!
//! Owns their order: those to one CPU reach it oldest first. Refuses to say when: the plan does, and the
//! sender that waits for them.

use crate::cpu::{Cpu, CpuId};
use crate::machine::Machine;
use emu_mmu::TlbInvalidate;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

type Cpus = [Option<Box<Cpu>>];

/// What is under way to each CPU, each with its sender.
pub(super) struct Late(Vec<VecDeque<(usize, TlbInvalidate)>>);

impl Late {
    pub fn new(cpus: usize) -> Self {
        Late(vec![VecDeque::new(); cpus])
    }

    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(VecDeque::clear);
    }

    /// Takes what `sender`, the only one that ran, has sent.
    pub fn post(&mut self, machine: &Machine, sender: usize) {
        for (to, queue) in self.0.iter_mut().enumerate() {
            let letter = |operand| queue.push_back((sender, operand));
            machine.board.take_letters(to, letter);
        }
    }

    /// How many are under way to a CPU.
    pub fn to(&self, cpu: usize) -> usize {
        self.0.get(cpu).map_or(0, VecDeque::len)
    }

    /// The oldest to a CPU reaches it.
    pub fn receive(&mut self, cpu: usize, cpus: &mut Cpus) {
        let oldest = self.0.get_mut(cpu).and_then(VecDeque::pop_front);
        if let (Some((_, operand)), Some(Some(cpu))) = (oldest, cpus.get_mut(cpu)) {
            cpu.mmu.tlb_invalidate(&operand);
        }
    }

    /// All that a CPU sent reach the others.
    pub fn complete(&mut self, sender: usize, cpus: &mut Cpus) {
        for (queue, cpu) in self.0.iter_mut().zip(cpus) {
            queue.retain(|(from, operand)| {
                if let Some(cpu) = cpu.as_mut().filter(|_| *from == sender) {
                    cpu.mmu.tlb_invalidate(operand);
                }
                *from != sender
            });
        }
    }
}

/// The CPUs before a step.
#[derive(Clone, Copy)]
pub(super) struct Hardware<'m> {
    cpus: &'m Cpus,
    late: Option<&'m Late>,
}

impl<'m> Hardware<'m> {
    pub fn new(cpus: &'m Cpus, late: Option<&'m Late>) -> Self {
        Hardware { cpus, late }
    }
}

impl fmt::Debug for Hardware<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} CPUs", self.cpus.len())
    }
}

impl super::StepView<'_> {
    /// A hash of what the CPUs hold beside memory: the context each runs, its interrupt state, reservation,
    /// SLB, TLB and ERATs, and what is under way to it. Two steps with the same hash, the same memory and
    /// contexts that have come equally far have the same futures, as long as no TLB or ERAT has to evict.
    pub fn hardware_hash(&self) -> u64 {
        let mut to = DefaultHasher::new();
        for cpu in self.hardware.cpus.iter().flatten() {
            hash_cpu(cpu, &mut to);
        }
        if let Some(late) = self.hardware.late {
            late.0.hash(&mut to);
        }
        to.finish()
    }

    /// The context that runs on a CPU, by the number guest code gave it.
    pub fn local_on(&self, cpu: CpuId) -> u64 {
        let cpu = self.hardware.cpus.get(cpu.index()).and_then(Option::as_ref);
        cpu.map_or(0, |cpu| cpu.local)
    }
}

fn hash_cpu(cpu: &Cpu, to: &mut DefaultHasher) {
    (cpu.id, cpu.context, cpu.depth, cpu.waiting).hash(to);
    let due = (cpu.forced_interrupt, cpu.ipi_at.is_some());
    (due, cpu.interrupts_enabled, cpu.tlbsync_done).hash(to);
    cpu.reservation.hash(to);
    cpu.mmu.slb.entries().hash(to);
    for entry in cpu.mmu.tlb.entries() {
        entry.hash(to);
    }
    for erat in [&cpu.mmu.erat, &cpu.mmu.ierat] {
        to.write_u8(0);
        for entry in erat.entries() {
            entry.hash(to);
        }
    }
}
