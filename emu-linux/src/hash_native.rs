//! The native writer of the hash table (`hash_native_64.c`): what the kernel does round each table
//! operation of `emu_mmu::Hpt`, above all the tlbie sequence and its lock.
//!
//! Owns the order of kernel steps. Refuses table layout and search, which are `emu-mmu`'s.

use crate::functions::Func;
use crate::kernel::Linux;
use crate::kernel_path::ENTRY_LOCK;
use crate::latency::Operation;
use crate::layout::{RealPte, va};
use crate::memmap::{global, pcpu};
use crate::mm::VirtualPage;
use crate::mutation::Mutation;
use emu_core::{Ctx, Exception, Run, Step};
use emu_mmu::{
    Barrier, CompareOrder, Ea, GroupIndex, HpteIndex, HpteR, HpteV, Ra, TableAccess, TlbInvalidate,
};

/// The table as the kernel reaches it: through the linear map.
pub(crate) struct LinearTable<'a, 'y>(pub &'a mut Ctx<'y>);

impl TableAccess for LinearTable<'_, '_> {
    type Error = Exception;

    #[inline]
    fn load(&mut self, ra: Ra, step: Step) -> Run<u64> {
        self.0.load_u64(va(ra), step)
    }

    #[inline]
    fn store(&mut self, ra: Ra, value: u64, step: Step) -> Run<()> {
        self.0.store_u64(va(ra), value, step)
    }

    #[inline]
    fn compare_exchange(&mut self, ra: Ra, old: u64, new: u64, step: Step) -> Run<bool> {
        self.0.in_path(ENTRY_LOCK, |cx| {
            let replace = |found| (found == old).then_some(new);
            Ok(cx.exchange_u64(va(ra), [step; 2], replace)?.1)
        })
    }

    #[inline]
    fn barrier(&mut self, barrier: Barrier, step: Step) -> Run<()> {
        self.0.barrier(barrier, step)
    }

    fn tlb_invalidate(&mut self, operand: TlbInvalidate, step: Step) -> Run<()> {
        self.0.tlb_invalidate(operand, step)
    }

    fn spin(&mut self, step: Step) -> Run<()> {
        self.0.in_path(ENTRY_LOCK, |cx| cx.spin(step))
    }
}

impl Linux {
    /// V pattern of a page, valid and unlocked.
    pub(crate) fn hpte_pattern(&self, page: VirtualPage) -> HpteV {
        HpteV::new(page.vpn, page.segment, page.size).with_valid()
    }

    fn compare_order(&self) -> CompareOrder {
        if self.layout.compare_before_lock {
            CompareOrder::BeforeLock
        } else {
            CompareOrder::UnderLock
        }
    }

    /// native_hpte_insert(): slot in the group plus 8 for the secondary group, `None` if the group is
    /// full.
    pub(crate) fn native_hpte_insert(
        &self,
        cx: &mut Ctx<'_>,
        group: GroupIndex,
        page: VirtualPage,
        r: HpteR,
        secondary: bool,
    ) -> Run<Option<u64>> {
        self.work(cx, Func::NativeHpteInsert)?;
        let v = self.hpte_pattern(page);
        let slot = self
            .hpt
            .insert(&mut LinearTable(cx), group, v, r, secondary)?;
        Ok(slot.map(|slot| u64::from(slot) | if secondary { 8 } else { 0 }))
    }

    /// native_hpte_remove(): evicts one entry that is not bolted, from a slot that the timebase picks. No
    /// TLB invalidation.
    pub(crate) fn native_hpte_remove(&self, cx: &mut Ctx<'_>, group: GroupIndex) -> Run<bool> {
        self.work(cx, Func::NativeHpteRemove)?;
        let start = cx.timebase_bits(3)? as u8;
        let removed = self.hpt.remove(&mut LinearTable(cx), group, start)?;
        Ok(removed.is_some())
    }

    /// native_hpte_updatepp(): false if the slot does not hold the page. The TLB is invalidated either
    /// way, but in 6.1 not when the hardware had found no HPTE.
    pub(crate) fn native_hpte_updatepp(
        &self,
        cx: &mut Ctx<'_>,
        index: HpteIndex,
        page: VirtualPage,
        flags: u64,
        no_hpte: bool,
    ) -> Run<bool> {
        self.work(cx, Func::NativeHpteUpdatepp)?;
        let (want, order) = (self.hpte_pattern(page), self.compare_order());
        let hit = self
            .hpt
            .update_pp(&mut LinearTable(cx), index, want, flags, order)?;
        if !(self.layout.updatepp_skips_tlbie_on_no_hpte && no_hpte) {
            self.tlbie(cx, &[page], false)?;
        }
        Ok(hit)
    }

    /// native_hpte_invalidate(): takes the HPTE out if it is still there and invalidates the TLB in any
    /// case. No per-CPU data.
    pub(crate) fn native_hpte_invalidate(
        &self,
        cx: &mut Ctx<'_>,
        index: HpteIndex,
        page: VirtualPage,
        local: bool,
    ) -> Run<()> {
        self.work(cx, Func::NativeHpteInvalidate)?;
        let enabled = self.local_irq_save(cx)?;
        let (want, order) = (self.hpte_pattern(page), self.compare_order());
        if self
            .hpt
            .invalidate(&mut LinearTable(cx), index, want, order)?
        {
            self.count(&self.counters.hpte_invalidations);
        }
        self.tlbie(cx, &[page], local)?;
        self.local_irq_restore(cx, enabled)
    }

    /// tlbie or tlbiel of pages under one set of barriers, under native_tlbie_lock where the CPU allows
    /// only one tlbie sequence in the system.
    pub(crate) fn tlbie(&self, cx: &mut Ctx<'_>, pages: &[VirtualPage], local: bool) -> Run<()> {
        let operands: Vec<TlbInvalidate> = pages
            .iter()
            .map(|&page| TlbInvalidate {
                vpn: page.vpn,
                segment: page.segment,
                base: page.size,
                actual: page.size,
                local,
            })
            .collect();
        let counter = if local {
            &self.counters.tlbiel
        } else {
            &self.counters.tlbie
        };
        self.add(counter, operands.len() as u64);
        if self.mutated(Mutation::DropTlbie) {
            return Ok(());
        }
        if local {
            return emu_mmu::tlbiel_sequence(&mut LinearTable(cx), &operands);
        }
        let need_lock = !self.lockless_tlbie();
        self.timed(cx, Operation::Tlbie, |cx| {
            if need_lock {
                self.spin_lock(cx, global::NATIVE_TLBIE_LOCK)?;
            }
            emu_mmu::tlbie_sequence(&mut LinearTable(cx), &operands)?;
            if need_lock {
                self.spin_unlock(cx, global::NATIVE_TLBIE_LOCK)?;
            }
            Ok(())
        })
    }

    /// native_flush_hash_range(): all HPTEs first, then all tlbies under one set of barriers. Which batch
    /// it flushes is looked up here again, unless the policy hands the caller's down.
    pub(crate) fn native_flush_hash_range(
        &self,
        cx: &mut Ctx<'_>,
        callers_batch: Ea,
        number: u64,
        local: bool,
    ) -> Run<()> {
        cx.call("native_flush_hash_range", |cx| {
            self.work(cx, Func::NativeFlushHashRange)?;
            let b = self.policy.flush_range_batch(self, cx, callers_batch)?;
            let sizes = self.batch_sizes(cx, b)?;
            let enabled = self.local_irq_save(cx)?;
            let mut pages = Vec::with_capacity(number as usize);
            for i in 0..number {
                self.work(cx, Func::NativeFlushHashRangeEntry)?;
                let steps = [
                    "native_flush_hash_range: vpn",
                    "native_flush_hash_range: pte",
                ];
                let (page, rpte) = self.batch_entry(cx, b, i, sizes, steps)?;
                for (page, index) in self.recorded_slots(page, rpte) {
                    let (want, order) = (self.hpte_pattern(page), self.compare_order());
                    if self
                        .hpt
                        .invalidate(&mut LinearTable(cx), index, want, order)?
                    {
                        self.count(&self.counters.hpte_invalidations);
                    }
                    pages.push(page);
                }
            }
            self.tlbie(cx, &pages, local)?;
            self.local_irq_restore(cx, enabled)
        })
    }

    /// The HPTEs that a PTE records for its page, each with what it maps: one, or those of the hashed pieces.
    pub(crate) fn recorded_slots(
        &self,
        page: VirtualPage,
        rpte: RealPte,
    ) -> impl Iterator<Item = (VirtualPage, HpteIndex)> {
        self.layout
            .hashed_pieces(rpte, page.size)
            .map(move |(piece, hidx)| {
                let page = page.piece(piece);
                (page, self.slot_of(page, hidx))
            })
    }

    /// The slot that a slot record names for a page.
    pub(crate) fn slot_of(&self, page: VirtualPage, hidx: u64) -> HpteIndex {
        let hash = page.vpn.hash(page.segment, page.size);
        let group = if hidx & 8 != 0 {
            self.hpt.secondary(hash)
        } else {
            self.hpt.primary(hash)
        };
        HpteIndex(group.0 * 8 + (hidx & 7))
    }

    /// This CPU's flush batch by the plain accessor, with its debug check.
    pub fn this_cpu_batch(&self, cx: &mut Ctx<'_>, function: &'static str) -> Run<Ea> {
        self.this_cpu(cx, pcpu::tlb_batch(self.batch_size), function)
    }
}
