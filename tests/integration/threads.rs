//! The threaded engine under the kernel model: what must hold holds, what must break breaks, and one CPU
//! does what it does under the deterministic engine.

use ppc_mmu_emu::linux::{
    FirmwareFeature, KernelVersion, Mode, RunConfig, RunReport, ScheduleChoice, Source, fail_each,
    run, scenarios,
};

fn go(scenario: &str, config: &RunConfig) -> RunReport {
    let source = Source::Scenario(scenario.to_owned());
    run(&source, config, &mut |_| ()).unwrap_or_else(|error| panic!("{scenario}: {error}"))
}

fn threads(policy: &str, cpus: u16, operations: u64) -> RunConfig {
    RunConfig {
        mode: Mode::Threads,
        cpus: Some(cpus),
        operations: Some(operations),
        ..RunConfig::new(policy)
    }
}

/// A run in which nothing may break.
fn clean(scenario: &str, config: &RunConfig) -> RunReport {
    let report = go(scenario, config);
    let what = format!("{scenario} {config:?}");
    assert_eq!(report.violations, [], "{what}");
    assert_eq!(report.oops, None, "{what}");
    assert_eq!(report.entries_queued, report.entries_flushed, "{what}");
    assert_eq!(
        (report.mode.as_str(), report.schedule.is_none()),
        ("threads", report.cpus > 1)
    );
    report
}

const SAFE: [&str; 5] = [
    "hugh-preempt-fixed",
    "apply-ptl",
    "no-power-batch",
    "mainline-6.1",
    "mainline-6.16-fixed",
];

#[test]
fn one_cpu_does_the_same_under_both_engines() {
    for scenario in scenarios() {
        for schedule in [ScheduleChoice::Clocked, ScheduleChoice::Random] {
            let with = |mode| RunConfig {
                mode,
                schedule: schedule.clone(),
                cpus: Some(1),
                operations: Some(10),
                ..RunConfig::new("mmotm")
            };
            let sized = |mut config: RunConfig| {
                // These do not repeat.
                if scenario.name.starts_with("swapon") {
                    (config.operations, config.touch) = (None, Some(20));
                }
                go(scenario.name, &config)
            };
            let alone = sized(with(Mode::Deterministic));
            let mut threaded = sized(with(Mode::Threads));
            assert_eq!(threaded.mode, "threads");
            threaded.mode.clone_from(&alone.mode);
            assert_eq!(threaded, alone, "{} {schedule:?}", scenario.name);
        }
    }
}

#[test]
fn safe_policies_break_nothing_on_any_number_of_cpus() {
    for policy in SAFE {
        for cpus in [1, 2, 4, 8] {
            clean("user-random", &threads(policy, cpus, 150));
            clean("vmalloc-random", &threads(policy, cpus, 40));
        }
    }
}

#[test]
fn tasks_go_from_thread_to_thread() {
    for policy in ["mainline-6.1", "hugh-preempt-fixed"] {
        let config = RunConfig {
            timer_period: Some(20_000),
            migrate_every: Some(1),
            ..threads(policy, 4, 300)
        };
        let report = clean("user-random", &config);
        assert!(report.counters.migrations > 100, "{:?}", report.counters);
    }
}

#[test]
fn unchecked_runs_overlap_and_end() {
    for (scenario, cpus) in [("user-random", 4), ("vmalloc-random", 8)] {
        let config = RunConfig {
            check: false,
            ..threads("mainline-6.1", cpus, 500)
        };
        let report = go(scenario, &config);
        assert_eq!(report.oops, None);
        assert!(!report.checked);
        assert!(report.counters.need_flush > 0);
    }
}

#[test]
fn a_hypervisors_table_is_shared_by_threads_too() {
    use ppc_mmu_emu::linux::Backend;
    let config = RunConfig {
        backend: Backend::Lpar,
        kernel: Some(KernelVersion::V6_1),
        firmware_feature: Some(FirmwareFeature::BlockRemove),
        ..threads("mainline-6.1", 4, 200)
    };
    clean("user-random", &config);
}

#[test]
fn unsafe_policies_break_rules_on_threads() {
    let found = (1..=40).find(|&seed| {
        let config = RunConfig {
            seed,
            schedule: ScheduleChoice::Random,
            timer_period: Some(20_000),
            ..threads("mmotm", 2, 300)
        };
        let report = go("vmalloc-random", &config);
        let flushes = ["batch-escape", "stale-translation", "lost-flush"];
        let mut broken = report.violations.iter().map(|v| v.kind.as_str());
        broken.any(|kind| flushes.contains(&kind))
    });
    assert!(found.is_some(), "no flush of mmotm goes wrong");

    // Which allocation comes 101st is the host's choice, but the error path it is in is one of the same few.
    let found = (95..=110).find(|&nth| {
        let config = RunConfig {
            fail_alloc: Some(nth),
            mode: Mode::Threads,
            cpus: Some(2),
            ..RunConfig::new("hugh-preempt")
        };
        let report = go("swapon-swapoff", &config);
        let mut broken = report.violations.iter().map(|v| v.kind.as_str());
        broken.any(|kind| kind == "unbalanced-preempt")
    });
    assert!(
        found.is_some(),
        "no error path of hugh-preempt leaks a count"
    );
}

#[test]
fn what_needs_a_repeatable_order_is_refused() {
    let source = Source::Scenario("vmalloc-random".to_owned());
    let replayed = RunConfig {
        schedule: ScheduleChoice::Replay("emu1:1.1".parse().unwrap()),
        ..threads("mmotm", 2, 10)
    };
    let refused = run(&source, &replayed, &mut |_| ())
        .unwrap_err()
        .to_string();
    assert!(refused.contains("deterministic engine only"), "{refused}");
    let refused = fail_each(&source, &threads("mmotm", 1, 10), &mut |_| ()).unwrap_err();
    assert!(
        refused.to_string().contains("`--mode threads`"),
        "{refused}"
    );
}
