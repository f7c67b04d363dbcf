//! `emu compare`: one source under several policies.

use crate::args::CompareArgs;
use crate::output::deliver;
use crate::plan::ComparePlan;
use crate::progress::Bar;
use crate::report::{comparison, json};
use anyhow::{Context, Result};
use emu_linux::{CompareReport, RunReport};

/// Runs each policy in turn and reports; the exit code.
pub fn compare(args: CompareArgs) -> Result<u8> {
    let plan = ComparePlan::new(args)?;
    let mut runs = Vec::new();
    for config in &plan.configs {
        let label = format!(
            "{} ({}/{})",
            config.policy,
            runs.len() + 1,
            plan.configs.len()
        );
        let mut bar = Bar::new(label);
        let report: RunReport =
            emu_linux::run(&plan.source, config, &mut |progress| bar.update(progress))
                .with_context(|| format!("policy `{}`", config.policy))?;
        runs.push(report);
    }
    let report = CompareReport {
        schema: emu_linux::COMPARE_SCHEMA.to_owned(),
        scenario: runs
            .first()
            .map(|run| run.scenario.clone())
            .unwrap_or_default(),
        runs,
    };
    let checked = plan.configs.iter().all(|config| config.check);
    let told = if plan.output.json {
        json::pretty(&report)?
    } else {
        comparison::text(&report, checked)
    };
    deliver(&[(&plan.output.place, told.as_str())])?;
    Ok(0)
}
