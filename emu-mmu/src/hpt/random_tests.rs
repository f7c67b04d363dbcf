//! Operations in random order against a map, and from two threads.

use super::tests::{table, word};
use super::*;
use crate::addr::{PageSize, SegmentSize, Vpn};
use crate::hpte::{HpteR, HpteV};
use proptest::prelude::*;
use std::collections::BTreeMap;

const P4K: PageSize = PageSize::P4K;
const S256M: SegmentSize = SegmentSize::S256M;

/// Inserts as a hash fault does: primary, then secondary.
fn put<A: TableAccess>(
    t: &Hpt,
    a: &mut A,
    vpn: Vpn,
    r: HpteR,
) -> Result<Option<HpteIndex>, A::Error> {
    let hash = vpn.hash(S256M, P4K);
    let v = HpteV::new(vpn, S256M, P4K);
    for (group, secondary) in [(t.primary(hash), false), (t.secondary(hash), true)] {
        if let Some(slot) = t.insert(a, group, v, r, secondary)? {
            return Ok(Some(group.slot(slot)));
        }
    }
    Ok(None)
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u64),
    Invalidate(u64),
    Find(u64),
    Flush(u64, u64),
}

/// Pages that crowd into few groups: the low VSID bits and the page index vary little.
fn page() -> impl Strategy<Value = u64> {
    (0u64..4, 0u64..40).prop_map(|(g, n)| (n << 27) | (n & 0x7ff) ^ g)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => page().prop_map(Op::Insert),
        1 => page().prop_map(Op::Invalidate),
        2 => page().prop_map(Op::Find),
        1 => (page(), page()).prop_map(|(a, b)| Op::Flush(a, b)),
    ]
}

proptest! {
    #[test]
    fn table_agrees_with_a_map(ops in prop::collection::vec(op(), 1..200), before: bool) {
        let (memory, t) = table();
        let mut tlb = |_| {};
        let mut a = Direct::new(&memory, &mut tlb);
        let compare = if before { CompareOrder::BeforeLock } else { CompareOrder::UnderLock };
        let mut oracle: BTreeMap<u64, HpteIndex> = BTreeMap::new();
        let want = |p| HpteV::new(Vpn::new(p), S256M, P4K);
        for op in ops {
            match op {
                Op::Insert(p) if !oracle.contains_key(&p) => {
                    if let Some(i) = put(&t, &mut a, Vpn::new(p), word(p & 0xff)).expect("insert") {
                        prop_assert!(!oracle.values().any(|&o| o == i), "slot given twice");
                        oracle.insert(p, i);
                    } else {
                        let hash = Vpn::new(p).hash(S256M, P4K);
                        let groups = [t.primary(hash), t.secondary(hash)];
                        let held = oracle.values().filter(|i| groups.contains(&i.group())).count();
                        prop_assert_eq!(held, 16, "refused though not full");
                    }
                }
                Op::Insert(p) | Op::Find(p) => {
                    let found = t.find(&mut a, Vpn::new(p), S256M, P4K).expect("find");
                    prop_assert_eq!(found, oracle.get(&p).copied());
                }
                Op::Invalidate(p) => {
                    // A page not in the table is looked for at some slot: what matches there goes,
                    // as in the kernel.
                    let at = oracle.get(&p).copied().unwrap_or(HpteIndex(p & 0x3fff));
                    let holder = oracle.iter().find(|(_, i)| **i == at).map(|(q, _)| *q);
                    let expected = holder.filter(|q| q >> 11 == p >> 11);
                    let hit = t.invalidate(&mut a, at, want(p), compare).expect("invalidate");
                    prop_assert_eq!(hit, expected.is_some());
                    expected.map(|q| oracle.remove(&q));
                }
                Op::Flush(p, q) => {
                    let entries: Vec<_> = [p, q].iter().filter_map(|p| {
                        oracle.get(p).map(|&index| FlushEntry { index, want: want(*p) })
                    }).collect();
                    let gone = t.flush_range(&mut a, &entries, compare).expect("flush");
                    let before = oracle.len();
                    oracle.remove(&p);
                    oracle.remove(&q);
                    prop_assert_eq!(gone as usize, before - oracle.len());
                }
            }
            prop_assert_eq!(t.count_valid(&memory).expect("count"), oracle.len() as u64);
        }
        for e in t.entries(&memory) {
            prop_assert!(!e.expect("entry").1.v.is_locked());
        }
    }
}

#[test]
fn two_threads_never_share_a_slot() {
    let (memory, t) = table();
    // 2 x 64 pages in 16 groups of 8: every slot is fought for and none is left.
    let page = |n: u64| Vpn::new(((n / 8) << 27) | (((n / 2) & 7) ^ (n / 8)));
    let pages = |who: u64| (0..64).map(move |i| page(2 * i + who));
    for _ in 0..50 {
        memory.zero(t.base(), t.size_bytes()).expect("zero");
        let slots: Vec<HpteIndex> = std::thread::scope(|s| {
            let run = |who| {
                let (memory, t) = (&memory, &t);
                s.spawn(move || {
                    let mut tlb = |_| {};
                    let mut a = Direct::new(memory, &mut tlb);
                    let mut got = Vec::new();
                    for vpn in pages(who) {
                        got.extend(put(t, &mut a, vpn, word(vpn.get() & 0xff)).expect("insert"));
                    }
                    got
                })
            };
            let threads = [run(0), run(1)];
            threads
                .into_iter()
                .flat_map(|h| h.join().expect("thread"))
                .collect()
        });
        let mut unique = slots.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), slots.len());
        assert_eq!(t.count_valid(&memory), Ok(slots.len() as u64));
        assert_eq!(slots.len(), 128, "nothing was lost");
    }
}
