//! The operands of `slbie` and `slbieg`.
//!
//! Owns their layouts (Power ISA 2.07 Book III-S 5.9.3.1, Power ISA 3.0 Book III 5.9.3.2). Refuses to
//! act: [`super::Slb`] does.

use super::{RB_LOW_ESID_1T, RB_V, RS_C, RS_KP, RS_KS, RS_LLP, RS_N, RS_VSID, SlbError};
use crate::addr::{Ea, SegmentSize};

/// RB of `slbie`: ESID, bits 0:35.
const ESID: u64 = 0xFFFF_FFFF_F000_0000;
/// RB of `slbie`: class, bit 36.
const CLASS: u64 = 0x0800_0000;
/// RB of `slbie`: B, bits 37:38.
const B_SHIFT: u32 = 25;

// The words of slbmte: no two fields share a bit, and with what must be 0 they make the word.
const RS_B: u64 = 3 << 62;
const RS_ZERO: u64 = 0x04F;
const RB_INDEX: u64 = 0xFFF;
const RB_ZERO: u64 = 0x07FF_F000;
const _: () = assert!(RS_B + RS_VSID + RS_KS + RS_KP + RS_N + RS_C + RS_LLP + RS_ZERO == u64::MAX);
const _: () = assert!(ESID + RB_V + RB_ZERO + RB_INDEX == u64::MAX);
const _: () = assert!(RB_LOW_ESID_1T & ESID == RB_LOW_ESID_1T);
// Those of slbie; bits 39:63 are reserved.
const _: () = assert!(ESID + CLASS + (3 << B_SHIFT) + 0x01FF_FFFF == u64::MAX);

/// What `slbie` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SlbieOperand {
    /// An address in the segment.
    pub ea: Ea,
    /// The class its entry must have.
    pub class: bool,
    /// The size its entry must have. CPUs without 1 TB segments have no such field: 256 MB is 0.
    pub segment: SegmentSize,
}

impl SlbieOperand {
    /// The RB operand. Address bits inside the segment are not part of it.
    pub const fn rb(&self) -> u64 {
        let esid = self.ea.esid(self.segment).get() << self.segment.shift();
        let class = if self.class { CLASS } else { 0 };
        esid | class | self.segment.b_field() << B_SHIFT
    }

    /// Decodes an RB. Reserved bits and the ESID bits inside a 1 TB segment do not count.
    ///
    /// # Errors
    /// [`SlbError::SegmentSize`] for a reserved B.
    pub fn from_rb(rb: u64) -> Result<Self, SlbError> {
        let b = rb >> B_SHIFT & 3;
        let segment = SegmentSize::from_b_field(b).ok_or(SlbError::SegmentSize { b })?;
        let esid = Ea::new(rb).esid(segment).get();
        Ok(Self {
            ea: Ea::new(esid << segment.shift()),
            class: rb & CLASS != 0,
            segment,
        })
    }
}

/// What `slbieg` (ISA 3.0) names: a segment of a process, on every CPU of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SlbiegOperand {
    /// The process.
    pub pid: u32,
    /// The partition.
    pub lpid: u32,
    /// The segment.
    pub segment: SlbieOperand,
}

impl SlbiegOperand {
    /// The RS operand: PID in bits 0:31, LPID in 32:63.
    pub const fn rs(&self) -> u64 {
        (self.pid as u64) << 32 | self.lpid as u64
    }

    /// The RB operand, as `slbie` has it.
    pub const fn rb(&self) -> u64 {
        self.segment.rb()
    }

    /// Decodes RS and RB.
    ///
    /// # Errors
    /// [`SlbError::SegmentSize`] for a reserved B.
    pub fn from_words(rs: u64, rb: u64) -> Result<Self, SlbError> {
        Ok(Self {
            pid: (rs >> 32) as u32,
            lpid: rs as u32,
            segment: SlbieOperand::from_rb(rb)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Esid, PageSize, Vsid};
    use crate::slb::SlbEntry;
    use proptest::prelude::*;

    #[test]
    fn worked_words() {
        let mut operand = SlbieOperand {
            ea: Ea::new(0xd000_0000_1234_5678),
            class: true,
            segment: SegmentSize::S256M,
        };
        assert_eq!(operand.rb(), 0xd000_0000_1800_0000);
        operand.segment = SegmentSize::S1T;
        assert_eq!(operand.rb(), 0xd000_0000_0a00_0000);
        let b = SlbieOperand::from_rb(0x0400_0000);
        assert_eq!(b, Err(SlbError::SegmentSize { b: 2 }));
    }

    proptest! {
        #[test]
        fn slbie_and_slbieg_round_trip(rs: u64, rb: u64, b in 0u64..2) {
            let rb = rb & !(3 << B_SHIFT) | b << B_SHIFT;
            let operand = SlbiegOperand::from_words(rs, rb).expect("B is not reserved");
            let counted = if b == 0 { ESID } else { ESID & !RB_LOW_ESID_1T };
            prop_assert_eq!(operand.rb(), rb & (counted | CLASS | 3 << B_SHIFT));
            prop_assert_eq!(operand.rs(), rs);
            prop_assert_eq!(SlbiegOperand::from_words(operand.rs(), operand.rb()), Ok(operand));
            prop_assert_eq!(SlbieOperand::from_rb(rb), Ok(operand.segment));
        }

        #[test]
        fn slbmte_round_trips(
            esid: u64, vsid: u64, flags in 0u8..32, page in 0usize..4, large: bool, index in 0u64..4096,
        ) {
            let segment = if large { SegmentSize::S1T } else { SegmentSize::S256M };
            let entry = SlbEntry {
                esid: Esid::new(esid >> segment.shift()),
                vsid: Vsid::new(vsid & (RS_VSID >> (segment.shift() - 16))),
                segment,
                ks: flags & 1 != 0,
                kp: flags & 2 != 0,
                n: flags & 4 != 0,
                class: flags & 8 != 0,
                page: PageSize::ALL[page],
                valid: flags & 16 != 0,
            };
            prop_assert_eq!(SlbEntry::from_words(entry.rs(), entry.rb(index)), Ok(entry));
            prop_assert_eq!(entry.rb(index) & RB_INDEX, index);
            prop_assert_eq!((entry.rs() & RS_ZERO, entry.rb(index) & RB_ZERO), (0, 0));
        }
    }
}
