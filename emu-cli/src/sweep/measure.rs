//! One point: a run, and the same run without its operations, whose cycles are no page's.

use super::{Kind, Plan};
use anyhow::{Context, Result};
use emu_linux::{MachineProfile, RunConfig, RunReport, ScheduleChoice, Source, run};
use serde::Serialize;
use std::collections::BTreeMap;

/// Whether flushes of the process reach other CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// It has run on one CPU.
    Local,
    /// It has run on all.
    Global,
}

impl Scope {
    const fn name(self) -> &'static str {
        match self {
            Scope::Local => "local",
            Scope::Global => "global",
        }
    }
}

/// What is run at one point.
pub struct Setup<'p> {
    machine: &'p MachineProfile,
    policy: &'static str,
    scope: Option<Scope>,
    value: u64,
}

/// What one point showed.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// Machine.
    pub machine: String,
    /// Policy.
    pub policy: &'static str,
    /// Scope of the flushes, where it is varied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Entries of a batch.
    pub batch_size: u64,
    /// CPUs.
    pub cpus: u16,
    /// Seed of the run.
    pub seed: u64,
    /// Pages mapped, touched and unmapped.
    pub pages: u64,
    /// Busy cycles of all CPUs for each page, what the same run costs without pages taken off. None where
    /// the kernel died or there is no run without pages.
    pub cycles_per_page: Option<f64>,
    /// Those cycles by part of the kernel's work.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parts_per_page: BTreeMap<String, f64>,
    /// Cycles of the whole run, all CPUs, idle ones too.
    pub cycles: u64,
    /// Longest span with preemption off.
    pub preempt_off_cycles_max: u64,
    /// Longest span with interrupts off.
    pub irqs_off_cycles_max: u64,
    /// Global invalidations.
    pub tlbie: u64,
    /// Local invalidations.
    pub tlbiel: u64,
    /// Batches flushed.
    pub batch_flushes: u64,
    /// Rules that were broken; only a sweep over seeds checks them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<String>,
    /// How the kernel died, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub died: Option<String>,
}

impl Point {
    /// What the point is one of: the name of its curve.
    pub fn series(&self) -> String {
        match self.scope {
            None => self.policy.to_owned(),
            Some(scope) => format!("{} {}", self.policy, scope.name()),
        }
    }
}

/// Every point of a sweep, those of a machine together, and in them those of a policy.
pub fn setups(plan: &Plan) -> Vec<Setup<'_>> {
    let scopes = match plan.kind {
        Kind::Scope => vec![Some(Scope::Local), Some(Scope::Global)],
        _ => vec![None],
    };
    let mut setups = Vec::new();
    for machine in &plan.machines {
        for &policy in &plan.policies {
            for &scope in &scopes {
                for &value in &plan.values {
                    setups.push(Setup {
                        machine,
                        policy,
                        scope,
                        value,
                    });
                }
            }
        }
    }
    setups
}

/// What a run without operations depends on.
type Base = (String, &'static str, u16, Option<Scope>);

/// Busy cycles of a run.
#[derive(Clone)]
struct Busy {
    total: u64,
    parts: BTreeMap<String, u64>,
}

impl Busy {
    fn of(report: &RunReport) -> Self {
        let idle = report.cycles.stack.get("idle").copied().unwrap_or(0);
        let mut parts = report.cycles.parts.clone();
        // Idle cycles are in there and nowhere else.
        if let Some(other) = parts.get_mut(emu_linux::OTHER_PART) {
            *other -= idle;
        }
        Busy {
            total: report.cycles.total - idle,
            parts,
        }
    }
}

/// Makes points.
pub struct Measure<'p> {
    plan: &'p Plan,
    bases: BTreeMap<Base, Busy>,
}

impl<'p> Measure<'p> {
    /// For one sweep.
    pub fn new(plan: &'p Plan) -> Self {
        Measure {
            plan,
            bases: BTreeMap::new(),
        }
    }

    fn config(&self, setup: &Setup<'_>) -> RunConfig {
        let plan = self.plan;
        let (mut batch_size, mut cpus, mut seed) = (plan.batch_size, plan.cpus, 1);
        match plan.kind {
            Kind::Batch | Kind::Scope | Kind::PreemptOff => batch_size = setup.value,
            Kind::Cpus => cpus = setup.value as u16,
            Kind::Seed => seed = setup.value,
        }
        RunConfig {
            machine: Some(setup.machine.clone()),
            kernel: plan.kernel,
            batch_size: Some(batch_size),
            cpus: Some(cpus),
            seed,
            touch: plan.pages,
            operations: plan.operations,
            pin: setup.scope == Some(Scope::Local),
            schedule: match plan.kind {
                Kind::Seed => ScheduleChoice::Random,
                _ => ScheduleChoice::Clocked,
            },
            check: plan.kind == Kind::Seed,
            ..RunConfig::new(setup.policy)
        }
    }

    fn run(&self, config: &RunConfig) -> Result<RunReport> {
        let source = Source::Scenario(self.plan.kind.scenario().to_owned());
        run(&source, config, &mut |_| ()).with_context(|| format!("policy `{}`", config.policy))
    }

    /// Runs one point.
    ///
    /// # Errors
    /// A run that was refused.
    pub fn point(&mut self, setup: &Setup<'_>) -> Result<Point> {
        let config = self.config(setup);
        let report = self.run(&config)?;
        let counters = &report.counters;
        let mut point = Point {
            machine: report.machine.clone(),
            policy: setup.policy,
            scope: setup.scope,
            batch_size: report.batch_size,
            cpus: report.cpus,
            seed: report.seed,
            pages: counters.ptes_cleared,
            cycles_per_page: None,
            parts_per_page: BTreeMap::new(),
            cycles: report.cycles.total,
            preempt_off_cycles_max: counters.preempt_off_cycles_max,
            irqs_off_cycles_max: counters.irqs_off_cycles_max,
            tlbie: counters.tlbie,
            tlbiel: counters.tlbiel,
            batch_flushes: counters.batch_flushes,
            broken: report.violations.iter().map(|v| v.kind.clone()).collect(),
            died: report.oops.clone(),
        };
        if point.died.is_none() && point.pages > 0 && self.plan.operations.is_some() {
            let base = self.base(setup, &config)?;
            let busy = Busy::of(&report);
            let of_page = |all: u64, base: u64| (all as f64 - base as f64) / point.pages as f64;
            point.cycles_per_page = Some(of_page(busy.total, base.total));
            let parts = busy.parts.iter().map(|(name, &cycles)| {
                let base = base.parts.get(name).copied().unwrap_or(0);
                (name.clone(), of_page(cycles, base))
            });
            point.parts_per_page = parts.filter(|(_, cycles)| *cycles != 0.0).collect();
        }
        Ok(point)
    }

    /// The same without operations. The size of a batch is nothing to it.
    fn base(&mut self, setup: &Setup<'_>, config: &RunConfig) -> Result<Busy> {
        let cpus = config.cpus.unwrap_or(1);
        let key = (
            setup.machine.name().to_owned(),
            setup.policy,
            cpus,
            setup.scope,
        );
        if let Some(known) = self.bases.get(&key) {
            return Ok(known.clone());
        }
        let config = RunConfig {
            operations: Some(0),
            ..config.clone()
        };
        let base = Busy::of(&self.run(&config)?);
        self.bases.insert(key, base.clone());
        Ok(base)
    }
}
