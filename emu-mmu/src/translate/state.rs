//! What a translation is given and what it tells: MSR bits, sizes, the [`Walk`] and its [`Probe`].

use crate::addr::{Ea, Ra, Vpn};
use crate::replace::{Replacement, TlbGeometry};

/// The MSR bits translation reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AccessState {
    /// Problem state: key Kp, else Ks.
    pub pr: bool,
    /// Instruction relocation.
    pub ir: bool,
    /// Data relocation.
    pub dr: bool,
    /// Hypervisor state.
    pub hv: bool,
    /// 64-bit mode; else addresses are cut to 32 bits.
    pub sf: bool,
}

impl AccessState {
    /// A bare-metal kernel with relocation on.
    pub const fn kernel() -> Self {
        Self {
            pr: false,
            ir: true,
            dr: true,
            hv: true,
            sf: true,
        }
    }

    /// A user program with relocation on.
    pub const fn user() -> Self {
        Self {
            pr: true,
            ..Self::kernel()
        }
    }

    /// An address as this state sees it: cut to 32 bits if SF=0.
    #[inline]
    pub const fn cut(&self, ea: Ea) -> Ea {
        if self.sf {
            ea
        } else {
            Ea::new(ea.get() & 0xffff_ffff)
        }
    }

    /// A bare-metal kernel in real mode.
    pub const fn real() -> Self {
        Self {
            ir: false,
            dr: false,
            ..Self::kernel()
        }
    }
}

/// What one translation did. Made for every access with relocation on, and for a guest's through the
/// VRMA; not for plain real mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Walk {
    /// The effective address, cut to 32 bits if SF=0.
    pub ea: Ea,
    /// The virtual page, unless no segment was found.
    pub vpn: Option<Vpn>,
    /// The ERAT held the page, and nothing more was needed.
    pub erat_hit: bool,
    /// The SLB was searched and held the segment.
    pub slb_hit: bool,
    /// The TLB was searched and held the page.
    pub tlb_hit: bool,
    /// Groups of the table read: 0 to 2.
    pub groups_read: u8,
    /// Entries of them compared, up to the match: 0 to 16.
    pub entries_compared: u8,
    /// R was set in the table.
    pub r_written: bool,
    /// C was set in the table.
    pub c_written: bool,
}

impl Walk {
    /// A walk in which nothing has happened yet.
    pub const fn new(ea: Ea) -> Self {
        Self {
            ea,
            vpn: None,
            erat_hit: false,
            slb_hit: false,
            tlb_hit: false,
            groups_read: 0,
            entries_compared: 0,
            r_written: false,
            c_written: false,
        }
    }
}

/// A byte store that the walker makes into an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RcStep {
    /// Byte 14, which holds R, of the entry at this address.
    R(Ra),
    /// Byte 15, which holds C.
    C(Ra),
}

/// Hears what each translation did.
pub trait Probe {
    /// One translation ended, with or without a fault.
    #[inline(always)]
    fn walk(&mut self, walk: &Walk) {
        let _ = walk;
    }

    /// The walker is about to make this byte store into the table. Others may have changed the entry
    /// since it was read, and the store does not look again.
    #[inline(always)]
    fn before_rc(&mut self, step: RcStep) {
        let _ = step;
    }
}

impl Probe for () {}

/// Shapes of one CPU's lookaside structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MmuGeometry {
    /// SLB entries of a thread.
    pub slb_entries: usize,
    /// Data ERAT.
    pub erat: TlbGeometry,
    /// Instruction ERAT.
    pub ierat: TlbGeometry,
    /// TLB.
    pub tlb: TlbGeometry,
    /// Replacement in both ERATs.
    pub erat_replacement: Replacement,
    /// Replacement in the TLB.
    pub tlb_replacement: Replacement,
}

impl MmuGeometry {
    /// PowerPC 970: SLB 64, data ERAT 128, TLB 1024 4-way (AC6 training outline for the PowerPC
    /// 970); both ERATs 2-way (recalled from the 970FX User's Manual); the policies are estimates.
    pub const PPC970: Self = Self {
        slb_entries: 64,
        erat: TlbGeometry { sets: 64, ways: 2 },
        ierat: TlbGeometry { sets: 64, ways: 2 },
        tlb: TlbGeometry { sets: 256, ways: 4 },
        erat_replacement: Replacement::Lru,
        tlb_replacement: Replacement::Lru,
    };

    /// POWER9: SLB 32 (QEMU 7.2), TLB 256 sets (Linux 6.1 `POWER9_TLB_SETS_HASH`) of 4 ways, one level
    /// of ERAT (Linux 6.1 tools/perf power9), 64 entries each (recalled from the POWER9 Processor
    /// User's Manual); the policies are estimates.
    pub const POWER9: Self = Self {
        erat: TlbGeometry { sets: 1, ways: 64 },
        tlb: TlbGeometry { sets: 256, ways: 4 },
        ..Self::POWER8
    };

    /// POWER8: SLB 32 (QEMU 7.2), TLB 512 sets (Linux 6.1 `POWER8_TLB_SETS`) of 4 ways, instruction
    /// ERAT 64, data ERAT 48 fully associative (all three recalled from Sinharoy et al., IBM JRD
    /// 59-1, 2015; its second-level data ERAT is not modelled); the policies are estimates.
    pub const POWER8: Self = Self {
        slb_entries: 32,
        erat: TlbGeometry { sets: 1, ways: 48 },
        ierat: TlbGeometry { sets: 1, ways: 64 },
        tlb: TlbGeometry { sets: 512, ways: 4 },
        erat_replacement: Replacement::Lru,
        tlb_replacement: Replacement::Lru,
    };
}
