//! One schedule as a picture: the Chrome trace format that Perfetto and chrome://tracing read.
//!
//! Owns its rows: a CPU each, with the task that runs there around its steps. A microsecond stands for a step.
//! Refuses cycles: a schedule has none.

use anyhow::Result;
use emu_linux::explore::{ReplayStep, Replayed};
use serde_json::{Value, json};

/// The document.
pub fn chrome(run: &Replayed) -> Result<String> {
    let mut events = vec![json!({
        "ph": "M", "pid": 1, "name": "process_name",
        "args": { "name": format!("{} under {}", run.scenario, run.policy) },
    })];
    for cpu in 0..run.cpus {
        events.push(json!({
            "ph": "M", "pid": 1, "tid": cpu, "name": "thread_name",
            "args": { "name": format!("CPU {cpu}") },
        }));
    }
    for stretch in run
        .steps
        .chunk_by(|a, b| (a.cpu, &a.task) == (b.cpu, &b.task))
    {
        events.extend(of_task(stretch));
        events.extend(stretch.iter().flat_map(of_step));
    }
    let document = json!({
        "displayTimeUnit": "ms",
        "otherData": { "replay": run.replay, "end": run.end },
        "traceEvents": events,
    });
    Ok(serde_json::to_string(&document)?)
}

fn slice(step: &ReplayStep, name: &str, steps: u64) -> Value {
    json!({
        "ph": "X", "pid": 1, "tid": step.cpu, "ts": step.step, "dur": steps, "name": name,
        "args": { "step": step.step, "task": step.task },
    })
}

/// The slice of a task that goes on for some steps.
fn of_task(stretch: &[ReplayStep]) -> Option<Value> {
    let (first, last) = (stretch.first()?, stretch.last()?);
    Some(slice(first, &first.task, last.step - first.step + 1))
}

/// The slice of a step, and what happened there.
fn of_step(step: &ReplayStep) -> Vec<Value> {
    let instant = |name: &str, scope: &str| {
        json!({
            "ph": "i", "pid": 1, "tid": step.cpu, "ts": step.step, "s": scope, "name": name,
        })
    };
    let label = step.label.map(|label| slice(step, label, 1));
    let departure = step.departure.as_deref().map(|what| instant(what, "t"));
    let broke = step.broke.iter().map(|rule| instant(rule, "g"));
    label.into_iter().chain(departure).chain(broke).collect()
}
