//! A CPU's registers as gdb has them.
//!
//! Owns the description of the target and the order in which it names the registers. Refuses floating point
//! and vectors, which the CPUs do not have.

use emu_core::{MSR_DR, MSR_EE, MSR_HV, MSR_IR, MSR_LE, MSR_ME, MSR_PR, MSR_RI, MSR_SF, Registers};
use gdbstub::arch::{self, Arch};

/// 64-bit PowerPC in either byte order, without floating point.
#[derive(Debug)]
pub enum PowerPc64 {}

impl Arch for PowerPc64 {
    type Usize = u64;
    type Registers = Bytes;
    type BreakpointKind = usize;
    type RegId = ();

    fn target_description_xml() -> Option<&'static str> {
        Some(include_str!("target.xml"))
    }
}

/// The registers in the target's order and byte order, as the protocol carries them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(Vec<u8>);

impl arch::Registers for Bytes {
    type ProgramCounter = u64;

    /// Of no use to a target with threads.
    fn pc(&self) -> u64 {
        0
    }

    fn gdb_serialize(&self, write_byte: impl FnMut(Option<u8>)) {
        self.0.iter().copied().map(Some).for_each(write_byte);
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.0 = bytes.to_vec();
        Ok(())
    }
}

const MSR_KNOWN: u64 =
    MSR_SF | MSR_HV | MSR_EE | MSR_PR | MSR_ME | MSR_IR | MSR_DR | MSR_RI | MSR_LE;

/// What is done to each register in the order of the description: its value in, its new value out.
struct Cursor<'b> {
    bytes: &'b mut Vec<u8>,
    at: usize,
    little_endian: bool,
    reads: bool,
}

impl Cursor<'_> {
    fn wide(&mut self, value: u64) -> Option<u64> {
        self.sized(value, 8)
    }

    fn word(&mut self, value: u32) -> Option<u32> {
        self.sized(u64::from(value), 4).map(|value| value as u32)
    }

    fn sized(&mut self, value: u64, size: usize) -> Option<u64> {
        if self.reads {
            let mut bytes = value.to_be_bytes()[8 - size..].to_vec();
            if self.little_endian {
                bytes.reverse();
            }
            self.bytes.extend(bytes);
            return Some(value);
        }
        let bytes = self.bytes.get(self.at..self.at + size)?;
        self.at += size;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(match self.little_endian {
            true => bytes.iter().rev().fold(0, add),
            false => bytes.iter().fold(0, add),
        })
    }

    /// `None` if bytes are missing.
    fn all(mut self, r: &mut Registers) -> Option<()> {
        for gpr in &mut r.gpr {
            *gpr = self.wide(*gpr)?;
        }
        r.pc = self.wide(r.pc)? & !3;
        r.msr = self.wide(r.msr)? & MSR_KNOWN;
        r.cr = self.word(r.cr)?;
        r.lr = self.wide(r.lr)?;
        r.ctr = self.wide(r.ctr)?;
        let xer = self.word(r.xer() as u32)?;
        r.set_xer(u64::from(xer));
        r.srr0 = self.wide(r.srr0)?;
        r.srr1 = self.wide(r.srr1)?;
        r.dar = self.wide(r.dar)?;
        r.dsisr = self.word(r.dsisr)?;
        for sprg in &mut r.sprg {
            *sprg = self.wide(*sprg)?;
        }
        r.cfar = self.wide(r.cfar)?;
        (self.reads || self.at == self.bytes.len()).then_some(())
    }
}

impl Bytes {
    /// Takes a CPU's registers.
    pub fn take(&mut self, registers: &Registers, little_endian: bool) {
        self.0.clear();
        let cursor = Cursor {
            bytes: &mut self.0,
            at: 0,
            little_endian,
            reads: true,
        };
        // Nothing is missing where nothing is read.
        let _ = cursor.all(&mut registers.clone());
    }

    /// Gives them to a CPU; false, and nothing is done, if they are not as many as there are.
    pub fn give(&self, registers: &mut Registers, little_endian: bool) -> bool {
        let mut new = registers.clone();
        let cursor = Cursor {
            bytes: &mut self.0.clone(),
            at: 0,
            little_endian,
            reads: false,
        };
        let given = cursor.all(&mut new).is_some();
        if given {
            *registers = new;
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let mut registers = Registers::new(0x1_0000, 3);
        registers.gpr[31] = 0x0102_0304_0506_0708;
        (registers.cr, registers.cfar) = (0x1234_5678, 0x40);
        registers.set_xer(0xe000_0011);
        for little_endian in [false, true] {
            let mut bytes = Bytes::default();
            bytes.take(&registers, little_endian);
            let r31: Vec<u8> = bytes.0[31 * 8..32 * 8].to_vec();
            assert_eq!(r31[0], if little_endian { 8 } else { 1 });
            let mut other = Registers::new(0, 0);
            assert!(bytes.give(&mut other, little_endian));
            (other.pir, other.gpr[3]) = (3, 3);
            assert_eq!(other, registers);
            bytes.0.pop();
            assert!(!bytes.give(&mut other, little_endian));
        }
    }

    #[test]
    fn the_description_names_as_many() {
        let xml = PowerPc64::target_description_xml().unwrap();
        let bits = |size: &str| xml.matches(&format!("bitsize=\"{size}\"")).count();
        let mut bytes = Bytes::default();
        bytes.take(&Registers::new(0, 0), false);
        assert_eq!(bits("64") * 8 + bits("32") * 4, bytes.0.len());
    }
}
