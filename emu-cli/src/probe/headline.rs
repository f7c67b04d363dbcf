//! The ratios that the project states: what batching buys, and what it costs.
//!
//! Owns the list. Each is a quotient of one figure of two runs on the same machine.

use anyhow::{Context, Result};
use emu_linux::{MachineProfile, RunConfig, RunReport, Source, run};

/// A ratio.
#[derive(Clone, Copy, Debug)]
pub struct Headline {
    /// Its key.
    pub name: &'static str,
    /// What it is, for a person.
    pub about: &'static str,
    over: Run,
    under: Run,
    figure: Figure,
}

/// What is taken of a run.
#[derive(Clone, Copy, Debug)]
enum Figure {
    /// Cycles in which a CPU was busy, by CPU.
    BusyCycles,
    /// The longest span with preemption off.
    PreemptOff,
}

/// A run, but for its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    scenario: &'static str,
    policy: &'static str,
    batch_size: u64,
    cpus: u16,
    pin: bool,
}

const fn swap(policy: &'static str) -> Run {
    Run {
        scenario: "swapon-swapoff",
        policy,
        batch_size: 192,
        cpus: 1,
        pin: false,
    }
}

const BATCHED: &str = "mainline-6.16-fixed";

const fn areas(batch_size: u64, cpus: u16) -> Run {
    Run {
        scenario: "vmalloc-areas",
        policy: BATCHED,
        batch_size,
        cpus,
        pin: false,
    }
}

const fn unmap(pin: bool) -> Run {
    Run {
        scenario: "user-unmap",
        policy: BATCHED,
        batch_size: 192,
        cpus: 2,
        pin,
    }
}

/// Areas of each CPU, or rounds: enough that it matters little who comes first.
const OPERATIONS: u64 = 6;

/// All of them.
pub const HEADLINES: [Headline; 6] = [
    Headline {
        name: "unbatched_vs_batched",
        about: "cycles of the workload of 2011, mainline-6.1 over mainline-6.16-fixed",
        over: swap("mainline-6.1"),
        under: swap(BATCHED),
        figure: Figure::BusyCycles,
    },
    Headline {
        name: "mmotm_vs_batched",
        about: "the same, mmotm, which reports itself, over mainline-6.16-fixed",
        over: swap("mmotm"),
        under: swap(BATCHED),
        figure: Figure::BusyCycles,
    },
    Headline {
        name: "preempt_off_vs_unbatched",
        about: "longest preempt-off span of that workload, mainline-6.16-fixed over mainline-6.1",
        over: swap(BATCHED),
        under: swap("mainline-6.1"),
        figure: Figure::PreemptOff,
    },
    Headline {
        name: "batch_of_1_vs_192",
        about: "cycles of areas of 192 pages, batches of 1 entry over batches of 192",
        over: areas(1, 1),
        under: areas(192, 1),
        figure: Figure::BusyCycles,
    },
    Headline {
        name: "4_cpus_vs_1",
        about: "cycles of each CPU for the same areas, four CPUs at work over one",
        over: areas(192, 4),
        under: areas(192, 1),
        figure: Figure::BusyCycles,
    },
    Headline {
        name: "global_vs_local",
        about: "cycles of a process that unmaps 192 pages, flushes global over local",
        over: unmap(false),
        under: unmap(true),
        figure: Figure::BusyCycles,
    },
];

impl Run {
    fn on(self, machine: &MachineProfile) -> Result<RunReport> {
        let sized = self.scenario != "swapon-swapoff";
        let config = RunConfig {
            machine: Some(machine.clone()),
            batch_size: Some(self.batch_size),
            cpus: Some(self.cpus),
            pin: self.pin,
            touch: sized.then_some(192),
            operations: sized.then_some(OPERATIONS),
            check: false,
            ..RunConfig::new(self.policy)
        };
        let source = Source::Scenario(self.scenario.to_owned());
        run(&source, &config, &mut |_| ()).with_context(|| format!("machine `{}`", machine.name()))
    }
}

impl Figure {
    fn of(self, report: &RunReport) -> f64 {
        match self {
            Figure::BusyCycles => {
                let idle = report.cycles.stack.get("idle").copied().unwrap_or(0);
                (report.cycles.total - idle) as f64 / f64::from(report.cpus)
            }
            Figure::PreemptOff => report.counters.preempt_off_cycles_max as f64,
        }
    }
}

/// Every ratio on a machine; none where a run has nothing of what is divided by.
///
/// # Errors
/// A run that was refused.
pub fn ratios(machine: &MachineProfile) -> Result<Vec<Option<f64>>> {
    let mut made: Vec<(Run, RunReport)> = Vec::new();
    let mut ratios = Vec::with_capacity(HEADLINES.len());
    for headline in &HEADLINES {
        let mut figures = [0.0; 2];
        for (figure, of) in figures.iter_mut().zip([headline.over, headline.under]) {
            let known = made.iter().position(|(known, _)| *known == of);
            let at = match known {
                Some(at) => at,
                None => {
                    made.push((of, of.on(machine)?));
                    made.len() - 1
                }
            };
            *figure = headline.figure.of(&made[at].1);
        }
        ratios.push((figures[1] > 0.0).then(|| figures[0] / figures[1]));
    }
    Ok(ratios)
}
