//! The operands of each generation's `tlbie`, decoded, and what ISA 3.0 adds beside RB.
//!
//! Owns the layouts (Power ISA 2.03, 2.07 and 3.0, tlbie and tlbiel). Refuses radix forms.

use super::{RB_L, Scope, TlbInvalidate, TlbieForm};
use crate::addr::{PageSize, SegmentSize, Vpn};
use crate::hpte::lp_code;

/// RB bits 54:55: the segment size.
const B: u64 = 3 << 8;
/// ISA 2.03: bit 56, AP of a small page.
const AP_203: u64 = 1 << 7;
/// ISA 2.01: bits 16:51.
const VA_201: u64 = 0x0000_FFFF_FFFF_F000;
/// Small form: AVA in bits 0:51.
const AVA_SMALL: u64 = !0xFFF;
/// Large form: AVA in bits 0:43, LP in 44:51.
const AVA_LARGE: u64 = !0xF_FFFF;
const LP: u64 = 0xF_F000;
/// ISA 2.06: IS in 52:53, AP in 56:58 with 59:62 reserved, or AVAL in 56:62.
const IS: u64 = 3 << 10;
const AP_206: u64 = 7 << 5;
const RESERVED_206: u64 = 0x1E;
const AVAL: u64 = 0xFE;

// Each form's fields, with its reserved bits, make the word, and no two share a bit.
const _: () = assert!(VA_201 + B + 0xFFFF_0000_0000_0CFF == u64::MAX);
const _: () = assert!(AVA_SMALL + B + AP_203 + 0xC7F == u64::MAX);
const _: () = assert!(AVA_LARGE + LP + B + 0xCFF == u64::MAX);
const _: () = assert!(AVA_SMALL + IS + B + AP_206 + RESERVED_206 + RB_L == u64::MAX);
const _: () = assert!(AVA_LARGE + LP + IS + B + AVAL + RB_L == u64::MAX);

impl TlbInvalidate {
    /// Decodes the RB of a form by address; `l` is bit L of the instruction, which ISA 2.06 has in RB.
    /// `None` if B, AP or LP is reserved. Address bits the operand does not carry are 0.
    pub fn from_form(form: TlbieForm, rb: u64, l: bool, local: bool) -> Option<Self> {
        let segment = SegmentSize::from_b_field((rb & B) >> 8)?;
        let at = |va: u64, base, actual: PageSize| Self {
            vpn: Vpn::new((va & !(actual.bytes() - 1)) >> 12),
            segment,
            base,
            actual,
            local,
        };
        match form {
            TlbieForm::Isa206 => Self::from_rb(rb, local),
            TlbieForm::Isa201 => {
                let page = if l { PageSize::P16M } else { PageSize::P4K };
                Some(at(rb & VA_201, page, page))
            }
            TlbieForm::Isa203 if !l => {
                let actual = if rb & AP_203 == 0 {
                    PageSize::P4K
                } else {
                    PageSize::P64K
                };
                Some(at(rb, PageSize::P4K, actual))
            }
            TlbieForm::Isa203 => {
                let (base, actual) = sizes_of((rb & LP) >> 12)?;
                Some(at(rb, base, actual))
            }
        }
    }
}

/// The sizes that an LP value names; each value names one pair.
fn sizes_of(lp: u64) -> Option<(PageSize, PageSize)> {
    PageSize::ALL.into_iter().find_map(|base| {
        let named = |actual: &PageSize| {
            lp_code(base, *actual).is_some_and(|(mask, code)| lp & mask == code)
        };
        PageSize::ALL
            .into_iter()
            .find(named)
            .map(|actual| (base, actual))
    })
}

/// RS of `tlbie`: whose translations. ISA 2.06 and 2.07 have the partition alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TlbieRs {
    /// The process (ISA 3.0, bits 0:31); no entry of a hashed table has one.
    pub pid: u32,
    /// The partition, bits 32:63.
    pub lpid: u32,
}

impl TlbieRs {
    /// The register.
    pub const fn rs(self) -> u64 {
        (self.pid as u64) << 32 | self.lpid as u64
    }

    /// Decodes the register.
    pub const fn from_rs(rs: u64) -> Self {
        Self {
            pid: (rs >> 32) as u32,
            lpid: rs as u32,
        }
    }
}

/// The fields that ISA 3.0 has in the instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TlbieFields {
    /// RIC: 0 the TLB, 1 the page walk cache, 2 all caching, 3 a cluster of translations.
    pub ric: u8,
    /// PRS: process-scoped instead of partition-scoped.
    pub prs: bool,
    /// R: radix.
    pub r: bool,
}

impl Scope {
    /// Decodes an ISA 3.0 `tlbie` or `tlbiel`; `None` if it is no valid form for hashed translation:
    /// R=1, RIC=1 or 3, RIC=2 by address, a process-scoped page, or a reserved field in RB.
    pub fn from_isa300(rb: u64, fields: TlbieFields, local: bool) -> Option<Self> {
        let by_address = rb & IS == 0;
        match (fields.r, fields.ric, fields.prs) {
            (false, 0, false) => Self::from_rb(rb, local),
            (false, 2, false) if !by_address => Self::from_rb(rb, local),
            // Cached process table entries: no translation of a hashed table goes.
            (false, 0 | 2, true) if !by_address => Some(Self::Process),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PageSize::{P4K, P16G, P16M, P64K};
    use proptest::prelude::*;

    const FORMS: [TlbieForm; 3] = [TlbieForm::Isa201, TlbieForm::Isa203, TlbieForm::Isa206];

    fn pairs(form: TlbieForm) -> &'static [(PageSize, PageSize)] {
        match form {
            TlbieForm::Isa201 => &[(P4K, P4K), (P16M, P16M)],
            TlbieForm::Isa203 => &[
                (P4K, P4K),
                (P4K, P64K),
                (P64K, P64K),
                (P16M, P16M),
                (P16G, P16G),
            ],
            TlbieForm::Isa206 => &[
                (P4K, P4K),
                (P4K, P64K),
                (P4K, P16M),
                (P64K, P64K),
                (P64K, P16M),
                (P16M, P16M),
                (P16G, P16G),
            ],
        }
    }

    /// The address bits a form carries for a page, as a VPN mask.
    fn carried(form: TlbieForm, base: PageSize, actual: PageSize) -> u64 {
        let pages = !((actual.bytes() >> 12) - 1);
        let bits = |n: u32| (1 << n) - 1;
        match form {
            TlbieForm::Isa201 => pages & bits(36),
            // AVA down to 4 KB, or AVAL in the place of the bits inside a mixed page.
            TlbieForm::Isa206 if base == P4K => bits(52),
            TlbieForm::Isa206 if base != actual => (pages | AVAL) & bits(52),
            TlbieForm::Isa203 | TlbieForm::Isa206 => pages & bits(52),
        }
    }

    proptest! {
        #[test]
        fn operands_of_every_form_round_trip(vpn: u64, one_t: bool, f in 0usize..3, i in 0usize..7, local: bool) {
            let form = FORMS[f];
            let (base, actual) = pairs(form)[i % pairs(form).len()];
            let segment = if one_t { SegmentSize::S1T } else { SegmentSize::S256M };
            let vpn = Vpn::new(vpn);
            let sent = TlbInvalidate { vpn, segment, base, actual, local };
            let got = TlbInvalidate::from_form(form, sent.rb(form), sent.l(form), local);
            let got = got.expect("decodes");
            prop_assert_eq!((got.base, got.actual, got.segment, got.local), (base, actual, segment, local));
            prop_assert_eq!(got.vpn.get(), vpn.get() & carried(form, base, actual));
            // A page as large as its base page takes its bits of AVAL along, which no receiver reads.
            let twice = form == TlbieForm::Isa206 && base == actual && base != P4K;
            let read = if twice { !AVAL } else { u64::MAX };
            prop_assert_eq!(got.rb(form) & read, sent.rb(form) & read);
        }

        #[test]
        fn any_operand_decodes_to_one_that_encodes_the_same_page(rb: u64, l: bool, f in 0usize..3) {
            let form = FORMS[f];
            if let Some(got) = TlbInvalidate::from_form(form, rb, l, false) {
                let again = TlbInvalidate::from_form(form, got.rb(form), got.l(form), false);
                prop_assert_eq!(again, Some(got));
            }
        }

        #[test]
        fn rs_round_trips(rs: u64) {
            prop_assert_eq!(TlbieRs::from_rs(rs).rs(), rs);
            prop_assert_eq!(u64::from(TlbieRs::from_rs(rs).lpid), rs & 0xffff_ffff);
        }
    }

    #[test]
    fn reserved_fields() {
        for form in FORMS {
            assert_eq!(
                TlbInvalidate::from_form(form, 0x200, false, false),
                None,
                "B"
            );
        }
        let lp = TlbInvalidate::from_form(TlbieForm::Isa203, 0x2000, true, false);
        assert_eq!(lp, None, "LP");
    }

    #[test]
    fn isa_3_0_forms() {
        let scope = |rb, ric, prs, r| Scope::from_isa300(rb, TlbieFields { ric, prs, r }, true);
        assert!(matches!(
            scope(0x1000, 0, false, false),
            Some(Scope::Page(_))
        ));
        let set = Scope::Set {
            set: 5,
            all_lpids: true,
        };
        assert_eq!(scope(0x5c00, 0, false, false), Some(set));
        assert_eq!(scope(0x5c00, 2, false, false), Some(set));
        assert_eq!(scope(0xc00, 2, true, false), Some(Scope::Process));
        assert_eq!(scope(0x400, 0, false, false), Some(Scope::Process));
        for (rb, ric, prs, r) in [
            (0x1000, 2, false, false),
            (0x1000, 0, true, false),
            (0xc00, 1, false, false),
            (0xc00, 3, false, false),
            (0xc00, 0, false, true),
        ] {
            assert_eq!(scope(rb, ric, prs, r), None, "{rb:#x} {ric} {prs} {r}");
        }
    }
}
