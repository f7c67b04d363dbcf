//! What an exploration is asked for and what it came to.

use super::stage::{Ran, Stage};
use super::step::digest;
use super::{ExploreError, ExploreScenario};
use emu_core::explore::{ArenaEnd, Plan, Turn};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What stands behind the number of CPUs in a replay string where invalidations come late.
pub(super) const LATE: &str = "late";

/// What is left of the bounds.
pub(super) type Left = [usize; 5];

/// How far a run may depart from the undisturbed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Timer interrupts that end the turn of a task.
    pub preemptions: usize,
    /// Interrupts of an idle CPU, which then takes a waiting task over.
    pub migrations: usize,
    /// Changes from a CPU that could have gone on to another.
    pub switches: usize,
    /// Speculative walks of the table.
    #[serde(default)]
    pub walks: usize,
    /// All of them together.
    pub departures: usize,
    /// Invalidations reach other CPUs as late as the architecture allows, not when they are issued.
    #[serde(default)]
    pub late: bool,
}

impl Bounds {
    /// So many of each kind but speculative walks, of which there are none, and so many in all.
    pub const fn all(bound: usize) -> Self {
        Bounds {
            preemptions: bound,
            migrations: bound,
            switches: bound,
            walks: 0,
            departures: bound,
            late: false,
        }
    }

    /// What a plan leaves of them: preemptions, migrations, switches, walks, and all together.
    pub(super) fn left(&self, plan: &Plan) -> Left {
        [
            self.preemptions.saturating_sub(plan.interrupts()),
            self.migrations.saturating_sub(plan.wakes()),
            self.switches.saturating_sub(plan.switches()),
            self.walks.saturating_sub(plan.walks()),
            self.departures.saturating_sub(plan.deviations().len()),
        ]
    }

    /// Whether a plan and one more departure is within them.
    pub(super) fn allow_after(&self, plan: &Plan, turn: Turn) -> bool {
        let one_if = usize::from;
        plan.interrupts() + one_if(turn == Turn::Interrupt) <= self.preemptions
            && plan.wakes() + one_if(matches!(turn, Turn::Wake(_))) <= self.migrations
            && plan.switches() + one_if(matches!(turn, Turn::SwitchTo(_))) <= self.switches
            && plan.walks() + one_if(matches!(turn, Turn::Walk(..))) <= self.walks
            && plan.deviations().len() < self.departures
    }
}

/// One of the parts of an exhaustive search: those runs whose first departure is its own. Each part makes all
/// runs with one departure, to learn who shares what, and counts its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which, from 0.
    pub number: usize,
    /// Of how many.
    pub of: usize,
}

impl Part {
    /// The whole search.
    pub const WHOLE: Part = Part { number: 0, of: 1 };

    /// True if the `n`-th first departure is this part's.
    pub(super) const fn has(&self, n: usize) -> bool {
        n % self.of == self.number
    }
}

/// How far a search is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoFar {
    /// Runs.
    pub schedules: u64,
    /// Different states of memory seen.
    pub states: u64,
    /// Departures of the last run.
    pub departures: usize,
}

/// How the interleavings are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// All of them within the bounds, but for those that differ in nothing anybody could tell.
    Exhaustive,
    /// All of them within the bounds, nothing left out.
    Plain,
    /// All of them within the bounds, but for what follows a state that was seen before with as much of the
    /// bounds left.
    States,
    /// As many departures as the bounds allow in all, each before a random step of the undisturbed run (after
    /// Burckhardt, Kothari, Musuvathi and Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees
    /// of Finding Bugs", ASPLOS 2010, whose priority changes these are).
    Pct {
        /// Runs.
        schedules: u64,
        /// Of the choices.
        seed: u64,
    },
    /// Any number of departures up to four times as many, each before a random step.
    Random {
        /// Runs.
        schedules: u64,
        /// Of the choices.
        seed: u64,
    },
}

/// Something that broke, by the schedule with the fewest departures and, of those, the fewest steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The invariant; among `unfinished`, `died` or `hung`.
    pub kind: String,
    /// Steps until it broke.
    pub steps: u64,
    /// Preemptions in that run.
    pub preemptions: usize,
    /// Migrations in it.
    pub migrations: usize,
    /// Changes of the CPU in it.
    pub switches: usize,
    /// Speculative walks in it.
    #[serde(default)]
    pub walks: usize,
    /// What `emu replay` takes.
    pub replay: String,
}

/// What the search of one scenario under one policy came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The scenario.
    pub scenario: String,
    /// The policy.
    pub policy: String,
    /// CPUs.
    pub cpus: u16,
    /// What broke, by name.
    pub violations: Vec<Found>,
    /// A kernel that died, or tasks that wait for ever.
    pub unfinished: Vec<Found>,
    /// Everything within the bounds was tried, but for what is told in the bounds.
    pub exhausted: bool,
    /// The bounds.
    pub bounds: Bounds,
    /// Runs.
    pub schedules: u64,
    /// Different states of memory before a step of a run that was departed from.
    pub states: u64,
    /// Steps of all runs.
    pub steps: u64,
    /// Steps that were made for them: runs that part late have the steps before in common.
    #[serde(skip)]
    pub steps_made: u64,
    /// The host's time for the search, without the set-up of the machine that it begins with.
    #[serde(skip)]
    pub searched_for: Duration,
}

impl Cell {
    /// Adds what another part of the same search came to. A state that two parts saw counts twice.
    pub fn join(&mut self, other: Cell) {
        self.exhausted &= other.exhausted;
        self.schedules += other.schedules;
        self.states += other.states;
        self.steps += other.steps;
        self.steps_made += other.steps_made;
        self.searched_for += other.searched_for;
        let join = |mine: &mut Vec<Found>, others: Vec<Found>| {
            for found in others {
                match mine.iter_mut().find(|known| known.kind == found.kind) {
                    Some(known) if found.order() < known.order() => *known = found,
                    Some(_) => {}
                    None => mine.push(found),
                }
            }
            mine.sort_by(|a, b| a.kind.cmp(&b.kind));
        };
        join(&mut self.violations, other.violations);
        join(&mut self.unfinished, other.unfinished);
    }
}

impl Found {
    /// Fewest departures first, then fewest steps, then the string that comes first.
    fn order(&self) -> (usize, u64, &str) {
        (self.departures(), self.steps, &self.replay)
    }

    /// All departures.
    pub fn departures(&self) -> usize {
        self.preemptions + self.migrations + self.switches + self.walks
    }
}

/// The best schedule for each thing that broke.
#[derive(Debug, Default)]
pub(super) struct Best(BTreeMap<&'static str, (usize, u64, Plan)>);

/// What a kernel that did not come to its end is called.
const UNFINISHED: [&str; 2] = ["died", "hung"];

impl Best {
    /// Notes what a run broke.
    pub fn note(&mut self, plan: &Plan, ran: &Ran) {
        let end = match ran.end {
            ArenaEnd::Died(..) => Some(UNFINISHED[0]),
            ArenaEnd::Hung => Some(UNFINISHED[1]),
            ArenaEnd::Quiet | ArenaEnd::Halted => None,
        };
        for kind in ran.broken.iter().copied().chain(end) {
            let departures = plan.deviations().len();
            let better = |old: &(usize, u64, Plan)| (departures, ran.steps) < (old.0, old.1);
            if self.0.get(kind).is_none_or(better) {
                self.0.insert(kind, (departures, ran.steps, plan.clone()));
            }
        }
    }

    /// Each by its shortest schedule: departures that are not needed are taken away.
    pub fn found(
        &self,
        stage: &mut Stage,
        scenario: &ExploreScenario,
        policy: &str,
        (cpus, late): (u16, bool),
    ) -> Result<(Vec<Found>, Vec<Found>), ExploreError> {
        let mut both = (Vec::new(), Vec::new());
        for (&kind, (_, _, plan)) in &self.0 {
            let plan = without_needless(stage, plan, kind)?;
            let mut trace = Vec::new();
            let ran = stage.run(&plan, Some(&mut trace))?;
            let broke = ran.broke_at.iter().find(|(name, _)| *name == kind);
            let found = Found {
                kind: kind.to_owned(),
                steps: broke.map_or(ran.steps, |&(_, step)| step),
                preemptions: plan.interrupts(),
                migrations: plan.wakes(),
                switches: plan.switches(),
                walks: plan.walks(),
                replay: format!(
                    "{}/{policy}/{cpus}{}/{plan}~{:08x}",
                    scenario.id,
                    if late { LATE } else { "" },
                    digest(&trace)
                ),
            };
            match UNFINISHED.contains(&kind) {
                true => both.1.push(found),
                false => both.0.push(found),
            }
        }
        Ok(both)
    }
}

/// True if a run broke what is called so.
fn broke(ran: &Ran, kind: &str) -> bool {
    let unfinished = match ran.end {
        ArenaEnd::Died(..) => kind == UNFINISHED[0],
        ArenaEnd::Hung => kind == UNFINISHED[1],
        ArenaEnd::Quiet | ArenaEnd::Halted => false,
    };
    unfinished || ran.broken.contains(&kind)
}

/// A plan without departures that it does not need to break the same.
fn without_needless(stage: &mut Stage, plan: &Plan, kind: &str) -> Result<Plan, ExploreError> {
    let mut plan = plan.clone();
    let mut index = 0;
    while index < plan.deviations().len() {
        let less = plan.without(index);
        if broke(&stage.run(&less, None)?, kind) {
            plan = less;
            index = 0;
        } else {
            index += 1;
        }
    }
    Ok(plan)
}
