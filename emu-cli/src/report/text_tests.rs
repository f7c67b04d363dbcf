//! Tests of the text of `emu run`, over hand-made reports.

use super::*;
use crate::report::sample;
use emu_linux::report::GroupComparison;
use std::collections::BTreeMap;

#[test]
fn a_run_reads_from_the_title_to_the_cycles() {
    let text = run(&sample::broken(), true);
    let order = [
        "swapon-swapoff  policy mmotm  kernel 2.6.38  machine ppc970  2 CPUs  seed 1\n",
        "4k pages, native hash table of 2^15 groups\nschedule emu1:\n",
        "mapping",
        "batches flushed, entries × how many\n  96×1\n",
        "reports of the kernel: 1 (5 more kept back by the rate limit)\n",
        "  BUG: using smp_processor_id() in preemptible [00000000] code: swapon/3457\n",
        "    caller .apply_to_pte_range+0x118/0x1f0  once\n",
        "violations: 1 rule\n",
        "  unsafe-per-cpu broken 6 times; first on CPU 0 at cycle 12,345 by swapon/3457:\n",
        "    the per-CPU batch is looked up while preemptible\n",
        "    before it, oldest first:\n      lazy enter\n      per-CPU lookup\n",
        "cycles: 15,000\n  CPU 0: 12,000, 1: 3,000\n",
    ];
    let mut at = 0;
    for part in order {
        let found = text[at..].find(part);
        at += found.unwrap_or_else(|| panic!("`{part}` not after byte {at} of\n{text}"));
    }
}

#[test]
fn counters_stand_in_columns() {
    let text = run(&sample::clean(), true);
    let line = |label: &str| text.lines().find(|line| line.contains(label)).unwrap();
    let words: Vec<&str> = line("PTEs set").split_whitespace().collect();
    assert_eq!(words, ["PTEs", "set", "96", "HPTEs", "evicted", "0"]);
    let end = |label: &str| line(label).chars().count();
    assert_eq!(end("hash faults  "), end("HPTEs evicted"));
    assert_eq!(end("migrations"), end("longest preempt-off"));
}

#[test]
fn equal_reports_are_counted_under_their_message() {
    let mut report = sample::broken();
    let mut other = report.reports[0].clone();
    other.caller = ".hpte_need_flush+0x1/0x2".to_owned();
    report.reports.extend([report.reports[0].clone(), other]);
    let text = run(&report, true);
    assert_eq!(text.matches("BUG: using").count(), 1);
    let times = |caller: &str| text.lines().find(|line| line.contains(caller)).unwrap();
    assert!(times(".apply_to_pte_range").ends_with(" twice"));
    assert!(times(".hpte_need_flush").ends_with(" once"));
}

#[test]
fn a_kernel_that_died_is_told() {
    let mut report = sample::broken();
    assert!(!run(&report, true).contains("the kernel died"));
    report.oops = Some("store to 0x10 faults".to_owned());
    assert!(run(&report, true).contains("\nthe kernel died: store to 0x10 faults\n"));
}

#[test]
fn the_cycle_stack_is_largest_first_and_without_zeros() {
    let text = run(&sample::clean(), true);
    let at = |name: &str| text.rfind(name).unwrap();
    assert!(at("  tlbie wait ") < at("  other ") && at("  other ") < at("  ptesync "));
    assert!(text.contains("50.0%") && !text.contains("  slb "));
}

#[test]
fn nothing_found_and_nothing_checked_differ() {
    let report = sample::clean();
    assert!(run(&report, true).contains("violations: none\n"));
    assert!(run(&report, false).contains("violations: not checked\n"));
}

#[test]
fn segments_list_their_batches_in_order() {
    assert_eq!(sizes(&[192, 192, 128, 1]), "192×2 128 1");
    assert_eq!(sizes(&(0..20).collect::<Vec<_>>()), "0 1 2 3 4 5 6 7 ...");
    let mut report = sample::clean();
    report.segments = vec![Segment {
        name: "swapon".to_owned(),
        counters: report.counters.clone(),
        batches: vec![96],
    }];
    let text = run(&report, true);
    let line = text
        .lines()
        .find(|line| line.starts_with("swapon "))
        .unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["swapon", "96", "0", "0", "1", "0", "96"]);
}

#[test]
fn a_replay_says_what_differs_from_its_capture() {
    let mut report = sample::clean();
    report.groups = Some(GroupComparison {
        matched: 95,
        mismatched: 1,
    });
    report.trace = Some(TraceReport {
        operations: 1200,
        malformed_lines: 1,
        malformed_first: vec!["line 7: no event name".to_owned()],
        anomalies: BTreeMap::from([("free of nothing".to_owned(), 3)]),
        notes: vec!["no allocations were recorded".to_owned()],
        recorded: BTreeMap::from([("tlbie".to_owned(), 97), ("vfree".to_owned(), 4)]),
        differences: BTreeMap::from([("tlbie".to_owned(), (97, 96))]),
    });
    let text = run(&report, true);
    for part in [
        "hash groups: 95 of 96 inserts are in the recorded group, 1 in another\n",
        "trace: 1,200 operations, 1 bad line\n  line 7: no event name\n",
        "  free of nothing: 3\n  note: no allocations were recorded\n",
        "  of 2 recorded counts, 1 is replayed the same\n",
    ] {
        assert!(text.contains(part), "`{part}` not in\n{text}");
    }
    let differs = text
        .lines()
        .filter(|line| line.starts_with("  tlbie "))
        .collect::<Vec<_>>();
    let words: Vec<&str> = differs.last().unwrap().split_whitespace().collect();
    assert_eq!(words, ["tlbie", "97", "96"]);
}

#[test]
fn a_long_schedule_is_left_to_json() {
    let mut report = sample::clean();
    report.schedule = Some(format!("emu1:{}", "1.1,".repeat(1000)));
    assert!(run(&report, true).contains("schedule of 4,005 characters (see --json)"));
    report.schedule = None;
    assert!(run(&report, true).contains("schedule too long"));
}

#[test]
fn a_task_name_cannot_steer_the_terminal() {
    let mut report = sample::broken();
    report.reports[0].comm = "a\u{1b}[2J".to_owned();
    assert!(!run(&report, true).contains('\u{1b}'));
}
