//! The special purpose registers that translation reads.
//!
//! Owns the fields of LPCR and what they mean for real mode (Power ISA 2.07 Book III-S 2.2 and
//! 5.7.3). Refuses timing: a change takes effect at once, and software flushes what it made stale.

use crate::addr::PageSize;
use crate::protect::ClassKeys;

/// The Logical Partitioning Control Register (POWER7 on).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Lpcr(pub u64);

impl Lpcr {
    /// VPM0: a guest's real mode is the VRMA (until ISA 2.07; ISA 3.0 always).
    pub const VPM0: u64 = 1 << 63;
    /// VPM1: a guest's storage interrupts go to the hypervisor.
    pub const VPM1: u64 = 1 << 62;
    /// ISL: outside hypervisor state L||LP of SLB entries count as 4 KB.
    pub const ISL: u64 = 1 << 61;
    /// VRMASD: L (bit 12) and LP (bits 15:16) of the VRMA.
    pub const VRMASD: u64 = 0x1f << 47;
    /// RMLS: the limit of a guest's real mode (until ISA 2.07).
    pub const RMLS: u64 = 0xf << 26;

    /// The page size that VRMASD names, or `None` if it is reserved.
    #[inline]
    pub const fn vrma_page(self) -> Option<PageSize> {
        let l = self.0 >> 51 & 1;
        let lp = self.0 >> 47 & 3;
        PageSize::from_llp((l << 2 | lp) as u8)
    }

    /// The first byte past a guest's real mode area. The codes are the implementation's; these are
    /// QEMU 7.2's for POWER7 and POWER8, and an unknown one gives 0.
    #[inline]
    pub const fn rmls_limit(self) -> u64 {
        match (self.0 & Self::RMLS) >> 26 {
            0 => 256 << 30,
            1 => 16 << 30,
            2 => 1 << 30,
            3 => 64 << 20,
            4 => 256 << 20,
            7 => 128 << 20,
            8 => 32 << 20,
            _ => 0,
        }
    }
}

/// The registers of one CPU that translation reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Registers {
    /// AMR, IAMR and UAMOR.
    pub keys: ClassKeys,
    /// LPCR; 0 on CPUs without one.
    pub lpcr: Lpcr,
    /// HRMOR: or-ed into a hypervisor's real addresses with EA bit 0 clear.
    pub hrmor: u64,
    /// RMOR: or-ed into a guest's real mode addresses (until ISA 2.07).
    pub rmor: u64,
    /// Page size of the VRMA in the partition table entry (ISA 3.0).
    pub vrma_ps: PageSize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vrma_pages() {
        let page = |bits| Lpcr(bits).vrma_page();
        assert_eq!(page(Lpcr::VPM0), Some(PageSize::P4K));
        assert_eq!(page(1 << 51), Some(PageSize::P16M));
        assert_eq!(page(1 << 51 | 1 << 47), Some(PageSize::P64K));
        assert_eq!(page(1 << 47), None);
    }

    #[test]
    fn rmls_codes() {
        let limit = |code: u64| Lpcr(code << 26).rmls_limit();
        assert_eq!(limit(4), 0x1000_0000);
        assert_eq!(limit(8), 0x200_0000);
        assert_eq!(limit(15), 0);
    }
}
