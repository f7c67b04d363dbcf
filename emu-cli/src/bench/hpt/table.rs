//! A table, the pages that go into it, and timed passes over them.

use crate::bench::host::huge_bytes;
use anyhow::{Context, Result};
use emu_mmu::{
    Backend, Batch, CompareOrder, Direct, Exclusive, FlushEntry, GuestMemory, Hpt, HpteIndex,
    HpteR, HpteV, Limit, Mapping, PageSize, Pages, Ra, SegmentSize, Shared, Vpn,
};
use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

/// Entries of one flush: the kernel's batch (`PPC64_TLB_BATCH_NR`).
pub const FLUSH_ENTRIES: usize = 192;
/// Prefetch distances of which the limit takes the best.
pub const DISTANCES: [usize; 4] = [8, 16, 32, 64];
/// Keys that the limit fetches ahead of those whose groups it fetches, if it does.
const KEYS_AHEAD: usize = 48;
/// What all pages have in common.
pub const PAGES: Pages = Pages::new(SegmentSize::S1T, PageSize::P4K);

/// Millions of entries a second.
pub type Mps = f64;

/// A hash table in memory of its own and pages to fill it with.
pub struct Table {
    memory: GuestMemory,
    hpt: Hpt,
    /// The pages of the largest load, in random order.
    pub mappings: Vec<Mapping>,
    vpns: Vec<Vpn>,
    placed: Vec<FlushEntry>,
    /// Share of the table in huge pages, 0 to 1, if the host tells.
    pub huge_page_share: Option<f64>,
    distance_change: Cell<Option<usize>>,
    distance_read: Cell<Option<usize>>,
    distance_keys_ahead: Cell<Option<usize>>,
}

/// The rate at the best of [`DISTANCES`]: all are tried the first time, the best one of then after.
fn best(known: &Cell<Option<usize>>, rate: impl Fn(usize) -> Mps) -> Mps {
    if let Some(distance) = known.get() {
        return rate(distance);
    }
    let mut fastest = 0.0;
    for distance in DISTANCES {
        let rate = rate(distance);
        if rate > fastest {
            fastest = rate;
            known.set(Some(distance));
        }
    }
    fastest
}

/// A step of a generator of period 2^64 (Steele, Lea and Flood, splitmix64).
pub fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The limit's group of a page: low bits, no hash.
fn group_of(mapping: &Mapping) -> u64 {
    mapping.vpn.get()
}

fn mps(entries: usize, began: Instant) -> Mps {
    entries as f64 / began.elapsed().as_secs_f64() / 1e6
}

impl Table {
    /// A table of `2^groups_log2` groups and pages for a load of `percent`.
    pub fn new(groups_log2: u8, percent: usize) -> Result<Self> {
        let bytes = 128u64 << groups_log2;
        let memory = GuestMemory::new(2 * bytes).context("no memory for the table")?;
        let hpt = Hpt::new(Ra::new(bytes), groups_log2)?;
        memory.prefer_huge_pages(hpt.base(), bytes);
        let huge_before = huge_bytes();
        memory.zero(hpt.base(), bytes)?;
        let huge_page_share = huge_bytes()
            .zip(huge_before)
            .map(|(after, before)| after.saturating_sub(before) as f64 / bytes as f64);
        let count = (8usize << groups_log2) * percent / 100;
        let mut state = u64::from(groups_log2);
        let mappings: Vec<Mapping> = (0..count)
            .map(|_| {
                let vpn = Vpn::new(random(&mut state) >> 14);
                let ra = Ra::new((random(&mut state) & 0xff_ffff) << 12);
                let r = HpteR::new(ra, PAGES.base, PAGES.base).with_flags(0x194);
                Mapping { vpn, r }
            })
            .collect();
        let vpns = mappings.iter().map(|m| m.vpn).collect();
        Ok(Table {
            memory,
            hpt,
            mappings,
            vpns,
            placed: Vec::new(),
            huge_page_share,
            distance_change: Cell::new(None),
            distance_read: Cell::new(None),
            distance_keys_ahead: Cell::new(None),
        })
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.hpt.size_bytes()
    }

    /// Empties it.
    pub fn clear(&mut self) -> Result<()> {
        self.memory.zero(self.hpt.base(), self.hpt.size_bytes())?;
        Ok(())
    }

    fn exclusive(&mut self) -> Result<Batch<'_, Exclusive>> {
        Ok(self.hpt.exclusive(&mut self.memory)?)
    }

    fn shared(&self) -> Result<Batch<'_, Shared>> {
        Ok(self.hpt.shared(&self.memory)?)
    }

    /// The limit of changing groups, at its best distance. What is in the table is lost.
    pub fn limit(&self) -> Result<Mps> {
        self.limit_threads(1)
    }

    /// The same from `threads` threads, each on its part of the pages.
    pub fn limit_threads(&self, threads: usize) -> Result<Mps> {
        let limit = Limit::new(&self.memory, &self.hpt)?;
        let part = self.mappings.len().div_ceil(threads);
        Ok(best(&self.distance_change, |distance| {
            let began = Instant::now();
            std::thread::scope(|scope| {
                for part in self.mappings.chunks(part) {
                    let limit = &limit;
                    scope.spawn(move || black_box(limit.change(part, group_of, distance)));
                }
            });
            mps(self.mappings.len(), began)
        }))
    }

    /// The limit of changing groups if the keys are fetched ahead too.
    pub fn limit_keys_ahead(&self) -> Result<Mps> {
        let limit = Limit::new(&self.memory, &self.hpt)?.with_keys_ahead(KEYS_AHEAD);
        Ok(best(&self.distance_keys_ahead, |distance| {
            let began = Instant::now();
            black_box(limit.change(&self.mappings, group_of, distance));
            mps(self.mappings.len(), began)
        }))
    }

    /// The limit of reading groups, at its best distance.
    pub fn limit_read(&self) -> Result<Mps> {
        let limit = Limit::new(&self.memory, &self.hpt)?;
        Ok(best(&self.distance_read, |distance| {
            let began = Instant::now();
            black_box(limit.read(&self.mappings, group_of, distance));
            mps(self.mappings.len(), began)
        }))
    }

    /// Inserts every page into the empty table, alone.
    pub fn insert_exclusive(&mut self) -> Result<Mps> {
        self.clear()?;
        let mappings = std::mem::take(&mut self.mappings);
        let mut batch = self.exclusive()?;
        let began = Instant::now();
        let mut sum = 0;
        batch.insert(PAGES, &mappings, |_, place| sum ^= place.map_or(0, |p| p.0));
        let rate = mps(mappings.len(), began);
        black_box(sum);
        self.mappings = mappings;
        Ok(rate)
    }

    /// The first quarter of them without the pipeline and without vector instructions, one at a time.
    pub fn insert_single(&mut self) -> Result<Mps> {
        self.clear()?;
        let mappings = std::mem::take(&mut self.mappings);
        let batch = self.exclusive()?.with_distance(0);
        let mut batch = batch
            .with_backend(Backend::Scalar)
            .context("the scalar back end runs everywhere")?;
        let began = Instant::now();
        let mut sum = 0;
        let quarter = &mappings[..mappings.len() / 4];
        for mapping in quarter {
            let one = std::slice::from_ref(mapping);
            batch.insert(PAGES, one, |_, place| sum ^= place.map_or(0, |p| p.0));
        }
        let rate = mps(quarter.len(), began);
        black_box(sum);
        self.mappings = mappings;
        Ok(rate)
    }

    /// The first eighth of them as the kernel model does it, step by step under the lock bit.
    pub fn insert_steps(&mut self) -> Result<Mps> {
        self.clear()?;
        let mut tlb = |_| {};
        let mut access = Direct::new(&self.memory, &mut tlb);
        let mappings = &self.mappings[..self.mappings.len() / 8];
        let began = Instant::now();
        for mapping in mappings {
            let hash = mapping.vpn.hash(PAGES.segment, PAGES.base);
            let v = HpteV::new(mapping.vpn, PAGES.segment, PAGES.base);
            let groups = [
                (self.hpt.primary(hash), false),
                (self.hpt.secondary(hash), true),
            ];
            for (group, secondary) in groups {
                let slot = self
                    .hpt
                    .insert(&mut access, group, v, mapping.r, secondary)?;
                if slot.is_some() {
                    break;
                }
            }
        }
        Ok(mps(mappings.len(), began))
    }

    /// Inserts every page beside others, from `threads` threads; notes where each went if alone.
    pub fn insert_shared(&mut self, threads: usize) -> Result<Mps> {
        self.clear()?;
        let part = self.mappings.len().div_ceil(threads);
        let batch = self.shared()?;
        let began = Instant::now();
        std::thread::scope(|scope| {
            for part in self.mappings.chunks(part) {
                let mut batch = batch.clone();
                scope.spawn(move || {
                    let mut sum = 0;
                    batch.insert(PAGES, part, |_, place| sum ^= place.map_or(0, |p| p.0));
                    black_box(sum)
                });
            }
        });
        Ok(mps(self.mappings.len(), began))
    }

    /// Fills the empty table and notes where every page went.
    pub fn fill(&mut self) -> Result<()> {
        self.clear()?;
        let mappings = std::mem::take(&mut self.mappings);
        let mut placed = std::mem::take(&mut self.placed);
        placed.clear();
        placed.reserve(mappings.len());
        self.exclusive()?.insert(PAGES, &mappings, |i, place| {
            let vpn = mappings[i].vpn;
            let want = HpteV::new(vpn, PAGES.segment, PAGES.base);
            placed.extend(place.map(|index: HpteIndex| FlushEntry { index, want }));
        });
        self.mappings = mappings;
        self.placed = placed;
        Ok(())
    }

    /// Finds every page of a filled table.
    pub fn find(&self) -> Result<Mps> {
        let batch = self.shared()?;
        let began = Instant::now();
        let mut found = 0;
        batch.find(PAGES, &self.vpns, |_, place| {
            found += usize::from(place.is_some())
        });
        let rate = mps(self.vpns.len(), began);
        anyhow::ensure!(found == self.placed.len(), "{found} pages found");
        Ok(rate)
    }

    /// Flushes a filled table as the kernel model does it, step by step under the lock bit, without a
    /// batch: the first eighth of the entries.
    pub fn flush_steps(&mut self) -> Result<Mps> {
        let mut tlb = |_| {};
        let mut access = Direct::new(&self.memory, &mut tlb);
        let entries = &self.placed[..self.placed.len() / 8];
        let began = Instant::now();
        let mut flushed = 0;
        for entry in entries {
            let order = CompareOrder::BeforeLock;
            flushed +=
                usize::from(
                    self.hpt
                        .invalidate(&mut access, entry.index, entry.want, order)?,
                );
        }
        let rate = mps(entries.len(), began);
        anyhow::ensure!(flushed == entries.len(), "{flushed} entries flushed");
        Ok(rate)
    }

    /// Flushes a filled table, some entries at a time, beside others.
    pub fn flush(&mut self, entries_each: usize) -> Result<Mps> {
        let mut batch = self.shared()?;
        let began = Instant::now();
        let mut flushed = 0;
        for entries in self.placed.chunks(entries_each) {
            flushed += batch.flush(entries, CompareOrder::BeforeLock) as usize;
        }
        let rate = mps(self.placed.len(), began);
        anyhow::ensure!(flushed == self.placed.len(), "{flushed} entries flushed");
        Ok(rate)
    }
}
