//! One run for each allocation, made to fail: `--fail-alloc each`.
//!
//! Owns the order of the runs and what of each is told: only what the run without a failure does not show
//! too. Refuses to judge a run: its violations, reports and leaks are its own.

use crate::config::{Progress, RunConfig, RunError, Source};
use crate::injection::FailedAllocation;
use crate::leaks::{Accounting, Leak};
use crate::mode::Mode;
use crate::report::RunReport;
use crate::run::run;
use serde::Serialize;

/// Version of the JSON of [`FailEachReport`].
pub const FAIL_EACH_SCHEMA: &str = "ppc-mmu-emu/fail-each/1";

/// What came of making each allocation fail in turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailEachReport {
    /// [`FAIL_EACH_SCHEMA`].
    pub schema: String,
    /// Scenario name, or the trace's file name.
    pub scenario: String,
    /// Policy name.
    pub policy: String,
    /// Kernel layout, `2.6.38` or `6.1`.
    pub kernel: String,
    /// Writer of the hash table, `native` or `lpar`.
    pub backend: String,
    /// Number of CPUs.
    pub cpus: u16,
    /// Seed of every run.
    pub seed: u64,
    /// Allocations of the run without a failure.
    pub allocations: u64,
    /// Runs with one; fewer than `allocations` if a failure made later ones go away.
    pub runs: u64,
    /// Runs that are not clean.
    pub unclean: u64,
    /// Runs that did not give everything back.
    pub leaking: u64,
    /// Runs in which the kernel died.
    pub died: u64,
    /// What the run without a failure shows.
    pub without: Findings,
    /// The runs that are not clean, in order.
    pub failures: Vec<Failure>,
}

impl FailEachReport {
    /// True if any run, the one without a failure included, is not clean.
    pub fn found_violation(&self) -> bool {
        self.unclean > 0 || !self.without.is_clean()
    }
}

/// What of a run is not clean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Names of the rules that were broken.
    pub violations: Vec<String>,
    /// First lines of the kernel's reports, each once.
    pub reports: Vec<String>,
    /// What was not given back.
    pub leaks: Vec<Leak>,
    /// How the kernel died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oops: Option<String>,
}

impl Findings {
    fn of(report: &RunReport) -> Self {
        let mut reports: Vec<String> = Vec::new();
        for one in &report.reports {
            if !reports.contains(&one.message) {
                reports.push(one.message.clone());
            }
        }
        Findings {
            violations: report.violations.iter().map(|v| v.kind.clone()).collect(),
            reports,
            leaks: report.leaks().to_vec(),
            oops: report.oops.clone(),
        }
    }

    /// What is not in `known` too. Reports that differ in the task alone are the same.
    fn beyond(mut self, known: &Findings) -> Self {
        let head = |message: &str| message.split(':').take(2).collect::<Vec<_>>().join(":");
        let kind = |message: &str| match message.split_once(" in preemptible") {
            Some((kind, _)) => kind.to_owned(),
            None => head(message),
        };
        let old: Vec<String> = known.reports.iter().map(|text| kind(text)).collect();
        self.violations.retain(|v| !known.violations.contains(v));
        self.reports.retain(|text| !old.contains(&kind(text)));
        self.leaks.retain(|leak| !known.leaks.contains(leak));
        if known.oops.is_some() {
            self.oops = None;
        }
        self
    }

    /// True if there is nothing.
    pub fn is_clean(&self) -> bool {
        *self == Findings::default()
    }
}

/// A run with a failure that is not clean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Which allocation failed, counted from 1.
    pub nth: u64,
    /// What it was.
    pub failed: FailedAllocation,
    /// What came of it.
    #[serde(flatten)]
    pub findings: Findings,
}

/// Runs once without a failure, then once for each allocation of that run.
///
/// # Errors
/// As [`run`], for the first run that is refused; a scenario that names an allocation to fail itself.
pub fn fail_each(
    source: &Source,
    config: &RunConfig,
    progress: &mut dyn FnMut(Progress),
) -> Result<FailEachReport, RunError> {
    if let Source::File(scenario) = source
        && let Some(nth) = scenario.settings().fail_alloc
    {
        return Err(RunError::Value {
            what: "--fail-alloc",
            value: "each".to_owned(),
            right: format!("the scenario already lets allocation {nth} fail"),
        });
    }
    if config.mode == Mode::Threads {
        return Err(RunError::Value {
            what: "--fail-alloc",
            value: "each".to_owned(),
            right: "the n-th allocation must be the same one in every run, and under `--mode threads` it \
                    need not be; leave that out"
                .to_owned(),
        });
    }
    let with = |fail_alloc| RunConfig {
        fail_alloc,
        leaks: true,
        ..config.clone()
    };
    let base = run(source, &with(None), &mut |_| ())?;
    let allocations = allocations_of(&base);
    let without = Findings::of(&base);
    let mut failures: Vec<Failure> = Vec::new();
    let mut runs = 0;
    for nth in 1..=allocations {
        progress(Progress {
            done: nth - 1,
            total: Some(allocations),
        });
        let report = match run(source, &with(Some(nth)), &mut |_| ()) {
            Ok(report) => report,
            // With other timing a run may make fewer.
            Err(RunError::Value {
                what: "--fail-alloc",
                ..
            }) => continue,
            Err(error) => return Err(error),
        };
        runs += 1;
        let findings = Findings::of(&report).beyond(&without);
        let failed = report.accounting.and_then(|found| found.failed);
        if let (false, Some(failed)) = (findings.is_clean(), failed) {
            failures.push(Failure {
                nth,
                failed,
                findings,
            });
        }
    }
    let count = |which: fn(&Findings) -> bool| {
        let matching = failures.iter().filter(|failure| which(&failure.findings));
        matching.count() as u64
    };
    Ok(FailEachReport {
        schema: FAIL_EACH_SCHEMA.to_owned(),
        scenario: base.scenario,
        policy: base.policy,
        kernel: base.kernel,
        backend: base.backend,
        cpus: base.cpus,
        seed: base.seed,
        allocations,
        runs,
        unclean: failures.len() as u64,
        leaking: count(|findings| !findings.leaks.is_empty()),
        died: count(|findings| findings.oops.is_some()),
        without,
        failures,
    })
}

fn allocations_of(report: &RunReport) -> u64 {
    let Accounting { allocations, .. } = report.accounting.clone().unwrap_or_default();
    allocations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(policy: &str) -> FailEachReport {
        let source = Source::Scenario("swapon-swapoff".to_owned());
        let mut last = None;
        let report = fail_each(&source, &RunConfig::new(policy), &mut |p| last = Some(p)).unwrap();
        assert_eq!(last.and_then(|p| p.total), Some(report.allocations));
        report
    }

    #[test]
    fn a_sound_rule_leaks_nothing_whatever_fails() {
        let report = each("hugh-preempt-fixed");
        // Area, array, 96 pages, a table of each level.
        assert_eq!((report.allocations, report.runs), (101, 101));
        assert_eq!(report.failures, []);
        assert!(!report.found_violation());
    }

    #[test]
    fn the_workaround_as_posted_leaks_where_the_last_table_is_missing() {
        let report = each("hugh-preempt");
        let [failure] = &report.failures[..] else {
            panic!("{:?}", report.failures)
        };
        assert_eq!(failure.nth, 101);
        assert_eq!(failure.failed.function, "apply_to_pte_range");
        assert_eq!(failure.findings.violations, ["unbalanced-preempt"]);
        let leaks: Vec<String> = failure
            .findings
            .leaks
            .iter()
            .map(|l| l.to_string())
            .collect();
        assert_eq!(
            leaks,
            ["1 preempt count, taken by apply_to_pte_range in swapon/3230"]
        );
        assert_eq!((report.leaking, report.unclean, report.died), (1, 1, 0));
    }

    #[test]
    fn what_happens_anyway_is_told_once() {
        let report = each("mmotm");
        assert_eq!(report.without.violations, ["unsafe-per-cpu"]);
        assert_eq!(report.failures, []);
        assert!(report.found_violation());
    }
}
