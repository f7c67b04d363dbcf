//! The calls' numbers, flags, words and return codes: those of PAPR as Linux 6.1
//! arch/powerpc/include/asm/hvcall.h names them. Owns no behaviour.

use thiserror::Error;

/// H_ENTER: use exactly the slot named, not the first free one of its group.
pub const H_EXACT: u64 = 1 << 39;
/// H_READ: real page numbers as the guest knows them. The table holds no others here, so this is so
/// anyway.
pub const H_R_XLATE: u64 = 1 << 38;
/// H_READ: the four entries of the aligned block that holds the index.
pub const H_READ_4: u64 = 1 << 37;
/// H_REMOVE and H_PROTECT: only if doubleword 0 without its low seven bits equals the AVPN operand.
pub const H_AVPN: u64 = 1 << 31;
/// H_REMOVE: only if doubleword 0 has no bit of the AVPN operand.
pub const H_ANDCOND: u64 = 1 << 30;

/// H_REMOVE and H_PROTECT: only this CPU has used the translation, so `tlbiel` will do.
pub const H_LOCAL: u64 = 1 << 28;
/// H_ENTER and H_PAGE_INIT: instruction cache blocks of the page are invalidated. This memory has no
/// caches, so it is met by doing nothing, as for [`H_ICACHE_SYNCHRONIZE`].
pub const H_ICACHE_INVALIDATE: u64 = 1 << 23;
/// H_ENTER and H_PAGE_INIT: the page's data reaches the instruction cache.
pub const H_ICACHE_SYNCHRONIZE: u64 = 1 << 22;
/// H_ENTER: a hint that other pages may have the same contents. Taken, and not used.
pub const H_COALESCE_CAND: u64 = 1 << 21;
/// H_ENTER and H_PAGE_INIT: zero the page first. Not done to a device's.
pub const H_ZERO_PAGE: u64 = 1 << 15;
/// H_PAGE_INIT: copy the page from another.
pub const H_COPY_PAGE: u64 = 1 << 14;

/// H_BULK_REMOVE and H_BLOCK_REMOVE: the word asks for a removal.
pub const HBR_REQUEST: u64 = 0x4000_0000_0000_0000;
/// The word answers one.
pub const HBR_RESPONSE: u64 = 0x8000_0000_0000_0000;
/// No word after this one counts.
pub const HBR_END: u64 = 0xC000_0000_0000_0000;
/// H_BULK_REMOVE: as [`H_AVPN`].
pub const HBR_AVPN: u64 = 0x0200_0000_0000_0000;
/// H_BULK_REMOVE: as [`H_ANDCOND`].
pub const HBR_ANDCOND: u64 = 0x0100_0000_0000_0000;
/// Answer of H_BULK_REMOVE: no such entry.
pub const HBR_NOT_FOUND: u64 = 0x1000_0000_0000_0000;
/// Answer of H_BULK_REMOVE: the word itself was wrong.
pub const HBR_PARAMETER: u64 = 0x2000_0000_0000_0000;
/// Answer of H_BULK_REMOVE: R of the entry removed.
pub const HBR_R: u64 = 0x0800_0000_0000_0000;
/// Answer of H_BULK_REMOVE: C of the entry removed.
pub const HBR_C: u64 = 0x0400_0000_0000_0000;
/// H_BLOCK_REMOVE: as [`H_AVPN`], with the AVPN of the whole block.
pub const HBLKR_AVPN: u64 = 0x0100_0000_0000_0000;
/// Bits of an answer of H_BLOCK_REMOVE.
pub const HBLKR_CTRL_MASK: u64 = 0xF800_0000_0000_0000;
/// Answer of H_BLOCK_REMOVE: removed.
pub const HBLKR_SUCCESS: u64 = 0x8000_0000_0000_0000;
/// Answer of H_BLOCK_REMOVE: no such entry.
pub const HBLKR_NOT_FOUND: u64 = 0x8800_0000_0000_0000;
/// Answer of H_BLOCK_REMOVE: the entry is being changed; ask again.
pub const HBLKR_BUSY: u64 = 0xA000_0000_0000_0000;

/// Translations in one H_BULK_REMOVE.
pub const BULK_ENTRIES_MAX: usize = 4;
/// Translations in one H_BLOCK_REMOVE, and pages in its block.
pub const BLOCK_ENTRIES_MAX: usize = 8;

/// A hypervisor call on the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Hcall {
    /// H_REMOVE.
    Remove,
    /// H_ENTER.
    Enter,
    /// H_READ.
    Read,
    /// H_CLEAR_MOD.
    ClearMod,
    /// H_CLEAR_REF.
    ClearRef,
    /// H_PROTECT.
    Protect,
    /// H_PAGE_INIT.
    PageInit,
    /// H_BULK_REMOVE.
    BulkRemove,
    /// H_BLOCK_REMOVE.
    BlockRemove,
    /// H_RESIZE_HPT_PREPARE.
    ResizeHptPrepare,
    /// H_RESIZE_HPT_COMMIT.
    ResizeHptCommit,
}

impl Hcall {
    /// Number of calls.
    pub const COUNT: usize = 11;
    /// All of them, by opcode.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Remove,
        Self::Enter,
        Self::Read,
        Self::ClearMod,
        Self::ClearRef,
        Self::Protect,
        Self::PageInit,
        Self::BulkRemove,
        Self::BlockRemove,
        Self::ResizeHptPrepare,
        Self::ResizeHptCommit,
    ];

    /// The number in register 3.
    pub const fn opcode(self) -> u64 {
        match self {
            Self::Remove => 0x04,
            Self::Enter => 0x08,
            Self::Read => 0x0c,
            Self::ClearMod => 0x10,
            Self::ClearRef => 0x14,
            Self::Protect => 0x18,
            Self::PageInit => 0x2c,
            Self::BulkRemove => 0x124,
            Self::BlockRemove => 0x328,
            Self::ResizeHptPrepare => 0x36c,
            Self::ResizeHptCommit => 0x370,
        }
    }

    /// The call of a number in register 3, or `None` if it is none of these.
    pub fn from_opcode(opcode: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|call| call.opcode() == opcode)
    }

    /// The name in PAPR.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Remove => "H_REMOVE",
            Self::Enter => "H_ENTER",
            Self::Read => "H_READ",
            Self::ClearMod => "H_CLEAR_MOD",
            Self::ClearRef => "H_CLEAR_REF",
            Self::Protect => "H_PROTECT",
            Self::PageInit => "H_PAGE_INIT",
            Self::BulkRemove => "H_BULK_REMOVE",
            Self::BlockRemove => "H_BLOCK_REMOVE",
            Self::ResizeHptPrepare => "H_RESIZE_HPT_PREPARE",
            Self::ResizeHptCommit => "H_RESIZE_HPT_COMMIT",
        }
    }
}

/// Return code of a call that did its work.
pub const H_SUCCESS: i64 = 0;
/// Return code of a call that did part of its work; the answers say which.
pub const H_PARTIAL: i64 = 5;

/// Why a call did not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum HcallError {
    /// Not now: the table that H_RESIZE_HPT_PREPARE makes is not ready.
    #[error("H_BUSY")]
    Busy,
    /// H_RESIZE_HPT_COMMIT of a table that was not prepared.
    #[error("H_CLOSED")]
    Closed,
    /// The work goes on: ask again in a millisecond.
    #[error("H_LONG_BUSY_ORDER_1_MSEC")]
    LongBusy,
    /// No such call.
    #[error("H_FUNCTION")]
    Function,
    /// An operand that is none: an index past the table, a flag the call lacks, a page size that does
    /// not exist, a real page that is not the guest's.
    #[error("H_PARAMETER")]
    Parameter,
    /// No free slot where one was asked for.
    #[error("H_PTEG_FULL")]
    PtegFull,
    /// The entry is not valid, or not the one that was meant.
    #[error("H_NOT_FOUND")]
    NotFound,
    /// No memory for a table of this size.
    #[error("H_NO_MEM")]
    NoMemory,
    /// A table larger than the guest's memory is worth.
    #[error("H_RESOURCE")]
    Resource,
}

impl HcallError {
    /// The return code in register 3.
    pub const fn code(self) -> i64 {
        match self {
            Self::Busy => 1,
            Self::Closed => 2,
            Self::LongBusy => 9900,
            Self::Function => -2,
            Self::Parameter => -4,
            Self::PtegFull => -6,
            Self::NotFound => -7,
            Self::NoMemory => -9,
            Self::Resource => -16,
        }
    }
}
