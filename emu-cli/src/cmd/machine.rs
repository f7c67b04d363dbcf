//! `emu machine`: what machines there are and what is known of each.

use super::print;
use crate::args::ProfileVerb;
use crate::plan::machine_named;
use crate::report::{json, layout};
use anyhow::{Result, bail};
use emu_linux::MachineProfile;
use serde::Serialize;

/// Version of the JSON of `emu machine list --json`.
const LIST_SCHEMA: &str = "ppc-mmu-emu/machines/1";
/// Version of the JSON of `emu machine show --json`.
const SHOW_SCHEMA: &str = "ppc-mmu-emu/machine/1";

#[derive(Serialize)]
struct List {
    schema: &'static str,
    machines: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    about: String,
    figures: u64,
    estimates: u64,
}

#[derive(Serialize)]
struct Shown<'a> {
    schema: &'static str,
    name: &'a str,
    about: &'a str,
    figures: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    path: String,
    about: &'a str,
    value: u64,
    unit: &'a str,
    source: &'a str,
    estimate: bool,
}

/// Lists or shows; the exit code.
pub fn machine(verb: ProfileVerb) -> Result<u8> {
    match verb {
        ProfileVerb::List { json: true } => print(&json::pretty(&List {
            schema: LIST_SCHEMA,
            machines: listed()?,
        })?),
        ProfileVerb::List { json: false } => print(&list()?),
        ProfileVerb::Show {
            machine,
            set,
            toml,
            json,
        } => {
            let name = machine.to_string_lossy();
            if toml {
                return match MachineProfile::builtin_text(&name) {
                    Some(text) => print(text),
                    None => {
                        bail!("`--toml` prints a built-in machine; `emu machine list` names them")
                    }
                };
            }
            let mut profile = machine_named(&machine)?;
            for change in &set {
                profile.set(change)?;
            }
            match json {
                true => print(&json::pretty(&Shown {
                    schema: SHOW_SCHEMA,
                    name: profile.name(),
                    about: profile.about(),
                    figures: rows(&profile),
                })?),
                false => print(&shown(&profile)),
            }
        }
    }
}

fn listed() -> Result<Vec<Listed>> {
    let one = |name: &&str| {
        let profile = MachineProfile::builtin(name)?;
        Ok(Listed {
            name: profile.name().to_owned(),
            about: profile.about().to_owned(),
            figures: profile.figures().count() as u64,
            estimates: profile.figures().filter(|(_, f)| f.is_estimate()).count() as u64,
        })
    };
    MachineProfile::NAMES.iter().map(one).collect()
}

fn list() -> Result<String> {
    let mut text = String::new();
    for machine in listed()? {
        let first = format!("{:6}  ", machine.name);
        let told = format!(
            "{} ({} figures, {} of them estimates)",
            machine.about, machine.figures, machine.estimates
        );
        text.push_str(&layout::wrap(&told, &first, "        "));
    }
    text.push_str("\n`emu machine show NAME` prints the figures of one with their sources.\n");
    Ok(text)
}

fn rows(profile: &MachineProfile) -> Vec<Row<'_>> {
    let figures = profile.figures().map(|(key, figure)| Row {
        path: key.path.to_owned(),
        about: key.about.trim().trim_end_matches('.'),
        value: figure.value,
        unit: key.unit.name(),
        source: &figure.source,
        estimate: figure.is_estimate(),
    });
    let functions = profile.functions().map(|(name, figure)| Row {
        path: format!("functions.{name}"),
        about: "straight-line instructions of the function",
        value: figure.value,
        unit: "instructions",
        source: &figure.source,
        estimate: figure.is_estimate(),
    });
    figures.chain(functions).collect()
}

fn shown(profile: &MachineProfile) -> String {
    let mut text = layout::wrap(profile.about(), &format!("{}: ", profile.name()), "  ");
    text.push('\n');
    let rows = rows(profile).into_iter().map(|row| {
        vec![
            row.path,
            row.value.to_string(),
            row.unit.to_owned(),
            row.source.to_owned(),
        ]
    });
    text.push_str(&layout::table(
        &["figure", "value", "unit", "source"],
        rows,
        "lrll",
    ));
    text.push_str("\n`--set PATH=VALUE` changes one for a run.\n");
    text
}
