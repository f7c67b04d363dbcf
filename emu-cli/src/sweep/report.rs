//! All points of a sweep, as a document and as curves.

use super::{Kind, Plan, Point};
use crate::bench::curves::Curve;
use serde::Serialize;
use std::collections::BTreeMap;

/// A figure by what is varied, then by curve (policy, or policy and scope), then by machine; null where
/// there is none.
pub type Values = BTreeMap<u64, BTreeMap<String, BTreeMap<String, Option<f64>>>>;

/// The points of a curve, and its name.
pub type Series<'r> = (String, Vec<&'r Point>);

/// The report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this document's keys.
    pub schema: String,
    /// The scenario that was run.
    pub scenario: &'static str,
    /// Pages of an area, where the sweep says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<u64>,
    /// Areas of each CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
    /// Cycles per page by entries of a batch or CPUs, policy and machine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cycles_per_page: Values,
    /// Longest spans with preemption off by entries of a batch, policy and machine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub preempt_off_cycles_max: Values,
    /// Cycles by seed, policy and machine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cycles: Values,
    /// Every point.
    pub points: Vec<Point>,
    /// What was varied.
    #[serde(skip)]
    pub kind: Kind,
    /// Its values.
    #[serde(skip)]
    pub values: Vec<u64>,
}

impl Report {
    /// Of a sweep's points.
    pub fn new(plan: &Plan, points: Vec<Point>) -> Self {
        let mut report = Report {
            schema: format!("ppc-mmu-emu/sweep-{}/1", plan.kind.name()),
            scenario: plan.kind.scenario(),
            pages: plan.pages,
            operations: plan.operations,
            cycles_per_page: Values::new(),
            preempt_off_cycles_max: Values::new(),
            cycles: Values::new(),
            points,
            kind: plan.kind,
            values: plan.values.clone(),
        };
        let mut values = Values::new();
        for point in &report.points {
            let of_series = values.entry(report.varied(point)).or_default();
            let of_machine = of_series.entry(point.series()).or_default();
            of_machine.insert(point.machine.clone(), report.figure(point));
        }
        *match plan.kind {
            Kind::Batch | Kind::Cpus | Kind::Scope => &mut report.cycles_per_page,
            Kind::PreemptOff => &mut report.preempt_off_cycles_max,
            Kind::Seed => &mut report.cycles,
        } = values;
        report
    }

    /// Where a point stands on the axis.
    pub fn varied(&self, point: &Point) -> u64 {
        match self.kind {
            Kind::Batch | Kind::Scope | Kind::PreemptOff => point.batch_size,
            Kind::Cpus => u64::from(point.cpus),
            Kind::Seed => point.seed,
        }
    }

    /// What the sweep looks at.
    pub fn figure(&self, point: &Point) -> Option<f64> {
        match self.kind {
            Kind::Batch | Kind::Cpus | Kind::Scope => point.cycles_per_page,
            Kind::PreemptOff => Some(point.preempt_off_cycles_max as f64),
            Kind::Seed => Some(point.cycles as f64).filter(|_| point.died.is_none()),
        }
    }

    /// The points by machine and series, in the order they were made.
    pub fn series(&self) -> Vec<(&str, Vec<Series<'_>>)> {
        let mut machines: Vec<(&str, Vec<Series<'_>>)> = Vec::new();
        for point in &self.points {
            if machines
                .last()
                .is_none_or(|(name, _)| *name != point.machine)
            {
                machines.push((&point.machine, Vec::new()));
            }
            let Some((_, series)) = machines.last_mut() else {
                continue;
            };
            let name = point.series();
            match series.last_mut() {
                Some((last, points)) if *last == name => points.push(point),
                _ => series.push((name, vec![point])),
            }
        }
        machines
    }

    /// The curves of each machine.
    pub fn curves(&self) -> Vec<(String, Vec<Curve>)> {
        let curve = |(name, points): Series<'_>| {
            let mut curve = Curve::new(name);
            for point in points {
                // A logarithm of nothing cannot be drawn.
                if let Some(figure) = self.figure(point).filter(|&figure| figure > 0.0) {
                    curve.add(self.varied(point), figure);
                }
            }
            curve
        };
        let machines = self.series().into_iter();
        machines
            .map(|(name, series)| (name.to_owned(), series.into_iter().map(curve).collect()))
            .collect()
    }
}
