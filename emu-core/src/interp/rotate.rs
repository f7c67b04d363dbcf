//! Logic, rotates, shifts and counts (Power ISA 2.07 Book I 3.3.12 to 3.3.14).
//!
//! Owns their masks. Refuses carries of additions: `fixed` has those.

use super::op::{Decoded, Op, WRAP};
use super::{Code, Flow, Interpreter};
use crate::cpu::Cpu;
use crate::machine::Machine;

/// The low word twice, rotated left.
#[inline(always)]
fn rotate32(value: u64, by: u8) -> u64 {
    let low = u64::from((value as u32).rotate_left(u32::from(by & 31)));
    low << 32 | low
}

/// The mask of a word rotate: one that wraps has the high word too.
#[inline(always)]
fn mask32(d: Decoded) -> u64 {
    let high = if d.c & WRAP != 0 {
        u64::from(u32::MAX) << 32
    } else {
        0
    };
    high | u64::from(d.imm)
}

/// Bits `mb` to `me`, around the end if `mb` is greater.
#[inline(always)]
fn mask64(mb: u32, me: u32) -> u64 {
    let (from, to) = (u64::MAX >> (mb & 63), u64::MAX << (63 - (me & 63)));
    if mb <= me { from & to } else { from | to }
}

impl Interpreter {
    #[inline(always)]
    pub(super) fn logical(
        &mut self,
        d: Decoded,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
    ) -> Flow {
        let (rs, rb) = (self.gpr(d.a), self.gpr(d.c));
        let result = match d.op {
            Op::Ori => return self.immediate(d, rs | u64::from(d.imm)),
            Op::Xori => return self.immediate(d, rs ^ u64::from(d.imm)),
            Op::AndiRc => {
                self.registers.record(rs & u64::from(d.imm));
                return self.immediate(d, rs & u64::from(d.imm));
            }
            Op::And => rs & rb,
            Op::Andc => rs & !rb,
            Op::Or => rs | rb,
            Op::Orc => rs | !rb,
            Op::Xor => rs ^ rb,
            Op::Nand => !(rs & rb),
            Op::Nor => !(rs | rb),
            Op::Eqv => !(rs ^ rb),
            Op::Extsb => rs as i8 as u64,
            Op::Extsh => rs as i16 as u64,
            Op::Extsw => rs as i32 as u64,
            Op::Cntlzw => u64::from((rs as u32).leading_zeros()),
            Op::Cntlzd => u64::from(rs.leading_zeros()),
            Op::Rlwinm => rotate32(rs, d.c) & mask32(d),
            Op::Rlwnm => rotate32(rs, rb as u8) & mask32(d),
            Op::Rlwimi => rotate32(rs, d.c) & mask32(d) | self.gpr(d.b) & !mask32(d),
            Op::Rldicl => rs.rotate_left(u32::from(d.c & 63)) & mask64(d.imm, 63),
            Op::Rldicr => rs.rotate_left(u32::from(d.c & 63)) & mask64(0, d.imm),
            Op::Rldic => {
                rs.rotate_left(u32::from(d.c & 63)) & mask64(d.imm, 63 - u32::from(d.c & 63))
            }
            Op::Rldimi => {
                let sh = u32::from(d.c & 63);
                let mask = mask64(d.imm, 63 - sh);
                rs.rotate_left(sh) & mask | self.gpr(d.b) & !mask
            }
            Op::Rldcl => rs.rotate_left(rb as u32 & 63) & mask64(d.imm, 63),
            Op::Rldcr => rs.rotate_left(rb as u32 & 63) & mask64(0, d.imm),
            _ => return self.shift(d, machine, cpu, code),
        };
        self.set_gpr(d.b, result);
        if d.rc() {
            self.registers.record(result);
        }
        Ok(())
    }

    #[inline(always)]
    fn immediate(&mut self, d: Decoded, result: u64) -> Flow {
        self.set_gpr(d.b, result);
        Ok(())
    }

    #[inline(always)]
    fn shift(&mut self, d: Decoded, machine: &Machine, cpu: &mut Cpu, code: &Code) -> Flow {
        let (rs, rb) = (self.gpr(d.a), self.gpr(d.c));
        let word = u64::from(rs as u32);
        let result = match d.op {
            Op::Slw if rb & 0x20 != 0 => 0,
            Op::Slw => u64::from((rs as u32) << (rb & 31)),
            Op::Srw if rb & 0x20 != 0 => 0,
            Op::Srw => word >> (rb & 31),
            Op::Sld if rb & 0x40 != 0 => 0,
            Op::Sld => rs << (rb & 63),
            Op::Srd if rb & 0x40 != 0 => 0,
            Op::Srd => rs >> (rb & 63),
            Op::Sraw => self.algebraic(i64::from(rs as i32), rb & 0x3f, 31),
            Op::Srawi => self.algebraic(i64::from(rs as i32), u64::from(d.c & 31), 31),
            Op::Srad => self.algebraic(rs as i64, rb & 0x7f, 63),
            Op::Sradi => self.algebraic(rs as i64, u64::from(d.c & 63), 63),
            _ => return self.count(d, machine, cpu, code),
        };
        self.set_gpr(d.b, result);
        if d.rc() {
            self.registers.record(result);
        }
        Ok(())
    }

    /// A shift right that keeps the sign; CA if a negative number lost bits.
    #[inline(always)]
    fn algebraic(&mut self, value: i64, by: u64, most: u64) -> u64 {
        let shifted = value >> by.min(63);
        let lost = value & !(-1i64 << by.min(most));
        self.registers.ca = value < 0 && (lost != 0 || by > most);
        shifted as u64
    }

    fn count(&mut self, d: Decoded, machine: &Machine, cpu: &mut Cpu, code: &Code) -> Flow {
        let (rs, rb) = (self.gpr(d.a), self.gpr(d.c));
        let bytes = rs.to_be_bytes();
        let parity = |bytes: &[u8]| u64::from(bytes.iter().fold(0, |sum, b| sum ^ b & 1));
        let result = match d.op {
            Op::Popcntb => u64::from_be_bytes(bytes.map(|b| b.count_ones() as u8)),
            Op::Popcntw => {
                let high = u64::from((rs >> 32).count_ones());
                high << 32 | u64::from((rs as u32).count_ones())
            }
            Op::Popcntd => u64::from(rs.count_ones()),
            Op::Prtyw => parity(&bytes[..4]) << 32 | parity(&bytes[4..]),
            Op::Prtyd => parity(&bytes),
            Op::Cmpb => {
                let same = |(a, b): (u8, u8)| if a == b { 0xff } else { 0 };
                let others = rb.to_be_bytes();
                u64::from_be_bytes(std::array::from_fn(|i| same((bytes[i], others[i]))))
            }
            Op::Bpermd => (0..8)
                .map(|i| (i, bytes[7 - i]))
                .filter(|&(_, bit)| bit < 64 && rb >> (63 - bit) & 1 != 0)
                .map(|(i, _)| 1 << i)
                .sum(),
            _ => return self.condition(d, machine, cpu, code),
        };
        self.set_gpr(d.b, result);
        Ok(())
    }
}
