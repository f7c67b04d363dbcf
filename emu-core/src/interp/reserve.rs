//! Load-reserve and store-conditional of an interpreted CPU.
//!
//! Owns the sizes below a doubleword: the reservation is of the doubleword around the operand. Refuses to
//! see a value changed and changed back, as the verbs do.

use super::storage::STEP;
use super::{Code, Flow, Interpreter, Trap};
use crate::cpu::Cpu;
use crate::ctx::{charge, storage};
use crate::machine::Machine;
use crate::probe::{Event, Interest};
use emu_mmu::{Access, Ra};

impl Interpreter {
    /// larx. The reservation is of the doubleword around the operand.
    pub(super) fn load_reserve(
        &mut self,
        machine: &Machine,
        cpu: &mut Cpu,
        (ea, bytes): (u64, u64),
    ) -> Result<u64, Trap> {
        self.own_charge();
        let ea = self.registers.cut(ea);
        if ea & (bytes - 1) != 0 {
            return Err(self.alignment(ea));
        }
        let ra = self.place(machine, cpu, ea, Access::Load)?;
        let double = Ra::new(ra.get() & !7);
        let value = machine.memory.load_u64(double);
        let value = value.map_err(|e| self.outside(ea, e))?;
        self.accessed(machine, cpu, ra, false);
        charge::load_reserve(machine, cpu, double);
        cpu.reservation = Some((double, value));
        let value = value >> shift_of(ra, bytes) & mask(bytes);
        Ok(self.ordered(value, bytes))
    }

    /// stcx.: CR0 says whether it stored.
    pub(super) fn store_conditional(
        &mut self,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
        (ea, value, bytes): (u64, u64, u64),
    ) -> Flow {
        self.own_charge();
        let ea = self.registers.cut(ea);
        if ea & (bytes - 1) != 0 {
            return Err(self.alignment(ea));
        }
        let ra = self.place(machine, cpu, ea, Access::Store)?;
        let double = Ra::new(ra.get() & !7);
        cpu.counters.verbs += 1;
        self.settle(machine, cpu);
        charge::store_conditional(machine, cpu, double);
        let mut stored = false;
        if let Some((reserved, old)) = cpu.reservation.take()
            && reserved == double
        {
            let (shift, mask) = (shift_of(ra, bytes), mask(bytes));
            let value = self.ordered(value & mask, bytes);
            let new = old & !(mask << shift) | value << shift;
            let replaced = machine.replace_u64(double, old, new);
            stored = replaced.map_err(|e| self.outside(ea, e))?;
            if stored {
                code.written(double, 8);
                let event = || Event::Access {
                    ra,
                    store: true,
                    step: STEP,
                };
                machine.note(cpu, Interest::ACCESSES, event);
                storage::note_replaced(machine, cpu, double, (old, new), STEP);
            }
        }
        let bits = if stored { 2 } else { 0 };
        self.registers
            .set_field(0, bits | u32::from(self.registers.so));
        Ok(())
    }

    fn ordered(&self, value: u64, bytes: u64) -> u64 {
        match self.registers.little_endian() {
            true => value.swap_bytes() >> (64 - 8 * bytes),
            false => value,
        }
    }
}

/// Where an operand lies in its doubleword.
fn shift_of(ra: Ra, bytes: u64) -> u64 {
    8 * (8 - bytes - ra.get() % 8)
}

fn mask(bytes: u64) -> u64 {
    u64::MAX >> (64 - 8 * bytes)
}
