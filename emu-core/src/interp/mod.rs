//! The interpreter: a CPU that runs PPC64 instructions from guest memory.
//!
//! Owns the registers of one CPU and the way from a word in memory to what it does. Time, interrupts,
//! translation and their charges are those of the verbs of [`Ctx`](crate::Ctx): an instruction is a verb,
//! with the same counters and the same events. Refuses floating point and vectors: those units are off,
//! and their instructions take the "unavailable" interrupts.

mod code;
mod decode;
mod disassemble;
mod execute;
mod fixed;
mod interrupts;
mod op;
#[cfg(test)]
mod qemu;
mod registers;
mod reserve;
mod rotate;
mod special;
mod spr;
mod stops;
mod storage;
mod system;
#[cfg(test)]
mod tests;

use crate::cost::{Category, Place};
use crate::cpu::Cpu;
use crate::guest::Outcome;
use crate::guest::Pause;
use crate::machine::Machine;
pub(crate) use code::Code;
use code::CodePage;
pub use disassemble::disassemble;
use emu_mmu::{AccessState, Fault, TlbieForm};
pub use registers::{
    MSR_DR, MSR_EE, MSR_HV, MSR_IR, MSR_LE, MSR_ME, MSR_PR, MSR_RI, MSR_SF, Registers,
};
use std::sync::Arc;
pub(crate) use stops::{Stopped, Stops};

/// Not the address of any page: an instruction's differs from it in bit 63.
const NO_PAGE: u64 = 1;

/// What a guest says and where it comes to an end, outside the machine. Shared by the CPUs.
pub trait Console: Send + Sync {
    /// The guest printed these bytes (H_PUT_TERM_CHAR).
    fn print(&self, bytes: &[u8]);
}

/// Hears of each instruction before it is executed.
pub trait Tracer: Send + Sync {
    /// The instruction `word` at `registers.pc`, on that CPU when its clock stands there.
    fn instruction(&self, cpu: crate::CpuId, now: crate::Cycles, registers: &Registers, word: u32);
}

/// What became of an instruction that did not simply complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trap {
    /// The storage interrupt in `Interpreter::fault`.
    Fault,
    /// An interrupt to this vector, with these bits in SRR1.
    Interrupt(u16, u32),
    /// The same, after the instruction.
    SystemCall,
    /// It completed, and the CPU is given back.
    Pause(Pause),
    /// It completed, and the machine is off.
    Halt,
}

type Flow = Result<(), Trap>;

/// A CPU's instructions: registers, and what is kept between them.
pub struct Interpreter {
    /// The registers. Those that translation reads are the CPU's MMU's.
    pub registers: Registers,
    /// Interrupts are taken in little-endian mode (HILE of the CPU).
    pub interrupts_little_endian: bool,
    /// The operand that tlbie and tlbiel take.
    pub tlbie_form: TlbieForm,
    /// Where the guest prints; nowhere if `None`.
    pub console: Option<Arc<dyn Console>>,
    /// Who hears of each instruction.
    pub tracer: Option<Arc<dyn Tracer>>,
    /// Instructions after which the run is stopped.
    pub instructions_max: u64,
    state: AccessState,
    /// Data accesses are real, and nothing is or-ed in.
    real: bool,
    page: Option<Arc<CodePage>>,
    page_ea: u64,
    next: u64,
    /// Instructions executed and charged.
    retired: u64,
    /// Instructions executed since.
    pending: u64,
    /// Those of them that have a charge of their own.
    own: u64,
    hundredths: u64,
    /// The timebase less what the clock says.
    timebase_offset: u64,
    /// What the clock's timebase is when the decrementer is 0.
    decrementer_zero: u64,
    fault: Option<Fault>,
    /// What rfid is charged as.
    return_as: Category,
    exit: Option<u64>,
    /// A debugger's wishes.
    pub(crate) stops: Option<Box<Stops>>,
}

impl std::fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interpreter")
            .field("registers", &self.registers)
            .field("retired", &self.retired)
            .field("exit", &self.exit)
            .finish_non_exhaustive()
    }
}

impl Interpreter {
    /// A CPU that begins with these registers, prints nowhere and runs until the machine is off.
    pub fn new(registers: Registers) -> Self {
        Interpreter {
            state: registers.access_state(),
            interrupts_little_endian: registers.little_endian(),
            registers,
            tlbie_form: TlbieForm::Isa206,
            console: None,
            tracer: None,
            instructions_max: u64::MAX,
            real: false,
            page: None,
            page_ea: NO_PAGE,
            next: 0,
            retired: 0,
            pending: 0,
            own: 0,
            hundredths: 0,
            timebase_offset: 0,
            decrementer_zero: 0x7fff_ffff,
            fault: None,
            return_as: Category::Interrupts,
            exit: None,
            stops: None,
        }
    }

    /// Instructions executed.
    pub const fn retired(&self) -> u64 {
        self.retired + self.pending
    }

    /// What the guest halted with on this CPU, if it did.
    pub const fn exit(&self) -> Option<u64> {
        self.exit
    }

    /// Runs until the CPU's budget is used up or something else is to be done.
    pub(crate) fn resume(&mut self, machine: &Machine, cpu: &mut Cpu) -> Outcome {
        cpu.set_place(Place::default());
        self.machine_state_changed(machine, cpu);
        let code = machine.code();
        let outcome = match self.tracer.is_some() || self.stops.is_some() {
            true => self.run::<true>(machine, cpu, code),
            false => self.run::<false>(machine, cpu, code),
        };
        self.settle(machine, cpu);
        outcome
    }

    fn run<const TRACED: bool>(
        &mut self,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
    ) -> Outcome {
        let most = cost_of_hundred(machine).div_ceil(100);
        loop {
            let now = cpu.clock.get() + self.pending * most;
            if (self.retired() >= self.instructions_max || now >= cpu.deadline.get())
                && let Some(outcome) = self.attend(machine, cpu)
            {
                return outcome;
            }
            if TRACED && let Some(outcome) = self.stop_here() {
                return outcome;
            }
            let pc = self.registers.pc;
            if (pc ^ self.page_ea) & !0xffc != 0
                && let Err(trap) = self.turn_page(machine, cpu, code)
            {
                match self.trapped(trap, machine, cpu) {
                    Some(outcome) => return outcome,
                    None => continue,
                }
            }
            let Some(page) = &self.page else { continue };
            let mut decoded = page.at(pc);
            if decoded.op == op::Op::Fetch {
                match page.fetch(&machine.memory, pc) {
                    Ok(now) => decoded = now,
                    // The page was in memory when it was turned to.
                    Err(_) => decoded.op = op::Op::Illegal,
                }
            }
            if TRACED {
                self.trace(machine, cpu);
            }
            self.next = pc.wrapping_add(4);
            self.pending += 1;
            match self.execute(decoded, machine, cpu, code) {
                Ok(()) => self.registers.pc = self.next,
                Err(trap) => {
                    if let Some(outcome) = self.trapped(trap, machine, cpu) {
                        return outcome;
                    }
                }
            }
        }
    }

    #[cold]
    fn trace(&mut self, machine: &Machine, cpu: &mut Cpu) {
        if self.tracer.is_none() {
            return;
        }
        self.settle(machine, cpu);
        let word = (self.page.as_ref())
            .and_then(|page| page.word(&machine.memory, self.registers.pc).ok());
        if let (Some(tracer), Some(word)) = (&self.tracer, word) {
            tracer.instruction(cpu.id, cpu.clock, &self.registers, word);
        }
    }

    /// Charges the instructions that were executed since the last time.
    #[inline]
    fn settle(&mut self, machine: &Machine, cpu: &mut Cpu) {
        let straight = self.pending.saturating_sub(self.own);
        let hundredths = straight * cost_of_hundred(machine) + self.hundredths;
        self.retired += self.pending;
        (self.pending, self.own) = (0, 0);
        self.hundredths = hundredths % 100;
        cpu.charge(Category::Instructions, hundredths / 100);
    }
}

/// Cycles of a hundred straight-line instructions. Where they cost nothing one counts as a step, so that
/// time goes on in a loop that touches nothing.
#[inline]
fn cost_of_hundred(machine: &Machine) -> u64 {
    match machine.costs.cycles_per_100_instructions {
        0 => 100,
        cycles => cycles,
    }
}
