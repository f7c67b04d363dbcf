//! What differs between the modelled kernels: table geometry, PTE bits, address map, VSIDs, and the
//! points where their hash code behaves differently.
//!
//! Owns every number that the kernel's headers fix for 4K pages. Refuses behaviour of policies.

use crate::config::KernelVersion;
use emu_mmu::{Ea, Ra, SegmentSize, Vsid};

/// Start of the linear map: a real address with this added is its kernel address (PAGE_OFFSET).
pub const PAGE_OFFSET: u64 = 0xc000_0000_0000_0000;
/// log2 of the base page size of a 4K kernel.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes of a page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// Linux PTE bits of a 4K kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PteBits {
    /// _PAGE_PRESENT.
    pub present: u64,
    /// _PAGE_BUSY / H_PAGE_BUSY: PTE and HPTE are being worked on.
    pub busy: u64,
    /// _PAGE_HASHPTE / H_PAGE_HASHPTE: an HPTE may exist.
    pub hashpte: u64,
    /// _PAGE_F_SECOND: the HPTE is in the secondary group.
    pub second: u64,
    /// Shift of _PAGE_F_GIX, the position in the group.
    pub gix_shift: u32,
    /// _PAGE_DIRTY.
    pub dirty: u64,
    /// _PAGE_ACCESSED.
    pub accessed: u64,
    /// _PAGE_RW / _PAGE_WRITE.
    pub write: u64,
    /// _PAGE_EXEC.
    pub exec: u64,
    /// _PAGE_SPECIAL.
    pub special: u64,
    /// Bits of a user page that may be read, with present.
    pub user: u64,
    /// Low bits of PAGE_KERNEL (with present).
    pub kernel: u64,
    /// Lowest bit of the real page number.
    pub rpn_shift: u32,
    /// Mask of the real page number.
    pub rpn_mask: u64,
}

impl PteBits {
    /// 2.6.38, include/asm/pte-hash64.h and pte-hash64-4k.h.
    pub const V2_6_38: PteBits = PteBits {
        present: 0x001,
        busy: 0x800,
        hashpte: 0x400,
        second: 0x8000,
        gix_shift: 12,
        dirty: 0x80,
        accessed: 0x100,
        write: 0x200,
        exec: 0x4,
        special: 0x1_0000,
        user: 0x013,
        kernel: 0x391,
        rpn_shift: 17,
        rpn_mask: !0x1ffff,
    };

    /// 6.1, include/asm/book3s/64/pgtable.h and hash-4k.h.
    pub const V6_1: PteBits = PteBits {
        present: 1 << 63,
        busy: 0x40,
        hashpte: 1 << 60,
        second: 1 << 56,
        gix_shift: 53,
        dirty: 0x80,
        accessed: 0x100,
        write: 0x2,
        exec: 0x1,
        special: 0x400,
        user: (1 << 63) | (1 << 62) | 0x4,
        kernel: (1 << 63) | (1 << 62) | 0x18e,
        rpn_shift: 12,
        rpn_mask: 0x001f_ffff_ffff_f000,
    };

    /// All bits that belong to the hash code: busy, hashpte and the slot.
    pub const fn hpteflags(&self) -> u64 {
        self.busy | self.hashpte | self.second | (7 << self.gix_shift)
    }

    /// The PTE that maps `frame` with the bits of PAGE_KERNEL.
    pub const fn kernel_pte(&self, frame: Ra) -> u64 {
        ((frame.get() >> PAGE_SHIFT) << self.rpn_shift) | self.kernel
    }

    /// Real address of the frame that a PTE maps.
    pub const fn frame(&self, pte: u64) -> Ra {
        Ra::new(((pte & self.rpn_mask) >> self.rpn_shift) << PAGE_SHIFT)
    }

    /// The PTE that maps `frame` for user and kernel, readable, dirty and young, and writable if `write`.
    pub const fn user_pte(&self, frame: Ra, write: bool) -> u64 {
        let bits = if write {
            self.user | self.write
        } else {
            self.user
        };
        ((frame.get() >> PAGE_SHIFT) << self.rpn_shift) | bits | self.dirty | self.accessed
    }

    /// True if two PTEs differ in nothing but hash bits (pte_same).
    pub const fn same(&self, one: u64, other: u64) -> bool {
        (one ^ other) & !self.hpteflags() == 0
    }

    /// True if the area does not allow stores, so that one is not copy on write. The model keeps the area's
    /// permission in the PTE's SPECIAL bit, having no list of areas.
    pub const fn is_write_denied(&self, pte: u64) -> bool {
        pte & self.special != 0
    }

    /// A PTE after mprotect: the area allows stores if `write`, the PTE if `writable`.
    pub const fn protected(&self, pte: u64, write: bool, writable: bool) -> u64 {
        let mut pte = pte & !(self.write | self.special | self.hpteflags());
        if writable {
            pte |= self.write;
        }
        if !write {
            pte |= self.special;
        }
        pte
    }

    /// The entry of a page that was swapped out, its content kept in `frame`.
    pub const fn swap_entry(&self, frame: Ra) -> u64 {
        (frame.get() >> PAGE_SHIFT) << self.rpn_shift
    }

    /// The frame that holds a swapped-out page.
    pub const fn swapped_frame(&self, entry: u64) -> Option<Ra> {
        if entry == 0 || entry & self.present != 0 {
            None
        } else {
            Some(self.frame(entry))
        }
    }

    /// The 4-bit slot record (hidx): bit 3 for the secondary group, then the position.
    pub const fn hidx(&self, pte: u64) -> u64 {
        let secondary = if pte & self.second != 0 { 8 } else { 0 };
        secondary | ((pte >> self.gix_shift) & 7)
    }

    /// PTE bits that record `hidx`.
    pub const fn hidx_bits(&self, hidx: u64) -> u64 {
        let secondary = if hidx & 8 != 0 { self.second } else { 0 };
        secondary | ((hidx & 7) << self.gix_shift)
    }
}

/// A modelled kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Which kernel.
    pub version: KernelVersion,
    /// log2 of entries of a PTE, PMD, PUD and PGD table.
    pub index_bits: [u32; 4],
    /// PTE bits.
    pub pte: PteBits,
    /// First vmalloc address.
    pub vmalloc_start: u64,
    /// First address after the vmalloc area.
    pub vmalloc_end: u64,
    /// Pages left unused between one area (with its guard page) and the next.
    pub area_gap_pages: u64,
    /// VA bits that the VSID scramble of 6.1 fills: 68, or 65 before POWER6.
    pub va_bits: u32,
    /// True if the busy bit is looked at before the access bits (6.1); 2.6.38 does it after, so that a
    /// busy PTE with the wrong permissions gives a page fault.
    pub busy_before_access: bool,
    /// True if HASHPTE is set together with BUSY (2.6.38).
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
    /// True if the first vmalloc segment is bolted into the SLB (2.6.38).
    pub vmalloc_segment_bolted: bool,
}

impl Layout {
    /// 2.6.38 with 4K pages.
    pub const V2_6_38: Layout = Layout {
        version: KernelVersion::V2_6_38,
        index_bits: [9, 7, 7, 9],
        pte: PteBits::V2_6_38,
        vmalloc_start: 0xd000_0000_0000_0000,
        vmalloc_end: 0xd000_0800_0000_0000,
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
        vmalloc_segment_bolted: true,
    };

    /// 6.1 with 4K pages.
    pub const V6_1: Layout = Layout {
        version: KernelVersion::V6_1,
        index_bits: [9, 7, 9, 9],
        pte: PteBits::V6_1,
        vmalloc_start: 0xc000_3d00_0000_0000,
        vmalloc_end: 0xc000_3e00_0000_0000,
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
        vmalloc_segment_bolted: false,
    };

    /// The layout of a kernel.
    pub const fn of(version: KernelVersion) -> Layout {
        match version {
            KernelVersion::V2_6_38 => Layout::V2_6_38,
            KernelVersion::V6_1 => Layout::V6_1,
        }
    }

    /// log2 of the bytes that one entry of the table at `level` maps (0 = PTE).
    pub fn level_shift(&self, level: usize) -> u32 {
        PAGE_SHIFT + self.index_bits[..level].iter().sum::<u32>()
    }

    /// Index of `ea` in the table at `level`.
    pub fn index(&self, ea: Ea, level: usize) -> u64 {
        (ea.get() >> self.level_shift(level)) & ((1 << self.index_bits[level]) - 1)
    }

    /// Bytes that one PTE table maps: 2 MiB.
    pub fn pmd_bytes(&self) -> u64 {
        1 << self.level_shift(1)
    }

    /// True for an address of the vmalloc area.
    pub fn is_vmalloc(&self, ea: Ea) -> bool {
        (self.vmalloc_start..self.vmalloc_end).contains(&ea.get())
    }

    /// VSID of a kernel address.
    pub fn kernel_vsid(&self, ea: Ea, segment: SegmentSize) -> Vsid {
        match self.version {
            KernelVersion::V2_6_38 => scramble_2_6_38(ea.get() >> segment.shift(), segment),
            KernelVersion::V6_1 => self.scramble_6_1(self.kernel_context(ea), ea, segment),
        }
    }

    /// VSID of a user address in a context.
    pub fn user_vsid(&self, context: u64, ea: Ea, segment: SegmentSize) -> Vsid {
        match self.version {
            KernelVersion::V2_6_38 => {
                let esid_bits = 44 - segment.shift();
                scramble_2_6_38(
                    (context << esid_bits) | (ea.get() >> segment.shift()),
                    segment,
                )
            }
            KernelVersion::V6_1 => self.scramble_6_1(context, ea, segment),
        }
    }

    /// Context number of a kernel address in 6.1 (4K pages): linear map 1, vmalloc 2, IO 3, vmemmap 4.
    fn kernel_context(&self, ea: Ea) -> u64 {
        match ea.get() {
            0xc000_3d00_0000_0000..=0xc000_3dff_ffff_ffff => 2,
            0xc000_3e00_0000_0000..=0xc000_3eff_ffff_ffff => 3,
            0xc000_3f00_0000_0000..=0xc000_3fff_ffff_ffff => 4,
            _ => 1,
        }
    }

    fn scramble_6_1(&self, context: u64, ea: Ea, segment: SegmentSize) -> Vsid {
        let esid_bits = 49 - segment.shift();
        let esid = (ea.get() >> segment.shift()) & ((1 << esid_bits) - 1);
        scramble(
            (context << esid_bits) | esid,
            12_538_073,
            self.va_bits - segment.shift(),
        )
    }

    /// Low flag bits of the HPTE's R doubleword for a Linux PTE of the kernel (htab_convert_pte_flags).
    pub fn hpte_flags(&self, pte: u64) -> u64 {
        const C: u64 = 0x80;
        const N: u64 = 0x4;
        match self.version {
            KernelVersion::V2_6_38 => {
                const USER: u64 = 0x2;
                let mut flags = ((pte & 0x1fe) ^ N) | C;
                let writable = self.pte.write | self.pte.dirty;
                if pte & USER != 0 && pte & writable != writable {
                    flags |= 0x1;
                }
                flags
            }
            KernelVersion::V6_1 => {
                const R: u64 = 0x100;
                const M: u64 = 0x10;
                let mut flags = R | M;
                if pte & self.pte.exec == 0 {
                    flags |= N;
                }
                if pte & self.pte.dirty != 0 {
                    flags |= C;
                }
                flags | self.pp_6_1(pte)
            }
        }
    }

    fn pp_6_1(&self, pte: u64) -> u64 {
        const PRIVILEGED: u64 = 0x8;
        const PP_READ_ONLY_KERNEL: u64 = (1 << 63) | 0x2;
        if pte & PRIVILEGED != 0 {
            return if pte & self.pte.write != 0 {
                0
            } else {
                PP_READ_ONLY_KERNEL
            };
        }
        let writable = self.pte.write | self.pte.dirty;
        if pte & writable == writable { 0x2 } else { 0x3 }
    }

    /// Bits that a PTE must have for an access; a user address needs those of a user page.
    pub fn access_bits(&self, user: bool, store: bool) -> u64 {
        const USER_2_6_38: u64 = 0x2;
        let user = match self.version {
            KernelVersion::V2_6_38 if user => USER_2_6_38,
            _ => 0,
        };
        self.pte.present | user | if store { self.pte.write } else { 0 }
    }
}

fn scramble_2_6_38(proto: u64, segment: SegmentSize) -> Vsid {
    match segment {
        SegmentSize::S256M => scramble(proto, 200_730_139, 36),
        SegmentSize::S1T => scramble(proto, 12_538_073, 24),
    }
}

/// `proto * multiplier mod (2^bits - 1)`, the way the kernel does it without a division. The product
/// fits in 64 bits for every proto-VSID of both kernels.
#[inline]
fn scramble(proto: u64, multiplier: u64, bits: u32) -> Vsid {
    let mask = (1 << bits) - 1;
    let product = proto.wrapping_mul(multiplier);
    let folded = (product >> bits) + (product & mask);
    Vsid::new((folded + ((folded + 1) >> bits)) & mask)
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
    fn vsids_of_2_6_38() {
        let layout = Layout::V2_6_38;
        for (ea, small, large) in [
            (0xc000_0000_0000_0000, 0x4_08f9_2c94, 0x4f_7ca3),
            (0xd000_0000_0000_0000, 0xf_09b8_9af5, 0xeb_71b0),
            (0xd000_0000_1000_0000, 0xf_15af_8110, 0xeb_71b0),
            (0xd000_0800_8000_0000, 0xa_dc7d_4c2d, 0xe5_f87e),
            (0xf000_0000_0000_0000, 0x5_0b37_77b9, 0x23_5bcc),
        ] {
            let ea = Ea::new(ea);
            assert_eq!(
                layout.kernel_vsid(ea, SegmentSize::S256M),
                Vsid::new(small),
                "{ea:?}"
            );
            assert_eq!(
                layout.kernel_vsid(ea, SegmentSize::S1T),
                Vsid::new(large),
                "{ea:?}"
            );
        }
        let low = Ea::new(0x1000_0000);
        let user = |context| layout.user_vsid(context, low, SegmentSize::S256M);
        assert_eq!(user(1), Vsid::new(0x6_f211_e6da));
        assert_eq!(user(2), Vsid::new(0xd_d82c_e799));
        let high = Ea::new(0x100_0000_0000);
        assert_eq!(
            layout.user_vsid(1, high, SegmentSize::S1T),
            Vsid::new(0xb4_5e75)
        );
    }

    #[test]
    fn vsids_of_6_1() {
        let wide = Layout::V6_1;
        let narrow = Layout {
            va_bits: 65,
            ..wide
        };
        for (ea, [n256, n1t, w256, w1t]) in [
            (
                0xc000_0000_0000_0000,
                [0xa_1b20_00bf, 0xa1_b2bf, 0xea_1b20_0017, 0xea1_b217],
            ),
            (
                0xc000_3d00_0000_0000,
                [0xd_9a7b_5195, 0xd9_a94a, 0xad_9a7b_5032, 0xad9_a7e7],
            ),
        ] {
            let ea = Ea::new(ea);
            assert_eq!(narrow.kernel_vsid(ea, SegmentSize::S256M), Vsid::new(n256));
            assert_eq!(narrow.kernel_vsid(ea, SegmentSize::S1T), Vsid::new(n1t));
            assert_eq!(wide.kernel_vsid(ea, SegmentSize::S256M), Vsid::new(w256));
            assert_eq!(wide.kernel_vsid(ea, SegmentSize::S1T), Vsid::new(w1t));
        }
        let low = Ea::new(0x1000_0000);
        assert_eq!(
            wide.user_vsid(10, low, SegmentSize::S256M),
            Vsid::new(0x25_0fff_51c8)
        );
        assert_eq!(
            narrow.user_vsid(10, low, SegmentSize::S256M),
            Vsid::new(0x5_0fff_5852)
        );
    }

    proptest::proptest! {
        #[test]
        fn scramble_is_a_modulo(proto: u64) {
            for (multiplier, bits, proto_bits) in [
                (200_730_139u64, 36, 36),
                (12_538_073, 24, 24),
                (12_538_073, 40, 40),
                (12_538_073, 37, 40),
                (12_538_073, 28, 28),
                (12_538_073, 25, 28),
            ] {
                let proto = proto >> (64 - proto_bits);
                let product = u128::from(proto) * u128::from(multiplier);
                let expected = (product % ((1u128 << bits) - 1)) as u64;
                proptest::prop_assert_eq!(scramble(proto, multiplier, bits), Vsid::new(expected));
            }
        }
    }

    #[test]
    fn kernel_hpte_flags() {
        for layout in [Layout::V2_6_38, Layout::V6_1] {
            let pte = layout.pte.kernel_pte(Ra::new(0x1234_5000));
            assert_eq!(layout.hpte_flags(pte), 0x194, "{:?}", layout.version);
            assert_eq!(layout.pte.frame(pte), Ra::new(0x1234_5000));
        }
        let v38 = Layout::V2_6_38;
        for (pte, flags) in [
            (0x393, 0x196),
            (0x313, 0x197),
            (0x193, 0x197),
            (0x197, 0x193),
        ] {
            assert_eq!(v38.hpte_flags(pte), flags, "{pte:#x}");
        }
    }

    #[test]
    fn slot_record_round_trip() {
        for bits in [PteBits::V2_6_38, PteBits::V6_1] {
            for hidx in 0..16 {
                let pte = bits.kernel_pte(Ra::new(0x7000_0000)) | bits.hidx_bits(hidx);
                assert_eq!(bits.hidx(pte), hidx);
                assert_eq!(bits.hidx_bits(hidx) & !bits.hpteflags(), 0);
                assert_eq!(bits.frame(pte), Ra::new(0x7000_0000));
            }
        }
        assert_eq!(PteBits::V2_6_38.hpteflags(), 0xfc00);
    }

    #[test]
    fn geometry() {
        let layout = Layout::V2_6_38;
        let sizes = [12, 21, 28, 35].map(|shift| shift);
        assert_eq!([0, 1, 2, 3].map(|level| layout.level_shift(level)), sizes);
        assert_eq!(layout.index(Ea::new(0xd000_0000_0020_1000), 0), 1);
        assert_eq!(layout.index(Ea::new(0xd000_0000_0020_1000), 1), 1);
        assert_eq!(Layout::V6_1.level_shift(3), 37);
    }
}
