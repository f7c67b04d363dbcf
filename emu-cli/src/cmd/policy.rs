//! `emu policy`: what policies there are.

use super::print;
use crate::args::PolicyVerb;
use crate::plan::policy_named;
use crate::report::{json, layout};
use anyhow::Result;
use emu_linux::{PolicyInfo, policies};
use serde::Serialize;

/// Version of the JSON of `emu policy list --json`.
const SCHEMA: &str = "ppc-mmu-emu/policies/1";

#[derive(Serialize)]
struct List {
    schema: &'static str,
    policies: Vec<PolicyInfo>,
}

/// Lists the policies or shows one; the exit code.
pub fn policy(verb: &PolicyVerb) -> Result<u8> {
    match verb {
        PolicyVerb::List { json: true } => print(&json::pretty(&List {
            schema: SCHEMA,
            policies: policies(),
        })?),
        PolicyVerb::List { json: false } => print(&names()),
        PolicyVerb::Show { name } => print(&shown(&policy_named(name)?)),
    }
}

fn names() -> String {
    let policies = policies();
    let width = policies
        .iter()
        .map(|policy| policy.name.len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for policy in policies {
        let first = format!("{:width$}  ", policy.name);
        text.push_str(&layout::wrap(policy.origin, &first, &" ".repeat(width + 2)));
    }
    text.push_str("\n`emu policy show NAME` says what one does.\n");
    text
}

fn shown(policy: &PolicyInfo) -> String {
    let about = layout::wrap(policy.about, "", "");
    format!("{}\nfrom {}\n\n{about}", policy.name, policy.origin)
}
