//! Updates of user page tables in lazy sections under the page-table lock: unmapping with its gather,
//! fork, mprotect, move; and a swap-out, which flushes at once.
//!
//! Owns zap_pte_range, copy_pte_range, change_pte_range, move_ptes and try_to_unmap over one range.

use crate::config::Preempt;
use crate::functions::Func;
use crate::kernel::{Errno, Kernel, Linux};
use crate::latency::Operation;
use crate::memmap::{batch, field};
use crate::mm::Mm;
use crate::mutation::Mutation;
use emu_core::{Ctx, Run};
use emu_mmu::{Ea, Ra};

impl Linux {
    /// munmap() of `pages` pages: PTEs in lazy sections, one for each PTE table; then the gather flushes
    /// what this CPU's batch still holds and frees the frames.
    pub fn munmap(&self, cx: &mut Ctx<'_>, mm: Mm, start: Ea, pages: u64) -> Run<()> {
        self.timed(cx, Operation::Munmap, |cx| {
            self.unmap_region(cx, mm, start, pages)
        })
    }

    fn unmap_region(&self, cx: &mut Ctx<'_>, mm: Mm, start: Ea, pages: u64) -> Run<()> {
        self.work(cx, Func::Munmap)?;
        let gather_atomic = self.layout.gather_is_atomic && self.preempt != Preempt::Rt;
        if gather_atomic {
            // v2.6.38's mmu_gather is per CPU: preemption is off from tlb_gather_mmu to tlb_finish_mmu. The
            // -rt tree had a preemptible one, which became the mmu_gather rework of 3.0.
            self.preempt_disable(cx)?;
        }
        let mut gathered = Vec::new();
        self.each_table(cx, mm, start, pages, |linux, cx, first, ptes, count| {
            cx.call("zap_pte_range", |cx| {
                linux.zap_pte_range(cx, mm, first, ptes, count, &mut gathered)
            })
        })?;
        self.tlb_flush(cx)?;
        for frame in gathered {
            self.put_page(cx, frame)?;
        }
        if gather_atomic {
            self.preempt_enable(cx)?;
        }
        Ok(())
    }

    /// Calls `f` with (first address, its PTE, number of PTEs) for each PTE table that exists.
    fn each_table(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        start: Ea,
        pages: u64,
        mut f: impl FnMut(&Linux, &mut Ctx<'_>, Ea, Ea, u64) -> Run<()>,
    ) -> Run<()> {
        let end = start + pages * self.page_bytes();
        let mut ea = start;
        while ea < end {
            let next = self.addr_end(ea, end, 1);
            if let Some(ptep) = self.find_pte(cx, mm, ea)? {
                f(
                    self,
                    cx,
                    ea,
                    ptep,
                    (next.get() - ea.get()) / self.page_bytes(),
                )?;
            }
            ea = next;
        }
        Ok(())
    }

    fn zap_pte_range(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        first: Ea,
        ptes: Ea,
        count: u64,
        gathered: &mut Vec<Ra>,
    ) -> Run<()> {
        let bits = self.layout.pte;
        self.spin_lock(cx, mm.page_table_lock())?;
        self.lazy_mmu_enter(cx, mm)?;
        for i in 0..count {
            let (ea, ptep) = (first + i * self.page_bytes(), ptes + i * 8);
            let pte = cx.load_u64(ptep, "zap_pte_range: pte")?;
            if pte == 0 {
                continue;
            }
            let old = self.pte_clear(cx, mm, ea, ptep)?;
            if old & bits.present != 0 && self.mutated(Mutation::FreeEarly) {
                self.put_page(cx, bits.frame(old))?;
            } else if old & bits.present != 0 {
                gathered.push(bits.frame(old));
            } else if let Some(frame) = bits.swapped_frame(old) {
                gathered.push(frame);
            }
        }
        self.lazy_mmu_leave(cx, mm)?;
        self.spin_unlock(cx, mm.page_table_lock())
    }

    /// tlb_flush() of the gather: flushes this CPU's batch if anything waits in it, whatever `active` says.
    fn tlb_flush(&self, cx: &mut Ctx<'_>) -> Run<()> {
        self.preempt_disable(cx)?;
        let b = self.this_cpu_batch(cx, "tlb_flush")?;
        if cx.load_u64(field(b, batch::INDEX), "tlb_flush: index")? != 0 {
            self.flush_tlb_pending(cx, b)?;
        }
        if self.mutated(Mutation::ForgetEnable) {
            return Ok(());
        }
        self.preempt_enable(cx)
    }

    /// fork(): a new address space with the same pages, write-protected in both for copy on write.
    pub fn dup_mm(&self, cx: &mut Ctx<'_>, parent: Mm) -> Kernel<Mm> {
        self.timed(cx, Operation::Fork, |cx| self.dup_mmap(cx, parent))
    }

    fn dup_mmap(&self, cx: &mut Ctx<'_>, parent: Mm) -> Kernel<Mm> {
        self.work(cx, Func::Fork)?;
        let child = match self.mm_alloc(cx)? {
            Ok(child) => child,
            Err(errno) => return Ok(Err(errno)),
        };
        self.mmap_lock(cx, parent)?;
        let mut failed = None;
        let (start, pages) = (Ea::new(super::USER_START), super::USER_PAGES);
        self.each_table(cx, parent, start, pages, |linux, cx, first, ptes, count| {
            if failed.is_none() {
                failed = linux
                    .copy_pte_range(cx, parent, child, first, ptes, count)?
                    .err();
            }
            Ok(())
        })?;
        self.mmap_unlock(cx, parent)?;
        match failed {
            None => Ok(Ok(child)),
            Some(errno) => {
                self.mmput(cx, child)?;
                Ok(Err::<Mm, Errno>(errno))
            }
        }
    }

    fn copy_pte_range(
        &self,
        cx: &mut Ctx<'_>,
        parent: Mm,
        child: Mm,
        first: Ea,
        ptes: Ea,
        count: u64,
    ) -> Kernel<()> {
        let bits = self.layout.pte;
        let to = match self.user_pte_alloc(cx, child, first)? {
            Ok(to) => to,
            Err(errno) => return Ok(Err(errno)),
        };
        self.spin_lock(cx, child.page_table_lock())?;
        self.spin_lock(cx, parent.page_table_lock())?;
        self.lazy_mmu_enter(cx, parent)?;
        for i in 0..count {
            let (ea, from) = (first + i * self.page_bytes(), ptes + i * 8);
            let mut pte = cx.load_u64(from, "copy_pte_range: pte")?;
            if let Some(frame) = bits.swapped_frame(pte) {
                self.get_page(cx, frame)?;
                cx.store_u64(to + i * 8, pte, "copy_pte_range: swap entry")?;
                continue;
            }
            if pte & bits.present == 0 {
                continue;
            }
            if pte & bits.write != 0 {
                // ptep_set_wrprotect keeps the slot, so this cannot make a duplicate.
                pte = self.pte_update(cx, parent, ea, from, bits.write)? & !bits.write;
            }
            self.get_page(cx, bits.frame(pte))?;
            self.set_pte_at(cx, to + i * 8, pte & !bits.accessed)?;
        }
        self.lazy_mmu_leave(cx, parent)?;
        self.spin_unlock(cx, parent.page_table_lock())?;
        self.spin_unlock(cx, child.page_table_lock())?;
        Ok(Ok(()))
    }

    /// mprotect(): write permission of `pages` pages. change_pte_range clears each PTE, which queues its
    /// flush, and sets it again in the same section.
    pub fn mprotect(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        start: Ea,
        pages: u64,
        write: bool,
    ) -> Run<()> {
        self.timed(cx, Operation::Mprotect, |cx| {
            self.work(cx, Func::Mprotect)?;
            self.mmap_lock(cx, mm)?;
            self.each_table(cx, mm, start, pages, |linux, cx, first, ptes, count| {
                linux.change_pte_range(cx, mm, first, ptes, count, write)
            })?;
            self.mmap_unlock(cx, mm)
        })
    }

    fn change_pte_range(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        first: Ea,
        ptes: Ea,
        count: u64,
        write: bool,
    ) -> Run<()> {
        let bits = self.layout.pte;
        self.spin_lock(cx, mm.page_table_lock())?;
        self.lazy_mmu_enter(cx, mm)?;
        for i in 0..count {
            let (ea, ptep) = (first + i * self.page_bytes(), ptes + i * 8);
            let pte = cx.load_u64(ptep, "change_pte_range: pte")?;
            if pte & bits.present == 0 {
                continue;
            }
            let old = self.pte_clear(cx, mm, ea, ptep)?;
            let shared = self.page_references(cx, bits.frame(old))? > 1;
            let writable = write && !shared;
            self.set_pte_at(cx, ptep, bits.protected(old, write, writable))?;
        }
        self.lazy_mmu_leave(cx, mm)?;
        self.spin_unlock(cx, mm.page_table_lock())
    }

    /// mremap(): moves `pages` PTEs from `from` to `to`, which must be empty and in the same PTE table
    /// each (move_ptes).
    pub fn move_ptes(&self, cx: &mut Ctx<'_>, mm: Mm, from: Ea, to: Ea, pages: u64) -> Kernel<()> {
        self.work(cx, Func::Mremap)?;
        for page in 0..pages {
            let target = match self.user_pte_alloc(cx, mm, to + page * self.page_bytes())? {
                Ok(target) => target,
                Err(errno) => return Ok(Err(errno)),
            };
            let Some(source) = self.find_pte(cx, mm, from + page * self.page_bytes())? else {
                continue;
            };
            self.spin_lock(cx, mm.page_table_lock())?;
            self.lazy_mmu_enter(cx, mm)?;
            let empty = cx.load_u64(target, "move_ptes: target")? == 0;
            if empty && cx.load_u64(source, "move_ptes: source")? != 0 {
                let pte = self.pte_clear(cx, mm, from + page * self.page_bytes(), source)?;
                self.set_pte_at(cx, target, pte)?;
            }
            self.lazy_mmu_leave(cx, mm)?;
            self.spin_unlock(cx, mm.page_table_lock())?;
        }
        Ok(Ok(()))
    }

    /// try_to_unmap() of one page: cleared, flushed at once, replaced by a swap entry. The frame keeps the
    /// content and the reference.
    pub fn swap_out(&self, cx: &mut Ctx<'_>, mm: Mm, ea: Ea) -> Run<bool> {
        self.work(cx, Func::SwapOut)?;
        let bits = self.layout.pte;
        let Some(ptep) = self.find_pte(cx, mm, ea)? else {
            return Ok(false);
        };
        self.spin_lock(cx, mm.page_table_lock())?;
        let pte = cx.load_u64(ptep, "try_to_unmap: pte")?;
        let mine = pte & bits.present != 0 && self.page_references(cx, bits.frame(pte))? == 1;
        if mine {
            let old = self.pte_clear(cx, mm, ea, ptep)?;
            cx.store_u64(
                ptep,
                bits.swap_entry(bits.frame(old)),
                "try_to_unmap: swap entry",
            )?;
        }
        self.spin_unlock(cx, mm.page_table_lock())?;
        Ok(mine)
    }
}
