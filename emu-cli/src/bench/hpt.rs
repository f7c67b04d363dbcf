//! `emu bench hpt`: insert, find and flush of the hash table against the limit of the memory, against
//! themselves without their means, and against general hash maps.
//!
//! Every ratio is taken within one round, so that a machine that slows down slows both sides.

mod peers;
mod search;
pub(super) mod table;

use super::curves::Curve;
use super::host::{self, Host};
use super::spread::{Figures, Spread};
use super::translate;
use anyhow::Result;
use emu_mmu::Backend;
use peers::Peers;
use search::Search;
use serde::Serialize;
use std::collections::BTreeMap;
use table::{FLUSH_ENTRIES, Mps, Table};

/// log2 of the groups of a 16 MiB table.
const LOG2_16M: u8 = 17;
/// log2 of the groups of a 1 GiB table.
const LOG2_1G: u8 = 23;
/// Passes over the 16 MiB table in a round: one is too short to time.
const PASSES_16M: usize = 6;
/// Tables of the curves, log2 of the groups: 512 KiB to 1 GiB.
const CURVE_LOG2: [u8; 6] = [12, 14, 17, 19, 21, 23];
/// Loads of the curves, in percent.
const LOADS: [usize; 3] = [25, 50, 75];

/// Pages that the translations go to: more than a TLB holds.
const TRANSLATED_PAGES: u64 = 1 << 14;
/// Translations of one measurement, each thread.
const TRANSLATIONS: u64 = 4 << 20;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rounds of every ratio.
    pub rounds: usize,
    /// log2 of the groups of the largest table.
    pub groups_log2_max: u8,
    /// Whether to draw curves over table sizes and loads.
    pub curves: bool,
}

/// The report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this document's keys.
    pub schema: &'static str,
    /// The machine.
    pub host: Host,
    /// Rounds.
    pub rounds: usize,
    /// Bytes of the table that the keys without `_16m` are of.
    pub table_bytes: u64,
    /// Entries of a flush.
    pub flush_entries: usize,
    /// Ratios and rates by name: `_mps` is millions of entries a second.
    #[serde(flatten)]
    pub figures: BTreeMap<String, Spread>,
    /// Rates over table sizes and loads.
    pub curves: Vec<Curve>,
}

/// Bytes that a table of this size needs beside it: keys, places, and a peer's map of the same keys.
fn bytes_needed(groups_log2: u8) -> u64 {
    (128u64 << groups_log2) * 6
}

/// Measures; `step` is told before each step how many are done, and of how many.
pub fn measure(options: Options, step: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let largest = options.groups_log2_max.min(LOG2_1G);
    host::require_memory(bytes_needed(largest))?;
    let mut table = Table::new(largest, 50)?;
    let host = Host::look(table.huge_page_share);
    let mut small = Table::new(LOG2_16M.min(largest), 50)?;
    let mut peers = Peers::new(&table);
    let mut search = Search::new()?;
    let mut figures = Figures::default();
    let sizes = CURVE_LOG2.iter().filter(|&&log2| log2 <= largest).count();
    let curve_steps = if options.curves {
        sizes * LOADS.len()
    } else {
        0
    };
    let total = (options.rounds * 3 + curve_steps) as u64;
    let mut done = 0;
    let mut next = || {
        step(done, total);
        done += 1;
    };
    for _ in 0..options.rounds {
        next();
        large_round(&mut table, &mut figures)?;
        next();
        peers_round(&mut peers, &table, &mut figures);
        next();
        for _ in 0..PASSES_16M {
            small_round(&mut small, &mut figures)?;
        }
        search_round(&mut search, &mut figures)?;
    }
    let table_bytes = table.bytes();
    drop((table, peers));
    let curves = match options.curves {
        true => curves(largest, &mut next)?,
        false => Vec::new(),
    };
    Ok(Report {
        schema: "ppc-mmu-emu/bench-hpt/1",
        host,
        rounds: options.rounds,
        table_bytes,
        flush_entries: FLUSH_ENTRIES,
        figures: figures.spreads(),
        curves,
    })
}

/// The rate of two passes over as many keys: one before, one after what is compared with them.
fn mean(before: Mps, after: Mps) -> Mps {
    2.0 / (1.0 / before + 1.0 / after)
}

fn large_round(table: &mut Table, figures: &mut Figures) -> Result<()> {
    let limit = table.limit()?;
    let exclusive = table.insert_exclusive()?;
    let shared = table.insert_shared(1)?;
    let limit = mean(limit, table.limit()?);
    figures.add("limit_1g_mps", limit);
    let keys_ahead = table.limit_keys_ahead()?;
    figures.add("limit_keys_ahead_vs_limit", keys_ahead / limit);
    figures.add("insert_exclusive_mps", exclusive);
    figures.add("insert_exclusive_vs_limit", exclusive / limit);
    figures.add("insert_shared_mps", shared);
    figures.add("insert_shared_vs_limit", shared / limit);
    let single = table.insert_single()?;
    figures.add("insert_single_mps", single);
    figures.add("insert_batched_vs_single", exclusive / single);
    figures.add("insert_batched_vs_steps", exclusive / table.insert_steps()?);
    table.fill()?;
    let limit_read = table.limit_read()?;
    let find = table.find()?;
    let limit_read = mean(limit_read, table.limit_read()?);
    figures.add("limit_read_1g_mps", limit_read);
    figures.add("find_batched_mps", find);
    figures.add("find_batched_vs_limit", find / limit_read);
    let flush = table.flush(FLUSH_ENTRIES)?;
    let limit = mean(limit, table.limit()?);
    figures.add("flush_batched_mps", flush);
    figures.add("flush_batched_vs_limit", flush / limit);
    let limit_threads2 = table.limit_threads(2)?;
    let shared_threads2 = table.insert_shared(2)?;
    let shared = table.insert_shared(1)?;
    let own = shared_threads2 / shared;
    figures.add("limit_threads2_scaling", limit_threads2 / limit);
    figures.add("insert_threads2_scaling", own);
    figures.add(
        "insert_threads2_vs_limit_scaling",
        own / (limit_threads2 / limit),
    );
    Ok(())
}

fn peers_round(peers: &mut Peers, table: &Table, figures: &mut Figures) {
    // The round before has just measured ours on the same keys.
    let exclusive = figures.last("insert_exclusive_mps");
    let exclusive: Mps = exclusive.unwrap_or_default();
    let hashbrown = peers.hashbrown(table);
    figures.add("hashbrown_insert_mps", hashbrown);
    figures.add("insert_vs_hashbrown", exclusive / hashbrown);
    let dashmap = peers.dashmap(table);
    figures.add("dashmap_insert_mps", dashmap);
    figures.add("insert_vs_dashmap", exclusive / dashmap);
}

fn small_round(table: &mut Table, figures: &mut Figures) -> Result<()> {
    let limit = table.limit()?;
    let exclusive = table.insert_exclusive()?;
    figures.add("limit_16m_mps", limit);
    figures.add("insert_exclusive_16m_mps", exclusive);
    figures.add("insert_exclusive_16m_vs_limit", exclusive / limit);
    let single = table.insert_single()?;
    figures.add("insert_batched_vs_single_16m", exclusive / single);
    Ok(())
}

fn search_round(search: &mut Search, figures: &mut Figures) -> Result<()> {
    let scalar = search.rate(Backend::Scalar)?;
    figures.add("search_scalar_mps", scalar);
    let mut best = 1.0;
    for backend in Backend::ALL.into_iter().filter(|b| b.is_available()) {
        if backend != Backend::Scalar {
            best = search.rate(backend)? / scalar;
            figures.add(&format!("simd_vs_scalar_{}", backend.name()), best);
        }
    }
    figures.add("simd_vs_scalar", best);
    let one = translate::rate(1, TRANSLATED_PAGES, TRANSLATIONS)?;
    figures.add("translate_mps", one);
    let two = translate::rate(2, TRANSLATED_PAGES, TRANSLATIONS)?;
    figures.add("translate_threads2_scaling", two / one);
    Ok(())
}

fn curves(largest: u8, next: &mut dyn FnMut()) -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for load in LOADS {
        let mut insert = Curve::new(format!("insert, load {load} %"));
        let mut find = Curve::new(format!("find, load {load} %"));
        let mut limit = Curve::new(format!("limit, load {load} %"));
        for log2 in CURVE_LOG2.into_iter().filter(|&log2| log2 <= largest) {
            next();
            let mut table = Table::new(log2, load)?;
            let bytes = table.bytes();
            limit.add(bytes, table.limit()?);
            insert.add(bytes, table.insert_exclusive()?);
            table.fill()?;
            find.add(bytes, table.find()?);
        }
        curves.extend([limit, insert, find]);
    }
    Ok(curves)
}
