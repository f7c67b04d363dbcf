//! The operand of `tlbie` and `tlbiel`: which translation goes, and how an instruction names it.
//!
//! Owns the RB encodings. Refuses to act: `tlb` removes entries, the caller delivers the operand to
//! CPUs.

mod forms;

pub use forms::{TlbieFields, TlbieRs};

use crate::addr::{PageSize, SegmentSize, Vpn};
use crate::hpte::lp_code;

/// One translation to remove from lookaside buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TlbInvalidate {
    /// The virtual page; its top 14 address bits are not compared by any receiver.
    pub vpn: Vpn,
    /// Segment size.
    pub segment: SegmentSize,
    /// Page size of the segment.
    pub base: PageSize,
    /// Page size of the entry.
    pub actual: PageSize,
    /// `tlbiel` (this CPU only) instead of `tlbie`.
    pub local: bool,
}

/// An encoding of the RB operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TlbieForm {
    /// ISA 2.01 (PowerPC 970): the top 16 address bits and the low 12 bits are 0; the size is L, a
    /// bit of the instruction. A 1 TB segment, which the 970 lacks, is written at RB bits 54:55 as
    /// Linux 2.6.38 arch/powerpc/mm/hash_native_64.c does.
    Isa201,
    /// ISA 2.03 (POWER5+): the size is L, a bit of the instruction, with AP at RB bit 56 for a small
    /// page and LP for a large one (Power ISA 2.03 Book III-S, tlbie).
    Isa203,
    /// ISA 2.06, 2.07 and 3.0 (POWER7 to POWER9): Power ISA 2.07 Book III-S 5.9.3.3. ISA 3.0 names the
    /// partition in RS and has the same RB.
    Isa206,
}

/// What an RB names, with its IS field (bits 52:53).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Scope {
    /// IS=0: one page.
    Page(TlbInvalidate),
    /// IS=1 (ISA 3.0): a process, to which no entry of a hashed table belongs.
    Process,
    /// IS=2 or 3 of `tlbiel`: a congruence class.
    Set {
        /// The class.
        set: u32,
        /// IS=3: of all partitions; else of the CPU's own.
        all_lpids: bool,
    },
    /// IS=2 or 3 of `tlbie`: everything.
    All {
        /// IS=3: of all partitions; else of one.
        all_lpids: bool,
    },
}

impl Scope {
    /// Decodes an ISA 2.06 or 3.0 RB, or `None` if B, AP or LP is reserved.
    pub fn from_rb(rb: u64, local: bool) -> Option<Self> {
        let all_lpids = rb >> 10 & 1 != 0;
        Some(match (rb >> 10 & 3, local) {
            (0, _) => Self::Page(TlbInvalidate::from_rb(rb, local)?),
            (1, _) => Self::Process,
            (_, true) => Self::Set {
                set: (rb >> 12 & 0xfff) as u32,
                all_lpids,
            },
            (_, false) => Self::All { all_lpids },
        })
    }
}

/// RB bit 63 of ISA 2.06: the large form.
const RB_L: u64 = 1;
/// The L||LP values of AP for 4 KB, 64 KB and 16 MB pages.
const AP: [(u64, PageSize); 3] = [
    (0b000, PageSize::P4K),
    (0b101, PageSize::P64K),
    (0b100, PageSize::P16M),
];

impl TlbInvalidate {
    /// The RB operand.
    #[inline]
    pub const fn rb(&self, form: TlbieForm) -> u64 {
        // The VA's low 64 bits: the top bits of the VPN leave, as VA bits 0:13 are not part of the
        // operand.
        let va = (self.vpn.get() << 12) & !(self.actual.bytes() - 1);
        let b = self.segment.b_field() << 8;
        match form {
            TlbieForm::Isa201 => (va & 0x0000_ffff_ffff_ffff) | b,
            TlbieForm::Isa203 => match self.actual {
                PageSize::P4K => va | b,
                PageSize::P64K if matches!(self.base, PageSize::P4K) => va | b | 1 << 7,
                _ => {
                    let code = match lp_code(self.base, self.actual) {
                        Some((_, code)) => code,
                        None => 0xff,
                    };
                    va | (code << 12) | b
                }
            },
            TlbieForm::Isa206 => match self.base {
                PageSize::P4K => {
                    // AVA reaches down to 4 KB whatever the actual page (Linux 6.1
                    // mm/book3s64/hash_native.c).
                    let ap = match self.actual {
                        PageSize::P4K => 0b000,
                        PageSize::P64K => 0b101,
                        PageSize::P16M | PageSize::P16G => 0b100,
                    };
                    (self.vpn.get() << 12) | b | (ap << 5)
                }
                _ => {
                    let code = match lp_code(self.base, self.actual) {
                        Some((_, code)) => code,
                        None => 0xff,
                    };
                    // AVAL: VA bits 58:64. A receiver ignores those inside the page.
                    let aval = self.vpn.get() & 0xfe;
                    va | (code << 12) | b | aval | RB_L
                }
            },
        }
    }

    /// Bit L of the instruction: a large page. In ISA 2.03 a 64 KB page of a 4 KB segment is a small
    /// one, with AP; ISA 2.06 has the bit in RB instead.
    #[inline]
    pub const fn l(&self, form: TlbieForm) -> bool {
        match form {
            TlbieForm::Isa201 => !matches!(self.actual, PageSize::P4K),
            TlbieForm::Isa203 => !matches!(
                (self.base, self.actual),
                (PageSize::P4K, PageSize::P4K | PageSize::P64K)
            ),
            TlbieForm::Isa206 => false,
        }
    }

    /// Decodes an ISA 2.06 RB with IS=0, or `None` if B, AP or LP is reserved. The 14 address bits
    /// the operand does not carry are 0.
    pub fn from_rb(rb: u64, local: bool) -> Option<Self> {
        let segment = SegmentSize::from_b_field(rb >> 8 & 3)?;
        let at = |va: u64, base, actual| Self {
            vpn: Vpn::new(va >> 12),
            segment,
            base,
            actual,
            local,
        };
        if rb & RB_L == 0 {
            let &(_, actual) = AP.iter().find(|(ap, _)| *ap == rb >> 5 & 7)?;
            return Some(at(rb & !0xfff, PageSize::P4K, actual));
        }
        let lp = rb >> 12 & 0xff;
        for base in [PageSize::P64K, PageSize::P16M, PageSize::P16G] {
            for actual in PageSize::ALL {
                if let Some((mask, code)) = lp_code(base, actual)
                    && lp & mask == code
                {
                    let va = rb & !(actual.bytes() - 1);
                    let mixed = base != actual;
                    let aval = if mixed { (rb & 0xfe) << 12 } else { 0 };
                    return Some(at(va | aval & (actual.bytes() - 1), base, actual));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PageSize::{P4K, P16M, P64K};
    use SegmentSize::{S1T, S256M};
    use proptest::prelude::*;

    fn op(vpn: u64, segment: SegmentSize, base: PageSize, actual: PageSize) -> TlbInvalidate {
        TlbInvalidate {
            vpn: Vpn::new(vpn),
            segment,
            base,
            actual,
            local: false,
        }
    }

    #[test]
    fn worked_example_2_6_38() {
        let rb = |vpn, segment| op(vpn, segment, P4K, P4K).rb(TlbieForm::Isa201);
        assert_eq!(rb(0xf_09b8_9af5_0100, S256M), 0x0000_89af_5010_0000);
        assert_eq!(rb(0xe_b71b_0000_0100, S1T), 0x0000_b000_0010_0100);
        let large = op(0xf_09b8_9af5_0100, S256M, P16M, P16M);
        assert_eq!(
            (large.rb(TlbieForm::Isa201), large.l(TlbieForm::Isa201)),
            (0x0000_89af_5000_0000, true)
        );
    }

    #[test]
    fn operands_recorded_on_power8() {
        let rb = |vpn, segment| op(vpn, segment, P4K, P4K).rb(TlbieForm::Isa206);
        assert_eq!(rb(0x7c_a37f_5168_0271, S256M), 0xca37_f516_8027_1000);
        assert_eq!(rb(0x6d_f11f_9ffc_d891, S1T), 0xdf11_f9ff_cd89_1100);
    }

    #[test]
    fn large_forms() {
        let rb = |base, actual| op(0x1_2345_67b5, S1T, base, actual).rb(TlbieForm::Isa206);
        // VA 0x1_2345_67b5_000: AVA, LP with address bits above the code, B, AVAL, L.
        assert_eq!(rb(P64K, P64K), 0x1234_567b_11b5);
        assert_eq!(rb(P16M, P16M), 0x1234_5600_01b5 & !0xff_f000);
        assert_eq!(rb(P64K, P16M), 0x1234_5600_0000 & !0xff_ffff | 0x81b5);
        assert_eq!(rb(P4K, P64K), 0x1234_567b_51a0);
    }

    #[test]
    fn isa_2_03_has_its_sizes_elsewhere() {
        let rb = |base, actual| op(0x1_2345_67b5, S1T, base, actual).rb(TlbieForm::Isa203);
        assert_eq!(rb(P4K, P4K), 0x1234_567b_5100);
        assert_eq!(rb(P64K, P64K), 0x1234_567b_1100);
        assert_eq!(rb(P16M, P16M), 0x1234_5600_0100 & !0xff_f000);
        let l = |base, actual| op(0, S1T, base, actual).l(TlbieForm::Isa203);
        assert!(l(P64K, P64K) && !l(P4K, P4K) && !l(P4K, P64K));
    }

    #[test]
    fn the_is_field() {
        let set = |rb| Scope::from_rb(rb, true);
        let of = |set, all_lpids| Some(Scope::Set { set, all_lpids });
        assert_eq!(set(0x1ff << 12 | 0x800), of(0x1ff, false));
        assert_eq!(set(5 << 12 | 0xc00), of(5, true));
        let all = Scope::from_rb(0xc00, false);
        assert_eq!(all, Some(Scope::All { all_lpids: true }));
        assert_eq!(set(0x400), Some(Scope::Process));
        assert!(matches!(set(0x1000), Some(Scope::Page(_))));
        assert_eq!(set(0x300), None, "B is reserved");
    }

    proptest! {
        #[test]
        fn from_rb_inverts_rb(vpn in 0u64..1 << 52, one_t: bool, i in 0usize..6) {
            let bases = [P4K, P4K, P4K, P64K, P64K, P16M];
            let actuals = [P4K, P64K, P16M, P64K, P16M, P16M];
            let (base, actual) = (bases[i], actuals[i]);
            let inv = op(vpn, if one_t { S1T } else { S256M }, base, actual);
            let rb = inv.rb(TlbieForm::Isa206);
            let back = TlbInvalidate::from_rb(rb, true).expect("decodes");
            prop_assert_eq!((back.base, back.actual), (base, actual));
            prop_assert_eq!((back.segment, back.local), (inv.segment, true));
            prop_assert_eq!(back.vpn.align_down(actual), inv.vpn.align_down(actual));
            // The address bits inside an actual page that the operand keeps: all of a small one,
            // AVAL of a large one.
            if base == P4K {
                prop_assert_eq!(back.vpn, inv.vpn);
            } else if actual == P16M && base == P64K {
                prop_assert_eq!(back.vpn.get() & 0xff, vpn & 0xfe);
            }
        }
    }
}
