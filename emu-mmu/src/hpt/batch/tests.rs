//! Batches against the one-at-a-time operations: the same memory, the same answers, on every back end.

use super::*;
use crate::addr::Ra;
use crate::hpt::{CompareOrder, Direct, FlushEntry, TableAccess};
use crate::hpte::HpteFormat;
use proptest::prelude::*;
use std::collections::BTreeMap;

const GROUPS_LOG2: u8 = 11;
const TABLE: Ra = Ra::new(1 << 19);

fn table(format: HpteFormat) -> (GuestMemory, Hpt) {
    let memory = GuestMemory::new(1 << 20).expect("memory");
    let hpt = Hpt::new(TABLE, GROUPS_LOG2).expect("table");
    (memory, hpt.with_format(format))
}

fn words(memory: &GuestMemory) -> Vec<u64> {
    let bytes = 128u64 << GROUPS_LOG2;
    (0..bytes / 8)
        .map(|i| memory.load_u64(TABLE + 8 * i).expect("inside"))
        .collect()
}

/// Inserts as a hash fault does: primary, then secondary.
fn insert_one<A: TableAccess>(
    hpt: &Hpt,
    a: &mut A,
    pages: Pages,
    mapping: Mapping,
) -> Result<Option<HpteIndex>, A::Error> {
    let hash = mapping.vpn.hash(pages.segment, pages.base);
    for (group, secondary) in [(hpt.primary(hash), false), (hpt.secondary(hash), true)] {
        let v = HpteV::new(mapping.vpn, pages.segment, pages.base).0 | pages.v_flags.0;
        let v = HpteV(v);
        if let Some(slot) = hpt.insert(a, group, v, mapping.r, secondary)? {
            return Ok(Some(group.slot(slot)));
        }
    }
    Ok(None)
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Vec<u64>),
    Find(Vec<u64>),
    Invalidate(Vec<u64>),
    /// Flushes these pages where they were last placed, or at a wrong slot.
    Flush(Vec<(u64, bool)>, bool),
}

/// Pages that crowd into few groups: both groups of many fill up.
fn vpn() -> impl Strategy<Value = u64> {
    (0u64..4, 0u64..60).prop_map(|(g, n)| (n << 28) | (n & 0x7ff) ^ g)
}

fn op() -> impl Strategy<Value = Op> {
    let some = || prop::collection::vec(vpn(), 0..150);
    prop_oneof![
        3 => some().prop_map(Op::Insert),
        1 => some().prop_map(Op::Find),
        1 => some().prop_map(Op::Invalidate),
        1 => (prop::collection::vec((vpn(), any::<bool>()), 0..200), any::<bool>())
            .prop_map(|(pages, before)| Op::Flush(pages, before)),
    ]
}

fn mapping(vpn: u64) -> Mapping {
    Mapping {
        vpn: Vpn::new(vpn),
        r: HpteR::new(Ra::new((vpn & 0xff) << 12), PageSize::P4K, PageSize::P4K).with_flags(0x194),
    }
}

/// Distances with and without prefetch, of whole blocks and not.
fn distance() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(16), 1usize..80]
}

/// The slot of each page, or a slot that is not its own.
fn flush_entries(
    pages: Pages,
    of: &[(u64, bool)],
    placed: &BTreeMap<u64, HpteIndex>,
) -> Vec<FlushEntry> {
    of.iter()
        .filter_map(|&(vpn, wrong)| {
            let index = *placed.get(&vpn)?;
            Some(FlushEntry {
                index: HpteIndex(index.0 ^ u64::from(wrong)),
                want: HpteV::new(Vpn::new(vpn), pages.segment, pages.base),
            })
        })
        .collect()
}

/// Does each operation one at a time in `single` and as a batch; the answers must be the same.
fn agree<S: Sharing>(
    single: &(GuestMemory, Hpt),
    mut batch: Batch<'_, S>,
    pages: Pages,
    ops: &[Op],
) -> Result<(), TestCaseError> {
    let (memory, hpt) = single;
    let mut tlb = |_| {};
    let mut a = Direct::new(memory, &mut tlb);
    let mut placed = BTreeMap::new();
    for op in ops {
        match op {
            Op::Insert(vpns) => {
                let mappings: Vec<_> = vpns.iter().map(|&vpn| mapping(vpn)).collect();
                let mut places = Vec::new();
                batch.insert(pages, &mappings, |i, place| places.push((i, place)));
                for (i, &mapping) in mappings.iter().enumerate() {
                    let place = insert_one(hpt, &mut a, pages, mapping).expect("inside");
                    prop_assert_eq!(places[i], (i, place));
                    place.map(|index| placed.insert(mapping.vpn.get(), index));
                }
            }
            Op::Find(vpns) => {
                let vpns: Vec<_> = vpns.iter().copied().map(Vpn::new).collect();
                let mut places = Vec::new();
                batch.find(pages, &vpns, |i, place| places.push((i, place)));
                for (i, &vpn) in vpns.iter().enumerate() {
                    let place = hpt.find(&mut a, vpn, pages.segment, pages.base);
                    prop_assert_eq!(places[i], (i, place.expect("inside")));
                }
            }
            Op::Invalidate(vpns) => {
                let vpns: Vec<_> = vpns.iter().copied().map(Vpn::new).collect();
                let mut places = Vec::new();
                batch.invalidate(pages, &vpns, |i, place| places.push((i, place)));
                for (i, &vpn) in vpns.iter().enumerate() {
                    let place = hpt.find(&mut a, vpn, pages.segment, pages.base);
                    let place = place.expect("inside");
                    let want = HpteV::new(vpn, pages.segment, pages.base);
                    if let Some(index) = place {
                        let order = CompareOrder::BeforeLock;
                        prop_assert!(hpt.invalidate(&mut a, index, want, order).expect("inside"));
                    }
                    prop_assert_eq!(places[i], (i, place));
                }
            }
            Op::Flush(of, before) => {
                let compare = match before {
                    true => CompareOrder::BeforeLock,
                    false => CompareOrder::UnderLock,
                };
                let entries = flush_entries(pages, of, &placed);
                let expected = hpt.flush_range(&mut a, &entries, compare).expect("inside");
                prop_assert_eq!(batch.flush(&entries, compare), expected);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn batches_leave_what_single_operations_leave(
        ops in prop::collection::vec(op(), 1..8),
        isa3: bool,
        one_tb: bool,
        base in prop::sample::select(&[PageSize::P4K, PageSize::P64K, PageSize::P16M]),
        bolted: bool,
        distance in distance(),
    ) {
        let format = if isa3 { HpteFormat::Isa3 } else { HpteFormat::Isa2 };
        let segment = if one_tb { SegmentSize::S1T } else { SegmentSize::S256M };
        let v_flags = HpteV(if bolted { HpteV::BOLTED } else { 0 });
        let pages = Pages { segment, base, v_flags };
        for backend in Backend::ALL.into_iter().filter(|b| b.is_available()) {
            let single = table(format);
            let (memory, hpt) = table(format);
            let batch = hpt.shared(&memory).expect("inside").with_distance(distance);
            let batch = batch.with_backend(backend).expect("available");
            agree(&single, batch, pages, &ops)?;
            prop_assert_eq!(words(&memory), words(&single.0));

            let single = table(format);
            let (mut memory, hpt) = table(format);
            let batch = hpt.exclusive(&mut memory).expect("inside").with_distance(distance);
            let batch = batch.with_backend(backend).expect("available");
            agree(&single, batch, pages, &ops)?;
            prop_assert_eq!(words(&memory), words(&single.0));
        }
    }
}

#[test]
fn shared_batches_of_two_threads_lose_and_double_nothing() {
    let (memory, hpt) = table(HpteFormat::Isa2);
    let pages = Pages::new(SegmentSize::S256M, PageSize::P4K);
    // Two threads fill the same groups to the last slot: 16 pages for each of 64 hashes.
    let half = |odd: u64| -> Vec<Mapping> {
        (0..8u64)
            .flat_map(|n| (0..64).map(move |g| (n << 28) | ((2 * n + odd) << 16) | g))
            .map(mapping)
            .collect()
    };
    let halves = [half(0), half(1)];
    for round in 0..200 {
        let batch = hpt
            .shared(&memory)
            .expect("inside")
            .with_distance(16 * (round % 2));
        let lost: u32 = std::thread::scope(|scope| {
            let threads = halves.iter().map(|mappings| {
                let mut batch = batch.clone();
                scope.spawn(move || {
                    let mut lost = 0;
                    batch.insert(pages, mappings, |_, place| {
                        lost += u32::from(place.is_none())
                    });
                    lost
                })
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|t| t.join().expect("joined")).sum()
        });
        let valid = hpt.count_valid(&memory).expect("inside");
        assert_eq!(valid + u64::from(lost), 1024);
        for mappings in &halves {
            let vpns: Vec<_> = mappings.iter().map(|m| m.vpn).collect();
            let mut found = 0;
            let mut batch = batch.clone();
            batch.invalidate(pages, &vpns, |_, place| found += u64::from(place.is_some()));
            assert!(found > 0);
        }
        assert_eq!(
            hpt.count_valid(&memory),
            Ok(0),
            "an entry that nobody finds"
        );
        assert!(
            words(&memory).iter().step_by(2).all(|&dw0| dw0 == 0),
            "a lock left behind"
        );
    }
}

proptest! {
    #[test]
    fn a_shape_hashes_as_a_page_does(
        vpn: u64,
        one_tb: bool,
        base in prop::sample::select(&PageSize::ALL),
    ) {
        let segment = if one_tb { SegmentSize::S1T } else { SegmentSize::S256M };
        let (vpn, shape) = (Vpn::new(vpn), Pages::new(segment, base).shape());
        prop_assert_eq!(shape.hash(vpn), vpn.hash(segment, base));
        prop_assert_eq!(shape.v(vpn), HpteV::new(vpn, segment, base));
    }
}

proptest! {
    /// The scalar search, every vector search and a map that knows nothing of groups agree.
    #[test]
    fn searches_agree_with_a_map(
        present in prop::collection::btree_set(vpn(), 0..400),
        sought in prop::collection::vec(vpn(), 1..400),
        isa3: bool,
        distance in distance(),
    ) {
        let format = if isa3 { HpteFormat::Isa3 } else { HpteFormat::Isa2 };
        let (mut memory, hpt) = table(format);
        let pages = Pages::new(SegmentSize::S256M, PageSize::P4K);
        let mappings: Vec<_> = present.iter().map(|&vpn| mapping(vpn)).collect();
        let mut map = BTreeMap::new();
        hpt.exclusive(&mut memory).expect("inside").insert(pages, &mappings, |i, place| {
            place.map(|index| map.insert(mappings[i].vpn.get(), index));
        });
        let distinct: std::collections::BTreeSet<_> = map.values().map(|index| index.0).collect();
        prop_assert_eq!(distinct.len(), map.len(), "a slot given twice");
        let vpns: Vec<_> = sought.iter().copied().map(Vpn::new).collect();
        for backend in Backend::ALL.into_iter().filter(|b| b.is_available()) {
            let batch = hpt.exclusive(&mut memory).expect("inside").with_distance(distance);
            let batch = batch.with_backend(backend).expect("available");
            let mut found = Vec::new();
            batch.find(pages, &vpns, |i, place| found.push((i, place)));
            let expected: Vec<_> = sought.iter().map(|vpn| map.get(vpn).copied()).enumerate().collect();
            prop_assert_eq!(found, expected, "{}", backend.name());
        }
    }
}
