//! The scheduler trait: everything that is not determined is one question, `choose`.
//!
//! Owns the strategies: clocked, random, replay, and the recorder that turns any of them into a
//! replayable string. Refuses to know what it schedules: it sees a kind, a count of options and what a
//! clocked machine would do.

use crate::schedule::Schedule;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// What is being decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Choice {
    /// Which of the CPUs that can run goes on.
    NextCpu,
    /// For how many cycles it goes on before the next question.
    Budget,
    /// Whether an interrupt lands now (1) or not (0).
    Interrupt,
    /// Whether a task is pulled to another CPU now (1) or not (0).
    Migration,
    /// Low bits of the timebase.
    TimebaseBits,
    /// Whether this allocation fails (1) or not (0).
    AllocationFailure,
}

/// The options of one choice: a value below `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Number of values.
    pub count: u64,
    /// What a machine driven by its clocks alone would do.
    pub clocked: u64,
}

/// Decides everything that is not determined.
pub trait Scheduler: Send {
    /// A value below `options.count`.
    fn choose(&mut self, kind: Choice, options: Options) -> u64;

    /// True if it always answers `options.clocked`, so that nobody need ask; asked once, before the run.
    fn follows_clocks(&self) -> bool {
        false
    }
}

/// Follows the clocks: the CPU furthest behind goes on, interrupts come when due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocked;

impl Clocked {
    /// A clocked scheduler.
    pub fn new() -> Self {
        Clocked
    }
}

impl Scheduler for Clocked {
    fn choose(&mut self, _kind: Choice, options: Options) -> u64 {
        options.clocked
    }

    fn follows_clocks(&self) -> bool {
        true
    }
}

/// Uniform choice of CPUs, random budgets, and interrupts and migrations at a given rate, all from one
/// seed (ChaCha8).
#[derive(Debug)]
pub struct Random {
    rng: ChaCha8Rng,
    interrupt_per_mille: u32,
}

impl Random {
    /// A random scheduler; `interrupt_per_mille` of the engine's questions bring an interrupt or a
    /// migration that was not due.
    pub fn new(seed: u64, interrupt_per_mille: u32) -> Self {
        Random {
            rng: ChaCha8Rng::seed_from_u64(seed),
            interrupt_per_mille,
        }
    }
}

impl Scheduler for Random {
    fn choose(&mut self, kind: Choice, options: Options) -> u64 {
        match kind {
            Choice::NextCpu | Choice::TimebaseBits => {
                self.rng.random_range(0..options.count.max(1))
            }
            Choice::Budget => {
                let most = options.clocked.clamp(1, 20_000);
                self.rng.random_range(1..=most)
            }
            Choice::Interrupt | Choice::Migration => {
                let extra = self.rng.random_range(0..1000) < self.interrupt_per_mille;
                options.clocked | u64::from(extra)
            }
            Choice::AllocationFailure => options.clocked,
        }
    }
}

/// Repeats a recorded schedule; beyond its end it follows the clocks.
#[derive(Debug)]
pub struct Replay {
    schedule: Schedule,
    asked: u64,
    next: usize,
}

impl Replay {
    /// Replays `schedule`.
    pub fn new(schedule: Schedule) -> Self {
        Replay {
            schedule,
            asked: 0,
            next: 0,
        }
    }
}

impl Scheduler for Replay {
    fn choose(&mut self, _kind: Choice, options: Options) -> u64 {
        let here = self.asked;
        self.asked += 1;
        match self.schedule.deviations().get(self.next) {
            Some(&(at, value)) if at == here => {
                self.next += 1;
                value.min(options.count.saturating_sub(1))
            }
            _ => options.clocked,
        }
    }
}

/// Records where another scheduler departs from the clocks, so that the run can be replayed.
pub struct Recorder {
    inner: Box<dyn Scheduler>,
    asked: u64,
    schedule: Arc<Mutex<Schedule>>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("asked", &self.asked)
            .finish()
    }
}

impl Recorder {
    /// Wraps a scheduler. The second value holds the schedule as it grows.
    pub fn new(inner: Box<dyn Scheduler>) -> (Self, Arc<Mutex<Schedule>>) {
        let schedule = Arc::new(Mutex::new(Schedule::default()));
        (
            Recorder {
                inner,
                asked: 0,
                schedule: schedule.clone(),
            },
            schedule,
        )
    }
}

impl Scheduler for Recorder {
    fn choose(&mut self, kind: Choice, options: Options) -> u64 {
        let value = self.inner.choose(kind, options);
        if value != options.clocked {
            self.schedule.lock().push(self.asked, value);
        }
        self.asked += 1;
        value
    }

    fn follows_clocks(&self) -> bool {
        // Then there is nothing to record.
        self.inner.follows_clocks()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(scheduler: &mut dyn Scheduler) -> Vec<u64> {
        (0..200)
            .map(|i| {
                let kind = [Choice::NextCpu, Choice::Budget, Choice::Interrupt][i % 3];
                scheduler.choose(
                    kind,
                    Options {
                        count: 4 + i as u64 * 10,
                        clocked: i as u64 % 4,
                    },
                )
            })
            .collect()
    }

    #[test]
    fn a_recorded_random_run_replays() {
        let (mut recorder, schedule) = Recorder::new(Box::new(Random::new(7, 100)));
        let first = ask(&mut recorder);
        let text = schedule.lock().to_string();
        let mut replay = Replay::new(text.parse().unwrap());
        assert_eq!(ask(&mut replay), first);
        let other = ask(&mut Random::new(8, 100));
        assert_ne!(other, first, "another seed is another run");
    }

    #[test]
    fn clocked_departs_nowhere() {
        let (mut recorder, schedule) = Recorder::new(Box::new(Clocked::new()));
        ask(&mut recorder);
        assert!(schedule.lock().deviations().is_empty());
    }
}
