//! set_memory_ro, _rw, _nx and _x: permissions of kernel pages changed in place, by
//! apply_to_existing_page_range, which batches under every policy.
//!
//! Owns change_page_attr (Linux 6.1 arch/powerpc/mm/pageattr.c, since a4c182ecf335 of 5.17), and its form before
//! that. Refuses missing tables and empty PTEs: it
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
        self.change_memory_attr(cx, start, pages, |linux, cx, ptep, ea| {
            linux.change_page_attr(cx, ea, ptep, action)
        })
    }

    /// The same as Linux 5.14 to 5.16 had it (9f7853d7609d, until a4c182ecf335): each PTE is read, and replaced
    /// as a whole by what was read and changed. The lock they took keeps out no hash fault.
    pub fn set_memory_replacing(
        &self,
        cx: &mut Ctx<'_>,
        start: Ea,
        pages: u64,
        action: SetMemory,
    ) -> Kernel<()> {
        self.change_memory_attr(cx, start, pages, |linux, cx, ptep, ea| {
            linux.work(cx, Func::ChangePageAttr)?;
            let pte = cx.load_u64(ptep, "change_page_attr: pte")?;
            let (clear, set) = linux.attr_delta(action);
            let new = pte & !clear | set;
            linux.pte_clear_and_set(cx, Mm::INIT, (ea, ptep), u64::MAX, new)
        })
    }

    fn change_memory_attr(
        &self,
        cx: &mut Ctx<'_>,
        start: Ea,
        pages: u64,
        change: impl Fn(&Linux, &mut Ctx<'_>, Ea, Ea) -> Run<()>,
    ) -> Kernel<()> {
        cx.call("change_memory_attr", |cx| {
            let end = start + pages * self.page_bytes();
            self.apply_to_existing_page_range(cx, start, end, &mut |linux, cx, ptep, ea| {
                change(linux, cx, ptep, ea)?;
                Ok(Ok(()))
            })
        })
    }

    /// change_page_attr(): permissions change in one atomic update. The slot stays recorded, so that no
    /// duplicate can come of the flush that is queued.
    fn change_page_attr(&self, cx: &mut Ctx<'_>, ea: Ea, ptep: Ea, action: SetMemory) -> Run<()> {
        self.work(cx, Func::ChangePageAttr)?;
        let (clear, set) = self.attr_delta(action);
        self.pte_clear_and_set(cx, Mm::INIT, (ea, ptep), clear, set)
    }

    /// Bits to clear and to set.
    const fn attr_delta(&self, action: SetMemory) -> (u64, u64) {
        let bits = &self.layout.pte;
        match action {
            SetMemory::ReadOnly => (bits.write, 0),
            SetMemory::ReadWrite => (0, bits.write | bits.dirty),
            SetMemory::NoExecute => (bits.exec, 0),
            SetMemory::Execute => (0, bits.exec),
        }
    }
}
