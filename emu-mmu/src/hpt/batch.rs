//! Operations on many entries of one table at full speed: the memory latency of one overlaps the work
//! on others.
//!
//! Owns the rolling pipeline (the group of an entry some places ahead is prefetched while this one is
//! worked on) and the two ways to own a table: alone, or beside others under the entry lock bit. Both
//! run the same body. What a batch leaves in memory is what the one-at-a-time operations of [`Hpt`]
//! leave, in the same slots. Refuses steps: nothing is scheduled in between, and nothing is charged.

mod clear;
mod find;
mod insert;
mod pipeline;

use super::Hpt;
use crate::addr::{GroupIndex, HASH_MASK, HpteIndex, PageSize, SegmentSize, Vpn};
use crate::hpte::{Hpte, HpteFormat, HpteR, HpteV};
use crate::memory::{GroupAt, Groups, GuestMemory, MemoryError};
use crate::pteg::{Backend, Chosen};
use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::{Ordering, fence};
use pipeline::{DISTANCE, DISTANCE_MAX};

/// How a batch shares its table with others.
pub trait Sharing: sealed::Sealed {
    /// Whether others may change the table meanwhile.
    const SHARED: bool;
}

/// Nobody else reaches the memory: no lock bit is taken, no atomic read-modify-write is made.
#[derive(Clone, Copy, Debug)]
pub struct Exclusive;

/// Others may work on the table: every change is made under the entry's lock bit.
#[derive(Clone, Copy, Debug)]
pub struct Shared;

impl Sharing for Exclusive {
    const SHARED: bool = false;
}

impl Sharing for Shared {
    const SHARED: bool = true;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Exclusive {}
    impl Sealed for super::Shared {}
}

/// What all pages of a batch have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    /// Size of their segments.
    pub segment: SegmentSize,
    /// Their base page size.
    pub base: PageSize,
    /// Bits of doubleword 0 that new entries get beside B, AVPN, L of a large base page, H and V: the
    /// bolted bit, or L of a large page in a segment of small ones.
    pub v_flags: HpteV,
}

impl Pages {
    /// Pages of a base page size, without further bits.
    pub const fn new(segment: SegmentSize, base: PageSize) -> Self {
        Pages {
            segment,
            base,
            v_flags: HpteV(0),
        }
    }

    #[inline]
    const fn shape(self) -> Shape {
        let page_shift = self.base.shift() - 12;
        let (vsid_shift, tb) = match self.segment {
            SegmentSize::S256M => (16, 0),
            SegmentSize::S1T => (28, u64::MAX),
        };
        Shape {
            vsid_shift,
            in_segment: (1 << vsid_shift) - 1,
            page_shift,
            tb,
            v_mask: HpteV::AVPN_MASK & HpteV::compare_mask(self.base),
            v_or: HpteV::new(Vpn::new(0), self.segment, self.base).0 | self.v_flags.0,
        }
    }
}

/// [`Pages`] made ready for a loop: shifts and masks in place of sizes. A test holds it equal to
/// [`Vpn::hash`] and [`HpteV::new`].
#[derive(Clone, Copy)]
struct Shape {
    vsid_shift: u32,
    in_segment: u64,
    page_shift: u32,
    tb: u64,
    v_mask: u64,
    v_or: u64,
}

impl Shape {
    #[inline(always)]
    const fn hash(self, vpn: Vpn) -> u64 {
        let vsid = vpn.get() >> self.vsid_shift;
        let page = (vpn.get() & self.in_segment) >> self.page_shift;
        (vsid ^ (vsid << 25 & self.tb) ^ page) & HASH_MASK
    }

    #[inline(always)]
    const fn v(self, vpn: Vpn) -> HpteV {
        HpteV(vpn.get() >> 4 & self.v_mask | self.v_or)
    }
}

/// One page to map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// The page.
    pub vpn: Vpn,
    /// Doubleword 1: where it is and how it may be used.
    pub r: HpteR,
}

/// Operations on many entries of one table. Made by [`Hpt::exclusive`] and [`Hpt::shared`].
pub struct Batch<'m, S> {
    groups: Groups<'m>,
    format: HpteFormat,
    backend: Chosen,
    distance: usize,
    sharing: PhantomData<S>,
}

impl Clone for Batch<'_, Shared> {
    fn clone(&self) -> Self {
        Batch { ..*self }
    }
}

impl<S> fmt::Debug for Batch<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("backend", &self.backend)
            .field("distance", &self.distance)
            .finish_non_exhaustive()
    }
}

/// The layout of entries, as a type: the loops are compiled for each.
trait Format: Copy {
    const FORMAT: HpteFormat;
}

#[derive(Clone, Copy)]
struct Isa2;

#[derive(Clone, Copy)]
struct Isa3;

impl Format for Isa2 {
    const FORMAT: HpteFormat = HpteFormat::Isa2;
}

impl Format for Isa3 {
    const FORMAT: HpteFormat = HpteFormat::Isa3;
}

/// The table as the loops have it: by value, so that a store to guest memory does not make them load
/// it again.
struct Table<'m, S, F> {
    groups: Groups<'m>,
    kind: PhantomData<(S, F)>,
}

impl<S, F> Copy for Table<'_, S, F> {}

impl<S, F> Clone for Table<'_, S, F> {
    fn clone(&self) -> Self {
        *self
    }
}

/// Tables up to this size stay in a second-level cache.
const NEAR_BYTES: u64 = 512 << 10;

impl Hpt {
    /// Batches on this table for one who has the memory alone.
    ///
    /// # Errors
    /// [`MemoryError`] if the table reaches outside memory.
    pub fn exclusive<'m>(
        &self,
        memory: &'m mut GuestMemory,
    ) -> Result<Batch<'m, Exclusive>, MemoryError> {
        Batch::new(memory, *self)
    }

    /// Batches on this table beside others, on this host thread or another.
    ///
    /// # Errors
    /// [`MemoryError`] if the table reaches outside memory.
    pub fn shared<'m>(&self, memory: &'m GuestMemory) -> Result<Batch<'m, Shared>, MemoryError> {
        Batch::new(memory, *self)
    }
}

impl<'m, S: Sharing> Batch<'m, S> {
    fn new(memory: &'m GuestMemory, hpt: Hpt) -> Result<Self, MemoryError> {
        Ok(Batch {
            groups: Groups::new(memory, hpt.base(), hpt.groups_log2())?,
            format: hpt.format(),
            backend: Chosen::best(),
            distance: match hpt.size_bytes() {
                ..=NEAR_BYTES => 0,
                _ => DISTANCE,
            },
            sharing: PhantomData,
        })
    }

    /// With another back end for the compare of a group; `None` if this host cannot run it.
    pub fn with_backend(self, backend: Backend) -> Option<Self> {
        let backend = backend.chosen()?;
        Some(Batch { backend, ..self })
    }

    /// Prefetching `distance` entries ahead, at most 64; 0 prefetches nothing and takes every group to
    /// be near, as is done unasked for tables of at most 512 KiB.
    pub fn with_distance(self, distance: usize) -> Self {
        let distance = distance.min(DISTANCE_MAX);
        Batch { distance, ..self }
    }

    fn table<F: Format>(&self) -> Table<'m, S, F> {
        Table {
            groups: self.groups,
            kind: PhantomData,
        }
    }

    /// What a `ptesync` at the end of a batch does: all its stores are seen before what follows.
    fn complete(&self) {
        if S::SHARED {
            fence(Ordering::SeqCst);
        }
    }
}

impl<S: Sharing, F: Format> Table<'_, S, F> {
    /// Doubleword 0 of an entry in the layout of ISA 2.x.
    #[inline(always)]
    fn v_at(self, at: GroupAt, slot: u8) -> HpteV {
        self.decoded(at, slot, self.groups.load(at, word_of(slot)))
    }

    /// Doubleword 0 in memory of an entry with this one in the layout of ISA 2.x.
    #[inline(always)]
    fn encoded(v: HpteV) -> u64 {
        F::FORMAT.encode(Hpte { v, r: HpteR(0) }).0
    }

    /// `dw0` of an entry in the layout of ISA 2.x: in ISA 3.0 B comes from doubleword 1.
    #[inline(always)]
    fn decoded(self, at: GroupAt, slot: u8, dw0: u64) -> HpteV {
        match F::FORMAT {
            HpteFormat::Isa2 => HpteV(dw0),
            HpteFormat::Isa3 => {
                let dw1 = self.groups.load(at, word_of(slot) + 1);
                HpteFormat::Isa3.decode(dw0, dw1).v
            }
        }
    }

    #[inline(always)]
    fn index(self, at: GroupAt, slot: u8) -> HpteIndex {
        GroupIndex(self.groups.number(at)).slot(slot)
    }
}

/// The place of doubleword 0 of a slot in its group.
#[inline(always)]
const fn word_of(slot: u8) -> usize {
    2 * (slot & 7) as usize
}

/// The slots of a mask, lowest first.
struct Slots(u8);

impl Iterator for Slots {
    type Item = u8;

    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        if self.0 == 0 {
            return None;
        }
        let slot = self.0.trailing_zeros() as u8;
        self.0 &= self.0 - 1;
        Some(slot)
    }
}

#[cfg(test)]
mod tests;
