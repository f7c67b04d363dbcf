//! vmalloc and vfree: areas, frames, the page-pointer array, mapping and unmapping under the policy.
//!
//! Owns what mm/vmalloc.c does between an area and its PTEs. Refuses the flush: it happens when a PTE is
//! cleared, or later, as the policy has it.

use crate::functions::Func;
use crate::injection::AllocKind;
use crate::kernel::{Errno, Kernel, Linux};
use crate::latency::Operation;
use crate::memmap::{area, field};
use emu_core::{Ctx, Run};
use emu_mmu::{Ea, Ra};

/// Source of the frames to map, in order.
type NextFrame<'f> = &'f mut dyn FnMut(&Linux, &mut Ctx<'_>) -> Run<Ra>;

impl Linux {
    /// vmalloc(): maps `bytes` of fresh frames and gives the address.
    pub fn vmalloc(&self, cx: &mut Ctx<'_>, bytes: u64) -> Kernel<Ea> {
        self.vmalloc_as(cx, "vmalloc", bytes, self.page_bytes())
    }

    /// vzalloc(): the same; the frames are cleared through the linear map, not through the new mapping.
    pub fn vzalloc(&self, cx: &mut Ctx<'_>, bytes: u64) -> Kernel<Ea> {
        self.vmalloc_as(cx, "vzalloc", bytes, self.page_bytes())
    }

    /// __vmalloc_node(): as [`vmalloc`](Self::vmalloc), at a multiple of `align` bytes, which is a power
    /// of two (-EINVAL if it is none). Areas are aligned to a page at least.
    pub fn vmalloc_aligned(&self, cx: &mut Ctx<'_>, bytes: u64, align: u64) -> Kernel<Ea> {
        self.vmalloc_as(cx, "vmalloc", bytes, align)
    }

    fn vmalloc_as(
        &self,
        cx: &mut Ctx<'_>,
        function: &'static str,
        bytes: u64,
        align: u64,
    ) -> Kernel<Ea> {
        self.timed_call(cx, Operation::Vmalloc, function, |cx| {
            self.work(cx, Func::Vmalloc)?;
            if bytes == 0 || !align.is_power_of_two() {
                return Ok(Err(Errno::Invalid));
            }
            let bytes = bytes.next_multiple_of(self.page_bytes());
            let node = match self.alloc_vmap_area(cx, bytes + self.page_bytes(), align)? {
                Ok(node) => node,
                Err(errno) => return Ok(Err(errno)),
            };
            self.vmalloc_area(cx, node)
        })
    }

    /// The same at a recorded place: [start, end) with its guard page, of which `bytes` are mapped. Only
    /// the frames and PTEs; a nested allocation for the array is a record of its own.
    pub fn vmalloc_at(&self, cx: &mut Ctx<'_>, start: Ea, end: Ea, bytes: u64) -> Kernel<Ea> {
        let fits = start.get().is_multiple_of(self.page_bytes())
            && bytes > 0
            && start
                .get()
                .checked_add(bytes)
                .is_some_and(|last| last <= end.get())
            && self.layout.is_vmalloc(start)
            && end.get() <= self.layout.vmalloc_end;
        if !fits {
            return Ok(Err(Errno::Invalid));
        }
        cx.call("vmalloc", |cx| {
            self.work(cx, Func::Vmalloc)?;
            match self.insert_vmap_area(cx, start, end)? {
                Ok(node) => self.map_frames(cx, node, None, bytes.div_ceil(self.page_bytes())),
                Err(errno) => Ok(Err(errno)),
            }
        })
    }

    /// __vmalloc_area_node(): the page-pointer array, the frames, the mapping.
    fn vmalloc_area(&self, cx: &mut Ctx<'_>, node: Ea) -> Kernel<Ea> {
        cx.call("__vmalloc_area_node", |cx| {
            self.work(cx, Func::VmallocArea)?;
            let pages = self.area_pages(cx, node)?;
            let nested = pages * 8 > self.page_bytes();
            let array = if nested {
                self.vmalloc(cx, pages * 8)?
            } else {
                self.kmalloc(cx, pages * 8, AllocKind::PageArray)?
            };
            match array {
                Ok(array) => {
                    let flag = field(node, area::ARRAY_VMALLOCED);
                    cx.store_u64(flag, u64::from(nested), "__vmalloc_area_node: array")?;
                    cx.store_u64(field(node, area::PAGES), array.get(), "__vmalloc_area_node")?;
                    self.map_frames(cx, node, Some(array), pages)
                }
                Err(errno) => {
                    self.discard_area(cx, node)?;
                    Ok(Err(errno))
                }
            }
        })
    }

    /// Pages of an area without its guard page.
    fn area_pages(&self, cx: &mut Ctx<'_>, node: Ea) -> Run<u64> {
        let start = cx.load_u64(field(node, area::START), "get_vm_area_size")?;
        let end = cx.load_u64(field(node, area::END), "get_vm_area_size")?;
        Ok(((end - start) / self.page_bytes()).saturating_sub(1))
    }

    /// Allocates the frames one by one into the array (if any) and maps them. On failure everything is
    /// given back, as vfree would.
    fn map_frames(&self, cx: &mut Ctx<'_>, node: Ea, array: Option<Ea>, pages: u64) -> Kernel<Ea> {
        let start = Ea::new(cx.load_u64(field(node, area::START), "__vmalloc_area_node")?);
        let mut spare = Vec::new();
        if let Some(array) = array {
            for i in 0..pages {
                match self.alloc_page(cx)? {
                    Ok(frame) => {
                        cx.store_u64(array + i * 8, frame.get(), "__vmalloc_area_node: page")?;
                        cx.store_u64(field(node, area::NR_PAGES), i + 1, "__vmalloc_area_node")?;
                    }
                    Err(errno) => {
                        self.discard_area(cx, node)?;
                        return Ok(Err(errno));
                    }
                }
            }
        } else {
            for _ in 0..pages {
                match self.alloc_page(cx)? {
                    Ok(frame) => spare.push(frame),
                    Err(errno) => {
                        for frame in spare {
                            self.free_page(cx, frame)?;
                        }
                        self.discard_area(cx, node)?;
                        return Ok(Err(errno));
                    }
                }
            }
        }
        let mut i = 0;
        let mapped = self.map_vm_area(
            cx,
            start,
            start + pages * self.page_bytes(),
            &mut |_, cx| {
                let frame = match array {
                    Some(array) => Ra::new(cx.load_u64(array + i * 8, "vmap: page")?),
                    None => spare[i as usize],
                };
                i += 1;
                Ok(frame)
            },
        )?;
        if let Err(errno) = mapped {
            for frame in &spare[(i as usize).min(spare.len())..] {
                self.free_page(cx, *frame)?;
            }
            self.take_area(cx, start)?;
            self.release_area(cx, node, start)?;
            return Ok(Err(errno));
        }
        self.count(&self.counters.vmalloc);
        Ok(Ok(start))
    }

    /// Gives an area back that never got its PTEs.
    fn discard_area(&self, cx: &mut Ctx<'_>, node: Ea) -> Run<()> {
        let start = Ea::new(cx.load_u64(field(node, area::START), "__vunmap")?);
        self.take_area(cx, start)?;
        self.release_area(cx, node, start)
    }

    /// vfree(): false if no area starts there (the kernel warns: "Trying to vfree() nonexistent vm area").
    pub fn vfree(&self, cx: &mut Ctx<'_>, start: Ea) -> Run<bool> {
        self.timed_call(cx, Operation::Vfree, "__vunmap", |cx| {
            self.work(cx, Func::Vunmap)?;
            let Some(node) = self.take_area(cx, start)? else {
                return Ok(false);
            };
            self.release_area(cx, node, start)?;
            self.count(&self.counters.vfree);
            Ok(true)
        })
    }

    /// remove_vm_area() and the freeing that follows it.
    fn release_area(&self, cx: &mut Ctx<'_>, node: Ea, start: Ea) -> Run<()> {
        let step = "__vunmap";
        let end = Ea::new(cx.load_u64(field(node, area::END), step)?);
        let array = Ea::new(cx.load_u64(field(node, area::PAGES), step)?);
        let pages = cx.load_u64(field(node, area::NR_PAGES), step)?;
        let nested = cx.load_u64(field(node, area::ARRAY_VMALLOCED), step)? != 0;
        let array_bytes = self.area_pages(cx, node)? * 8;
        let unlisted = self.remove_vm_area(cx, node, start, end, array == Ea::new(0))?;
        for frame in unlisted {
            self.free_page(cx, frame)?;
        }
        for i in 0..pages {
            let frame = Ra::new(cx.load_u64(array + i * 8, "__vunmap: page")?);
            self.free_page(cx, frame)?;
        }
        if nested {
            self.vfree(cx, array)?;
        } else if array != Ea::new(0) {
            self.kfree(cx, array, array_bytes)?;
        }
        Ok(())
    }

    /// remove_vm_area(): the PTEs of the whole area, guard page included, then the address range. Gives
    /// the frames that the PTEs held if no array names them.
    pub(crate) fn remove_vm_area(
        &self,
        cx: &mut Ctx<'_>,
        node: Ea,
        start: Ea,
        end: Ea,
        collect: bool,
    ) -> Run<Vec<Ra>> {
        cx.call("remove_vm_area", |cx| {
            self.work(cx, Func::RemoveVmArea)?;
            let frames = self.vunmap_page_range(cx, start, end, collect)?;
            self.free_area_lazily(cx, node)?;
            Ok(frames)
        })
    }

    /// map_vm_area(): sets the PTEs of [start, end) to the frames that `next` gives.
    pub(crate) fn map_vm_area(
        &self,
        cx: &mut Ctx<'_>,
        start: Ea,
        end: Ea,
        next: NextFrame<'_>,
    ) -> Kernel<()> {
        cx.call("map_vm_area", |cx| {
            self.work(cx, Func::MapVmArea)?;
            let bits = self.layout.pte;
            self.vmap_page_range(cx, start, end, &mut |linux, cx| {
                Ok(bits.kernel_pte(next(linux, cx)?))
            })
        })
    }

    /// Touches an address: one store or load by the running task.
    pub fn touch(&self, cx: &mut Ctx<'_>, ea: Ea, store: bool) -> Run<()> {
        self.work(cx, Func::Touch)?;
        if store {
            cx.store_u8(ea, 1, "touch")
        } else {
            cx.load_u8(ea, "touch").map(|_| ())
        }
    }
}
