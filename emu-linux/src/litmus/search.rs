//! The search: every interleaving of the tasks' steps, each with what came of it.
//!
//! A run is departed from before each step of a task: by another CPU that could go on, by an invalidation
//! that reaches the CPU, by a timer interrupt. Two runs that have come to one state have the same futures, so
//! only one is followed, and its count stands for both: the numbers are those of all schedules, not of runs
//! made. A test compares them with a search that follows every one.
//!
//! Refuses to judge: it counts.

use super::result::{Ended, Outcome};
use super::stage::{Point, Stage};
use super::test::{Litmus, Location};
use emu_core::explore::{ArenaError, Deviation, Plan, Turn};
use emu_core::{CpuId, EngineError, Exception};
use emu_mmu::MemoryError;
use std::collections::{BTreeMap, HashMap};

/// Runs after which a test is given up.
const RUNS_MAX: u64 = 300_000;

/// Why a test could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum LitmusRunError {
    /// No machine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No arena.
    #[error(transparent)]
    Arena(#[from] ArenaError),
    /// Guest memory was refused.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The initial state cannot be.
    #[error("the initial state did not come to its end")]
    Setup,
    /// A step that cannot be made where it stands.
    #[error("a step on CPU {cpu} cannot be made: {exception}")]
    Died {
        /// The CPU.
        cpu: CpuId,
        /// Why.
        exception: Exception,
    },
    /// Too many interleavings.
    #[error("more than {0} runs: the test has too many steps")]
    TooLarge(u64),
}

/// Schedules to each end: what was seen, or `None` if it did not end.
type Counts = BTreeMap<Option<Vec<u64>>, u64>;

/// What a search keeps.
struct Search {
    stage: Stage,
    /// What comes of each state.
    known: HashMap<(u64, bool), Counts>,
    /// Follows every run.
    plain: bool,
    runs: u64,
    runs_max: u64,
}

fn add(to: &mut Counts, more: &Counts) {
    for (end, count) in more {
        let sum = to.entry(end.clone()).or_default();
        *sum = sum.saturating_add(*count);
    }
}

impl Search {
    /// All ends of the runs that follow a plan up to its last departure, after which `committed` makes the
    /// first step.
    fn ends(
        &mut self,
        plan: &Plan,
        interrupts: usize,
        committed: Option<CpuId>,
    ) -> Result<Counts, LitmusRunError> {
        self.runs += 1;
        if self.runs > self.runs_max {
            return Err(LitmusRunError::TooLarge(self.runs_max));
        }
        let from = plan.deviations().last().map_or(0, |last| last.step);
        let ran = self.stage.run(plan, from, interrupts)?;
        let is_held = |number: usize, point: &Point| number == 0 && committed == Some(point.cpu);
        let known = ran.points.iter().enumerate().position(|(number, point)| {
            let state = (point.state, is_held(number, point));
            !self.plain && self.known.contains_key(&state)
        });
        let (mut ends, until) = match known {
            Some(at) => {
                let state = (ran.points[at].state, is_held(at, &ran.points[at]));
                (self.known.get(&state).cloned().unwrap_or_default(), at)
            }
            None => (Counts::from([(ran.seen, 1)]), ran.points.len()),
        };
        for (number, point) in ran.points[..until].iter().enumerate().rev() {
            let held = is_held(number, point);
            for turns in &point.own {
                let of_interrupt = turns.contains(&Turn::Interrupt);
                let left = interrupts - usize::from(of_interrupt);
                add(
                    &mut ends,
                    &self.ends(&after(plan, point, turns), left, None)?,
                );
            }
            for &cpu in point.others.iter().filter(|_| !held) {
                let next = after(plan, point, &[Turn::SwitchTo(cpu)]);
                add(&mut ends, &self.ends(&next, interrupts, Some(cpu))?);
            }
            if !self.plain {
                self.known.insert((point.state, held), ends.clone());
            }
        }
        Ok(ends)
    }
}

fn after(plan: &Plan, point: &Point, turns: &[Turn]) -> Plan {
    turns.iter().fold(plan.clone(), |plan, &turn| {
        plan.and(Deviation {
            step: point.step,
            turn,
        })
    })
}

impl Litmus {
    /// Runs every interleaving.
    ///
    /// # Errors
    /// A host without memory, a step that cannot be made, too many interleavings.
    pub fn run(&self) -> Result<Outcome, LitmusRunError> {
        self.run_within(RUNS_MAX)
    }

    /// The same, given up after so many runs.
    ///
    /// # Errors
    /// As [`Litmus::run`].
    pub fn run_within(&self, runs_max: u64) -> Result<Outcome, LitmusRunError> {
        self.search(false, runs_max)
    }

    /// The same; `plain` follows every run, also those that come to a state seen before.
    pub(super) fn search(&self, plain: bool, runs_max: u64) -> Result<Outcome, LitmusRunError> {
        let mut search = Search {
            stage: Stage::new(self)?,
            known: HashMap::new(),
            plain,
            runs: 0,
            runs_max,
        };
        let ends = search.ends(&Plan::undisturbed(), self.init.interrupts, None)?;
        let mut unfinished = 0;
        let (mut positive, mut negative) = (0u64, 0u64);
        let mut states = Vec::new();
        for (seen, schedules) in ends {
            let Some(seen) = seen else {
                unfinished = schedules;
                continue;
            };
            let witness = self.condition.holds(&seen);
            let sum = if witness {
                &mut positive
            } else {
                &mut negative
            };
            *sum = sum.saturating_add(schedules);
            states.push(Ended {
                schedules,
                witness,
                seen: self.told(&seen),
            });
        }
        Ok(Outcome {
            name: self.name.clone(),
            claim: self.claim,
            condition: self.condition_text.clone(),
            states,
            positive,
            negative,
            unfinished,
            runs: search.runs,
            cpus: self.cpus(),
        })
    }

    /// Values as the test writes them.
    fn told(&self, seen: &[u64]) -> BTreeMap<String, String> {
        let told = |(at, name): &(Location, String), value: &u64| {
            let value = match at {
                Location::Pte(_) | Location::Hpte(_) | Location::Tlb(..) => {
                    let number = (*value as usize).checked_sub(1);
                    let frame = number.and_then(|number| self.init.frames.get(number));
                    frame.map_or("none".to_owned(), |frame| frame.0.clone())
                }
                Location::Register(..) if *value == super::place::FAULT => "fault".to_owned(),
                _ if *value > 0xffff => format!("{value:#x}"),
                _ => value.to_string(),
            };
            (name.clone(), value)
        };
        let pairs = self.locations.iter().zip(seen);
        pairs.map(|(at, value)| told(at, value)).collect()
    }
}
