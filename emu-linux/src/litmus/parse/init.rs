//! The initial state: `{ frame X = 7; page A; pte A = X rw; … }`.

use super::{Parser, Read};
use crate::litmus::lexer::At;
use crate::litmus::place::{BATCH_MAX, FRAMES_MAX, PAGES_MAX, VARIABLES_MAX, pattern};
use crate::litmus::test::{Base, Value};
use emu_mmu::HpteV;

impl Parser<'_> {
    pub(super) fn init(&mut self) -> Read<()> {
        self.sign("{", "`{` and the initial state")?;
        while !self.take_sign("}") {
            let (at, what) = self.word("what there is, or `}`,")?;
            match what.as_str() {
                "frame" => self.named(at, FRAMES_MAX, |init| &mut init.frames)?,
                "var" => self.named(at, VARIABLES_MAX, |init| &mut init.variables)?,
                "page" => self.pages(at)?,
                "pte" => {
                    let page = self.page()?;
                    self.sign("=", "`=` and the PTE")?;
                    self.init.ptes[page] = constant(self.pte_value(None)?);
                }
                "hpte" => self.entry()?,
                "tlb" => self.cached()?,
                "batch" => self.queued()?,
                "active" => {
                    let cpu = self.cpu()?;
                    self.init.active.push(cpu);
                }
                "interrupts" => {
                    let at = self.at();
                    self.init.interrupts = match self.number("how many a run may have")? {
                        number @ 0..=2 => number as usize,
                        _ => return Err(at.error("a run may have up to 2 timer interrupts")),
                    };
                }
                _ => {
                    let right = "frame, var, page, pte, hpte, tlb, batch, active, interrupts";
                    return Err(at.error(format!("`{what}`: the initial state has {right}")));
                }
            }
            self.sign(";", "`;`")?;
        }
        Ok(())
    }

    /// `frame X = 7`, `var x = 7`.
    fn named(
        &mut self,
        at: At,
        most: usize,
        list: fn(&mut super::Init) -> &mut Vec<(String, u64)>,
    ) -> Read<()> {
        let name = self.new_name()?;
        self.sign("=", "`=` and what it holds")?;
        let value = self.number("a number")?;
        let list = list(&mut self.init);
        if list.len() == most {
            return Err(at.error(format!("a test has at most {most} of these")));
        }
        list.push((name, value));
        Ok(())
    }

    /// `page A, B`.
    fn pages(&mut self, at: At) -> Read<()> {
        loop {
            let name = self.new_name()?;
            if self.init.pages.len() == PAGES_MAX {
                return Err(at.error(format!("a test has at most {PAGES_MAX} pages")));
            }
            self.init.pages.push(name);
            self.init.ptes.push(0);
            if !self.take_sign(",") {
                return Ok(());
            }
        }
    }

    fn new_name(&mut self) -> Read<String> {
        let (at, name) = self.word("a name")?;
        let values = self.init.frames.iter().chain(&self.init.variables);
        let mut names = self.init.pages.iter().chain(values.map(|v| &v.0));
        if names.any(|known| *known == name) {
            return Err(at.error(format!("`{name}` is named already")));
        }
        if ["none", "fault", "not"].contains(&name.as_str()) {
            return Err(at.error(format!("`{name}` means something already")));
        }
        Ok(name)
    }

    /// `hpte A 0 = X rw r c locked`.
    fn entry(&mut self) -> Read<()> {
        let page = self.page()?;
        let at = self.at();
        let slot = match self.number("the slot, 0 to 7,")? {
            slot @ 0..=7 => slot as u8,
            _ => return Err(at.error("slots of the primary group go from 0 to 7")),
        };
        self.sign("=", "`=` and what the entry maps")?;
        let r = constant(self.entry_r(None)?);
        let mut v = pattern(page).0;
        loop {
            if self.take_word("locked") {
                v |= HpteV::LOCK;
            } else if self.take_word("bolted") {
                v |= HpteV::BOLTED;
            } else {
                break;
            }
        }
        self.init.hptes.push((page, slot, v, r));
        Ok(())
    }

    /// `tlb 1 = A`: CPU 1 has loaded through A; `tlb 1 = A dirty`: it has stored through it.
    fn cached(&mut self) -> Read<()> {
        let cpu = self.cpu()?;
        self.sign("=", "`=` and a page")?;
        let at = self.at();
        let page = self.page()?;
        if !self.init.hptes.iter().any(|hpte| hpte.0 == page) {
            return Err(at.error("what a TLB has comes from the table: give the page an `hpte`"));
        }
        let dirty = self.take_word("dirty");
        self.init.cached.push((cpu, page, dirty));
        Ok(())
    }

    /// `batch 0 = A X rw hashed`.
    fn queued(&mut self) -> Read<()> {
        let at = self.at();
        let cpu = self.cpu()?;
        self.sign("=", "`=`, a page and its old PTE")?;
        let page = self.page()?;
        let pte = constant(self.pte_value(None)?);
        let there = self.init.queued.iter().filter(|q| q.0 == cpu).count();
        if there as u64 == BATCH_MAX {
            return Err(at.error(format!("a batch holds at most {BATCH_MAX} entries")));
        }
        self.init.queued.push((cpu, page, pte));
        Ok(())
    }
}

/// The value of what names no register.
fn constant(value: Value) -> u64 {
    let base = match value.base {
        Base::Constant(constant) => constant,
        Base::Register(_) => 0,
    };
    (base & !value.clear) | value.set
}
