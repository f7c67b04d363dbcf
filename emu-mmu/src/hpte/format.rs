//! The two layouts of an entry in memory.
//!
//! Owns the conversion between them (Linux 6.1 asm/book3s/64/mmu-hash.h, `hpte_old_to_new_v` and its
//! fellows state the same bits). Refuses to choose: the table says which it has.

use super::{Hpte, HpteR, HpteV};

/// How entries lie in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum HpteFormat {
    /// ISA 2.x: B in doubleword 0 (PowerPC 970 to POWER8). Hypervisor calls use it on every CPU.
    #[default]
    Isa2,
    /// ISA 3.0: B in doubleword 1, and an AVPN of 68-bit virtual addresses (POWER9).
    Isa3,
}

/// AVPN, software bits, L, H and V of ISA 3.0; bits 0:11 are reserved.
const DW0_ISA3: u64 = 0x000F_FFFF_FFFF_FFFF;
/// B in doubleword 1 of ISA 3.0: bits 4:5.
const DW1_B_SHIFT: u32 = 58;
const DW1_B: u64 = 3 << DW1_B_SHIFT;

const _: () = assert!(DW1_B == 0x0C00_0000_0000_0000);
const _: () = assert!(DW0_ISA3 & HpteV::B_MASK == 0);

impl HpteFormat {
    /// The entry that two doublewords of memory are, in the ISA 2.x layout that [`Hpte`] has.
    #[inline]
    pub const fn decode(self, dw0: u64, dw1: u64) -> Hpte {
        match self {
            Self::Isa2 => Hpte {
                v: HpteV(dw0),
                r: HpteR(dw1),
            },
            Self::Isa3 => Hpte {
                v: HpteV((dw0 & DW0_ISA3) | ((dw1 & DW1_B) >> DW1_B_SHIFT) << 62),
                r: HpteR(dw1 & !DW1_B),
            },
        }
    }

    /// The two doublewords of memory of an entry. AVPN bits that ISA 3.0 lacks are lost there.
    #[inline]
    pub const fn encode(self, hpte: Hpte) -> (u64, u64) {
        match self {
            Self::Isa2 => (hpte.v.0, hpte.r.0),
            Self::Isa3 => (
                hpte.v.0 & DW0_ISA3,
                (hpte.r.0 & !DW1_B) | (hpte.v.0 >> 62) << DW1_B_SHIFT,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn b_moves() {
        let hpte = HpteFormat::Isa3.decode(0x0000_994d_a15e_8100, 0x0400_0000_19d2_4012);
        assert_eq!(hpte.v.0, 0x4000_994d_a15e_8100);
        assert_eq!(hpte.r.0, 0x19d2_4012);
    }

    proptest! {
        #[test]
        fn isa3_round_trip(dw0: u64, dw1: u64) {
            let hpte = HpteFormat::Isa3.decode(dw0, dw1);
            prop_assert_eq!(HpteFormat::Isa3.encode(hpte), (dw0 & DW0_ISA3, dw1));
        }

        #[test]
        fn isa2_entry_survives_isa3(avpn in 0u64..1 << 45, low in 0u64..0x80, b in 0u64..4, r: u64) {
            let hpte = Hpte { v: HpteV(b << 62 | avpn << 7 | low), r: HpteR(r & !DW1_B) };
            let (dw0, dw1) = HpteFormat::Isa3.encode(hpte);
            prop_assert_eq!(HpteFormat::Isa3.decode(dw0, dw1), hpte);
        }
    }
}
