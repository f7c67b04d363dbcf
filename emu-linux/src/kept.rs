//! What the kernel model keeps beside guest memory and asks again: its rate limits and the counts that failures
//! are injected by.
//!
//! Owns these, and a copy of them to return to. Refuses what is only reported.

use crate::printk::{Ratelimit, RatelimitVerdict};
use parking_lot::Mutex;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// No such report was printed.
const NEVER: u64 = u64::MAX;

/// The values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptValues {
    ratelimit: Ratelimit,
    sleeping_lock_reported: u64,
    allocations: u64,
    pages_mapped: u64,
}

impl KeptValues {
    /// What decides what the kernel does next, but for the time: none passes in an exploration.
    pub fn hash_state(&self, to: &mut impl Hasher) {
        self.ratelimit.hash_state(to);
        let reported = self.sleeping_lock_reported != NEVER;
        (reported, self.allocations, self.pages_mapped).hash(to);
    }
}

/// The values of a kernel that runs.
#[derive(Debug)]
pub(crate) struct Kept {
    ratelimit: Mutex<Ratelimit>,
    /// When the last report of a lock that sleeps was printed.
    sleeping_lock_reported: AtomicU64,
    allocations: AtomicU64,
    pages_mapped: AtomicU64,
    /// Nobody else counts at the same time: the host's locked instruction is spared.
    one_thread: bool,
}

impl Kept {
    pub fn new(ratelimit: Ratelimit, one_thread: bool) -> Self {
        Kept {
            one_thread,
            ratelimit: Mutex::new(ratelimit),
            sleeping_lock_reported: AtomicU64::new(NEVER),
            allocations: AtomicU64::new(0),
            pages_mapped: AtomicU64::new(0),
        }
    }

    /// A copy of the values.
    pub fn values(&self) -> KeptValues {
        KeptValues {
            ratelimit: *self.ratelimit.lock(),
            sleeping_lock_reported: self.sleeping_lock_reported.load(Ordering::Relaxed),
            allocations: self.allocations(),
            pages_mapped: self.pages_mapped(),
        }
    }

    /// Returns to such a copy.
    pub fn set(&self, to: &KeptValues) {
        *self.ratelimit.lock() = to.ratelimit;
        self.sleeping_lock_reported
            .store(to.sleeping_lock_reported, Ordering::Relaxed);
        self.allocations.store(to.allocations, Ordering::Relaxed);
        self.pages_mapped.store(to.pages_mapped, Ordering::Relaxed);
    }

    /// Asks the rate limit of printk for a report, by a CPU's clock.
    pub fn report_passes(&self, now: u64) -> RatelimitVerdict {
        self.ratelimit.lock().allow(now)
    }

    /// True for the first report of a lock that sleeps, and for those `second` cycles after the last.
    pub fn sleeping_lock_report_passes(&self, now: u64, second: u64) -> bool {
        let last = self.sleeping_lock_reported.load(Ordering::Relaxed);
        let passes = last == NEVER || now.saturating_sub(last) >= second;
        if passes {
            self.sleeping_lock_reported.store(now, Ordering::Relaxed);
        }
        passes
    }

    fn next(&self, count: &AtomicU64) -> u64 {
        if !self.one_thread {
            return count.fetch_add(1, Ordering::Relaxed) + 1;
        }
        let next = count.load(Ordering::Relaxed) + 1;
        count.store(next, Ordering::Relaxed);
        next
    }

    /// One more allocation; how many there are then.
    pub fn count_allocation(&self) -> u64 {
        self.next(&self.allocations)
    }

    /// One more page mapped; how many there are then.
    pub fn count_mapping(&self) -> u64 {
        self.next(&self.pages_mapped)
    }

    /// Allocations so far.
    pub fn allocations(&self) -> u64 {
        self.allocations.load(Ordering::Relaxed)
    }

    /// Pages mapped so far.
    pub fn pages_mapped(&self) -> u64 {
        self.pages_mapped.load(Ordering::Relaxed)
    }
}
