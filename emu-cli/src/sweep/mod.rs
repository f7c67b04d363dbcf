//! `emu sweep`: one modelled figure over a range of settings, for each policy on each machine.
//!
//! Owns what is run at each point and what a point says. Refuses host time: that is `emu bench`'s.

mod measure;
mod report;

pub use measure::Point;
pub use report::{Report, Series};

use anyhow::Result;
use emu_linux::{KernelVersion, MachineProfile};

/// What is varied, and what is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Cycles per page by entries of a batch.
    Batch,
    /// Cycles per page by CPUs.
    Cpus,
    /// Cycles per page by entries of a batch, local and global flushes.
    Scope,
    /// Longest span with preemption off by entries of a batch.
    PreemptOff,
    /// Cycles of the workload of 2011 by seed.
    Seed,
}

impl Kind {
    /// The name as typed.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Batch => "batch",
            Kind::Cpus => "cpus",
            Kind::Scope => "scope",
            Kind::PreemptOff => "preempt-off",
            Kind::Seed => "seed",
        }
    }

    /// The scenario that is run.
    pub const fn scenario(self) -> &'static str {
        match self {
            Kind::Batch | Kind::Cpus | Kind::PreemptOff => "vmalloc-areas",
            Kind::Scope => "user-unmap",
            Kind::Seed => "swapon-swapoff",
        }
    }

    /// What is varied.
    pub const fn over(self) -> &'static str {
        match self {
            Kind::Batch | Kind::Scope | Kind::PreemptOff => "entries of a batch",
            Kind::Cpus => "CPUs",
            Kind::Seed => "seed",
        }
    }

    /// What is looked at.
    pub const fn figure(self) -> &'static str {
        match self {
            Kind::Batch | Kind::Cpus | Kind::Scope => "cycles per page",
            Kind::PreemptOff => "longest preempt-off span, cycles",
            Kind::Seed => "cycles",
        }
    }
}

/// What is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The sweep.
    pub kind: Kind,
    /// Policies by name.
    pub policies: Vec<&'static str>,
    /// Machines, changes already made.
    pub machines: Vec<MachineProfile>,
    /// The kernel, unless it is the scenario's.
    pub kernel: Option<KernelVersion>,
    /// What is varied goes over these.
    pub values: Vec<u64>,
    /// Pages of an area; none where the scenario has its own.
    pub pages: Option<u64>,
    /// Areas of each CPU.
    pub operations: Option<u64>,
    /// Entries of a batch where they are not varied.
    pub batch_size: u64,
    /// CPUs where they are not varied.
    pub cpus: u16,
}

/// Runs every point; `step` is told before each how many are done, and of how many.
///
/// # Errors
/// A run that was refused.
pub fn sweep(plan: &Plan, step: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let mut measure = measure::Measure::new(plan);
    let setups = measure::setups(plan);
    let total = setups.len() as u64;
    let mut points = Vec::with_capacity(setups.len());
    for setup in setups {
        step(points.len() as u64, total);
        points.push(measure.point(&setup)?);
    }
    Ok(Report::new(plan, points))
}
