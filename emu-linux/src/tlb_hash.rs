//! The per-CPU flush batch (`tlb_hash64.c`): hpte_need_flush and the ways out of the batch.
//!
//! Owns every reason for which a batch is flushed. Refuses to decide when a lazy section begins and
//! ends: that is the policy's (`lazy_mmu`).

use crate::functions::Func;
use crate::kernel::Linux;
use crate::memmap::{batch, field, percpu_owner};
use crate::mm::{Mm, VirtualPage};
use crate::report::{BATCH_ENTRIES_MAX, count};
use crate::tracepoint::Tracepoint;
use emu_core::{CpuId, Ctx, Run};
use emu_mmu::{Ea, PageSize, SegmentSize, Vpn};
use std::sync::atomic::Ordering;

/// PPC64_TLB_BATCH_NR.
const BATCH_NR: u64 = BATCH_ENTRIES_MAX as u64;

/// A changed PTE whose old translation is to be flushed.
#[derive(Clone, Copy)]
struct Entry {
    mm: Mm,
    page: VirtualPage,
    ptep: Ea,
    old: u64,
}

impl Linux {
    /// hpte_need_flush(): a PTE that had been hashed was changed. Queues the old translation if a lazy
    /// section is active, else flushes it at once. Preemption is off throughout (get_cpu_var, since
    /// f342552b917a).
    pub(crate) fn hpte_need_flush(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        ea: Ea,
        ptep: Ea,
        old: u64,
    ) -> Run<()> {
        cx.call("hpte_need_flush", |cx| {
            self.work(cx, Func::HpteNeedFlush)?;
            count(&self.counters.need_flush);
            self.preempt_disable(cx)?;
            let b = self.this_cpu_batch(cx, "hpte_need_flush")?;
            let i = cx.load_u64(field(b, batch::INDEX), "hpte_need_flush: index")?;
            let page = self.virtual_page(cx, mm, ea)?;
            if !self.policy.batch_active(self, cx, b, mm)? {
                let local = self.layout.local_test_in_need_flush
                    && self.mm_is_local(cx, mm, cx.cpu_id())?;
                count(&self.counters.single_flushes);
                self.trace(cx, Tracepoint::SingleFlush { vpn: page.vpn });
                self.flush_hash_page(cx, page, old, local)?;
            } else {
                self.queue(
                    cx,
                    b,
                    i,
                    Entry {
                        mm,
                        page,
                        ptep,
                        old,
                    },
                )?;
            }
            self.preempt_enable(cx)
        })
    }

    /// Appends to a batch, after flushing what does not go with the new entry.
    fn queue(&self, cx: &mut Ctx<'_>, b: Ea, index: u64, entry: Entry) -> Run<()> {
        let Entry {
            mm,
            page,
            ptep,
            old,
        } = entry;
        let mut i = index;
        let owner = [
            (batch::MM, mm.address().get()),
            (batch::PSIZE, u64::from(PageSize::P4K.shift())),
            (batch::SSIZE, u64::from(page.segment.shift())),
        ];
        if i != 0 {
            let mut same = true;
            for (offset, value) in owner {
                same &= cx.load_u64(field(b, offset), "hpte_need_flush: owner")? == value;
            }
            if !same {
                self.flush_tlb_pending(cx, b)?;
                i = 0;
            }
        }
        if i == 0 {
            for (offset, value) in owner {
                cx.store_u64(field(b, offset), value, "hpte_need_flush: owner")?;
            }
        }
        if i >= BATCH_NR {
            return Err(emu_core::Exception::Corrupt(
                "flush batch index beyond its end",
            ));
        }
        self.trace(
            cx,
            Tracepoint::Queued {
                vpn: page.vpn,
                segment: page.segment,
                slot: self.recorded_slot(page, old).0,
                pte: ptep.get(),
                frame: self.layout.pte.frame(old).get(),
            },
        );
        cx.store_u64(
            field(b, batch::PTE + i * 8),
            old,
            "hpte_need_flush: queue pte",
        )?;
        cx.store_u64(
            field(b, batch::VPN + i * 8),
            page.vpn.get(),
            "hpte_need_flush: queue vpn",
        )?;
        cx.store_u64(field(b, batch::INDEX), i + 1, "hpte_need_flush: index")?;
        if i + 1 >= BATCH_NR {
            self.flush_tlb_pending(cx, b)?;
        }
        Ok(())
    }

    /// __flush_tlb_pending(): one entry goes to flush_hash_page, more to the range routine.
    pub fn flush_tlb_pending(&self, cx: &mut Ctx<'_>, b: Ea) -> Run<()> {
        cx.call("__flush_tlb_pending", |cx| {
            self.work(cx, Func::FlushTlbPending)?;
            let n = cx.load_u64(field(b, batch::INDEX), "__flush_tlb_pending: F1 index")?;
            let cpu = self.smp_processor_id(cx, "__flush_tlb_pending")?;
            let mm = Mm::at(Ea::new(
                cx.load_u64(field(b, batch::MM), "__flush_tlb_pending: mm")?,
            ));
            let local = n != 0 && self.mm_is_local(cx, mm, cpu)?;
            self.note_batch(cx, n, b);
            if n == 1 {
                let vpn = Vpn::new(cx.load_u64(field(b, batch::VPN), "__flush_tlb_pending: vpn")?);
                let pte = cx.load_u64(field(b, batch::PTE), "__flush_tlb_pending: pte")?;
                let segment = self.batch_segment(cx, b)?;
                self.flush_hash_page(cx, VirtualPage { vpn, segment }, pte, local)?;
            } else {
                self.flush_hash_range(cx, b, n, local)?;
            }
            cx.store_u64(
                field(b, batch::INDEX),
                0,
                "__flush_tlb_pending: F4 index = 0",
            )
        })
    }

    fn note_batch(&self, cx: &Ctx<'_>, n: u64, b: Ea) {
        self.trace(
            cx,
            Tracepoint::BatchFlush {
                entries: n,
                batch_cpu: percpu_owner(b),
            },
        );
        count(&self.counters.batch_flushes);
        self.counters
            .batched_entries
            .fetch_add(n, Ordering::Relaxed);
        if let Some(of_size) = self.counters.batch_sizes.get(n as usize) {
            count(of_size);
        }
        if let Some(open) = self.open_batches.lock().as_mut() {
            open.push(n);
        }
    }

    /// flush_hash_page().
    fn flush_hash_page(
        &self,
        cx: &mut Ctx<'_>,
        page: VirtualPage,
        pte: u64,
        local: bool,
    ) -> Run<()> {
        cx.call("flush_hash_page", |cx| {
            self.work(cx, Func::FlushHashPage)?;
            self.hpte_invalidate(cx, self.recorded_slot(page, pte), page, local)
        })
    }

    /// flush_hash_range().
    fn flush_hash_range(&self, cx: &mut Ctx<'_>, b: Ea, number: u64, local: bool) -> Run<()> {
        cx.call("flush_hash_range", |cx| {
            self.work(cx, Func::FlushHashRange)?;
            self.flush_hash_range_hook(cx, b, number.min(BATCH_NR), local)
        })
    }

    /// Segment size of the entries of a batch.
    pub(crate) fn batch_segment(&self, cx: &mut Ctx<'_>, b: Ea) -> Run<SegmentSize> {
        let shift = cx.load_u64(field(b, batch::SSIZE), "flush: ssize")?;
        let large = shift == u64::from(SegmentSize::S1T.shift());
        Ok(if large {
            SegmentSize::S1T
        } else {
            SegmentSize::S256M
        })
    }

    /// True if an address space has run on this CPU only. init_mm's mask is full in 2.6.38 and empty in
    /// 6.1, so kernel flushes are global in both.
    fn mm_is_local(&self, cx: &mut Ctx<'_>, mm: Mm, cpu: CpuId) -> Run<bool> {
        let mask = cx.load_u64(mm.cpumask(), "mm_is_thread_local: cpumask")?;
        Ok(mask == 1 << cpu.0)
    }
}
