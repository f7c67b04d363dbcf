//! The last events of a run, for the account of a violation.
//!
//! Owns a ring of the last 32 lines and their text. Runs of one kind of event (the pages of an
//! unmap, the tlbies of a batch) share a line with a count, so that a batch of 192 does not push
//! out what led to it. Events are kept as values and become text only when asked. Refuses lock
//! traffic of the table: only stores that make an entry valid or invalid are news.

use crate::tracepoint::{Moment, Tracepoint};
use emu_core::{Cycles, Event};
use emu_mmu::{PageSize, Ra, SegmentSize};
use std::fmt;

/// Lines kept.
const LINES: usize = 32;
/// How many lines back an event looks for its own kind: the kinds that one page of an unmap can
/// make.
const LOOK_BACK: usize = 6;
/// V of an HPTE's first doubleword (Power ISA 2.07 Book III-S 5.7.7.1).
const HPTE_V_VALID: u64 = 1;
/// Distinguishes the second doubleword of an HPTE by its address.
const HPTE_R_OFFSET: u64 = 8;

/// What an event was.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happened {
    Linux(Tracepoint),
    Hardware(Event),
}

/// True for a store that makes an entry of the table valid or invalid.
#[inline]
pub(super) fn is_news(ra: Ra, old: u64, new: u64) -> bool {
    ra.get() & HPTE_R_OFFSET == 0 && (old ^ new) & HPTE_V_VALID != 0
}

/// Events of one kind by one task on one CPU.
#[derive(Clone, Copy, Debug)]
struct Line {
    first: Cycles,
    times: u64,
    /// The last of them.
    at: Moment,
    what: Happened,
}

/// The ring.
#[derive(Debug)]
pub(super) struct History {
    lines: Vec<Line>,
    /// Indices into `lines`, oldest last occurrence first; only `lines.len()` of them count.
    order: [u8; LINES],
}

cloned_by_field!(History { lines, order });

impl History {
    /// Forgets all of it.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.order = [0; LINES];
    }
}

impl Default for History {
    fn default() -> Self {
        History {
            lines: Vec::with_capacity(LINES),
            order: [0; LINES],
        }
    }
}

impl History {
    /// Notes an event.
    #[inline]
    pub fn push(&mut self, at: Moment, what: Happened) {
        let used = self.lines.len();
        for place in (used.saturating_sub(LOOK_BACK)..used).rev() {
            let line = &mut self.lines[self.order[place] as usize];
            if line.at.cpu != at.cpu || line.at.task != at.task {
                break;
            }
            let adjacent = place + 1 == used;
            if (adjacent || !marks(&line.what)) && same_kind(&line.what, &what) {
                line.times += 1;
                line.at = at;
                line.what = what;
                if !adjacent {
                    self.order[place..used].rotate_left(1);
                }
                return;
            }
            if marks(&line.what) {
                break;
            }
        }
        let line = Line {
            first: at.now,
            times: 1,
            at,
            what,
        };
        if used < LINES {
            self.order[used] = used as u8;
            self.lines.push(line);
        } else {
            let oldest = self.order[0];
            self.lines[oldest as usize] = line;
            self.order.copy_within(1.., 0);
            self.order[LINES - 1] = oldest;
        }
    }

    /// The lines as text, oldest first.
    pub fn render(&self) -> Vec<String> {
        let order = &self.order[..self.lines.len()];
        order
            .iter()
            .map(|&i| self.lines[i as usize].to_string())
            .collect()
    }
}

/// True for events whose place among the others tells the story: no run reaches across them.
fn marks(what: &Happened) -> bool {
    stands_alone(what)
        || matches!(
            what,
            Happened::Linux(Tracepoint::PteSet { .. } | Tracepoint::HashFault { .. })
        )
}

/// True for events that never share a line.
fn stands_alone(what: &Happened) -> bool {
    match what {
        Happened::Linux(tp) => matches!(
            tp,
            Tracepoint::LazyEnter
                | Tracepoint::LazyLeave
                | Tracepoint::BatchFlush { .. }
                | Tracepoint::VoluntarySchedule { .. }
                | Tracepoint::SwitchTo { .. }
                | Tracepoint::TaskExit { .. }
        ),
        Happened::Hardware(Event::TableStore { new, .. }) => new & HPTE_V_VALID != 0,
        Happened::Hardware(_) => false,
    }
}

/// True if two events may share a line.
fn same_kind(a: &Happened, b: &Happened) -> bool {
    if stands_alone(a) || stands_alone(b) {
        return false;
    }
    match (a, b) {
        (Happened::Linux(a @ Tracepoint::PerCpuLookup { .. }), Happened::Linux(b)) => a == b,
        (Happened::Linux(a), Happened::Linux(b)) => {
            std::mem::discriminant(a) == std::mem::discriminant(b)
        }
        (Happened::Hardware(a), Happened::Hardware(b)) => {
            std::mem::discriminant(a) == std::mem::discriminant(b)
        }
        _ => false,
    }
}

/// A segment size in words.
pub(super) fn segment_words(segment: SegmentSize) -> &'static str {
    match segment {
        SegmentSize::S256M => "256M",
        SegmentSize::S1T => "1T",
    }
}

/// What follows a segment size where an HPTE is not one of 4K.
pub(super) fn page_words(size: PageSize) -> &'static str {
    match size {
        PageSize::P4K => "",
        PageSize::P64K => ", 64K page",
        PageSize::P16M | PageSize::P16G => ", huge page",
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (now, first, times) = (self.at.now.get(), self.first.get(), self.times);
        write!(f, "cycle {now} cpu {} pid {}: ", self.at.cpu, self.at.pid)?;
        match &self.what {
            Happened::Linux(tp) => write_tracepoint(f, tp)?,
            Happened::Hardware(event) => write_event(f, event)?,
        }
        if times > 1 {
            write!(f, " (last of {times} since cycle {first})")?;
        }
        Ok(())
    }
}

fn write_tracepoint(f: &mut fmt::Formatter<'_>, tp: &Tracepoint) -> fmt::Result {
    match *tp {
        Tracepoint::LazyEnter => f.write_str("enter lazy MMU mode"),
        Tracepoint::LazyLeave => f.write_str("leave lazy MMU mode"),
        Tracepoint::Queued {
            vpn,
            segment,
            size,
            slot,
            pte,
            frame,
        } => write!(
            f,
            "queue vpn {vpn} ({}{}, slot {slot}) of PTE {pte:#x}, frame {frame:#x}",
            segment_words(segment),
            page_words(size)
        ),
        Tracepoint::BatchFlush {
            entries, batch_cpu, ..
        } => {
            write!(f, "flush {entries} entries of the batch of cpu {batch_cpu}")
        }
        Tracepoint::NothingToRemove { vpn, .. } => write!(f, "no HPTE to remove for vpn {vpn}"),
        Tracepoint::PageAllocated { frame } => write!(f, "allocate frame {frame:#x}"),
        Tracepoint::SingleFlush { vpn, .. } => write!(f, "flush vpn {vpn} alone"),
        Tracepoint::PteCleared { pte } => write!(f, "clear PTE {pte:#x}"),
        Tracepoint::PteSet { pte, frame } => write!(f, "set PTE {pte:#x} to frame {frame:#x}"),
        Tracepoint::PageFreed { frame } => write!(f, "free frame {frame:#x}"),
        Tracepoint::HashFault { ea } => write!(f, "hash fault at {ea:#x}"),
        Tracepoint::PerCpuLookup {
            function,
            preempt_count,
            interrupts_enabled,
            ..
        } => write!(
            f,
            "{function} looks up its per-CPU area, preempt_count {preempt_count:#x}, interrupts {}",
            if interrupts_enabled { "on" } else { "off" }
        ),
        Tracepoint::VoluntarySchedule {
            preempt_count,
            sleeps,
        } => write!(
            f,
            "schedule() {}, preempt_count {preempt_count:#x}",
            if sleeps { "to sleep" } else { "to yield" }
        ),
        Tracepoint::SwitchTo {
            next,
            next_pid,
            preempted,
        } => write!(
            f,
            "switch to pid {next_pid} (task {next:#x}){}",
            if preempted { ", preempted" } else { "" }
        ),
        Tracepoint::TaskExit { preempt_count } => {
            write!(f, "exit, preempt_count {preempt_count:#x}")
        }
        Tracepoint::HashFaultReturn { ea } => write!(f, "hash fault at {ea:#x} returns"),
        Tracepoint::StaleData {
            ea,
            expected,
            found,
        } => {
            write!(f, "read {found:#x} at {ea:#x}, stored {expected:#x}")
        }
        Tracepoint::LockAcquired { lock } => write!(f, "take lock {lock:#x}"),
        Tracepoint::LockReleased { lock } => write!(f, "release lock {lock:#x}"),
    }
}

fn write_event(f: &mut fmt::Formatter<'_>, event: &Event) -> fmt::Result {
    match *event {
        Event::TableStore { ra, new, step, .. } => {
            let becomes = if new & HPTE_V_VALID != 0 {
                "valid"
            } else {
                "invalid"
            };
            write!(f, "HPTE at {ra} becomes {becomes} [{step}]")
        }
        Event::Invalidate { operand, step } => {
            let name = if operand.local { "tlbiel" } else { "tlbie" };
            write!(
                f,
                "{name} vpn {} ({}) [{step}]",
                operand.vpn,
                segment_words(operand.segment)
            )
        }
        Event::Ptesync => f.write_str("ptesync"),
        Event::Barrier { step, .. } => write!(f, "barrier [{step}]"),
        Event::CpuNumber { step } => write!(f, "CPU number [{step}]"),
        Event::Spin { step } => write!(f, "waits [{step}]"),
        Event::WatchedStore { ra, new, step, .. } => {
            write!(f, "store {new:#x} to {ra} [{step}]")
        }
        Event::Translated { ea, ra, store, .. } => {
            let access = if store { "store" } else { "load" };
            write!(f, "{access} at {ea} reaches {ra}")
        }
        Event::Switch => f.write_str("context switch"),
        Event::Interrupt => f.write_str("interrupt"),
        Event::Access { ra, store, step } => {
            write!(f, "{} {ra} [{step}]", if store { "store" } else { "load" })
        }
    }
}

#[cfg(test)]
mod tests;
