//! Calls in random order against a map of what the table holds.

use super::tests::{P4K, hypervisor, r};
use super::*;
use crate::addr::SegmentSize;
use crate::hpt::Direct;
use proptest::prelude::*;
use std::collections::BTreeMap;

const S256M: SegmentSize = SegmentSize::S256M;

#[derive(Clone, Debug)]
enum Op {
    Enter(u64, bool),
    Remove(u64, u64),
    Evict(u64),
    Protect(u64, u64),
    Bulk(Vec<(u64, u64)>),
}

/// Pages that crowd into few groups.
fn page() -> impl Strategy<Value = u64> {
    (0u64..3, 0u64..12).prop_map(|(g, n)| (n << 27) | (n & 0x7ff) ^ g)
}

/// Slots of those groups.
fn slot() -> impl Strategy<Value = u64> {
    0u64..32
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (page(), any::<bool>()).prop_map(|(p, exact)| Op::Enter(p, exact)),
        2 => (slot(), page()).prop_map(|(i, p)| Op::Remove(i, p)),
        1 => slot().prop_map(Op::Evict),
        1 => (slot(), page()).prop_map(|(i, p)| Op::Protect(i, p)),
        2 => prop::collection::vec((slot(), page()), 1..4).prop_map(Op::Bulk),
    ]
}

fn word(p: u64) -> HpteV {
    let v = HpteV::new(Vpn::new(p), S256M, P4K);
    if p.is_multiple_of(3) {
        v.with_bolted()
    } else {
        v
    }
}

fn avpn(p: u64) -> u64 {
    word(p).0 & HpteV::COMPARE_MASK
}

proptest! {
    #[test]
    fn calls_agree_with_a_map(ops in prop::collection::vec(op(), 1..120)) {
        let (memory, hv) = hypervisor();
        let mut oracle: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let held = |oracle: &BTreeMap<u64, (u64, u64)>, i: u64, p: u64| {
            oracle.get(&i).is_some_and(|(q, _)| avpn(*q) == avpn(p))
        };
        for op in ops {
            let mut gone = Vec::new();
            let mut tlb = |operand: TlbInvalidate| gone.push(operand.vpn.get());
            let mut a = Direct::new(&memory, &mut tlb);
            let mut expected = Vec::new();
            match op {
                Op::Enter(p, exact) => {
                    let first = hv.hpt.primary(Vpn::new(p).hash(S256M, P4K)).slot(0).0;
                    let flags = if exact { H_EXACT } else { 0 };
                    let end = if exact { first + 1 } else { first + 8 };
                    let free = (first..end).find(|i| !oracle.contains_key(i));
                    let got = hv.enter(&mut a, flags, HpteIndex(first), word(p), r(p & 7));
                    let want = free.map(HpteIndex).ok_or(HcallError::PtegFull);
                    prop_assert_eq!(got, Ok(want));
                    if let Some(i) = free {
                        oracle.insert(i, (p, r(p & 7).0));
                    }
                }
                Op::Remove(i, p) => {
                    let hit = held(&oracle, i, p).then(|| oracle.remove(&i)).flatten();
                    let got = hv.remove(&mut a, H_AVPN, HpteIndex(i), avpn(p)).expect("memory");
                    let want = hit.map(|(q, r)| Hpte { v: word(q).with_valid(), r: HpteR(r) });
                    prop_assert_eq!(got, want.ok_or(HcallError::NotFound));
                    expected.extend(hit.map(|(q, _)| q));
                }
                Op::Evict(i) => {
                    let soft = oracle.get(&i).is_some_and(|(q, _)| !word(*q).is_bolted());
                    let hit = soft.then(|| oracle.remove(&i)).flatten();
                    let got = hv.remove(&mut a, H_ANDCOND, HpteIndex(i), HpteV::BOLTED);
                    prop_assert_eq!(got.expect("memory").is_ok(), hit.is_some());
                    expected.extend(hit.map(|(q, _)| q));
                }
                Op::Protect(i, p) => {
                    let hit = held(&oracle, i, p);
                    let got = hv.protect(&mut a, H_AVPN | (p & 3), HpteIndex(i), avpn(p));
                    prop_assert_eq!(got, Ok(hit.then_some(()).ok_or(HcallError::NotFound)));
                    if let Some((q, r)) = oracle.get_mut(&i).filter(|_| hit) {
                        *r = *r & !7 | (p & 3);
                        expected.push(*q);
                    }
                }
                Op::Bulk(pairs) => {
                    let mut words = [HBR_END; 8];
                    for ((i, p), pair) in pairs.iter().zip(words.chunks_exact_mut(2)) {
                        pair.copy_from_slice(&bulk_request(HpteIndex(*i), word(*p)));
                    }
                    prop_assert_eq!(hv.bulk_remove(&mut a, &mut words), Ok(Ok(())));
                    for ((i, p), pair) in pairs.iter().zip(words.chunks_exact(2)) {
                        let hit = held(&oracle, *i, *p).then(|| oracle.remove(i)).flatten();
                        let code = if hit.is_some() { HBR_R | HBR_C } else { HBR_NOT_FOUND };
                        prop_assert_eq!(pair[0], HBR_RESPONSE | HBR_AVPN | code | *i);
                        expected.extend(hit.map(|(q, _)| q));
                    }
                }
            }
            // r(page) has R and C set, so the table must be what the map says to the bit.
            prop_assert_eq!(gone, expected);
            for entry in hv.hpt.entries(&memory).take(64) {
                let (index, entry) = entry.expect("memory");
                let want = oracle.get(&index.0).map(|(q, r)| (word(*q).with_valid().0, *r));
                let got = entry.v.is_valid().then_some((entry.v.0, entry.r.0));
                prop_assert_eq!(got, want);
                prop_assert!(entry.v.0 & HV_LOCK == 0);
            }
        }
    }
}

#[test]
fn two_guests_removing_the_same_entries_never_wait_for_each_other() {
    let (memory, hv) = hypervisor();
    let pages: Vec<u64> = (0..4).map(|n| (n << 27) | n).collect();
    for _ in 0..200 {
        let mut tlb = |_| {};
        let mut a = Direct::new(&memory, &mut tlb);
        let slots: Vec<HpteIndex> = pages
            .iter()
            .map(|&p| {
                hv.enter(&mut a, 0, HpteIndex(0), word(p), r(1))
                    .expect("memory")
            })
            .map(|put| put.expect("room"))
            .collect();
        let remove = |backwards: bool| {
            let mut words = [HBR_END; 8];
            for (n, pair) in words.chunks_exact_mut(2).enumerate() {
                let i = if backwards { 3 - n } else { n };
                pair.copy_from_slice(&bulk_request(slots[i], word(pages[i])));
            }
            let mut tlb = |_| {};
            let done = hv.bulk_remove(&mut Direct::new(&memory, &mut tlb), &mut words);
            assert_eq!(done, Ok(Ok(())));
            words
                .iter()
                .step_by(2)
                .filter(|w| *w & HBR_NOT_FOUND == 0)
                .count()
        };
        let removed = std::thread::scope(|s| {
            let other = s.spawn(|| remove(true));
            remove(false) + other.join().expect("thread")
        });
        assert_eq!(removed, 4, "each entry once");
        assert_eq!(hv.hpt.count_valid(&memory), Ok(0));
    }
}
