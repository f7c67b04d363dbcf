//! Batched insert: the lowest free slot of the primary group, then of the secondary one.

use super::pipeline::{self, Pass};
use super::{Batch, Format, Isa2, Isa3, Mapping, Pages, Sharing, Slots, Table, word_of};
use crate::addr::HpteIndex;
use crate::hpte::{Hpte, HpteFormat, HpteR, HpteV};
use crate::memory::GroupAt;
use crate::pteg::{GroupKernel, GroupLoop};
use core::marker::PhantomData;

impl<S: Sharing> Batch<'_, S> {
    /// Puts an entry into the table for each page, in order: into the lowest free slot of its primary
    /// group or, if that is full, of its secondary one. `placed` gets the place of the mapping in the
    /// slice and the entry's, or `None` if both groups are full. No search for an existing match is
    /// made. V is set, and the lock bit cleared, whatever `pages` says.
    ///
    /// A shared batch takes each entry's lock, waiting for whoever holds it, and ends with one ptesync.
    pub fn insert(
        &mut self,
        pages: Pages,
        mappings: &[Mapping],
        placed: impl FnMut(usize, Option<HpteIndex>),
    ) {
        let shape = pages.shape();
        self.insert_by(
            mappings,
            move |mapping| shape.hash(mapping.vpn),
            move |mapping| (shape.v(mapping.vpn), mapping.r),
            placed,
        );
    }

    /// The same for entries whose words and hashes are known.
    pub(crate) fn insert_hashed(
        &mut self,
        entries: &[(u64, Hpte)],
        placed: impl FnMut(usize, Option<HpteIndex>),
    ) {
        let words = |(_, hpte): &(u64, Hpte)| (hpte.v, hpte.r);
        self.insert_by(entries, |&(hash, _)| hash, words, placed);
    }

    fn insert_by<T>(
        &mut self,
        entries: &[T],
        hash: impl Fn(&T) -> u64,
        words: impl Fn(&T) -> (HpteV, HpteR),
        placed: impl FnMut(usize, Option<HpteIndex>),
    ) {
        let distance = self.distance;
        match self.format {
            HpteFormat::Isa2 => self.backend.run(InsertLoop {
                table: self.table::<Isa2>(),
                distance,
                entries,
                hash,
                words,
                placed,
            }),
            HpteFormat::Isa3 => self.backend.run(InsertLoop {
                table: self.table::<Isa3>(),
                distance,
                entries,
                hash,
                words,
                placed,
            }),
        }
        self.complete();
    }
}

impl<S: Sharing, F: Format> Table<'_, S, F> {
    /// Takes a slot that was seen free. False if somebody else has it by now.
    #[inline(always)]
    fn claim(self, at: GroupAt, slot: u8) -> bool {
        if !S::SHARED {
            return true;
        }
        let word = word_of(slot);
        loop {
            let v = HpteV(self.groups.load(at, word));
            if v.is_valid() {
                return false;
            }
            let locked = v.with_lock().0;
            if v.is_locked() {
                core::hint::spin_loop();
            } else if self.groups.compare_exchange(at, word, v.0, locked) {
                return true;
            }
        }
    }

    /// Puts an entry, encoded, into the lowest free slot of a group.
    #[inline(always)]
    fn insert_in<K: GroupKernel>(self, at: GroupAt, dw0: u64, dw1: u64) -> Option<HpteIndex> {
        let free = self.groups.masked_equal::<K>(at, 0, HpteV::VALID);
        let slot = Slots(free).find(|&slot| self.claim(at, slot))?;
        self.groups.store(at, word_of(slot) + 1, dw1);
        self.groups.store(at, word_of(slot), dw0);
        Some(self.index(at, slot))
    }
}

struct InsertLoop<'b, 'm, S, F, T, H, W, P> {
    table: Table<'m, S, F>,
    distance: usize,
    entries: &'b [T],
    hash: H,
    words: W,
    placed: P,
}

impl<S, F, T, H, W, P> GroupLoop for InsertLoop<'_, '_, S, F, T, H, W, P>
where
    S: Sharing,
    F: Format,
    H: Fn(&T) -> u64,
    W: Fn(&T) -> (HpteV, HpteR),
    P: FnMut(usize, Option<HpteIndex>),
{
    type Output = ();

    #[inline(always)]
    fn run<K: GroupKernel>(self) {
        let pass = InsertPass {
            table: self.table,
            hash: self.hash,
            words: self.words,
            placed: self.placed,
            kind: PhantomData::<(K, T)>,
        };
        pipeline::run(pass, self.entries, self.distance);
    }
}

struct InsertPass<'m, S, F, T, H, W, P, K> {
    table: Table<'m, S, F>,
    hash: H,
    words: W,
    placed: P,
    kind: PhantomData<(K, T)>,
}

impl<S, F, T, H, W, P, K> Pass for InsertPass<'_, S, F, T, H, W, P, K>
where
    S: Sharing,
    F: Format,
    H: Fn(&T) -> u64,
    W: Fn(&T) -> (HpteV, HpteR),
    P: FnMut(usize, Option<HpteIndex>),
    K: GroupKernel,
{
    type Entry = T;
    /// Both doublewords for the primary group.
    type Ready = (u64, u64);

    #[inline(always)]
    fn place(&self, entry: &T) -> GroupAt {
        self.table.groups.group((self.hash)(entry))
    }

    #[inline(always)]
    fn ready(&self, entry: &T) -> (u64, u64) {
        let (v, r) = (self.words)(entry);
        let v = v.with_valid().without_lock();
        F::FORMAT.encode(Hpte { v, r })
    }

    #[inline(always)]
    fn fetch(&self, _: &T, at: GroupAt) {
        self.table.groups.prefetch_write(at);
    }

    #[inline(always)]
    fn glance(&self, _: (u64, u64), at: GroupAt) {
        // Groups only fill up: a full one will still be full.
        let groups = self.table.groups;
        if groups.masked_equal::<K>(at, 0, HpteV::VALID) == 0 {
            groups.prefetch_write(groups.other(at));
        }
    }

    #[inline(always)]
    fn work(&mut self, i: usize, (dw0, dw1): (u64, u64), at: GroupAt) -> bool {
        // No closure round a kernel: it would be compiled without the CPU feature.
        if let Some(index) = self.table.insert_in::<K>(at, dw0, dw1) {
            (self.placed)(i, Some(index));
            return false;
        }
        let other = self.table.groups.other(at);
        let dw0 = dw0 | HpteV::SECONDARY;
        (self.placed)(i, self.table.insert_in::<K>(other, dw0, dw1));
        true
    }
}
