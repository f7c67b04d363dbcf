//! The kernel's dispatch to the writer of the hash table: `ppc_md.hpte_insert` and its fellows in
//! 2.6.38, `mmu_hash_ops` in 6.1.
//!
//! Owns the choice between the writers. Refuses what they do: `hash_native` and `hash_lpar`.

use crate::config::Backend;
use crate::kernel::Linux;
use crate::kernel_path::HASH_SEARCH;
use crate::mm::VirtualPage;
use crate::real_table::RealTable;
use emu_core::{Ctx, Run};
use emu_mmu::{Ea, GroupIndex, HpteIndex, HpteR, HpteV};

impl Linux {
    /// hpte_insert: slot in the group plus 8 for the secondary group, `None` if the group is full.
    pub(crate) fn hpte_insert(
        &self,
        cx: &mut Ctx<'_>,
        group: GroupIndex,
        page: VirtualPage,
        r: HpteR,
        secondary: bool,
    ) -> Run<Option<u64>> {
        cx.in_path(HASH_SEARCH, |cx| match self.backend {
            Backend::Native => self.native_hpte_insert(cx, group, page, r, secondary),
            Backend::Lpar => self.pseries_lpar_hpte_insert(cx, group, page, r, secondary),
        })
    }

    /// hpte_remove: evicts one entry of a group; false if all are bolted.
    pub(crate) fn hpte_remove(&self, cx: &mut Ctx<'_>, group: GroupIndex) -> Run<bool> {
        cx.in_path(HASH_SEARCH, |cx| match self.backend {
            Backend::Native => self.native_hpte_remove(cx, group),
            Backend::Lpar => self.pseries_lpar_hpte_remove(cx, group),
        })
    }

    /// hpte_updatepp: false if the slot does not hold the page.
    pub(crate) fn hpte_updatepp(
        &self,
        cx: &mut Ctx<'_>,
        index: HpteIndex,
        page: VirtualPage,
        flags: u64,
        no_hpte: bool,
    ) -> Run<bool> {
        cx.in_path(HASH_SEARCH, |cx| match self.backend {
            Backend::Native => self.native_hpte_updatepp(cx, index, page, flags, no_hpte),
            // The hypervisor does its own TLB invalidation, whatever the hardware had found.
            Backend::Lpar => self.pseries_lpar_hpte_updatepp(cx, index, page, flags),
        })
    }

    /// hpte_invalidate.
    pub(crate) fn hpte_invalidate(
        &self,
        cx: &mut Ctx<'_>,
        index: HpteIndex,
        page: VirtualPage,
        local: bool,
    ) -> Run<()> {
        cx.in_path(HASH_SEARCH, |cx| match self.backend {
            Backend::Native => self.native_hpte_invalidate(cx, index, page, local),
            Backend::Lpar => self.pseries_lpar_hpte_invalidate(cx, index, page),
        })
    }

    /// The writer's flush_hash_range.
    pub(crate) fn flush_hash_range_hook(
        &self,
        cx: &mut Ctx<'_>,
        b: Ea,
        number: u64,
        local: bool,
    ) -> Run<()> {
        cx.in_path(HASH_SEARCH, |cx| match self.backend {
            Backend::Native => self.native_flush_hash_range(cx, b, number, local),
            Backend::Lpar => self.pseries_lpar_flush_hash_range(cx, b, number),
        })
    }

    /// Name of the writer's function that flushes a range, and looks this CPU's batch up for it.
    pub fn range_flush_function(&self) -> &'static str {
        match self.backend {
            Backend::Native => "native_flush_hash_range",
            Backend::Lpar => "pSeries_lpar_flush_hash_range",
        }
    }

    /// Enters a bolted translation at boot; the group may be full.
    pub(crate) fn bolt(
        &self,
        cx: &mut Ctx<'_>,
        group: GroupIndex,
        v: HpteV,
        r: HpteR,
    ) -> Run<Option<u8>> {
        match self.backend {
            Backend::Native => {
                let table = &mut RealTable::at_boot(cx);
                self.hpt.insert(table, group, v, r, false)
            }
            Backend::Lpar => Ok(self.h_enter(cx, group, v, r)?.map(HpteIndex::slot)),
        }
    }
}
