//! `emu scenario`: what is built in, and whether files are right.

use super::{EXIT_ERROR, print};
use crate::args::ScenarioVerb;
use crate::plan::{no_scenario, scenario_text};
use crate::report::{json, layout};
use anyhow::Result;
use emu_linux::{Scenario, ScenarioInfo, scenarios};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Version of the JSON of `emu scenario list --json`.
const SCHEMA: &str = "ppc-mmu-emu/scenarios/1";

#[derive(Serialize)]
struct List {
    schema: &'static str,
    scenarios: Vec<ScenarioInfo>,
}

/// Lists, shows or checks; the exit code.
pub fn scenario(verb: &ScenarioVerb) -> Result<u8> {
    match verb {
        ScenarioVerb::List { json: true } => print(&json::pretty(&List {
            schema: SCHEMA,
            scenarios: scenarios(),
        })?),
        ScenarioVerb::List { json: false } => print(&list()),
        ScenarioVerb::Show { name } => match Scenario::built_in(name) {
            Some(scenario) => print(scenario.text()),
            None => Err(no_scenario(name).into()),
        },
        ScenarioVerb::Check { files } => check(files),
    }
}

fn list() -> String {
    let scenarios = scenarios();
    let width = scenarios
        .iter()
        .map(|scenario| scenario.name.len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for scenario in scenarios {
        let first = format!("{:width$}  ", scenario.name);
        let wrapped = layout::wrap(scenario.about, &first, &" ".repeat(width + 2));
        text.push_str(&wrapped);
    }
    text.push_str("\n`emu scenario show NAME` prints the file of one.\n");
    text
}

/// What is right goes to standard output, what is wrong to standard error, in the order of the files.
fn check(files: &[PathBuf]) -> Result<u8> {
    let mut code = 0;
    for file in files {
        let errors = match check_one(file) {
            Ok(line) => {
                print(&line)?;
                continue;
            }
            Err(errors) => errors,
        };
        code = EXIT_ERROR;
        for error in errors {
            let told = layout::printable(&format!("error: {}: {error}", file.display()));
            // Nobody is left to tell if standard error is closed.
            let _ = writeln!(std::io::stderr(), "{told}");
        }
    }
    Ok(code)
}

fn check_one(file: &Path) -> Result<String, Vec<String>> {
    let text = scenario_text(file).map_err(|error| vec![format!("{error:#}")])?;
    match Scenario::parse(&text) {
        Ok(scenario) => Ok(layout::printable(&format!(
            "{}: scenario {}, workload {}\n",
            file.display(),
            scenario.name(),
            scenario.workload(),
        ))),
        Err(errors) => Err(errors.all().iter().map(ToString::to_string).collect()),
    }
}
