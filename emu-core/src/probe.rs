//! Observers of hardware events: counters, timelines and checkers.
//!
//! Owns the event type and what an observer may ask for. An observer sees; it cannot change the run.

use crate::Cycles;
use crate::cpu::CpuId;
use crate::exception::Step;
use emu_mmu::{Barrier, Ea, Ra, SegmentSize, TlbInvalidate, Vpn};
use std::ops::Range;

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
    /// Doubleword stores into pages that [`crate::Machine::watch_page`] names, with both values.
    pub const WATCHED_STORES: Interest = Interest(16);
    /// What translation served each access, outside [`Observer::quiet_addresses`].
    pub const TRANSLATIONS: Interest = Interest(32);

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Interest(bits)
    }

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
    /// A ptesync completed; told with the invalidations.
    Ptesync,
    /// A doubleword of a watched page changed from `old` to `new`.
    WatchedStore {
        /// Address of the doubleword.
        ra: Ra,
        /// Value before.
        old: u64,
        /// Value after.
        new: u64,
        /// The step that stored it.
        step: Step,
    },
    /// A translation served an access.
    Translated {
        /// Effective address.
        ea: Ea,
        /// Its virtual page by the SLB; `None` if the SLB has no entry for it any more.
        page: Option<(Vpn, SegmentSize)>,
        /// Real address.
        ra: Ra,
        /// True for a store.
        store: bool,
    },
    /// The CPU went from one context to another.
    Switch,
    /// An asynchronous interrupt was taken.
    Interrupt,
    /// The CPU's number was looked up; told with the accesses, as the next two.
    CpuNumber {
        /// The step that did it.
        step: Step,
    },
    /// A barrier was executed.
    Barrier {
        /// Which.
        barrier: Barrier,
        /// The step that did it.
        step: Step,
    },
    /// One turn of a wait for another CPU.
    Spin {
        /// The step that waits.
        step: Step,
    },
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

    /// Effective addresses whose translations it does not want; asked once, before the run.
    fn quiet_addresses(&self) -> Range<u64> {
        0..0
    }

    /// One event on `cpu`, whose clock stands at `now`.
    fn observe(&mut self, cpu: CpuId, now: Cycles, event: Event);
}
