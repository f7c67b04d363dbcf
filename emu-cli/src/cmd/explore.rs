//! `emu explore`, `emu replay`, `emu explain`: interleavings searched, run again, and told.

use super::EXIT_VIOLATION;
use crate::args::{ExplainArgs, ExploreArgs, ReplayArgs, StrategyName};
use crate::output::{Place, deliver};
use crate::plan::policies_named;
use crate::progress::Bar;
use crate::report::{explore as report, json};
use anyhow::{Context, Result, anyhow, bail};
use emu_linux::explore::{
    Bounds, Cell, ExploreScenario, Strategy, explore as search, explore_scenarios, replay as again,
};
use emu_linux::lazy_mmu::policy::policy;
use emu_linux::{Progress, nearest};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One cell to be explored.
struct Job<'a> {
    scenario: &'a ExploreScenario,
    policy: &'static str,
    cpus: u16,
}

/// Explores; 1 if an invariant was broken.
pub fn explore(args: &ExploreArgs) -> Result<u8> {
    let place = place(args.output.output.as_deref())?;
    let all = explore_scenarios().context("a shipped scenario is damaged")?;
    let scenarios = named(&all, args)?;
    let policies = policies_named(&args.policies)?;
    let mut jobs = Vec::new();
    for &scenario in &scenarios {
        for policy in &policies {
            for &cpus in &args.cpus {
                let policy = policy.name;
                jobs.push(Job {
                    scenario,
                    policy,
                    cpus,
                });
            }
        }
    }
    let results = run_all(&jobs, args)?;
    let found = results.iter().any(|cell| !cell.violations.is_empty());
    let text = match args.output.json {
        true => json::pretty(&report::Document::new(results))?,
        false => report::text(&results),
    };
    deliver(&[(&place, &text)])?;
    Ok(if found { EXIT_VIOLATION } else { 0 })
}

fn place(output: Option<&std::path::Path>) -> Result<Place> {
    output.map_or(Ok(Place::Stdout), Place::check)
}

/// The scenarios that were asked for.
fn named<'a>(all: &'a [ExploreScenario], args: &ExploreArgs) -> Result<Vec<&'a ExploreScenario>> {
    let find = |id: &str| {
        all.iter().find(|s| s.id == id).ok_or_else(|| {
            let ids: Vec<&str> = all.iter().map(|s| s.id.as_str()).collect();
            let near = nearest(id, ids.iter().copied());
            let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            anyhow!(
                "no scenario `{id}` to explore{near} They are: {}",
                ids.join(", ")
            )
        })
    };
    match (args.scenario.as_str(), args.only.is_empty()) {
        ("all", true) => Ok(all.iter().collect()),
        ("all", false) => args.only.iter().map(|id| find(id)).collect(),
        (_, false) => bail!("`--only` narrows `emu explore all`; one scenario was named already"),
        (id, true) => Ok(vec![find(id)?]),
    }
}

/// Explores the cells on some threads; they come back in order.
fn run_all(jobs: &[Job<'_>], args: &ExploreArgs) -> Result<Vec<Cell>> {
    let threads = args.jobs.map_or_else(
        || std::thread::available_parallelism().map_or(1, |n| n.get()),
        usize::from,
    );
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let cells: Mutex<Vec<Option<Result<Cell>>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let bar = Mutex::new(Bar::new("cells explored".to_owned()));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { return };
                    let cell = run_one(job, args);
                    if let Ok(mut cells) = cells.lock() {
                        cells[index] = Some(cell);
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if let Ok(mut bar) = bar.lock() {
                        bar.update(Progress {
                            done: done as u64,
                            total: Some(jobs.len() as u64),
                        });
                    }
                }
            });
        }
    });
    let cells = cells
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    cells
        .into_iter()
        .map(|cell| cell.unwrap_or_else(|| bail!("a cell was not explored")))
        .collect()
}

fn run_one(job: &Job<'_>, args: &ExploreArgs) -> Result<Cell> {
    let (schedules, seed) = (args.schedules, args.seed);
    let strategy = match args.strategy {
        StrategyName::Exhaustive => Strategy::Exhaustive,
        StrategyName::Plain => Strategy::Plain,
        StrategyName::Pct => Strategy::Pct { schedules, seed },
        StrategyName::Random => Strategy::Random { schedules, seed },
    };
    let rule = policy(job.policy).with_context(|| format!("no policy `{}`", job.policy))?;
    let bounds = Bounds::all(usize::from(args.bound));
    search(job.scenario, rule, job.cpus, bounds, strategy, &mut |_| {
        true
    })
    .with_context(|| format!("{} under {}", job.scenario.id, job.policy))
}

/// Runs one schedule again; 1 if it breaks an invariant.
pub fn replay(args: &ReplayArgs) -> Result<u8> {
    let place = place(args.output.output.as_deref())?;
    let run = again(&args.replay)?;
    let text = match args.output.json {
        true => json::pretty(&run)?,
        false => report::timeline(&run),
    };
    deliver(&[(&place, &text)])?;
    Ok(if run.violations.is_empty() {
        0
    } else {
        EXIT_VIOLATION
    })
}

/// Says what an invariant asks, or what a schedule breaks.
pub fn explain(args: &ExplainArgs) -> Result<u8> {
    let text = match emu_linux::invariant::explain(&args.what) {
        Some(rule) => report::rule(&args.what, rule),
        None if args.what.contains('/') => report::explained(&again(&args.what)?),
        None => {
            let names = emu_linux::invariant::NAMES;
            let near = nearest(&args.what, names.iter().copied());
            let near = near.map_or(String::new(), |near| format!(" Did you mean `{near}`?"));
            bail!(
                "`{}` is neither an invariant ({}) nor a schedule as `emu explore` gives it.{near}",
                args.what,
                names.join(", ")
            );
        }
    };
    deliver(&[(&Place::Stdout, &text)])?;
    Ok(0)
}
