//! `emu bench flush`: flushes of so many entries against the limit of the memory, and against the
//! sequence without a batch.

use super::curves::Curve;
use super::host::{self, Host};
use super::hpt::table::Table;
use super::spread::{Figures, Spread};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;

/// Entries of a flush; 192 are the kernel's batch (`PPC64_TLB_BATCH_NR`).
const ENTRIES: [usize; 9] = [1, 4, 8, 16, 32, 64, 128, 192, 512];

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rounds of every ratio.
    pub rounds: usize,
    /// log2 of the groups of the table.
    pub groups_log2: u8,
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
    /// Bytes of the table.
    pub table_bytes: u64,
    /// Ratios and rates by name: `_mps` is millions of entries a second.
    #[serde(flatten)]
    pub figures: BTreeMap<String, Spread>,
    /// The medians over the entries of a flush.
    pub curves: Vec<Curve>,
}

/// Measures; `step` is told before each step how many are done, and of how many.
pub fn measure(options: Options, step: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    host::require_memory((128u64 << options.groups_log2) * 4)?;
    let mut table = Table::new(options.groups_log2, 50)?;
    let host = Host::look(table.huge_page_share);
    let total = (options.rounds * (ENTRIES.len() + 1)) as u64;
    let mut figures = Figures::default();
    let mut done = 0;
    let mut next = || {
        step(done, total);
        done += 1;
    };
    for _ in 0..options.rounds {
        next();
        table.fill()?;
        let steps = table.flush_steps()?;
        figures.add("flush_steps_mps", steps);
        for entries in ENTRIES {
            next();
            let limit = table.limit()?;
            table.fill()?;
            let rate = table.flush(entries)?;
            figures.add("limit_mps", limit);
            figures.add(&format!("flush_{entries}_mps"), rate);
            figures.add(&format!("flush_{entries}_vs_limit"), rate / limit);
            figures.add(&format!("flush_{entries}_vs_steps"), rate / steps);
        }
    }
    let table_bytes = table.bytes();
    let figures = figures.spreads();
    let (mut batched, mut steps) = (
        Curve::new("batched".to_owned()),
        Curve::new("steps".to_owned()),
    );
    for entries in ENTRIES {
        batched.add(
            entries as u64,
            figures[&format!("flush_{entries}_mps")].median,
        );
        steps.add(entries as u64, figures["flush_steps_mps"].median);
    }
    Ok(Report {
        schema: "ppc-mmu-emu/bench-flush/1",
        host,
        rounds: options.rounds,
        table_bytes,
        figures,
        curves: vec![batched, steps],
    })
}
