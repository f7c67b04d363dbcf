//! `emu trace`: what a capture holds, and how to make one.

use super::print;
use crate::args::TraceVerb;
use crate::report::{capture, json};
use anyhow::Result;
use emu_linux::trace::{Importer, Survey};
use serde::Serialize;

/// Version of the JSON of `emu trace info --json`.
const SCHEMA: &str = "ppc-mmu-emu/trace/1";

#[derive(Serialize)]
struct Info<'a> {
    schema: &'static str,
    #[serde(flatten)]
    survey: &'a Survey,
    warnings: Vec<String>,
}

/// Surveys a capture or prints the recipe; the exit code.
pub fn trace(verb: &TraceVerb) -> Result<u8> {
    match verb {
        TraceVerb::Recipe => print(emu_linux::trace::recipe()),
        TraceVerb::Info { file, json } => {
            let importer = Importer::open(file)?;
            let survey = importer.survey();
            print(&if *json {
                pretty(survey)?
            } else {
                capture::text(survey)
            })
        }
    }
}

fn pretty(survey: &Survey) -> Result<String> {
    let warnings = survey.warnings().iter().map(ToString::to_string).collect();
    json::pretty(&Info {
        schema: SCHEMA,
        survey,
        warnings,
    })
}
