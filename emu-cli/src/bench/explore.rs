//! `emu bench explore`: interleavings searched in a second, and what the reduction saves.

use super::host::Host;
use super::spread::{Figures, Spread};
use anyhow::{Context, Result};
use emu_linux::explore::{Bounds, Cell, ExploreScenario, Strategy, explore, explore_scenarios};
use emu_linux::lazy_mmu::policy::policy;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// Most departures of the search that leaves nothing out: it takes a minute with one more.
const PLAIN_BOUND_MAX: usize = 3;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds of each figure.
    pub rounds: usize,
    /// The scenario.
    pub scenario: String,
    /// The policy.
    pub policy: String,
    /// Departures of a run.
    pub bound: usize,
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
    /// The scenario.
    pub scenario: String,
    /// The policy.
    pub policy: String,
    /// Departures of a run.
    pub bound: usize,
    /// Interleavings run in a second on one core, one emulated CPU, without the set-up of the machine.
    pub schedules_per_second: Spread,
    /// Steps made in a second on one core: what interleavings have in common and is made once counts once.
    pub steps_per_second: Spread,
    /// The host's time for the set-up, in milliseconds.
    pub set_up_ms: Spread,
    /// Interleavings of the search.
    pub schedules: u64,
    /// Departures of a run where searches with and without reduction are compared: at most [`PLAIN_BOUND_MAX`].
    pub plain_bound: usize,
    /// Interleavings of the search that leaves nothing out.
    pub schedules_plain: u64,
    /// Those of the search with reduction.
    pub schedules_reduced: u64,
    /// How many of the plain ones each stands for.
    pub plain_per_schedule: f64,
}

/// Measures; `step` is told before each step how many are done, and of how many.
pub fn measure(options: &Options, step: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let host = Host::look(None);
    let scenarios = explore_scenarios().context("a shipped scenario is damaged")?;
    let scenario = scenarios.iter().find(|s| s.id == options.scenario);
    let scenario = scenario.with_context(|| {
        let ids: Vec<&str> = scenarios.iter().map(|s| s.id.as_str()).collect();
        let id = &options.scenario;
        format!(
            "no scenario `{id}` to explore; they are: {}",
            ids.join(", ")
        )
    })?;
    let total = options.rounds as u64 + 1;
    let mut figures = Figures::default();
    let mut schedules = 0;
    for round in 0..options.rounds {
        step(round as u64, total);
        let began = Instant::now();
        let cell = searched(scenario, options, options.bound, Strategy::Exhaustive)?;
        let all = began.elapsed().as_secs_f64();
        let seconds = cell.searched_for.as_secs_f64();
        schedules = cell.schedules;
        figures.add("schedules", cell.schedules as f64 / seconds);
        figures.add("steps", cell.steps_made as f64 / seconds);
        figures.add("set_up_ms", (all - seconds) * 1e3);
    }
    step(total - 1, total);
    let plain_bound = options.bound.min(PLAIN_BOUND_MAX);
    let plain = searched(scenario, options, plain_bound, Strategy::Plain)?;
    let reduced = searched(scenario, options, plain_bound, Strategy::Exhaustive)?;
    let spreads: BTreeMap<String, Spread> = figures.spreads();
    Ok(Report {
        schema: "ppc-mmu-emu/bench-explore/2",
        host,
        rounds: options.rounds,
        scenario: options.scenario.clone(),
        policy: options.policy.clone(),
        bound: options.bound,
        schedules_per_second: spreads["schedules"],
        steps_per_second: spreads["steps"],
        set_up_ms: spreads["set_up_ms"],
        schedules,
        plain_bound,
        schedules_plain: plain.schedules,
        schedules_reduced: reduced.schedules,
        plain_per_schedule: plain.schedules as f64 / reduced.schedules as f64,
    })
}

fn searched(
    scenario: &ExploreScenario,
    options: &Options,
    bound: usize,
    strategy: Strategy,
) -> Result<Cell> {
    let rule = policy(&options.policy).with_context(|| {
        format!(
            "no policy `{}`; `emu policy list` names them",
            options.policy
        )
    })?;
    let bounds = Bounds::all(bound);
    Ok(explore(scenario, rule, 1, bounds, strategy, &mut |_| true)?)
}
