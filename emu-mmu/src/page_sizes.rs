//! Which page sizes a CPU has, and how an entry names them in L and LP.
//!
//! Owns the penc tables (Power ISA 2.07 Book III-S 5.7.7.1; Linux 6.1 asm/kvm_book3s_64.h). Refuses
//! to guess: a pair of sizes not listed does not match, as on hardware.

use crate::addr::PageSize;
use crate::hpte::Hpte;

/// One way to encode an actual page of a segment in L=1 and LP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeCode {
    /// Page size of the segment.
    pub base: PageSize,
    /// Page size of the entry.
    pub actual: PageSize,
    /// LP bits that carry the code; the others are real page number bits.
    pub mask: u64,
    /// The code (penc).
    pub code: u64,
}

const fn code(base: PageSize, actual: PageSize, mask: u64, code: u64) -> SizeCode {
    SizeCode {
        base,
        actual,
        mask,
        code,
    }
}

const P64K_IN_4K: SizeCode = code(PageSize::P4K, PageSize::P64K, 0x0f, 0x07);
const P16M_IN_4K: SizeCode = code(PageSize::P4K, PageSize::P16M, 0xff, 0x38);
const P64K: SizeCode = code(PageSize::P64K, PageSize::P64K, 0x0f, 0x01);
const P16M_IN_64K: SizeCode = code(PageSize::P64K, PageSize::P16M, 0xff, 0x08);
const P16M: SizeCode = code(PageSize::P16M, PageSize::P16M, 0xff, 0x00);
const P16G: SizeCode = code(PageSize::P16G, PageSize::P16G, 0xff, 0x03);

/// The page sizes of a CPU: 4 KB, and those with a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSizes(&'static [SizeCode]);

impl PageSizes {
    /// PowerPC 970 and POWER5: 4 KB and 16 MB. QEMU 7.2 gives POWER5+ no more either.
    pub const PPC970: Self = Self(&[P16M]);
    /// POWER5+: 64 KB and 16 GB too, each in its own segments (IBM SG24-8079, page 25).
    pub const POWER5_PLUS: Self = Self(&[P64K, P16M, P16G]);
    /// POWER6: 64 KB pages in 4 KB segments too (IBM SG24-8079, page 25). Whether it has 16 MB pages
    /// in smaller segments was not found; it is modelled without.
    pub const POWER6: Self = Self(&[P64K_IN_4K, P64K, P16M, P16G]);
    /// POWER7, POWER8 and POWER9 (Linux 6.1 asm/kvm_book3s_64.h, `kvmppc_hpte_page_shifts`).
    pub const POWER7: Self = Self(&[P64K_IN_4K, P16M_IN_4K, P64K, P16M_IN_64K, P16M, P16G]);

    /// The sizes with a code.
    pub const fn codes(&self) -> &'static [SizeCode] {
        self.0
    }

    /// Whether segments of this page size exist.
    pub const fn has_base(&self, base: PageSize) -> bool {
        let mut i = 0;
        while i < self.0.len() {
            if self.0[i].base as u8 == base as u8 {
                return true;
            }
            i += 1;
        }
        matches!(base, PageSize::P4K)
    }

    /// The code of a pair of sizes with the LP bits it takes; `None` for 4 KB pages (no LP) and for
    /// pairs this CPU lacks.
    pub const fn code(&self, base: PageSize, actual: PageSize) -> Option<SizeCode> {
        let mut i = 0;
        while i < self.0.len() {
            let c = self.0[i];
            if c.base as u8 == base as u8 && c.actual as u8 == actual as u8 {
                return Some(c);
            }
            i += 1;
        }
        None
    }

    /// The actual page size of an entry under a segment's base page size, or `None` if the entry is
    /// not for that base size and a search must pass it by.
    #[inline]
    pub const fn actual(&self, hpte: Hpte, base: PageSize) -> Option<PageSize> {
        if !hpte.v.is_large() {
            return match base {
                PageSize::P4K => Some(PageSize::P4K),
                _ => None,
            };
        }
        let lp = hpte.r.lp() as u64;
        let mut i = 0;
        while i < self.0.len() {
            let c = &self.0[i];
            if c.base as u8 == base as u8 && lp & c.mask == c.code {
                return Some(c.actual);
            }
            i += 1;
        }
        None
    }
}

/// By the name of the constant, in snake case: the only values there are.
#[cfg(feature = "serde")]
mod by_name {
    use super::PageSizes;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    const NAMES: [(&str, PageSizes); 4] = [
        ("ppc970", PageSizes::PPC970),
        ("power5_plus", PageSizes::POWER5_PLUS),
        ("power6", PageSizes::POWER6),
        ("power7", PageSizes::POWER7),
    ];

    impl Serialize for PageSizes {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let named = NAMES.iter().find(|(_, sizes)| sizes == self);
            serializer.serialize_str(named.map_or("unknown", |(name, _)| name))
        }
    }

    impl<'de> Deserialize<'de> for PageSizes {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
            let named = NAMES.iter().find(|(known, _)| *known == name);
            named
                .map(|(_, sizes)| *sizes)
                .ok_or_else(|| D::Error::custom(format!("no page sizes are named {name:?}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpte::{HpteR, HpteV};

    #[test]
    fn each_cpu_has_its_pairs() {
        let count = |sizes: PageSizes| sizes.codes().len();
        assert_eq!(count(PageSizes::PPC970), 1);
        assert_eq!(count(PageSizes::POWER5_PLUS), 3);
        assert_eq!(count(PageSizes::POWER6), 4);
        assert_eq!(count(PageSizes::POWER7), 6);
        assert!(PageSizes::PPC970.has_base(PageSize::P4K));
        assert!(!PageSizes::PPC970.has_base(PageSize::P64K));
        assert!(PageSizes::POWER6.has_base(PageSize::P16G));
    }

    #[test]
    fn an_entry_of_a_newer_cpu_is_passed_by() {
        let hpte = Hpte {
            v: HpteV(HpteV::LARGE | HpteV::VALID),
            r: HpteR(0x07 << 12),
        };
        let in_4k = |sizes: PageSizes| sizes.actual(hpte, PageSize::P4K);
        assert_eq!(in_4k(PageSizes::POWER7), Some(PageSize::P64K));
        assert_eq!(in_4k(PageSizes::POWER6), Some(PageSize::P64K));
        assert_eq!(in_4k(PageSizes::POWER5_PLUS), None);
    }
}
