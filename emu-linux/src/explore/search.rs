//! The search: every way to depart from the undisturbed run so many times, or random ones.
//!
//! A departure is tried only where it can make a difference. Between two steps that somebody else could tell
//! (*visible* steps: a doubleword that two tasks touch and one of them stores, the hash table, a TLB, the
//! CPU's number, an address that the table translates) all places are alike, so the first of them stands for
//! all; for a change of the CPU, what two CPUs touch counts. Which doublewords are shared is found on the way; when another turns out to be, the search begins
//! anew. A test compares what is found with the search that leaves nothing out.
//!
//! Refuses to judge: what broke, the checkers say.

mod departures;
mod sample;

use super::result::{Best, Bounds, Cell, Left, Part, SoFar, Strategy};
use super::scenario::ExploreScenario;
use super::shared::Shared;
use super::stage::{Branch, ExploreError, MomentId, Parting, Ran, Stage};
use super::step::StepRecord;
use crate::key_map::KeySet;
use crate::lazy_mmu::LazyMmuPolicy;
use emu_core::CpuId;
use emu_core::explore::{ArenaEnd, Deviation, Plan, Turn};
use emu_mmu::Ea;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// A run that did not end is departed from in so many steps after its last departure: it goes round in
/// circles.
const STEPS_OF_THE_HUNG: u64 = 2_000;

/// Steps below which no timer interrupt comes of itself: how long ago the last was decides nothing.
const STEPS_WITHOUT_TICK: u64 = super::set_up::LIMITS.steps_between_ticks;

/// Recorded runs that are made together, and kept until each was departed from.
const RUN_TOGETHER: usize = 6;

/// Recorded runs after which a search that turns out to lack something goes on to its end before it begins anew.
const RECORDED_IN_VAIN_MAX: u64 = 500;

/// A run of which each step was noted.
struct Recorded {
    /// Those that it shares with another run may be missing.
    steps: Vec<StepRecord>,
    broke_at: Vec<(&'static str, u64)>,
    /// The moment of its last departure.
    moment: Option<MomentId>,
}

/// What a search keeps.
struct Search<'a> {
    stage: Stage,
    bounds: Bounds,
    part: Part,
    cpus: u16,
    /// Leaves nothing out.
    plain: bool,
    shared: Shared,
    /// Pages that a CPU may walk for.
    pages: Vec<Ea>,
    best: Best,
    states: KeySet,
    /// States that were departed from, each with what was left of the bounds then.
    seen: Option<HashSet<(u64, Left)>>,
    /// Runs that were not departed from, by what was departed from for the last time and where: none is made again
    /// when the search begins anew.
    done: HashMap<Plan, Vec<Deviation>>,
    schedules: u64,
    /// Recorded runs since the search last began.
    recorded_of_pass: u64,
    steps: u64,
    go_on: &'a mut dyn FnMut(SoFar) -> bool,
    stopped: bool,
}

impl Search<'_> {
    /// Runs a plan; gives its steps. What came of it is noted.
    fn run(&mut self, plan: &Plan) -> Result<u64, ExploreError> {
        let ran = self.stage.run(plan, None)?;
        self.note(plan, &ran);
        Ok(ran.steps)
    }

    /// Counts a run, and keeps what it broke.
    fn note(&mut self, plan: &Plan, ran: &Ran) {
        self.count(plan.deviations().len(), ran);
        self.best.note(plan, ran);
    }

    /// The same for a plan and one more departure.
    fn note_departing(&mut self, plan: &Plan, departure: Deviation, ran: &Ran) {
        self.count(plan.deviations().len() + 1, ran);
        if ran.tells_anything() {
            self.best.note(&plan.and(departure), ran);
        }
    }

    fn count(&mut self, departures: usize, ran: &Ran) {
        self.schedules += 1;
        self.steps += ran.steps;
        if self.schedules.is_multiple_of(64) {
            let so_far = SoFar {
                schedules: self.schedules,
                states: self.states.len() as u64,
                departures,
            };
            self.stopped |= !(self.go_on)(so_far);
        }
    }

    /// Runs a plan, and notes what each step did.
    fn recorded(&mut self, plan: &Plan) -> Result<Recorded, ExploreError> {
        let mut steps = Vec::new();
        let ran = self.stage.run(plan, Some(&mut steps))?;
        Ok(self.learn(plan, ran, steps, (0, None)))
    }

    /// Notes what a recorded run came to, and what each step did from place `new` on: those before were learnt
    /// from another run.
    fn learn(
        &mut self,
        plan: &Plan,
        ran: Ran,
        mut steps: Vec<StepRecord>,
        (new, moment): (usize, Option<MomentId>),
    ) -> Recorded {
        self.note(plan, &ran);
        self.recorded_of_pass += 1;
        if ran.end == ArenaEnd::Hung {
            let from = plan.deviations().last().map_or(0, |d| d.step);
            steps.retain(|step| step.step <= from + STEPS_OF_THE_HUNG);
        }
        let learnt = steps.get(new..).unwrap_or_default();
        let mut before = None;
        for state in learnt.iter().map(|step| step.state) {
            if before.replace(state) != Some(state) {
                self.states.insert(state);
            }
        }
        self.shared.learn(steps.get_mut(new..).unwrap_or_default());
        if self.bounds.walks > 0 {
            let pages = self.stage.pages();
            self.shared.grown |= pages.len() > self.pages.len();
            self.pages = pages;
        }
        Recorded {
            steps,
            broke_at: ran.broke_at,
            moment,
        }
    }

    /// Runs a plan with one more departure, for each of a few, the last first, and gives what each step did.
    fn record_few(
        &mut self,
        plan: &Plan,
        of: &Recorded,
        few: &[(usize, Deviation)],
    ) -> Result<Vec<Branch>, ExploreError> {
        self.stage.begin_in(of.moment);
        let partings: Vec<Parting> = few
            .iter()
            .rev()
            .map(|&(at, departure)| Parting {
                departure,
                from: self.last_visible(&of.steps[..at]),
            })
            .collect();
        // A walk may come before the step that the plan's last departure comes before.
        let mut all = match self.bounds.walks == 0 && self.seen.is_none() {
            true => (self.stage).recorded_branches(plan, (&of.steps, &of.broke_at), &partings)?,
            false => Vec::new(),
        };
        for parting in partings.iter().skip(all.len()) {
            let mut steps = Vec::new();
            let ran = self
                .stage
                .run(&plan.and(parting.departure), Some(&mut steps))?;
            all.push(Branch {
                ran,
                steps,
                from: 0,
                moment: None,
            });
        }
        all.reverse();
        Ok(all)
    }

    /// Runs plans that are not departed from: `plan` and one more departure each, by the last first.
    fn leaves(&mut self, plan: &Plan, mut departures: Vec<Deviation>) -> Result<(), ExploreError> {
        let done = self.done.entry(plan.clone()).or_default();
        departures.retain(|departure| !done.contains(departure));
        done.extend(&departures);
        // By the first first: what they have in common is run once. They are noted by the last first.
        departures.reverse();
        let mut all = Vec::new();
        self.stage.branches(plan, &departures, &mut |_, ran| {
            all.push(ran);
            true
        })?;
        for (departure, ran) in departures.iter().zip(&all).rev() {
            self.note_departing(plan, *departure, ran);
        }
        Ok(())
    }

    /// Departs from a run after step `from`, `left` departures deep.
    fn descend(
        &mut self,
        plan: &Plan,
        of: &Recorded,
        from: u64,
        left: usize,
    ) -> Result<(), ExploreError> {
        let trace = &of.steps;
        let first = plan.deviations().is_empty();
        let mut departures = self.departures(trace, from);
        if let Some(seen) = &mut self.seen {
            let left = self.bounds.left(plan);
            let new = |step: &StepRecord| {
                let ticks = step.step >= STEPS_WITHOUT_TICK;
                ticks || step.step > from && seen.insert((step.state, left))
            };
            let new: Vec<bool> = trace.iter().map(new).collect();
            departures.retain(|&(at, _)| new[at]);
        }
        // By the last first, so that of two that come to the same the later one stands for both.
        let all = departures.into_iter().enumerate().rev();
        let all = all.map(|(number, (at, turn))| {
            let step = trace[at].step;
            (number, at, Deviation { step, turn })
        });
        let mut all: Vec<(usize, usize, Deviation)> = all.collect();
        all.retain(|(_, _, departure)| self.bounds.allow_after(plan, departure.turn));
        // Who shares what is learnt from every run with one departure, and from all that are departed from.
        if left == 1 && !first {
            self.stage.begin_in(of.moment);
            return self.leaves(plan, all.iter().map(|(_, _, d)| *d).collect());
        }
        if left == 1 {
            let done = self.done.entry(plan.clone()).or_default();
            all.retain(|(_, _, departure)| !done.contains(departure));
        }
        let mut later: HashMap<(CpuId, Turn), usize> = HashMap::new();
        for few in all.chunks(RUN_TOGETHER) {
            if self.stopped || self.is_in_vain() {
                break;
            }
            let places: Vec<(usize, Deviation)> = few.iter().map(|&(_, at, d)| (at, d)).collect();
            let ran = self.record_few(plan, of, &places)?;
            for (&(number, at, departure), branch) in few.iter().zip(ran) {
                // Its steps begin with one of the trace.
                let same = at - branch.from;
                let own = !first || self.part.has(number);
                let counted = self.schedules;
                let next = plan.and(departure);
                if left == 1 {
                    self.done.entry(plan.clone()).or_default().push(departure);
                }
                let child = self.learn(&next, branch.ran, branch.steps, (same, branch.moment));
                self.count_from(counted, own);
                if left == 1 || self.stopped || self.is_in_vain() {
                    continue;
                }
                let end = later.insert((trace[at].cpu, departure.turn), at);
                let after = child.steps.get(same + 1..).unwrap_or_default();
                let from = self.next_from(trace, (at, end), departure, after);
                if let Some(from) = from.filter(|_| own) {
                    self.descend(&next, &child, from, left - 1)?;
                }
                self.stage.give_back(child.steps);
            }
        }
        Ok(())
    }

    /// Another part's runs are not counted.
    fn count_from(&mut self, counted: u64, own: bool) {
        if !own {
            self.schedules = counted;
        }
    }

    fn exhaust(&mut self) -> Result<(), ExploreError> {
        let undisturbed = Plan::undisturbed();
        let counted = self.schedules;
        let trace = self.recorded(&undisturbed)?;
        self.count_from(counted, self.part.number == 0);
        loop {
            self.shared.grown = false;
            self.recorded_of_pass = 0;
            if self.bounds.departures > 0 {
                self.descend(&undisturbed, &trace, 0, self.bounds.departures)?;
            }
            if self.stopped || self.plain || !self.shared.grown {
                return Ok(());
            }
        }
    }

    /// The search begins anew in any case, and has not come far.
    fn is_in_vain(&self) -> bool {
        !self.plain && self.shared.grown && self.recorded_of_pass <= RECORDED_IN_VAIN_MAX
    }
}

/// Explores a scenario under a policy. `go_on` is asked now and then, and told how far the search is.
///
/// # Errors
/// A scenario whose set-up fails, a host without memory.
pub fn explore(
    scenario: &ExploreScenario,
    policy: Box<dyn LazyMmuPolicy>,
    cpus: u16,
    bounds: Bounds,
    strategy: Strategy,
    go_on: &mut dyn FnMut(SoFar) -> bool,
) -> Result<Cell, ExploreError> {
    explore_part(
        scenario,
        policy,
        cpus,
        (bounds, strategy, Part::WHOLE),
        go_on,
    )
}

/// One part of a search; random strategies have no parts.
///
/// # Errors
/// As [`explore`].
pub fn explore_part(
    scenario: &ExploreScenario,
    policy: Box<dyn LazyMmuPolicy>,
    cpus: u16,
    (bounds, strategy, part): (Bounds, Strategy, Part),
    go_on: &mut dyn FnMut(SoFar) -> bool,
) -> Result<Cell, ExploreError> {
    let name = policy.name().to_owned();
    let mut stage = Stage::new(scenario, policy, cpus)?.with_scripts();
    if strategy == Strategy::States {
        stage = stage.with_states();
    }
    if bounds.late {
        stage = stage.with_late_invalidations();
    }
    let mut search = Search {
        stage,
        bounds,
        part,
        cpus,
        plain: matches!(strategy, Strategy::Plain | Strategy::States),
        shared: Shared::default(),
        pages: Vec::new(),
        best: Best::default(),
        states: KeySet::default(),
        seen: (strategy == Strategy::States).then(HashSet::new),
        done: HashMap::new(),
        schedules: 0,
        recorded_of_pass: 0,
        steps: 0,
        go_on,
        stopped: false,
    };
    let began = Instant::now();
    let most = bounds.departures.max(1);
    match strategy {
        Strategy::Exhaustive | Strategy::Plain | Strategy::States => search.exhaust()?,
        Strategy::Pct { schedules, seed } => {
            search.sample((most, most), schedules, seed, cpus)?;
        }
        Strategy::Random { schedules, seed } => {
            search.sample((1, most * 4), schedules, seed, cpus)?;
        }
    }
    let searched_for = began.elapsed();
    let all = matches!(
        strategy,
        Strategy::Exhaustive | Strategy::Plain | Strategy::States
    );
    let (violations, unfinished) =
        search
            .best
            .found(&mut search.stage, scenario, &name, (cpus, bounds.late))?;
    Ok(Cell {
        violations,
        unfinished,
        scenario: scenario.id.clone(),
        policy: name,
        cpus,
        exhausted: all && !search.stopped,
        bounds,
        schedules: search.schedules,
        states: search.states.len() as u64,
        steps: search.steps,
        steps_made: search.stage.steps_made(),
        searched_for,
    })
}
