//! Addresses: newtypes for each of the architecture's address spaces, segment and page sizes, and
//! the hash.
//!
//! Owns the arithmetic between effective, virtual and real addresses. Refuses to mix them: no
//! newtype converts into another except by a named function.

use core::fmt;
use core::ops::Add;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name(u64);

        impl $name {
            /// Wraps a raw value.
            #[inline]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The raw value.
            #[inline]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// `self + n`, or `None` past the end of 64 bits.
            #[inline]
            pub const fn checked_add(self, n: u64) -> Option<Self> {
                match self.0.checked_add(n) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

/// Byte addresses: adding wraps at 64 bits, as effective address arithmetic does (Power ISA 2.07
/// Book I 1.10.3).
macro_rules! byte_address {
    ($name:ident) => {
        impl Add<u64> for $name {
            type Output = Self;
            #[inline]
            fn add(self, n: u64) -> Self {
                Self(self.0.wrapping_add(n))
            }
        }

        impl $name {
            /// The first byte of the page of this size that holds the address.
            #[inline]
            pub const fn align_down(self, page: PageSize) -> Self {
                Self(self.0 & !(page.bytes() - 1))
            }
        }
    };
}

address!(
    /// An effective address: what an instruction computes.
    Ea
);
address!(
    /// A real address: a byte of guest memory.
    Ra
);
address!(
    /// A virtual page number: virtual address >> 12.
    ///
    /// Exact for VSIDs up to 48 bits (256 MB segments) or 36 bits (1 TB); a wider VSID loses its
    /// top bits. The architecture has a 78-bit virtual address, but no CPU implements more than 68
    /// bits (Linux 6.1 arch/powerpc/include/asm/mmu.h, `MMU_FTR_68_BIT_VA`).
    Vpn
);
address!(
    /// A virtual segment identifier.
    Vsid
);
address!(
    /// An effective segment identifier: effective address >> [`SegmentSize::shift`].
    Esid
);
byte_address!(Ea);
byte_address!(Ra);

impl Ea {
    /// The segment number of this address for a segment size.
    #[inline]
    pub const fn esid(self, segment: SegmentSize) -> Esid {
        Esid(self.0 >> segment.shift())
    }
}

/// A segment size (the B field, Power ISA 2.07 Book III-S 5.7.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SegmentSize {
    /// 256 MB.
    #[default]
    S256M = 0,
    /// 1 TB.
    S1T = 1,
}

impl SegmentSize {
    /// log2 of the size in bytes.
    #[inline]
    pub const fn shift(self) -> u32 {
        match self {
            Self::S256M => 28,
            Self::S1T => 40,
        }
    }

    /// The value of the two-bit B field.
    #[inline]
    pub const fn b_field(self) -> u64 {
        self as u64
    }

    /// The size of a B field, or `None` for its reserved values.
    #[inline]
    pub const fn from_b_field(b: u64) -> Option<Self> {
        match b {
            0 => Some(Self::S256M),
            1 => Some(Self::S1T),
            _ => None,
        }
    }
}

/// A page size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PageSize {
    /// 4 KB.
    #[default]
    P4K = 0,
    /// 64 KB (POWER5+ and later).
    P64K = 1,
    /// 16 MB.
    P16M = 2,
    /// 16 GB (POWER5+ and later; needs a 1 TB segment).
    P16G = 3,
}

impl PageSize {
    /// Every size, smallest first.
    pub const ALL: [Self; 4] = [Self::P4K, Self::P64K, Self::P16M, Self::P16G];

    /// log2 of the size in bytes.
    #[inline]
    pub const fn shift(self) -> u32 {
        match self {
            Self::P4K => 12,
            Self::P64K => 16,
            Self::P16M => 24,
            Self::P16G => 34,
        }
    }

    /// The size in bytes.
    #[inline]
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// The three bits L||LP of an SLB entry (Power ISA 2.07 Book III-S 5.7.6.1).
    #[inline]
    pub const fn llp(self) -> u8 {
        match self {
            Self::P4K => 0b000,
            Self::P64K => 0b101,
            Self::P16M => 0b100,
            Self::P16G => 0b110,
        }
    }

    /// The size of an L||LP, or `None` if it is reserved.
    #[inline]
    pub const fn from_llp(llp: u8) -> Option<Self> {
        match llp {
            0b000 => Some(Self::P4K),
            0b101 => Some(Self::P64K),
            0b100 => Some(Self::P16M),
            0b110 => Some(Self::P16G),
            _ => None,
        }
    }
}

/// Bits of the hash value (Power ISA 2.07 Book III-S 5.7.7.3).
pub const HASH_MASK: u64 = (1 << 39) - 1;

/// The 39-bit hash value of a byte `offset` in a segment. Unlike [`Vpn::hash`] exact for every VSID.
#[inline]
pub const fn hash(vsid: Vsid, offset: u64, segment: SegmentSize, base: PageSize) -> u64 {
    let (vsid, page) = (vsid.0, offset >> base.shift());
    let hash = match segment {
        SegmentSize::S256M => vsid ^ page,
        SegmentSize::S1T => vsid ^ (vsid << 25) ^ page,
    };
    hash & HASH_MASK
}

impl Vpn {
    /// The virtual page of an effective address in a segment.
    #[inline]
    pub const fn from_ea(vsid: Vsid, ea: Ea, segment: SegmentSize) -> Self {
        let s = segment.shift();
        Self((vsid.0 << (s - 12)) | ((ea.0 & ((1 << s) - 1)) >> 12))
    }

    /// Abbreviated virtual page number: virtual address >> 23, before large pages drop low bits.
    #[inline]
    pub const fn avpn(self) -> u64 {
        self.0 >> 11
    }

    /// The VSID this page was made from.
    #[inline]
    pub const fn vsid(self, segment: SegmentSize) -> Vsid {
        Vsid(self.0 >> (segment.shift() - 12))
    }

    /// The 39-bit hash value for a base page size (Power ISA 2.07 Book III-S 5.7.7.3).
    #[inline]
    pub const fn hash(self, segment: SegmentSize, base: PageSize) -> u64 {
        let in_segment = self.0 & ((1 << (segment.shift() - 12)) - 1);
        hash(self.vsid(segment), in_segment << 12, segment, base)
    }

    /// The first 4 KB page of the page of this size that holds `self`.
    #[inline]
    pub const fn align_down(self, page: PageSize) -> Self {
        Self(self.0 & !((page.bytes() >> 12) - 1))
    }

    /// `self + n` 4 KB pages, wrapping at 64 bits.
    #[inline]
    pub const fn wrapping_add(self, n: u64) -> Self {
        Self(self.0.wrapping_add(n))
    }
}

/// The number of a group (PTEG) in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupIndex(pub u64);

impl GroupIndex {
    /// The entry in a slot of this group; only the low three bits of `slot` count.
    #[inline]
    pub const fn slot(self, slot: u8) -> HpteIndex {
        HpteIndex((self.0 << 3) | (slot & 7) as u64)
    }
}

/// The number of an entry (HPTE) in the table: group * 8 + slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HpteIndex(pub u64);

impl HpteIndex {
    /// The group that holds the entry.
    #[inline]
    pub const fn group(self) -> GroupIndex {
        GroupIndex(self.0 >> 3)
    }

    /// The slot in its group, 0 to 7.
    #[inline]
    pub const fn slot(self) -> u8 {
        (self.0 & 7) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Linux 2.6.38 VSIDs of EA 0xd000000000000000; the values follow asm/mmu-hash64.h by plain
    // arithmetic.
    const EA: Ea = Ea::new(0xd000_0000_0010_0000);

    #[test]
    fn worked_example_256m() {
        let vpn = Vpn::from_ea(Vsid::new(0xf_09b8_9af5), EA, SegmentSize::S256M);
        assert_eq!(vpn.get() << 12, 0xf09b_89af_5010_0000);
        assert_eq!(vpn.vsid(SegmentSize::S256M).get(), 0xf_09b8_9af5);
        let hash = vpn.hash(SegmentSize::S256M, PageSize::P4K);
        assert_eq!(hash, 0xf_09b8_9bf5);
    }

    #[test]
    fn worked_example_1t() {
        let vpn = Vpn::from_ea(Vsid::new(0xeb71b0), EA, SegmentSize::S1T);
        assert_eq!(vpn.get() << 12, 0xeb71_b000_0010_0000);
        assert_eq!(vpn.vsid(SegmentSize::S1T).get(), 0xeb71b0);
        assert_eq!(vpn.hash(SegmentSize::S1T, PageSize::P4K), 0x63_60eb_70b0);
    }

    #[test]
    fn hash_uses_the_base_page() {
        let vpn = Vpn::from_ea(Vsid::new(0x10), Ea::new(0x123_4567), SegmentSize::S256M);
        assert_eq!(vpn.hash(SegmentSize::S256M, PageSize::P64K), 0x10 ^ 0x123);
        assert_eq!(vpn.hash(SegmentSize::S256M, PageSize::P16M), 0x10 ^ 0x1);
    }

    #[test]
    fn formats_and_checks() {
        assert_eq!(
            format!("{:?} {} {:x}", Ea::new(0x10), Ra::new(0x20), Vpn::new(0xab)),
            "Ea(0x10) 0x20 ab"
        );
        assert_eq!(Ea::new(u64::MAX).checked_add(1), None);
        assert_eq!(Ea::new(u64::MAX) + 1, Ea::new(0));
        assert_eq!(
            Ra::new(0x1_2345).align_down(PageSize::P64K),
            Ra::new(0x1_0000)
        );
        assert_eq!(GroupIndex(5).slot(3), HpteIndex(43));
        assert_eq!(
            (HpteIndex(43).group(), HpteIndex(43).slot()),
            (GroupIndex(5), 3)
        );
        assert_eq!(SegmentSize::from_b_field(2), None);
    }
}
