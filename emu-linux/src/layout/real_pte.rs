//! A PTE together with the record of its HPTEs' slots (real_pte_t), and the 4K pieces of a 64K page.
//!
//! Owns how slots are read from that record and written into it. Refuses the order of the stores, which is
//! the hash-fault path's.

use super::{Layout, PteBits, SlotRecord};
use crate::config::Pages;
use emu_mmu::PageSize;

/// 4K pieces of a 64K page.
pub const PIECES: u64 = 16;
/// Bytes of a piece.
pub const PIECE_BYTES: u64 = PageSize::P4K.bytes();
/// _PAGE_HPTE_SUB0 of 2.6.38: the first piece, or the whole page, is hashed.
const SUB0: u64 = 0x0800_0000;

/// A PTE and the doubleword of its slots in the second half of the table, 0 if the kernel has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealPte {
    /// The PTE.
    pub pte: u64,
    /// Four bits for each piece, the first lowest.
    pub hidx: u64,
}

impl PteBits {
    /// True if the doubleword of slots is to be read with a PTE (__real_pte).
    pub const fn has_second_half(&self, pte: u64) -> bool {
        match self.slots {
            SlotRecord::Pte => false,
            SlotRecord::PteAndSecondHalf => pte & self.combo != 0,
            SlotRecord::SecondHalf => true,
        }
    }

    /// The slot record (hidx) of a piece: bit 3 for the secondary group, then the position. Piece 0 stands
    /// for the whole page where it has one HPTE.
    pub const fn hidx_of(&self, rpte: RealPte, piece: u64) -> u64 {
        let nibble = (rpte.hidx >> (piece * 4)) & 0xf;
        match self.slots {
            SlotRecord::SecondHalf => nibble.wrapping_sub(1) & 0xf,
            SlotRecord::PteAndSecondHalf if rpte.pte & self.combo != 0 => nibble,
            _ => self.hidx(rpte.pte),
        }
    }

    /// True if a piece of a page hashed in pieces has an HPTE (__rpte_sub_valid).
    pub const fn is_piece_hashed(&self, rpte: RealPte, piece: u64) -> bool {
        match self.slots {
            SlotRecord::Pte => false,
            SlotRecord::PteAndSecondHalf => rpte.pte & (SUB0 >> piece) != 0,
            SlotRecord::SecondHalf => (rpte.hidx >> (piece * 4)) & 0xf != 0,
        }
    }

    /// Bits to set in the PTE once a piece (or piece 0 for the whole page) was hashed into `hidx`.
    pub const fn hashed_bits(&self, pte: u64, piece: u64, hidx: u64) -> u64 {
        match self.slots {
            SlotRecord::Pte => self.hashpte | self.hidx_bits(hidx),
            SlotRecord::SecondHalf => self.hashpte,
            SlotRecord::PteAndSecondHalf if pte & self.combo != 0 => SUB0 >> piece,
            SlotRecord::PteAndSecondHalf => SUB0 | self.hidx_bits(hidx),
        }
    }

    /// The doubleword of slots after a piece was hashed into `hidx`.
    pub const fn with_hidx(&self, slots: u64, piece: u64, hidx: u64) -> u64 {
        let nibble = match self.slots {
            SlotRecord::SecondHalf => (hidx + 1) & 0xf,
            _ => hidx & 0xf,
        };
        (slots & !(0xf << (piece * 4))) | (nibble << (piece * 4))
    }

    /// True for a slot that the record cannot hold (hpte_soft_invalid): the last one of the secondary group,
    /// where slots are kept plus one.
    pub fn is_unusable(&self, hidx: u64) -> bool {
        self.slots == SlotRecord::SecondHalf && hidx == 0xf
    }
}

impl Layout {
    /// Size of the HPTEs of a hashed PTE (pte_pagesize_index).
    pub const fn hpte_size(&self, pte: u64) -> PageSize {
        match self.pages {
            Pages::K64 if pte & self.pte.combo == 0 => PageSize::P64K,
            _ => PageSize::P4K,
        }
    }

    /// The pieces that a hashed PTE has HPTEs for, each with its slot record (pte_iterate_hashed_subpages).
    /// Whatever is no page in pieces is one piece.
    pub fn hashed_pieces(&self, rpte: RealPte, size: PageSize) -> impl Iterator<Item = (u64, u64)> {
        let bits = self.pte;
        let split = self.pages == Pages::K64 && size == PageSize::P4K;
        let pieces = if split { PIECES } else { 1 };
        (0..pieces)
            .filter(move |&piece| !split || bits.is_piece_hashed(rpte, piece))
            .map(move |piece| (piece, bits.hidx_of(rpte, piece)))
    }

    /// Bytes from a PTE to its doubleword of slots: the length of the table's first half.
    pub const fn second_half_offset(&self) -> u64 {
        8 << self.index_bits[0]
    }
}
