//! apply_to_page_range and apply_to_page_range_batch over kernel page tables (mm/memory.c).
//!
//! Owns the walk that allocates missing tables and calls a function on each PTE table, inside a lazy
//! section, under the policy's rule for init_mm. Refuses user address spaces.

use crate::functions::Func;
use crate::kernel::{Errno, Kernel, Linux};
use crate::memmap::global;
use crate::mm::Mm;
use crate::pgtable::PGD_LEVEL;
use emu_core::Ctx;
use emu_mmu::Ea;

/// The callback of the batch form: (first PTE of a table, number of PTEs, address of the first).
pub type BatchFn<'f> = &'f mut dyn FnMut(&Linux, &mut Ctx<'_>, Ea, u64, Ea) -> Kernel<()>;

/// The callback of the other forms: (PTE, its address).
pub type PteFn<'f> = &'f mut dyn FnMut(&Linux, &mut Ctx<'_>, Ea, Ea) -> Kernel<()>;

/// Names of the functions that walk the levels, from the PTE table up.
const LEVEL_FUNCTIONS: [(&str, Func); 4] = [
    ("apply_to_pte_range", Func::ApplyToPteRange),
    ("apply_to_pmd_range", Func::ApplyToPmdRange),
    ("apply_to_pud_range", Func::ApplyToPudRange),
    ("apply_to_page_range_batch", Func::ApplyToPageRange),
];

impl Linux {
    /// apply_to_page_range_batch(&init_mm, ...): calls `f` once for each PTE table between `start` and
    /// `end`. Stops at the first error; nothing is undone.
    pub fn apply_to_page_range_batch(
        &self,
        cx: &mut Ctx<'_>,
        start: Ea,
        end: Ea,
        f: BatchFn<'_>,
    ) -> Kernel<()> {
        let root = global::SWAPPER_PG_DIR;
        self.apply_to_level(cx, PGD_LEVEL, root, (start, end), true, f)
    }

    /// apply_to_page_range(&init_mm, ...): calls `f` once for each PTE. A wrapper of the batch form.
    pub fn apply_to_page_range(
        &self,
        cx: &mut Ctx<'_>,
        start: Ea,
        end: Ea,
        f: PteFn<'_>,
    ) -> Kernel<()> {
        self.apply_to_page_range_batch(cx, start, end, &mut |linux, cx, ptep, count, ea| {
            linux.apply_to_ptes(cx, (ptep, count, ea), false, f)
        })
    }

    /// The loop over the PTEs of one table; empty ones are passed over if asked. Stops at the first error.
    fn apply_to_ptes(
        &self,
        cx: &mut Ctx<'_>,
        (ptep, count, ea): (Ea, u64, Ea),
        existing: bool,
        f: PteFn<'_>,
    ) -> Kernel<()> {
        for i in 0..count {
            self.work(cx, Func::ApplyToPte)?;
            if existing && cx.load_u64(ptep + i * 8, "apply_to_pte_range: pte_none")? == 0 {
                continue;
            }
            let one = f(self, cx, ptep + i * 8, ea + i * self.page_bytes())?;
            if one.is_err() {
                return Ok(one);
            }
        }
        Ok(Ok(()))
    }

    /// apply_to_existing_page_range(&init_mm, ...): calls `f` once for each PTE that is not empty, and
    /// passes over missing tables. In lazy sections, as the other form.
    pub fn apply_to_existing_page_range(
        &self,
        cx: &mut Ctx<'_>,
        start: Ea,
        end: Ea,
        f: PteFn<'_>,
    ) -> Kernel<()> {
        let mut each = |linux: &Linux, cx: &mut Ctx<'_>, ptep: Ea, count: u64, ea: Ea| {
            linux.apply_to_ptes(cx, (ptep, count, ea), true, f)
        };
        let root = global::SWAPPER_PG_DIR;
        self.apply_to_level(cx, PGD_LEVEL, root, (start, end), false, &mut each)
    }

    /// The table below an entry at `level`: allocated if missing where the walk creates, else `None`.
    fn table_for_walk(
        &self,
        cx: &mut Ctx<'_>,
        entry: Ea,
        level: usize,
        create: bool,
    ) -> Kernel<Option<Ea>> {
        if create {
            return Ok(self.table_alloc(cx, Mm::INIT, entry, level)?.map(Some));
        }
        let step = "apply_to_page_range: table";
        Ok(Ok(self.table_below(cx, entry, level, step)?))
    }

    /// One level of the walk: each entry of `table` that the range touches.
    fn apply_to_level(
        &self,
        cx: &mut Ctx<'_>,
        level: usize,
        table: Ea,
        (start, end): (Ea, Ea),
        create: bool,
        f: BatchFn<'_>,
    ) -> Kernel<()> {
        let (name, function) = LEVEL_FUNCTIONS[level];
        cx.call(name, |cx| {
            let mut ea = start;
            while ea < end {
                self.work(cx, function)?;
                let next = self.addr_end(ea, end, level);
                let entry = self.entry(table, ea, level);
                let result = if level == 1 {
                    self.apply_to_pte_range(cx, entry, (ea, next), create, f)?
                } else {
                    match self.table_for_walk(cx, entry, level, create)? {
                        Ok(Some(below)) => {
                            self.apply_to_level(cx, level - 1, below, (ea, next), create, f)?
                        }
                        Ok(None) => Ok(()),
                        Err(errno) => Err(errno),
                    }
                };
                if result.is_err() {
                    return Ok(result);
                }
                ea = next;
            }
            Ok(Ok(()))
        })
    }

    /// The leaf: one PTE table, one lazy section.
    fn apply_to_pte_range(
        &self,
        cx: &mut Ctx<'_>,
        pmd: Ea,
        (start, end): (Ea, Ea),
        create: bool,
        f: BatchFn<'_>,
    ) -> Kernel<()> {
        cx.call("apply_to_pte_range", |cx| {
            self.work(cx, Func::ApplyToPteRange)?;
            let table = match self.table_for_walk(cx, pmd, 1, create)? {
                Ok(None) => return Ok(Ok(())),
                Ok(Some(table)) => Ok(table),
                Err(errno) => Err(errno),
            };
            self.policy.kernel_table_allocated(self, cx)?;
            let table = match table {
                Ok(table) => table,
                Err(errno) => return Ok(Err::<(), Errno>(errno)),
            };
            self.policy.kernel_section_begin(self, cx)?;
            self.lazy_mmu_enter(cx, Mm::INIT)?;
            let count = (end.get() - start.get()) / self.page_bytes();
            let result = f(self, cx, self.entry(table, start, 0), count, start)?;
            self.lazy_mmu_leave(cx, Mm::INIT)?;
            self.policy.kernel_section_end(self, cx)?;
            Ok(result)
        })
    }

    /// End of the part of [ea, end) that one entry at `level` maps (pgd_addr_end and friends).
    pub(crate) fn addr_end(&self, ea: Ea, end: Ea, level: usize) -> Ea {
        let span = self.levels[level].span();
        let boundary = (ea.get() | (span - 1)).wrapping_add(1);
        if boundary.wrapping_sub(1) < end.get().wrapping_sub(1) {
            Ea::new(boundary)
        } else {
            end
        }
    }
}
