//! What a CPU's MMU has, beside the sizes of its buffers.

use crate::addr::SegmentSize;
use crate::hpte::HpteFormat;
use crate::page_sizes::PageSizes;

/// How a guest's real mode (HV=0, IR or DR = 0) makes real addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum GuestRealMode {
    /// There is no hypervisor state: real mode is EA bits 4:63.
    None,
    /// RMLS and RMOR, or the VRMA if LPCR VPM0 is set (POWER7, POWER8).
    RmlsOrVrma,
    /// Always the VRMA, its page size in the partition table (POWER9).
    Vrma,
}

/// What a CPU's MMU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MmuFeatures {
    /// Page sizes.
    pub page_sizes: PageSizes,
    /// 1 TB segments (ISA 2.05 on).
    pub segments_1t: bool,
    /// Layout of the table's entries.
    pub hpte_format: HpteFormat,
    /// A guest's real mode.
    pub guest_real_mode: GuestRealMode,
}

impl MmuFeatures {
    /// PowerPC 970, as QEMU 7.2 models it: without hypervisor state.
    pub const PPC970: Self = Self {
        page_sizes: PageSizes::PPC970,
        segments_1t: false,
        hpte_format: HpteFormat::Isa2,
        guest_real_mode: GuestRealMode::None,
    };

    /// POWER5+ (IBM SG24-8079, page 25, for the page sizes).
    pub const POWER5_PLUS: Self = Self {
        page_sizes: PageSizes::POWER5_PLUS,
        ..Self::PPC970
    };

    /// POWER7 and POWER8.
    pub const POWER8: Self = Self {
        page_sizes: PageSizes::POWER7,
        segments_1t: true,
        hpte_format: HpteFormat::Isa2,
        guest_real_mode: GuestRealMode::RmlsOrVrma,
    };

    /// POWER9 with hashed translation.
    pub const POWER9: Self = Self {
        hpte_format: HpteFormat::Isa3,
        guest_real_mode: GuestRealMode::Vrma,
        ..Self::POWER8
    };

    /// Whether segments of a size exist.
    pub const fn has_segment(&self, segment: SegmentSize) -> bool {
        self.segments_1t || matches!(segment, SegmentSize::S256M)
    }
}
