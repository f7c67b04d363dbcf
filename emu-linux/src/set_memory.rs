//! set_memory_ro, _rw, _nx and _x: permissions of kernel pages changed in place, by
//! apply_to_existing_page_range, which batches under every policy.
//!
//! Owns change_page_attr (Linux 6.1 arch/powerpc/mm/pageattr.c). Refuses missing tables and empty PTEs: it
//! passes over them. 2.6.38 has no such functions; there the walk and the PTEs are the same, and a kernel
//! page without write permission stays writable to the hardware.

use crate::functions::Func;
use crate::kernel::{Kernel, Linux};
use crate::mm::Mm;
use emu_core::{Ctx, Run};
use emu_mmu::Ea;

/// What becomes of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetMemory {
    /// SET_MEMORY_RO: no stores.
    ReadOnly,
    /// SET_MEMORY_RW: stores again.
    ReadWrite,
    /// SET_MEMORY_NX: not executable.
    NoExecute,
    /// SET_MEMORY_X: executable.
    Execute,
}

impl Linux {
    /// change_memory_attr(): `pages` pages from `start`.
    pub fn set_memory(
        &self,
        cx: &mut Ctx<'_>,
        start: Ea,
        pages: u64,
        action: SetMemory,
    ) -> Kernel<()> {
        cx.call("change_memory_attr", |cx| {
            let end = start + pages * self.page_bytes();
            self.apply_to_existing_page_range(cx, start, end, &mut |linux, cx, ptep, ea| {
                linux.change_page_attr(cx, ea, ptep, action)?;
                Ok(Ok(()))
            })
        })
    }

    /// change_page_attr(): reads the PTE, changes its permissions and stores it in one atomic update. The
    /// slot stays recorded, so that no duplicate can come of the flush that is queued.
    fn change_page_attr(&self, cx: &mut Ctx<'_>, ea: Ea, ptep: Ea, action: SetMemory) -> Run<()> {
        self.work(cx, Func::ChangePageAttr)?;
        let bits = self.layout.pte;
        let pte = cx.load_u64(ptep, "change_page_attr: pte")?;
        let pte = match action {
            SetMemory::ReadOnly => pte & !bits.write,
            SetMemory::ReadWrite => pte | bits.write | bits.dirty,
            SetMemory::NoExecute => pte & !bits.exec,
            SetMemory::Execute => pte | bits.exec,
        };
        self.pte_replace(cx, Mm::INIT, ea, ptep, pte)
    }
}
