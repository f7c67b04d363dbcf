//! `emu explore`, `emu replay`, `emu explain`: interleavings searched, run again, and told.

mod cells;
mod checkpoint;
mod jobs;
mod known;

use super::EXIT_VIOLATION;
use crate::args::{ExplainArgs, ExploreArgs, ExploreVerb, Piece, ReplayArgs};
use crate::output::{Place, deliver};
use crate::report::{explore as report, json, steps};
use anyhow::{Result, bail};
use cells::{How, Job, run_all};
use emu_linux::explore::{Bounds, Cell, Replayed, Strategy};
use emu_linux::{nearest, policies};
use known::Known;

/// Explores at once or in pieces.
pub fn explore(args: &ExploreVerb) -> Result<u8> {
    match &args.piece {
        Some(Piece::Plan(plan)) => {
            let known = Known::named(plan.search.scenario.as_deref())?;
            let jobs = known.jobs(&plan.search)?;
            let cell = |job: &Job<'_>| (job.scenario.id.clone(), job.policy, job.cpus);
            jobs::plan(
                plan,
                known.text(),
                &jobs.iter().map(cell).collect::<Vec<_>>(),
            )
        }
        Some(Piece::Run(job)) => jobs::run(job),
        Some(Piece::Merge(merge)) => jobs::merge(merge),
        None => explore_now(&args.search),
    }
}

/// Explores; 1 if an invariant was broken.
fn explore_now(args: &ExploreArgs) -> Result<u8> {
    let place = place(args.output.output.as_deref())?;
    let known = Known::named(args.scenario.as_deref())?;
    let jobs = known.jobs(args)?;
    let how = How {
        file: known.text(),
        ..How::typed(args)
    };
    let results = run_all(&jobs, how)?;
    let found = results.iter().any(|cell| !cell.violations.is_empty());
    let left = jobs.len() - results.len();
    let text = match args.output.json {
        true => json::pretty(&report::Document::new(results, left))?,
        false => report::text(&results, left, known.text().and(args.scenario.as_deref())),
    };
    deliver(&[(&place, &text)])?;
    Ok(if found { EXIT_VIOLATION } else { 0 })
}

fn place(output: Option<&std::path::Path>) -> Result<Place> {
    output.map_or(Ok(Place::Stdout), Place::check)
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
    let known = Known::in_file(args.scenario.as_deref())?;
    let run = known.replay(&args.replay)?;
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
        Some(_) if args.scenario.is_some() => bail!(
            "`--scenario` is the file of a schedule's scenario; `{}` is an invariant",
            args.what
        ),
        Some(_) if args.remedies => bail!(
            "`--remedies` searches the scenario of a schedule; `{}` is an invariant",
            args.what
        ),
        Some(rule) => report::rule(&args.what, rule),
        None if args.what.contains('/') => {
            let known = Known::in_file(args.scenario.as_deref())?;
            let run = known.replay(&args.what)?;
            let mut text = report::explained(&run);
            if args.remedies {
                text.push_str(&report::remedies(&run, &remedies(&run, &known)?));
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
fn remedies(run: &Replayed, known: &Known) -> Result<Vec<Cell>> {
    let scenario = known.find(&run.scenario)?;
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
        file: None,
    };
    run_all(&jobs, how)
}
