//! The writer of a hash table that a hypervisor owns (`arch/powerpc/platforms/pseries/lpar.c`), and
//! the hypervisor's side of each call as the CPU runs it.
//!
//! Owns which calls the kernel makes, with which operands. Refuses what a call does to the table:
//! that is `emu_mmu::Hypervisor`.

mod block_remove;

pub(crate) use block_remove::block_remove_is_offered;

use crate::config::KernelVersion;
use crate::functions::Func;
use crate::kernel::Linux;
use crate::memmap::global;
use crate::mm::VirtualPage;
use crate::real_table::RealTable;
use crate::tracepoint::Tracepoint;
use emu_core::{Ctx, Exception, Run, Step};
use emu_mmu::hcall::{
    Answer, BULK_ENTRIES_MAX, H_ANDCOND, H_AVPN, HBR_END, HBR_NOT_FOUND, bulk_request,
};
use emu_mmu::{
    Ea, GroupIndex, Hcall, HcallError, HpteIndex, HpteR, HpteV, Hypervisor, PageSize, SegmentSize,
};

/// Bits of doubleword 1 that H_PROTECT takes where they stand, and those it takes shifted down.
const PROTECT_2_6_38: u64 = 0x7;
const PROTECT_6_1: u64 = HpteR::PP_MASK | HpteR::N | HpteR::KEY_LO;

/// Reading an entry of a batch.
const ENTRY: Step = "pSeries_lpar_flush_hash_range: entry";

/// A return code that the kernel takes for a bug of its own or of the hypervisor (BUG_ON).
fn fatal<T>(_: HcallError) -> Run<T> {
    Err(Exception::Corrupt(
        "the hypervisor refused a call that the kernel is sure of",
    ))
}

impl Linux {
    /// One call: counted, charged, and run with the guest's interrupts held back.
    fn hcall<T>(
        &self,
        cx: &mut Ctx<'_>,
        call: Hcall,
        body: impl FnOnce(&Hypervisor, &mut RealTable<'_, '_>) -> Answer<T, Exception>,
    ) -> Answer<T, Exception> {
        self.count(&self.counters.hcalls[call as usize]);
        let hypervisor = Hypervisor::new(self.hpt, self.hpt.base().get());
        cx.hypercall(|cx| body(&hypervisor, &mut RealTable::shared(cx)))
    }

    /// H_ENTER without flags; `None` if the group is full. Any other refusal is -2 in the kernel: "hash
    /// failure", after which the access that faulted is an oops.
    pub(crate) fn h_enter(
        &self,
        cx: &mut Ctx<'_>,
        group: GroupIndex,
        v: HpteV,
        r: HpteR,
    ) -> Run<Option<HpteIndex>> {
        let index = group.slot(0);
        match self.hcall(cx, Hcall::Enter, |hv, table| {
            hv.enter(table, 0, index, v, r)
        })? {
            Ok(index) => Ok(Some(index)),
            Err(HcallError::PtegFull) => Ok(None),
            Err(error) => fatal(error),
        }
    }

    /// pSeries_lpar_hpte_insert(): slot in the group plus 8 for the secondary group, `None` if the
    /// group is full.
    pub(crate) fn pseries_lpar_hpte_insert(
        &self,
        cx: &mut Ctx<'_>,
        group: GroupIndex,
        page: VirtualPage,
        r: HpteR,
        secondary: bool,
    ) -> Run<Option<u64>> {
        self.work(cx, Func::PseriesLparHpteInsert)?;
        let v = self.hpte_pattern(page);
        let (v, side) = if secondary {
            (v.with_secondary(), 8)
        } else {
            (v, 0)
        };
        let index = self.h_enter(cx, group, v, r)?;
        Ok(index.map(|index| u64::from(index.slot()) | side))
    }

    /// pSeries_lpar_hpte_remove(): evicts one entry that is not bolted, from a slot that the timebase
    /// picks. Unlike the native writer's, its translation leaves the TLBs.
    pub(crate) fn pseries_lpar_hpte_remove(
        &self,
        cx: &mut Ctx<'_>,
        group: GroupIndex,
    ) -> Run<bool> {
        self.work(cx, Func::PseriesLparHpteRemove)?;
        let start = cx.timebase_bits(3)? as u8;
        for i in 0..8 {
            let index = group.slot(start.wrapping_add(i));
            let removed = self.hcall(cx, Hcall::Remove, |hv, table| {
                hv.remove(table, H_ANDCOND, index, HpteV::BOLTED)
            })?;
            match removed {
                Ok(_) => return Ok(true),
                Err(HcallError::NotFound) => {}
                Err(error) => return fatal(error),
            }
        }
        Ok(false)
    }

    /// pSeries_lpar_hpte_updatepp(): false if the slot does not hold the page.
    pub(crate) fn pseries_lpar_hpte_updatepp(
        &self,
        cx: &mut Ctx<'_>,
        index: HpteIndex,
        page: VirtualPage,
        flags: u64,
    ) -> Run<bool> {
        self.work(cx, Func::PseriesLparHpteUpdatepp)?;
        let bits = match self.layout.version {
            KernelVersion::V2_6_38 => flags & PROTECT_2_6_38,
            KernelVersion::V6_1 => {
                (flags & PROTECT_6_1) | (flags & HpteR::KEY_HI) >> 48 | (flags & HpteR::PP0) >> 55
            }
        };
        let avpn = self.avpn(page);
        let protected = self.hcall(cx, Hcall::Protect, |hv, table| {
            hv.protect(table, H_AVPN | bits, index, avpn)
        })?;
        match protected {
            Ok(()) => Ok(true),
            Err(HcallError::NotFound) => Ok(false),
            Err(error) => fatal(error),
        }
    }

    /// pSeries_lpar_hpte_invalidate(): an entry that is gone already is fine.
    pub(crate) fn pseries_lpar_hpte_invalidate(
        &self,
        cx: &mut Ctx<'_>,
        index: HpteIndex,
        page: VirtualPage,
    ) -> Run<()> {
        self.work(cx, Func::PseriesLparHpteInvalidate)?;
        let avpn = self.avpn(page);
        let removed = self.hcall(cx, Hcall::Remove, |hv, table| {
            hv.remove(table, H_AVPN, index, avpn)
        })?;
        match removed {
            Ok(_) => self.count(&self.counters.hpte_invalidations),
            Err(HcallError::NotFound) => self.note_nothing_to_remove(cx, page),
            Err(error) => return fatal(error),
        }
        Ok(())
    }

    fn note_nothing_to_remove(&self, cx: &Ctx<'_>, page: VirtualPage) {
        let VirtualPage { vpn, segment, size } = page;
        self.trace(cx, Tracepoint::NothingToRemove { vpn, segment, size });
    }

    /// pSeries_lpar_flush_hash_range(): four translations a call, or those of one block of eight pages where
    /// the firmware has H_BLOCK_REMOVE. Which batch it flushes is looked up
    /// here again, before the lock and so with preemption on, unless the policy hands the caller's
    /// down.
    pub(crate) fn pseries_lpar_flush_hash_range(
        &self,
        cx: &mut Ctx<'_>,
        callers_batch: Ea,
        number: u64,
    ) -> Run<()> {
        cx.call("pSeries_lpar_flush_hash_range", |cx| {
            self.work(cx, Func::PseriesLparFlushHashRange)?;
            let b = self.policy.flush_range_batch(self, cx, callers_batch)?;
            let locked = self.lock_lpar_tlbie(cx)?;
            let sizes = self.batch_sizes(cx, b)?;
            if self.block_remove {
                self.do_block_remove(cx, b, number, sizes)?;
            } else {
                self.do_bulk_remove(cx, b, number, sizes)?;
            }
            match locked {
                Some(enabled) => self.unlock_lpar_tlbie(cx, enabled),
                None => Ok(()),
            }
        })
    }

    /// The pages of a batch, four to a call.
    fn do_bulk_remove(
        &self,
        cx: &mut Ctx<'_>,
        b: Ea,
        number: u64,
        sizes: (SegmentSize, PageSize),
    ) -> Run<()> {
        let mut pages = Vec::with_capacity(BULK_ENTRIES_MAX);
        for i in 0..number {
            self.work(cx, Func::PseriesLparFlushHashRangeEntry)?;
            let (page, rpte) = self.batch_entry(cx, b, i, sizes, [ENTRY; 2])?;
            for named in self.recorded_slots(page, rpte) {
                pages.push(named);
                if pages.len() == BULK_ENTRIES_MAX {
                    self.h_bulk_remove(cx, &pages)?;
                    pages.clear();
                }
            }
        }
        if !pages.is_empty() {
            self.h_bulk_remove(cx, &pages)?;
        }
        Ok(())
    }

    /// H_BULK_REMOVE of up to four pages, each from its slot.
    fn h_bulk_remove(&self, cx: &mut Ctx<'_>, pages: &[(VirtualPage, HpteIndex)]) -> Run<()> {
        let mut words = [HBR_END; 2 * BULK_ENTRIES_MAX];
        for (pair, &(page, index)) in words.chunks_exact_mut(2).zip(pages) {
            pair.copy_from_slice(&bulk_request(index, self.hpte_pattern(page)));
        }
        let done = self.hcall(cx, Hcall::BulkRemove, |hv, table| {
            hv.bulk_remove(table, &mut words)
        })?;
        if let Err(error) = done {
            return fatal(error);
        }
        for (answer, &(page, _)) in words.iter().step_by(2).zip(pages) {
            if answer & HBR_NOT_FOUND == 0 {
                self.count(&self.counters.hpte_invalidations);
            } else {
                self.note_nothing_to_remove(cx, page);
            }
        }
        Ok(())
    }

    /// spin_lock_irqsave(&pSeries_lpar_tlbie_lock) where the CPU allows one tlbie sequence at a time:
    /// the hypervisor would serialise the callers anyway. Gives the interrupt state if it locked.
    fn lock_lpar_tlbie(&self, cx: &mut Ctx<'_>) -> Run<Option<bool>> {
        if self.lockless_tlbie() {
            return Ok(None);
        }
        self.spin_lock_irqsave(cx, global::PSERIES_LPAR_TLBIE_LOCK)
            .map(Some)
    }

    /// spin_unlock_irqrestore().
    fn unlock_lpar_tlbie(&self, cx: &mut Ctx<'_>, enabled: bool) -> Run<()> {
        self.spin_unlock_irqrestore(cx, global::PSERIES_LPAR_TLBIE_LOCK, enabled)
    }

    /// The AVPN operand of a page.
    fn avpn(&self, page: VirtualPage) -> u64 {
        self.hpte_pattern(page).0 & HpteV::COMPARE_MASK
    }
}
