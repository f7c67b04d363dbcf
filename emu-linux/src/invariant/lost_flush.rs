//! `lost-flush`: every queued entry is flushed at least once, in time.
//!
//! The rule. An entry is pending from the moment it is queued in a batch until the hardware is seen
//! to invalidate its page. It is flushed when a tlbie or tlbiel is issued after the queueing whose
//! operand covers the page, in a segment of the same size; what the kernel says it flushed counts
//! for nothing, because it may have flushed another batch than the one it counted (Linux 2.6.38
//! arch/powerpc/mm/hash_native_64.c, `native_flush_hash_range` looks its batch up again). Whose CPU
//! or task issues it does not matter, nor whether it is local: whether a local one was enough is a
//! matter of stale translations, not of lost ones. The tlbie of a permission change (updatepp) counts too:
//! a hash fault gets there only while the PTE still records the slot (once the PTE is set again the slot is
//! gone from it, and the entry was due before), so the entry that it changed, or found evicted, is the one
//! that waits, and no TLB has its old form. A hypervisor's answer that the slot does not hold the
//! page counts as well: its removals invalidate the TLBs, so nothing is left. An entry must have been flushed
//! - before the section ends in which its task queued it: the section runs from the task's
//!   outermost entry of lazy MMU mode to its outermost leave, or to its exit. An entry that a task
//!   queued outside any section of its own, because somebody else's batch was active, has no such
//!   end;
//! - before the frame that the old PTE mapped is freed;
//! - before its PTE is set again: from then on the PTE has forgotten the slot of the old entry
//!   (Linux 2.6.38 arch/powerpc/include/asm/pgtable.h, `__set_pte_at` drops _PAGE_HPTEFLAGS);
//! - before the run ends.
//!
//! Each missed entry is one violation, told at the first of these and then forgotten. An entry
//! queued again while it pends (same page, PTE, frame, task and section) is one entry. Repeats,
//! invalidations in a batch flush for a page that had been queued, was flushed and was not queued
//! again, are counted and are no violation; the last 4096 flushed pages are remembered for that.
//!
//! Owns the pending entries and the sections. Refuses to look at the hash table: that the entry
//! itself was cleared there is not judged here.
//!
//! On threads: exact, as a checked run takes turns. Without them it would be for entries that their own
//! task flushes; whether another's flush came in time is a matter of the order of the two.

mod entry;
mod flushed;
#[cfg(test)]
mod list_oracle;
mod pending;
#[cfg(test)]
mod tests;

use super::mark::hash_of_set;
use crate::key_map::KeyMap;
use crate::tracepoint::{Moment, Tracepoint};
use emu_mmu::{PageSize, TlbInvalidate, Vpn};
pub(super) use entry::Lost;
use entry::{Before, Entry};
use flushed::Flushed;
use pending::{Chain, Pending};
use std::hash::{Hash, Hasher};

/// Name of the rule.
pub(super) const NAME: &str = "lost-flush";

/// The rule for a reader.
pub(super) const EXPLANATION: &str = "\
    Every page queued in a batch must be invalidated in hardware before the lazy section that \
    queued it ends, before its frame is freed and before its PTE is set again. After a lost \
    flush the old translation stays in the hash table or a TLB while no page-table entry \
    remembers it, so that accesses silently reach memory that belongs to somebody else. Only \
    tlbie and tlbiel count as proof, not what the kernel believes it flushed; repeated flushes \
    are counted apart and are harmless.";

/// What a task is doing. Gone when all of it is zero.
#[derive(Clone, Copy, Debug, Default)]
struct Task {
    /// Sections entered and not left.
    depth: u32,
    /// Invalidations that its current batch flush has still to issue.
    batch_left: u64,
}

/// The rule's state.
#[derive(Debug, Default)]
pub(super) struct LostFlush {
    pending: Pending,
    tasks: KeyMap<Task>,
    flushed_pages: Flushed,
    queued: u64,
    flushed: u64,
    repeated: u64,
}

cloned_by_field!(LostFlush {
    pending,
    tasks,
    flushed_pages,
    queued,
    flushed,
    repeated,
});

impl LostFlush {
    /// What decides what may break.
    pub fn hash_state(&self, to: &mut impl Hasher) {
        let pending = self.pending.entries().map(|e| {
            let page = (e.vpn, e.segment, e.size);
            (page, e.slot, (e.pte, e.frame), (e.task, e.in_section))
        });
        hash_of_set(pending).hash(to);
        let tasks = self.tasks.iter();
        hash_of_set(tasks.map(|(task, t)| (task, t.depth, t.batch_left))).hash(to);
    }

    /// Entries queued so far.
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Those of them that were flushed in time.
    pub fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Repeats.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// An event of Linux; each violation in it goes to `lost`.
    #[inline]
    pub fn tracepoint(&mut self, at: Moment, tp: &Tracepoint, lost: &mut dyn FnMut(Lost)) {
        match *tp {
            Tracepoint::LazyEnter => {
                let depth = &mut self.tasks.entry(at.task).or_default().depth;
                *depth = depth.saturating_add(1);
            }
            Tracepoint::LazyLeave => self.leave(at.task, lost),
            Tracepoint::Queued {
                vpn,
                segment,
                size,
                slot,
                pte,
                frame,
            } => {
                let in_section = self.tasks.get(&at.task).is_some_and(|task| task.depth > 0);
                let Moment {
                    task,
                    pid,
                    cpu,
                    now,
                } = at;
                let times = 1;
                self.queue(Entry {
                    vpn,
                    segment,
                    size,
                    slot,
                    pte,
                    frame,
                    task,
                    pid,
                    cpu,
                    at: now,
                    in_section,
                    times,
                });
            }
            Tracepoint::BatchFlush { pieces, .. } => {
                self.tasks.entry(at.task).or_default().batch_left = pieces;
                self.forget_idle(at.task);
            }
            Tracepoint::NothingToRemove { vpn, segment, size } => {
                let gone = TlbInvalidate {
                    vpn,
                    segment,
                    base: size,
                    actual: size,
                    local: false,
                };
                self.flush_page(vpn, &gone);
            }
            Tracepoint::PteSet { pte, .. } => self.due(Chain::Pte, pte, Before::PteSet, lost),
            Tracepoint::PageFreed { frame } => {
                self.due(Chain::Frame, frame, Before::PageFreed, lost);
            }
            Tracepoint::TaskExit { .. } => {
                self.due(Chain::Section, at.task, Before::TaskExit, lost);
                self.tasks.remove(&at.task);
            }
            _ => {}
        }
    }

    /// `task` issued an invalidation.
    #[inline]
    pub fn invalidate(&mut self, task: u64, operand: &TlbInvalidate) {
        let in_batch = match self.tasks.get_mut(&task) {
            Some(state) if state.batch_left > 0 => {
                state.batch_left -= 1;
                self.forget_idle(task);
                true
            }
            _ => false,
        };
        let first = operand.vpn.align_down(operand.actual);
        let pages = operand.actual.bytes() / PageSize::P4K.bytes();
        let mut hit = false;
        if pages <= self.pending.len() as u64 {
            for i in 0..pages {
                hit |= self.flush_page(first.wrapping_add(i), operand);
            }
        } else if self.pending.len() > 0 {
            hit = self.flush_range(first, pages, operand);
        }
        if in_batch && !hit && self.flushed_pages.contains(operand.vpn, operand.segment) {
            self.repeated += 1;
        }
    }

    /// The run is over: everything that pends goes to `lost`, in the order it was queued.
    pub fn end_of_run(&mut self, lost: &mut dyn FnMut(Lost)) {
        for entry in self.pending.drain() {
            lost(Lost {
                entry,
                before: Before::RunEnd,
            });
        }
    }

    fn queue(&mut self, entry: Entry) {
        self.queued += 1;
        self.flushed_pages.forget(entry.vpn, entry.segment);
        let mut at = self.pending.first(Chain::Pte, entry.pte);
        while let Some(id) = at {
            match self.pending.get_mut(id) {
                Some(known) if known.is_same(&entry) => {
                    *known = Entry {
                        times: known.times + 1,
                        ..entry
                    };
                    return;
                }
                _ => at = self.pending.next(Chain::Pte, id),
            }
        }
        self.pending.push(entry);
    }

    fn leave(&mut self, task: u64, lost: &mut dyn FnMut(Lost)) {
        let Some(state) = self.tasks.get_mut(&task) else {
            return;
        };
        state.depth = state.depth.saturating_sub(1);
        if state.depth == 0 {
            self.due(Chain::Section, task, Before::SectionEnd, lost);
            self.forget_idle(task);
        }
    }

    /// Everything on one chain should have been flushed by now.
    #[inline]
    fn due(&mut self, chain: Chain, key: u64, before: Before, lost: &mut dyn FnMut(Lost)) {
        if self.pending.len() == 0 {
            return;
        }
        while let Some(id) = self.pending.first(chain, key) {
            let Some(entry) = self.pending.remove(id) else {
                return;
            };
            lost(Lost { entry, before });
        }
    }

    /// Drops a task about which nothing is left to remember.
    fn forget_idle(&mut self, task: u64) {
        if self
            .tasks
            .get(&task)
            .is_some_and(|state| state.depth == 0 && state.batch_left == 0)
        {
            self.tasks.remove(&task);
        }
    }

    /// Flushes what pends for one page; true if anything did.
    fn flush_page(&mut self, vpn: Vpn, operand: &TlbInvalidate) -> bool {
        let segment = operand.segment;
        let mut hit = false;
        let mut at = self
            .pending
            .first(Chain::Page, pending::page_key(vpn, segment));
        while let Some(id) = at {
            at = self.pending.next(Chain::Page, id);
            let covered = |entry: &Entry| {
                entry.vpn == vpn && entry.segment == segment && entry.size <= operand.actual
            };
            if self.pending.get(id).is_some_and(covered) {
                self.flush_entry(id);
                hit = true;
            }
        }
        hit
    }

    /// The same for more pages than pend.
    fn flush_range(&mut self, first: Vpn, pages: u64, operand: &TlbInvalidate) -> bool {
        let mut hit = false;
        for id in 0..self.pending.ids() {
            let covered = |entry: &Entry| {
                entry.segment == operand.segment
                    && entry.size <= operand.actual
                    && entry.vpn.get().wrapping_sub(first.get()) < pages
            };
            if self.pending.get(id).is_some_and(covered) {
                self.flush_entry(id);
                hit = true;
            }
        }
        hit
    }

    fn flush_entry(&mut self, id: usize) {
        if let Some(entry) = self.pending.remove(id) {
            self.flushed += entry.times;
            self.flushed_pages.remember(entry.vpn, entry.segment);
        }
    }
}
