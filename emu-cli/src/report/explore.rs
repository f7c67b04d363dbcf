//! What an exploration found, and one schedule step by step.

use super::layout::{count, grouped, table, wrap};
use emu_linux::explore::{Cell, Found, Replayed};
use serde::Serialize;

/// Columns of a CPU in a timeline.
const COLUMN: usize = 46;

/// The JSON document.
#[derive(Debug, Serialize)]
pub struct Document {
    /// Version of its keys.
    pub schema: &'static str,
    /// What a run is and what bounds mean.
    pub model: &'static str,
    /// One for each scenario, policy and number of CPUs.
    pub results: Vec<Cell>,
    /// Cells that were not begun when the search was stopped.
    pub cells_left: usize,
}

/// What every result holds for.
const MODEL: &str = "memory is sequentially consistent and a CPU has done the tlbie of the others when it \
    goes on; an interrupt lands, or another CPU goes on, only before a step; a bound is on departures from \
    the run in which the CPU that runs goes on until it waits";

impl Document {
    /// The document of some results.
    pub fn new(results: Vec<Cell>, cells_left: usize) -> Self {
        Document {
            schema: "ppc-mmu-emu/explore/1",
            model: MODEL,
            results,
            cells_left,
        }
    }
}

fn name(found: &Found) -> String {
    let departures = found.departures();
    format!("{} ({departures})", found.kind)
}

/// A table of cells, then the shortest schedule of each thing that broke in the first cell that has it.
pub fn text(results: &[Cell], left: usize, file: Option<&str>) -> String {
    let rows = results.iter().map(|cell| {
        let broken = cell.violations.iter().chain(&cell.unfinished);
        let broken: Vec<String> = broken.map(name).collect();
        vec![
            cell.scenario.clone(),
            cell.policy.clone(),
            cell.cpus.to_string(),
            grouped(cell.schedules),
            if cell.exhausted { "yes" } else { "no" }.to_owned(),
            if broken.is_empty() {
                "-".to_owned()
            } else {
                broken.join(", ")
            },
        ]
    });
    let head = [
        "scenario",
        "policy",
        "CPUs",
        "schedules",
        "all",
        "broken (departures)",
    ];
    let mut text = table(&head, rows, "llrrll");
    let schedules: u64 = results.iter().map(|cell| cell.schedules).sum();
    let steps: u64 = results.iter().map(|cell| cell.steps).sum();
    if let Some(first) = results.first() {
        let bounds = first.bounds;
        text.push_str(&format!(
            "\n{} of {}. Bounds: {}, {}, {}, {}{} in all.{}\n",
            count(schedules, "schedule", "schedules"),
            count(steps, "step", "steps"),
            count(bounds.preemptions as u64, "preemption", "preemptions"),
            count(bounds.migrations as u64, "migration", "migrations"),
            count(
                bounds.switches as u64,
                "switch of the CPU",
                "switches of the CPU"
            ),
            match bounds.walks as u64 {
                0 => String::new(),
                walks => count(walks, "speculative walk, ", "speculative walks, "),
            },
            bounds.departures,
            if bounds.late {
                " Invalidations come late."
            } else {
                ""
            },
        ));
    }
    if left > 0 {
        let cells = count(left as u64, "cell was", "cells were");
        text.push_str(&format!("Stopped: {cells} not begun.\n"));
    }
    if let [cell] = results {
        for found in cell.violations.iter().chain(&cell.unfinished) {
            text.push_str(&format!("\n{}: emu replay {}", found.kind, found.replay));
            if let Some(file) = file {
                text.push_str(&format!(" --scenario {file}"));
            }
        }
        text.push('\n');
    }
    text
}

/// The steps of a run, a column for each CPU. Steps without a name and repeats are left out.
pub fn timeline(run: &Replayed) -> String {
    let mut text = format!(
        "{}, {}, {} CPUs: {}\n\n",
        run.scenario, run.policy, run.cpus, run.about
    );
    text.push_str("  step");
    for cpu in 0..run.cpus {
        text.push_str(&format!("  {:COLUMN$}", format!("CPU {cpu}")));
    }
    text = format!("{}\n", text.trim_end());
    let mut last = None;
    for step in &run.steps {
        if let Some(departure) = &step.departure {
            text.push_str(&format!("{:>6}  -- {departure} --\n", step.step));
        }
        let Some(label) = step.label else { continue };
        let line = (step.cpu, step.task.as_str(), label);
        if last != Some(line) {
            let indent = usize::from(step.cpu) * (COLUMN + 2);
            text.push_str(&format!(
                "{:>6}  {:indent$}{}: {label}\n",
                step.step, "", step.task
            ));
            last = Some(line);
        }
        for kind in &step.broke {
            text.push_str(&format!("{:>6}  ** {kind} **\n", step.step));
        }
    }
    text.push_str(&format!("\nEnd: {}.\n", run.end));
    text.push_str(&broken(run));
    text
}

fn broken(run: &Replayed) -> String {
    let mut text = String::new();
    for violation in &run.violations {
        let first = &violation.first;
        let what = format!("{} on CPU {}: {}", first.comm, first.cpu, first.message);
        text.push_str(&format!("\n{}\n", violation.kind));
        text.push_str(&wrap(&what, "  ", "  "));
    }
    if run.violations.is_empty() {
        text.push_str("\nNothing is broken.\n");
    }
    text
}

/// What an invariant asks.
pub fn rule(kind: &str, rule: &str) -> String {
    format!("{kind}\n{}", wrap(rule, "  ", "  "))
}

/// What a schedule breaks, what each rule asks, and the events that led there.
pub fn explained(run: &Replayed) -> String {
    let mut text = format!("{}\n{}", run.scenario, wrap(&run.about, "  ", "  "));
    if run.violations.is_empty() {
        text.push_str("\nNothing is broken.\n");
    }
    for violation in &run.violations {
        let first = &violation.first;
        let what = format!("{} on CPU {}: {}", first.comm, first.cpu, first.message);
        text.push_str(&format!(
            "\n{}\n{}",
            violation.kind,
            wrap(&what, "  ", "  ")
        ));
        if let Some(rule) = emu_linux::invariant::explain(&violation.kind) {
            text.push_str(&wrap(rule, "  The rule: ", "  "));
        }
        text.push_str("  What led there:\n");
        for line in &first.history {
            text.push_str(&format!("    {line}\n"));
        }
    }
    if let Some(policy) = emu_linux::policies().iter().find(|p| p.name == run.policy) {
        text.push_str(&format!(
            "\nThe policy, {}\n{}",
            policy.name,
            wrap(policy.about, "  ", "  ")
        ));
    }
    text
}

/// Under which policies as many departures break what a run broke, and under which not.
pub fn remedies(run: &Replayed, cells: &[Cell]) -> String {
    let mut text =
        "\nWhat closes it, by a search of this scenario with as many departures\n".to_owned();
    for violation in &run.violations {
        let breaks = |cell: &Cell| cell.violations.iter().any(|f| f.kind == violation.kind);
        let of = |which: bool| -> String {
            let cells = cells.iter().filter(|c| c.exhausted && breaks(c) == which);
            let names: Vec<&str> = cells.map(|cell| cell.policy.as_str()).collect();
            match names.is_empty() {
                true => "none".to_owned(),
                false => names.join(", "),
            }
        };
        text.push_str(&format!("  {}\n", violation.kind));
        text.push_str(&wrap(&of(false), "    closed by: ", "      "));
        text.push_str(&wrap(&of(true), "    open under: ", "      "));
    }
    text
}
