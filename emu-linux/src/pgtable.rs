//! Linux page tables of init_mm in guest memory: walk, allocation of missing tables, and the atomic
//! update of a PTE.
//!
//! Owns PTEs. Refuses the hash table: what a changed PTE means to it is `tlb_hash`'s business.

use crate::functions::Func;
use crate::kernel::{Kernel, Linux};
use crate::kernel_path::{PAGE_TABLE_WALK, PTE_WRITE};
use crate::layout::Layout;
use crate::memmap::{field, global};
use crate::mm::Mm;
use crate::mutation::Mutation;
use crate::tracepoint::Tracepoint;
use emu_core::{Ctx, Run};
use emu_mmu::{Barrier, Ea, GuestMemory};

/// Level of the table of PTEs.
pub(crate) const PTE_LEVEL: usize = 0;
/// Level of the root table.
pub(crate) const PGD_LEVEL: usize = 3;

/// What of an address is looked up at a level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableLevel {
    /// log2 of the bytes that an entry maps.
    shift: u32,
    /// Entries of a table, less one.
    index_mask: u64,
}

impl TableLevel {
    /// A level of a kernel's tables.
    pub fn of(layout: &Layout, level: usize) -> Self {
        TableLevel {
            shift: layout.level_shift(level),
            index_mask: (1 << layout.index_bits[level]) - 1,
        }
    }

    /// Bytes that an entry maps.
    #[inline]
    pub const fn span(self) -> u64 {
        1 << self.shift
    }
}

const WALK_STEPS: [&str; 4] = ["walk: pte", "walk: pmd", "walk: pud", "walk: pgd"];

impl Linux {
    /// Address of the entry for `ea` in the table at `level`, or `None` where a table is missing. Takes
    /// no lock.
    pub(crate) fn find_entry(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        ea: Ea,
        level: usize,
    ) -> Run<Option<Ea>> {
        cx.in_path(PAGE_TABLE_WALK, |cx| {
            self.work(cx, Func::WalkPageTable)?;
            let mut table = self.pgd(cx, mm)?;
            for above in (level + 1..=PGD_LEVEL).rev() {
                let entry = self.entry(table, ea, above);
                match self.table_below(cx, entry, above, WALK_STEPS[above])? {
                    Some(below) => table = below,
                    None => return Ok(None),
                }
            }
            Ok(Some(self.entry(table, ea, level)))
        })
    }

    /// The table that an entry at `level` points to, if it exists. A folded level has none of its own: the
    /// entry stands for its one entry.
    #[inline(always)]
    pub(crate) fn table_below(
        &self,
        cx: &mut Ctx<'_>,
        entry: Ea,
        level: usize,
        step: &'static str,
    ) -> Run<Option<Ea>> {
        if self.layout.is_folded(level - 1) {
            return Ok(Some(entry));
        }
        let below = cx.load_u64(entry, step)?;
        Ok((below != 0).then_some(Ea::new(below)))
    }

    /// Address of the PTE for `ea`, if its table exists (find_linux_pte).
    pub(crate) fn find_pte(&self, cx: &mut Ctx<'_>, mm: Mm, ea: Ea) -> Run<Option<Ea>> {
        self.find_entry(cx, mm, ea, PTE_LEVEL)
    }

    #[inline(always)]
    pub(crate) fn entry(&self, table: Ea, ea: Ea, level: usize) -> Ea {
        let TableLevel { shift, index_mask } = self.levels[level];
        field(table, (ea.get() >> shift & index_mask) * 8)
    }

    /// The table below `entry`, which is one at `level`, allocated if missing (pud_alloc, pmd_alloc, pte_alloc_kernel): allocate,
    /// which may sleep; write barrier; populate under the mm's page_table_lock if still empty; free the
    /// spare.
    pub(crate) fn table_alloc(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        entry: Ea,
        level: usize,
    ) -> Kernel<Ea> {
        let below = level - 1;
        if self.layout.is_folded(below) {
            return Ok(Ok(entry));
        }
        let present = cx.load_u64(entry, "pte_alloc_kernel: populated?")?;
        if present != 0 {
            return Ok(Ok(Ea::new(present)));
        }
        let fresh = match self.alloc_table(cx, below)? {
            Ok(fresh) => fresh,
            Err(errno) => return Ok(Err(errno)),
        };
        cx.barrier(Barrier::Lwsync, "pte_alloc_kernel: smp_wmb")?;
        self.spin_lock(cx, mm.page_table_lock())?;
        let mut table = cx.load_u64(entry, "pte_alloc_kernel: populated?")?;
        let lost_race = table != 0;
        if !lost_race {
            table = fresh.get();
            cx.store_u64(entry, table, "pte_alloc_kernel: populate")?;
        }
        self.spin_unlock(cx, mm.page_table_lock())?;
        if lost_race {
            self.free_table(cx, fresh, below)?;
        }
        Ok(Ok(Ea::new(table)))
    }

    /// set_pte_at(): a plain store, hash bits stripped. It never flushes.
    pub(crate) fn set_pte_at(&self, cx: &mut Ctx<'_>, ptep: Ea, pte: u64) -> Run<()> {
        let bits = &self.layout.pte;
        let frame = bits.frame(pte);
        self.trace(
            cx,
            Tracepoint::PteSet {
                pte: ptep.get(),
                frame: frame.get(),
            },
        );
        cx.in_path(PTE_WRITE, |cx| {
            self.work(cx, Func::SetPte)?;
            cx.store_u64(ptep, pte & !bits.hpteflags(), "set_pte_at: store")
        })?;
        self.count(&self.counters.ptes_set);
        Ok(())
    }

    /// pte_update(): clears bits of a PTE, waiting while it is busy, then lets the old translation be
    /// flushed or queued. Gives the old PTE.
    pub(crate) fn pte_update(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        ea: Ea,
        ptep: Ea,
        clear: u64,
    ) -> Run<u64> {
        let bits = self.layout.pte;
        let kept = match self.mutated(Mutation::KeepPresent) {
            true => !bits.hpteflags(),
            false => 0,
        };
        let old = self.pte_change(cx, ptep, clear & !kept, 0)?;
        if old & bits.present != 0 && clear & bits.present != 0 {
            self.count(&self.counters.ptes_cleared);
            self.trace(cx, Tracepoint::PteCleared { pte: ptep.get() });
        }
        if old & bits.hashpte != 0 {
            self.hpte_need_flush(cx, mm, ea, ptep, old)?;
        }
        Ok(old)
    }

    /// pte_update() that clears some bits and sets others in one step (6.1). To set what was read before is to
    /// bring back what may have changed since.
    pub(crate) fn pte_clear_and_set(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        (ea, ptep): (Ea, Ea),
        clear: u64,
        set: u64,
    ) -> Run<()> {
        let old = self.pte_change(cx, ptep, clear, set)?;
        if old & self.layout.pte.hashpte != 0 {
            self.hpte_need_flush(cx, mm, ea, ptep, old)?;
        }
        Ok(())
    }

    /// pte_clear() and ptep_get_and_clear(): every bit.
    pub(crate) fn pte_clear(&self, cx: &mut Ctx<'_>, mm: Mm, ea: Ea, ptep: Ea) -> Run<u64> {
        self.pte_update(cx, mm, ea, ptep, u64::MAX)
    }

    /// __ptep_set_access_flags(): sets bits, never flushes.
    pub(crate) fn pte_set_bits(&self, cx: &mut Ctx<'_>, ptep: Ea, set: u64) -> Run<()> {
        self.pte_change(cx, ptep, 0, set).map(|_| ())
    }

    fn pte_change(&self, cx: &mut Ctx<'_>, ptep: Ea, clear: u64, set: u64) -> Run<u64> {
        cx.in_path(PTE_WRITE, |cx| {
            self.work(cx, Func::PteUpdate)?;
            loop {
                let busy = self.layout.pte.busy;
                let steps = ["pte_update: ldarx", "pte_update: stdcx."];
                let change = |old| (old & busy == 0).then_some((old & !clear) | set);
                let (old, changed) = cx.exchange_u64(ptep, steps, change)?;
                if changed {
                    return Ok(old);
                }
                if old & busy != 0 {
                    cx.spin("pte_update: busy")?;
                }
            }
        })
    }

    /// True if a present PTE maps the address; looks without verbs, for whoever drives the model.
    pub(crate) fn is_mapped(&self, cx: &Ctx<'_>, ea: Ea) -> bool {
        let pte = self.peek_pte(cx.machine().memory(), ea).unwrap_or(0);
        self.layout.is_vmalloc(ea) && pte & self.layout.pte.present != 0
    }

    /// The PTE of a kernel address, if its table exists; reads memory without verbs.
    pub(crate) fn peek_pte(&self, memory: &GuestMemory, ea: Ea) -> Option<u64> {
        let load = |at: Ea| memory.load_u64(crate::layout::pa(at)).unwrap_or(0);
        let mut table = global::SWAPPER_PG_DIR;
        for level in (1..=PGD_LEVEL).rev() {
            let entry = self.entry(table, ea, level);
            if self.layout.is_folded(level - 1) {
                table = entry;
                continue;
            }
            table = match load(entry) {
                0 => return None,
                next => Ea::new(next),
            };
        }
        Some(load(self.entry(table, ea, PTE_LEVEL)))
    }
}
