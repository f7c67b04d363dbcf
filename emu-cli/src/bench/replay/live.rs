//! Random loads while many pages are mapped, beside what the host's memory allows at that footprint.

use super::POLICY;
use crate::bench::host;
use anyhow::{Context, Result};
use emu_linux::{Progress, RunConfig, Source, run};
use emu_mmu::{GuestMemory, Hpt, Limit, Ra};
use serde::Serialize;
use std::hint::black_box;
use std::time::Instant;

/// Maps pages, loads from each, leaves them mapped, and loads from random ones.
const SCENARIO: &str = "live-mappings";
/// Pages that one operation of the scenario maps at first.
const AREA_PAGES: u64 = 64;
/// Least loads that are timed. With the machine's costs they fill several budgets of a CPU, at whose beginnings a
/// run tells its progress.
const LOADS_MIN: u64 = 1_000_000;
/// Times that a phase must have told its progress for a rate to be taken from it.
const TOLD_MIN: u32 = 8;
/// Pages of the first point.
pub const LIVE_MIN: u64 = 1 << 10;
/// Pages of the points.
const PAGES: [u64; 8] = [
    LIVE_MIN,
    1 << 12,
    1 << 14,
    1 << 16,
    1 << 18,
    1 << 20,
    1 << 22,
    1 << 24,
];
/// Prefetch distances of which the limit takes the best.
const DISTANCES: [usize; 4] = [8, 16, 32, 64];

/// Rates with so many live mappings.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// Pages that are mapped and were loaded from.
    pub live_mappings: u64,
    /// log2 of the groups of the hash table: the kernel's rule for as many pages of RAM.
    pub groups_log2: u8,
    /// Pages mapped, hashed and loaded from for the first time, in a second; absent where there are too few
    /// to time.
    pub mapped_per_second: Option<f64>,
    /// Loads from random ones of them in a second, with the machine's costs and no checker.
    pub ops_per_second: f64,
    /// Random groups of a table of this size that the host can read in a second.
    pub limit_per_second: f64,
    /// `ops_per_second` over `limit_per_second`.
    pub ratio: f64,
    /// Host memory by which the process grew, in bytes for each mapping, if the host tells.
    pub bytes_per_mapping: Option<f64>,
}

/// The points up to so many pages.
pub fn sizes(live_max: u64) -> Vec<u64> {
    PAGES
        .into_iter()
        .filter(|&pages| pages <= live_max)
        .collect()
}

/// One group for each two pages, at least 2^11 (htab_get_table_size, Linux 2.6.38
/// arch/powerpc/mm/hash_utils_64.c).
fn groups_log2(pages: u64) -> u8 {
    (pages.ilog2() as u8 - 1).max(11)
}

/// Measures one point.
///
/// # Errors
/// A run that failed, a host without the memory.
pub fn point(pages: u64, loads: u64) -> Result<Point> {
    let (log2, loads) = (groups_log2(pages), loads.max(LOADS_MIN));
    host::require_memory((128 << log2) * 2 + pages * 64)?;
    let config = RunConfig {
        touch: Some(pages),
        operations: Some(loads),
        htab_bits: Some(log2),
        check: false,
        ..RunConfig::new(POLICY)
    };
    let (mut watch, before) = (Watch::new(pages / AREA_PAGES), host::resident_bytes());
    let source = Source::Scenario(SCENARIO.to_owned());
    run(&source, &config, &mut |progress| watch.see(progress))
        .context("the run of the measurement failed")?;
    let limit_per_second = limit(log2, loads)?;
    let ops_per_second = watch.loads_per_second()?;
    let grown = watch.resident.zip(before);
    Ok(Point {
        live_mappings: pages,
        groups_log2: log2,
        mapped_per_second: watch.mapped_per_second(),
        ops_per_second,
        limit_per_second,
        ratio: ops_per_second / limit_per_second,
        bytes_per_mapping: grown
            .map(|(after, before)| after.saturating_sub(before) as f64 / pages as f64),
    })
}

/// When a run mapped and when it loaded, from its progress.
struct Watch {
    areas: u64,
    /// The run began, all areas were mapped, the last load was done: when, and operations by then.
    began: (Instant, u64),
    mapped: Option<(Instant, u64)>,
    loaded: Option<(Instant, u64)>,
    /// Times that progress was told while it mapped.
    told: u32,
    resident: Option<u64>,
}

impl Watch {
    fn new(areas: u64) -> Self {
        Watch {
            areas,
            began: (Instant::now(), 0),
            mapped: None,
            loaded: None,
            told: 0,
            resident: None,
        }
    }

    fn see(&mut self, Progress { done, .. }: Progress) {
        let now = (Instant::now(), done);
        if done == 0 {
            self.began = now;
        } else if done < self.areas {
            self.told += 1;
        } else if self.mapped.is_none() {
            self.mapped = Some(now);
            self.resident = host::resident_bytes();
        } else if self.loaded.is_none_or(|(_, before)| before < done) {
            self.loaded = Some(now);
        }
    }

    fn mapped_per_second(&self) -> Option<f64> {
        let (end, _) = self.mapped.filter(|_| self.told >= TOLD_MIN)?;
        let areas = self.areas - self.began.1;
        let seconds = end.duration_since(self.began.0).as_secs_f64();
        Some((areas * AREA_PAGES) as f64 / seconds)
    }

    fn loads_per_second(&self) -> Result<f64> {
        let phase = self.mapped.zip(self.loaded);
        let ((begin, before), (end, after)) = phase.context("the run loaded nothing")?;
        Ok((after - before) as f64 / end.duration_since(begin).as_secs_f64())
    }
}

/// Random groups of a table that are read in a second, at the best prefetch distance.
fn limit(groups_log2: u8, reads: u64) -> Result<f64> {
    let bytes = 128u64 << groups_log2;
    let memory = GuestMemory::new(2 * bytes).context("no memory for the limit's table")?;
    let hpt = Hpt::new(Ra::new(bytes), groups_log2)?;
    memory.zero(hpt.base(), bytes)?;
    let limit = Limit::new(&memory, &hpt)?;
    let mut state = 1u64;
    let keys: Vec<u64> = (0..reads)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state >> 32
        })
        .collect();
    let rates = DISTANCES.map(|distance| {
        let began = Instant::now();
        black_box(limit.read(&keys, |&key| key, distance));
        keys.len() as f64 / began.elapsed().as_secs_f64()
    });
    Ok(rates.into_iter().fold(0.0, f64::max))
}
