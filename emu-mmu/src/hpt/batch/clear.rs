//! Batched invalidation: by page, and by entry as a kernel's flush batch has them.

use super::pipeline::{self, Pass};
use super::{Batch, Format, Isa2, Isa3, Pages, Sharing, Table, word_of};
use crate::addr::{HpteIndex, Vpn};
use crate::hpt::{CompareOrder, FlushEntry};
use crate::hpte::{HpteFormat, HpteV};
use crate::memory::GroupAt;

impl<S: Sharing> Batch<'_, S> {
    /// Clears doubleword 0 of the entry of each page, found as [`Self::find`] does. `cleared` gets the
    /// place of the page in the slice and the entry's, or `None` if the page had none. No TLB
    /// invalidation is made; a shared batch ends with one ptesync.
    pub fn invalidate(
        &mut self,
        pages: Pages,
        vpns: &[Vpn],
        cleared: impl FnMut(usize, Option<HpteIndex>),
    ) {
        self.search::<true>(pages, vpns, cleared);
        self.complete();
    }

    /// Clears every entry that still holds what it should, in order, as
    /// [`Hpt::flush_range`](crate::Hpt::flush_range) does, and returns how many did. The TLB sequence
    /// over all of them is the caller's next step.
    pub fn flush(&mut self, entries: &[FlushEntry], compare: CompareOrder) -> u32 {
        let distance = self.distance;
        let cleared = match self.format {
            HpteFormat::Isa2 => flush(self.table::<Isa2>(), entries, compare, distance),
            HpteFormat::Isa3 => flush(self.table::<Isa3>(), entries, compare, distance),
        };
        self.complete();
        cleared
    }
}

fn flush<S: Sharing, F: Format>(
    table: Table<'_, S, F>,
    entries: &[FlushEntry],
    compare: CompareOrder,
    distance: usize,
) -> u32 {
    let mut cleared = 0;
    let pass = FlushPass {
        table,
        compare,
        cleared: &mut cleared,
    };
    pipeline::run(pass, entries, distance);
    cleared
}

struct FlushPass<'b, 'm, S, F> {
    table: Table<'m, S, F>,
    compare: CompareOrder,
    cleared: &'b mut u32,
}

impl<S: Sharing, F: Format> Pass for FlushPass<'_, '_, S, F> {
    type Entry = FlushEntry;
    type Ready = FlushEntry;

    #[inline(always)]
    fn place(&self, entry: &FlushEntry) -> GroupAt {
        self.table.groups.group(entry.index.group().0)
    }

    #[inline(always)]
    fn ready(&self, &entry: &FlushEntry) -> FlushEntry {
        entry
    }

    #[inline(always)]
    fn fetch(&self, entry: &FlushEntry, at: GroupAt) {
        let word = word_of(entry.index.slot());
        self.table.groups.prefetch_write_doubleword(at, word);
    }

    #[inline(always)]
    fn glance(&self, _: FlushEntry, _: GroupAt) {}

    #[inline(always)]
    fn work(&mut self, _: usize, entry: FlushEntry, at: GroupAt) -> bool {
        let slot = entry.index.slot();
        *self.cleared += u32::from(self.table.clear(at, slot, entry.want, self.compare));
        false
    }
}

impl<S: Sharing, F: Format> Table<'_, S, F> {
    /// Clears an entry that is valid and matches, under its lock if others are there.
    #[inline(always)]
    pub(super) fn clear(self, at: GroupAt, slot: u8, want: HpteV, compare: CompareOrder) -> bool {
        let word = word_of(slot);
        if !S::SHARED {
            let matches = self.v_at(at, slot).matches(want);
            if matches {
                self.groups.store(at, word, 0);
            }
            return matches;
        }
        loop {
            let v = HpteV(self.groups.load(at, word));
            if compare == CompareOrder::BeforeLock && !self.decoded(at, slot, v.0).matches(want) {
                return false;
            }
            if v.is_locked() {
                core::hint::spin_loop();
                continue;
            }
            if !self.groups.compare_exchange(at, word, v.0, v.with_lock().0) {
                continue;
            }
            let matches = self.decoded(at, slot, v.0).matches(want);
            self.groups.store(at, word, if matches { 0 } else { v.0 });
            return matches;
        }
    }
}
