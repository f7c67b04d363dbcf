//! What came of litmus tests, as herd7 and litmus7 tell it (Alglave, Maranget and Tautschnig, "Herding
//! Cats", 2014).

use emu_linux::litmus::{Claim, Outcome};
use serde::Serialize;
use std::fmt::Write;

/// The JSON of a run of tests.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    /// Name and version of this layout.
    schema: &'static str,
    /// Tests whose claim holds.
    ok: usize,
    /// Tests whose claim does not.
    no: usize,
    /// Each test.
    tests: Vec<Test<'a>>,
}

#[derive(Debug, Serialize)]
struct Test<'a> {
    holds: bool,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

impl<'a> Document<'a> {
    /// The document of these outcomes.
    pub fn new(outcomes: &'a [Outcome]) -> Self {
        let test = |outcome: &'a Outcome| Test {
            holds: outcome.holds(),
            outcome,
        };
        let ok = outcomes.iter().filter(|outcome| outcome.holds()).count();
        Document {
            schema: "ppc-mmu-emu/litmus/1",
            ok,
            no: outcomes.len() - ok,
            tests: outcomes.iter().map(test).collect(),
        }
    }
}

/// The outcomes for people.
pub fn text(outcomes: &[Outcome]) -> String {
    let told: Vec<String> = outcomes.iter().map(one).collect();
    let mut text = told.join("\n");
    if outcomes.len() > 1 {
        let ok = outcomes.iter().filter(|outcome| outcome.holds()).count();
        let no = outcomes.len() - ok;
        let schedules: u64 = outcomes.iter().map(schedules).fold(0, u64::saturating_add);
        let _ = writeln!(
            text,
            "\n{} tests: {ok} Ok, {no} No; {schedules} schedules",
            outcomes.len()
        );
    }
    text
}

fn schedules(outcome: &Outcome) -> u64 {
    let ended = outcome.positive.saturating_add(outcome.negative);
    ended.saturating_add(outcome.unfinished)
}

fn one(outcome: &Outcome) -> String {
    let (positive, negative) = (outcome.positive, outcome.negative);
    let kind = match outcome.claim {
        Claim::Exists => "Allowed",
        Claim::Forbidden => "Forbidden",
    };
    let mut text = String::new();
    let _ = writeln!(text, "Test {} {kind}", outcome.name);
    let _ = writeln!(text, "States {}", outcome.states.len());
    let counts = outcome
        .states
        .iter()
        .map(|state| state.schedules.to_string());
    let width = counts.map(|count| count.len()).max().unwrap_or(0);
    for state in &outcome.states {
        let sign = if state.witness { '*' } else { ':' };
        let seen = state
            .seen
            .iter()
            .map(|(place, value)| format!("{place}={value};"));
        let seen: Vec<String> = seen.collect();
        let _ = writeln!(
            text,
            "{:>width$} {sign}> {}",
            state.schedules,
            seen.join(" ")
        );
    }
    let _ = writeln!(text, "{}", if outcome.holds() { "Ok" } else { "No" });
    let _ = writeln!(text, "Witnesses");
    let _ = writeln!(text, "Positive: {positive} Negative: {negative}");
    let _ = writeln!(text, "Condition {} {}", outcome.claim, outcome.condition);
    let how = match (positive, negative) {
        (0, _) => "Never",
        (_, 0) => "Always",
        _ => "Sometimes",
    };
    let _ = writeln!(
        text,
        "Observation {} {how} {positive} {negative}",
        outcome.name
    );
    let _ = writeln!(
        text,
        "Schedules {}, by {} runs on {}",
        schedules(outcome),
        outcome.runs,
        match outcome.cpus {
            1 => "1 CPU".to_owned(),
            cpus => format!("{cpus} CPUs"),
        }
    );
    if outcome.unfinished > 0 {
        let _ = writeln!(
            text,
            "Unfinished {}: their tasks wait for ever",
            outcome.unfinished
        );
    }
    text
}
