//! Loads and stores of an interpreted CPU.
//!
//! Owns sizes, byte order, and accesses that are not aligned or cross a page. Where an access goes, what it
//! costs and who hears of it is shared with the verbs of `Ctx`. Refuses to resolve a fault.

use super::{Code, Flow, Interpreter, NO_PAGE, Trap};
use crate::cpu::Cpu;
use crate::ctx::{charge, storage};
use crate::machine::Machine;
use crate::probe::{Event, Interest};
use emu_mmu::{Access, Ea, Fault, GuestMemory, MemoryError, Ra};

/// EA bits 4 to 63: what real mode keeps.
const REAL: u64 = u64::MAX >> 4;
const PAGE: u64 = 4096;

/// A size of accesses.
pub(super) trait Size: Copy {
    const BYTES: u64;
    fn load(memory: &GuestMemory, ra: Ra) -> Result<u64, MemoryError>;
    fn store(memory: &GuestMemory, ra: Ra, value: u64) -> Result<(), MemoryError>;
    fn swapped(value: u64) -> u64;
}

macro_rules! size {
    ($name:ident, $type:ty, $load:ident, $store:ident) => {
        #[derive(Clone, Copy)]
        pub(super) struct $name;

        impl Size for $name {
            const BYTES: u64 = size_of::<$type>() as u64;
            #[inline(always)]
            fn load(memory: &GuestMemory, ra: Ra) -> Result<u64, MemoryError> {
                memory.$load(ra).map(u64::from)
            }
            #[inline(always)]
            fn store(memory: &GuestMemory, ra: Ra, value: u64) -> Result<(), MemoryError> {
                memory.$store(ra, value as $type)
            }
            #[inline(always)]
            fn swapped(value: u64) -> u64 {
                u64::from((value as $type).swap_bytes())
            }
        }
    };
}

size!(Byte, u8, load_u8, store_u8);
size!(Half, u16, load_u16, store_u16);
size!(Word, u32, load_u32, store_u32);
size!(Double, u64, load_u64, store_u64);

/// The label of interpreted accesses in events.
pub(super) const STEP: crate::Step = "instruction";

impl Interpreter {
    /// The page of the next instruction.
    #[cold]
    pub(super) fn turn_page(&mut self, machine: &Machine, cpu: &mut Cpu, code: &Code) -> Flow {
        self.settle(machine, cpu);
        self.page_ea = NO_PAGE;
        self.registers.pc = self.registers.cut(self.registers.pc) & !3;
        let ea = Ea::new(self.registers.pc);
        let ra = match storage::translate(machine, cpu, ea, Access::Fetch, self.state) {
            Ok(ra) => ra,
            Err(fault) => return Err(self.faulted(fault)),
        };
        let inside = ra.get() < machine.memory.len();
        let page = code.page(ra, self.registers.little_endian());
        match page {
            Ok(page) if inside => {
                self.page = Some(page);
                self.page_ea = ea.get() & !(PAGE - 1);
                Ok(())
            }
            _ => {
                let error = MemoryError::OutOfBounds { ra, bytes: 4 };
                Err(self.faulted(Fault::MachineCheck { dar: ea, error }))
            }
        }
    }

    #[cold]
    pub(super) fn faulted(&mut self, fault: Fault) -> Trap {
        self.fault = Some(fault);
        Trap::Fault
    }

    #[cold]
    pub(super) fn alignment(&mut self, ea: u64) -> Trap {
        self.faulted(Fault::Alignment { dar: Ea::new(ea) })
    }

    #[cold]
    pub(super) fn outside(&mut self, ea: u64, error: MemoryError) -> Trap {
        let dar = Ea::new(ea);
        self.faulted(Fault::MachineCheck { dar, error })
    }

    /// Where an access goes.
    #[inline(always)]
    pub(super) fn place(
        &mut self,
        machine: &Machine,
        cpu: &mut Cpu,
        ea: u64,
        access: Access,
    ) -> Result<Ra, Trap> {
        if self.real {
            return Ok(Ra::new(ea & REAL));
        }
        if !machine.is_observed()
            && let Some(ra) = cpu.mmu.quick_hit(Ea::new(ea), access, self.state)
        {
            return Ok(ra);
        }
        self.translate(machine, cpu, ea, access)
    }

    #[inline(never)]
    fn translate(
        &mut self,
        machine: &Machine,
        cpu: &mut Cpu,
        ea: u64,
        access: Access,
    ) -> Result<Ra, Trap> {
        self.settle(machine, cpu);
        let ea = Ea::new(ea);
        match storage::translate(machine, cpu, ea, access, self.state) {
            Ok(ra) => {
                if self.state.dr && machine.wants_translation(ea) {
                    storage::note_translation(machine, cpu, ea, ra, access);
                }
                Ok(ra)
            }
            Err(fault) => Err(self.faulted(fault)),
        }
    }

    /// The instruction has a charge of its own, so it is no straight-line one.
    #[inline(always)]
    pub(super) fn own_charge(&mut self) {
        self.own += 1;
    }

    /// An access is made, and told of.
    #[inline(always)]
    pub(super) fn accessed(&mut self, machine: &Machine, cpu: &mut Cpu, ra: Ra, store: bool) {
        cpu.counters.verbs += 1;
        if machine.is_observed() {
            self.settle(machine, cpu);
            let event = || Event::Access {
                ra,
                store,
                step: STEP,
            };
            machine.note(cpu, Interest::ACCESSES, event);
        }
    }

    /// Loads in the byte order of the mode, or in the other one.
    #[inline(always)]
    pub(super) fn load<S: Size>(
        &mut self,
        machine: &Machine,
        cpu: &mut Cpu,
        ea: u64,
        reversed: bool,
    ) -> Result<u64, Trap> {
        self.own_charge();
        let ea = self.registers.cut(ea);
        let value = if ea & (S::BYTES - 1) == 0 {
            let ra = self.place(machine, cpu, ea, Access::Load)?;
            let value = S::load(&machine.memory, ra).map_err(|e| self.outside(ea, e))?;
            self.accessed(machine, cpu, ra, false);
            charge::load(machine, cpu, ra);
            value
        } else {
            self.load_unaligned(machine, cpu, ea, S::BYTES)?
        };
        let swap = reversed != self.registers.little_endian();
        Ok(if swap { S::swapped(value) } else { value })
    }

    /// Stores in the byte order of the mode, or in the other one.
    #[inline(always)]
    pub(super) fn store<S: Size>(
        &mut self,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
        (ea, value, reversed): (u64, u64, bool),
    ) -> Flow {
        self.own_charge();
        let ea = self.registers.cut(ea);
        let swap = reversed != self.registers.little_endian();
        let value = if swap { S::swapped(value) } else { value };
        if ea & (S::BYTES - 1) != 0 {
            return self.store_unaligned(machine, cpu, code, (ea, value, S::BYTES));
        }
        let ra = self.place(machine, cpu, ea, Access::Store)?;
        if S::BYTES == 8 && machine.is_observed() {
            return self.store_observed(machine, cpu, code, (ea, ra, value));
        }
        S::store(&machine.memory, ra, value).map_err(|e| self.outside(ea, e))?;
        code.written(ra, S::BYTES);
        self.accessed(machine, cpu, ra, true);
        charge::store(machine, cpu, ra);
        Ok(())
    }

    #[inline(never)]
    fn store_observed(
        &mut self,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
        (ea, ra, value): (u64, Ra, u64),
    ) -> Flow {
        cpu.counters.verbs += 1;
        self.settle(machine, cpu);
        charge::store(machine, cpu, ra);
        let stored = storage::store_told(machine, cpu, ra, value, STEP);
        stored.map_err(|e| self.outside(ea, e))?;
        code.written(ra, 8);
        Ok(())
    }

    /// The real address of each byte of an access; both its pages are translated before it is made.
    fn bytes_at(
        &mut self,
        machine: &Machine,
        cpu: &mut Cpu,
        (ea, bytes): (u64, u64),
        access: Access,
    ) -> Result<impl Iterator<Item = Ra> + Clone + use<>, Trap> {
        let first = self.place(machine, cpu, ea, access)?;
        let here = (PAGE - ea % PAGE).min(bytes);
        let second = match here < bytes {
            true => self.place(machine, cpu, self.registers.cut(ea + here), access)?,
            false => first,
        };
        for (ra, last) in [(first, here - 1), (second, (bytes - here).max(1) - 1)] {
            if ra.get() + last >= machine.memory.len() {
                let error = MemoryError::OutOfBounds { ra, bytes };
                return Err(self.outside(ea, error));
            }
        }
        Ok((0..bytes).map(move |i| match i < here {
            true => Ra::new(first.get() + i),
            false => Ra::new(second.get() + i - here),
        }))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn load_unaligned(
        &mut self,
        machine: &Machine,
        cpu: &mut Cpu,
        ea: u64,
        bytes: u64,
    ) -> Result<u64, Trap> {
        let places = self.bytes_at(machine, cpu, (ea, bytes), Access::Load)?;
        let mut value = 0;
        for (i, ra) in places.enumerate() {
            if i == 0 {
                self.accessed(machine, cpu, ra, false);
                charge::load(machine, cpu, ra);
            }
            let byte = machine.memory.load_u8(ra);
            value = value << 8 | u64::from(byte.map_err(|e| self.outside(ea, e))?);
        }
        Ok(value)
    }

    #[cold]
    #[inline(never)]
    pub(super) fn store_unaligned(
        &mut self,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
        (ea, value, bytes): (u64, u64, u64),
    ) -> Flow {
        let places = self.bytes_at(machine, cpu, (ea, bytes), Access::Store)?;
        for (i, ra) in places.enumerate() {
            if i == 0 {
                self.accessed(machine, cpu, ra, true);
                charge::store(machine, cpu, ra);
            }
            let byte = (value >> (8 * (bytes - 1 - i as u64))) as u8;
            let stored = machine.memory.store_u8(ra, byte);
            stored.map_err(|e| self.outside(ea, e))?;
            code.written(ra, 1);
        }
        Ok(())
    }

    /// dcbz: zeroes a block of 128 bytes.
    pub(super) fn zero_block(
        &mut self,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
        ea: u64,
    ) -> Flow {
        self.own_charge();
        let ea = self.registers.cut(ea);
        let ra = self.place(machine, cpu, ea, Access::Store)?;
        self.accessed(machine, cpu, ra, true);
        charge::zero_line(machine, cpu, ra);
        let block = Ra::new(ra.get() & !127);
        let zeroed = machine.memory.zero(block, 128);
        zeroed.map_err(|e| self.outside(ea, e))?;
        code.written(block, 128);
        Ok(())
    }

    /// icbi: what was decoded from the block is forgotten, on every CPU.
    pub(super) fn forget_block(
        &mut self,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
        ea: u64,
    ) -> Flow {
        let ea = self.registers.cut(ea);
        let ra = self.place(machine, cpu, ea, Access::Load)?;
        code.written(Ra::new(ra.get() & !127), 128);
        Ok(())
    }
}
