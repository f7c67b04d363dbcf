//! One schedule again, step by step, from its string.

use super::result::LATE;
use super::scenario::{ExploreScenario, explore_scenarios};
use super::stage::{ExploreError, Stage};
use super::step::{StepRecord, digest};
use crate::config::nearest;
use crate::lazy_mmu::policy::{policies, policy};
use crate::report::ViolationReport;
use emu_core::explore::{ArenaEnd, Plan, PlanError, Turn};
use serde::Serialize;

/// Why a string was not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Not four parts.
    #[error("`{0}` is no replay string: `SCENARIO/POLICY/CPUS/emx2:...` is right")]
    Shape(String),
    /// What follows the `~` is no digest.
    #[error("`~{0}` ends no replay string: `~` and 8 hexadecimal digits are right, or nothing")]
    Digest(String),
    /// No scenario of that name.
    #[error("no scenario `{0}` to explore{1}")]
    NoScenario(String, String),
    /// No policy of that name.
    #[error("no policy `{0}`{1}")]
    NoPolicy(String, String),
    /// Not a number of CPUs.
    #[error("`{0}` CPUs: 1 to 4 is right, with `late` behind it if invalidations come late")]
    Cpus(String),
    /// A plan that was refused.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A departure that this version of the model cannot make.
    #[error(
        "step {0} cannot be departed from as the string says: it was made by another version of the model or \
         for another scenario"
    )]
    Differs(u64),
    /// The plan can be made, but what comes of it is another run.
    #[error(
        "this is another run than the one that was found (~{here:08x} where the string says ~{there:08x}): \
         another version of the model or of the scenario found it"
    )]
    OtherRun {
        /// Digest of the run here.
        here: u32,
        /// What the string says.
        there: u32,
    },
    /// The run could not be made.
    #[error(transparent)]
    Explore(#[from] ExploreError),
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayStep {
    /// Its number, from 1.
    pub step: u64,
    /// The CPU.
    pub cpu: u16,
    /// The task, by name.
    pub task: String,
    /// The kernel step, if it has a name.
    pub label: Option<&'static str>,
    /// Somebody else could tell.
    pub departure: Option<String>,
    /// Rules that it broke.
    pub broke: Vec<String>,
}

/// A run again.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// The scenario.
    pub scenario: String,
    /// What it is about.
    pub about: String,
    /// The policy.
    pub policy: String,
    /// CPUs.
    pub cpus: u16,
    /// The whole string.
    pub replay: String,
    /// How it ended: `quiet`, `halted`, `died: ...`, `hung`.
    pub end: String,
    /// Every step.
    pub steps: Vec<ReplayStep>,
    /// What broke.
    pub violations: Vec<ViolationReport>,
}

fn near(name: &str, known: impl Iterator<Item = String>) -> String {
    let known: Vec<String> = known.collect();
    let near = nearest(name, known.iter().map(String::as_str));
    near.map_or(String::new(), |near| format!("; did you mean `{near}`?"))
}

/// The digest that a string ends with, if it does.
fn split_digest(text: &str) -> Result<(&str, Option<u32>), ReplayError> {
    let Some((plan, digest)) = text.split_once('~') else {
        return Ok((text, None));
    };
    let plain = digest.len() == 8 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    let value = u32::from_str_radix(digest, 16).ok().filter(|_| plain);
    let value = value.ok_or_else(|| ReplayError::Digest(digest.to_owned()))?;
    Ok((plan, Some(value)))
}

/// Replays a string that an exploration gave. One without the digest at its end is run as this version
/// understands it.
///
/// # Errors
/// [`ReplayError`], also for a string whose departures this version cannot make, or whose run is another here.
pub fn replay(text: &str) -> Result<Replayed, ReplayError> {
    replay_of(&explore_scenarios().unwrap_or_default(), text)
}

/// As [`replay`], of a schedule of one of these scenarios.
///
/// # Errors
/// [`ReplayError`].
pub fn replay_of(scenarios: &[ExploreScenario], text: &str) -> Result<Replayed, ReplayError> {
    let parts: Vec<&str> = text.trim().splitn(4, '/').collect();
    let &[id, name, cpus, plan] = parts.as_slice() else {
        return Err(ReplayError::Shape(text.to_owned()));
    };
    let scenario = scenarios.iter().find(|scenario| scenario.id == id);
    let scenario = scenario.ok_or_else(|| {
        let ids = scenarios.iter().map(|scenario| scenario.id.clone());
        ReplayError::NoScenario(id.to_owned(), near(id, ids))
    })?;
    let rule = policy(name).ok_or_else(|| {
        let names = policies().into_iter().map(|policy| policy.name.to_owned());
        ReplayError::NoPolicy(name.to_owned(), near(name, names))
    })?;
    let (number, late) = match cpus.strip_suffix(LATE) {
        Some(number) => (number, true),
        None => (cpus, false),
    };
    let number = number.parse().ok().filter(|cpus| (1..=4).contains(cpus));
    let number = number.ok_or_else(|| ReplayError::Cpus(cpus.to_owned()))?;
    let (plan, made) = split_digest(plan)?;
    let plan: Plan = plan.parse()?;
    let mut stage = Stage::new(scenario, rule, number)?;
    if late {
        stage = stage.with_late_invalidations();
    }
    stage.tell();
    let mut trace = Vec::new();
    let ran = stage.run(&plan, Some(&mut trace))?;
    for deviation in plan.deviations() {
        let there = trace.iter().find(|record| record.step == deviation.step);
        if !there.is_some_and(|record| can_be_made(record, deviation.turn, number)) {
            return Err(ReplayError::Differs(deviation.step));
        }
    }
    let here = digest(&trace);
    if let Some(there) = made.filter(|&there| there != here) {
        return Err(ReplayError::OtherRun { here, there });
    }
    let steps = trace
        .iter()
        .map(|record| told(record, &stage, &plan, &ran.broke_at));
    Ok(Replayed {
        steps: steps.collect(),
        scenario: id.to_owned(),
        about: scenario.about.clone(),
        policy: name.to_owned(),
        cpus: number,
        replay: format!("{id}/{name}/{cpus}/{plan}~{here:08x}"),
        end: match ran.end {
            ArenaEnd::Quiet => "quiet".to_owned(),
            ArenaEnd::Halted => "halted".to_owned(),
            ArenaEnd::Died(cpu, exception) => format!("died on CPU {cpu}: {exception}"),
            ArenaEnd::Hung => "hung".to_owned(),
        },
        violations: stage.violations(),
    })
}

/// Whether the arena makes a departure before this step. An interrupt that nobody heeds at once waits: random
/// departures are such, where the exhaustive search has no need of them.
fn can_be_made(record: &StepRecord, turn: Turn, cpus: u16) -> bool {
    match turn {
        Turn::Interrupt => true,
        Turn::Wake(cpu) => cpu.0 < cpus,
        Turn::SwitchTo(cpu) => cpu.0 < cpus && record.ready >> cpu.0 & 1 == 1,
        // No search has invalidations that are late but come before they must.
        Turn::Receive(_) => false,
        Turn::Walk(cpu, _) => cpu.0 < cpus,
    }
}

fn told(
    record: &StepRecord,
    stage: &Stage,
    plan: &Plan,
    broke_at: &[(&'static str, u64)],
) -> ReplayStep {
    let departure = plan.deviations().iter().find(|d| d.step == record.step);
    let broke = broke_at.iter().filter(|(_, step)| *step == record.step);
    ReplayStep {
        step: record.step,
        cpu: record.cpu.0,
        task: stage.task_name(record.task),
        label: record.label,
        departure: departure.map(|d| d.turn.to_string()),
        broke: broke.map(|(kind, _)| (*kind).to_owned()).collect(),
    }
}
