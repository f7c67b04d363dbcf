//! `emu trace`: what a capture holds, its compact form, and how to make one.

use super::print;
use crate::args::{GenArgs, TraceVerb};
use crate::output::{Place, stream};
use crate::progress::Bar;
use crate::report::layout::{count, printable};
use crate::report::{capture, json};
use anyhow::{Context, Result, bail};
use emu_linux::Progress;
use emu_linux::trace::generate::{Generator, Workload};
use emu_linux::trace::{Format, Importer, PreExisting, Survey, TraceOp, emut};
use serde::Serialize;
use std::fs::File;
use std::path::Path;

/// Version of the JSON of `emu trace info --json`.
const SCHEMA: &str = "ppc-mmu-emu/trace/1";
/// Operations between two looks at the bar.
const BAR_STEP: u64 = 1024;

#[derive(Serialize)]
struct Info<'a> {
    schema: &'static str,
    format: Format,
    #[serde(flatten)]
    survey: &'a Survey,
    warnings: Vec<String>,
}

/// A line of `emu trace cat --json` for an area from before the capture.
#[derive(Serialize)]
struct Existing<'a> {
    existing: &'a PreExisting,
}

/// Does what a verb asks; the exit code.
pub fn trace(verb: &TraceVerb) -> Result<u8> {
    match verb {
        TraceVerb::Recipe => print(emu_linux::trace::recipe()),
        TraceVerb::Info { file, json } => {
            let importer = Importer::open(file)?;
            print(&if *json {
                pretty(&importer)?
            } else {
                capture::text(importer.survey(), importer.format())
            })
        }
        TraceVerb::Cat { file, json } => cat(file, *json),
        TraceVerb::Import { file, output } => import(file, output),
        TraceVerb::Gen(args) => generate(args),
    }
}

fn pretty(importer: &Importer) -> Result<String> {
    let survey = importer.survey();
    let warnings = survey.warnings().iter().map(ToString::to_string).collect();
    json::pretty(&Info {
        schema: SCHEMA,
        format: importer.format(),
        survey,
        warnings,
    })
}

fn cat(file: &Path, json: bool) -> Result<u8> {
    let importer = Importer::open(file)?;
    let existing = importer.survey().pre_existing.iter();
    let existing = existing.map(|area| existing_line(area, json));
    let ops = importer.ops()?.map(|op| op_line(&op?, json));
    stream(existing.chain(ops))?;
    Ok(0)
}

fn existing_line(area: &PreExisting, json: bool) -> Result<String> {
    let PreExisting {
        start,
        end,
        size_bytes,
    } = area;
    match json {
        true => Ok(serde_json::to_string(&Existing { existing: area })?),
        false => Ok(format!(
            "0 - existing start={start:#x} end={end:#x} size={size_bytes}"
        )),
    }
}

fn op_line(op: &TraceOp, json: bool) -> Result<String> {
    match json {
        true => Ok(serde_json::to_string(op)?),
        false => Ok(printable(&op.to_string()).replace('\n', "\\u{a}")),
    }
}

fn import(file: &Path, output: &Path) -> Result<u8> {
    let place = Place::check(output)?;
    if let Some(path) = place.path()
        && std::fs::canonicalize(file).is_ok_and(|file| file == path)
    {
        bail!(
            "`{}` is the capture itself; write elsewhere",
            path.display()
        );
    }
    let importer = Importer::open(file)?;
    if importer.format() == Format::Emut {
        bail!("`{}` is an .emut file already", file.display());
    }
    let name = output.display().to_string();
    let mut operations = 0;
    let mut bar = Bar::new("import".to_owned());
    let bytes = place.write_file(|out| {
        emut::write(out, &name, &importer, &mut |done| {
            operations = done;
            step(&mut bar, done, None);
        })?;
        Ok(())
    });
    drop(bar);
    written(&name, operations, bytes?)
}

fn generate(args: &GenArgs) -> Result<u8> {
    let place = Place::check(&args.output)?;
    let generator = Generator::new(Workload {
        tasks: args.tasks,
        operations: args.operations,
        pages_max: args.pages_max,
        seed: args.seed,
    })?;
    let name = args.output.display().to_string();
    let mut bar = Bar::new("gen".to_owned());
    let bytes = place.write_file(|out: &mut File| {
        let survey = generator.survey();
        let page_bytes = survey.page_bytes.context("a workload has a page size")?;
        let mut writer = emut::Writer::new(out, &name, &survey, page_bytes)?;
        for op in generator {
            writer.push(&op)?;
            step(&mut bar, writer.operations(), Some(args.operations));
        }
        writer.finish()?;
        Ok(())
    });
    drop(bar);
    written(&name, args.operations, bytes?)
}

fn step(bar: &mut Bar, done: u64, total: Option<u64>) {
    if done.is_multiple_of(BAR_STEP) {
        bar.update(Progress { done, total });
    }
}

fn written(name: &str, operations: u64, bytes: u64) -> Result<u8> {
    let operations = count(operations, "operation", "operations");
    let bytes = count(bytes, "byte", "bytes");
    print(&printable(&format!("{name}: {operations}, {bytes}\n")))
}
