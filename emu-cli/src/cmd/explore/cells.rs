//! The cells of an exploration, on some threads.
//!
//! Owns their order, how far the search is, and how it is stopped. Refuses what a cell is: that is the
//! library's.

use super::checkpoint::{Checkpoint, Search};
use crate::args::{ExploreArgs, StrategyName};
use crate::progress::Bar;
use anyhow::{Context, Result};
use emu_linux::Progress;
use emu_linux::explore::{Bounds, Cell, ExploreScenario, SoFar, Strategy, explore as search};
use emu_linux::lazy_mmu::policy::policy;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One cell to be explored.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The scenario.
    pub scenario: &'a ExploreScenario,
    /// The policy.
    pub policy: &'static str,
    /// CPUs.
    pub cpus: u16,
}

impl Job<'_> {
    fn is(&self, cell: &Cell) -> bool {
        (self.scenario.id.as_str(), self.policy, self.cpus)
            == (cell.scenario.as_str(), cell.policy.as_str(), cell.cpus)
    }
}

/// How cells are explored.
#[derive(Clone, Copy, Debug)]
pub struct How<'a> {
    /// The bounds.
    pub bounds: Bounds,
    /// How interleavings are chosen.
    pub strategy: Strategy,
    /// Threads, if not one for each CPU of the host.
    pub jobs: Option<u16>,
    /// Where finished cells are kept.
    pub checkpoint: Option<&'a Path>,
    /// The text of the scenario, if it is from a file.
    pub file: Option<&'a str>,
}

impl<'a> How<'a> {
    /// As it was typed.
    pub fn typed(args: &'a ExploreArgs) -> Self {
        let all = usize::from(args.bound);
        let of = |typed: Option<u16>| typed.map_or(all, usize::from);
        How {
            bounds: Bounds {
                preemptions: of(args.preemptions),
                migrations: of(args.migrations),
                switches: of(args.switches),
                walks: usize::from(args.walks),
                departures: all,
                late: args.late,
            },
            strategy: strategy(args),
            jobs: args.jobs,
            checkpoint: args.checkpoint.as_deref(),
            file: None,
        }
    }
}

fn strategy(args: &ExploreArgs) -> Strategy {
    let (schedules, seed) = (args.schedules, args.seed);
    match args.strategy {
        StrategyName::Exhaustive => Strategy::Exhaustive,
        StrategyName::Plain => Strategy::Plain,
        StrategyName::States => Strategy::States,
        StrategyName::Pct => Strategy::Pct { schedules, seed },
        StrategyName::Random => Strategy::Random { schedules, seed },
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all threads share.
struct Shared<'a> {
    jobs: &'a [Job<'a>],
    how: How<'a>,
    next: AtomicUsize,
    done: AtomicUsize,
    schedules: AtomicU64,
    states: AtomicU64,
    stopped: Arc<AtomicBool>,
    began: Instant,
    cells: Mutex<Vec<Option<Result<Cell>>>>,
    checkpoint: Mutex<Option<Checkpoint>>,
    bar: Mutex<Bar>,
}

/// Explores the cells; they come back in order, without those that were not begun when Ctrl-C was typed.
pub fn run_all(jobs: &[Job<'_>], how: How<'_>) -> Result<Vec<Cell>> {
    let threads = how.jobs.map_or_else(
        || std::thread::available_parallelism().map_or(1, |n| n.get()),
        usize::from,
    );
    let mut cells: Vec<Option<Result<Cell>>> = jobs.iter().map(|_| None).collect();
    let mut checkpoint = None;
    if let Some(path) = how.checkpoint {
        let search = Search::new(how.bounds, format!("{:?}", how.strategy), how.file);
        let (open, known) = Checkpoint::open(path, &search)?;
        checkpoint = Some(open);
        for cell in known {
            if let Some(at) = jobs.iter().position(|job| job.is(&cell)) {
                cells[at] = Some(Ok(cell));
            }
        }
    }
    let shared = Shared {
        jobs,
        how,
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(cells.iter().flatten().count()),
        schedules: AtomicU64::new(0),
        states: AtomicU64::new(0),
        stopped: stop_on_interrupt()?,
        began: Instant::now(),
        cells: Mutex::new(cells),
        checkpoint: Mutex::new(checkpoint),
        bar: Mutex::new(Bar::new("cells".to_owned())),
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| shared.work());
        }
    });
    let cells = shared.cells.into_inner();
    let cells = cells.unwrap_or_else(PoisonError::into_inner);
    cells.into_iter().flatten().collect()
}

/// Set when Ctrl-C is typed. The second one ends the process as ever.
pub fn stop_on_interrupt() -> Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    let set = stopped.clone();
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("cannot listen to Ctrl-C")?;
    Ok(stopped)
}

impl Shared<'_> {
    fn work(&self) {
        while !self.stopped.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = self.jobs.get(index) else {
                return;
            };
            if lock(&self.cells)[index].is_some() {
                continue;
            }
            let cell = self.explore(job);
            // One that was stopped half-way is told, but not kept.
            let noted = match (&cell, &mut *lock(&self.checkpoint)) {
                (Ok(cell), Some(file)) if !self.stopped.load(Ordering::Relaxed) => file.add(cell),
                _ => Ok(()),
            };
            lock(&self.cells)[index] = Some(noted.and(cell));
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn explore(&self, job: &Job<'_>) -> Result<Cell> {
        let rule = policy(job.policy).with_context(|| format!("no policy `{}`", job.policy))?;
        let mut before = SoFar::default();
        let mut go_on = |so_far: SoFar| {
            let (schedules, states) = (&self.schedules, &self.states);
            schedules.fetch_add(so_far.schedules - before.schedules, Ordering::Relaxed);
            states.fetch_add(so_far.states - before.states, Ordering::Relaxed);
            before = so_far;
            self.show(so_far.departures);
            !self.stopped.load(Ordering::Relaxed)
        };
        let How {
            bounds, strategy, ..
        } = self.how;
        search(job.scenario, rule, job.cpus, bounds, strategy, &mut go_on)
            .with_context(|| format!("{} under {}", job.scenario.id, job.policy))
    }

    fn show(&self, departures: usize) {
        let schedules = self.schedules.load(Ordering::Relaxed);
        let states = self.states.load(Ordering::Relaxed);
        let rate = schedules as f64 / self.began.elapsed().as_secs_f64().max(0.001);
        let mut bar = lock(&self.bar);
        bar.tell(&format!(
            "cells; {schedules} schedules, {states} states, depth {departures}, {rate:.0}/s"
        ));
        bar.update(Progress {
            done: self.done.load(Ordering::Relaxed) as u64,
            total: Some(self.jobs.len() as u64),
        });
    }
}
