//! VSIDs: the scramble of both kernels, and the contexts of 6.1's kernel regions.
//!
//! Owns the arithmetic from an address to its VSID. Refuses the address map, which is [`Layout`]'s.

use super::Layout;
use crate::config::KernelVersion;
use emu_mmu::{Ea, SegmentSize, Vsid};

impl Layout {
    /// VSID of a kernel address.
    pub fn kernel_vsid(&self, ea: Ea, segment: SegmentSize) -> Vsid {
        match self.version {
            KernelVersion::V2_6_38 => scramble_2_6_38(ea.get() >> segment.shift(), segment),
            KernelVersion::V6_1 => self.scramble_6_1(self.kernel_context(ea), ea, segment),
        }
    }

    /// VSID of a user address in a context.
    pub fn user_vsid(&self, context: u64, ea: Ea, segment: SegmentSize) -> Vsid {
        match self.version {
            KernelVersion::V2_6_38 => {
                let esid_bits = 44 - segment.shift();
                scramble_2_6_38(
                    (context << esid_bits) | (ea.get() >> segment.shift()),
                    segment,
                )
            }
            KernelVersion::V6_1 => self.scramble_6_1(context, ea, segment),
        }
    }

    /// Context number of a kernel address in 6.1: linear map 1, vmalloc 2, IO 3, vmemmap 4. With 64K pages
    /// these are the numbers of a kernel whose linear map has one context, as the recorded ones have.
    fn kernel_context(&self, ea: Ea) -> u64 {
        let region_bytes = self.vmalloc_end - self.vmalloc_start;
        match ea.get().checked_sub(self.vmalloc_start) {
            Some(offset) if offset < 3 * region_bytes => 2 + offset / region_bytes,
            _ => 1,
        }
    }

    fn scramble_6_1(&self, context: u64, ea: Ea, segment: SegmentSize) -> Vsid {
        let esid_bits = 49 - segment.shift();
        let esid = (ea.get() >> segment.shift()) & ((1 << esid_bits) - 1);
        scramble(
            (context << esid_bits) | esid,
            12_538_073,
            self.va_bits - segment.shift(),
        )
    }
}

fn scramble_2_6_38(proto: u64, segment: SegmentSize) -> Vsid {
    match segment {
        SegmentSize::S256M => scramble(proto, 200_730_139, 36),
        SegmentSize::S1T => scramble(proto, 12_538_073, 24),
    }
}

/// `proto * multiplier mod (2^bits - 1)`, the way the kernel does it without a division. The product
/// fits in 64 bits for every proto-VSID of both kernels.
#[inline]
fn scramble(proto: u64, multiplier: u64, bits: u32) -> Vsid {
    let mask = (1 << bits) - 1;
    let product = proto.wrapping_mul(multiplier);
    let folded = (product >> bits) + (product & mask);
    Vsid::new((folded + ((folded + 1) >> bits)) & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vsids_of_2_6_38() {
        let layout = Layout::V2_6_38;
        for (ea, small, large) in [
            (0xc000_0000_0000_0000, 0x4_08f9_2c94, 0x4f_7ca3),
            (0xd000_0000_0000_0000, 0xf_09b8_9af5, 0xeb_71b0),
            (0xd000_0000_1000_0000, 0xf_15af_8110, 0xeb_71b0),
            (0xd000_0800_8000_0000, 0xa_dc7d_4c2d, 0xe5_f87e),
            (0xf000_0000_0000_0000, 0x5_0b37_77b9, 0x23_5bcc),
        ] {
            let ea = Ea::new(ea);
            assert_eq!(
                layout.kernel_vsid(ea, SegmentSize::S256M),
                Vsid::new(small),
                "{ea:?}"
            );
            assert_eq!(
                layout.kernel_vsid(ea, SegmentSize::S1T),
                Vsid::new(large),
                "{ea:?}"
            );
        }
        let low = Ea::new(0x1000_0000);
        let user = |context| layout.user_vsid(context, low, SegmentSize::S256M);
        assert_eq!(user(1), Vsid::new(0x6_f211_e6da));
        assert_eq!(user(2), Vsid::new(0xd_d82c_e799));
        let high = Ea::new(0x100_0000_0000);
        assert_eq!(
            layout.user_vsid(1, high, SegmentSize::S1T),
            Vsid::new(0xb4_5e75)
        );
    }

    #[test]
    fn vsids_of_6_1() {
        let wide = Layout::V6_1;
        let narrow = Layout {
            va_bits: 65,
            ..wide
        };
        for (ea, [n256, n1t, w256, w1t]) in [
            (
                0xc000_0000_0000_0000,
                [0xa_1b20_00bf, 0xa1_b2bf, 0xea_1b20_0017, 0xea1_b217],
            ),
            (
                0xc000_3d00_0000_0000,
                [0xd_9a7b_5195, 0xd9_a94a, 0xad_9a7b_5032, 0xad9_a7e7],
            ),
        ] {
            let ea = Ea::new(ea);
            assert_eq!(narrow.kernel_vsid(ea, SegmentSize::S256M), Vsid::new(n256));
            assert_eq!(narrow.kernel_vsid(ea, SegmentSize::S1T), Vsid::new(n1t));
            assert_eq!(wide.kernel_vsid(ea, SegmentSize::S256M), Vsid::new(w256));
            assert_eq!(wide.kernel_vsid(ea, SegmentSize::S1T), Vsid::new(w1t));
        }
        let low = Ea::new(0x1000_0000);
        assert_eq!(
            wide.user_vsid(10, low, SegmentSize::S256M),
            Vsid::new(0x25_0fff_51c8)
        );
        assert_eq!(
            narrow.user_vsid(10, low, SegmentSize::S256M),
            Vsid::new(0x5_0fff_5852)
        );
    }

    #[test]
    fn vsids_of_6_1_with_64k_pages() {
        let wide = Layout::V6_1_64K;
        let narrow = Layout {
            va_bits: 65,
            ..wide
        };
        let start = Ea::new(wide.vmalloc_start);
        // A kernel with 51 bits of memory has four contexts for the linear map, and vmalloc is the fifth.
        for (layout, small, large) in [
            (narrow, 0x12_87a0_03bc, 0x128_7dbc),
            (wide, 0x92_87a0_0077, 0x928_7a77),
        ] {
            let vsid = |segment| layout.scramble_6_1(5, start, segment);
            assert_eq!(vsid(SegmentSize::S256M), Vsid::new(small));
            assert_eq!(vsid(SegmentSize::S1T), Vsid::new(large));
        }
        // One with a single context has vmalloc in the second, as with 4K pages; recorded from such a kernel.
        let recorded = Vsid::new(0xd43_642f);
        assert_eq!(wide.kernel_vsid(start, SegmentSize::S1T), recorded);
        for (ea, context) in [
            (0xc000_0000_0000_0000, 1),
            (0xc008_0000_0000_0000, 2),
            (0xc009_ffff_ffff_ffff, 2),
            (0xc00a_0000_0000_0000, 3),
            (0xc00c_0000_0000_0000, 4),
        ] {
            assert_eq!(wide.kernel_context(Ea::new(ea)), context, "{ea:#x}");
        }
    }

    proptest::proptest! {
        #[test]
        fn scramble_is_a_modulo(proto: u64) {
            for (multiplier, bits, proto_bits) in [
                (200_730_139u64, 36, 36),
                (12_538_073, 24, 24),
                (12_538_073, 40, 40),
                (12_538_073, 37, 40),
                (12_538_073, 28, 28),
                (12_538_073, 25, 28),
            ] {
                let proto = proto >> (64 - proto_bits);
                let product = u128::from(proto) * u128::from(multiplier);
                let expected = (product % ((1u128 << bits) - 1)) as u64;
                proptest::prop_assert_eq!(scramble(proto, multiplier, bits), Vsid::new(expected));
            }
        }
    }
}
