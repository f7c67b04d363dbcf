//! `stuck-lock`: no HPTE lock bit or PTE BUSY bit outlives its owner.
//!
//! The rule. A bit belongs to the task whose store set it, on the CPU that ran it, until any store
//! clears it. The hash code holds these bits with interrupts off (Linux 2.6.38
//! arch/powerpc/mm/hash_utils_64.c), so its ownership ends when
//! - its hash fault returns,
//! - its CPU goes on with another task,
//! - the task exits,
//! - the run ends of itself; a run that is cut short leaves owners alive.
//!
//! A bit still set then is one violation and is forgotten. Decided from the stores into the hash
//! table and into page tables; what the kernel says about its locks counts for nothing.
//!
//! On threads: exact, with turns or without: a bit's owner is one task, which tells of both stores.

use super::mark::hash_of_set;
use crate::tracepoint::{Moment, Tracepoint};
use emu_core::Step;
use emu_mmu::Ra;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Name of the rule.
pub(super) const NAME: &str = "stuck-lock";

/// The rule for a reader.
pub(super) const EXPLANATION: &str = "\
    No lock bit of a hash-table entry and no BUSY bit of a page-table entry may stay set when the \
    code that set it is done: at the return of its hash fault, at a switch to another task, at \
    its exit. Whoever needs the entry next waits for a bit that nobody will clear. The rule looks \
    at the stores that set and clear the bits, so it sees the loss before anybody hangs.";

/// HPTE_V_LOCK of doubleword 0 (Linux 2.6.38 arch/powerpc/mm/hash_native_64.c).
const HPTE_V_LOCK: u64 = 0x8;

/// Which bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bit {
    HpteLock,
    PteBusy,
}

/// How its owner ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    FaultReturned,
    Switch,
    TaskExit,
    OfRun,
}

/// A bit that outlived its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    held: Held,
    end: End,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Held {
            bit, ra, at, step, ..
        } = self.held;
        let bit = match bit {
            Bit::HpteLock => "the lock bit of the HPTE",
            Bit::PteBusy => "the BUSY bit of the PTE",
        };
        let end = match self.end {
            End::FaultReturned => "the hash fault returned",
            End::Switch => "the CPU went on with another task",
            End::TaskExit => "the task exited",
            End::OfRun => "the run ended",
        };
        write!(
            f,
            "{bit} at {ra}, set by pid {} on CPU {} at cycle {} [{step}], was still set when {end}",
            at.pid,
            at.cpu,
            at.now.get()
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    bit: Bit,
    ra: Ra,
    at: Moment,
    step: Step,
}

/// The rule's state: the bits that are set.
#[derive(Debug, Default)]
pub(super) struct StuckLock {
    held: Vec<Held>,
}

cloned_by_field!(StuckLock { held });

impl StuckLock {
    /// What decides what may break.
    pub fn hash_state(&self, to: &mut impl Hasher) {
        hash_of_set(
            self.held
                .iter()
                .map(|held| (held.ra, held.at.task, held.step)),
        )
        .hash(to);
    }

    /// A doubleword of the hash table changed.
    #[inline]
    pub fn table_store(&mut self, at: Moment, ra: Ra, old: u64, new: u64, step: Step) {
        if ra.get() & 8 == 0 && (old ^ new) & HPTE_V_LOCK != 0 {
            self.changed(Bit::HpteLock, at, ra, new & HPTE_V_LOCK != 0, step);
        }
    }

    /// A doubleword of a page table changed; `busy` is the bit's mask.
    #[inline]
    pub fn pte_store(&mut self, at: Moment, ra: Ra, change: (u64, u64), busy: u64, step: Step) {
        let (old, new) = change;
        if (old ^ new) & busy != 0 {
            self.changed(Bit::PteBusy, at, ra, new & busy != 0, step);
        }
    }

    fn changed(&mut self, bit: Bit, at: Moment, ra: Ra, set: bool, step: Step) {
        if set {
            self.held.push(Held { bit, ra, at, step });
        } else {
            self.held.retain(|held| (held.bit, held.ra) != (bit, ra));
        }
    }

    /// An event of Linux; each violation in it goes to `stuck`.
    #[inline]
    pub fn tracepoint(&mut self, at: Moment, tp: &Tracepoint, stuck: &mut dyn FnMut(Stuck)) {
        let end = match tp {
            Tracepoint::HashFaultReturn { .. } => End::FaultReturned,
            Tracepoint::SwitchTo { .. } => End::Switch,
            Tracepoint::TaskExit { .. } => End::TaskExit,
            _ => return,
        };
        if !self.held.is_empty() {
            self.ended(end, |held| held.at.task == at.task, stuck);
        }
    }

    /// The run is over.
    pub fn end_of_run(&mut self, stuck: &mut dyn FnMut(Stuck)) {
        self.ended(End::OfRun, |_| true, stuck);
    }

    /// The run was cut short: owners are still at work.
    pub fn cut_short(&mut self) {
        self.held.clear();
    }

    fn ended(&mut self, end: End, own: impl Fn(&Held) -> bool, stuck: &mut dyn FnMut(Stuck)) {
        self.held.retain(|held| {
            let gone = own(held);
            if gone {
                stuck(Stuck { held: *held, end });
            }
            !gone
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::{CpuId, Cycles};

    const BUSY: u64 = 0x800;
    const HPTE: Ra = Ra::new(0x400_0000);
    const PTE: Ra = Ra::new(0x20_0008);

    fn at(task: u64) -> Moment {
        Moment {
            cpu: CpuId(0),
            now: Cycles::new(5),
            task,
            pid: task as u32,
        }
    }

    fn told(rule: &mut StuckLock, task: u64, tp: Tracepoint) -> Vec<String> {
        let mut told = Vec::new();
        rule.tracepoint(at(task), &tp, &mut |stuck| told.push(stuck.to_string()));
        told
    }

    const EXIT: Tracepoint = Tracepoint::TaskExit { preempt_count: 0 };
    const RETURN: Tracepoint = Tracepoint::HashFaultReturn { ea: 0 };

    #[test]
    fn a_lock_bit_left_at_exit_is_told_once() {
        let mut rule = StuckLock::default();
        rule.table_store(at(1), HPTE, 0, 8, "lock");
        assert_eq!(told(&mut rule, 2, EXIT), [""; 0], "somebody else's");
        assert_eq!(
            told(&mut rule, 1, EXIT),
            [
                "the lock bit of the HPTE at 0x4000000, set by pid 1 on CPU 0 at cycle 5 [lock], \
                 was still set when the task exited"
            ]
        );
        assert_eq!(told(&mut rule, 1, EXIT), [""; 0]);
    }

    #[test]
    fn busy_left_when_the_fault_returns() {
        let mut rule = StuckLock::default();
        rule.pte_store(at(1), PTE, (0x401, 0x401 | BUSY), BUSY, "claim");
        assert_eq!(told(&mut rule, 1, RETURN).len(), 1);
    }

    #[test]
    fn bits_cleared_in_time_are_silent() {
        let mut rule = StuckLock::default();
        rule.table_store(at(1), HPTE, 0, 8, "lock");
        rule.pte_store(at(1), PTE, (1, 1 | BUSY), BUSY, "claim");
        // Whoever clears it, and a store beside it that changes other bits.
        rule.table_store(at(1), HPTE, 8, 0x5001, "store V");
        rule.table_store(at(1), HPTE + 8, 0, 8, "store R");
        rule.pte_store(at(2), PTE, (1 | BUSY, 0x401), BUSY, "drop");
        assert_eq!(told(&mut rule, 1, RETURN), [""; 0]);
        rule.end_of_run(&mut |stuck| panic!("{stuck}"));
    }

    #[test]
    fn the_end_of_a_run_tells_what_is_left_unless_it_was_cut_short() {
        for (cut, count) in [(false, 1), (true, 0)] {
            let mut rule = StuckLock::default();
            rule.table_store(at(1), HPTE, 0, 8, "lock");
            if cut {
                rule.cut_short();
            }
            let mut told = 0;
            rule.end_of_run(&mut |_| told += 1);
            assert_eq!(told, count);
        }
    }
}
