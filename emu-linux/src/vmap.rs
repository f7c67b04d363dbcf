//! vmap and vunmap: frames that the caller has, mapped one behind the other.
//!
//! Owns neither frames nor their array. Refuses a guard against mapping one frame twice: the kernel has none.

use crate::kernel::{Errno, Kernel, Linux};
use crate::latency::Operation;
use crate::memmap::{area, field};
use emu_core::{Ctx, Run};
use emu_mmu::{Ea, Ra};

impl Linux {
    /// vmap(): maps `frames` in an area of their own, a guard page behind. -EINVAL for none.
    pub fn vmap(&self, cx: &mut Ctx<'_>, frames: &[Ra]) -> Kernel<Ea> {
        self.timed_call(cx, Operation::Vmap, "vmap", |cx| {
            if frames.is_empty() {
                return Ok(Err(Errno::Invalid));
            }
            let page = self.page_bytes();
            let bytes = frames.len() as u64 * page;
            let node = match self.alloc_vmap_area(cx, bytes + page, page)? {
                Ok(node) => node,
                Err(errno) => return Ok(Err(errno)),
            };
            let start = Ea::new(cx.load_u64(field(node, area::START), "vmap: area")?);
            let mut left = frames.iter();
            let mapped = self.map_vm_area(cx, start, start + bytes, &mut |_, _| {
                Ok(left.next().copied().unwrap_or(Ra::new(0)))
            })?;
            if let Err(errno) = mapped {
                self.vunmap(cx, start)?;
                return Ok(Err(errno));
            }
            Ok(Ok(start))
        })
    }

    /// vunmap(): false if no area starts there. The frames stay the caller's.
    pub fn vunmap(&self, cx: &mut Ctx<'_>, start: Ea) -> Run<bool> {
        self.timed_call(cx, Operation::Vunmap, "vunmap", |cx| {
            self.remove_empty_area(cx, start)
        })
    }
}
