//! A search in pieces: planned here, run anywhere, joined here.
//!
//! Owns the lines of a plan and of results, and the check that every job was done once. A job is one cell, or
//! one of several parts of it by its first departure. Refuses results of another plan.

use super::cells::{How, stop_on_interrupt};
use super::known::Known;
use crate::args::{ExploreArgs, MergeArgs, PlanArgs, RunJobArgs};
use crate::output::deliver;
use crate::report::{explore as report, json};
use anyhow::{Context, Result, anyhow, bail, ensure};
use emu_linux::explore::{Bounds, Cell, Part, Strategy, explore_part};
use emu_linux::lazy_mmu::policy::policy;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Version of a job's line.
const SCHEMA: &str = "ppc-mmu-emu/explore-job/1";

/// A line of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PlannedJob {
    schema: String,
    version: String,
    /// CRC of what all jobs of the plan have in common and of each one's cell.
    plan: String,
    job: usize,
    jobs: usize,
    scenario: String,
    /// The text of its file, if it is from one: the job is done where the file is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    toml: Option<String>,
    policy: String,
    cpus: u16,
    bounds: Bounds,
    strategy: Strategy,
    part: usize,
    parts: usize,
}

/// What a job came to.
#[derive(Debug, Serialize, Deserialize)]
struct Done {
    plan: String,
    job: usize,
    cell: Cell,
}

/// `emu explore plan`.
pub fn plan(
    args: &PlanArgs,
    text: Option<&str>,
    cells: &[(String, &'static str, u16)],
) -> Result<u8> {
    let place = super::place(args.search.output.output.as_deref())?;
    refuse_unplanned(&args.search)?;
    let how = How::typed(&args.search);
    let sampled = matches!(how.strategy, Strategy::Pct { .. } | Strategy::Random { .. });
    ensure!(
        args.parts == 1 || !sampled,
        "`--parts` splits an exhaustive search; random runs are split by `--seed`"
    );
    let parts = usize::from(args.parts);
    let mut jobs = Vec::new();
    for (scenario, policy, cpus) in cells {
        for part in 0..parts {
            jobs.push(PlannedJob {
                schema: SCHEMA.to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                plan: String::new(),
                job: jobs.len(),
                jobs: cells.len() * parts,
                scenario: scenario.clone(),
                toml: text.map(str::to_owned),
                policy: (*policy).to_owned(),
                cpus: *cpus,
                bounds: how.bounds,
                strategy: how.strategy,
                part,
                parts,
            });
        }
    }
    let plan = format!("{:08x}", crc32fast::hash(&serde_json::to_vec(&jobs)?));
    let mut text = String::new();
    for job in &mut jobs {
        job.plan.clone_from(&plan);
        text.push_str(&serde_json::to_string(job)?);
        text.push('\n');
    }
    deliver(&[(&place, &text)])?;
    Ok(0)
}

/// `emu explore run`: one line of the result. 0 whatever it found: `merge` tells.
pub fn run(args: &RunJobArgs) -> Result<u8> {
    let place = super::place(args.output.as_deref())?;
    let job: PlannedJob = serde_json::from_str(&args.job)
        .map_err(|error| anyhow!("`--job` is no line of `emu explore plan`: {error}"))?;
    ensure!(
        (job.schema.as_str(), job.version.as_str()) == (SCHEMA, env!("CARGO_PKG_VERSION")),
        "the job is of emu {} ({}); this is {}",
        job.version,
        job.schema,
        env!("CARGO_PKG_VERSION")
    );
    let known = match &job.toml {
        Some(text) => Known::in_text(text)?,
        None => Known::in_file(None)?,
    };
    let scenario = known.find(&job.scenario)?;
    let rule = policy(&job.policy).with_context(|| format!("no policy `{}`", job.policy))?;
    ensure!(
        job.part < job.parts && (1..=4).contains(&job.cpus),
        "part {} of {} on {} CPUs: no such job",
        job.part,
        job.parts,
        job.cpus
    );
    let stopped = stop_on_interrupt()?;
    let part = Part {
        number: job.part,
        of: job.parts,
    };
    let search = (job.bounds, job.strategy, part);
    let cell = explore_part(scenario, rule, job.cpus, search, &mut |_| {
        !stopped.load(Ordering::Relaxed)
    })?;
    if stopped.load(Ordering::Relaxed) {
        bail!("stopped before the job was done");
    }
    let done = Done {
        plan: job.plan,
        job: job.job,
        cell,
    };
    deliver(&[(&place, &format!("{}\n", serde_json::to_string(&done)?))])?;
    Ok(0)
}

/// `emu explore merge`; 1 if an invariant was broken.
pub fn merge(args: &MergeArgs) -> Result<u8> {
    let place = super::place(args.output.output.as_deref())?;
    let jobs: Vec<PlannedJob> = lines(&args.plan, "a job of `emu explore plan`")?;
    let plan = jobs.first().map(|job| job.plan.clone());
    let from_file = jobs.first().is_some_and(|job| job.toml.is_some());
    let name = args.plan.display();
    let plan = plan.with_context(|| format!("{name} is empty: no job to merge"))?;
    let whole = jobs.iter().enumerate();
    let whole = whole.filter(|(at, job)| job.job == *at && job.plan == plan);
    ensure!(
        whole.count() == jobs.len() && jobs.len() == jobs[0].jobs,
        "{name} is not a whole plan"
    );
    let mut found: BTreeMap<usize, Cell> = BTreeMap::new();
    for path in &args.results {
        for done in lines::<Done>(path, "a result of `emu explore run`")? {
            let name = path.display();
            ensure!(done.plan == plan, "{name} has a result of another plan");
            let known = jobs.get(done.job).is_some();
            ensure!(
                known,
                "{name} has a result of job {}, which is not planned",
                done.job
            );
            if found.insert(done.job, done.cell).is_some() {
                bail!("job {} was done twice; the second time in {name}", done.job);
            }
        }
    }
    let missing: Vec<String> = (0..jobs.len())
        .filter(|job| !found.contains_key(job))
        .map(|job| job.to_string())
        .collect();
    ensure!(
        missing.is_empty(),
        "{} of {} jobs are missing: {}",
        missing.len(),
        jobs.len(),
        missing.join(", ")
    );
    let mut cells: Vec<Cell> = Vec::new();
    for (job, cell) in jobs.iter().zip(found.into_values()) {
        match cells.last_mut() {
            Some(whole) if job.part > 0 => whole.join(cell),
            _ => cells.push(cell),
        }
    }
    let broken = cells.iter().any(|cell| !cell.violations.is_empty());
    let text = match args.output.json {
        true => json::pretty(&report::Document::new(cells, 0))?,
        false => report::text(&cells, 0, from_file.then_some("FILE.toml")),
    };
    deliver(&[(&place, &text)])?;
    Ok(u8::from(broken))
}

/// The lines of a file, each of them JSON.
fn lines<T: for<'a> Deserialize<'a>>(path: &Path, what: &str) -> Result<Vec<T>> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let parsed = text.lines().enumerate().map(|(at, line)| {
        serde_json::from_str(line)
            .map_err(|error| anyhow!("{name}, line {}: not {what}: {error}", at + 1))
    });
    parsed.collect()
}

/// The flags of a search that a plan does not keep.
fn refuse_unplanned(args: &ExploreArgs) -> Result<()> {
    ensure!(
        args.checkpoint.is_none() && args.jobs.is_none() && !args.output.json,
        "`--checkpoint`, `--jobs` and `--json` belong to a search that runs at once, not to a plan"
    );
    Ok(())
}
