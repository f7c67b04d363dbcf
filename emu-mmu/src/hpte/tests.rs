use super::*;
use crate::addr::{Ea, Vsid};
use proptest::prelude::*;

#[test]
fn worked_example() {
    // Linux 2.6.38, EA 0xd000000000100000, 4K, pfn 0x12345, PAGE_KERNEL (flags 0x194).
    let ea = Ea::new(0xd000_0000_0010_0000);
    let (s256m, s1t, p4k) = (SegmentSize::S256M, SegmentSize::S1T, PageSize::P4K);
    let vpn = Vpn::from_ea(Vsid::new(0xf_09b8_9af5), ea, s256m);
    assert_eq!(
        HpteV::new(vpn, s256m, p4k).with_valid().0,
        0x0000_f09b_89af_5001
    );
    let vpn = Vpn::from_ea(Vsid::new(0xeb71b0), ea, s1t);
    assert_eq!(
        HpteV::new(vpn, s1t, p4k).with_valid().0,
        0x4000_eb71_b000_0001
    );
    let r = HpteR::new(Ra::new(0x1234_5000), p4k, p4k).with_flags(0x194);
    assert_eq!(r.0, 0x1234_5194);
    assert!(r.r() && r.c() && r.n() && r.wimg() == 2 && r.pp() == 0);
}

#[test]
fn lp_decode() {
    use PageSize::{P4K, P16G, P16M, P64K};
    let at = |l: bool, lp: u64| Hpte {
        v: HpteV(if l { HpteV::LARGE } else { 0 }),
        r: HpteR(lp << 12),
    };
    assert_eq!(at(false, 0x38).actual(P4K), Some(P4K));
    assert_eq!(at(false, 0).actual(P64K), None);
    assert_eq!(at(true, 0xa7).actual(P4K), Some(P64K));
    assert_eq!(at(true, 0xa7).actual(P64K), None);
    assert_eq!(at(true, 0x38).actual(P4K), Some(P16M));
    assert_eq!(at(true, 0xf1).actual(P64K), Some(P64K));
    assert_eq!(at(true, 0x08).actual(P64K), Some(P16M));
    assert_eq!(at(true, 0).actual(P16M), Some(P16M));
    assert_eq!(at(true, 0).actual(P4K), None);
    assert_eq!(at(true, 3).actual(P16G), Some(P16G));
    for base in PageSize::ALL {
        assert_eq!(at(true, LP_RESERVED).actual(base), None);
    }
}

#[test]
fn low_seven_bits_do_not_count() {
    let want = HpteV(0x1234_5680);
    assert!(!want.matches(want), "V=0 never matches");
    assert!(HpteV(want.0 | 0x7f).matches(want));
    assert!(!HpteV(want.0 | 0x81 << 1 | 1).matches(want));
}

fn pairs() -> impl Strategy<Value = (PageSize, PageSize)> {
    use PageSize::{P4K, P16G, P16M, P64K};
    prop::sample::select(vec![
        (P4K, P4K),
        (P4K, P64K),
        (P4K, P16M),
        (P64K, P64K),
        (P64K, P16M),
        (P16M, P16M),
        (P16G, P16G),
    ])
}

proptest! {
    #[test]
    fn r_round_trip(ra in 0u64..1 << 60, flags: u64, (base, actual) in pairs()) {
        let r = HpteR::new(Ra::new(ra), base, actual).with_flags(flags);
        prop_assert_eq!(r.ra(actual), Ra::new(ra).align_down(actual));
        let mut v = HpteV::new(Vpn::new(0), SegmentSize::S1T, base);
        if actual != PageSize::P4K { v = v.with_large(); }
        prop_assert_eq!(Hpte { v, r }.actual(base), Some(actual));
        let key = ((flags >> 60) & 3) << 3 | (flags >> 9) & 7;
        prop_assert_eq!(u64::from(r.key()), key);
        prop_assert_eq!(r.0 & HpteR::FLAGS_MASK, flags & HpteR::FLAGS_MASK);
    }

    #[test]
    fn v_keeps_the_page(vpn: u64, one_t: bool) {
        let segment = if one_t { SegmentSize::S1T } else { SegmentSize::S256M };
        let vpn = Vpn::new(vpn);
        for base in PageSize::ALL {
            let v = HpteV::new(vpn, segment, base);
            prop_assert_eq!(v.segment(), Some(segment));
            prop_assert_eq!(v.avpn(), vpn.align_down(base).avpn());
            prop_assert_eq!(v.is_large(), base != PageSize::P4K);
            prop_assert!(v.with_valid().with_lock().with_bolted().matches(v));
        }
    }
}
