//! ioremap and iounmap: device registers, mapped guarded and not cached in the address range for IO.
//!
//! Owns the areas and PTEs of devices. Refuses their memory: nobody allocates or frees it. The pages are
//! mapped by ioremap_page_range as the kernels' generic code has it; ppc64 of 2.6.38 maps them one by one
//! (map_kernel_page), without a section.

use crate::config::KernelVersion;
use crate::functions::Func;
use crate::kernel::{Errno, Kernel, Linux};
use crate::latency::Operation;
use crate::memmap::{area, field};
use emu_core::{Ctx, Run};
use emu_mmu::{Ea, Ra};

/// log2 of the pages that such an area is aligned to at most (IOREMAP_MAX_ORDER, less PAGE_SHIFT).
const IOREMAP_MAX_ORDER: u32 = 7;

impl Linux {
    /// ioremap(): maps `bytes` from real address `device`, a multiple of the page size. -EINVAL if it is
    /// none or there are no bytes.
    pub fn ioremap(&self, cx: &mut Ctx<'_>, device: Ra, bytes: u64) -> Kernel<Ea> {
        self.timed_call(cx, Operation::Ioremap, "__ioremap", |cx| {
            self.work(cx, Func::Ioremap)?;
            if bytes == 0 || !device.get().is_multiple_of(self.page_bytes()) {
                return Ok(Err(Errno::Invalid));
            }
            let bytes = bytes.next_multiple_of(self.page_bytes());
            let align = 1 << self.ioremap_order(bytes);
            let range = (self.layout.ioremap_start, self.layout.ioremap_end);
            let node = match self.alloc_vmap_area_in(cx, bytes + self.page_bytes(), align, range)? {
                Ok(node) => node,
                Err(errno) => return Ok(Err(errno)),
            };
            let start = Ea::new(cx.load_u64(field(node, area::START), "__ioremap: area")?);
            let mapped = self.ioremap_page_range(cx, start, start + bytes, device)?;
            if let Err(errno) = mapped {
                self.iounmap(cx, start)?;
                return Ok(Err(errno));
            }
            Ok(Ok(start))
        })
    }

    /// log2 of an area's alignment, from its size: of the next larger power of two in 2.6.38 (fls), of the
    /// one that holds it in 6.1 (get_count_order_long).
    fn ioremap_order(&self, bytes: u64) -> u32 {
        let order = match self.layout.version {
            KernelVersion::V2_6_38 => bytes.ilog2() + 1,
            KernelVersion::V6_1 => bytes.next_power_of_two().ilog2(),
        };
        let page_shift = self.layout.page_shift();
        order.clamp(page_shift, page_shift + IOREMAP_MAX_ORDER)
    }

    /// ioremap_page_range().
    fn ioremap_page_range(&self, cx: &mut Ctx<'_>, start: Ea, end: Ea, device: Ra) -> Kernel<()> {
        cx.call("ioremap_page_range", |cx| {
            let bits = self.layout.pte;
            let mut frame = device;
            let page = self.page_bytes();
            self.vmap_page_range(cx, start, end, &mut |_, _| {
                let pte = bits.io_pte(frame);
                frame = frame + page;
                Ok(pte)
            })
        })
    }

    /// iounmap(): false if no area starts there.
    pub fn iounmap(&self, cx: &mut Ctx<'_>, start: Ea) -> Run<bool> {
        self.timed_call(cx, Operation::Iounmap, "iounmap", |cx| {
            self.work(cx, Func::Iounmap)?;
            self.remove_empty_area(cx, start)
        })
    }
}
