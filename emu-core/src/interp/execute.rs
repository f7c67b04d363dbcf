//! What an instruction does: branches, and loads and stores with their addresses.
//!
//! Owns the first choice by instruction; arithmetic, logic and the system's are in modules of their own,
//! compiled into the same choice. Refuses nothing that `decode` lets through.

use super::op::{Decoded, Op};
use super::storage::{Byte, Double, Half, Word};
use super::{Code, Flow, Interpreter};
use crate::cpu::Cpu;
use crate::machine::Machine;

/// LK in the flags of a branch.
const LINK: u8 = 1;
/// AA.
const ABSOLUTE: u8 = 2;

impl Interpreter {
    /// The content of a register.
    #[inline(always)]
    pub(super) fn gpr(&self, number: u8) -> u64 {
        self.registers.gpr[number as usize & 31]
    }

    #[inline(always)]
    pub(super) fn set_gpr(&mut self, number: u8, value: u64) {
        self.registers.gpr[number as usize & 31] = value;
    }

    /// RA, or 0 for r0.
    #[inline(always)]
    pub(super) fn gpr_or_0(&self, number: u8) -> u64 {
        if number == 0 { 0 } else { self.gpr(number) }
    }

    /// (RA|0) + displacement.
    #[inline(always)]
    fn ea_d(&self, d: Decoded) -> u64 {
        self.gpr_or_0(d.b).wrapping_add(d.simm())
    }

    /// (RA|0) + (RB).
    #[inline(always)]
    pub(super) fn ea_x(&self, d: Decoded) -> u64 {
        self.gpr_or_0(d.b).wrapping_add(self.gpr(d.c))
    }

    /// Executes one instruction; `self.next` is where the next one is.
    #[inline(always)]
    pub(super) fn execute(
        &mut self,
        d: Decoded,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
    ) -> Flow {
        match d.op {
            Op::Li => self.set_gpr(d.a, d.simm()),
            Op::Addi => self.set_gpr(d.a, self.gpr(d.b).wrapping_add(d.simm())),
            Op::B => self.branch(d.simm(), d.a),
            Op::Bc => {
                if self.branch_taken(d) {
                    self.branch(d.simm(), d.c);
                }
            }
            Op::Bclr => {
                let to = self.registers.lr & !3;
                if self.branch_taken(d) {
                    self.branch(to, d.c | ABSOLUTE);
                } else if d.c & LINK != 0 {
                    self.registers.lr = self.next;
                }
            }
            Op::Bcctr => {
                // CTR is the target, so it is not counted down.
                let to = self.registers.ctr & !3;
                if d.a & 0x10 != 0 || self.registers.cr_bit(d.b) == (d.a & 8 != 0) {
                    self.branch(to, d.c | ABSOLUTE);
                } else if d.c & LINK != 0 {
                    self.registers.lr = self.next;
                }
            }
            Op::Bctar => {
                let to = self.registers.tar & !3;
                if self.branch_taken(d) {
                    self.branch(to, d.c | ABSOLUTE);
                } else if d.c & LINK != 0 {
                    self.registers.lr = self.next;
                }
            }
            _ => return self.load_instruction(d, machine, cpu, code),
        }
        Ok(())
    }

    /// BO and BI: counts CTR down if asked, and says whether the branch is taken.
    #[inline(always)]
    fn branch_taken(&mut self, d: Decoded) -> bool {
        let bo = d.a;
        let counted = bo & 4 != 0 || {
            let ctr = self.registers.ctr.wrapping_sub(1);
            self.registers.ctr = ctr;
            (self.registers.cut(ctr) != 0) != (bo & 2 != 0)
        };
        counted && (bo & 0x10 != 0 || self.registers.cr_bit(d.b) == (bo & 8 != 0))
    }

    #[inline(always)]
    fn branch(&mut self, to: u64, flags: u8) {
        let pc = self.registers.pc;
        self.registers.cfar = pc;
        if flags & LINK != 0 {
            self.registers.lr = self.next;
        }
        self.next = if flags & ABSOLUTE != 0 {
            to
        } else {
            pc.wrapping_add(to)
        };
    }

    #[inline(always)]
    fn load_instruction(
        &mut self,
        d: Decoded,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
    ) -> Flow {
        macro_rules! load {
            ($size:ident, $ea:expr, $reversed:literal) => {{
                let value = self.load::<$size>(machine, cpu, $ea, $reversed)?;
                self.set_gpr(d.a, value);
            }};
            ($size:ident, $ea:expr, $reversed:literal, signed $type:ty) => {{
                let value = self.load::<$size>(machine, cpu, $ea, $reversed)?;
                self.set_gpr(d.a, value as $type as i64 as u64);
            }};
            ($size:ident, $ea:expr, update $(, signed $type:ty)?) => {{
                let ea = $ea;
                if d.b == 0 || d.a == d.b {
                    return Err(super::interrupts::ILLEGAL);
                }
                load!($size, ea, false $(, signed $type)?);
                self.set_gpr(d.b, ea);
            }};
        }
        let (ea_d, ea_x) = (Self::ea_d, Self::ea_x);
        match d.op {
            Op::Lbz => load!(Byte, ea_d(self, d), false),
            Op::Lhz => load!(Half, ea_d(self, d), false),
            Op::Lha => load!(Half, ea_d(self, d), false, signed i16),
            Op::Lwz => load!(Word, ea_d(self, d), false),
            Op::Lwa => load!(Word, ea_d(self, d), false, signed i32),
            Op::Ld => load!(Double, ea_d(self, d), false),
            Op::Lbzx => load!(Byte, ea_x(self, d), false),
            Op::Lhzx => load!(Half, ea_x(self, d), false),
            Op::Lhax => load!(Half, ea_x(self, d), false, signed i16),
            Op::Lwzx => load!(Word, ea_x(self, d), false),
            Op::Lwax => load!(Word, ea_x(self, d), false, signed i32),
            Op::Ldx => load!(Double, ea_x(self, d), false),
            Op::Lhbrx => load!(Half, ea_x(self, d), true),
            Op::Lwbrx => load!(Word, ea_x(self, d), true),
            Op::Ldbrx => load!(Double, ea_x(self, d), true),
            Op::Lbzu => load!(Byte, ea_d(self, d), update),
            Op::Lhzu => load!(Half, ea_d(self, d), update),
            Op::Lhau => load!(Half, ea_d(self, d), update, signed i16),
            Op::Lwzu => load!(Word, ea_d(self, d), update),
            Op::Ldu => load!(Double, ea_d(self, d), update),
            Op::Lbzux => load!(Byte, ea_x(self, d), update),
            Op::Lhzux => load!(Half, ea_x(self, d), update),
            Op::Lhaux => load!(Half, ea_x(self, d), update, signed i16),
            Op::Lwzux => load!(Word, ea_x(self, d), update),
            Op::Lwaux => load!(Word, ea_x(self, d), update, signed i32),
            Op::Ldux => load!(Double, ea_x(self, d), update),
            _ => return self.store_instruction(d, machine, cpu, code),
        }
        Ok(())
    }

    #[inline(always)]
    fn store_instruction(
        &mut self,
        d: Decoded,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
    ) -> Flow {
        macro_rules! store {
            ($size:ident, $ea:expr, $reversed:literal) => {
                self.store::<$size>(machine, cpu, code, ($ea, self.gpr(d.a), $reversed))?
            };
            ($size:ident, $ea:expr, update) => {{
                let ea = $ea;
                if d.b == 0 {
                    return Err(super::interrupts::ILLEGAL);
                }
                store!($size, ea, false);
                self.set_gpr(d.b, ea);
            }};
        }
        let (ea_d, ea_x) = (Self::ea_d, Self::ea_x);
        match d.op {
            Op::Stb => store!(Byte, ea_d(self, d), false),
            Op::Sth => store!(Half, ea_d(self, d), false),
            Op::Stw => store!(Word, ea_d(self, d), false),
            Op::Std => store!(Double, ea_d(self, d), false),
            Op::Stbx => store!(Byte, ea_x(self, d), false),
            Op::Sthx => store!(Half, ea_x(self, d), false),
            Op::Stwx => store!(Word, ea_x(self, d), false),
            Op::Stdx => store!(Double, ea_x(self, d), false),
            Op::Sthbrx => store!(Half, ea_x(self, d), true),
            Op::Stwbrx => store!(Word, ea_x(self, d), true),
            Op::Stdbrx => store!(Double, ea_x(self, d), true),
            Op::Stbu => store!(Byte, ea_d(self, d), update),
            Op::Sthu => store!(Half, ea_d(self, d), update),
            Op::Stwu => store!(Word, ea_d(self, d), update),
            Op::Stdu => store!(Double, ea_d(self, d), update),
            Op::Stbux => store!(Byte, ea_x(self, d), update),
            Op::Sthux => store!(Half, ea_x(self, d), update),
            Op::Stwux => store!(Word, ea_x(self, d), update),
            Op::Stdux => store!(Double, ea_x(self, d), update),
            _ => return self.arithmetic(d, machine, cpu, code),
        }
        Ok(())
    }
}
