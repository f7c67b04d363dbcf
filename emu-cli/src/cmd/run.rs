//! `emu run`: one source under one policy.

use super::EXIT_VIOLATION;
use crate::args::RunArgs;
use crate::output::{Delivered, Place, deliver};
use crate::plan::RunPlan;
use crate::progress::Bar;
use crate::report::{fail_each, json, layout, text};
use anyhow::{Result, bail};
use emu_linux::timeline::Timeline;

/// Runs and reports; the exit code.
pub fn run(args: RunArgs) -> Result<u8> {
    let plan = RunPlan::new(args)?;
    if plan.each {
        return each(&plan);
    }
    let mut bar = Bar::new(plan.config.policy.clone());
    let ran = emu_linux::run(&plan.source, &plan.config, &mut |progress| {
        bar.update(progress)
    });
    // Cleared before anything is printed, an error too.
    drop(bar);
    let report = ran?;
    let told = if plan.output.json {
        json::pretty(&report)?
    } else {
        text::run(&report, plan.config.check)
    };
    let mut outputs = Vec::new();
    let mut log = layout::printable(&report.kernel_log.join("\n"));
    if let Some(place) = &plan.kernel_log {
        if !log.is_empty() {
            log.push('\n');
            if (place, &plan.output.place) == (&Place::Stdout, &Place::Stdout) {
                log.push('\n');
            }
        }
        outputs.push((place, log.as_str()));
    }
    let drawn = report.timeline.as_ref().map(Timeline::chrome_json);
    if let (Some(place), Some(drawn)) = (&plan.timeline, &drawn) {
        outputs.push((place, drawn));
    }
    outputs.push((&plan.output.place, told.as_str()));
    let delivered = deliver(&outputs)?;
    match &report.oops {
        _ if delivered != Delivered::Whole => Ok(0),
        _ if report.found_violation() => Ok(EXIT_VIOLATION),
        // Nobody saw a rule broken, so the run itself went wrong.
        Some(oops) => bail!("the kernel died: {oops}"),
        None => Ok(0),
    }
}

/// One run for each allocation, made to fail.
fn each(plan: &RunPlan) -> Result<u8> {
    let mut bar = Bar::new(plan.config.policy.clone());
    let ran = emu_linux::fail_each(&plan.source, &plan.config, &mut |progress| {
        bar.update(progress)
    });
    drop(bar);
    let report = ran?;
    let told = if plan.output.json {
        json::pretty(&report)?
    } else {
        fail_each::text(&report, plan.config.check)
    };
    let delivered = deliver(&[(&plan.output.place, told.as_str())])?;
    let violated = report.found_violation() && delivered == Delivered::Whole;
    Ok(if violated { EXIT_VIOLATION } else { 0 })
}
