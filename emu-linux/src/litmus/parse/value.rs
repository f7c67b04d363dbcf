//! Values: PTEs, the doublewords of an entry, numbers.

use super::{Parser, Read};
use crate::litmus::lexer::Token;
use crate::litmus::place::{BITS, entry_r, frame_ra, pattern};
use crate::litmus::test::{Base, Slot, Value};
use crate::litmus::words::Kind;
use emu_mmu::{HpteR, HpteV};

/// M: coherent storage, as the kernel maps memory.
const COHERENT: u64 = 0x10;
/// pp of a user's page that may be written, and of one that may not (Power ISA 2.07 Book III-S 5.7.9.1).
const PP: [(&str, u64); 2] = [("rw", 2), ("ro", 3)];

/// Flags of a PTE.
const PTE_FLAGS: [(&str, u64); 6] = [
    ("present", BITS.present),
    ("rw", BITS.write),
    ("dirty", BITS.dirty),
    ("accessed", BITS.accessed),
    ("busy", BITS.busy),
    ("hashed", BITS.hashpte),
];

/// The bits of a PTE's flag.
pub(super) fn pte_flag(name: &str) -> Option<u64> {
    PTE_FLAGS.iter().find(|flag| flag.0 == name).map(|f| f.1)
}

/// A flag of an entry: whether it is in the second doubleword, its mask, and what is there if it is set.
pub(super) fn entry_flag(name: &str) -> Option<(bool, u64, u64)> {
    Some(match name {
        "locked" => (false, HpteV::LOCK, HpteV::LOCK),
        "r" => (true, HpteR::R, HpteR::R),
        "c" => (true, HpteR::C, HpteR::C),
        "rw" => (true, HpteR::PP_MASK, 2),
        _ => return None,
    })
}

impl Parser<'_> {
    /// `none`, a register of `task`, or `FRAME rw|ro` and flags that are set; then flags changed.
    pub(super) fn pte_value(&mut self, task: Option<usize>) -> Read<Value> {
        let mut value = match self.register_here(task) {
            Some(value) => value,
            None if self.take_word("none") => Value::constant(0),
            None => Value::constant(self.pte_of_frame()?),
        };
        self.pte_change(&mut value)?;
        Ok(value)
    }

    /// `FRAME rw|ro FLAG…`, `slot N` among them.
    fn pte_of_frame(&mut self) -> Read<u64> {
        let frame = self.frame()?;
        let write = self.protection()? == 2;
        let mut pte = BITS.user_pte(frame_ra(frame), write) & !BITS.dirty;
        while let Token::Word(word) = self.peek().clone() {
            self.next += 1;
            pte |= match pte_flag(&word) {
                Some(bits) => bits,
                None if word == "slot" => BITS.hidx_bits(self.hidx()?),
                None => {
                    self.next -= 1;
                    return self.refuse(format!("flags are {}, slot N", flag_names()));
                }
            };
        }
        Ok(pte)
    }

    /// `+FLAG` and `-FLAG`, any number of them.
    pub(super) fn pte_change(&mut self, value: &mut Value) -> Read<()> {
        loop {
            let set = self.take_sign("+");
            if !set && !self.take_sign("-") {
                return Ok(());
            }
            let Token::Word(word) = self.peek().clone() else {
                return self.refuse("a flag comes after `+` or `-`");
            };
            let Some(bits) = pte_flag(&word) else {
                return self.refuse(format!("flags are {}", flag_names()));
            };
            self.next += 1;
            self.change(value, set, bits);
        }
    }

    fn change(&self, value: &mut Value, set: bool, bits: u64) {
        value.clear |= bits;
        value.set = if set {
            value.set | bits
        } else {
            value.set & !bits
        };
    }

    /// Doubleword 0 of an entry of `page`.
    fn entry_v(&mut self, task: Option<usize>, page: usize) -> Read<Value> {
        let mut value = match self.register_here(task) {
            Some(value) => value,
            None if self.take_word("none") => Value::constant(0),
            None if self.take_word("valid") => Value::constant(pattern(page).0),
            None => return self.refuse("`valid`, `none` or a register is right"),
        };
        loop {
            let set = self.take_sign("+");
            if !set && !self.take_sign("-") {
                return Ok(value);
            }
            if !self.take_word("locked") {
                return self.refuse("`locked` is the flag to change here");
            }
            self.change(&mut value, set, HpteV::LOCK);
        }
    }

    /// `FRAME rw|ro`, then `r` and `c`.
    pub(super) fn entry_r(&mut self, task: Option<usize>) -> Read<Value> {
        if let Some(value) = self.register_here(task) {
            return Ok(value);
        }
        let frame = self.frame()?;
        let mut flags = self.protection()? | COHERENT;
        loop {
            if self.take_word("r") {
                flags |= HpteR::R;
            } else if self.take_word("c") {
                flags |= HpteR::C;
            } else {
                return Ok(Value::constant(entry_r(frame, flags).0));
            }
        }
    }

    fn protection(&mut self) -> Read<u64> {
        for (word, pp) in PP {
            if self.take_word(word) {
                return Ok(pp);
            }
        }
        self.refuse("`rw` or `ro` is right")
    }

    fn hidx(&mut self) -> Read<u64> {
        let at = self.at();
        match self.number("a slot")? {
            hidx @ 0..=15 => Ok(hidx),
            _ => Err(at.error("slots go from 0 to 15; from 8 on in the secondary group")),
        }
    }

    pub(super) fn slot(&mut self, task: Option<usize>) -> Read<Slot> {
        if self.take_word("of") {
            let at = self.at();
            return match self.register_here(task).map(|value| value.base) {
                Some(Base::Register(register)) => Ok(Slot::OfPte(register)),
                _ => Err(at.error("a register that holds a PTE comes after `of`")),
            };
        }
        match self.register_here(task) {
            Some(value) => Ok(Slot::Number(value)),
            None => Ok(Slot::Number(Value::constant(self.hidx()?))),
        }
    }

    /// A value of one of the kinds that give one. `page` is the step's.
    pub(super) fn value(&mut self, kind: Kind, task: usize, page: usize) -> Read<Value> {
        let task = Some(task);
        match kind {
            Kind::Pte => self.pte_value(task),
            Kind::EntryV => self.entry_v(task, page),
            Kind::EntryR => self.entry_r(task),
            Kind::Protection => Ok(Value::constant(self.protection()?)),
            Kind::Access if self.take_word("load") => Ok(Value::constant(0)),
            Kind::Access if self.take_word("store") => Ok(Value::constant(1)),
            Kind::Access => self.refuse("`load` or `store` is right"),
            Kind::PteChange => {
                // Nothing named yet: the bits of what stands in memory are changed.
                let mut value = Value::constant(0);
                self.pte_change(&mut value)?;
                match value.clear {
                    0 => self.refuse("`+FLAG` or `-FLAG` is right"),
                    _ => Ok(value),
                }
            }
            _ => match self.register_here(task) {
                Some(value) => Ok(value),
                None if kind == Kind::Register => self.refuse("a register is right"),
                None => Ok(Value::constant(self.number("a number or a register")?)),
            },
        }
    }

    /// A register of the task that was named before, if one stands here.
    fn register_here(&mut self, task: Option<usize>) -> Option<Value> {
        let Token::Word(name) = self.peek() else {
            return None;
        };
        let registers = &self.tasks.get(task?)?.registers;
        let register = registers.iter().position(|known| known == name)?;
        self.next += 1;
        Some(Value {
            base: Base::Register(register),
            clear: 0,
            set: 0,
        })
    }
}

fn flag_names() -> String {
    let names: Vec<&str> = PTE_FLAGS.iter().map(|flag| flag.0).collect();
    names.join(", ")
}
