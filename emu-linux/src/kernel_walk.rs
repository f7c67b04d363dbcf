//! Walks over the page tables of init_mm, as the policy has them: vmap_page_range and vunmap_page_range,
//! open-coded or by apply_to_page_range_batch, with or without a lazy section.
//!
//! Owns the open-coded loops. Refuses areas and frames: callers say what each PTE becomes and get back
//! what it held.

use crate::apply::BatchFn;
use crate::functions::Func;
use crate::kernel::{Errno, Kernel, Linux};
use crate::lazy_mmu::VmallocWalk;
use crate::memmap::global;
use crate::mm::Mm;
use crate::pgtable::PGD_LEVEL;
use emu_core::{Ctx, Run};
use emu_mmu::{Ea, Ra};

/// Source of the PTEs to set, in order.
pub(crate) type NextPte<'f> = &'f mut dyn FnMut(&Linux, &mut Ctx<'_>) -> Run<u64>;

/// An open-coded walk.
#[derive(Clone, Copy, Debug)]
struct Walk {
    /// Missing tables are allocated, else skipped.
    allocate: bool,
    /// A lazy section round each PTE table.
    lazy: bool,
}

impl Linux {
    /// vmap_page_range(): sets the PTEs of [start, end), which must be empty, to what `next` gives. Stops
    /// at the first error; nothing is undone.
    pub(crate) fn vmap_page_range(
        &self,
        cx: &mut Ctx<'_>,
        start: Ea,
        end: Ea,
        next: NextPte<'_>,
    ) -> Kernel<()> {
        let mut set = |linux: &Linux, cx: &mut Ctx<'_>, ptep: Ea, n: u64, _ea: Ea| {
            for i in 0..n {
                linux.work(cx, Func::VmapPteRange)?;
                let ptep = ptep + i * 8;
                if cx.load_u64(ptep, "vmap_pte_range: pte_none")? != 0 {
                    return Ok(Err(Errno::Busy));
                }
                if linux.mapping_fails(cx) {
                    return Ok(Err(Errno::NoMemory));
                }
                let pte = next(linux, cx)?;
                linux.set_pte_at(cx, ptep, pte)?;
            }
            Ok(Ok(()))
        };
        match self.policy.vmalloc_walk() {
            VmallocWalk::ApplyBatch => self.apply_to_page_range_batch(cx, start, end, &mut set),
            walk => {
                self.work(cx, Func::VmapPageRange)?;
                let walk = Walk {
                    allocate: true,
                    lazy: walk == VmallocWalk::OpenCodedLazy,
                };
                let root = global::SWAPPER_PG_DIR;
                self.walk_kernel_tables(cx, walk, PGD_LEVEL, root, (start, end), &mut set)
            }
        }
    }

    /// vunmap_page_range(): clears the PTEs of [start, end). Gives the frames of those that were present
    /// if `collect` asks for them.
    pub(crate) fn vunmap_page_range(
        &self,
        cx: &mut Ctx<'_>,
        start: Ea,
        end: Ea,
        collect: bool,
    ) -> Run<Vec<Ra>> {
        let mut frames = Vec::new();
        let bits = self.layout.pte;
        let mut unmap = |linux: &Linux, cx: &mut Ctx<'_>, ptep: Ea, n: u64, ea: Ea| {
            for i in 0..n {
                linux.work(cx, Func::VunmapPteRange)?;
                let old =
                    linux.pte_clear(cx, Mm::INIT, ea + i * self.page_bytes(), ptep + i * 8)?;
                if collect && old & bits.present != 0 {
                    frames.push(bits.frame(old));
                }
            }
            Ok(Ok(()))
        };
        match self.policy.vmalloc_walk() {
            // The error is discarded, as in the patch: missing tables are allocated to be cleared.
            VmallocWalk::ApplyBatch => {
                let _ = self.apply_to_page_range_batch(cx, start, end, &mut unmap)?;
            }
            walk => {
                self.work(cx, Func::VunmapPageRange)?;
                let walk = Walk {
                    allocate: false,
                    lazy: walk == VmallocWalk::OpenCodedLazy,
                };
                let root = global::SWAPPER_PG_DIR;
                let _ =
                    self.walk_kernel_tables(cx, walk, PGD_LEVEL, root, (start, end), &mut unmap)?;
            }
        }
        Ok(frames)
    }

    /// Open-coded loops over [start, end) below `table`. Where tables are allocated, errors become -ENOMEM
    /// on the way up, as in vmap_page_range_noflush.
    fn walk_kernel_tables(
        &self,
        cx: &mut Ctx<'_>,
        walk: Walk,
        level: usize,
        table: Ea,
        (start, end): (Ea, Ea),
        f: BatchFn<'_>,
    ) -> Kernel<()> {
        let mut ea = start;
        while ea < end {
            let next = self.addr_end(ea, end, level);
            let entry = self.entry(table, ea, level);
            let below = if walk.allocate {
                match self.table_alloc(cx, Mm::INIT, entry, level)? {
                    Ok(below) => Some(below),
                    Err(_) => return Ok(Err(Errno::NoMemory)),
                }
            } else {
                self.table_below(cx, entry, level, "vunmap_page_range: table")?
            };
            if let Some(below) = below {
                let result = if level == 1 {
                    self.leaf_section(cx, below, ea, next, walk.lazy, f)?
                } else {
                    self.walk_kernel_tables(cx, walk, level - 1, below, (ea, next), f)?
                };
                match result {
                    Err(_) if walk.allocate => return Ok(Err(Errno::NoMemory)),
                    Err(_) => return Ok(result),
                    Ok(()) => {}
                }
            }
            ea = next;
        }
        Ok(Ok(()))
    }

    /// One PTE table of an open-coded loop, in a lazy section if the kernel has one there.
    fn leaf_section(
        &self,
        cx: &mut Ctx<'_>,
        table: Ea,
        start: Ea,
        end: Ea,
        lazy: bool,
        f: BatchFn<'_>,
    ) -> Kernel<()> {
        self.policy.kernel_loop_begin(self, cx)?;
        if lazy {
            self.lazy_mmu_enter(cx, Mm::INIT)?;
        }
        let n = (end.get() - start.get()) / self.page_bytes();
        let result = f(self, cx, self.entry(table, start, 0), n, start)?;
        match (lazy, result) {
            (true, Ok(())) => self.lazy_mmu_leave(cx, Mm::INIT)?,
            (true, Err(_)) => self.policy.mapping_failed(self, cx)?,
            (false, _) => {}
        }
        self.policy.kernel_loop_end(self, cx)?;
        Ok(result)
    }
}
