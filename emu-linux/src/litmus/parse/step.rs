//! A step: `r1 = pte_load A`, `if r1 flush A`, `unless r1 hash_page A store`.

use super::{Parser, Read};
use crate::config::nearest;
use crate::litmus::lexer::{At, Token};
use crate::litmus::place::{REGISTERS_MAX, frame_ra, variable};
use crate::litmus::test::{Base, Operand, Register, Step};
use crate::litmus::words::{Kind, Word};

impl Parser<'_> {
    pub(super) fn step(&mut self, task: usize) -> Read<Step> {
        let guard = match (self.take_word("if"), self.take_word("unless")) {
            (false, false) => None,
            (on, _) => Some((self.old_register(task)?, on)),
        };
        let (at, name) = self.word("a step")?;
        let (to, at, name) = match self.take_sign("=") {
            true => {
                let to = (at, name);
                let (at, name) = self.word("a step that gives a value")?;
                (Some(to), at, name)
            }
            false => (None, at, name),
        };
        let Some((word, kinds, gives)) = Word::find(&name) else {
            let near = nearest(&name, Word::all());
            let right = near.map_or("see the list of steps".to_owned(), |near| {
                format!("did you mean `{near}`?")
            });
            return Err(at.error(format!("no step `{name}`: {right}")));
        };
        if let Some((at, register)) = to.as_ref().filter(|_| !gives) {
            return Err(at.error(format!(
                "`{name}` gives nothing that `{register}` could hold"
            )));
        }
        let operands = self.operands(task, &name, kinds)?;
        let to = to.map(|(at, name)| self.register(task, at, name));
        Ok(Step {
            guard,
            to: to.transpose()?,
            word,
            operands,
        })
    }

    fn operands(&mut self, task: usize, name: &str, kinds: &[Kind]) -> Read<Vec<Operand>> {
        let mut operands = Vec::new();
        let mut page = 0;
        for &kind in kinds {
            if self.is_sign("|") || self.is_sign(";") {
                let usage: Vec<&str> = kinds.iter().map(|kind| kind.usage()).collect();
                return self.refuse(format!("`{name} {}` is right", usage.join(" ")));
            }
            operands.push(match kind {
                Kind::Page => {
                    page = self.page()?;
                    Operand::Page(page)
                }
                Kind::Frame => Operand::Frame(self.frame()?),
                Kind::Word => Operand::Word(self.doubleword()?),
                Kind::Cpu => Operand::Cpu(self.cpu()?),
                Kind::Slot => Operand::Slot(self.slot(Some(task))?),
                _ => Operand::Value(self.value(kind, task, page)?),
            });
        }
        Ok(operands)
    }

    /// A variable, or a frame: its first doubleword.
    pub(super) fn doubleword(&mut self) -> Read<u64> {
        let (at, name) = self.word("a variable or a frame")?;
        let variables = self.init.variables.iter().map(|v| v.0.as_str());
        let frames = self.init.frames.iter().map(|f| f.0.as_str());
        let names: Vec<&str> = variables.chain(frames).collect();
        let number = super::position(at, "variable or frame", &name, &names)?;
        Ok(match number.checked_sub(self.init.variables.len()) {
            None => variable(number),
            Some(frame) => frame_ra(frame),
        }
        .get())
    }

    fn old_register(&mut self, task: usize) -> Read<Register> {
        let at = self.at();
        match self.value(Kind::Register, task, 0)?.base {
            Base::Register(register) => Ok(register),
            Base::Constant(_) => Err(at.error("a register is right")),
        }
    }

    /// A register to hold something, perhaps a new one.
    fn register(&mut self, task: usize, at: At, name: String) -> Read<Register> {
        let registers = &mut self.tasks[task].registers;
        if let Some(known) = registers.iter().position(|known| *known == name) {
            return Ok(known);
        }
        if registers.len() == REGISTERS_MAX {
            return Err(at.error(format!("a task has at most {REGISTERS_MAX} registers")));
        }
        registers.push(name);
        Ok(registers.len() - 1)
    }

    /// True if a word stands here.
    pub(super) fn word_here(&self) -> Option<&str> {
        match self.peek() {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }
}
