//! User address spaces: their life, what switching to one does to the SLB, and reference counts of
//! their frames.
//!
//! Owns mm_struct. Its page tables are updated under its page_table_lock by `fault` and `update`; hash
//! faults on it take no lock, as on kernel addresses.

mod fault;
mod update;

use crate::functions::Func;
use crate::injection::AllocKind;
use crate::kernel::{Errno, Kernel, Linux};
use crate::layout::va;
use crate::memmap::{MEM_MAP, field, global, mm as mm_struct, pcpu, percpu, task};
use crate::mm::Mm;
use crate::pgtable::PGD_LEVEL;
use emu_core::{Ctx, Run};
use emu_mmu::{Ea, Ra};

/// First address of the area that user tasks work in.
pub const USER_START: u64 = 0x1000_0000;
/// Pages of that area.
pub const USER_PAGES: u64 = 512;

/// ESIDs that the SLB cache of a CPU remembers (SLB_CACHE_ENTRIES).
const SLB_CACHE_ENTRIES: u64 = 8;

impl Linux {
    /// mm_alloc(): an empty address space with a context of its own and one user.
    pub fn mm_alloc(&self, cx: &mut Ctx<'_>) -> Kernel<Mm> {
        self.work(cx, Func::MmAlloc)?;
        let address = match self.kmalloc(cx, mm_struct::BYTES, AllocKind::MmStruct)? {
            Ok(address) => address,
            Err(errno) => return Ok(Err(errno)),
        };
        let pgd = match self.alloc_table(cx, PGD_LEVEL)? {
            Ok(pgd) => pgd,
            Err(errno) => {
                self.kfree(cx, address, mm_struct::BYTES)?;
                return Ok(Err(errno));
            }
        };
        self.spin_lock(cx, global::MM_CONTEXT_LOCK)?;
        let context = cx.load_u64(global::NEXT_CONTEXT, "init_new_context")?;
        cx.store_u64(global::NEXT_CONTEXT, context + 1, "init_new_context")?;
        self.spin_unlock(cx, global::MM_CONTEXT_LOCK)?;
        let fields = [
            (mm_struct::PGD, pgd.get()),
            (mm_struct::PAGE_TABLE_LOCK, 0),
            (mm_struct::CPUMASK, 0),
            (mm_struct::CONTEXT, context),
            (mm_struct::USERS, 1),
            (mm_struct::MMAP_SEM, 0),
        ];
        for (offset, value) in fields {
            cx.store_u64(field(address, offset), value, "mm_init")?;
        }
        Ok(Ok(Mm::at(address)))
    }

    /// Another task uses the address space (a thread).
    pub fn mm_get(&self, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        self.atomic_add(cx, field(mm.address(), mm_struct::USERS), 1, "mm_users")
            .map(|_| ())
    }

    /// mmput(): the last user unmaps everything and frees the page tables.
    pub fn mmput(&self, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        let users = field(mm.address(), mm_struct::USERS);
        if self.atomic_add(cx, users, u64::MAX, "mmput")? != 0 {
            return Ok(());
        }
        self.munmap(cx, mm, Ea::new(USER_START), USER_PAGES)?;
        let pgd = self.pgd(cx, mm)?;
        self.free_tables(cx, pgd, PGD_LEVEL)?;
        self.kfree(cx, mm.address(), mm_struct::BYTES)
    }

    /// free_pgtables(): a table and all below it.
    fn free_tables(&self, cx: &mut Ctx<'_>, table: Ea, level: usize) -> Run<()> {
        if level > 0 {
            for i in 0..1u64 << self.layout.index_bits[level] {
                let entry = field(table, i * 8);
                if let Some(below) = self.table_below(cx, entry, level, "free_pgd_range")? {
                    self.free_tables(cx, below, level - 1)?;
                }
            }
        }
        if self.layout.is_folded(level) {
            return Ok(());
        }
        self.free_table(cx, table, level)
    }

    /// Adds to a doubleword atomically and gives the sum.
    pub(crate) fn atomic_add(
        &self,
        cx: &mut Ctx<'_>,
        at: Ea,
        n: u64,
        step: &'static str,
    ) -> Run<u64> {
        loop {
            let sum = cx.load_reserve(at, step)?.wrapping_add(n);
            if cx.store_conditional(at, sum, step)? {
                return Ok(sum);
            }
        }
    }

    /// The address space of the running task, if it has one.
    pub fn current_mm(&self, cx: &mut Ctx<'_>) -> Run<Option<Mm>> {
        let mm = cx.load_u64(field(self.current(cx), task::MM), "current->mm")?;
        Ok((mm != 0).then_some(Mm::at(Ea::new(mm))))
    }

    /// switch_mm() in context_switch: nothing for a task without address space (it borrows the last one)
    /// or with the same; else the SLB loses the old one's segments. Interrupts are off.
    pub(crate) fn switch_mm(&self, cx: &mut Ctx<'_>, next: Ea) -> Run<()> {
        let mm = cx.load_u64(field(next, task::MM), "switch_mm: next->mm")?;
        if mm == 0 {
            return Ok(());
        }
        let mm = Mm::at(Ea::new(mm));
        let cpu = cx.read_cpu_id("switch_mm: cpu")?;
        let context = cx.load_u64(
            field(mm.address(), mm_struct::CONTEXT),
            "switch_mm: context",
        )?;
        let paca = field(percpu(cpu.0), pcpu::PACA_CONTEXT);
        self.cpumask_set(cx, mm, cpu.0)?;
        if cx.load_u64(paca, "switch_mm: paca context")? == context {
            return Ok(());
        }
        self.switch_slb(cx, percpu(cpu.0))?;
        cx.store_u64(paca, context, "switch_slb: paca context")
    }

    fn cpumask_set(&self, cx: &mut Ctx<'_>, mm: Mm, cpu: u16) -> Run<()> {
        loop {
            let mask = cx.load_reserve(mm.cpumask(), "switch_mm: cpumask")?;
            let set = mask | (1 << cpu);
            if set == mask || cx.store_conditional(mm.cpumask(), set, "switch_mm: cpumask")? {
                return Ok(());
            }
        }
    }

    /// switch_slb(): slbie of each user segment that the cache remembers, or slbia and bolt again if it
    /// does not remember them all. The preload of likely segments is left out: tasks here have no
    /// program counter.
    fn switch_slb(&self, cx: &mut Ctx<'_>, area: Ea) -> Run<()> {
        self.work(cx, Func::SwitchSlb)?;
        let count = cx.load_u64(field(area, pcpu::SLB_CACHE_COUNT), "switch_slb: cache")?;
        if count <= SLB_CACHE_ENTRIES {
            for i in 0..count {
                let at = field(area, pcpu::SLB_CACHE + i * 8);
                let ea = Ea::new(cx.load_u64(at, "switch_slb: cached esid")?);
                cx.slbie(ea, true, self.user_segment(ea))?;
            }
        } else {
            cx.slbia(0)?;
            if self.layout.vmalloc_segment_bolted {
                self.slbmte_kernel(cx, Ea::new(self.layout.vmalloc_start), 1)?;
            }
        }
        cx.store_u64(field(area, pcpu::SLB_CACHE_COUNT), 0, "switch_slb: cache")
    }

    /// An SLB miss on a user address: the context is the copy in the per-CPU area. Real mode.
    pub(crate) fn slb_miss_user(&self, cx: &mut Ctx<'_>, ea: Ea, slot: u64) -> Run<()> {
        let area = percpu(cx.cpu_id().0);
        let real = |offset| crate::layout::pa(field(area, offset));
        let context = cx.load_real_u64(real(pcpu::PACA_CONTEXT), "slb_miss: paca context")?;
        let segment = self.user_segment(ea);
        let entry = emu_mmu::SlbEntry {
            esid: ea.esid(segment),
            vsid: self.layout.user_vsid(context, ea, segment),
            segment,
            ks: true,
            kp: true,
            n: false,
            class: true,
            page: self.hpte_page,
            valid: true,
        };
        let count = cx.load_real_u64(real(pcpu::SLB_CACHE_COUNT), "slb_miss: cache")?;
        if count < SLB_CACHE_ENTRIES {
            let start = ea.get() & !((1 << segment.shift()) - 1);
            cx.store_real_u64(real(pcpu::SLB_CACHE + count * 8), start, "slb_miss: cache")?;
            cx.store_real_u64(real(pcpu::SLB_CACHE_COUNT), count + 1, "slb_miss: cache")?;
        } else {
            let useless = SLB_CACHE_ENTRIES + 1;
            cx.store_real_u64(real(pcpu::SLB_CACHE_COUNT), useless, "slb_miss: cache")?;
        }
        cx.slbmte(entry.rs(), entry.rb(slot))
    }

    fn page_count(&self, frame: Ra) -> Ea {
        va(Ra::new(
            MEM_MAP + (frame.get() >> self.layout.page_shift()) * 8,
        ))
    }

    /// A user frame, zeroed, with one reference.
    pub(crate) fn alloc_user_page(&self, cx: &mut Ctx<'_>) -> Kernel<Ra> {
        let frame = match self.alloc_page(cx)? {
            Ok(frame) => frame,
            Err(errno) => return Ok(Err(errno)),
        };
        for line in (0..self.page_bytes()).step_by(128) {
            cx.dcbz(field(va(frame), line), "clear_user_page: dcbz")?;
        }
        cx.store_u64(self.page_count(frame), 1, "page_count")?;
        Ok(Ok(frame))
    }

    /// get_page().
    pub(crate) fn get_page(&self, cx: &mut Ctx<'_>, frame: Ra) -> Run<()> {
        self.atomic_add(cx, self.page_count(frame), 1, "get_page")
            .map(|_| ())
    }

    /// put_page(): frees the frame with its last reference.
    pub(crate) fn put_page(&self, cx: &mut Ctx<'_>, frame: Ra) -> Run<()> {
        match self.atomic_add(cx, self.page_count(frame), u64::MAX, "put_page")? {
            0 => self.free_page(cx, frame),
            _ => Ok(()),
        }
    }

    /// References to a frame.
    pub(crate) fn page_references(&self, cx: &mut Ctx<'_>, frame: Ra) -> Run<u64> {
        cx.load_u64(self.page_count(frame), "page_count")
    }

    /// down_write(mmap_sem): sleeps by giving way until it is free.
    pub(crate) fn mmap_lock(&self, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        let sem = field(mm.address(), mm_struct::MMAP_SEM);
        loop {
            if cx.load_reserve(sem, "mmap_sem")? == 0 && cx.store_conditional(sem, 1, "mmap_sem")? {
                return Ok(());
            }
            self.schedule(cx)?;
        }
    }

    /// up_write(mmap_sem).
    pub(crate) fn mmap_unlock(&self, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        cx.barrier(emu_mmu::Barrier::Lwsync, "mmap_sem: release")?;
        cx.store_u64(field(mm.address(), mm_struct::MMAP_SEM), 0, "mmap_sem")
    }

    /// True for an address that user tasks may have mapped.
    pub(crate) fn is_user(&self, ea: Ea) -> bool {
        (USER_START..USER_START + USER_PAGES * self.page_bytes()).contains(&ea.get())
    }

    /// The PTE for a user address, its tables allocated.
    pub(crate) fn user_pte_alloc(&self, cx: &mut Ctx<'_>, mm: Mm, ea: Ea) -> Kernel<Ea> {
        let mut table = self.pgd(cx, mm)?;
        for level in (1..=PGD_LEVEL).rev() {
            let entry = self.entry(table, ea, level);
            table = match self.table_alloc(cx, mm, entry, level)? {
                Ok(below) => below,
                Err(errno) => return Ok(Err::<Ea, Errno>(errno)),
            };
        }
        Ok(Ok(self.entry(table, ea, 0)))
    }
}
