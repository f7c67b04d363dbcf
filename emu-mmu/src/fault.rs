//! Why a translation failed: the interrupt, its vector and its cause bits.
//!
//! Owns the masks of DSISR and SRR1 (Power ISA 2.07 Book III-S 6.5; Linux 6.1 asm/reg.h). Refuses
//! to deliver: setting SRR0, SRR1 and the program counter is the CPU's.

use crate::addr::Ea;
use crate::memory::MemoryError;
use crate::protect::{Access, Denied};

/// DSISR and SRR1: no entry translates the page.
pub const CAUSE_NO_HPTE: u32 = 0x4000_0000;
/// SRR1: no-execute or guarded storage.
pub const CAUSE_NO_EXECUTE: u32 = 0x1000_0000;
/// DSISR and SRR1: pp and key.
pub const CAUSE_PROTECTION: u32 = 0x0800_0000;
/// DSISR: `larx`, `stcx.` or the like to storage that does not allow it.
pub const CAUSE_STORAGE_CLASS: u32 = 0x0400_0000;
/// DSISR: the access was a store.
pub const CAUSE_STORE: u32 = 0x0200_0000;

/// A failed translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Fault {
    /// Data segment interrupt: no SLB entry.
    DataSegment {
        /// The effective address.
        dar: Ea,
    },
    /// Instruction segment interrupt: no SLB entry.
    InstructionSegment {
        /// The effective address, for SRR0.
        ea: Ea,
    },
    /// Data storage interrupt.
    DataStorage {
        /// The effective address.
        dar: Ea,
        /// The cause.
        dsisr: u32,
    },
    /// Instruction storage interrupt.
    InstructionStorage {
        /// The effective address, for SRR0.
        ea: Ea,
        /// The cause bits, to be or-ed into the MSR's rest.
        srr1: u32,
    },
    /// Machine check: the table or what it names is outside memory.
    MachineCheck {
        /// The effective address.
        dar: Ea,
        /// What memory refused.
        error: MemoryError,
    },
    /// Machine check: several SLB entries translate the address.
    SlbMultihit {
        /// The effective address.
        dar: Ea,
    },
    /// Machine check: several entries of the table translate the address.
    TlbMultihit {
        /// The effective address.
        dar: Ea,
    },
    /// Alignment interrupt: the access must be aligned, or may not be to such storage.
    Alignment {
        /// The effective address.
        dar: Ea,
    },
    /// Hypervisor data storage interrupt: a guest's, taken by the hypervisor.
    HypervisorDataStorage {
        /// The effective address.
        hdar: Ea,
        /// The cause.
        hdsisr: u32,
    },
    /// Hypervisor instruction storage interrupt: a guest's, taken by the hypervisor.
    HypervisorInstructionStorage {
        /// The effective address, for HSRR0.
        ea: Ea,
        /// The cause bits, to be or-ed into the MSR's rest.
        hsrr1: u32,
    },
}

impl std::error::Error for Fault {}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ea = self.ea();
        match self {
            Fault::DataSegment { .. } => write!(f, "data segment interrupt at {ea}"),
            Fault::InstructionSegment { .. } => write!(f, "instruction segment interrupt at {ea}"),
            Fault::DataStorage { dsisr, .. } => {
                write!(f, "data storage interrupt at {ea}, DSISR {dsisr:#x}")
            }
            Fault::InstructionStorage { srr1, .. } => {
                write!(f, "instruction storage interrupt at {ea}, SRR1 {srr1:#x}")
            }
            Fault::MachineCheck { error, .. } => write!(f, "machine check at {ea}: {error}"),
            Fault::SlbMultihit { .. } => write!(f, "machine check at {ea}: SLB multihit"),
            Fault::TlbMultihit { .. } => write!(f, "machine check at {ea}: TLB multihit"),
            Fault::Alignment { .. } => write!(f, "alignment interrupt at {ea}"),
            Fault::HypervisorDataStorage { hdsisr, .. } => {
                write!(
                    f,
                    "hypervisor data storage interrupt at {ea}, HDSISR {hdsisr:#x}"
                )
            }
            Fault::HypervisorInstructionStorage { hsrr1, .. } => {
                write!(
                    f,
                    "hypervisor instruction storage interrupt at {ea}, HSRR1 {hsrr1:#x}"
                )
            }
        }
    }
}

impl Fault {
    /// The interrupt vector (Power ISA 2.07 Book III-S 6.5).
    #[inline]
    pub const fn vector(&self) -> u16 {
        match self {
            Self::MachineCheck { .. } | Self::SlbMultihit { .. } | Self::TlbMultihit { .. } => {
                0x200
            }
            Self::DataStorage { .. } => 0x300,
            Self::DataSegment { .. } => 0x380,
            Self::InstructionStorage { .. } => 0x400,
            Self::InstructionSegment { .. } => 0x480,
            Self::Alignment { .. } => 0x600,
            Self::HypervisorDataStorage { .. } => 0xE00,
            Self::HypervisorInstructionStorage { .. } => 0xE20,
        }
    }

    /// The effective address that faulted.
    #[inline]
    pub const fn ea(&self) -> Ea {
        match *self {
            Self::DataSegment { dar }
            | Self::DataStorage { dar, .. }
            | Self::SlbMultihit { dar }
            | Self::TlbMultihit { dar }
            | Self::Alignment { dar }
            | Self::MachineCheck { dar, .. } => dar,
            Self::HypervisorDataStorage { hdar, .. } => hdar,
            Self::InstructionSegment { ea }
            | Self::InstructionStorage { ea, .. }
            | Self::HypervisorInstructionStorage { ea, .. } => ea,
        }
    }

    pub(crate) const fn no_segment(ea: Ea, access: Access) -> Self {
        match access {
            Access::Fetch => Self::InstructionSegment { ea },
            Access::Load | Access::Store => Self::DataSegment { dar: ea },
        }
    }

    pub(crate) const fn no_page(ea: Ea, access: Access) -> Self {
        Self::storage(ea, access, CAUSE_NO_HPTE)
    }

    pub(crate) const fn denied(ea: Ea, access: Access, denied: Denied) -> Self {
        Self::storage(ea, access, denied.cause())
    }

    /// The same storage interrupt, taken by the hypervisor.
    pub(crate) const fn to_hypervisor(self) -> Self {
        match self {
            Self::DataStorage { dar, dsisr } => Self::HypervisorDataStorage {
                hdar: dar,
                hdsisr: dsisr,
            },
            Self::InstructionStorage { ea, srr1 } => {
                Self::HypervisorInstructionStorage { ea, hsrr1: srr1 }
            }
            other => other,
        }
    }

    const fn storage(ea: Ea, access: Access, cause: u32) -> Self {
        match access {
            Access::Fetch => Self::InstructionStorage { ea, srr1: cause },
            Access::Load => Self::DataStorage {
                dar: ea,
                dsisr: cause,
            },
            Access::Store => Self::DataStorage {
                dar: ea,
                dsisr: cause | CAUSE_STORE,
            },
        }
    }
}
