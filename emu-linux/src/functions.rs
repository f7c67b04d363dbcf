//! The kernel functions whose straight-line instructions are charged as a lump.
//!
//! Owns the list and the look-up in the cost table (`[functions]`, instructions). Steps that matter to
//! the MMU are verbs of their own and are not in these lumps.

use emu_core::{CostTable, Lump};

macro_rules! functions {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// A modelled kernel function (or the body of one loop turn of it).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        #[expect(missing_docs, reason = "each variant is the kernel function of that name")]
        pub enum Func { $($variant),* }

        const NAMES: &[(Func, &str)] = &[$((Func::$variant, $name)),*];
    };
}

functions! {
    ApplyToPageRange = "apply_to_page_range",
    ApplyToPudRange = "apply_to_pud_range",
    ApplyToPmdRange = "apply_to_pmd_range",
    ApplyToPteRange = "apply_to_pte_range",
    ApplyToPte = "apply_to_pte",
    VmapPageRange = "vmap_page_range",
    VmapPteRange = "vmap_pte_range",
    VunmapPageRange = "vunmap_page_range",
    VunmapPteRange = "vunmap_pte_range",
    MapVmArea = "map_vm_area",
    AllocVmapArea = "alloc_vmap_area",
    AllocVmapAreaStep = "alloc_vmap_area_step",
    InsertVmapArea = "insert_vmap_area",
    RemoveVmArea = "remove_vm_area",
    Vunmap = "vunmap",
    Vmalloc = "vmalloc",
    VmallocArea = "vmalloc_area",
    PurgeVmapArea = "purge_vmap_area",
    PurgeVmapAreaStep = "purge_vmap_area_step",
    AllocPage = "alloc_page",
    FreePage = "free_page",
    Kmalloc = "kmalloc",
    Kfree = "kfree",
    WalkPageTable = "walk_page_table",
    SetPte = "set_pte",
    PteUpdate = "pte_update",
    HashPage = "hash_page",
    HashPage4k = "hash_page_4k",
    HashPage64k = "hash_page_64k",
    DoPageFault = "do_page_fault",
    SlbMiss = "slb_miss",
    NativeHpteInsert = "native_hpte_insert",
    NativeHpteRemove = "native_hpte_remove",
    NativeHpteUpdatepp = "native_hpte_updatepp",
    NativeHpteInvalidate = "native_hpte_invalidate",
    NativeFlushHashRange = "native_flush_hash_range",
    NativeFlushHashRangeEntry = "native_flush_hash_range_entry",
    PseriesLparHpteInsert = "pseries_lpar_hpte_insert",
    PseriesLparHpteRemove = "pseries_lpar_hpte_remove",
    PseriesLparHpteUpdatepp = "pseries_lpar_hpte_updatepp",
    PseriesLparHpteInvalidate = "pseries_lpar_hpte_invalidate",
    PseriesLparFlushHashRange = "pseries_lpar_flush_hash_range",
    PseriesLparFlushHashRangeEntry = "pseries_lpar_flush_hash_range_entry",
    HpteNeedFlush = "hpte_need_flush",
    FlushTlbPending = "flush_tlb_pending",
    FlushHashPage = "flush_hash_page",
    FlushHashRange = "flush_hash_range",
    LazyMmuEnter = "lazy_mmu_enter",
    LazyMmuLeave = "lazy_mmu_leave",
    SpinLock = "spin_lock",
    SpinUnlock = "spin_unlock",
    SmpProcessorId = "smp_processor_id",
    DebugSmpProcessorId = "debug_smp_processor_id",
    Schedule = "schedule",
    ContextSwitch = "context_switch",
    WakeUp = "wake_up",
    SchedulerTick = "scheduler_tick",
    LoadBalance = "load_balance",
    DoIrq = "do_irq",
    Idle = "idle",
    Fork = "fork",
    Exit = "exit",
    Printk = "printk",
    SysSwapon = "sys_swapon",
    SysSwapoff = "sys_swapoff",
    Touch = "touch",
    MmAlloc = "mm_alloc",
    SwitchSlb = "switch_slb",
    Munmap = "munmap",
    Mprotect = "mprotect",
    Mremap = "mremap",
    SwapOut = "swap_out",
    VmMapRam = "vm_map_ram",
    VmUnmapRam = "vm_unmap_ram",
    VbAlloc = "vb_alloc",
    VbFree = "vb_free",
    NewVmapBlock = "new_vmap_block",
    Ioremap = "ioremap",
    Iounmap = "iounmap",
    AllocVmArea = "alloc_vm_area",
    ChangePageAttr = "change_page_attr",
    KasanPopulatePte = "kasan_populate_pte",
}

/// Instructions of each function, with what they cost.
#[derive(Clone, Debug)]
pub struct FunctionCosts([Lump; NAMES.len()]);

impl FunctionCosts {
    /// Looks every function up in a cost table. A functional table has none: all are zero.
    ///
    /// # Errors
    /// The name of the first function that the table lacks.
    pub fn new(costs: &CostTable) -> Result<Self, &'static str> {
        let mut lumps = [costs.lump(0); NAMES.len()];
        if !costs.functions.is_empty() {
            for (lump, (_, name)) in lumps.iter_mut().zip(NAMES) {
                *lump = costs.lump(*costs.functions.get(*name).ok_or(*name)?);
            }
        }
        Ok(FunctionCosts(lumps))
    }

    /// Instructions of a function.
    #[inline(always)]
    pub fn lump(&self, function: Func) -> Lump {
        self.0[function as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::MachineProfile;

    #[test]
    fn every_function_has_a_figure() {
        for machine in MachineProfile::NAMES {
            let costs = MachineProfile::builtin(machine).unwrap().costs();
            let functions = FunctionCosts::new(&costs).unwrap();
            assert_eq!(
                functions.lump(Func::Vmalloc).instructions(),
                costs.functions["vmalloc"]
            );
            for (i, (function, _)) in NAMES.iter().enumerate() {
                assert_eq!(*function as usize, i);
            }
        }
    }
}
