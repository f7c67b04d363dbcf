//! `emu probe latency`: what loops in machine code measure, beside the profile.
//!
//! Owns the document. Refuses to measure: the library does.

use crate::bench::curves::{Axis, Curve, Panel, svg_of_panels};
use anyhow::Result;
use emu_core::latency::{self, Plateau};
use emu_linux::MachineProfile;
use serde::Serialize;

/// The report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this document's keys.
    pub schema: &'static str,
    /// The machine's name.
    pub machine: String,
    /// What was measured, nearest to the CPU first.
    pub plateaus: Vec<Row>,
    /// Cycles of a load by bytes of its footprint, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<Vec<(u64, f64)>>,
}

/// One latency or reach.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// `cycles` or `entries`.
    pub unit: &'static str,
    /// By the guest's clock; null if no footprint shows it alone.
    pub measured: Option<f64>,
    /// By the profile.
    pub profile: f64,
    /// The figures of the profile that it is, with their sources.
    pub source: String,
}

impl From<Plateau> for Row {
    fn from(plateau: Plateau) -> Self {
        let rounded = |figure: f64| (figure * 1000.0).round() / 1000.0;
        Row {
            name: plateau.name,
            unit: plateau.unit,
            measured: plateau.measured.map(rounded),
            profile: rounded(plateau.profile),
            source: plateau.source,
        }
    }
}

/// Measures; `step` is told how many points are done, and of how many.
///
/// # Errors
/// A machine that cannot be built, or a footprint that the host has no memory for.
pub fn measure(
    machine: &MachineProfile,
    with_curve: bool,
    step: &mut dyn FnMut(u64, u64),
) -> Result<Report> {
    let of_curve = if with_curve {
        latency::curve_count(machine)
    } else {
        0
    };
    let total = latency::plateau_count(machine) + of_curve;
    let mut plateaus = Vec::new();
    latency::measure(machine, &mut |plateau| {
        plateaus.push(Row::from(plateau));
        step(plateaus.len() as u64, total);
    })?;
    let mut points = Vec::new();
    if with_curve {
        let before = plateaus.len();
        latency::curve(machine, &mut |bytes, cycles| {
            points.push((bytes, cycles));
            step((before + points.len()) as u64, total);
        })?;
    }
    Ok(Report {
        schema: "ppc-mmu-emu/probe-latency/1",
        machine: machine.name().to_owned(),
        plateaus,
        curve: with_curve.then_some(points),
    })
}

/// The curve as a picture.
///
/// # Errors
/// What the drawing library refuses.
pub fn drawn(report: &Report) -> Result<String> {
    let curve = Curve {
        name: "load".to_owned(),
        points: report.curve.clone().unwrap_or_default(),
    };
    let panel = Panel {
        title: format!("{}: a load in a random chase, by footprint", report.machine),
        curves: vec![curve],
    };
    svg_of_panels(&[panel], Axis::Footprint, "cycles")
}
