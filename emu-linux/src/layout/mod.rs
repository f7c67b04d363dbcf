//! What differs between the modelled kernels: page size, table geometry, PTE bits, address map, VSIDs, and
//! the points where their hash code behaves differently.
//!
//! Owns every number that the kernel's headers fix. Refuses behaviour of policies.

mod pte;
mod real_pte;
mod vsid;

pub use pte::{PteBits, SlotRecord};
pub use real_pte::{PIECE_BYTES, PIECES, RealPte};

use crate::config::{KernelVersion, Pages};
use emu_mmu::{Ea, Ra};

/// Start of the linear map: a real address with this added is its kernel address (PAGE_OFFSET).
pub const PAGE_OFFSET: u64 = 0xc000_0000_0000_0000;

/// A modelled kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Which kernel.
    pub version: KernelVersion,
    /// Base page size.
    pub pages: Pages,
    /// log2 of entries of a PTE, PMD, PUD and PGD table.
    pub index_bits: [u32; 4],
    /// PTE bits.
    pub pte: PteBits,
    /// First vmalloc address.
    pub vmalloc_start: u64,
    /// First address after the vmalloc area.
    pub vmalloc_end: u64,
    /// First address that ioremap hands out (IOREMAP_BASE).
    pub ioremap_start: u64,
    /// First address after them (IOREMAP_END).
    pub ioremap_end: u64,
    /// Pages left unused between one area (with its guard page) and the next.
    pub area_gap_pages: u64,
    /// VA bits that the VSID scramble of 6.1 fills: 68, or 65 before POWER6.
    pub va_bits: u32,
    /// True if the busy bit is looked at before the access bits (6.1); 2.6.38 does it after, so that a
    /// busy PTE with the wrong permissions gives a page fault.
    pub busy_before_access: bool,
    /// True if HASHPTE is set together with BUSY (2.6.38 with 4K pages).
    pub hashpte_with_busy: bool,
    /// True if HPTE compares are made before the entry is locked too (6.1).
    pub compare_before_lock: bool,
    /// True if the immediate flush of hpte_need_flush tests for a thread-local mm (6.1); always global
    /// in 2.6.38.
    pub local_test_in_need_flush: bool,
    /// True if init_mm's CPU mask is full (2.6.38); in 6.1 it starts empty.
    pub init_mm_cpumask_full: bool,
    /// True if updatepp leaves the TLB alone when the hardware found no HPTE (6.1).
    pub updatepp_skips_tlbie_on_no_hpte: bool,
    /// True if preemption is off while an mmu_gather is open (v2.6.38, where it is per CPU).
    pub gather_is_atomic: bool,
    /// Context number of the first user address space.
    pub first_user_context: u64,
    /// True if a vmap block keeps a map of what it gave out and fills holes (2.6.38); in 6.1 it only goes
    /// forward.
    pub vmap_block_has_map: bool,
    /// True if the first vmalloc segment is bolted into the SLB (2.6.38).
    pub vmalloc_segment_bolted: bool,
}

impl Layout {
    /// 2.6.38 with 4K pages.
    pub const V2_6_38: Layout = Layout {
        version: KernelVersion::V2_6_38,
        pages: Pages::K4,
        index_bits: [9, 7, 7, 9],
        pte: PteBits::V2_6_38,
        vmalloc_start: 0xd000_0000_0000_0000,
        vmalloc_end: 0xd000_0800_0000_0000,
        ioremap_start: 0xd000_0800_8000_0000,
        ioremap_end: 0xd000_1000_0000_0000,
        area_gap_pages: 1,
        va_bits: 65,
        busy_before_access: false,
        hashpte_with_busy: true,
        compare_before_lock: false,
        local_test_in_need_flush: false,
        init_mm_cpumask_full: true,
        updatepp_skips_tlbie_on_no_hpte: false,
        gather_is_atomic: true,
        first_user_context: 1,
        vmap_block_has_map: true,
        vmalloc_segment_bolted: true,
    };

    /// 6.1 with 4K pages.
    pub const V6_1: Layout = Layout {
        version: KernelVersion::V6_1,
        pages: Pages::K4,
        index_bits: [9, 7, 9, 9],
        pte: PteBits::V6_1,
        vmalloc_start: 0xc000_3d00_0000_0000,
        vmalloc_end: 0xc000_3e00_0000_0000,
        ioremap_start: 0xc000_3e00_8000_0000,
        ioremap_end: 0xc000_3f00_0000_0000,
        area_gap_pages: 0,
        va_bits: 68,
        busy_before_access: true,
        hashpte_with_busy: false,
        compare_before_lock: true,
        local_test_in_need_flush: true,
        init_mm_cpumask_full: false,
        updatepp_skips_tlbie_on_no_hpte: true,
        gather_is_atomic: false,
        first_user_context: 6,
        vmap_block_has_map: false,
        vmalloc_segment_bolted: false,
    };

    /// 2.6.38 with 64K pages: three levels, the PUD folded into the PGD.
    pub const V2_6_38_64K: Layout = Layout {
        pages: Pages::K64,
        index_bits: [12, 12, 0, 4],
        pte: PteBits::V2_6_38_64K,
        hashpte_with_busy: false,
        ..Layout::V2_6_38
    };

    /// 6.1 with 64K pages.
    pub const V6_1_64K: Layout = Layout {
        pages: Pages::K64,
        index_bits: [8, 10, 10, 8],
        pte: PteBits::V6_1_64K,
        vmalloc_start: 0xc008_0000_0000_0000,
        vmalloc_end: 0xc00a_0000_0000_0000,
        ioremap_start: 0xc00a_0000_8000_0000,
        ioremap_end: 0xc00c_0000_0000_0000,
        ..Layout::V6_1
    };

    /// The layout of a kernel with base pages of a size.
    pub const fn of(version: KernelVersion, pages: Pages) -> Layout {
        match (version, pages) {
            (KernelVersion::V2_6_38, Pages::K4) => Layout::V2_6_38,
            (KernelVersion::V6_1, Pages::K4) => Layout::V6_1,
            (KernelVersion::V2_6_38, Pages::K64) => Layout::V2_6_38_64K,
            (KernelVersion::V6_1, Pages::K64) => Layout::V6_1_64K,
        }
    }

    /// log2 of the bytes of a page (PAGE_SHIFT).
    #[inline]
    pub const fn page_shift(&self) -> u32 {
        self.pages.shift()
    }

    /// Bytes of a page (PAGE_SIZE).
    #[inline]
    pub const fn page_bytes(&self) -> u64 {
        self.pages.bytes()
    }

    /// log2 of the bytes that one entry of the table at `level` maps (0 = PTE).
    pub fn level_shift(&self, level: usize) -> u32 {
        self.page_shift() + self.index_bits[..level].iter().sum::<u32>()
    }

    /// Index of `ea` in the table at `level`.
    pub fn index(&self, ea: Ea, level: usize) -> u64 {
        (ea.get() >> self.level_shift(level)) & ((1 << self.index_bits[level]) - 1)
    }

    /// Bytes that one PTE table maps: 2 MiB with 4K pages.
    pub fn pmd_bytes(&self) -> u64 {
        1 << self.level_shift(1)
    }

    /// True if there is no table at `level`: the entry above stands for its one entry.
    #[inline]
    pub const fn is_folded(&self, level: usize) -> bool {
        self.index_bits[level] == 0
    }

    /// Bytes of a table at `level`. With 4K pages each has a page of its own here, though the kernels have
    /// smaller ones for the upper levels. With 64K pages a PTE table has a second half for slots.
    pub const fn table_bytes(&self, level: usize) -> u64 {
        let entries = 8 << self.index_bits[level];
        match (self.pages, level) {
            (Pages::K4, _) => self.page_bytes(),
            (Pages::K64, 0) => 2 * entries,
            (Pages::K64, _) => entries,
        }
    }

    /// True for an address that page tables of init_mm may map: vmalloc or ioremap.
    pub fn is_kernel_mapped(&self, ea: Ea) -> bool {
        self.is_vmalloc(ea) || (self.ioremap_start..self.ioremap_end).contains(&ea.get())
    }

    /// True for an address of the vmalloc area.
    pub fn is_vmalloc(&self, ea: Ea) -> bool {
        (self.vmalloc_start..self.vmalloc_end).contains(&ea.get())
    }
}

/// Kernel address of a real address in the linear map (`__va`).
#[inline]
pub const fn va(ra: Ra) -> Ea {
    Ea::new(PAGE_OFFSET | ra.get())
}

/// Real address of a linear-map address (`__pa`).
#[inline]
pub const fn pa(ea: Ea) -> Ra {
    Ra::new(ea.get() & !PAGE_OFFSET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry() {
        let layout = Layout::V2_6_38;
        let sizes = [12, 21, 28, 35].map(|shift| shift);
        assert_eq!([0, 1, 2, 3].map(|level| layout.level_shift(level)), sizes);
        assert_eq!(layout.index(Ea::new(0xd000_0000_0020_1000), 0), 1);
        assert_eq!(layout.index(Ea::new(0xd000_0000_0020_1000), 1), 1);
        assert_eq!(Layout::V6_1.level_shift(3), 37);
        let shifts = |layout: Layout| [0, 1, 2, 3].map(|level| layout.level_shift(level));
        assert_eq!(shifts(Layout::V2_6_38_64K), [16, 28, 40, 40]);
        assert_eq!(shifts(Layout::V6_1_64K), [16, 24, 34, 44]);
        let bytes = |layout: Layout, level| layout.table_bytes(level);
        assert!(Layout::V2_6_38_64K.is_folded(2) && !Layout::V6_1_64K.is_folded(2));
        assert_eq!(
            [0, 1, 3].map(|level| bytes(Layout::V2_6_38_64K, level)),
            [65536, 32768, 128]
        );
        assert_eq!(
            [0, 1, 2, 3].map(|level| bytes(Layout::V6_1_64K, level)),
            [4096, 8192, 8192, 2048]
        );
        assert_eq!(Layout::V2_6_38_64K.second_half_offset(), 32 << 10);
    }
}
