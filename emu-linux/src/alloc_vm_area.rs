//! alloc_vm_area and free_vm_area: an address range with its page tables and nothing mapped, for a caller
//! that sets the PTEs itself, as the Xen grant table does.
//!
//! Owns the range. Refuses the frames mapped into it: they are the caller's. 6.1 has no such function any
//! more; its callers put the same steps together (get_vm_area, apply_to_page_range).

use crate::functions::Func;
use crate::kernel::{Errno, Kernel, Linux};
use crate::memmap::{area, field};
use crate::mm::Mm;
use emu_core::{Ctx, Run};
use emu_mmu::{Ea, Ra};

impl Linux {
    /// alloc_vm_area(): `bytes` of addresses whose page tables exist. -EINVAL for none.
    pub fn alloc_vm_area(&self, cx: &mut Ctx<'_>, bytes: u64) -> Kernel<Ea> {
        cx.call("alloc_vm_area", |cx| {
            self.work(cx, Func::AllocVmArea)?;
            if bytes == 0 {
                return Ok(Err(Errno::Invalid));
            }
            let bytes = bytes.next_multiple_of(self.page_bytes());
            let node =
                match self.alloc_vmap_area(cx, bytes + self.page_bytes(), self.page_bytes())? {
                    Ok(node) => node,
                    Err(errno) => return Ok(Err(errno)),
                };
            let start = Ea::new(cx.load_u64(field(node, area::START), "alloc_vm_area")?);
            // The tables are made by a walk whose callback does nothing.
            let walked =
                self.apply_to_page_range_batch(cx, start, start + bytes, &mut |_, _, _, _, _| {
                    Ok(Ok(()))
                })?;
            if let Err(errno) = walked {
                self.free_vm_area(cx, start)?;
                return Ok(Err(errno));
            }
            Ok(Ok(start))
        })
    }

    /// free_vm_area(): false if no area starts there.
    pub fn free_vm_area(&self, cx: &mut Ctx<'_>, start: Ea) -> Run<bool> {
        cx.call("free_vm_area", |cx| self.remove_empty_area(cx, start))
    }

    /// remove_vm_area() of an area that owns no pages.
    pub(crate) fn remove_empty_area(&self, cx: &mut Ctx<'_>, start: Ea) -> Run<bool> {
        let Some(node) = self.take_area(cx, start)? else {
            return Ok(false);
        };
        let end = Ea::new(cx.load_u64(field(node, area::END), "remove_vm_area")?);
        self.remove_vm_area(cx, node, start, end, false)?;
        Ok(true)
    }

    /// arch_gnttab_map_shared(): sets the PTEs of an area to frames, by apply_to_page_range_batch. -EBUSY
    /// where one is set.
    pub fn map_foreign_frames(&self, cx: &mut Ctx<'_>, start: Ea, frames: &[Ra]) -> Kernel<()> {
        cx.call("arch_gnttab_map_shared", |cx| {
            let end = start + frames.len() as u64 * self.page_bytes();
            let mut frames = frames.iter();
            self.apply_to_page_range_batch(cx, start, end, &mut |linux, cx, ptep, count, _| {
                for (i, &frame) in (0..count).zip(&mut frames) {
                    linux.work(cx, Func::ApplyToPte)?;
                    let ptep = ptep + i * 8;
                    if cx.load_u64(ptep, "map_pte_fn: pte_none")? != 0 {
                        return Ok(Err(Errno::Busy));
                    }
                    linux.set_pte_at(cx, ptep, linux.layout.pte.kernel_pte(frame))?;
                }
                Ok(Ok(()))
            })
        })
    }

    /// arch_gnttab_unmap(): clears them again.
    pub fn unmap_foreign_frames(&self, cx: &mut Ctx<'_>, start: Ea, pages: u64) -> Kernel<()> {
        cx.call("arch_gnttab_unmap", |cx| {
            let end = start + pages * self.page_bytes();
            self.apply_to_page_range(cx, start, end, &mut |linux, cx, ptep, ea| {
                linux.pte_clear(cx, Mm::INIT, ea, ptep)?;
                Ok(Ok(()))
            })
        })
    }
}
