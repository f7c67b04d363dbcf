//! Batched search: find, and what [`Batch::invalidate`](super::Batch::invalidate) finds and clears.

use super::pipeline::{self, Pass};
use super::{Batch, Format, Isa2, Isa3, Pages, Shape, Sharing, Slots, Table};
use crate::addr::{HpteIndex, Vpn};
use crate::hpt::CompareOrder;
use crate::hpte::{HpteFormat, HpteV};
use crate::memory::GroupAt;
use crate::pteg::{GroupKernel, GroupLoop};
use core::hint::select_unpredictable;
use core::marker::PhantomData;

/// What a search compares: B, AVPN, H and V.
const COMPARED: HpteV = HpteV(HpteV::COMPARE_MASK | HpteV::SECONDARY | HpteV::VALID);

impl<S: Sharing> Batch<'_, S> {
    /// Finds the entry of each page, as [`Hpt::find`](crate::Hpt::find) does: the primary group, then
    /// the secondary one; H must say which it is. `found` gets the place of the page in the slice and
    /// the entry's, or `None`.
    pub fn find(&self, pages: Pages, vpns: &[Vpn], found: impl FnMut(usize, Option<HpteIndex>)) {
        self.search::<false>(pages, vpns, found);
    }

    /// Finds each page, and with `CLEAR` clears its entry.
    pub(super) fn search<const CLEAR: bool>(
        &self,
        pages: Pages,
        vpns: &[Vpn],
        found: impl FnMut(usize, Option<HpteIndex>),
    ) {
        let (distance, shape) = (self.distance, pages.shape());
        match self.format {
            HpteFormat::Isa2 => self.backend.run(SearchLoop::<_, _, _, CLEAR> {
                table: self.table::<Isa2>(),
                distance,
                shape,
                vpns,
                found,
            }),
            HpteFormat::Isa3 => self.backend.run(SearchLoop::<_, _, _, CLEAR> {
                table: self.table::<Isa3>(),
                distance,
                shape,
                vpns,
                found,
            }),
        }
    }
}

impl<S: Sharing, F: Format> Table<'_, S, F> {
    /// Whether the compare of a group says all: not if others write, nor if B lies in doubleword 1.
    const EXACT: bool = !S::SHARED && matches!(F::FORMAT, HpteFormat::Isa2);

    /// The slot of a group that matches `want`, which is `dw0` in memory; H counts.
    #[inline(always)]
    fn find_in<K: GroupKernel>(self, at: GroupAt, want: HpteV, dw0: u64) -> Option<u8> {
        let mask = Self::encoded(COMPARED);
        let hits = self.groups.masked_equal::<K>(at, dw0, mask);
        Slots(hits).find(|&slot| Self::EXACT || (self.v_at(at, slot).0 ^ want.0) & COMPARED.0 == 0)
    }

    /// The same where both groups are near: no branch depends on which of them has the page, if any,
    /// because a branch that the host cannot foresee costs more than the compare.
    #[inline(always)]
    fn find_near<K: GroupKernel>(self, at: GroupAt, want: HpteV) -> Option<HpteIndex> {
        let (dw0, mask) = (Self::encoded(want), Self::encoded(COMPARED));
        let (other, secondary) = (self.groups.other(at), dw0 | HpteV::SECONDARY);
        let primary = u32::from(self.groups.masked_equal::<K>(at, dw0, mask));
        let secondary = u32::from(self.groups.masked_equal::<K>(other, secondary, mask));
        let hits = primary | secondary << 8;
        if !Self::EXACT && hits != 0 {
            let place = self.find_one::<K>(at, want);
            return place.map(|(at, slot)| self.index(at, slot));
        }
        let group = select_unpredictable(primary != 0, at, other);
        let index = self.index(group, hits.trailing_zeros() as u8 & 7);
        select_unpredictable(hits != 0, Some(index), None)
    }

    /// Whether a primary group seems to have an entry.
    #[inline(always)]
    pub(super) fn glance<K: GroupKernel>(self, at: GroupAt, want: HpteV) -> bool {
        let (dw0, mask) = (Self::encoded(want), Self::encoded(COMPARED));
        self.groups.masked_equal::<K>(at, dw0, mask) != 0
    }

    /// Finds one page, in its primary group first. `want` has V and not H.
    #[inline(always)]
    pub(super) fn find_one<K: GroupKernel>(
        self,
        at: GroupAt,
        want: HpteV,
    ) -> Option<(GroupAt, u8)> {
        let dw0 = Self::encoded(want);
        if let Some(slot) = self.find_in::<K>(at, want, dw0) {
            return Some((at, slot));
        }
        let at = self.groups.other(at);
        let slot = self.find_in::<K>(at, want.with_secondary(), dw0 | HpteV::SECONDARY)?;
        Some((at, slot))
    }
}

struct SearchLoop<'b, 'm, S, F, C, const CLEAR: bool> {
    table: Table<'m, S, F>,
    distance: usize,
    shape: Shape,
    vpns: &'b [Vpn],
    found: C,
}

impl<S, F, C, const CLEAR: bool> GroupLoop for SearchLoop<'_, '_, S, F, C, CLEAR>
where
    S: Sharing,
    F: Format,
    C: FnMut(usize, Option<HpteIndex>),
{
    type Output = ();

    #[inline(always)]
    fn run<K: GroupKernel>(self) {
        let pass = SearchPass::<_, _, _, _, CLEAR> {
            table: self.table,
            shape: self.shape,
            near: self.distance == 0,
            found: self.found,
            kernel: PhantomData::<K>,
        };
        pipeline::run(pass, self.vpns, self.distance);
    }
}

struct SearchPass<'m, S, F, C, K, const CLEAR: bool> {
    table: Table<'m, S, F>,
    shape: Shape,
    near: bool,
    found: C,
    kernel: PhantomData<K>,
}

impl<S, F, C, K, const CLEAR: bool> SearchPass<'_, S, F, C, K, CLEAR> {
    #[inline(always)]
    fn bring(&self, at: GroupAt) {
        match CLEAR {
            true => self.table.groups.prefetch_write(at),
            false => self.table.groups.prefetch(at),
        }
    }
}

impl<S, F, C, K, const CLEAR: bool> Pass for SearchPass<'_, S, F, C, K, CLEAR>
where
    S: Sharing,
    F: Format,
    C: FnMut(usize, Option<HpteIndex>),
    K: GroupKernel,
{
    type Entry = Vpn;
    /// What doubleword 0 must be in the primary group.
    type Ready = HpteV;

    #[inline(always)]
    fn place(&self, &vpn: &Vpn) -> GroupAt {
        self.table.groups.group(self.shape.hash(vpn))
    }

    #[inline(always)]
    fn ready(&self, &vpn: &Vpn) -> HpteV {
        self.shape.v(vpn).with_valid()
    }

    #[inline(always)]
    fn fetch(&self, _: &Vpn, at: GroupAt) {
        self.bring(at);
    }

    #[inline(always)]
    fn glance(&self, want: HpteV, at: GroupAt) {
        if !self.table.glance::<K>(at, want) {
            self.bring(self.table.groups.other(at));
        }
    }

    #[inline(always)]
    fn work(&mut self, i: usize, want: HpteV, at: GroupAt) -> bool {
        if self.near && !CLEAR {
            (self.found)(i, self.table.find_near::<K>(at, want));
            return false;
        }
        let mut place = self.table.find_one::<K>(at, want);
        if CLEAR {
            let order = CompareOrder::BeforeLock;
            place = place.filter(|&(at, slot)| self.table.clear(at, slot, want, order));
        }
        (self.found)(i, place.map(|(at, slot)| self.table.index(at, slot)));
        place.is_none_or(|(found, _)| found != at)
    }
}
