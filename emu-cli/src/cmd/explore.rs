//! `emu explore`, `emu replay`, `emu explain`: interleavings searched, run again, and told.

mod cells;
mod checkpoint;
mod jobs;

use super::EXIT_VIOLATION;
use crate::args::{ExplainArgs, ExploreArgs, ExploreVerb, Piece, ReplayArgs};
use crate::output::{Place, deliver};
use crate::plan::policies_named;
use crate::report::{explore as report, json, steps};
use anyhow::{Context, Result, anyhow, bail};
use cells::{How, Job, run_all};
use emu_linux::explore::{
    Bounds, Cell, ExploreScenario, Replayed, Strategy, explore_scenarios, replay as again,
};
use emu_linux::{nearest, policies};

/// Explores at once or in pieces.
pub fn explore(args: &ExploreVerb) -> Result<u8> {
    match &args.piece {
        Some(Piece::Plan(plan)) => {
            let all = explore_scenarios().context("a shipped scenario is damaged")?;
            let jobs = jobs_of(&all, &plan.search)?;
            let cell = |job: &Job<'_>| (job.scenario.id.clone(), job.policy, job.cpus);
            jobs::plan(plan, &jobs.iter().map(cell).collect::<Vec<_>>())
        }
        Some(Piece::Run(job)) => jobs::run(job),
        Some(Piece::Merge(merge)) => jobs::merge(merge),
        None => explore_now(&args.search),
    }
}

/// Explores; 1 if an invariant was broken.
fn explore_now(args: &ExploreArgs) -> Result<u8> {
    let place = place(args.output.output.as_deref())?;
    let all = explore_scenarios().context("a shipped scenario is damaged")?;
    let jobs = jobs_of(&all, args)?;
    let results = run_all(&jobs, How::typed(args))?;
    let found = results.iter().any(|cell| !cell.violations.is_empty());
    let left = jobs.len() - results.len();
    let text = match args.output.json {
        true => json::pretty(&report::Document::new(results, left))?,
        false => report::text(&results, left),
    };
    deliver(&[(&place, &text)])?;
    Ok(if found { EXIT_VIOLATION } else { 0 })
}

/// The cells that were asked for.
fn jobs_of<'a>(all: &'a [ExploreScenario], args: &ExploreArgs) -> Result<Vec<Job<'a>>> {
    let scenarios = named(all, args)?;
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
    Ok(jobs)
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
    match (
        args.scenario.as_deref().unwrap_or("all"),
        args.only.is_empty(),
    ) {
        ("all", true) => Ok(all.iter().collect()),
        ("all", false) => args.only.iter().map(|id| find(id)).collect(),
        (_, false) => bail!("`--only` narrows `emu explore all`; one scenario was named already"),
        (id, true) => Ok(vec![find(id)?]),
    }
}

/// Runs one schedule again; 1 if it breaks an invariant.
pub fn replay(args: &ReplayArgs) -> Result<u8> {
    let place = place(args.output.output.as_deref())?;
    let picture = args.timeline.as_deref().map(Place::check).transpose()?;
    if let (Some(drawn), Some(text)) = (&args.timeline, &args.output.output)
        && drawn == text
    {
        bail!("`--timeline` needs a place of its own: name a file that no other output has");
    }
    let run = again(&args.replay)?;
    let text = match args.output.json {
        true => json::pretty(&run)?,
        false => report::timeline(&run),
    };
    let drawn = picture.as_ref().map(|_| steps::chrome(&run)).transpose()?;
    let mut outputs = vec![(&place, text.as_str())];
    if let (Some(place), Some(drawn)) = (&picture, &drawn) {
        outputs.push((place, drawn));
    }
    deliver(&outputs)?;
    Ok(if run.violations.is_empty() {
        0
    } else {
        EXIT_VIOLATION
    })
}

/// Says what an invariant asks, or what a schedule breaks.
pub fn explain(args: &ExplainArgs) -> Result<u8> {
    let text = match emu_linux::invariant::explain(&args.what) {
        Some(_) if args.remedies => bail!(
            "`--remedies` searches the scenario of a schedule; `{}` is an invariant",
            args.what
        ),
        Some(rule) => report::rule(&args.what, rule),
        None if args.what.contains('/') => {
            let run = again(&args.what)?;
            let mut text = report::explained(&run);
            if args.remedies {
                text.push_str(&report::remedies(&run, &remedies(&run)?));
            }
            text
        }
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

/// The scenario of a schedule under every policy, with as many departures.
fn remedies(run: &Replayed) -> Result<Vec<Cell>> {
    let all = explore_scenarios().context("a shipped scenario is damaged")?;
    let scenario = all.iter().find(|scenario| scenario.id == run.scenario);
    let scenario = scenario.with_context(|| format!("no scenario `{}`", run.scenario))?;
    let job = |policy: &'static str| Job {
        scenario,
        policy,
        cpus: run.cpus,
    };
    let jobs: Vec<Job<'_>> = policies().iter().map(|policy| job(policy.name)).collect();
    let departures = run.steps.iter().filter(|step| step.departure.is_some());
    let how = How {
        bounds: Bounds::all(departures.count()),
        strategy: Strategy::Exhaustive,
        jobs: None,
        checkpoint: None,
    };
    run_all(&jobs, how)
}
