//! Invalidations that are under way from one CPU to another.
//!
//! Owns their order: those to one CPU reach it oldest first. Refuses to say when: the plan does, and the
//! sender that waits for them.

use crate::cpu::Cpu;
use crate::machine::Machine;
use emu_mmu::TlbInvalidate;
use std::collections::VecDeque;

type Cpus = [Option<Box<Cpu>>];

/// What is under way to each CPU, each with its sender.
#[derive(Clone, Hash)]
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
