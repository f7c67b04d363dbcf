//! The condition: `exists (P1:r1 = 1 /\ not duplicate-hpte)`.

use super::value::{entry_flag, pte_flag};
use super::{Parser, Read};
use crate::litmus::lexer::{At, Token};
use crate::litmus::place::FAULT;
use crate::litmus::test::{Condition, Invariant, Location};

/// Brackets and `not`s within each other: what a stack of the host bears.
const DEPTH_MAX: usize = 64;

impl Parser<'_> {
    pub(super) fn condition(&mut self, depth: usize) -> Read<Condition> {
        if depth > DEPTH_MAX {
            return self.refuse(format!("conditions go {DEPTH_MAX} deep at most"));
        }
        let mut all = self.conjunction(depth)?;
        while self.take_sign("\\/") {
            all = Condition::Or(Box::new(all), Box::new(self.conjunction(depth)?));
        }
        Ok(all)
    }

    fn conjunction(&mut self, depth: usize) -> Read<Condition> {
        let mut all = self.factor(depth)?;
        while self.take_sign("/\\") {
            all = Condition::And(Box::new(all), Box::new(self.factor(depth)?));
        }
        Ok(all)
    }

    fn factor(&mut self, depth: usize) -> Read<Condition> {
        if depth > DEPTH_MAX {
            return self.refuse(format!("conditions go {DEPTH_MAX} deep at most"));
        }
        if self.take_word("not") {
            return Ok(Condition::Not(Box::new(self.factor(depth + 1)?)));
        }
        if self.take_sign("(") {
            let inner = self.condition(depth + 1)?;
            self.sign(")", "`)`")?;
            return Ok(inner);
        }
        self.atom()
    }

    fn atom(&mut self) -> Read<Condition> {
        let begin = self.at();
        let place = self.location()?;
        let text = self.text_from(begin);
        let known = self.locations.iter().position(|(known, _)| *known == place);
        let location = known.unwrap_or(self.locations.len());
        if known.is_none() {
            self.locations.push((place, text));
        }
        if matches!(place, Location::Invariant(_)) {
            return Ok(Condition::Is {
                location,
                value: 1,
                equal: true,
            });
        }
        let equal = !self.take_sign("!=");
        if equal {
            self.sign("=", "`=` or `!=`")?;
        }
        let value = self.seen_value(place)?;
        Ok(Condition::Is {
            location,
            value,
            equal,
        })
    }

    /// What a location is compared with.
    fn seen_value(&mut self, place: Location) -> Read<u64> {
        match place {
            Location::Pte(_) | Location::Hpte(_) | Location::Tlb(..) => {
                if self.take_word("none") {
                    return Ok(0);
                }
                Ok(self.frame()? as u64 + 1)
            }
            Location::Register(..) if self.take_word("fault") => Ok(FAULT),
            _ => self.number("a number"),
        }
    }

    fn location(&mut self) -> Read<Location> {
        let right = "`TASK:REG`, a variable or frame, pte(A), hpte(A), hptes(A), tlb(CPU, A), \
                     batch(CPU), active(CPU), preempt(TASK), cpu(TASK) or an invariant is right";
        let Some(word) = self.word_here().map(str::to_owned) else {
            return self.refuse(right);
        };
        if let Some((_, invariant)) = Invariant::ALL.iter().find(|known| known.0 == word) {
            self.next += 1;
            return Ok(Location::Invariant(*invariant));
        }
        let at = self.at();
        match self.tokens.get(self.next + 1).map(|t| &t.1) {
            Some(Token::Sign(":")) => {
                let task = self.task()?;
                self.next += 1;
                let (at, name) = self.word("a register")?;
                let names: Vec<&str> = (self.tasks[task].registers.iter())
                    .map(String::as_str)
                    .collect();
                let register = super::position(at, "register", &name, &names)?;
                Ok(Location::Register(task, register))
            }
            Some(Token::Sign("(")) => {
                self.next += 2;
                self.function(at, &word, right)
            }
            _ => Ok(Location::Word(self.doubleword()?)),
        }
    }

    fn function(&mut self, at: At, name: &str, right: &str) -> Read<Location> {
        let place = match name {
            "pte" => Location::Pte(self.page()?),
            "hpte" => Location::Hpte(self.page()?),
            "hptes" => Location::Hptes(self.page()?),
            "batch" => Location::Batch(self.cpu()?),
            "active" => Location::Active(self.cpu()?),
            "preempt" => Location::PreemptCount(self.task()?),
            "cpu" => Location::Cpu(self.task()?),
            "tlb" => {
                let cpu = self.cpu()?;
                self.sign(",", "`,` and a page")?;
                Location::Tlb(cpu, self.page()?)
            }
            _ => return Err(at.error(format!("`{name}`: {right}"))),
        };
        self.sign(")", "`)`")?;
        if !self.take_sign(".") {
            return Ok(place);
        }
        let (at, flag) = self.word("a flag")?;
        match place {
            Location::Pte(page) => pte_flag(&flag)
                .map(|bits| Location::PteBits(page, bits))
                .ok_or_else(|| at.error("a PTE has present, rw, dirty, accessed, busy, hashed")),
            Location::Hpte(page) => entry_flag(&flag)
                .map(|(second, mask, bits)| Location::HpteBits(page, second, mask, bits))
                .ok_or_else(|| at.error("an entry has locked, r, c, rw")),
            _ => Err(at.error(format!("`{name}` has no flags"))),
        }
    }

    fn task(&mut self) -> Read<usize> {
        let (at, name) = self.word("a task")?;
        let names: Vec<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
        super::position(at, "task", &name, &names)
    }
}
