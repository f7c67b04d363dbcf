//! What each policy does to the work of 2011, and the options that tell some of them apart.

use crate::support::{kinds, policy_names, scenario};
use ppc_mmu_emu::linux::{PolicyFile, Preempt, RunConfig, RunReport, ScheduleChoice};

fn swap(policy: &str) -> RunReport {
    scenario("swapon-swapoff", &RunConfig::new(policy))
}

/// (policy, reports, batches, pages flushed alone) of swapon and swapoff.
const SWAP: [(&str, usize, u64, u64); 17] = [
    ("mmotm", 6, 1, 0),
    ("no-kernel-batch", 0, 0, 96),
    ("hugh-preempt", 0, 1, 0),
    ("hugh-preempt-fixed", 0, 1, 0),
    ("kernel-ptl", 0, 1, 0),
    ("apply-ptl", 0, 1, 0),
    ("switch-flush", 6, 1, 0),
    ("switch-flush-sound", 0, 1, 0),
    ("rt", 6, 1, 0),
    ("no-power-batch", 0, 0, 96),
    ("no-power-batch-naive", 4, 0, 96),
    ("preemptible-guard", 0, 0, 96),
    ("mm-argument", 0, 0, 96),
    ("mainline-6.1", 0, 0, 96),
    ("mainline-6.16", 0, 1, 0),
    ("mainline-6.16-fixed", 0, 1, 0),
    ("mainline-7.0", 0, 1, 0),
];

#[test]
fn reports_and_batches_of_every_policy_on_the_work_of_2011() {
    assert_eq!(SWAP.map(|(name, ..)| name), *policy_names());
    for (policy, reports, batches, single) in SWAP {
        let report = swap(policy);
        let counters = &report.counters;
        let found = (
            report.reports.len(),
            counters.batch_flushes,
            counters.single_flushes,
        );
        assert_eq!(found, (reports, batches, single), "{policy}");
        assert_eq!(counters.tlbie, 96, "{policy}");
        let unsafe_lookups = kinds(&report).contains(&"unsafe-per-cpu");
        assert_eq!(unsafe_lookups, reports > 0, "{policy}");
    }
}

#[test]
fn a_page_that_cannot_be_mapped_leaks_a_preempt_count_in_6_16_until_it_was_fixed() {
    for (policy, leaks) in [
        ("mainline-6.16", true),
        ("mainline-6.16-fixed", false),
        ("mainline-7.0", false),
        ("switch-flush-sound", false),
    ] {
        let config = RunConfig {
            fail_map: Some(10),
            ..RunConfig::new(policy)
        };
        let report = scenario("swapon-swapoff", &config);
        let leaked = kinds(&report).contains(&"unbalanced-preempt");
        assert_eq!(leaked, leaks, "{policy}");
    }
}

#[test]
fn a_missing_table_is_found_before_enter_in_6_16() {
    for policy in ["mainline-6.16", "mainline-6.16-fixed", "mainline-7.0"] {
        let config = RunConfig {
            fail_alloc: Some(101),
            ..RunConfig::new(policy)
        };
        let report = scenario("swapon-swapoff", &config);
        assert_eq!(kinds(&report), [""; 0], "{policy}");
    }
}

#[test]
fn without_preemption_nothing_is_reported_and_the_guard_batches() {
    for (policy, ..) in SWAP {
        let config = RunConfig {
            preempt: Preempt::None,
            ..RunConfig::new(policy)
        };
        let report = scenario("swapon-swapoff", &config);
        assert_eq!(report.reports, [], "{policy}");
        assert_eq!(kinds(&report), [""; 0], "{policy}");
        assert_eq!(report.counters.preemptions, 0, "{policy}");
        assert_eq!(report.counters.preempt_off_cycles_max, 0, "{policy}");
        assert_eq!(report.preempt, "none");
        if policy == "preemptible-guard" {
            let counters = &report.counters;
            assert_eq!((counters.batch_flushes, counters.single_flushes), (1, 0));
        }
    }
}

#[test]
fn without_preemption_mmotm_breaks_nothing_and_tasks_still_take_turns() {
    let mut switches = 0;
    for (cpus, seed) in [(1, 1), (2, 2), (4, 3)] {
        let config = RunConfig {
            preempt: Preempt::None,
            cpus: Some(cpus),
            seed,
            operations: Some(300),
            schedule: ScheduleChoice::Random,
            ..RunConfig::new("mmotm")
        };
        let report = scenario("vmalloc-random", &config);
        assert_eq!(kinds(&report), [""; 0], "{cpus} CPUs");
        assert_eq!(report.counters.preemptions, 0);
        switches += report.counters.context_switches;
    }
    assert!(switches > 30, "{switches}");
}

#[test]
fn a_composition_runs_as_its_parts() {
    let text = include_str!("../../traces/policies/hooks-of-6.1.toml");
    let file = PolicyFile::parse(text).unwrap();
    let config = RunConfig {
        policy_file: Some(file.clone()),
        ..RunConfig::new(file.name())
    };
    let report = scenario("swapon-swapoff", &config);
    assert_eq!(report.policy, "hooks-of-6.1");
    assert_eq!(
        (report.reports.len(), report.counters.batch_flushes),
        (0, 1)
    );
    assert_eq!(kinds(&report), [""; 0]);
}
