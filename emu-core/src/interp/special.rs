//! CR operations, traps, multiple and string accesses, cache instructions and barriers.
//!
//! Owns what is neither arithmetic nor privileged. Refuses hints: they do nothing.

use super::interrupts::{FP_UNAVAILABLE, ILLEGAL, TRAP, VECTOR_UNAVAILABLE, VSX_UNAVAILABLE};
use super::op::{Decoded, Op};
use super::storage::{Byte, Word};
use super::{Code, Flow, Interpreter, NO_PAGE, Trap};
use crate::cost::Category;
use crate::cpu::Cpu;
use crate::ctx::order;
use crate::guest::Pause;
use crate::machine::Machine;
use emu_mmu::{Access, Barrier};

/// The label of interpreted barriers in events.
const STEP: crate::Step = "instruction";

impl Interpreter {
    #[inline(never)]
    pub(super) fn condition(
        &mut self,
        d: Decoded,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
    ) -> Flow {
        let (a, b) = (self.registers.cr_bit(d.b), self.registers.cr_bit(d.c));
        let bit = match d.op {
            Op::Crand => a & b,
            Op::Crandc => a & !b,
            Op::Creqv => a == b,
            Op::Crnand => !(a & b),
            Op::Crnor => !(a | b),
            Op::Cror => a | b,
            Op::Crorc => a | !b,
            Op::Crxor => a != b,
            _ => return self.fields_of_cr(d, machine, cpu, code),
        };
        self.registers.set_cr_bit(d.a, bit);
        Ok(())
    }

    fn fields_of_cr(&mut self, d: Decoded, machine: &Machine, cpu: &mut Cpu, code: &Code) -> Flow {
        let registers = &mut self.registers;
        match d.op {
            Op::Mcrf => registers.set_field(d.a, registers.field(d.b)),
            Op::Mcrxr => {
                let xer = registers.xer();
                registers.set_field(d.a, (xer >> 28) as u32 & 0xf);
                registers.set_xer(xer & 0x7f);
            }
            Op::Mfcr => self.set_gpr(d.a, u64::from(self.registers.cr)),
            Op::Mfocrf => self.set_gpr(d.a, u64::from(self.registers.cr & d.imm)),
            Op::Mtcrf => {
                let value = self.gpr(d.a) as u32;
                self.registers.cr = self.registers.cr & !d.imm | value & d.imm;
            }
            Op::Isel => {
                let value = match self.registers.cr_bit(d.imm as u8) {
                    true => self.gpr_or_0(d.b),
                    false => self.gpr(d.c),
                };
                self.set_gpr(d.a, value);
            }
            Op::Tw => {
                return self.trap_if(
                    d.a,
                    self.gpr(d.b) as i32 as i64,
                    self.gpr(d.c) as i32 as i64,
                    true,
                );
            }
            Op::Twi => {
                return self.trap_if(
                    d.a,
                    self.gpr(d.b) as i32 as i64,
                    i64::from(d.imm as i32),
                    true,
                );
            }
            Op::Td => return self.trap_if(d.a, self.gpr(d.b) as i64, self.gpr(d.c) as i64, false),
            Op::Tdi => return self.trap_if(d.a, self.gpr(d.b) as i64, d.simm() as i64, false),
            Op::FpUnavailable => return Err(FP_UNAVAILABLE),
            Op::VectorUnavailable => return Err(VECTOR_UNAVAILABLE),
            Op::VsxUnavailable => return Err(VSX_UNAVAILABLE),
            Op::Illegal | Op::Fetch => return Err(ILLEGAL),
            Op::Nop => {}
            _ => return self.reserved_access(d, machine, cpu, code),
        }
        Ok(())
    }

    /// TO: less, greater, equal, logically less, logically greater.
    fn trap_if(&self, to: u8, left: i64, right: i64, word: bool) -> Flow {
        let (ul, ur) = match word {
            true => (u64::from(left as u32), u64::from(right as u32)),
            false => (left as u64, right as u64),
        };
        let traps = to & 16 != 0 && left < right
            || to & 8 != 0 && left > right
            || to & 4 != 0 && left == right
            || to & 2 != 0 && ul < ur
            || to & 1 != 0 && ul > ur;
        if traps { Err(TRAP) } else { Ok(()) }
    }

    fn reserved_access(
        &mut self,
        d: Decoded,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
    ) -> Flow {
        let ea = self.ea_x(d);
        let size = match d.op {
            Op::Lbarx | Op::Stbcx => 1,
            Op::Lharx | Op::Sthcx => 2,
            Op::Lwarx | Op::Stwcx => 4,
            _ => 8,
        };
        match d.op {
            Op::Lbarx | Op::Lharx | Op::Lwarx | Op::Ldarx => {
                let value = self.load_reserve(machine, cpu, (ea, size))?;
                self.set_gpr(d.a, value);
                Ok(())
            }
            Op::Stbcx | Op::Sthcx | Op::Stwcx | Op::Stdcx => {
                self.store_conditional(machine, cpu, code, (ea, self.gpr(d.a), size))
            }
            Op::Dcbz => self.zero_block(machine, cpu, code, ea),
            Op::Dcbf => self
                .place(machine, cpu, self.registers.cut(ea), Access::Load)
                .map(|_| ()),
            Op::Icbi => self.forget_block(machine, cpu, code, ea),
            Op::Lmw | Op::Stmw => self.multiple(d, machine, cpu, code),
            Op::Lswi | Op::Stswi | Op::Lswx | Op::Stswx => self.string(d, machine, cpu, code),
            _ => self.barrier_instruction(d, machine, cpu),
        }
    }

    /// lmw and stmw. In little-endian mode they take the alignment interrupt.
    fn multiple(&mut self, d: Decoded, machine: &Machine, cpu: &mut Cpu, code: &Code) -> Flow {
        let mut ea = (self.registers).cut(self.gpr_or_0(d.b).wrapping_add(d.simm()));
        if self.registers.little_endian() {
            return Err(self.alignment(ea));
        }
        if d.op == Op::Lmw && d.b >= d.a {
            return Err(ILLEGAL);
        }
        for register in d.a..32 {
            if d.op == Op::Lmw {
                let value = self.load::<Word>(machine, cpu, ea, false)?;
                self.set_gpr(register, value);
            } else {
                let value = self.gpr(register);
                self.store::<Word>(machine, cpu, code, (ea, value, false))?;
            }
            self.one_of_several(register > d.a);
            ea = ea.wrapping_add(4);
        }
        Ok(())
    }

    /// An access after the first of one instruction, which counts once.
    fn one_of_several(&mut self, further: bool) {
        self.own = self.own.saturating_sub(u64::from(further));
    }

    /// lswi, lswx, stswi and stswx: bytes to or from the low words of successive registers. In
    /// little-endian mode they take the alignment interrupt.
    fn string(&mut self, d: Decoded, machine: &Machine, cpu: &mut Cpu, code: &Code) -> Flow {
        let indexed = matches!(d.op, Op::Lswx | Op::Stswx);
        let mut ea = self.registers.cut(if indexed {
            self.ea_x(d)
        } else {
            self.gpr_or_0(d.b)
        });
        if self.registers.little_endian() {
            return Err(self.alignment(ea));
        }
        let bytes = match (indexed, d.c) {
            (true, _) => self.registers.count,
            (false, 0) => 32,
            (false, bytes) => bytes,
        };
        let loads = matches!(d.op, Op::Lswi | Op::Lswx);
        let loaded = |register: u8| (register.wrapping_sub(d.a) & 31) < bytes.div_ceil(4);
        let addressed = match indexed {
            true => d.b != 0 && loaded(d.b) || loaded(d.c),
            false => loaded(d.b),
        };
        // An invalid form, as lmw's is.
        if loads && addressed {
            return Err(ILLEGAL);
        }
        for i in 0..bytes {
            let register = (d.a + i / 4) & 31;
            let shift = 24 - 8 * (i % 4);
            if loads {
                let byte = self.load::<Byte>(machine, cpu, ea, false)?;
                let before = if i % 4 == 0 { 0 } else { self.gpr(register) };
                self.set_gpr(register, before | byte << shift);
            } else {
                let byte = self.gpr(register) >> shift & 0xff;
                self.store::<Byte>(machine, cpu, code, (ea, byte, false))?;
            }
            self.one_of_several(i > 0);
            ea = ea.wrapping_add(1);
        }
        Ok(())
    }

    fn barrier_instruction(&mut self, d: Decoded, machine: &Machine, cpu: &mut Cpu) -> Flow {
        let barrier = match d.op {
            Op::Sync if d.a == 1 => Barrier::Lwsync,
            Op::Sync if d.a == 2 => Barrier::Ptesync,
            Op::Sync => return self.heavy_sync(machine, cpu),
            Op::Eieio => Barrier::Eieio,
            Op::Isync => Barrier::Isync,
            Op::Tlbsync if self.registers.problem_state() => {
                return Err(super::interrupts::PRIVILEGED);
            }
            Op::Tlbsync => Barrier::Tlbsync,
            _ => return self.system(d, machine, cpu),
        };
        self.own_charge();
        self.settle(machine, cpu);
        cpu.counters.verbs += 1;
        order::charge_barrier(machine, cpu, barrier);
        order::note_barrier(machine, cpu, barrier, STEP);
        if barrier == Barrier::Isync {
            self.page_ea = NO_PAGE;
        }
        if machine.runs_threads() {
            match barrier {
                Barrier::Eieio | Barrier::Ptesync => order::fence_threads(),
                Barrier::Tlbsync => return Err(Trap::Pause(Pause::Completion)),
                Barrier::Isync | Barrier::Lwsync => {}
            }
        }
        Ok(())
    }

    /// sync with L=0: charged as ptesync, which does as much and more.
    fn heavy_sync(&mut self, machine: &Machine, cpu: &mut Cpu) -> Flow {
        self.own_charge();
        cpu.counters.verbs += 1;
        cpu.charge(Category::Barriers, machine.costs.ptesync);
        if machine.runs_threads() {
            order::fence_threads();
        }
        Ok(())
    }
}
