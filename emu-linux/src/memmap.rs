//! Where the modelled kernel keeps its data in guest memory.
//!
//! Owns addresses and field offsets only. Everything that CPUs or tasks share has a place here: per-CPU
//! areas with the flush batch in them, run queues, locks, list heads. All fields are doublewords.

use crate::config::Pages;
use crate::layout::PAGE_OFFSET;
use emu_mmu::Ea;

/// Bytes of RAM before the hash table: what the kernel's rule for the table size counts.
pub const RAM_BYTES: u64 = 2 << 30;
/// Bytes of a task's stack, with its task_struct at the low end.
pub const STACK_BYTES: u64 = 16 << 10;

const fn kernel(ra: u64) -> Ea {
    Ea::new(PAGE_OFFSET | ra)
}

/// Real address of the reference counts of frames (mem_map), a doubleword each.
pub const MEM_MAP: u64 = 0x0200_0000;

/// Kernel globals.
pub mod global {
    use super::{Ea, kernel};

    const BASE: u64 = 0x0140_0000;
    /// swapper_pg_dir: the root of init_mm's page table.
    pub const SWAPPER_PG_DIR: Ea = kernel(BASE);
    /// init_mm: an mm_struct.
    pub const INIT_MM: Ea = kernel(BASE + 0x2080);
    /// native_tlbie_lock.
    pub const NATIVE_TLBIE_LOCK: Ea = kernel(BASE + 0x2180);
    /// pSeries_lpar_tlbie_lock.
    pub const PSERIES_LPAR_TLBIE_LOCK: Ea = kernel(BASE + 0x2188);
    /// zone->lock.
    pub const ZONE_LOCK: Ea = kernel(BASE + 0x2200);
    /// First free page of the zone's list, 0 if none.
    pub const ZONE_FREE: Ea = kernel(BASE + 0x2208);
    /// Real address of the next page never used.
    pub const ZONE_NEXT: Ea = kernel(BASE + 0x2210);
    /// Address of the next slab byte never used.
    pub const SLAB_NEXT: Ea = kernel(BASE + 0x2218);
    /// vmap_area_lock.
    pub const VMAP_AREA_LOCK: Ea = kernel(BASE + 0x2280);
    /// Area with the lowest address, 0 if none.
    pub const VMAP_AREA_FIRST: Ea = kernel(BASE + 0x2288);
    /// Area where the next search starts (free_vmap_cache), 0 if none.
    pub const VMAP_CACHE: Ea = kernel(BASE + 0x2290);
    /// Largest hole below it that a search passed over, in bytes (cached_hole_size).
    pub const VMAP_CACHED_HOLE: Ea = kernel(BASE + 0x2298);
    /// Pages in areas that are unmapped but not purged (vmap_lazy_nr).
    pub const VMAP_LAZY_NR: Ea = kernel(BASE + 0x22a0);
    /// 1024 heads of the hash of areas by start address.
    pub const VMAP_HASH: Ea = kernel(BASE + 0x4000);
    /// Number of tasks that have not exited.
    pub const NR_TASKS: Ea = kernel(BASE + 0x2300);
    /// system_state: 1 when RUNNING.
    pub const SYSTEM_STATE: Ea = kernel(BASE + 0x2308);
    /// Lock of the context allocator.
    pub const MM_CONTEXT_LOCK: Ea = kernel(BASE + 0x2338);
    /// Next context number.
    pub const NEXT_CONTEXT: Ea = kernel(BASE + 0x2340);
    /// Number of CPUs that have an idle task.
    pub const NR_ONLINE: Ea = kernel(BASE + 0x2330);
    /// Next pid.
    pub const NEXT_PID: Ea = kernel(BASE + 0x2310);
    /// Address of the next stack never used.
    pub const STACK_NEXT: Ea = kernel(BASE + 0x2318);
    /// First freed stack, 0 if none.
    pub const STACK_FREE: Ea = kernel(BASE + 0x2320);
    /// tasklist_lock.
    pub const TASKLIST_LOCK: Ea = kernel(BASE + 0x2328);
    /// A page-table lock of kernel tables that sleeps (policy `rt`).
    pub const SLEEPING_PTL: Ea = kernel(BASE + 0x2380);
}

/// Buckets of [`global::VMAP_HASH`].
pub const VMAP_HASH_BUCKETS: u64 = 1024;

/// First byte of slab memory.
pub const SLAB_START: u64 = 0x0800_0000;
/// First byte after slab memory.
pub const SLAB_END: u64 = 0x1000_0000;
/// First of the stacks handed out to tasks that name no place of their own.
pub const STACKS_START: u64 = 0x1000_0000;
/// First byte after them.
pub const STACKS_END: u64 = 0x2000_0000;
/// Real address of the registers of the only device, which the model keeps in memory.
pub const DEVICE_START: u64 = 0x2e00_0000;
/// Bytes of its registers.
pub const DEVICE_BYTES: u64 = PAGES_START - DEVICE_START;
/// Real address of the first page of the page allocator.
pub const PAGES_START: u64 = 0x3000_0000;
/// First real address after its last page.
pub const PAGES_END: u64 = RAM_BYTES;

const PERCPU_BASE: u64 = 0x0100_0000;
const PERCPU_STRIDE: u64 = 64 << 10;

/// Start of a CPU's per-CPU area.
pub const fn percpu(cpu: u16) -> Ea {
    kernel(PERCPU_BASE + cpu as u64 * PERCPU_STRIDE)
}

/// True for a real address in the per-CPU areas.
pub(crate) const fn is_percpu(ra: u64) -> bool {
    ra >= PERCPU_BASE && ra < PERCPU_BASE + 64 * PERCPU_STRIDE
}

/// The CPU whose per-CPU area holds `address`.
pub const fn percpu_owner(address: Ea) -> u16 {
    ((address.get() & !PAGE_OFFSET).wrapping_sub(PERCPU_BASE) / PERCPU_STRIDE) as u16
}

/// Offsets in a per-CPU area.
pub mod pcpu {
    /// The flush batch (ppc64_tlb_batch) of the kernel's own size or a smaller one.
    const TLB_BATCH: u64 = 0;
    /// A larger one, for which there is no room between the kernel's variables.
    const TLB_BATCH_LARGE: u64 = 0x8000;

    /// The flush batch (ppc64_tlb_batch), if it holds `entries`.
    pub const fn tlb_batch(entries: u64) -> u64 {
        match entries > super::batch::ENTRIES {
            true => TLB_BATCH_LARGE,
            false => TLB_BATCH,
        }
    }

    /// Run queue: lock.
    pub const RQ_LOCK: u64 = 0x2000;
    /// Run queue: first waiting task, 0 if none.
    pub const RQ_HEAD: u64 = 0x2008;
    /// Run queue: last waiting task, 0 if none.
    pub const RQ_TAIL: u64 = 0x2010;
    /// Run queue: number of waiting tasks.
    pub const RQ_WAITING: u64 = 0x2018;
    /// Run queue: running task.
    pub const RQ_CURR: u64 = 0x2020;
    /// Run queue: idle task.
    pub const RQ_IDLE: u64 = 0x2028;
    /// Ticks since boot.
    pub const TICKS: u64 = 0x2030;
    /// Run queue: exited task whose stack is still to be freed, 0 if none.
    pub const RQ_DEAD: u64 = 0x2038;
    /// Run queue: task that asked to be moved to another CPU, 0 if none.
    pub const RQ_MOVING: u64 = 0x2040;
    /// Run queue: task that was switched out to go on elsewhere, 0 if none.
    pub const RQ_PUSHING: u64 = 0x2048;
    /// Lock of this CPU's lists (PREEMPT_RT).
    pub const LOCAL_LOCK: u64 = 0x2060;
    /// First free page of this CPU's list, 0 if none.
    pub const PCP_FREE: u64 = 0x2080;
    /// Pages on it.
    pub const PCP_COUNT: u64 = 0x2088;
    /// First free object of each slab class.
    pub const SLAB_FREE: u64 = 0x2100;
    /// Next SLB slot to use, less one (stab_rr).
    pub const STAB_RR: u64 = 0x2180;
    /// Context number of the address space whose segments the SLB may hold.
    pub const PACA_CONTEXT: u64 = 0x2188;
    /// Segments in the SLB cache; above 8 the cache is useless.
    pub const SLB_CACHE_COUNT: u64 = 0x2190;
    /// User segments put into the SLB since the last switch.
    pub const SLB_CACHE: u64 = 0x2198;
    /// First vmap block with room (vmap_block_queue), 0 if none.
    pub const VMAP_BLOCKS: u64 = 0x2200;
    /// Lock of that queue.
    pub const VMAP_BLOCK_LOCK: u64 = 0x2208;
    /// The idle task.
    pub const IDLE_TASK: u64 = 0x4000;
}

/// Offsets in a flush batch (struct ppc64_tlb_batch).
pub mod batch {
    use crate::config::Pages;

    /// Set between enter and leave.
    pub const ACTIVE: u64 = 0;
    /// Number of queued entries.
    pub const INDEX: u64 = 8;
    /// Owner of all queued entries.
    pub const MM: u64 = 16;
    /// Page size, as log2 of bytes.
    pub const PSIZE: u64 = 24;
    /// Segment size, as log2 of bytes.
    pub const SSIZE: u64 = 32;
    /// Old PTEs; with 64K pages each followed by its slots.
    const PTE: u64 = 64;
    /// Entries of the kernel's own batch (PPC64_TLB_BATCH_NR).
    pub const ENTRIES: u64 = 192;
    /// Most entries that a batch can be given.
    pub const ENTRIES_MAX: u64 = 512;

    /// Bytes of an old PTE (real_pte_t): 8, or 16 with 64K pages.
    const fn real_pte_bytes(pages: Pages) -> u64 {
        match pages {
            Pages::K4 => 8,
            Pages::K64 => 16,
        }
    }

    /// The old PTE of entry `i`.
    pub const fn pte(pages: Pages, i: u64) -> u64 {
        PTE + i * real_pte_bytes(pages)
    }

    /// The slots of entry `i` of a kernel with 64K pages.
    pub const fn slots(i: u64) -> u64 {
        pte(Pages::K64, i) + 8
    }

    /// The virtual page number of entry `i` of a batch that holds `entries`.
    pub const fn vpn(pages: Pages, entries: u64, i: u64) -> u64 {
        pte(pages, entries) + i * 8
    }

    /// Bytes of a batch that holds `entries`. The kernel's own is 32 smaller: its header is packed.
    pub const fn bytes(pages: Pages, entries: u64) -> u64 {
        vpn(pages, entries, entries)
    }
}

/// Offsets in an mm_struct.
pub mod mm {
    /// Root of the page table.
    pub const PGD: u64 = 0;
    /// page_table_lock.
    pub const PAGE_TABLE_LOCK: u64 = 8;
    /// CPUs that it has run on since its translations were last flushed everywhere.
    pub const CPUMASK: u64 = 16;
    /// Context number, from which its VSIDs are made.
    pub const CONTEXT: u64 = 24;
    /// Tasks that use it.
    pub const USERS: u64 = 32;
    /// mmap_sem, as an exclusive sleeping lock.
    pub const MMAP_SEM: u64 = 40;
    /// Bytes of an mm_struct.
    pub const BYTES: u64 = 128;
}

/// Offsets in a task (thread_info and task_struct in one), at the low end of its stack.
pub mod task {
    /// preempt_count.
    pub const PREEMPT_COUNT: u64 = 0;
    /// Thread flags.
    pub const FLAGS: u64 = 8;
    /// local_flags of the architecture. copy_process clears the whole doubleword.
    pub const LOCAL_FLAGS: u64 = 16;
    /// lazy_mmu_state of 7.0: enable_count, a byte of that doubleword.
    pub const LAZY_ENABLE_COUNT: u64 = 16;
    /// lazy_mmu_state of 7.0: pause_count, the byte after it.
    pub const LAZY_PAUSE_COUNT: u64 = 17;
    /// State: [`super::STATE_RUNNING`], [`super::STATE_SLEEPING`], [`super::STATE_DEAD`].
    pub const STATE: u64 = 24;
    /// CPU it runs or last ran on.
    pub const CPU: u64 = 32;
    /// Mask of the CPUs it may run on.
    pub const CPUS_ALLOWED: u64 = 40;
    /// 1 while it runs or waits in a run queue.
    pub const ON_RQ: u64 = 48;
    /// Next task in the run queue.
    pub const NEXT: u64 = 56;
    /// Its guest context.
    pub const CONTEXT: u64 = 64;
    /// Process id.
    pub const PID: u64 = 72;
    /// Ticks left of its slice.
    pub const TIME_SLICE: u64 = 80;
    /// CPU it ran on before the last switch, for counting migrations.
    pub const LAST_CPU: u64 = 88;
    /// Name, 16 bytes.
    pub const COMM: u64 = 96;
    /// Its address space, 0 for a kernel thread.
    pub const MM: u64 = 120;
    /// CPU that it asked to be moved to.
    pub const MOVE_TO: u64 = 112;
    /// CPU, plus one, that a timer interrupt wants it moved to; 0 if none does.
    pub const PUSH_TO: u64 = 128;
    /// How often it has disabled migration (PREEMPT_RT).
    pub const MIGRATION_DISABLED: u64 = 136;
}

/// The task runs or may run.
pub const STATE_RUNNING: u64 = 0;
/// The task waits for somebody to wake it.
pub const STATE_SLEEPING: u64 = 1;
/// The task has exited.
pub const STATE_DEAD: u64 = 64;
/// Thread flag: the scheduler is to run at the next chance.
pub const TIF_NEED_RESCHED: u64 = 1;

/// Local flag: the task was switched out inside a lazy section (TLF_LAZY_MMU, bit 3; 3.0 to 6.19).
pub const TLF_LAZY_MMU: u64 = 1 << 3;

/// Offsets in an area (struct vmap_area and vm_struct in one).
pub mod area {
    /// First address.
    pub const START: u64 = 0;
    /// First address after it, guard page included.
    pub const END: u64 = 8;
    /// 1 once unmapped and waiting for a purge (VM_LAZY_FREE).
    pub const LAZY: u64 = 16;
    /// Next area by address.
    pub const NEXT: u64 = 24;
    /// Previous area by address.
    pub const PREV: u64 = 32;
    /// Next area in the hash bucket.
    pub const HASH_NEXT: u64 = 40;
    /// Array of the frames' real addresses.
    pub const PAGES: u64 = 48;
    /// Frames in it.
    pub const NR_PAGES: u64 = 56;
    /// 1 if the array came from a nested vmalloc.
    pub const ARRAY_VMALLOCED: u64 = 64;
    /// The block that the area is; means nothing for other areas.
    pub const VMAP_BLOCK: u64 = 72;
    /// Bytes of an area object.
    pub const BYTES: u64 = 80;
}

/// Offsets in a vmap block (struct vmap_block).
pub mod vmap_block {
    /// Its lock.
    pub const LOCK: u64 = 0;
    /// Its area.
    pub const AREA: u64 = 8;
    /// Pages never given out.
    pub const FREE: u64 = 16;
    /// Pages given out and freed.
    pub const DIRTY: u64 = 24;
    /// Next block in the queue.
    pub const NEXT: u64 = 32;
    /// alloc_map of 2.6.38: a bit for each page given out.
    pub const MAP: u64 = 64;
    /// Bytes of a block object.
    pub const BYTES: u64 = MAP + 1024 / 8;
}

/// Kernel address `offset` bytes into the object at `base`.
#[inline]
pub const fn field(base: Ea, offset: u64) -> Ea {
    Ea::new(base.get() + offset)
}

const _: () = {
    let (own, most) = (batch::ENTRIES, batch::ENTRIES_MAX);
    assert!(batch::bytes(Pages::K64, own) == 4640 + 32);
    assert!(batch::bytes(Pages::K4, own) == 3104 + 32);
    assert!(batch::bytes(Pages::K64, own) <= pcpu::RQ_LOCK);
    assert!(pcpu::IDLE_TASK + STACK_BYTES <= pcpu::tlb_batch(most));
    assert!(pcpu::tlb_batch(most) + batch::bytes(Pages::K64, most) <= PERCPU_STRIDE);
};
const _: () = assert!(PERCPU_BASE + 64 * PERCPU_STRIDE <= 0x0140_0000);
const _: () = {
    let mut i = 0;
    while i < Pages::ALL.len() {
        let page = Pages::ALL[i].bytes();
        assert!(MEM_MAP + (RAM_BYTES / page) * 8 <= SLAB_START);
        assert!(PAGES_START.is_multiple_of(page));
        i += 1;
    }
};
