//! The per-CPU flush batch (`tlb_hash64.c`): hpte_need_flush and the ways out of the batch.
//!
//! Owns every reason for which a batch is flushed. Refuses to decide when a lazy section begins and
//! ends: that is the policy's (`lazy_mmu`).

use crate::config::Pages;
use crate::functions::Func;
use crate::kernel::Linux;
use crate::kernel_path::FLUSH;
use crate::latency::Operation;
use crate::layout::{RealPte, pa};
use crate::memmap::{batch, field, percpu_owner};
use crate::mm::{Mm, VirtualPage};
use crate::mutation::Mutation;
use crate::tracepoint::Tracepoint;
use emu_core::{CpuId, Ctx, Run, Step};
use emu_mmu::{Ea, PageSize, SegmentSize, Vpn};

/// A changed PTE whose old translation is to be flushed.
#[derive(Clone, Copy)]
struct Entry {
    mm: Mm,
    page: VirtualPage,
    ptep: Ea,
    rpte: RealPte,
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
            self.count(&self.counters.need_flush);
            if self.mutated(Mutation::LookUpEarly) {
                self.this_cpu_batch(cx, "hpte_need_flush")?;
            }
            self.preempt_disable(cx)?;
            let b = self.this_cpu_batch(cx, "hpte_need_flush")?;
            let i = cx.load_u64(field(b, batch::INDEX), "hpte_need_flush: index")?;
            let rpte = self.real_pte(cx, ptep, old)?;
            let page_start = Ea::new(ea.get() & !(self.page_bytes() - 1));
            let page = VirtualPage {
                size: self.layout.hpte_size(old),
                ..self.virtual_page(cx, mm, page_start)?
            };
            if !self.policy.batch_active(self, cx, b, mm)? {
                let local = self.layout.local_test_in_need_flush
                    && self.mm_is_local(cx, mm, cx.cpu_id())?;
                self.count(&self.counters.single_flushes);
                let frame = self.layout.pte.frame(rpte.pte).get();
                for (piece, _) in self.recorded_slots(page, rpte) {
                    self.trace(
                        cx,
                        Tracepoint::SingleFlush {
                            vpn: piece.vpn,
                            segment: piece.segment,
                            size: piece.size,
                            frame,
                        },
                    );
                }
                self.flush_hash_page(cx, page, rpte, local)?;
            } else {
                self.queue(
                    cx,
                    b,
                    i,
                    Entry {
                        mm,
                        page,
                        ptep,
                        rpte,
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
            ptep: _,
            rpte,
        } = entry;
        let mut i = index;
        let owner = [
            (batch::MM, mm.address().get()),
            (batch::PSIZE, u64::from(page.size.shift())),
            (batch::SSIZE, u64::from(page.segment.shift())),
        ];
        if i != 0 {
            let steps = ["hpte_need_flush: owner"; 3];
            let held = cx.load_u64s(owner.map(|(offset, _)| field(b, offset)), steps)?;
            if held != owner.map(|(_, value)| value) {
                self.flush_tlb_pending(cx, b)?;
                i = 0;
            }
        }
        if i == 0 {
            for (offset, value) in owner {
                cx.store_u64(field(b, offset), value, "hpte_need_flush: owner")?;
            }
        }
        if i >= self.batch_size {
            return Err(emu_core::Exception::Corrupt(
                "flush batch index beyond its end",
            ));
        }
        if self.is_traced() {
            self.trace_queued(cx, &entry);
        }
        let pages = self.layout.pages;
        let step = "hpte_need_flush: queue pte";
        cx.store_u64(field(b, batch::pte(pages, i)), rpte.pte, step)?;
        if pages == Pages::K64 {
            cx.store_u64(field(b, batch::slots(i)), rpte.hidx, step)?;
        }
        cx.store_u64(
            field(b, batch::vpn(pages, self.batch_size, i)),
            page.vpn.get(),
            "hpte_need_flush: queue vpn",
        )?;
        cx.store_u64(field(b, batch::INDEX), i + 1, "hpte_need_flush: index")?;
        if i + 1 >= self.batch_size {
            self.flush_tlb_pending(cx, b)?;
        }
        Ok(())
    }

    #[cold]
    fn trace_queued(&self, cx: &Ctx<'_>, entry: &Entry) {
        let Entry {
            page, ptep, rpte, ..
        } = *entry;
        for (piece, slot) in self.recorded_slots(page, rpte) {
            self.trace(
                cx,
                Tracepoint::Queued {
                    vpn: piece.vpn,
                    segment: piece.segment,
                    size: piece.size,
                    slot: slot.0,
                    pte: ptep.get(),
                    frame: self.layout.pte.frame(rpte.pte).get(),
                },
            );
        }
    }

    /// __flush_tlb_pending(): one entry goes to flush_hash_page, more to the range routine.
    pub fn flush_tlb_pending(&self, cx: &mut Ctx<'_>, b: Ea) -> Run<()> {
        self.timed_call(cx, Operation::Flush, "__flush_tlb_pending", |cx| {
            self.work(cx, Func::FlushTlbPending)?;
            let n = cx.load_u64(field(b, batch::INDEX), "__flush_tlb_pending: F1 index")?;
            let cpu = self.smp_processor_id(cx, "__flush_tlb_pending")?;
            let mm = Mm::at(Ea::new(
                cx.load_u64(field(b, batch::MM), "__flush_tlb_pending: mm")?,
            ));
            let local = n != 0 && self.mm_is_local(cx, mm, cpu)?;
            self.note_batch(cx, n, b);
            let n = n - u64::from(n > 0 && self.mutated(Mutation::SkipFlush));
            if n == 1 {
                let steps = ["__flush_tlb_pending: vpn", "__flush_tlb_pending: pte"];
                let (vpn, rpte) = self.queued(cx, b, 0, steps)?;
                let (segment, size) = self.batch_sizes(cx, b)?;
                let page = VirtualPage { vpn, segment, size };
                self.flush_hash_page(cx, page, rpte, local)?;
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
                pieces: self.pieces_queued(cx, b, n),
                batch_cpu: percpu_owner(b),
            },
        );
        self.count(&self.counters.batch_flushes);
        self.add(&self.counters.batched_entries, n);
        if let Some(of_size) = self.counters.batch_sizes.get(n as usize) {
            self.count(of_size);
        }
        if let Some(open) = self.open_batches.lock().as_mut() {
            open.push(n);
        }
    }

    /// flush_hash_page(): each HPTE that the PTE records.
    pub(crate) fn flush_hash_page(
        &self,
        cx: &mut Ctx<'_>,
        page: VirtualPage,
        rpte: RealPte,
        local: bool,
    ) -> Run<()> {
        cx.call("flush_hash_page", |cx| {
            cx.in_job(FLUSH, |cx| {
                self.work(cx, Func::FlushHashPage)?;
                for (page, index) in self.recorded_slots(page, rpte) {
                    self.hpte_invalidate(cx, index, page, local)?;
                }
                Ok(())
            })
        })
    }

    /// flush_hash_range().
    fn flush_hash_range(&self, cx: &mut Ctx<'_>, b: Ea, number: u64, local: bool) -> Run<()> {
        cx.call("flush_hash_range", |cx| {
            self.work(cx, Func::FlushHashRange)?;
            self.flush_hash_range_hook(cx, b, number.min(self.batch_size), local)
        })
    }

    /// Segment size and page size of the entries of a batch. With 4K pages the latter is not asked.
    pub(crate) fn batch_sizes(&self, cx: &mut Ctx<'_>, b: Ea) -> Run<(SegmentSize, PageSize)> {
        let shift = cx.load_u64(field(b, batch::SSIZE), "flush: ssize")?;
        let segment = match shift == u64::from(SegmentSize::S1T.shift()) {
            true => SegmentSize::S1T,
            false => SegmentSize::S256M,
        };
        if self.layout.pages == Pages::K4 {
            return Ok((segment, PageSize::P4K));
        }
        let shift = cx.load_u64(field(b, batch::PSIZE), "flush: psize")?;
        let size = match shift == u64::from(PageSize::P64K.shift()) {
            true => PageSize::P64K,
            false => PageSize::P4K,
        };
        Ok((segment, size))
    }

    /// Page number and old PTE of entry `i` of a batch.
    fn queued(
        &self,
        cx: &mut Ctx<'_>,
        b: Ea,
        i: u64,
        [vpn_step, pte_step]: [Step; 2],
    ) -> Run<(Vpn, RealPte)> {
        let pages = self.layout.pages;
        let vpn_at = field(b, batch::vpn(pages, self.batch_size, i));
        let pte_at = field(b, batch::pte(pages, i));
        let [vpn, pte] = cx.load_u64s([vpn_at, pte_at], [vpn_step, pte_step])?;
        let vpn = Vpn::new(vpn);
        let hidx = match pages {
            Pages::K4 => 0,
            Pages::K64 => cx.load_u64(field(b, batch::slots(i)), pte_step)?,
        };
        Ok((vpn, RealPte { pte, hidx }))
    }

    /// Entry `i` of a batch whose entries are of these sizes.
    pub(crate) fn batch_entry(
        &self,
        cx: &mut Ctx<'_>,
        b: Ea,
        i: u64,
        (segment, size): (SegmentSize, PageSize),
        steps: [Step; 2],
    ) -> Run<(VirtualPage, RealPte)> {
        let (vpn, rpte) = self.queued(cx, b, i, steps)?;
        Ok((VirtualPage { vpn, segment, size }, rpte))
    }

    /// HPTEs that the first `n` entries of a batch name, looked at without a step, for the checkers.
    fn pieces_queued(&self, cx: &Ctx<'_>, b: Ea, n: u64) -> u64 {
        if self.layout.pages == Pages::K4 || self.monitor.is_none() {
            return n;
        }
        let load = |offset| {
            let at = pa(field(b, offset));
            cx.peek_u64(at)
        };
        let pieces = |i| {
            let (pte, hidx) = (load(batch::pte(Pages::K64, i)), load(batch::slots(i)));
            let size = self.layout.hpte_size(pte);
            self.layout
                .hashed_pieces(RealPte { pte, hidx }, size)
                .count() as u64
        };
        (0..n.min(self.batch_size)).map(pieces).sum()
    }

    /// True if an address space has run on this CPU only. init_mm's mask is full in 2.6.38 and empty in
    /// 6.1, so kernel flushes are global in both.
    fn mm_is_local(&self, cx: &mut Ctx<'_>, mm: Mm, cpu: CpuId) -> Run<bool> {
        let mask = cx.load_u64(mm.cpumask(), "mm_is_thread_local: cpumask")?;
        Ok(mask == 1 << cpu.0 && !self.mutated(Mutation::NeverLocal))
    }
}
