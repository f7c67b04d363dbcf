//! `emu bench replay`: operations of the kernel model that are emulated in a second of the host.

mod live;

use super::Spread;
use super::host::Host;
use anyhow::{Context, Result};
use emu_linux::{RunConfig, Source, Timing, run};
use serde::Serialize;
use std::time::Instant;

use super::curves::Curve;
pub use live::{LIVE_MIN, Point};

/// The policy under which the kernel batches and is sound.
const POLICY: &str = "mainline-6.16-fixed";
/// One operation: vmalloc of 8 pages, a store to each, vfree.
const SCENARIO: &str = "vmalloc-pairs";

/// Loads of a point of the curve for each operation of a run: they are as much shorter.
const LOADS_AN_OPERATION: u64 = 5;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rounds of each figure.
    pub rounds: usize,
    /// Operations of a run.
    pub operations: u64,
    /// Most pages that are mapped at once for the curve; below [`LIVE_MIN`] there is none.
    pub live_max: u64,
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
    /// The scenario that was run.
    pub scenario: &'static str,
    /// Its policy.
    pub policy: &'static str,
    /// Operations of a run.
    pub operations: u64,
    /// Rates on one host thread.
    pub ops_per_second: Rates,
    /// Host memory that a live mapping costs, in bytes: its share of the hash table and of the page tables,
    /// its area, and what the host keeps of it. Of the last point of the curve; absent without one, or where
    /// the host does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_mapping: Option<f64>,
    /// Random loads by the number of live mappings.
    pub curve: Vec<Point>,
}

impl Report {
    /// What is drawn of it, in millions a second.
    pub fn drawn(&self) -> Vec<Curve> {
        let of = |name: &str, rate: fn(&Point) -> f64| {
            let mut curve = Curve::new(name.to_owned());
            for point in &self.curve {
                curve.add(point.live_mappings, rate(point) / 1e6);
            }
            curve
        };
        vec![
            of("limit", |point| point.limit_per_second),
            of("random loads", |point| point.ops_per_second),
        ]
    }
}

/// Operations a second.
#[derive(Debug, Serialize)]
pub struct Rates {
    /// One cycle a step, and no checker.
    pub functional: Spread,
    /// One cycle a step, with every invariant checked at every step.
    pub functional_checked: Spread,
    /// The machine's costs, and no checker.
    pub cycle: Spread,
}

impl Rates {
    /// Each with its key.
    pub fn named(&self) -> [(&'static str, Spread); 3] {
        [
            ("functional", self.functional),
            ("functional_checked", self.functional_checked),
            ("cycle", self.cycle),
        ]
    }
}

/// Operations a second of one run.
fn rate(operations: u64, timing: Timing, check: bool) -> Result<f64> {
    let source = Source::Scenario(SCENARIO.to_owned());
    let config = RunConfig {
        operations: Some(operations),
        timing,
        check,
        ..RunConfig::new(POLICY)
    };
    let began = Instant::now();
    run(&source, &config, &mut |_| ()).context("the run of the measurement failed")?;
    Ok(operations as f64 / began.elapsed().as_secs_f64())
}

/// Measures; `step` is told before each run how many are done, and of how many.
pub fn measure(options: Options, step: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    const KINDS: [(Timing, bool); 3] = [
        (Timing::Functional, false),
        (Timing::Functional, true),
        (Timing::Cycle, false),
    ];
    let sizes = live::sizes(options.live_max);
    let total = (KINDS.len() * options.rounds + sizes.len()) as u64;
    let mut done = 0;
    let mut next = || {
        step(done, total);
        done += 1;
    };
    let mut figures = [const { Vec::new() }; KINDS.len()];
    for _ in 0..options.rounds {
        for ((timing, check), rates) in KINDS.into_iter().zip(&mut figures) {
            next();
            rates.push(rate(options.operations, timing, check)?);
        }
    }
    let [functional, functional_checked, cycle] = figures.map(Spread::of);
    let mut curve = Vec::with_capacity(sizes.len());
    for pages in sizes {
        next();
        curve.push(live::point(pages, options.operations * LOADS_AN_OPERATION)?);
    }
    Ok(Report {
        schema: "ppc-mmu-emu/bench-replay/2",
        host: Host::look(None),
        rounds: options.rounds,
        scenario: SCENARIO,
        policy: POLICY,
        operations: options.operations,
        ops_per_second: Rates {
            functional,
            functional_checked,
            cycle,
        },
        bytes_per_mapping: curve.last().and_then(|point| point.bytes_per_mapping),
        curve,
    })
}
