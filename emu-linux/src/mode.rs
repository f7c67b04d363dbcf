//! Which engine runs the CPUs.
//!
//! Owns the choice and what does not go with it. Refuses how an engine works: that is `emu-core`'s.

use crate::config::{RunConfig, RunError, ScheduleChoice};
use emu_core::Cycles;

/// The engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// One host thread runs all CPUs in an order that the schedule decides: a run repeats byte for byte.
    #[default]
    Deterministic,
    /// A host thread for each CPU: the host decides the order, within a quantum. No two runs with several
    /// CPUs need be alike; with one CPU a run is that of the other engine.
    Threads,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 2] = [Mode::Deterministic, Mode::Threads];

    /// The name as typed and reported.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Deterministic => "deterministic",
            Mode::Threads => "threads",
        }
    }

    /// True if the order of things on this many CPUs is the host's.
    pub(crate) const fn is_unordered(self, cpus: u16) -> bool {
        matches!(self, Mode::Threads) && cpus > 1
    }

    /// Most cycles that a CPU runs ahead of another. Where CPUs run at the same time, waking a thread costs the
    /// host as much as some thousands of them.
    pub(crate) const fn quantum(self, checked: bool) -> Cycles {
        match (self, checked) {
            (Mode::Threads, false) => Cycles::new(40_000),
            _ => Cycles::new(2000),
        }
    }

    /// Refuses what host threads cannot give.
    ///
    /// # Errors
    /// [`RunError::Value`].
    pub(crate) fn check(config: &RunConfig, cpus: u16) -> Result<(), RunError> {
        if config.mode.is_unordered(cpus) && matches!(config.schedule, ScheduleChoice::Replay(_)) {
            return Err(RunError::Value {
                what: "--mode",
                value: config.mode.name().to_owned(),
                right:
                    "a recorded schedule is replayed by the deterministic engine only; leave out \
                        `--mode threads` or `--schedule`"
                        .to_owned(),
            });
        }
        Ok(())
    }
}
