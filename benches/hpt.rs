//! The hashed page table at full speed: insert, find and invalidate of one entry at a time, at random
//! places of a 16 MiB table that is half full.
//!
//! The floor is the memory: `load-both-groups` loads the primary and the secondary group of a random
//! hash and does nothing with them. What each operation costs beside it is printed at the end.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ppc_mmu_emu::mmu::{
    CompareOrder, Direct, GuestMemory, Hpt, HpteIndex, HpteR, HpteV, PageSize, Ra, SegmentSize, Vpn,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// log2 of the groups: 128 bytes each, 16 MiB.
const GROUPS_LOG2: u8 = 17;
/// Pages entered before the measurement: half of the slots.
const FILLED: usize = 1 << 19;
/// Further pages, which the insert benchmark enters and takes out again.
const SPARE: usize = 1 << 14;
const SEGMENT: SegmentSize = SegmentSize::S1T;
const PAGE: PageSize = PageSize::P4K;

struct Bench {
    memory: GuestMemory,
    hpt: Hpt,
    /// Pages in the table, in random order.
    filled: Vec<(Vpn, HpteIndex)>,
    /// Pages not in it.
    spare: Vec<Vpn>,
}

/// A step of a generator of period 2^64 (Steele, Lea and Flood, splitmix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Bench {
    fn new() -> Self {
        let memory = GuestMemory::new(64 << 20).expect("memory");
        let hpt = Hpt::new(Ra::new(16 << 20), GROUPS_LOG2).expect("a table");
        let mut bench = Bench {
            memory,
            hpt,
            filled: Vec::new(),
            spare: Vec::new(),
        };
        let mut state = 1;
        while bench.filled.len() < FILLED {
            let vpn = Vpn::new(random(&mut state) >> 16);
            if let Some(index) = bench.insert(vpn) {
                bench.filled.push((vpn, index));
            }
        }
        bench.spare = (0..SPARE)
            .map(|_| Vpn::new(random(&mut state) >> 16))
            .collect();
        bench
    }

    fn insert(&self, vpn: Vpn) -> Option<HpteIndex> {
        let mut no_tlbie = |_| {};
        let mut table = Direct::new(&self.memory, &mut no_tlbie);
        let hash = vpn.hash(SEGMENT, PAGE);
        let v = HpteV::new(vpn, SEGMENT, PAGE);
        let r = HpteR::new(Ra::new(0x10_0000), PAGE, PAGE).with_flags(0x194);
        let groups = [
            (self.hpt.primary(hash), false),
            (self.hpt.secondary(hash), true),
        ];
        groups.into_iter().find_map(|(group, secondary)| {
            let slot = self.hpt.insert(&mut table, group, v, r, secondary);
            slot.expect("inside memory").map(|slot| group.slot(slot))
        })
    }

    fn find(&self, vpn: Vpn) -> Option<HpteIndex> {
        let mut no_tlbie = |_| {};
        let mut table = Direct::new(&self.memory, &mut no_tlbie);
        self.hpt
            .find(&mut table, vpn, SEGMENT, PAGE)
            .expect("inside memory")
    }

    fn invalidate(&self, vpn: Vpn, index: HpteIndex) -> bool {
        let mut no_tlbie = |_| {};
        let mut table = Direct::new(&self.memory, &mut no_tlbie);
        let want = HpteV::new(vpn, SEGMENT, PAGE);
        let order = CompareOrder::BeforeLock;
        self.hpt
            .invalidate(&mut table, index, want, order)
            .expect("inside memory")
    }

    fn load_both(&self, hash: u64) -> u64 {
        let group = |g| {
            self.memory
                .load_group(self.hpt.group_ra(g))
                .expect("inside memory")
        };
        let (first, second) = (
            group(self.hpt.primary(hash)),
            group(self.hpt.secondary(hash)),
        );
        first[0] ^ second[0]
    }

    /// Time of `count` finds of pages that are there.
    fn time_find(&self, count: u64) -> Duration {
        let start = Instant::now();
        for i in 0..count as usize {
            let (vpn, _) = self.filled[i % FILLED];
            black_box(self.find(vpn));
        }
        start.elapsed()
    }

    /// Time of `count` loads of both groups of the same pages.
    fn time_load(&self, count: u64) -> Duration {
        let start = Instant::now();
        for i in 0..count as usize {
            let (vpn, _) = self.filled[i % FILLED];
            black_box(self.load_both(vpn.hash(SEGMENT, PAGE)));
        }
        start.elapsed()
    }

    /// Times of `count` inserts and of the `count` invalidations that undo them.
    fn time_insert_invalidate(&self, count: u64) -> (Duration, Duration) {
        let (mut inserts, mut invalidations) = (Duration::ZERO, Duration::ZERO);
        let mut left = count as usize;
        let mut indices = Vec::with_capacity(SPARE);
        while left > 0 {
            let pages = &self.spare[..left.min(SPARE)];
            let start = Instant::now();
            indices.extend(pages.iter().map(|&vpn| self.insert(vpn)));
            inserts += start.elapsed();
            let start = Instant::now();
            for (&vpn, index) in pages.iter().zip(indices.drain(..)) {
                let gone = index.map(|index| self.invalidate(vpn, index));
                debug_assert_ne!(gone, Some(false));
                black_box(gone);
            }
            invalidations += start.elapsed();
            left -= pages.len();
        }
        (inserts, invalidations)
    }
}

fn one_at_a_time(c: &mut Criterion) {
    let bench = Bench::new();
    let mut group = c.benchmark_group("hpt/16M-half-full");
    group.throughput(Throughput::Elements(1));
    group.bench_function("load-both-groups", |b| {
        b.iter_custom(|n| bench.time_load(n))
    });
    group.bench_function("find", |b| b.iter_custom(|n| bench.time_find(n)));
    group.bench_function("insert", |b| {
        b.iter_custom(|n| bench.time_insert_invalidate(n).0)
    });
    group.bench_function("invalidate", |b| {
        b.iter_custom(|n| bench.time_insert_invalidate(n).1)
    });
    group.finish();
    let measured = std::env::args().any(|arg| arg == "--bench");
    let count = if measured { 1 << 21 } else { 1 << 10 };
    let floor = bench.time_load(count).as_secs_f64();
    let (insert, invalidate) = bench.time_insert_invalidate(count);
    println!(
        "of the time that loading both groups takes ({:.0} ns):",
        floor * 1e9 / count as f64
    );
    for (name, time) in [
        ("find", bench.time_find(count)),
        ("insert", insert),
        ("invalidate", invalidate),
    ] {
        println!("  {name:<10} {:.2}", time.as_secs_f64() / floor);
    }
}

criterion_group!(hpt, one_at_a_time);
criterion_main!(hpt);
