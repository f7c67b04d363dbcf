//! Batched find.

use super::{Batch, Format, Isa2, Isa3, Pages, Shape, Sharing, Slots, Table, pipeline};
use crate::addr::{HpteIndex, Vpn};
use crate::hpte::{Hpte, HpteFormat, HpteR, HpteV};
use crate::memory::GroupAt;
use crate::pteg::{GroupKernel, GroupLoop};

/// What a search compares: B, AVPN, H and V.
const COMPARED: HpteV = HpteV(HpteV::COMPARE_MASK | HpteV::SECONDARY | HpteV::VALID);

impl<S: Sharing> Batch<'_, S> {
    /// Finds the entry of each page, as [`Hpt::find`](crate::Hpt::find) does: the primary group, then
    /// the secondary one; H must say which it is. `found` gets the place of the page in the slice and
    /// the entry's, or `None`.
    pub fn find(&self, pages: Pages, vpns: &[Vpn], found: impl FnMut(usize, Option<HpteIndex>)) {
        let (distance, shape) = (self.distance, pages.shape());
        match self.format {
            HpteFormat::Isa2 => self.backend.run(FindLoop {
                table: self.table::<Isa2>(),
                distance,
                shape,
                vpns,
                found,
            }),
            HpteFormat::Isa3 => self.backend.run(FindLoop {
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
    /// Doubleword 0 in memory of an entry with this one in the layout of ISA 2.x.
    #[inline(always)]
    fn encoded(v: HpteV) -> u64 {
        F::FORMAT.encode(Hpte { v, r: HpteR(0) }).0
    }

    /// The slot of a group that matches; H counts.
    #[inline(always)]
    fn find_in<K: GroupKernel>(self, at: GroupAt, want: HpteV) -> Option<u8> {
        let (dw0, mask) = (Self::encoded(want), Self::encoded(COMPARED));
        let hits = self.groups.masked_equal::<K>(at, dw0, mask);
        // All there is to compare was compared, unless others write or B lies in doubleword 1.
        let exact = !S::SHARED && mask == COMPARED.0;
        Slots(hits).find(|&slot| exact || (self.v_at(at, slot).0 ^ want.0) & COMPARED.0 == 0)
    }

    /// Whether a primary group seems to have the entry.
    #[inline(always)]
    pub(super) fn glance<K: GroupKernel>(self, at: GroupAt, v: HpteV) -> bool {
        let (dw0, mask) = (Self::encoded(v.with_valid()), Self::encoded(COMPARED));
        self.groups.masked_equal::<K>(at, dw0, mask) != 0
    }

    /// Finds one page, in its primary group first.
    #[inline(always)]
    pub(super) fn find_one<K: GroupKernel>(self, at: GroupAt, v: HpteV) -> Option<(GroupAt, u8)> {
        let want = v.with_valid();
        if let Some(slot) = self.find_in::<K>(at, want) {
            return Some((at, slot));
        }
        let at = self.groups.other(at);
        let slot = self.find_in::<K>(at, want.with_secondary())?;
        Some((at, slot))
    }
}

struct FindLoop<'b, 'm, S, F, C> {
    table: Table<'m, S, F>,
    distance: usize,
    shape: Shape,
    vpns: &'b [Vpn],
    found: C,
}

impl<S, F, C> GroupLoop for FindLoop<'_, '_, S, F, C>
where
    S: Sharing,
    F: Format,
    C: FnMut(usize, Option<HpteIndex>),
{
    type Output = ();

    #[inline(always)]
    fn run<K: GroupKernel>(self) {
        let FindLoop {
            table,
            distance,
            shape,
            vpns,
            mut found,
        } = self;
        pipeline(
            vpns,
            distance,
            #[inline(always)]
            |&vpn| {
                let at = table.groups.group(shape.hash(vpn));
                table.groups.prefetch(at);
                at
            },
            #[inline(always)]
            |&vpn, at| {
                if !table.glance::<K>(at, shape.v(vpn)) {
                    table.groups.prefetch(table.groups.other(at));
                }
            },
            #[inline(always)]
            |i, &vpn, at| {
                let place = table.find_one::<K>(at, shape.v(vpn));
                found(i, place.map(|(at, slot)| table.index(at, slot)));
            },
        );
    }
}
