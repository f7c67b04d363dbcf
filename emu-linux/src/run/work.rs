//! What is to be executed: from a source and a configuration to a workload or a capture, and what the source
//! itself says about the kernel and the machine.
//!
//! Owns every choice that is left to the source. Refuses to run anything.

use crate::config::{KernelVersion, Pages, RunConfig, RunError, Source, nearest};
use crate::machine::default_htab_bits;
use crate::scenario::{Scenario, scenarios};
use crate::trace::Importer;
use crate::workload::{self, Replayer, Workload};
use std::path::Path;
use std::sync::Arc;

/// What is to be executed.
pub(super) enum Work {
    Scenario {
        name: String,
        workload: &'static Workload,
    },
    Trace {
        importer: Box<Importer>,
        replayer: Option<Arc<Replayer>>,
    },
}

/// What is to be executed, and the configuration with what its scenario says.
pub(super) fn open(source: &Source, config: &RunConfig) -> Result<(Work, RunConfig), RunError> {
    let scenario = match source {
        Source::Trace(path) => return Ok((open_trace(path)?, config.clone())),
        Source::File(scenario) => scenario,
        Source::Scenario(name) => Scenario::built_in(name).ok_or_else(|| no_scenario(name))?,
    };
    let config = scenario.settings().fill(config);
    let name = scenario.workload();
    let workload = workload::workload(name).ok_or_else(|| no_scenario(name))?;
    workload.check(&config)?;
    let name = scenario.name().to_owned();
    Ok((Work::Scenario { name, workload }, config))
}

fn open_trace(path: &Path) -> Result<Work, RunError> {
    let importer = Importer::open(path)?;
    Ok(Work::Trace {
        importer: Box::new(importer),
        replayer: None,
    })
}

fn no_scenario(name: &str) -> RunError {
    let scenarios = scenarios();
    RunError::NoScenario {
        name: name.to_owned(),
        nearest: nearest(name, scenarios.iter().map(|s| s.name)),
        known: scenarios
            .iter()
            .map(|s| s.name)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// Kernel and CPUs unless told otherwise, and the name in the report.
pub(super) fn defaults(source: &Source, work: &Work) -> (KernelVersion, u16, String) {
    match (source, work) {
        (_, Work::Scenario { name, .. }) => (KernelVersion::V2_6_38, 1, name.clone()),
        (Source::Trace(path), Work::Trace { importer, .. }) => {
            let name = path
                .file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned();
            let cpus = importer
                .survey()
                .cpus
                .iter()
                .max()
                .map_or(1, |cpu| cpu.saturating_add(1));
            (KernelVersion::V6_1, cpus, name)
        }
        (_, Work::Trace { .. }) => (KernelVersion::V6_1, 1, String::new()),
    }
}

/// log2 of the number of groups: what is asked for, else what explains a capture's inserts.
pub(super) fn htab_bits(work: &Work, config: &RunConfig, pages: Pages) -> Option<u8> {
    match work {
        Work::Trace { importer, .. } if config.htab_bits.is_none() => {
            let explaining = importer.survey().kernel_hint.htab_bits;
            Some(explaining.choose(default_htab_bits(pages)))
        }
        _ => config.htab_bits,
    }
}

/// Base page size: what is asked for, else the source's own. A capture cannot be replayed with another.
pub(super) fn pages(source: &Source, work: &Work, config: &RunConfig) -> Result<Pages, RunError> {
    let (Source::Trace(path), Work::Trace { importer, .. }) = (source, work) else {
        return Ok(config.pages.unwrap_or_default());
    };
    let recorded = importer.page_bytes();
    match Pages::of_bytes(recorded) {
        Some(pages) if config.pages.is_none_or(|asked| asked == pages) => Ok(pages),
        _ => Err(RunError::PageSize {
            name: path.display().to_string(),
            recorded,
        }),
    }
}
