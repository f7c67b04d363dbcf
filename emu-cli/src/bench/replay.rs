//! `emu bench replay`: operations of the kernel model that are emulated in a second of the host.

use super::Spread;
use super::host::Host;
use anyhow::{Context, Result};
use emu_linux::{RunConfig, Source, run};
use serde::Serialize;
use std::time::Instant;

/// The policy under which the kernel batches and is sound.
const POLICY: &str = "mainline-6.16-fixed";
/// One operation: vmalloc of 8 pages, a store to each, vfree.
const SCENARIO: &str = "vmalloc-pairs";

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rounds of each figure.
    pub rounds: usize,
    /// Operations of a run.
    pub operations: u64,
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
}

/// Operations a second.
#[derive(Debug, Serialize)]
pub struct Rates {
    /// With the built-in costs and no checker.
    pub unchecked: Spread,
    /// With every invariant checked at every step.
    pub checked: Spread,
}

/// Measures; `step` is told before each run how many are done, and of how many.
pub fn measure(options: Options, step: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let source = Source::Scenario(SCENARIO.to_owned());
    let (mut unchecked, mut checked) = (Vec::new(), Vec::new());
    let total = 2 * options.rounds as u64;
    for round in 0..options.rounds as u64 {
        for (check, rates) in [(false, &mut unchecked), (true, &mut checked)] {
            step(2 * round + u64::from(check), total);
            let config = RunConfig {
                operations: Some(options.operations),
                check,
                ..RunConfig::new(POLICY)
            };
            let began = Instant::now();
            run(&source, &config, &mut |_| ()).context("the run of the measurement failed")?;
            rates.push(options.operations as f64 / began.elapsed().as_secs_f64());
        }
    }
    Ok(Report {
        schema: "ppc-mmu-emu/bench-replay/1",
        host: Host::look(None),
        rounds: options.rounds,
        scenario: SCENARIO,
        policy: POLICY,
        operations: options.operations,
        ops_per_second: Rates {
            unchecked: Spread::of(unchecked),
            checked: Spread::of(checked),
        },
    })
}
