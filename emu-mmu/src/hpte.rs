//! The hashed page table entry: two doublewords, every bit named, encoded and decoded.
//!
//! Owns the ISA 2.x layout (Power ISA 2.07 Book III-S 5.7.7.1), which is what lies in memory up to
//! POWER8. Refuses to interpret: searching is `pteg`, protection is `protect`.

mod format;

use core::fmt;

pub use format::HpteFormat;

use crate::addr::{Ea, PageSize, Ra, SegmentSize, Vpn, Vsid};
use crate::page_sizes::PageSizes;

/// Doubleword 0: what the entry translates.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HpteV(pub u64);

/// Doubleword 1: what it translates to, and how it may be used.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HpteR(pub u64);

/// One entry of the table, 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Hpte {
    /// Doubleword 0.
    pub v: HpteV,
    /// Doubleword 1.
    pub r: HpteR,
}

const _: () = assert!(size_of::<Hpte>() == 16 && align_of::<Hpte>() == 8);
const _: () = assert!(core::mem::offset_of!(Hpte, v) == 0 && core::mem::offset_of!(Hpte, r) == 8);
const _: () = assert!(
    HpteV::B_MASK
        | HpteV::AVPN_MASK
        | HpteV::SW_MASK
        | HpteV::LARGE
        | HpteV::SECONDARY
        | HpteV::VALID
        == u64::MAX
);
const _: () =
    assert!(HpteV::SW_MASK & (HpteV::BOLTED | HpteV::LOCK) == HpteV::BOLTED | HpteV::LOCK);

impl fmt::Debug for HpteV {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HpteV({:#018x})", self.0)
    }
}

impl fmt::Debug for HpteR {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HpteR({:#018x})", self.0)
    }
}

impl HpteV {
    /// Segment size, two bits.
    pub const B_MASK: u64 = 0xC000_0000_0000_0000;
    /// Abbreviated virtual page number: virtual address >> 23, at bit 7.
    pub const AVPN_MASK: u64 = 0x3FFF_FFFF_FFFF_FF80;
    /// The four bits left to software.
    pub const SW_MASK: u64 = 0x78;
    /// Software (Linux): never evicted.
    pub const BOLTED: u64 = 0x10;
    /// Software (Linux): the entry's lock.
    pub const LOCK: u64 = 0x08;
    /// L: the page is larger than 4 KB, its size is in LP.
    pub const LARGE: u64 = 0x04;
    /// H: the entry lies in its secondary group.
    pub const SECONDARY: u64 = 0x02;
    /// V: the entry is valid.
    pub const VALID: u64 = 0x01;
    /// The bits software compares: B and AVPN (Linux 2.6.38 asm/mmu-hash64.h, `HPTE_V_COMPARE`).
    pub const COMPARE_MASK: u64 = !0x7f;

    /// The word for a page, without V, H or software bits. AVPN bits below a page larger than 8 MB
    /// are 0; L is set unless the base page is 4 KB (a larger actual page in a 4 KB segment needs
    /// [`Self::with_large`]).
    #[inline]
    pub const fn new(vpn: Vpn, segment: SegmentSize, base: PageSize) -> Self {
        let v = (segment.b_field() << 62) | ((vpn.avpn() << 7) & Self::AVPN_MASK);
        let large = if matches!(base, PageSize::P4K) {
            0
        } else {
            Self::LARGE
        };
        Self((v & Self::compare_mask(base)) | large)
    }

    /// The word that a search for an address of a segment wants (Power ISA 2.07 Book III-S 5.7.7.3),
    /// without L. Unlike [`Self::new`] exact for VSIDs wider than any CPU implements.
    #[inline]
    pub const fn wanted(vsid: Vsid, ea: Ea, segment: SegmentSize, base: PageSize) -> Self {
        let s = segment.shift();
        let offset = ea.get() & ((1 << s) - 1);
        let avpn = (vsid.get() << (s - 16)) | (offset >> 16);
        let v = (segment.b_field() << 62) | (avpn & Self::AVPN_MASK);
        Self(v & Self::compare_mask(base))
    }

    /// The bits a search for this base page size compares: B, and AVPN without the bits inside the
    /// page.
    #[inline]
    pub const fn compare_mask(base: PageSize) -> u64 {
        let inside = base.shift().saturating_sub(23);
        Self::COMPARE_MASK & !(((1 << inside) - 1) << 7)
    }

    /// With V set.
    #[inline]
    pub const fn with_valid(self) -> Self {
        Self(self.0 | Self::VALID)
    }

    /// With H set.
    #[inline]
    pub const fn with_secondary(self) -> Self {
        Self(self.0 | Self::SECONDARY)
    }

    /// With the bolted bit set.
    #[inline]
    pub const fn with_bolted(self) -> Self {
        Self(self.0 | Self::BOLTED)
    }

    /// With the lock bit set.
    #[inline]
    pub const fn with_lock(self) -> Self {
        Self(self.0 | Self::LOCK)
    }

    /// With the lock bit clear.
    #[inline]
    pub const fn without_lock(self) -> Self {
        Self(self.0 & !Self::LOCK)
    }

    /// With L set: for an actual page larger than a 4 KB base page.
    #[inline]
    pub const fn with_large(self) -> Self {
        Self(self.0 | Self::LARGE)
    }

    /// V.
    #[inline]
    pub const fn is_valid(self) -> bool {
        self.0 & Self::VALID != 0
    }

    /// H.
    #[inline]
    pub const fn is_secondary(self) -> bool {
        self.0 & Self::SECONDARY != 0
    }

    /// Bolted (software).
    #[inline]
    pub const fn is_bolted(self) -> bool {
        self.0 & Self::BOLTED != 0
    }

    /// Locked (software).
    #[inline]
    pub const fn is_locked(self) -> bool {
        self.0 & Self::LOCK != 0
    }

    /// L.
    #[inline]
    pub const fn is_large(self) -> bool {
        self.0 & Self::LARGE != 0
    }

    /// B as a size, or `None` if reserved.
    #[inline]
    pub const fn segment(self) -> Option<SegmentSize> {
        SegmentSize::from_b_field(self.0 >> 62)
    }

    /// AVPN: virtual address >> 23.
    #[inline]
    pub const fn avpn(self) -> u64 {
        (self.0 & Self::AVPN_MASK) >> 7
    }

    /// Whether this stored word is valid and equals `want` in all but the low seven bits: the test
    /// Linux's native code makes (Linux 2.6.38 arch/powerpc/mm/hash_native_64.c).
    #[inline]
    pub const fn matches(self, want: Self) -> bool {
        (self.0 ^ want.0) & Self::COMPARE_MASK == 0 && self.is_valid()
    }
}

/// An LP value that no entry of the table decodes.
const LP_RESERVED: u64 = 0xff;

/// The LP code for a page and the LP bits it takes, on the CPUs that have most sizes; `None` for 4 KB
/// pages (no LP) and for pairs that do not exist.
pub const fn lp_code(base: PageSize, actual: PageSize) -> Option<(u64, u64)> {
    match PageSizes::POWER7.code(base, actual) {
        Some(c) => Some((c.mask, c.code)),
        None => None,
    }
}

impl HpteR {
    /// pp bit 0 (ISA 2.04 on).
    pub const PP0: u64 = 0x8000_0000_0000_0000;
    /// Key bits 0:1.
    pub const KEY_HI: u64 = 0x3000_0000_0000_0000;
    /// Real page number with LP: ARPN and LP.
    pub const RPN_MASK: u64 = 0x0FFF_FFFF_FFFF_F000;
    /// LP, when L is set.
    pub const LP_MASK: u64 = 0x000F_F000;
    /// Key bits 2:4.
    pub const KEY_LO: u64 = 0x0E00;
    /// R: the page was referenced.
    pub const R: u64 = 0x0100;
    /// C: the page was changed.
    pub const C: u64 = 0x0080;
    /// W, I, M and G.
    pub const WIMG_MASK: u64 = 0x0078;
    /// W: write through.
    pub const W: u64 = 0x0040;
    /// I: caching inhibited.
    pub const I: u64 = 0x0020;
    /// M: memory coherence.
    pub const M: u64 = 0x0010;
    /// G: guarded.
    pub const G: u64 = 0x0008;
    /// N: no execute.
    pub const N: u64 = 0x0004;
    /// pp bits 1:2.
    pub const PP_MASK: u64 = 0x0003;
    /// All three pp bits (Linux 6.1, `HPTE_R_PPP`).
    pub const PPP_MASK: u64 = Self::PP0 | Self::PP_MASK;
    /// Every bit that [`Self::with_flags`] takes.
    pub const FLAGS_MASK: u64 = Self::PP0 | Self::KEY_HI | 0x0FFF;

    /// The word for a real page: ARPN and LP, no flags. Address bits inside the page are dropped. A
    /// pair of sizes the architecture lacks gets a reserved LP code, which no search matches.
    #[inline]
    pub const fn new(ra: Ra, base: PageSize, actual: PageSize) -> Self {
        let page = ra.get() & Self::RPN_MASK & !(actual.bytes() - 1);
        let lp = match (base, actual) {
            (PageSize::P4K, PageSize::P4K) => 0,
            _ => match lp_code(base, actual) {
                Some((_, code)) => code,
                None => LP_RESERVED,
            },
        };
        Self(page | (lp << 12))
    }

    /// With these flags or-ed in: the low 12 bits, pp0 and key bits 0:1 of `flags`; other bits are
    /// ignored.
    #[inline]
    pub const fn with_flags(self, flags: u64) -> Self {
        Self(self.0 | (flags & Self::FLAGS_MASK))
    }

    /// pp bits 0:2.
    #[inline]
    pub const fn pp(self) -> u8 {
        ((self.0 >> 61) & 4 | self.0 & 3) as u8
    }

    /// Virtual page class key, 0 to 31.
    #[inline]
    pub const fn key(self) -> u8 {
        ((self.0 >> 60 & 3) << 3 | (self.0 >> 9 & 7)) as u8
    }

    /// LP, or the low real page number bits of a 4 KB page.
    #[inline]
    pub const fn lp(self) -> u8 {
        (self.0 >> 12) as u8
    }

    /// First byte of the real page of this size.
    #[inline]
    pub const fn ra(self, actual: PageSize) -> Ra {
        Ra::new(self.0 & Self::RPN_MASK & !(actual.bytes() - 1))
    }

    /// R.
    #[inline]
    pub const fn r(self) -> bool {
        self.0 & Self::R != 0
    }

    /// C.
    #[inline]
    pub const fn c(self) -> bool {
        self.0 & Self::C != 0
    }

    /// N.
    #[inline]
    pub const fn n(self) -> bool {
        self.0 & Self::N != 0
    }

    /// G.
    #[inline]
    pub const fn g(self) -> bool {
        self.0 & Self::G != 0
    }

    /// W, I, M and G as four bits.
    #[inline]
    pub const fn wimg(self) -> u8 {
        ((self.0 & Self::WIMG_MASK) >> 3) as u8
    }
}

impl Hpte {
    /// The actual page size under a segment's base page size, or `None` if this entry is not for
    /// that base size and a search must pass it by (Power ISA 2.07 Book III-S 5.7.7.1, "L" and
    /// "LP"), on the CPUs that have most sizes ([`PageSizes::POWER7`]).
    #[inline]
    pub const fn actual(self, base: PageSize) -> Option<PageSize> {
        PageSizes::POWER7.actual(self, base)
    }
}

#[cfg(test)]
mod tests;
