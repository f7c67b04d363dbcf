//! Linux PTE bits of the modelled kernels, and what of them goes into an HPTE.
//!
//! Owns the bit masks and their meaning. Refuses the order in which PTEs are changed.

use super::Layout;
use crate::config::KernelVersion;
use emu_mmu::Ra;

/// Where a kernel records which HPTEs a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotRecord {
    /// 4K pages: the slot of the one HPTE lies in the PTE.
    Pte,
    /// 2.6.38 with 64K pages: a bit for each 4K piece in the PTE. The slots of a page hashed in pieces lie in
    /// the second half of the table, that of a 64K HPTE in the PTE.
    PteAndSecondHalf,
    /// 6.1 with 64K pages: all slots in the second half of the table, plus one modulo 16, so that 0 is none.
    SecondHalf,
}

/// Linux PTE bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PteBits {
    /// _PAGE_PRESENT.
    pub present: u64,
    /// _PAGE_BUSY / H_PAGE_BUSY: PTE and HPTE are being worked on.
    pub busy: u64,
    /// _PAGE_HASHPTE / H_PAGE_HASHPTE: an HPTE may exist. In 2.6.38 with 64K pages these are the bits of the
    /// sixteen pieces.
    pub hashpte: u64,
    /// _PAGE_F_SECOND: the HPTE is in the secondary group.
    pub second: u64,
    /// Shift of _PAGE_F_GIX, the position in the group.
    pub gix_shift: u32,
    /// _PAGE_COMBO / H_PAGE_COMBO: hashed as 4K pieces; 0 with 4K pages.
    pub combo: u64,
    /// Where the slots are recorded.
    pub slots: SlotRecord,
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
    /// _PAGE_COHERENT, where there is such a bit.
    pub coherent: u64,
    /// What a page of a device has besides: guarded and not cached.
    pub io: u64,
    /// log2 of the bytes that the real page number counts in.
    pub page_shift: u32,
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
        combo: 0,
        slots: SlotRecord::Pte,
        dirty: 0x80,
        accessed: 0x100,
        write: 0x200,
        exec: 0x4,
        special: 0x1_0000,
        user: 0x013,
        kernel: 0x391,
        coherent: 0x10,
        io: 0x28,
        page_shift: 12,
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
        combo: 0,
        slots: SlotRecord::Pte,
        dirty: 0x80,
        accessed: 0x100,
        write: 0x2,
        exec: 0x1,
        special: 0x400,
        user: (1 << 63) | (1 << 62) | 0x4,
        kernel: (1 << 63) | (1 << 62) | 0x18e,
        coherent: 0,
        io: 0x20,
        page_shift: 12,
        rpn_shift: 12,
        rpn_mask: 0x001f_ffff_ffff_f000,
    };

    /// 2.6.38 with 64K pages, include/asm/pte-hash64-64k.h.
    pub const V2_6_38_64K: PteBits = PteBits {
        hashpte: 0x0fff_f000,
        combo: 0x1000_0000,
        slots: SlotRecord::PteAndSecondHalf,
        special: 0x400,
        page_shift: 16,
        rpn_shift: 30,
        rpn_mask: !0x3fff_ffff,
        ..PteBits::V2_6_38
    };

    /// 6.1 with 64K pages, include/asm/book3s/64/hash-64k.h.
    pub const V6_1_64K: PteBits = PteBits {
        hashpte: 1 << 55,
        second: 0,
        combo: 0x1000,
        slots: SlotRecord::SecondHalf,
        page_shift: 16,
        rpn_shift: 16,
        rpn_mask: 0x001f_ffff_ffff_0000,
        ..PteBits::V6_1
    };

    /// All bits that belong to the hash code: busy, hashpte, combo and the slot.
    pub const fn hpteflags(&self) -> u64 {
        let slot = match self.slots {
            SlotRecord::SecondHalf => 0,
            _ => self.second | (7 << self.gix_shift),
        };
        self.busy | self.hashpte | self.combo | slot
    }

    /// The PTE that maps `frame` with the bits of PAGE_KERNEL.
    pub const fn kernel_pte(&self, frame: Ra) -> u64 {
        ((frame.get() >> self.page_shift) << self.rpn_shift) | self.kernel
    }

    /// Real address of the frame that a PTE maps.
    pub const fn frame(&self, pte: u64) -> Ra {
        Ra::new(((pte & self.rpn_mask) >> self.rpn_shift) << self.page_shift)
    }

    /// The PTE that maps a page of a device for the kernel: guarded, not cached.
    pub const fn io_pte(&self, frame: Ra) -> u64 {
        (self.kernel_pte(frame) & !self.coherent) | self.io
    }

    /// The PTE that maps `frame` for user and kernel, readable, dirty and young, and writable if `write`.
    pub const fn user_pte(&self, frame: Ra, write: bool) -> u64 {
        let bits = if write {
            self.user | self.write
        } else {
            self.user
        };
        ((frame.get() >> self.page_shift) << self.rpn_shift) | bits | self.dirty | self.accessed
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
        (frame.get() >> self.page_shift) << self.rpn_shift
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

impl Layout {
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
                const I_AND_G: u64 = 0x28;
                let mut flags = R | if pte & self.pte.io != 0 { I_AND_G } else { M };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_hpte_flags() {
        for layout in [
            Layout::V2_6_38,
            Layout::V6_1,
            Layout::V2_6_38_64K,
            Layout::V6_1_64K,
        ] {
            let pte = layout.pte.kernel_pte(Ra::new(0x1234_0000));
            assert_eq!(layout.hpte_flags(pte), 0x194, "{:?}", layout.version);
            assert_eq!(layout.pte.frame(pte), Ra::new(0x1234_0000));
            let io = layout.pte.io_pte(Ra::new(0x1234_0000));
            assert_eq!(layout.hpte_flags(io), 0x1ac, "{:?}", layout.version);
            assert_eq!(layout.pte.frame(io), Ra::new(0x1234_0000));
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
        for bits in [PteBits::V2_6_38, PteBits::V6_1, PteBits::V2_6_38_64K] {
            for hidx in 0..16 {
                let pte = bits.kernel_pte(Ra::new(0x7000_0000)) | bits.hidx_bits(hidx);
                assert_eq!(bits.hidx(pte), hidx);
                assert_eq!(bits.hidx_bits(hidx) & !bits.hpteflags(), 0);
                assert_eq!(bits.frame(pte), Ra::new(0x7000_0000));
            }
        }
        assert_eq!(PteBits::V2_6_38.hpteflags(), 0xfc00);
        assert_eq!(PteBits::V2_6_38_64K.hpteflags(), 0x1fff_f800);
        assert_eq!(PteBits::V6_1_64K.hpteflags(), 1 << 55 | 0x1040);
    }
}
