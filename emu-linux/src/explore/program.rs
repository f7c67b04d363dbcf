//! What the tasks of an explored scenario do, a line each.
//!
//! Owns what the lines mean to the kernel model. A task knows the areas of the set-up and its own by
//! their names. What it reads it compares with what it stored itself: something else is evidence of a stale
//! translation, whatever other rules say.

use super::op::Op;
use crate::kernel::Linux;
use crate::mm::Mm;
use crate::tracepoint::Tracepoint;
use crate::user::USER_START;
use emu_core::{Ctx, Exception, Run};
use emu_mmu::Ea;
use std::collections::HashMap;
use std::fmt;

/// What the set-up made.
#[derive(Clone, Debug, Default)]
pub(super) struct Made {
    /// Areas by name.
    pub areas: HashMap<String, Ea>,
    /// Address spaces by name.
    pub mms: HashMap<String, Mm>,
}

/// A task, or the set-up, while it goes through its lines.
pub(super) struct Actor {
    made: Made,
    mm: Option<Mm>,
    /// Tells this actor's stores from those of others.
    mark: u64,
    stored: HashMap<Ea, u64>,
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").field("made", &self.made).finish()
    }
}

impl Actor {
    pub fn new(made: Made, mm: Option<Mm>, mark: u64) -> Self {
        Actor {
            made,
            mm,
            mark: mark << 32,
            stored: HashMap::new(),
        }
    }

    pub fn into_made(self) -> Made {
        self.made
    }

    /// Does one line. What the kernel refuses (-ENOMEM) is passed over, with what would have come of it.
    pub fn perform(&mut self, linux: &Linux, cx: &mut Ctx<'_>, op: &Op) -> Run<()> {
        match op {
            Op::Vmalloc(name, pages) => {
                if let Ok(area) = linux.vmalloc(cx, pages * linux.page_bytes())? {
                    self.made.areas.insert(name.clone(), area);
                }
            }
            Op::Vfree(name) => {
                if let Some(area) = self.made.areas.remove(name) {
                    linux.vfree(cx, area)?;
                }
            }
            Op::Read(name, page) => {
                if let Some(at) = self.area_page(linux, name, *page) {
                    let found = cx.load_u64(at, "explore: read")?;
                    self.compare(linux, cx, at, found);
                }
            }
            Op::Write(name, page) => {
                if let Some(at) = self.area_page(linux, name, *page) {
                    let value = self.fresh(at);
                    cx.store_u64(at, value, "explore: write")?;
                }
            }
            Op::SetMemory(name, pages, action) => {
                if let Some(&area) = self.made.areas.get(name) {
                    let _ = linux.set_memory(cx, area, *pages, *action)?;
                }
            }
            Op::SetMemoryReplacing(name, pages, action) => {
                if let Some(&area) = self.made.areas.get(name) {
                    let _ = linux.set_memory_replacing(cx, area, *pages, *action)?;
                }
            }
            Op::ApplySleeping(name, pages) => {
                if let Some(&area) = self.made.areas.get(name) {
                    self.apply_sleeping(linux, cx, area, *pages)?;
                }
            }
            Op::Mm(_) | Op::Fault(..) | Op::Fork(_) => self.address_space(linux, cx, op)?,
            _ => self.user(linux, cx, op)?,
        }
        linux.return_to_user(cx)
    }

    fn address_space(&mut self, linux: &Linux, cx: &mut Ctx<'_>, op: &Op) -> Run<()> {
        match op {
            Op::Mm(name) => {
                if let Ok(mm) = linux.mm_alloc(cx)? {
                    // Its tasks do not tear it down when they exit: that is no part of any scenario.
                    linux.mm_get(cx, mm)?;
                    self.made.mms.insert(name.clone(), mm);
                }
            }
            Op::Fault(name, page) => {
                if let Some(&mm) = self.made.mms.get(name) {
                    let _ = linux.user_page_fault(cx, mm, user_page(linux, *page), true)?;
                }
            }
            Op::Fork(name) => {
                if let Some(&mm) = self.made.mms.get(name) {
                    let _ = linux.dup_mm(cx, mm)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn user(&mut self, linux: &Linux, cx: &mut Ctx<'_>, op: &Op) -> Run<()> {
        let Some(mm) = self.mm else {
            return Err(Exception::Corrupt(
                "a user's line in a task without address space",
            ));
        };
        match *op {
            Op::Store(page) => {
                let at = user_page(linux, page) + self.word();
                let value = self.fresh(at);
                cx.user_store_u64(at, value, "user: store")?;
            }
            Op::TryStore(page) => {
                let at = user_page(linux, page) + self.word();
                match cx.user_store_u64(at, self.mark | 1, "user: store") {
                    Ok(()) => {
                        self.stored.insert(at, self.mark | 1);
                    }
                    // The exception ended with a signal: back to the program, interrupts on.
                    Err(Exception::Fault(_)) => drop(cx.set_interrupts(true)?),
                    Err(other) => return Err(other),
                }
            }
            Op::Load(page) => {
                let at = user_page(linux, page) + self.word();
                let found = cx.user_load_u64(at, "user: load")?;
                self.compare(linux, cx, at, found);
            }
            Op::Munmap(page, pages) => {
                linux.munmap(cx, mm, user_page(linux, page), pages)?;
                let (from, to) = (user_page(linux, page), user_page(linux, page + pages));
                self.stored.retain(|at, _| !(from..to).contains(at));
            }
            Op::Mprotect(page, pages, write) => {
                linux.mprotect(cx, mm, user_page(linux, page), pages, write)?;
            }
            Op::SwapOut(page) => {
                linux.swap_out(cx, mm, user_page(linux, page))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A callback that sleeps inside the section, as an allocation with GFP_KERNEL may.
    fn apply_sleeping(&self, linux: &Linux, cx: &mut Ctx<'_>, area: Ea, pages: u64) -> Run<()> {
        let end = area + pages * linux.page_bytes();
        let _ = linux.apply_to_page_range(cx, area, end, &mut |linux, cx, _, _| {
            linux.yield_once(cx)?;
            Ok(Ok(()))
        })?;
        Ok(())
    }

    fn area_page(&self, linux: &Linux, name: &str, page: u64) -> Option<Ea> {
        let area = *self.made.areas.get(name)?;
        Some(area + page * linux.page_bytes() + self.word())
    }

    /// The doubleword of a page that this actor uses.
    fn word(&self) -> u64 {
        (self.mark >> 32) * 8
    }

    fn fresh(&mut self, at: Ea) -> u64 {
        let value = self.mark | (self.stored.len() as u64 + 1) << 8 | 1;
        self.stored.insert(at, value);
        value
    }

    fn compare(&self, linux: &Linux, cx: &Ctx<'_>, at: Ea, found: u64) {
        if let Some(&expected) = self.stored.get(&at)
            && found != expected
        {
            let ea = at.get();
            linux.trace(
                cx,
                Tracepoint::StaleData {
                    ea,
                    expected,
                    found,
                },
            );
        }
    }
}

fn user_page(linux: &Linux, page: u64) -> Ea {
    Ea::new(USER_START + page * linux.page_bytes())
}
