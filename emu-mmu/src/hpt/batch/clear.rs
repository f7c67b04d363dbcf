//! Batched invalidation: by page, and by entry as a kernel's flush batch has them.

use super::{Batch, Format, Isa2, Isa3, Pages, Shape, Sharing, Table, pipeline, word_of};
use crate::addr::{HpteIndex, Vpn};
use crate::hpt::{CompareOrder, FlushEntry};
use crate::hpte::{HpteFormat, HpteV};
use crate::memory::GroupAt;
use crate::pteg::{GroupKernel, GroupLoop};

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
        let (distance, shape) = (self.distance, pages.shape());
        match self.format {
            HpteFormat::Isa2 => self.backend.run(InvalidateLoop {
                table: self.table::<Isa2>(),
                distance,
                shape,
                vpns,
                cleared,
            }),
            HpteFormat::Isa3 => self.backend.run(InvalidateLoop {
                table: self.table::<Isa3>(),
                distance,
                shape,
                vpns,
                cleared,
            }),
        }
        self.complete();
    }

    /// Clears every entry that still holds what it should, in order, as
    /// [`Hpt::flush_range`](crate::Hpt::flush_range) does, and returns how many did. The TLB sequence
    /// over all of them is the caller's next step.
    pub fn flush(&mut self, entries: &[FlushEntry], compare: CompareOrder) -> u32 {
        let distance = self.distance;
        let cleared = match self.format {
            HpteFormat::Isa2 => self.table::<Isa2>().flush(entries, compare, distance),
            HpteFormat::Isa3 => self.table::<Isa3>().flush(entries, compare, distance),
        };
        self.complete();
        cleared
    }
}

impl<S: Sharing, F: Format> Table<'_, S, F> {
    fn flush(self, entries: &[FlushEntry], compare: CompareOrder, distance: usize) -> u32 {
        let mut cleared = 0;
        let groups = self.groups;
        let line = |entry: &FlushEntry| {
            let (at, slot) = (groups.group(entry.index.group().0), entry.index.slot());
            groups.prefetch_write_doubleword(at, word_of(slot));
            at
        };
        let clear = |_, &FlushEntry { index, want }: &FlushEntry, at| {
            cleared += u32::from(self.clear(at, index.slot(), want, compare));
        };
        pipeline(entries, distance, line, |_, _| (), clear);
        cleared
    }

    /// Clears an entry that is valid and matches, under its lock if others are there.
    #[inline(always)]
    fn clear(self, at: GroupAt, slot: u8, want: HpteV, compare: CompareOrder) -> bool {
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

struct InvalidateLoop<'b, 'm, S, F, C> {
    table: Table<'m, S, F>,
    distance: usize,
    shape: Shape,
    vpns: &'b [Vpn],
    cleared: C,
}

impl<S, F, C> GroupLoop for InvalidateLoop<'_, '_, S, F, C>
where
    S: Sharing,
    F: Format,
    C: FnMut(usize, Option<HpteIndex>),
{
    type Output = ();

    #[inline(always)]
    fn run<K: GroupKernel>(self) {
        let InvalidateLoop {
            table,
            distance,
            shape,
            vpns,
            mut cleared,
        } = self;
        let order = CompareOrder::BeforeLock;
        pipeline(
            vpns,
            distance,
            #[inline(always)]
            |&vpn| {
                let at = table.groups.group(shape.hash(vpn));
                table.groups.prefetch_write(at);
                at
            },
            #[inline(always)]
            |&vpn, at| {
                if !table.glance::<K>(at, shape.v(vpn)) {
                    table.groups.prefetch_write(table.groups.other(at));
                }
            },
            #[inline(always)]
            |i, &vpn, at| {
                let want = shape.v(vpn);
                let place = table.find_one::<K>(at, want);
                let place = place.filter(|&(at, slot)| table.clear(at, slot, want, order));
                cleared(i, place.map(|(at, slot)| table.index(at, slot)));
            },
        );
    }
}
