//! Observers of hardware events: counters, timelines and checkers.
//!
//! Owns the event type and what an observer may ask for. An observer sees; it cannot change the run.

use crate::Cycles;
use crate::cpu::CpuId;
use crate::exception::Step;
use emu_mmu::{Ra, TlbInvalidate};

/// Classes of events, so that what nobody wants costs one test of a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(u32);

impl Interest {
    /// Nothing.
    pub const NONE: Interest = Interest(0);
    /// Stores of doublewords into the hash table.
    pub const TABLE_STORES: Interest = Interest(1);
    /// TLB invalidations.
    pub const INVALIDATIONS: Interest = Interest(2);
    /// Context switches and interrupts.
    pub const SWITCHES: Interest = Interest(4);
    /// Every load and store, with its step label.
    pub const ACCESSES: Interest = Interest(8);

    /// Both.
    pub const fn and(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }

    /// True if any class of `other` is in this.
    #[inline]
    pub const fn contains(self, other: Interest) -> bool {
        self.0 & other.0 != 0
    }
}

/// Something the hardware did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A doubleword of the hash table changed from `old` to `new`.
    TableStore {
        /// Address of the doubleword.
        ra: Ra,
        /// Value before.
        old: u64,
        /// Value after.
        new: u64,
        /// The step that stored it.
        step: Step,
    },
    /// A tlbie or tlbiel was issued.
    Invalidate {
        /// What it names, and whether it is local.
        operand: TlbInvalidate,
        /// The step that issued it.
        step: Step,
    },
    /// The CPU went from one context to another.
    Switch,
    /// An asynchronous interrupt was taken.
    Interrupt,
    /// A load or a store.
    Access {
        /// Where.
        ra: Ra,
        /// True for a store.
        store: bool,
        /// The step that did it.
        step: Step,
    },
}

/// Receives events. With no observer a verb pays one test.
pub trait Observer: Send {
    /// What this observer wants; asked once, before the run.
    fn interest(&self) -> Interest;

    /// One event on `cpu`, whose clock stands at `now`.
    fn observe(&mut self, cpu: CpuId, now: Cycles, event: Event);
}
