use super::*;
use crate::addr::{PageSize, SegmentSize};
use crate::hpt::{Direct, Hpt};
use crate::hpte::{HpteR, HpteV};
use proptest::prelude::*;

use PageSize::{P4K, P16M, P64K};
use SegmentSize::{S1T, S256M};

const BASE: Ra = Ra::new(1 << 18);

fn table() -> Hpt {
    Hpt::new(BASE, 11).expect("table")
}

/// An entry of a page, and the index of a slot in its group.
fn entry(
    vpn: u64,
    segment: SegmentSize,
    (base, actual): (PageSize, PageSize),
    secondary: bool,
    slot: u8,
) -> (HpteIndex, HpteV, HpteR) {
    let (t, vpn) = (table(), Vpn::new(vpn));
    let mut v = HpteV::new(vpn, segment, base).with_valid();
    if actual != P4K {
        v = v.with_large();
    }
    let hash = vpn.hash(segment, base);
    let group = if secondary {
        t.secondary(hash)
    } else {
        t.primary(hash)
    };
    let v = if secondary { v.with_secondary() } else { v };
    (
        group.slot(slot),
        v,
        HpteR::new(Ra::new(0x500_0000), base, actual),
    )
}

fn store(c: &mut DuplicateChecker, (index, v, r): (HpteIndex, HpteV, HpteR)) -> Option<Duplicate> {
    let ra = table().hpte_ra(index);
    assert_eq!(c.observe_store(ra + 8, r.0), None);
    c.observe_store(ra, v.0)
}

#[test]
fn fires_on_both_groups_and_sizes() {
    for segment in [S256M, S1T] {
        for secondary in [false, true] {
            let mut c = DuplicateChecker::new(BASE, 11);
            let vpn = 0x12_3456_7890;
            let first = entry(vpn, segment, (P4K, P4K), false, 0);
            assert_eq!(store(&mut c, first), None);
            let second = entry(vpn, segment, (P4K, P4K), secondary, 5);
            let d = store(&mut c, second).expect("duplicate");
            assert_eq!(
                (d.first, d.second, d.vpn),
                (first.0, second.0, Vpn::new(vpn))
            );
            let large = entry(vpn, segment, (P16M, P16M), secondary, 6);
            let d = store(&mut c, large).expect("16 MB over 4 KB");
            assert_eq!((d.second, d.vpn), (large.0, Vpn::new(vpn)));
        }
    }
    let mut c = DuplicateChecker::new(BASE, 11);
    assert_eq!(
        store(&mut c, entry(0x5_0000, S256M, (P16M, P16M), false, 1)),
        None
    );
    let d = store(&mut c, entry(0x5_0123, S256M, (P64K, P64K), false, 2)).expect("64 KB in 16 MB");
    assert_eq!(d.vpn, Vpn::new(0x5_0120));
}

#[test]
fn quiet_on_neighbours_locks_and_removal() {
    let mut c = DuplicateChecker::new(BASE, 11);
    let one = entry(0x9_0010, S256M, (P4K, P64K), false, 0);
    assert_eq!(store(&mut c, one), None);
    for vpn in [0x9_0011, 0x9_0012] {
        assert_eq!(
            store(&mut c, entry(vpn, S256M, (P4K, P64K), false, 0)),
            None,
            "MPSS neighbour"
        );
    }
    assert_eq!(
        store(&mut c, entry(0x9_0013, S256M, (P4K, P4K), false, 0)),
        None
    );
    assert_eq!(
        store(&mut c, entry(0x9_0010, S1T, (P4K, P4K), false, 3)),
        None,
        "other B"
    );
    let ra = table().hpte_ra(one.0);
    assert_eq!(c.observe_store(ra, one.1.with_lock().0), None);
    assert_eq!(c.observe_store(ra, one.1.0), None);
    assert_eq!(c.observe_store(ra, 0), None);
    assert_eq!(
        store(&mut c, entry(0x9_0010, S256M, (P4K, P4K), true, 4)),
        None,
        "first is gone"
    );
    assert!(c.observe_store(ra, one.1.0).is_some());
    assert_eq!(
        c.observe_store(Ra::new(0), one.1.0),
        None,
        "outside the table"
    );
}

#[test]
fn what_no_search_reaches_is_no_duplicate() {
    let mut c = DuplicateChecker::new(BASE, 11);
    let (index, v, r) = entry(0x9_0010, S256M, (P64K, P64K), false, 0);
    assert_eq!(store(&mut c, (index, v, r)), None);
    assert_eq!(
        store(&mut c, (HpteIndex(index.0 + 1), v, HpteR(0x0f << 12))),
        None,
        "reserved LP"
    );
    assert_eq!(
        store(&mut c, (HpteIndex(index.0 ^ 0x80), v, r)),
        None,
        "other page of the group's"
    );
    assert_eq!(
        store(&mut c, (HpteIndex(index.0 + 2), v.with_secondary(), r)),
        None,
        "H"
    );
}

#[test]
fn old_words_are_taken_up() {
    let mut c = DuplicateChecker::new(BASE, 11);
    let (index, v, _) = entry(0x33_0010, S256M, (P4K, P4K), false, 0);
    let ra = table().hpte_ra(index);
    assert_eq!(c.observe_v_store(ra, v.0, v.with_lock().0), None);
    assert!(
        c.observe_v_store(ra + 16, 0, v.0).is_some(),
        "the first was there before"
    );
}

proptest! {
    #[test]
    fn scan_counts_what_was_doubled(
        pages in prop::collection::btree_set(0u64..1 << 40, 1..40),
        doubled in 0usize..40,
        one_t: bool,
    ) {
        let segment = if one_t { S1T } else { S256M };
        let memory = GuestMemory::new(1 << 20).expect("memory");
        let t = table();
        let mut tlb = |_| {};
        let mut a = Direct::new(&memory, &mut tlb);
        let mut expected = Vec::new();
        for (i, &page) in pages.iter().enumerate() {
            let (index, v, r) = entry(page, segment, (P4K, P4K), false, 0);
            let first = t.insert(&mut a, index.group(), v, r, false).expect("insert");
            let (index, v, r) = entry(page, segment, (P4K, P4K), true, 0);
            if i % 40 < doubled && first.is_some() {
                let second = t.insert(&mut a, index.group(), v, r, true).expect("insert");
                if second.is_some() { expected.push(Vpn::new(page)); }
            }
        }
        let found = DuplicateChecker::scan(&memory, BASE, 11).expect("scan");
        let mut vpns: Vec<_> = found.iter().map(|d| d.vpn).collect();
        vpns.sort_unstable();
        prop_assert_eq!(vpns, expected);
    }

    #[test]
    fn any_words_at_all(ra in 0u64..1 << 20, v: u64, r: u64) {
        let mut c = DuplicateChecker::new(BASE, 11);
        let at = Ra::new(ra & !15);
        prop_assert_eq!(c.observe_store(at + 8, r), None);
        prop_assert_eq!(c.observe_store(at, v), None);
    }
}
