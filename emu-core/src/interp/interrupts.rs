//! Interrupts of an interpreted CPU: what it attends to between instructions, and the way to a vector.
//!
//! Owns SRR0, SRR1 and the new MSR (Power ISA 2.07 Book III-S 6.5). Refuses the handler: that is guest
//! code.

use super::registers::{MSR_HV, MSR_LE, MSR_ME, MSR_SF};
use super::{Interpreter, NO_PAGE, Trap};
use crate::cost::Category;
use crate::cpu::Cpu;
use crate::exception::Exception;
use crate::guest::{ContextEnd, Outcome, Pause};
use crate::machine::Machine;
use crate::probe::{Event, Interest};
use emu_mmu::Fault;

/// SRR1 bits that an interrupt sets by its cause: 33 to 36 and 42 to 47.
const SRR1_CAUSE: u64 = 0x783f_0000;
/// Program interrupt, illegal instruction (SRR1 bit 44).
pub(super) const ILLEGAL: Trap = Trap::Interrupt(0x700, 0x0008_0000);
/// Program interrupt, privileged instruction (SRR1 bit 45).
pub(super) const PRIVILEGED: Trap = Trap::Interrupt(0x700, 0x0004_0000);
/// Program interrupt, trap (SRR1 bit 46).
pub(super) const TRAP: Trap = Trap::Interrupt(0x700, 0x0002_0000);
/// Floating-point unavailable.
pub(super) const FP_UNAVAILABLE: Trap = Trap::Interrupt(0x800, 0);
/// Vector unavailable.
pub(super) const VECTOR_UNAVAILABLE: Trap = Trap::Interrupt(0xf20, 0);
/// VSX unavailable.
pub(super) const VSX_UNAVAILABLE: Trap = Trap::Interrupt(0xf40, 0);

impl Interpreter {
    /// What is to be done before the next instruction; an outcome if the CPU is to be given back.
    #[cold]
    pub(super) fn attend(&mut self, machine: &Machine, cpu: &mut Cpu) -> Option<Outcome> {
        self.settle(machine, cpu);
        if machine.stopping() {
            return Some(Outcome::Paused(Pause::Budget));
        }
        if self.retired >= self.instructions_max {
            machine.request_stop();
            return Some(Outcome::Paused(Pause::Budget));
        }
        if cpu.interrupts_enabled && cpu.interrupt_due_at() <= cpu.clock {
            return self.asynchronous(machine, cpu);
        }
        if cpu.clock >= cpu.budget_end {
            return Some(Outcome::Paused(Pause::Budget));
        }
        cpu.set_deadline();
        None
    }

    /// The decrementer stays pending until it is written, as its sign bit does.
    fn asynchronous(&mut self, machine: &Machine, cpu: &mut Cpu) -> Option<Outcome> {
        let vector = if cpu.forced_interrupt || cpu.decrementer <= cpu.clock {
            cpu.forced_interrupt = false;
            0x900
        } else {
            cpu.ipi_at = None;
            0x500
        };
        cpu.counters.interrupts += 1;
        machine.note(cpu, Interest::SWITCHES, || Event::Interrupt);
        self.enter(vector, 0, machine, cpu)
    }

    /// What follows when an instruction did not simply complete.
    #[cold]
    pub(super) fn trapped(
        &mut self,
        trap: Trap,
        machine: &Machine,
        cpu: &mut Cpu,
    ) -> Option<Outcome> {
        match trap {
            Trap::Interrupt(vector, cause) => self.enter(vector, cause, machine, cpu),
            Trap::Fault => match self.fault.take() {
                Some(fault) => self.storage(fault, machine, cpu),
                None => self.enter(0x200, 0, machine, cpu),
            },
            Trap::SystemCall => {
                self.registers.pc = self.next;
                self.enter(0xc00, 0, machine, cpu)
            }
            Trap::Pause(pause) => {
                self.registers.pc = self.next;
                Some(Outcome::Paused(pause))
            }
            Trap::Halt => {
                self.registers.pc = self.next;
                Some(Outcome::Ended(Ok(ContextEnd::Halt)))
            }
        }
    }

    /// An interrupt that an access caused. Those of the hypervisor are taken as their plain kin: nobody
    /// stands above the code that runs here.
    fn storage(&mut self, fault: Fault, machine: &Machine, cpu: &mut Cpu) -> Option<Outcome> {
        let registers = &mut self.registers;
        let mut cause = 0;
        let mut vector = fault.vector();
        match fault {
            Fault::DataStorage { dar, dsisr }
            | Fault::HypervisorDataStorage {
                hdar: dar,
                hdsisr: dsisr,
            } => (vector, registers.dar, registers.dsisr) = (0x300, dar.get(), dsisr),
            Fault::InstructionStorage { srr1, .. }
            | Fault::HypervisorInstructionStorage { hsrr1: srr1, .. } => {
                (vector, cause) = (0x400, srr1);
            }
            Fault::DataSegment { dar } | Fault::Alignment { dar } => registers.dar = dar.get(),
            Fault::MachineCheck { dar, .. }
            | Fault::SlbMultihit { dar }
            | Fault::TlbMultihit { dar } => registers.dar = dar.get(),
            Fault::InstructionSegment { .. } => {}
        }
        if matches!(vector, 0x300 | 0x380 | 0x400 | 0x480) {
            cpu.counters.storage_interrupts += 1;
        }
        self.enter(vector, cause, machine, cpu)
    }

    /// Goes to a vector. A vector whose own first instruction interrupts to it again would do so for
    /// ever: such a CPU has stopped.
    fn enter(
        &mut self,
        vector: u16,
        cause: u32,
        machine: &Machine,
        cpu: &mut Cpu,
    ) -> Option<Outcome> {
        self.settle(machine, cpu);
        let category = match vector {
            0x300 | 0x380 | 0x400 | 0x480 => Category::StorageInterrupts,
            _ => Category::Interrupts,
        };
        self.return_as = category;
        cpu.reservation = None;
        cpu.charge(category, machine.costs.interrupt_entry);
        let registers = &mut self.registers;
        let again = registers.pc == u64::from(vector) && vector != 0xc00;
        if again && !matches!(vector, 0x500 | 0x900) {
            let stopped = "an interrupt vector interrupts to itself";
            return Some(Outcome::Ended(Err(Exception::Corrupt(stopped))));
        }
        registers.srr0 = registers.pc;
        registers.srr1 = registers.msr & !SRR1_CAUSE | u64::from(cause);
        let endian = if self.interrupts_little_endian {
            MSR_LE
        } else {
            0
        };
        let msr = MSR_SF | registers.msr & (MSR_HV | MSR_ME) | endian;
        registers.pc = u64::from(vector);
        self.set_msr(msr, machine, cpu);
        None
    }

    /// Writes the MSR and sees to what hangs on it.
    pub(super) fn set_msr(&mut self, msr: u64, machine: &Machine, cpu: &mut Cpu) {
        self.registers.msr = msr & super::registers::MSR_BITS;
        self.machine_state_changed(machine, cpu);
    }

    /// Context synchronisation: what was fetched is fetched again.
    pub(super) fn machine_state_changed(&mut self, machine: &Machine, cpu: &mut Cpu) {
        let registers = &self.registers;
        self.page_ea = NO_PAGE;
        self.state = registers.access_state();
        self.real = !self.state.dr && self.state.hv && cpu.mmu.registers.hrmor == 0;
        let enabled = registers.msr & super::registers::MSR_EE != 0;
        if enabled != cpu.interrupts_enabled {
            self.settle(machine, cpu);
            if let Some(span) = cpu.set_interrupts(enabled, || None) {
                machine.note_irqs_off(span.cycles);
            }
        }
    }
}
