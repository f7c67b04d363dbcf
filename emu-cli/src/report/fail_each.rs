//! `emu run --fail-alloc each` as text.
//!
//! Owns the order and wording. What is not clean is the library's to say. Failures with the same outcome
//! stand together.

use super::layout::{count, grouped, printable, wrap};
use emu_linux::{FailEachReport, Failure, Findings};

/// Numbers of failing allocations that are printed for one outcome.
const NUMBERS_MAX: usize = 12;

/// The whole report; `checked` says whether the invariants were.
pub fn text(report: &FailEachReport, checked: bool) -> String {
    let cpus = count(report.cpus.into(), "CPU", "CPUs");
    let mut text = format!(
        "{}  policy {}  kernel {}  {} hash table  {cpus}  seed {}\n\n",
        report.scenario, report.policy, report.kernel, report.backend, report.seed,
    );
    if !checked {
        text.push_str("violations: not checked\n");
    }
    text.push_str(&format!(
        "{}, each made to fail once: {}\n",
        count(report.allocations, "allocation", "allocations"),
        count(report.runs, "run", "runs"),
    ));
    text.push_str(&format!(
        "not clean {}  leaking {}  died {}\n",
        grouped(report.unclean),
        grouped(report.leaking),
        grouped(report.died),
    ));
    if !report.without.is_clean() {
        text.push_str("\nwithout a failure, and so left out below:\n");
        text.push_str(&findings(&report.without));
    }
    for group in grouped_by_outcome(&report.failures) {
        text.push('\n');
        text.push_str(&outcome(&group));
    }
    printable(&text)
}

/// Failures of one kind with one outcome, in order.
fn grouped_by_outcome(failures: &[Failure]) -> Vec<Vec<&Failure>> {
    let mut groups: Vec<Vec<&Failure>> = Vec::new();
    for failure in failures {
        let same = |group: &&mut Vec<&Failure>| {
            let first = group[0];
            (&first.failed.kind, &first.failed.function, &first.findings)
                == (
                    &failure.failed.kind,
                    &failure.failed.function,
                    &failure.findings,
                )
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(failure),
            None => groups.push(vec![failure]),
        }
    }
    groups
}

fn outcome(group: &[&Failure]) -> String {
    let Some(first) = group.first() else {
        return String::new();
    };
    let shown = group.iter().take(NUMBERS_MAX);
    let mut numbers: Vec<String> = shown.map(|failure| failure.nth.to_string()).collect();
    if group.len() > NUMBERS_MAX {
        numbers.push(format!("... {} in all", grouped(group.len() as u64)));
    }
    let what = format!(
        "no {} for {} (--fail-alloc {}):",
        first.failed.kind,
        first.failed.function,
        numbers.join(", ")
    );
    wrap(&what, "", "  ") + &findings(&first.findings)
}

fn findings(found: &Findings) -> String {
    let mut text = String::new();
    for leak in &found.leaks {
        text.push_str(&wrap(&leak.to_string(), "  leak: ", "    "));
    }
    for rule in &found.violations {
        text.push_str(&format!("  broken: {rule}\n"));
    }
    for report in &found.reports {
        text.push_str(&wrap(report, "  report: ", "    "));
    }
    if let Some(oops) = &found.oops {
        text.push_str(&wrap(oops, "  the kernel died: ", "    "));
    }
    text
}
