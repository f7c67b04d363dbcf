//! What disturbs a run changes it, in the same way each time, and breaks no rule that holds without.

use crate::support::{captures, kinds, operations, replay_as, scenario};
use ppc_mmu_emu::linux::{KernelVersion, Preempt, RunConfig, RunError, Source, run, scenarios};

fn disturbed(policy: &str, cpus: u16) -> RunConfig {
    RunConfig {
        cpus: Some(cpus),
        timer_period: Some(20_000),
        migrate_every: (cpus > 1).then_some(2),
        ..RunConfig::new(policy)
    }
}

fn with_operations(name: &str, n: u64, config: RunConfig) -> RunConfig {
    RunConfig {
        operations: operations(name, n),
        ..config
    }
}

#[test]
fn a_fast_timer_preempts_and_takes_time() {
    let name = "vmalloc-random";
    let calm = scenario(
        name,
        &with_operations(name, 200, RunConfig::new("mainline-6.1")),
    );
    let fast = scenario(
        name,
        &with_operations(name, 200, disturbed("mainline-6.1", 1)),
    );
    assert!(
        fast.counters.preemptions > 10 + 10 * calm.counters.preemptions,
        "{} {}",
        fast.counters.preemptions,
        calm.counters.preemptions
    );
    assert!(fast.cycles.stack["interrupts"] > calm.cycles.stack["interrupts"]);
    assert_eq!(fast.counters.vmalloc, calm.counters.vmalloc);
}

#[test]
fn tasks_are_moved_and_the_seed_says_where() {
    let run_with = |seed: u64, every: Option<u64>| {
        let config = RunConfig {
            seed,
            migrate_every: every,
            ..with_operations("vmalloc-pairs", 300, disturbed("mainline-6.1", 4))
        };
        scenario("vmalloc-pairs", &config)
    };
    let calm = run_with(1, None);
    let (first, again, other) = (
        run_with(1, Some(2)),
        run_with(1, Some(2)),
        run_with(2, Some(2)),
    );
    // Once at most: an idle CPU may take it when it is new.
    assert!(calm.counters.migrations < 2, "one task on a CPU of its own");
    assert!(
        first.counters.migrations > 20,
        "{}",
        first.counters.migrations
    );
    assert!(run_with(1, Some(8)).counters.migrations < first.counters.migrations / 2);
    assert_eq!(first, again, "the same seed, the same bytes");
    assert_ne!(
        first.cycles.per_cpu, other.cycles.per_cpu,
        "another seed, other CPUs"
    );
}

#[test]
fn every_scenario_bears_them_under_a_safe_policy() {
    for info in scenarios() {
        // Two break a rule by what they do.
        if ["user-mprotect", "kasan-populate"].contains(&info.name) {
            continue;
        }
        for (kernel, preempt) in [
            (KernelVersion::V2_6_38, Preempt::Full),
            (KernelVersion::V6_1, Preempt::Full),
            (KernelVersion::V6_1, Preempt::None),
        ] {
            let config = RunConfig {
                kernel: Some(kernel),
                preempt,
                ..with_operations(info.name, 30, disturbed("mainline-6.16-fixed", 3))
            };
            let report = scenario(info.name, &config);
            assert_eq!(
                kinds(&report),
                Vec::<&str>::new(),
                "{} {kernel:?}",
                info.name
            );
            assert_eq!(report.oops, None, "{} {kernel:?}", info.name);
            assert_eq!(report, scenario(info.name, &config), "{}", info.name);
        }
    }
}

#[test]
fn a_capture_bears_them_and_counts_the_same() {
    let path = captures().join("swap-powernv-4k-mmotm-vzalloc.txt.gz");
    let calm = replay_as(&path, &RunConfig::new("mainline-6.16-fixed"));
    let report = replay_as(&path, &disturbed("mainline-6.16-fixed", 2));
    assert!(report.counters.migrations > calm.counters.migrations);
    assert!(report.counters.preemptions > calm.counters.preemptions);
    assert_eq!(report.counters.need_flush, calm.counters.need_flush);
    assert_eq!(report.counters.ptes_cleared, calm.counters.ptes_cleared);
    assert_eq!(kinds(&report), Vec::<&str>::new());
}

#[test]
fn the_rule_of_2011_loses_flushes_where_tasks_are_moved() {
    let report = scenario(
        "vmalloc-random",
        &with_operations("vmalloc-random", 600, disturbed("mmotm", 2)),
    );
    assert!(
        kinds(&report).contains(&"lost-flush"),
        "{:?}",
        kinds(&report)
    );
}

#[test]
fn what_would_do_nothing_is_refused() {
    let source = Source::Scenario("vmalloc-pairs".into());
    for (config, words) in [
        (
            RunConfig {
                cpus: Some(1),
                migrate_every: Some(2),
                ..disturbed("mmotm", 1)
            },
            "--cpus 2",
        ),
        (
            RunConfig {
                pin: true,
                ..disturbed("mmotm", 2)
            },
            "--pin",
        ),
        (
            RunConfig {
                migrate_every: Some(0),
                ..disturbed("mmotm", 2)
            },
            "1 or more",
        ),
        (
            RunConfig {
                timer_period: Some(9_999),
                ..disturbed("mmotm", 1)
            },
            "from 10000",
        ),
    ] {
        let refused = run(&source, &config, &mut |_| ()).unwrap_err();
        assert!(matches!(refused, RunError::Value { .. }));
        assert!(refused.to_string().contains(words), "{refused}");
    }
}
