//! Page frames and small objects: per-CPU free lists in front of one zone, slab classes of powers of
//! two, task stacks.
//!
//! Owns the free lists in guest memory. Refuses orders above 0 and reclaim: when the zone is empty the
//! answer is -ENOMEM.

use crate::functions::Func;
use crate::injection::AllocKind;
use crate::kernel::{Errno, Kernel, Linux};
use crate::layout::{pa, va};
use crate::memmap::{self, PAGES_END, SLAB_END, STACK_BYTES, STACKS_END, field, global, pcpu};
use crate::pgtable::PTE_LEVEL;
use crate::tracepoint::Tracepoint;
use emu_core::{Ctx, Run};
use emu_mmu::{Ea, Ra};

/// Pages moved at once between a CPU's list and the zone.
const PCP_BATCH: u64 = 32;
/// Pages on a CPU's list above which a batch goes back.
const PCP_HIGH: u64 = 6 * PCP_BATCH;
/// log2 of the smallest slab object.
const SLAB_SHIFT_MIN: u32 = 5;
/// log2 of the largest slab object.
const SLAB_SHIFT_MAX: u32 = 16;

impl Linux {
    /// This CPU's area, for code that runs with interrupts off and so cannot be moved.
    fn this_cpu_raw(&self, cx: &mut Ctx<'_>, offset: u64) -> Run<Ea> {
        let cpu = cx.read_cpu_id("raw_smp_processor_id")?;
        Ok(field(memmap::percpu(cpu.0), offset))
    }

    /// alloc_page(GFP_KERNEL): a frame, its content as it was left.
    pub(crate) fn alloc_page(&self, cx: &mut Ctx<'_>) -> Kernel<Ra> {
        if self.allocation_fails(cx, AllocKind::Page)? {
            return Ok(Err(Errno::NoMemory));
        }
        self.take_page(cx, AllocKind::Page)
    }

    /// buffered_rmqueue(): a frame from this CPU's list.
    fn take_page(&self, cx: &mut Ctx<'_>, kind: AllocKind) -> Kernel<Ra> {
        self.work(cx, Func::AllocPage)?;
        let enabled = self.local_lock_irqsave(cx)?;
        let list = self.this_cpu_raw(cx, pcpu::PCP_FREE)?;
        let count = self.this_cpu_raw(cx, pcpu::PCP_COUNT)?;
        let mut page = cx.load_u64(list, "alloc_page: pcp list")?;
        if page == 0 {
            self.refill_pages(cx, list, count)?;
            page = cx.load_u64(list, "alloc_page: pcp list")?;
        }
        let result = if page == 0 {
            Err(Errno::NoMemory)
        } else {
            let next = cx.load_u64(Ea::new(page), "alloc_page: next")?;
            cx.store_u64(list, next, "alloc_page: pcp list")?;
            let steps = ["alloc_page: count"; 2];
            cx.update_u64(count, steps, |_, left| left.wrapping_sub(1))?;
            let frame = pa(Ea::new(page));
            self.note_taken(cx, kind, frame.get());
            self.trace(cx, Tracepoint::PageAllocated { frame: frame.get() });
            Ok(frame)
        };
        self.local_unlock_irqrestore(cx, enabled)?;
        Ok(result)
    }

    /// Moves up to a batch of pages from the zone to this CPU's list; its lock is held.
    fn refill_pages(&self, cx: &mut Ctx<'_>, list: Ea, count: Ea) -> Run<()> {
        self.spin_lock(cx, global::ZONE_LOCK)?;
        let mut head = 0;
        let mut got = 0;
        while got < PCP_BATCH {
            let free = cx.load_u64(global::ZONE_FREE, "rmqueue: free list")?;
            let page = if free != 0 {
                let next = cx.load_u64(Ea::new(free), "rmqueue: next")?;
                cx.store_u64(global::ZONE_FREE, next, "rmqueue: free list")?;
                free
            } else {
                let fresh = cx.load_u64(global::ZONE_NEXT, "rmqueue: fresh")?;
                if fresh >= PAGES_END {
                    break;
                }
                cx.store_u64(
                    global::ZONE_NEXT,
                    fresh + self.page_bytes(),
                    "rmqueue: fresh",
                )?;
                va(Ra::new(fresh)).get()
            };
            cx.store_u64(Ea::new(page), head, "rmqueue: link")?;
            head = page;
            got += 1;
        }
        self.spin_unlock(cx, global::ZONE_LOCK)?;
        cx.store_u64(list, head, "rmqueue: pcp list")?;
        cx.store_u64(count, got, "rmqueue: pcp count")
    }

    /// __free_page().
    pub(crate) fn free_page(&self, cx: &mut Ctx<'_>, frame: Ra) -> Run<()> {
        self.trace(cx, Tracepoint::PageFreed { frame: frame.get() });
        self.note_given(frame.get());
        self.work(cx, Func::FreePage)?;
        let enabled = self.local_lock_irqsave(cx)?;
        let list = self.this_cpu_raw(cx, pcpu::PCP_FREE)?;
        let count = self.this_cpu_raw(cx, pcpu::PCP_COUNT)?;
        let head = cx.load_u64(list, "free_page: pcp list")?;
        let page = va(frame);
        cx.store_u64(page, head, "free_page: link")?;
        cx.store_u64(list, page.get(), "free_page: pcp list")?;
        let steps = ["free_page: count"; 2];
        let on_list = cx.update_u64(count, steps, |_, before| before + 1)? + 1;
        if on_list > PCP_HIGH {
            self.drain_pages(cx, list, count, on_list)?;
        }
        self.local_unlock_irqrestore(cx, enabled)
    }

    /// Moves a batch of pages from this CPU's list to the zone; its lock is held.
    fn drain_pages(&self, cx: &mut Ctx<'_>, list: Ea, count: Ea, on_list: u64) -> Run<()> {
        self.spin_lock(cx, global::ZONE_LOCK)?;
        for _ in 0..PCP_BATCH {
            let page = Ea::new(cx.load_u64(list, "free_pcppages_bulk: pcp list")?);
            let next = cx.load_u64(page, "free_pcppages_bulk: next")?;
            cx.store_u64(list, next, "free_pcppages_bulk: pcp list")?;
            let head = cx.load_u64(global::ZONE_FREE, "free_pcppages_bulk: free list")?;
            cx.store_u64(page, head, "free_pcppages_bulk: link")?;
            cx.store_u64(
                global::ZONE_FREE,
                page.get(),
                "free_pcppages_bulk: free list",
            )?;
        }
        self.spin_unlock(cx, global::ZONE_LOCK)?;
        cx.store_u64(count, on_list - PCP_BATCH, "free_pcppages_bulk: count")
    }

    /// A zeroed page table of a level: a frame, or an object if it is smaller.
    pub(crate) fn alloc_table(&self, cx: &mut Ctx<'_>, level: usize) -> Kernel<Ea> {
        if self.allocation_fails(cx, AllocKind::PageTable)? {
            return Ok(Err(Errno::NoMemory));
        }
        let bytes = self.layout.table_bytes(level);
        let table = if bytes == self.page_bytes() {
            self.take_page(cx, AllocKind::PageTable)?.map(va)
        } else {
            self.take_object(cx, bytes, AllocKind::PageTable)?
        };
        if let Ok(table) = table {
            for line in (0..bytes).step_by(128) {
                cx.dcbz(field(table, line), "clear_page: dcbz")?;
            }
            self.watch_table(cx, table, level, true);
        }
        Ok(table)
    }

    /// Frees a page table of a level.
    pub(crate) fn free_table(&self, cx: &mut Ctx<'_>, table: Ea, level: usize) -> Run<()> {
        self.watch_table(cx, table, level, false);
        match self.layout.table_bytes(level) {
            bytes if bytes == self.page_bytes() => self.free_page(cx, pa(table)),
            bytes => self.kfree(cx, table, bytes),
        }
    }

    /// Lets the checkers see the stores into a table of PTEs, or no longer.
    fn watch_table(&self, cx: &Ctx<'_>, table: Ea, level: usize, watch: bool) {
        if level == PTE_LEVEL {
            for offset in (0..self.layout.table_bytes(level)).step_by(4096) {
                cx.watch_page(pa(table) + offset, watch);
            }
        }
    }

    /// kmalloc(GFP_KERNEL): an object of at least `bytes` bytes.
    pub(crate) fn kmalloc(&self, cx: &mut Ctx<'_>, bytes: u64, kind: AllocKind) -> Kernel<Ea> {
        if self.allocation_fails(cx, kind)? {
            return Ok(Err(Errno::NoMemory));
        }
        self.take_object(cx, bytes, kind)
    }

    /// slab_alloc(): an object from this CPU's list of its class.
    fn take_object(&self, cx: &mut Ctx<'_>, bytes: u64, kind: AllocKind) -> Kernel<Ea> {
        self.work(cx, Func::Kmalloc)?;
        let Some(shift) = slab_shift(bytes) else {
            return Ok(Err(Errno::NoMemory));
        };
        let enabled = self.local_lock_irqsave(cx)?;
        let list = self.this_cpu_raw(cx, slab_list(shift))?;
        let object = cx.load_u64(list, "kmalloc: free list")?;
        let result = if object != 0 {
            let next = cx.load_u64(Ea::new(object), "kmalloc: next")?;
            cx.store_u64(list, next, "kmalloc: free list")?;
            Ok(Ea::new(object))
        } else {
            self.fresh_slab_object(cx, 1 << shift)?
        };
        if let Ok(object) = result {
            self.note_taken(cx, kind, pa(object).get());
        }
        self.local_unlock_irqrestore(cx, enabled)?;
        Ok(result)
    }

    fn fresh_slab_object(&self, cx: &mut Ctx<'_>, bytes: u64) -> Kernel<Ea> {
        self.spin_lock(cx, global::ZONE_LOCK)?;
        let fresh = cx
            .load_u64(global::SLAB_NEXT, "cache_grow: fresh")?
            .next_multiple_of(bytes);
        let fits = fresh + bytes <= SLAB_END;
        if fits {
            cx.store_u64(global::SLAB_NEXT, fresh + bytes, "cache_grow: fresh")?;
        }
        self.spin_unlock(cx, global::ZONE_LOCK)?;
        Ok(if fits {
            Ok(va(Ra::new(fresh)))
        } else {
            Err(Errno::NoMemory)
        })
    }

    /// kfree() of an object of `bytes` bytes.
    pub(crate) fn kfree(&self, cx: &mut Ctx<'_>, object: Ea, bytes: u64) -> Run<()> {
        self.note_given(pa(object).get());
        self.work(cx, Func::Kfree)?;
        let Some(shift) = slab_shift(bytes) else {
            return Ok(());
        };
        let enabled = self.local_lock_irqsave(cx)?;
        let list = self.this_cpu_raw(cx, slab_list(shift))?;
        let head = cx.load_u64(list, "kfree: free list")?;
        cx.store_u64(object, head, "kfree: link")?;
        cx.store_u64(list, object.get(), "kfree: free list")?;
        self.local_unlock_irqrestore(cx, enabled)
    }

    /// A task's stack.
    pub(crate) fn alloc_stack(&self, cx: &mut Ctx<'_>) -> Kernel<Ea> {
        if self.allocation_fails(cx, AllocKind::Task)? {
            return Ok(Err(Errno::NoMemory));
        }
        self.spin_lock(cx, global::TASKLIST_LOCK)?;
        let free = cx.load_u64(global::STACK_FREE, "alloc_thread_info: free list")?;
        let result = if free != 0 {
            let next = cx.load_u64(Ea::new(free), "alloc_thread_info: next")?;
            cx.store_u64(global::STACK_FREE, next, "alloc_thread_info: free list")?;
            Ok(Ea::new(free))
        } else {
            let fresh = cx.load_u64(global::STACK_NEXT, "alloc_thread_info: fresh")?;
            if fresh + STACK_BYTES <= STACKS_END {
                cx.store_u64(
                    global::STACK_NEXT,
                    fresh + STACK_BYTES,
                    "alloc_thread_info: fresh",
                )?;
                Ok(va(Ra::new(fresh)))
            } else {
                Err(Errno::NoMemory)
            }
        };
        self.spin_unlock(cx, global::TASKLIST_LOCK)?;
        if let Ok(stack) = result {
            self.note_taken(cx, AllocKind::Task, pa(stack).get());
        }
        Ok(result)
    }
}

fn slab_shift(bytes: u64) -> Option<u32> {
    let shift = bytes.next_power_of_two().ilog2().max(SLAB_SHIFT_MIN);
    (shift <= SLAB_SHIFT_MAX).then_some(shift)
}

fn slab_list(shift: u32) -> u64 {
    pcpu::SLAB_FREE + u64::from(shift - SLAB_SHIFT_MIN) * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slab_classes() {
        assert_eq!(slab_shift(1), Some(5));
        assert_eq!(slab_shift(72), Some(7));
        assert_eq!(slab_shift(4096), Some(12));
        assert_eq!(slab_shift(65536), Some(16));
        assert_eq!(slab_shift(65537), None);
        assert!(slab_list(SLAB_SHIFT_MAX) < pcpu::STAB_RR);
    }
}
