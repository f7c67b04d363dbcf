//! What is noticed while a run goes on: a page with two entries, an access to a frame that was given back.
//!
//! Owns these two; what can be told from the end alone `observe` tells.

use super::place::{frame_number, table};
use emu_core::{CpuId, Cycles, Event, Interest, Observer};
use emu_mmu::DuplicateChecker;
use parking_lot::Mutex;
use std::sync::Arc;

/// What was noticed.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    entries: DuplicateChecker,
    pub duplicate: bool,
    pub stale: bool,
    /// Frames given back, a bit each, from bit 1.
    pub freed: u64,
}

impl Watch {
    pub fn new() -> Self {
        let table = table();
        Watch {
            entries: DuplicateChecker::new(table.base(), table.groups_log2()),
            duplicate: false,
            stale: false,
            freed: 0,
        }
    }

    /// Takes up what the initial state put into the table.
    pub fn follow(&mut self, ra: emu_mmu::Ra, value: u64) {
        self.duplicate |= self.entries.observe_store(ra, value).is_some();
    }

    /// All of it but the table, which lies in memory.
    pub fn state(&self) -> u64 {
        self.freed << 2 | u64::from(self.duplicate) << 1 | u64::from(self.stale)
    }
}

/// The watch as the machine knows it.
pub(super) struct Listener(pub Arc<Mutex<Watch>>);

impl Observer for Listener {
    fn interest(&self) -> Interest {
        Interest::TABLE_STORES.and(Interest::TRANSLATIONS)
    }

    fn observe(&mut self, _: CpuId, _: Cycles, event: Event) {
        let mut watch = self.0.lock();
        match event {
            Event::TableStore { ra, new, .. } => watch.follow(ra, new),
            Event::Translated { ra, .. } => {
                watch.stale |= watch.freed >> frame_number(ra) & 1 == 1;
            }
            _ => {}
        }
    }
}
