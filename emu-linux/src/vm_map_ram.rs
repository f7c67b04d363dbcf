//! vm_map_ram and vm_unmap_ram: pages that the caller has, mapped for a short time.
//!
//! Owns the vmap blocks of mm/vmalloc.c: up to 64 pages come out of blocks of 1024 that each CPU keeps, so
//! that most calls allocate no area; a part of a block is never used again before the block is freed whole.
//! Refuses the pages: they are the caller's, before and after. The queue of a CPU's blocks is read under its
//! lock here, under RCU in the kernel.

use crate::config::{KernelVersion, Preempt};
use crate::functions::Func;
use crate::injection::AllocKind;
use crate::kernel::{Errno, Kernel, Linux};
use crate::latency::Operation;
use crate::memmap::{area, field, pcpu, percpu, vmap_block as block};
use emu_core::{CpuId, Ctx, Run};
use emu_mmu::{Ea, Ra};

/// Pages that a block gives out at once at most (VMAP_MAX_ALLOC, BITS_PER_LONG).
pub(crate) const BLOCK_ALLOC_PAGES_MAX: u64 = 64;
/// Pages of a block (VMAP_BBMAP_BITS for usual numbers of CPUs).
pub(crate) const BLOCK_PAGES: u64 = 1024;
const NONE: Ea = Ea::new(0);

impl Linux {
    /// vm_map_ram(): maps `frames` one behind the other, without a guard page. -EINVAL for none.
    pub fn vm_map_ram(&self, cx: &mut Ctx<'_>, frames: &[Ra]) -> Kernel<Ea> {
        self.timed_call(cx, Operation::VmMapRam, "vm_map_ram", |cx| {
            self.work(cx, Func::VmMapRam)?;
            let pages = frames.len() as u64;
            let place = match pages {
                0 => return Ok(Err(Errno::Invalid)),
                1..=BLOCK_ALLOC_PAGES_MAX => self.vb_alloc(cx, pages)?,
                _ => {
                    match self.alloc_vmap_area(cx, pages * self.page_bytes(), self.page_bytes())? {
                        Ok(node) => {
                            let start =
                                cx.load_u64(field(node, area::START), "vm_map_ram: area")?;
                            Ok(Ea::new(start))
                        }
                        Err(errno) => Err(errno),
                    }
                }
            };
            let start = match place {
                Ok(start) => start,
                Err(errno) => return Ok(Err(errno)),
            };
            let mut frames = frames.iter();
            let bits = self.layout.pte;
            let end = start + pages * self.page_bytes();
            let mapped = self.vmap_page_range(cx, start, end, &mut |_, _| {
                let frame = frames.next().copied().unwrap_or(Ra::new(0));
                Ok(bits.kernel_pte(frame))
            })?;
            if mapped.is_err() {
                self.vm_unmap_ram(cx, start, pages)?;
                return Ok(Err(Errno::NoMemory));
            }
            Ok(Ok(start))
        })
    }

    /// vm_unmap_ram() of as many pages as were mapped; false if nothing is there.
    pub fn vm_unmap_ram(&self, cx: &mut Ctx<'_>, start: Ea, pages: u64) -> Run<bool> {
        self.timed_call(cx, Operation::VmUnmapRam, "vm_unmap_ram", |cx| {
            self.work(cx, Func::VmUnmapRam)?;
            if pages <= BLOCK_ALLOC_PAGES_MAX {
                return self.vb_free(cx, start, pages);
            }
            let Some(node) = self.take_area(cx, start)? else {
                return Ok(false);
            };
            self.vunmap_page_range(cx, start, start + pages * self.page_bytes(), false)?;
            self.free_area_lazily(cx, node)?;
            Ok(true)
        })
    }

    /// vm_unmap_aliases(): blocks of which nothing is in use are given up, and all areas that wait are
    /// purged. The flush over what was unmapped is empty on this architecture.
    pub fn vm_unmap_aliases(&self, cx: &mut Ctx<'_>) -> Run<()> {
        for cpu in 0..self.cpus {
            self.purge_fragmented_blocks(cx, CpuId(cpu))?;
        }
        self.purge_vmap_areas(cx)
    }

    /// Bytes of a block, and its alignment (VMAP_BLOCK_SIZE).
    fn block_bytes(&self) -> u64 {
        BLOCK_PAGES * self.page_bytes()
    }

    /// True if the queue is looked up with preemption off: get_cpu_var() in 2.6.38; not where its lock sleeps,
    /// nor since "mm/vmalloc: use raw_cpu_ptr() for vmap_block_queue access" (5.19), because the lock is enough.
    fn block_queue_is_atomic(&self) -> bool {
        self.layout.version == KernelVersion::V2_6_38 && self.preempt != Preempt::Rt
    }

    /// This CPU's queue of blocks.
    fn get_block_queue(&self, cx: &mut Ctx<'_>) -> Run<Ea> {
        if self.block_queue_is_atomic() {
            self.preempt_disable(cx)?;
        }
        Ok(percpu(cx.read_cpu_id("vmap_block_queue: this_cpu")?.0))
    }

    fn put_block_queue(&self, cx: &mut Ctx<'_>) -> Run<()> {
        if self.block_queue_is_atomic() {
            self.preempt_enable(cx)?;
        }
        Ok(())
    }

    /// vb_alloc(): a part of a block of this CPU, of a power of two of pages.
    fn vb_alloc(&self, cx: &mut Ctx<'_>, pages: u64) -> Kernel<Ea> {
        cx.call("vb_alloc", |cx| {
            let size = pages.next_power_of_two();
            loop {
                self.work(cx, Func::VbAlloc)?;
                let queue = self.get_block_queue(cx)?;
                let place = self.take_from_queue(cx, queue, size)?;
                self.put_block_queue(cx)?;
                if let Some(place) = place {
                    return Ok(Ok(place));
                }
                if let Err(errno) = self.new_vmap_block(cx)? {
                    return Ok(Err(errno));
                }
            }
        })
    }

    /// The first part of `size` pages in the blocks of a queue.
    fn take_from_queue(&self, cx: &mut Ctx<'_>, queue: Ea, size: u64) -> Run<Option<Ea>> {
        let step = "vb_alloc: queue";
        self.spin_lock(cx, field(queue, pcpu::VMAP_BLOCK_LOCK))?;
        let mut link = field(queue, pcpu::VMAP_BLOCKS);
        let mut found = None;
        loop {
            let vb = Ea::new(cx.load_u64(link, step)?);
            if vb == NONE {
                break;
            }
            self.spin_lock(cx, field(vb, block::LOCK))?;
            let free = cx.load_u64(field(vb, block::FREE), step)?;
            let index = if free < size {
                None
            } else if self.layout.vmap_block_has_map {
                self.find_free_region(cx, vb, size)?
            } else {
                Some(BLOCK_PAGES - free)
            };
            if let Some(index) = index {
                let node = Ea::new(cx.load_u64(field(vb, block::AREA), step)?);
                let start = cx.load_u64(field(node, area::START), step)?;
                found = Some(Ea::new(start) + index * self.page_bytes());
                cx.store_u64(field(vb, block::FREE), free - size, step)?;
                if free == size {
                    let next = cx.load_u64(field(vb, block::NEXT), step)?;
                    cx.store_u64(link, next, step)?;
                }
            }
            self.spin_unlock(cx, field(vb, block::LOCK))?;
            if found.is_some() {
                break;
            }
            link = field(vb, block::NEXT);
        }
        self.spin_unlock(cx, field(queue, pcpu::VMAP_BLOCK_LOCK))?;
        Ok(found)
    }

    /// bitmap_find_free_region(): the lowest free run of `size` pages at a multiple of it, now taken. The
    /// block's lock is held.
    fn find_free_region(&self, cx: &mut Ctx<'_>, vb: Ea, size: u64) -> Run<Option<u64>> {
        let run = u64::MAX >> (64 - size);
        for word in 0..BLOCK_PAGES / 64 {
            let at = field(vb, block::MAP + word * 8);
            let used = cx.load_u64(at, "bitmap_find_free_region")?;
            for bit in (0..64).step_by(size as usize) {
                if used & (run << bit) == 0 {
                    cx.store_u64(at, used | (run << bit), "bitmap_find_free_region")?;
                    return Ok(Some(word * 64 + bit));
                }
            }
        }
        Ok(None)
    }

    /// new_vmap_block(): a block in this CPU's queue.
    fn new_vmap_block(&self, cx: &mut Ctx<'_>) -> Kernel<()> {
        cx.call("new_vmap_block", |cx| {
            let step = "new_vmap_block";
            self.work(cx, Func::NewVmapBlock)?;
            let vb = match self.kmalloc(cx, block::BYTES, AllocKind::VmapBlock)? {
                Ok(vb) => vb,
                Err(errno) => return Ok(Err(errno)),
            };
            let node = match self.alloc_vmap_area(cx, self.block_bytes(), self.block_bytes())? {
                Ok(node) => node,
                Err(errno) => {
                    self.kfree(cx, vb, block::BYTES)?;
                    return Ok(Err(errno));
                }
            };
            cx.store_u64(field(node, area::VMAP_BLOCK), vb.get(), step)?;
            let fields = [
                (block::LOCK, 0),
                (block::AREA, node.get()),
                (block::FREE, BLOCK_PAGES),
                (block::DIRTY, 0),
            ];
            let map = (0..BLOCK_PAGES / 64).map(|word| (block::MAP + word * 8, 0));
            for (offset, value) in fields.into_iter().chain(map) {
                cx.store_u64(field(vb, offset), value, step)?;
            }
            let queue = self.get_block_queue(cx)?;
            self.spin_lock(cx, field(queue, pcpu::VMAP_BLOCK_LOCK))?;
            let first = cx.load_u64(field(queue, pcpu::VMAP_BLOCKS), step)?;
            cx.store_u64(field(vb, block::NEXT), first, step)?;
            cx.store_u64(field(queue, pcpu::VMAP_BLOCKS), vb.get(), step)?;
            self.spin_unlock(cx, field(queue, pcpu::VMAP_BLOCK_LOCK))?;
            self.put_block_queue(cx)?;
            Ok(Ok(()))
        })
    }

    /// vb_free(): the PTEs at once; the addresses when the whole block has been used up and freed. False if
    /// there is no block.
    fn vb_free(&self, cx: &mut Ctx<'_>, start: Ea, pages: u64) -> Run<bool> {
        cx.call("vb_free", |cx| {
            let step = "vb_free";
            self.work(cx, Func::VbFree)?;
            let first = Ea::new(start.get() & !(self.block_bytes() - 1));
            let Some(node) = self.find_area(cx, first)? else {
                return Ok(false);
            };
            let vb = Ea::new(cx.load_u64(field(node, area::VMAP_BLOCK), step)?);
            self.vunmap_page_range(cx, start, start + pages * self.page_bytes(), false)?;
            self.spin_lock(cx, field(vb, block::LOCK))?;
            let dirty = cx.load_u64(field(vb, block::DIRTY), step)? + pages.next_power_of_two();
            cx.store_u64(field(vb, block::DIRTY), dirty, step)?;
            self.spin_unlock(cx, field(vb, block::LOCK))?;
            if dirty == BLOCK_PAGES {
                self.free_vmap_block(cx, vb)?;
            }
            Ok(true)
        })
    }

    /// free_vmap_block(): nobody finds it any more.
    fn free_vmap_block(&self, cx: &mut Ctx<'_>, vb: Ea) -> Run<()> {
        let node = Ea::new(cx.load_u64(field(vb, block::AREA), "free_vmap_block")?);
        let start = Ea::new(cx.load_u64(field(node, area::START), "free_vmap_block")?);
        if let Some(node) = self.take_area(cx, start)? {
            self.free_area_lazily(cx, node)?;
        }
        self.kfree(cx, vb, block::BYTES)
    }

    /// purge_fragmented_blocks(): gives up the blocks of a CPU whose every page is free or was used.
    fn purge_fragmented_blocks(&self, cx: &mut Ctx<'_>, cpu: CpuId) -> Run<()> {
        let step = "purge_fragmented_blocks";
        let queue = percpu(cpu.0);
        let mut purged = Vec::new();
        self.spin_lock(cx, field(queue, pcpu::VMAP_BLOCK_LOCK))?;
        let mut link = field(queue, pcpu::VMAP_BLOCKS);
        loop {
            let vb = Ea::new(cx.load_u64(link, step)?);
            if vb == NONE {
                break;
            }
            self.spin_lock(cx, field(vb, block::LOCK))?;
            let free = cx.load_u64(field(vb, block::FREE), step)?;
            let dirty = cx.load_u64(field(vb, block::DIRTY), step)?;
            if free + dirty == BLOCK_PAGES && dirty != BLOCK_PAGES {
                cx.store_u64(field(vb, block::FREE), 0, step)?;
                cx.store_u64(field(vb, block::DIRTY), BLOCK_PAGES, step)?;
                let next = cx.load_u64(field(vb, block::NEXT), step)?;
                cx.store_u64(link, next, step)?;
                purged.push(vb);
            } else {
                link = field(vb, block::NEXT);
            }
            self.spin_unlock(cx, field(vb, block::LOCK))?;
        }
        self.spin_unlock(cx, field(queue, pcpu::VMAP_BLOCK_LOCK))?;
        for vb in purged {
            self.free_vmap_block(cx, vb)?;
        }
        Ok(())
    }
}
