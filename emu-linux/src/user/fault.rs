//! Page faults on user addresses: fault-in of a zeroed page, swap-in, copy on write, and the preload
//! that hashes the new PTE at once, still under the page-table lock.
//!
//! Owns handle_mm_fault. Refuses areas of different kinds: the user area is private anonymous memory.

use crate::functions::Func;
use crate::kernel::{Errno, Kernel, Linux};
use crate::layout::va;
use crate::memmap::field;
use crate::mm::Mm;
use crate::tracepoint::Tracepoint;
use emu_core::{Ctx, Run};
use emu_mmu::{Ea, Ra};

/// Bytes of a cache line.
const LINE_BYTES: u64 = 128;

impl Linux {
    /// do_page_fault() for a user address: interrupts are on and the task may sleep. `Invalid` is SIGSEGV.
    pub(crate) fn user_page_fault(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        ea: Ea,
        store: bool,
    ) -> Kernel<()> {
        self.work(cx, Func::DoPageFault)?;
        if !self.is_user(ea) {
            return Ok(Err(Errno::Invalid));
        }
        let ea = Ea::new(ea.get() & !(self.page_bytes() - 1));
        let ptep = match self.user_pte_alloc(cx, mm, ea)? {
            Ok(ptep) => ptep,
            Err(errno) => return Ok(Err(errno)),
        };
        let pte = cx.load_u64(ptep, "handle_pte_fault: pte")?;
        let bits = &self.layout.pte;
        if pte & bits.present == 0 {
            return self.fault_in(cx, mm, ea, ptep, pte, store);
        }
        if store && pte & bits.write == 0 {
            return match self.layout.pte.is_write_denied(pte) {
                true => Ok(Err(Errno::Invalid)),
                false => self.do_wp_page(cx, mm, ea, ptep, pte),
            };
        }
        Ok(Ok(()))
    }

    /// do_anonymous_page() and do_swap_page(): a page of zeroes, or the page that was swapped out (its
    /// content is kept in the frame that the swap entry names).
    fn fault_in(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        ea: Ea,
        ptep: Ea,
        entry: u64,
        store: bool,
    ) -> Kernel<()> {
        let swapped = self.layout.pte.swapped_frame(entry);
        let frame = match swapped {
            Some(frame) => frame,
            None => match self.alloc_user_page(cx)? {
                Ok(frame) => frame,
                Err(errno) => return Ok(Err(errno)),
            },
        };
        self.spin_lock(cx, mm.page_table_lock())?;
        let unchanged = cx.load_u64(ptep, "do_anonymous_page: pte_same")? == entry;
        if unchanged {
            // A swapped-out page that a fork shares comes back for copy on write.
            let own = swapped.is_none() || self.page_references(cx, frame)? == 1;
            let mut pte = self.layout.pte.user_pte(frame, own);
            if !store {
                pte &= !self.layout.pte.dirty;
            }
            self.set_pte_at(cx, ptep, pte)?;
            self.update_mmu_cache(cx, mm, ea, ptep)?;
        }
        self.spin_unlock(cx, mm.page_table_lock())?;
        if !unchanged && swapped.is_none() {
            self.put_page(cx, frame)?;
        }
        Ok(Ok(()))
    }

    /// do_wp_page(): a store to a page mapped read-only for copy on write.
    fn do_wp_page(&self, cx: &mut Ctx<'_>, mm: Mm, ea: Ea, ptep: Ea, seen: u64) -> Kernel<()> {
        let bits = self.layout.pte;
        let old_frame = bits.frame(seen);
        // Held so that the frame cannot go away while it is copied.
        self.spin_lock(cx, mm.page_table_lock())?;
        let pte = cx.load_u64(ptep, "do_wp_page: pte_same")?;
        if !bits.same(pte, seen) {
            self.spin_unlock(cx, mm.page_table_lock())?;
            return Ok(Ok(()));
        }
        if self.page_references(cx, old_frame)? == 1 {
            self.pte_set_bits(cx, ptep, bits.write | bits.dirty | bits.accessed)?;
            self.update_mmu_cache(cx, mm, ea, ptep)?;
            self.spin_unlock(cx, mm.page_table_lock())?;
            return Ok(Ok(()));
        }
        self.get_page(cx, old_frame)?;
        self.spin_unlock(cx, mm.page_table_lock())?;
        let result = self.break_cow(cx, mm, ea, ptep, seen, old_frame)?;
        self.put_page(cx, old_frame)?;
        Ok(result)
    }

    fn break_cow(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        ea: Ea,
        ptep: Ea,
        seen: u64,
        old_frame: Ra,
    ) -> Kernel<()> {
        let new_frame = match self.alloc_user_page(cx)? {
            Ok(frame) => frame,
            Err(errno) => return Ok(Err(errno)),
        };
        self.copy_page(cx, new_frame, old_frame)?;
        let bits = self.layout.pte;
        self.spin_lock(cx, mm.page_table_lock())?;
        let unchanged = bits.same(cx.load_u64(ptep, "do_wp_page: pte_same")?, seen);
        if unchanged {
            // ptep_clear_flush: the flush is the clear's; flush_tlb_page is empty on this MMU.
            self.pte_clear(cx, mm, ea, ptep)?;
            self.set_pte_at(cx, ptep, bits.user_pte(new_frame, true))?;
            self.update_mmu_cache(cx, mm, ea, ptep)?;
        }
        self.spin_unlock(cx, mm.page_table_lock())?;
        self.put_page(cx, if unchanged { old_frame } else { new_frame })?;
        Ok(Ok(()))
    }

    fn copy_page(&self, cx: &mut Ctx<'_>, to: Ra, from: Ra) -> Run<()> {
        if self.copies_lines {
            return self.copy_lines(cx, to, from);
        }
        for word in (0..self.page_bytes()).step_by(8) {
            let value = cx.load_u64(field(va(from), word), "copy_user_page: load")?;
            cx.store_u64(field(va(to), word), value, "copy_user_page: store")?;
        }
        Ok(())
    }

    /// The same with a load and a store a line: nobody else knows the new page yet, and the old one is
    /// write-protected.
    fn copy_lines(&self, cx: &mut Ctx<'_>, to: Ra, from: Ra) -> Run<()> {
        for line in (0..self.page_bytes()).step_by(LINE_BYTES as usize) {
            let first = cx.load_u64(field(va(from), line), "copy_user_page: load")?;
            cx.beside(cx.machine(), move |machine, _| {
                let rest = line + 8;
                let copied = (machine.memory()).copy(to + rest, from + rest, LINE_BYTES - 8);
                // The store below refuses what this did.
                u64::from(copied.is_ok())
            });
            cx.store_u64(field(va(to), line), first, "copy_user_page: store")?;
        }
        Ok(())
    }

    /// update_mmu_cache(): a young user PTE is hashed at once (hash_preload), with interrupts off.
    fn update_mmu_cache(&self, cx: &mut Ctx<'_>, mm: Mm, ea: Ea, ptep: Ea) -> Run<()> {
        let pte = cx.load_u64(ptep, "update_mmu_cache: young")?;
        if pte & self.layout.pte.accessed == 0 {
            return Ok(());
        }
        let enabled = self.local_irq_save(cx)?;
        self.trace(cx, Tracepoint::HashFault { ea: ea.get() });
        self.hash_preload(cx, mm, ea, ptep)?;
        self.trace(cx, Tracepoint::HashFaultReturn { ea: ea.get() });
        self.local_irq_restore(cx, enabled)
    }
}
