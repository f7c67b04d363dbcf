//! vmalloc address space: areas sorted by address, first fit with a cached search start, lazy purge.
//!
//! Owns the list and the hash of areas in guest memory, under vmap_area_lock. Refuses page tables.

use crate::config::Pages;
use crate::functions::Func;
use crate::injection::AllocKind;
use crate::kernel::{Errno, Kernel, Linux};
use crate::memmap::{VMAP_HASH_BUCKETS, area, field, global};
use emu_core::{Ctx, Run};
use emu_mmu::Ea;

const NONE: Ea = Ea::new(0);

impl Linux {
    /// alloc_vmap_area(): reserves `bytes` (guard page included) at the lowest multiple of `align`, a
    /// power of two, that fits. After a failure it purges once and tries again.
    pub(crate) fn alloc_vmap_area(&self, cx: &mut Ctx<'_>, bytes: u64, align: u64) -> Kernel<Ea> {
        let range = (self.layout.vmalloc_start, self.layout.vmalloc_end);
        self.alloc_vmap_area_in(cx, bytes, align, range)
    }

    /// The same in the addresses of `range`, first and first after the last.
    pub(crate) fn alloc_vmap_area_in(
        &self,
        cx: &mut Ctx<'_>,
        bytes: u64,
        align: u64,
        range: (u64, u64),
    ) -> Kernel<Ea> {
        self.work(cx, Func::AllocVmapArea)?;
        let node = match self.kmalloc(cx, area::BYTES, AllocKind::VmapArea)? {
            Ok(node) => node,
            Err(errno) => return Ok(Err(errno)),
        };
        for attempt in 0..2 {
            self.spin_lock(cx, global::VMAP_AREA_LOCK)?;
            let place = self.find_hole(cx, bytes, align, range)?;
            if let Some((start, previous)) = place {
                self.init_area(cx, node, start, start + bytes)?;
                self.link_after(cx, node, previous)?;
                // An aligned area may leave a hole below it: the next search begins at the start, as it
                // does for a smaller alignment than the cached one.
                let cache = if align > self.page_bytes() {
                    0
                } else {
                    node.get()
                };
                if range.0 == self.layout.vmalloc_start {
                    cx.store_u64(global::VMAP_CACHE, cache, "alloc_vmap_area: cache")?;
                }
            }
            self.spin_unlock(cx, global::VMAP_AREA_LOCK)?;
            if place.is_some() {
                return Ok(Ok(node));
            }
            if attempt == 0 {
                self.purge_vmap_areas(cx)?;
            }
        }
        self.kfree(cx, node, area::BYTES)?;
        Ok(Err(Errno::Busy))
    }

    /// The lowest hole of `bytes` and the area before it. The search starts behind the last area handed
    /// out unless a hole below it might do (cached_hole_size), or an alignment or another range than that
    /// of vmalloc is asked for.
    fn find_hole(
        &self,
        cx: &mut Ctx<'_>,
        bytes: u64,
        align: u64,
        (low, high): (u64, u64),
    ) -> Run<Option<(Ea, Ea)>> {
        let step = "alloc_vmap_area: search";
        let align = align.max(self.page_bytes());
        let gap = self.layout.area_gap_pages * self.page_bytes();
        let mut hole_max = cx.load_u64(global::VMAP_CACHED_HOLE, step)?;
        let mut previous = NONE;
        let cached = low == self.layout.vmalloc_start;
        if bytes > hole_max && align == self.page_bytes() && cached {
            previous = Ea::new(cx.load_u64(global::VMAP_CACHE, step)?);
        }
        let (mut start, mut next) = if previous == NONE {
            hole_max = 0;
            (low, cx.load_u64(global::VMAP_AREA_FIRST, step)?)
        } else {
            let end = cx.load_u64(field(previous, area::END), step)?;
            (end + gap, cx.load_u64(field(previous, area::NEXT), step)?)
        };
        loop {
            // No multiple of a large alignment need be left.
            let Some(aligned) = start.checked_next_multiple_of(align) else {
                return Ok(None);
            };
            start = aligned;
            if next == 0 {
                break;
            }
            self.work(cx, Func::AllocVmapAreaStep)?;
            let next_start = cx.load_u64(field(Ea::new(next), area::START), step)?;
            if start + bytes <= next_start {
                break;
            }
            hole_max = hole_max.max(next_start.saturating_sub(start));
            previous = Ea::new(next);
            start = low.max(cx.load_u64(field(previous, area::END), step)? + gap);
            next = cx.load_u64(field(previous, area::NEXT), step)?;
        }
        if cached {
            cx.store_u64(global::VMAP_CACHED_HOLE, hole_max, step)?;
        }
        Ok((start.checked_add(bytes).is_some_and(|end| end <= high))
            .then_some((Ea::new(start), previous)))
    }

    /// Reserves exactly [start, end), as a recorded allocation asks. Areas in the way that wait for a
    /// purge are purged; a live one is -EBUSY.
    pub(crate) fn insert_vmap_area(&self, cx: &mut Ctx<'_>, start: Ea, end: Ea) -> Kernel<Ea> {
        self.work(cx, Func::InsertVmapArea)?;
        let node = match self.kmalloc(cx, area::BYTES, AllocKind::VmapArea)? {
            Ok(node) => node,
            Err(errno) => return Ok(Err(errno)),
        };
        for attempt in 0..2 {
            self.spin_lock(cx, global::VMAP_AREA_LOCK)?;
            let previous = self.area_before(cx, end)?;
            let free = previous == NONE
                || cx.load_u64(field(previous, area::END), "insert_vmap_area")? <= start.get();
            if free {
                self.init_area(cx, node, start, end)?;
                self.link_after(cx, node, previous)?;
                cx.store_u64(global::VMAP_CACHE, node.get(), "insert_vmap_area: cache")?;
            }
            self.spin_unlock(cx, global::VMAP_AREA_LOCK)?;
            if free {
                return Ok(Ok(node));
            }
            if attempt == 0 {
                self.purge_vmap_areas(cx)?;
            }
        }
        self.kfree(cx, node, area::BYTES)?;
        Ok(Err(Errno::Busy))
    }

    /// The last area that starts below `end`, searched from where the last search ended.
    fn area_before(&self, cx: &mut Ctx<'_>, end: Ea) -> Run<Ea> {
        let step = "insert_vmap_area: search";
        let mut here = Ea::new(cx.load_u64(global::VMAP_CACHE, step)?);
        while here != NONE && cx.load_u64(field(here, area::START), step)? >= end.get() {
            here = Ea::new(cx.load_u64(field(here, area::PREV), step)?);
        }
        loop {
            self.work(cx, Func::AllocVmapAreaStep)?;
            let next = if here == NONE {
                cx.load_u64(global::VMAP_AREA_FIRST, step)?
            } else {
                cx.load_u64(field(here, area::NEXT), step)?
            };
            if next == 0 || cx.load_u64(field(Ea::new(next), area::START), step)? >= end.get() {
                return Ok(here);
            }
            here = Ea::new(next);
        }
    }

    fn init_area(&self, cx: &mut Ctx<'_>, node: Ea, start: Ea, end: Ea) -> Run<()> {
        let fields = [
            (area::START, start.get()),
            (area::END, end.get()),
            (area::LAZY, 0),
            (area::PAGES, 0),
            (area::NR_PAGES, 0),
            (area::ARRAY_VMALLOCED, 0),
        ];
        for (offset, value) in fields {
            cx.store_u64(field(node, offset), value, "alloc_vmap_area: init")?;
        }
        Ok(())
    }

    /// Links an area into the list and the hash; the lock is held.
    fn link_after(&self, cx: &mut Ctx<'_>, node: Ea, previous: Ea) -> Run<()> {
        let step = "__insert_vmap_area";
        let next_field = if previous == NONE {
            global::VMAP_AREA_FIRST
        } else {
            field(previous, area::NEXT)
        };
        let next = cx.load_u64(next_field, step)?;
        cx.store_u64(next_field, node.get(), step)?;
        cx.store_u64(field(node, area::NEXT), next, step)?;
        cx.store_u64(field(node, area::PREV), previous.get(), step)?;
        if next != 0 {
            cx.store_u64(field(Ea::new(next), area::PREV), node.get(), step)?;
        }
        let start = cx.load_u64(field(node, area::START), step)?;
        let bucket = self.hash_bucket(Ea::new(start));
        let head = cx.load_u64(bucket, step)?;
        cx.store_u64(field(node, area::HASH_NEXT), head, step)?;
        cx.store_u64(bucket, node.get(), step)
    }

    /// Finds the area that starts at `start` and takes it out of the hash, so that nobody finds it again
    /// (find_vm_area and unlink of remove_vm_area).
    pub(crate) fn take_area(&self, cx: &mut Ctx<'_>, start: Ea) -> Run<Option<Ea>> {
        let step = "find_vmap_area";
        self.spin_lock(cx, global::VMAP_AREA_LOCK)?;
        let mut link = self.hash_bucket(start);
        let mut found = None;
        loop {
            let here = Ea::new(cx.load_u64(link, step)?);
            if here == NONE {
                break;
            }
            if cx.load_u64(field(here, area::START), step)? == start.get() {
                let next = cx.load_u64(field(here, area::HASH_NEXT), step)?;
                cx.store_u64(link, next, step)?;
                found = Some(here);
                break;
            }
            link = field(here, area::HASH_NEXT);
        }
        self.spin_unlock(cx, global::VMAP_AREA_LOCK)?;
        Ok(found)
    }

    /// find_vmap_area(): the area that starts at `start`.
    pub(crate) fn find_area(&self, cx: &mut Ctx<'_>, start: Ea) -> Run<Option<Ea>> {
        let step = "find_vmap_area";
        self.spin_lock(cx, global::VMAP_AREA_LOCK)?;
        let mut here = Ea::new(cx.load_u64(self.hash_bucket(start), step)?);
        while here != NONE && cx.load_u64(field(here, area::START), step)? != start.get() {
            here = Ea::new(cx.load_u64(field(here, area::HASH_NEXT), step)?);
        }
        self.spin_unlock(cx, global::VMAP_AREA_LOCK)?;
        Ok((here != NONE).then_some(here))
    }

    /// free_vmap_area_noflush(): the address range waits for a purge; above lazy_max_pages it comes now.
    pub(crate) fn free_area_lazily(&self, cx: &mut Ctx<'_>, node: Ea) -> Run<()> {
        let step = "free_vmap_area_noflush";
        self.spin_lock(cx, global::VMAP_AREA_LOCK)?;
        let start = cx.load_u64(field(node, area::START), step)?;
        let end = cx.load_u64(field(node, area::END), step)?;
        cx.store_u64(field(node, area::LAZY), 1, step)?;
        let lazy = cx.load_u64(global::VMAP_LAZY_NR, step)? + (end - start) / self.page_bytes();
        cx.store_u64(global::VMAP_LAZY_NR, lazy, step)?;
        self.spin_unlock(cx, global::VMAP_AREA_LOCK)?;
        if lazy > self.lazy_max_pages() {
            self.purge_vmap_areas(cx)?;
        }
        Ok(())
    }

    /// lazy_max_pages(): fls(online CPUs) * 32 MiB in pages.
    pub(crate) fn lazy_max_pages(&self) -> u64 {
        Linux::lazy_max_pages_of(self.cpus, self.layout.pages)
    }

    /// The same for a number of CPUs and a page size.
    pub(crate) fn lazy_max_pages_of(cpus: u16, pages: Pages) -> u64 {
        let fls = u64::from(u16::BITS - cpus.leading_zeros());
        fls * (32 << 20) / pages.bytes()
    }

    /// __purge_vmap_area_lazy(): releases the address ranges of all areas that wait. The flush over their
    /// span is empty on this architecture.
    pub(crate) fn purge_vmap_areas(&self, cx: &mut Ctx<'_>) -> Run<()> {
        let step = "__purge_vmap_area_lazy";
        self.work(cx, Func::PurgeVmapArea)?;
        self.spin_lock(cx, global::VMAP_AREA_LOCK)?;
        let mut here = Ea::new(cx.load_u64(global::VMAP_AREA_FIRST, step)?);
        while here != NONE {
            self.work(cx, Func::PurgeVmapAreaStep)?;
            let next = Ea::new(cx.load_u64(field(here, area::NEXT), step)?);
            if cx.load_u64(field(here, area::LAZY), step)? == 1 {
                self.unlink_area(cx, here)?;
                self.kfree(cx, here, area::BYTES)?;
            }
            here = next;
        }
        cx.store_u64(global::VMAP_LAZY_NR, 0, step)?;
        cx.store_u64(global::VMAP_CACHE, 0, step)?;
        cx.store_u64(global::VMAP_CACHED_HOLE, 0, step)?;
        self.spin_unlock(cx, global::VMAP_AREA_LOCK)
    }

    fn unlink_area(&self, cx: &mut Ctx<'_>, node: Ea) -> Run<()> {
        let step = "__free_vmap_area";
        let next = cx.load_u64(field(node, area::NEXT), step)?;
        let previous = cx.load_u64(field(node, area::PREV), step)?;
        let from = if previous == 0 {
            global::VMAP_AREA_FIRST
        } else {
            field(Ea::new(previous), area::NEXT)
        };
        cx.store_u64(from, next, step)?;
        if next != 0 {
            cx.store_u64(field(Ea::new(next), area::PREV), previous, step)?;
        }
        Ok(())
    }

    fn hash_bucket(&self, start: Ea) -> Ea {
        let page = start.get() / self.page_bytes();
        field(
            global::VMAP_HASH,
            (page ^ (page >> 10)) % VMAP_HASH_BUCKETS * 8,
        )
    }
}
