//! Fixed-point arithmetic and compares (Power ISA 2.07 Book I 3.3.9 to 3.3.10).
//!
//! Owns carries and overflow. Where the architecture leaves a result undefined it is QEMU's: the high
//! word of a word's quotient is 0 (of divwe its sign), and a division that overflows gives its dividend, or
//! 0 if extended.

use super::op::{Decoded, Op};
use super::{Code, Flow, Interpreter};
use crate::cpu::Cpu;
use crate::machine::Machine;

impl Interpreter {
    #[inline(always)]
    pub(super) fn arithmetic(
        &mut self,
        d: Decoded,
        machine: &Machine,
        cpu: &mut Cpu,
        code: &Code,
    ) -> Flow {
        let (ra, rb) = (self.gpr(d.b), self.gpr(d.c));
        let carry = u64::from(self.registers.ca);
        match d.op {
            Op::Add => self.sum(d, ra.wrapping_add(rb), (ra, rb, 0)),
            Op::Subf => self.sum(d, rb.wrapping_sub(ra), (!ra, rb, 1)),
            Op::Neg => self.sum(d, ra.wrapping_neg(), (!ra, 0, 1)),
            Op::Addc => self.carrying(d, ra, rb, 0),
            Op::Adde => self.carrying(d, ra, rb, carry),
            Op::Addme => self.carrying(d, ra, u64::MAX, carry),
            Op::Addze => self.carrying(d, ra, 0, carry),
            Op::Subfc => self.carrying(d, !ra, rb, 1),
            Op::Subfe => self.carrying(d, !ra, rb, carry),
            Op::Subfme => self.carrying(d, !ra, u64::MAX, carry),
            Op::Subfze => self.carrying(d, !ra, 0, carry),
            Op::Addic => self.carrying_immediate(d, ra, d.simm(), 0),
            Op::AddicRc => {
                self.carrying_immediate(d, ra, d.simm(), 0);
                self.registers.record(self.gpr(d.a));
            }
            Op::Subfic => self.carrying_immediate(d, !ra, d.simm(), 1),
            Op::Mulli => self.set_gpr(d.a, ra.wrapping_mul(d.simm())),
            Op::CmpiW => self.compare(d, ra as i32, d.imm as i32),
            Op::CmpiD => self.compare(d, ra as i64, d.simm() as i64),
            Op::CmpliW => self.compare(d, ra as u32, d.imm),
            Op::CmpliD => self.compare(d, ra, u64::from(d.imm)),
            Op::CmpW => self.compare(d, ra as i32, rb as i32),
            Op::CmpD => self.compare(d, ra as i64, rb as i64),
            Op::CmplW => self.compare(d, ra as u32, rb as u32),
            Op::CmplD => self.compare(d, ra, rb),
            _ => return self.multiply(d, machine, cpu, code),
        }
        Ok(())
    }

    #[inline(always)]
    fn compare<T: Ord>(&mut self, d: Decoded, left: T, right: T) {
        self.registers.set_compared(d.a, left.cmp(&right));
    }

    /// A sum without CA; with OE the overflow of `x + y + carry`.
    #[inline(always)]
    fn sum(&mut self, d: Decoded, sum: u64, (x, y, carry): (u64, u64, u64)) {
        if d.oe() {
            self.overflow_of(x, y, carry);
        }
        self.done(d, sum);
    }

    #[inline(always)]
    fn carrying(&mut self, d: Decoded, x: u64, y: u64, carry: u64) {
        let sum = self.add_with_carry(x, y, carry);
        self.sum(d, sum, (x, y, carry));
    }

    #[inline(always)]
    fn carrying_immediate(&mut self, d: Decoded, x: u64, y: u64, carry: u64) {
        let sum = self.add_with_carry(x, y, carry);
        self.set_gpr(d.a, sum);
    }

    /// Sets CA by the mode's width.
    #[inline(always)]
    fn add_with_carry(&mut self, x: u64, y: u64, carry: u64) -> u64 {
        let (sum, first) = x.overflowing_add(y);
        let (sum, second) = sum.overflowing_add(carry);
        self.registers.ca = if self.registers.sf() {
            first | second
        } else {
            (x & 0xffff_ffff) + (y & 0xffff_ffff) + carry > 0xffff_ffff
        };
        sum
    }

    #[cold]
    fn overflow_of(&mut self, x: u64, y: u64, carry: u64) {
        let sum = x.wrapping_add(y).wrapping_add(carry);
        let sign = if self.registers.sf() { 63 } else { 31 };
        self.set_overflow((x ^ sum) & (y ^ sum) & 1 << sign != 0);
    }

    /// OV, and SO for good.
    fn set_overflow(&mut self, overflow: bool) {
        self.registers.ov = overflow;
        self.registers.so |= overflow;
    }

    /// Writes RT, and CR0 if Rc=1.
    #[inline(always)]
    fn done(&mut self, d: Decoded, result: u64) {
        self.set_gpr(d.a, result);
        if d.rc() {
            self.registers.record(result);
        }
    }

    #[inline(always)]
    fn multiply(&mut self, d: Decoded, machine: &Machine, cpu: &mut Cpu, code: &Code) -> Flow {
        let (ra, rb) = (self.gpr(d.b), self.gpr(d.c));
        let (wa, wb) = (ra as i32, rb as i32);
        let signed = (ra as i64 as i128).wrapping_mul(rb as i64 as i128);
        let unsigned = u128::from(ra).wrapping_mul(u128::from(rb));
        let words = i64::from(wa).wrapping_mul(i64::from(wb));
        match d.op {
            Op::Mullw => self.done_or_overflow(d, words as u64, i32::try_from(words).is_err()),
            Op::Mulld => self.done_or_overflow(d, signed as u64, i64::try_from(signed).is_err()),
            Op::Mulhw => self.done(d, words as u64 >> 32),
            Op::Mulhwu => self.done(d, (u64::from(ra as u32) * u64::from(rb as u32)) >> 32),
            Op::Mulhd => self.done(d, (signed >> 64) as u64),
            Op::Mulhdu => self.done(d, (unsigned >> 64) as u64),
            Op::Divw => match wa.checked_div(wb) {
                Some(quotient) => self.done_or_overflow(d, u64::from(quotient as u32), false),
                None => self.done_or_overflow(d, u64::from(wa as u32), true),
            },
            Op::Divwu => match (ra as u32).checked_div(rb as u32) {
                Some(quotient) => self.done_or_overflow(d, u64::from(quotient), false),
                None => self.done_or_overflow(d, u64::from(ra as u32), true),
            },
            Op::Divd => match (ra as i64).checked_div(rb as i64) {
                Some(quotient) => self.done_or_overflow(d, quotient as u64, false),
                None => self.done_or_overflow(d, ra, true),
            },
            Op::Divdu => match ra.checked_div(rb) {
                Some(quotient) => self.done_or_overflow(d, quotient, false),
                None => self.done_or_overflow(d, ra, true),
            },
            Op::Divwe | Op::Divweu | Op::Divde | Op::Divdeu => self.divide_extended(d),
            _ => return self.logical(d, machine, cpu, code),
        }
        Ok(())
    }

    #[inline(always)]
    fn done_or_overflow(&mut self, d: Decoded, result: u64, overflow: bool) {
        if d.oe() {
            self.set_overflow(overflow);
        }
        self.done(d, result);
    }

    /// divwe, divweu, divde, divdeu: the dividend has as many zeros below it.
    #[inline(never)]
    fn divide_extended(&mut self, d: Decoded) {
        let (ra, rb) = (self.gpr(d.b), self.gpr(d.c));
        let quotient = match d.op {
            Op::Divwe => (i64::from(ra as i32) << 32)
                .checked_div(i64::from(rb as i32))
                .and_then(|q| i32::try_from(q).ok())
                .map(|q| q as u64),
            Op::Divweu => (u64::from(ra as u32) << 32)
                .checked_div(u64::from(rb as u32))
                .filter(|&q| q <= u64::from(u32::MAX)),
            Op::Divde => (i128::from(ra as i64) << 64)
                .checked_div(i128::from(rb as i64))
                .and_then(|q| i64::try_from(q).ok())
                .map(|q| q as u64),
            _ => (u128::from(ra) << 64)
                .checked_div(u128::from(rb))
                .and_then(|q| u64::try_from(q).ok()),
        };
        self.done_or_overflow(d, quotient.unwrap_or(0), quotient.is_none());
    }
}
