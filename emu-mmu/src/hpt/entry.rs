//! Operations on one entry, in the step order of Linux's native writer (Linux 2.6.38 and 6.1,
//! hash_native).

use super::{Barrier, CompareOrder, Hpt, TableAccess};
use crate::addr::{GroupIndex, HpteIndex, PageSize, SegmentSize, Vpn};
use crate::hpte::{Hpte, HpteFormat, HpteR, HpteV};

impl Hpt {
    /// Puts an entry into the lowest free slot of a group and returns the slot, or `None` if the
    /// group is full.
    ///
    /// V is set and the lock bit cleared whatever `v` says; `secondary` sets H. No search for an
    /// existing match is made.
    ///
    /// # Errors
    /// Those of the access.
    pub fn insert<A: TableAccess>(
        &self,
        a: &mut A,
        group: GroupIndex,
        v: HpteV,
        r: HpteR,
        secondary: bool,
    ) -> Result<Option<u8>, A::Error> {
        for slot in 0..8 {
            let index = group.slot(slot);
            let ra = self.hpte_ra(index);
            if HpteV(a.load(ra, "native_hpte_insert: load V")?).is_valid() {
                continue;
            }
            if self.lock_slot(a, index)?.is_valid() {
                self.unlock_slot(a, index)?;
                continue;
            }
            let v = v.with_valid().without_lock();
            let v = if secondary { v.with_secondary() } else { v };
            let (dw0, dw1) = self.format.encode(Hpte { v, r });
            a.store(ra + 8, dw1, "native_hpte_insert: store R")?;
            a.barrier(Barrier::Eieio, "native_hpte_insert: R before V")?;
            a.store(ra, dw0, "native_hpte_insert: store V")?;
            a.barrier(Barrier::Ptesync, "native_hpte_insert: ptesync")?;
            return Ok(Some(slot));
        }
        Ok(None)
    }

    /// Finds the entry of a page: the primary group, then the secondary one; an entry counts only
    /// if its H bit says the group it is in.
    ///
    /// # Errors
    /// Those of the access.
    pub fn find<A: TableAccess>(
        &self,
        a: &mut A,
        vpn: Vpn,
        segment: SegmentSize,
        base: PageSize,
    ) -> Result<Option<HpteIndex>, A::Error> {
        let want = HpteV::new(vpn, segment, base);
        let hash = vpn.hash(segment, base);
        for (group, secondary) in [(self.primary(hash), false), (self.secondary(hash), true)] {
            for slot in 0..8 {
                let index = group.slot(slot);
                let v = a.load(self.hpte_ra(index), "native_hpte_find: load V")?;
                let v = self.comparable(a, index, v)?;
                if v.matches(want) && v.is_secondary() == secondary {
                    return Ok(Some(index));
                }
            }
        }
        Ok(None)
    }

    /// Evicts one valid entry that is not bolted, trying eight slots from `start_slot` (mod 8), and
    /// returns which, or `None` if all are bolted or free. No TLB invalidation is made: the old
    /// translation may live on.
    ///
    /// # Errors
    /// Those of the access.
    pub fn remove<A: TableAccess>(
        &self,
        a: &mut A,
        group: GroupIndex,
        start_slot: u8,
    ) -> Result<Option<HpteIndex>, A::Error> {
        let evictable = |v: HpteV| v.is_valid() && !v.is_bolted();
        for i in 0..8 {
            let index = group.slot(start_slot.wrapping_add(i));
            let ra = self.hpte_ra(index);
            if !evictable(HpteV(a.load(ra, "native_hpte_remove: load V")?)) {
                continue;
            }
            if evictable(self.lock_slot(a, index)?) {
                a.store(ra, 0, "native_hpte_remove: clear V")?;
                return Ok(Some(index));
            }
            self.unlock_slot(a, index)?;
        }
        Ok(None)
    }

    /// Doubleword 0 in the layout that `want` words have: in ISA 3.0 B comes from doubleword 1.
    #[inline]
    fn comparable<A: TableAccess>(
        &self,
        a: &mut A,
        index: HpteIndex,
        dw0: u64,
    ) -> Result<HpteV, A::Error> {
        let dw1 = match self.format {
            HpteFormat::Isa2 => 0,
            HpteFormat::Isa3 => a.load(self.hpte_ra(index) + 8, "hpte_get_old_v: load R")?,
        };
        Ok(self.format.decode(dw0, dw1).v)
    }

    /// Locks the entry if it is valid and matches; `None` leaves it unlocked.
    fn lock_matching<A: TableAccess>(
        &self,
        a: &mut A,
        index: HpteIndex,
        want: HpteV,
        compare: CompareOrder,
    ) -> Result<Option<HpteV>, A::Error> {
        if compare == CompareOrder::BeforeLock {
            let v = a.load(
                self.hpte_ra(index),
                "native_lock_hpte: compare before the lock",
            )?;
            if !self.comparable(a, index, v)?.matches(want) {
                return Ok(None);
            }
        }
        let v = self.lock_slot(a, index)?;
        let v = self.comparable(a, index, v.0)?;
        if v.matches(want) {
            return Ok(Some(v));
        }
        self.unlock_slot(a, index)?;
        Ok(None)
    }

    /// Changes the protection of an entry that is valid and matches `want`; tells whether it did.
    /// No TLB invalidation.
    ///
    /// R = (R without pp and N) | (pp, N and C of `new_pp_flags`). pp is two bits under
    /// [`CompareOrder::UnderLock`] (Linux 2.6.38) and three under [`CompareOrder::BeforeLock`]
    /// (Linux 6.1).
    ///
    /// # Errors
    /// Those of the access.
    pub fn update_pp<A: TableAccess>(
        &self,
        a: &mut A,
        index: HpteIndex,
        want: HpteV,
        new_pp_flags: u64,
        compare: CompareOrder,
    ) -> Result<bool, A::Error> {
        if self.lock_matching(a, index, want, compare)?.is_none() {
            return Ok(false);
        }
        let ra = self.hpte_ra(index) + 8;
        let r = a.load(ra, "native_hpte_updatepp: load R")?;
        a.store(
            ra,
            with_pp(r, new_pp_flags, compare),
            "native_hpte_updatepp: store R",
        )?;
        self.unlock_slot(a, index)?;
        Ok(true)
    }

    /// Changes the protection of a bolted entry, without its lock and without a compare, as Linux's
    /// `native_hpte_updateboltedpp` does. No TLB invalidation.
    ///
    /// # Errors
    /// Those of the access.
    pub fn update_bolted_pp<A: TableAccess>(
        &self,
        a: &mut A,
        index: HpteIndex,
        new_pp_flags: u64,
        compare: CompareOrder,
    ) -> Result<(), A::Error> {
        let ra = self.hpte_ra(index) + 8;
        let r = a.load(ra, "native_hpte_updateboltedpp: load R")?;
        let r = with_pp(r, new_pp_flags & !HpteR::C, compare);
        a.store(ra, r, "native_hpte_updateboltedpp: store R")
    }

    /// Clears doubleword 0 of an entry that is valid and matches `want`, under its lock; tells
    /// whether it did. No TLB invalidation.
    ///
    /// # Errors
    /// Those of the access.
    pub fn invalidate<A: TableAccess>(
        &self,
        a: &mut A,
        index: HpteIndex,
        want: HpteV,
        compare: CompareOrder,
    ) -> Result<bool, A::Error> {
        if self.lock_matching(a, index, want, compare)?.is_none() {
            return Ok(false);
        }
        a.store(self.hpte_ra(index), 0, "native_hpte_invalidate: clear V")?;
        Ok(true)
    }
}

/// R with the pp bits and N of `flags`, and C if `flags` has it.
fn with_pp(r: u64, flags: u64, compare: CompareOrder) -> u64 {
    let pp = match compare {
        CompareOrder::UnderLock => HpteR::PP_MASK,
        CompareOrder::BeforeLock => HpteR::PPP_MASK,
    };
    (r & !(pp | HpteR::N)) | (flags & (pp | HpteR::N | HpteR::C))
}
