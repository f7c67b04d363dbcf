//! `emu compare` as text: a table of the policies, then a paragraph on each.

use super::layout::{count, grouped, printable, ratio, table, wrap};
use super::text::title;
use super::verdict::verdict;
use emu_linux::{CompareReport, RunReport};

const HEAD: [&str; 8] = [
    "policy",
    "cycles",
    "x cheapest",
    "tlbie",
    "preempt off",
    "irqs off",
    "reports",
    "violations",
];

/// The whole comparison; `checked` says whether the invariants were.
pub fn text(report: &CompareReport, checked: bool) -> String {
    // A kernel that died early saved no cycles. The first of equal ones: the order asked for decides.
    let Some(cheapest) = report
        .runs
        .iter()
        .min_by_key(|run| (run.oops.is_some(), run.cycles.total))
    else {
        return format!("{}: no policy was run\n", printable(&report.scenario));
    };
    let policies = count(report.runs.len() as u64, "policy", "policies");
    let mut text = title(cheapest, &policies);
    text.push('\n');
    let rows = report.runs.iter().map(|run| row(run, cheapest, checked));
    text.push_str(&table(&HEAD, rows, "lr"));
    text.push_str(
        "\npreempt off, irqs off: the longest span with preemption or interrupts off, in cycles, idle\n\
         excluded. reports: printed (+ kept back by the rate limit).\n",
    );
    for run in &report.runs {
        text.push('\n');
        text.push_str(&wrap(&verdict(run, cheapest, checked), "", "  "));
    }
    printable(&text)
}

fn row(run: &RunReport, cheapest: &RunReport, checked: bool) -> Vec<String> {
    let reports = match run.reports_suppressed {
        0 => grouped(run.reports.len() as u64),
        more => format!("{} (+{})", grouped(run.reports.len() as u64), grouped(more)),
    };
    let violations: u64 = run.violations.iter().map(|violation| violation.count).sum();
    let found = match (checked, &run.oops) {
        (false, _) => "unchecked".to_owned(),
        (true, None) => grouped(violations),
        (true, Some(_)) => format!("{} (died)", grouped(violations)),
    };
    vec![
        run.policy.clone(),
        grouped(run.cycles.total),
        ratio(run.cycles.total, cheapest.cycles.total),
        grouped(run.counters.tlbie),
        grouped(run.counters.preempt_off_cycles_max),
        grouped(run.counters.irqs_off_cycles_max),
        reports,
        found,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn compared(runs: Vec<RunReport>) -> CompareReport {
        let schema = emu_linux::COMPARE_SCHEMA.to_owned();
        CompareReport {
            schema,
            scenario: "swapon-swapoff".to_owned(),
            runs,
        }
    }

    fn cells<'a>(text: &'a str, policy: &str) -> Vec<&'a str> {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{policy} ")))
            .unwrap();
        line.split_whitespace().collect()
    }

    #[test]
    fn each_policy_has_a_row_and_a_paragraph() {
        let text = text(&compared(vec![sample::broken(), sample::clean()]), true);
        let broken = [
            "mmotm", "15,000", "1.50", "96", "1,500", "700", "1", "(+5)", "6",
        ];
        assert_eq!(cells(&text, "mmotm"), broken);
        let clean = [
            "mainline-6.1",
            "10,000",
            "1.00",
            "96",
            "1,500",
            "700",
            "0",
            "0",
        ];
        assert_eq!(cells(&text, "mainline-6.1"), clean);
        assert!(
            text.contains("\nmmotm: breaks") && text.contains("\nmainline-6.1: breaks no rule")
        );
        assert!(text.starts_with("swapon-swapoff  2 policies  kernel 2.6.38"));
    }

    #[test]
    fn unchecked_runs_are_marked() {
        let text = text(&compared(vec![sample::clean()]), false);
        assert_eq!(cells(&text, "mainline-6.1").last(), Some(&"unchecked"));
    }

    #[test]
    fn a_kernel_that_died_is_marked() {
        let mut run = sample::broken();
        run.oops = Some("bad access".to_owned());
        run.cycles.total = 1000;
        let text = text(&compared(vec![run, sample::clean()]), true);
        assert!(cells(&text, "mmotm").ends_with(&["6", "(died)"]));
        assert_eq!(
            cells(&text, "mmotm")[2],
            "0.10",
            "measured by the one that lived"
        );
    }

    #[test]
    fn no_run_is_no_panic() {
        assert_eq!(
            text(&compared(Vec::new()), true),
            "swapon-swapoff: no policy was run\n"
        );
    }
}
