//! Kernels whose spinlocks sleep (`--preempt rt`): what a page-table lock no longer does there, and what is
//! reported where preemption is off all the same.

use crate::support::{kinds, operations, policy_names, scenario};
use ppc_mmu_emu::core::Schedule;
use ppc_mmu_emu::linux::{
    Backend, KernelVersion, Preempt, RunConfig, RunReport, ScheduleChoice, scenarios,
};

fn rt(policy: &str, kernel: KernelVersion) -> RunConfig {
    RunConfig {
        kernel: Some(kernel),
        preempt: Preempt::Rt,
        ..RunConfig::new(policy)
    }
}

fn first_lines(report: &RunReport) -> Vec<&str> {
    let reports = report.reports.iter();
    reports.map(|report| report.message.as_str()).collect()
}

/// A lock that sleeps keeps nobody from being preempted: the sections under one report as mmotm's do.
#[test]
fn a_page_table_lock_does_not_keep_preemption_off() {
    for (policy, kernel, reports) in [
        ("kernel-ptl", KernelVersion::V2_6_38, 6),
        ("apply-ptl", KernelVersion::V2_6_38, 6),
        ("rt", KernelVersion::V2_6_38, 6),
        // The lock binds the task to its CPU there, and that is enough for the check.
        ("kernel-ptl", KernelVersion::V6_1, 0),
        ("rt", KernelVersion::V6_1, 0),
        ("mmotm", KernelVersion::V6_1, 5),
        ("hugh-preempt-fixed", KernelVersion::V2_6_38, 0),
        ("mainline-7.0", KernelVersion::V2_6_38, 0),
    ] {
        let report = scenario("swapon-swapoff", &rt(policy, kernel));
        assert_eq!(report.reports.len(), reports, "{policy} {kernel:?}");
        assert_eq!(report.preempt, "rt");
        let full = scenario(
            "swapon-swapoff",
            &RunConfig {
                preempt: Preempt::Full,
                ..rt(policy, kernel)
            },
        );
        assert_eq!(report.counters.tlbie, full.counters.tlbie, "{policy}");
    }
    let long = |preempt| {
        let config = RunConfig {
            preempt,
            ..RunConfig::new("apply-ptl")
        };
        let counters = scenario("swapon-swapoff", &config).counters;
        counters.preempt_off_cycles_max
    };
    assert!(long(Preempt::Rt) < long(Preempt::Full) / 2);
}

/// User sections too: hooks without protection of their own lose what they relied on.
#[test]
fn user_sections_are_preemptible() {
    let run = |policy: &str, preempt| {
        let config = RunConfig {
            cpus: Some(2),
            preempt,
            schedule: ScheduleChoice::Random,
            operations: Some(300),
            ..RunConfig::new(policy)
        };
        scenario("user-random", &config)
    };
    for policy in ["no-kernel-batch", "no-power-batch", "mm-argument"] {
        assert_eq!(kinds(&run(policy, Preempt::Full)), Vec::<&str>::new());
        let broken = run(policy, Preempt::Rt);
        assert!(kinds(&broken).contains(&"unsafe-per-cpu"), "{policy}");
    }
    for policy in [
        "mainline-6.1",
        "mainline-7.0",
        "switch-flush-sound",
        "preemptible-guard",
    ] {
        assert_eq!(
            kinds(&run(policy, Preempt::Rt)),
            Vec::<&str>::new(),
            "{policy}"
        );
    }
    // The guard finds every section preemptible, so nothing is batched.
    assert_eq!(
        run("preemptible-guard", Preempt::Rt).counters.batch_flushes,
        0
    );
}

#[test]
fn a_lock_that_sleeps_is_reported_where_preemption_is_off() {
    for (kernel, place) in [
        (KernelVersion::V2_6_38, "kernel/rtmutex.c:684"),
        (KernelVersion::V6_1, "kernel/locking/spinlock_rt.c:46"),
    ] {
        // A table that cannot be allocated leaves preemption off; the next lock may not sleep.
        let config = RunConfig {
            fail_alloc: Some(101),
            ..rt("hugh-preempt", kernel)
        };
        let report = scenario("swapon-swapoff", &config);
        let lines = first_lines(&report);
        let asleep = format!("BUG: sleeping function called from invalid context at {place}");
        assert_eq!(lines[0], asleep, "{kernel:?}");
        assert!(
            lines[1].starts_with("BUG: scheduling while atomic: swapon/"),
            "{lines:?}"
        );
        assert!(report.reports_suppressed > 0, "one a second");
        let log = report.kernel_log.join("\n");
        assert!(log.contains("in_atomic(): 1, irqs_disabled(): 0"), "{log}");
    }
}

/// pSeries_lpar_tlbie_lock is no raw lock, and a batch may be flushed with preemption off.
#[test]
fn the_lock_of_the_hypervisor_calls_sleeps_and_that_of_tlbie_does_not() {
    let of = |backend| {
        let config = RunConfig {
            backend,
            ..rt("hugh-preempt-fixed", KernelVersion::V2_6_38)
        };
        scenario("swapon-swapoff", &config)
    };
    assert!(first_lines(&of(Backend::Lpar))[0].starts_with("BUG: sleeping function"));
    assert!(of(Backend::Native).reports.is_empty());
}

/// With locks that sleep. The hooks of `rt` are plain; in 6.1 the lock binds its owner to the CPU, so that
/// they find the same batch after a switch, which has flushed it.
fn is_safe(policy: &str, kernel: KernelVersion) -> bool {
    ["mainline-6.1", "mainline-6.16-fixed", "mainline-7.0"].contains(&policy)
        || policy == "rt" && kernel == KernelVersion::V6_1
}

#[test]
fn what_the_lock_binds_to_its_cpu_is_safe_on_random_work() {
    for (seed, backend) in [(1, Backend::Native), (2, Backend::Lpar)] {
        for name in ["vmalloc-random", "user-random"] {
            for kernel in KernelVersion::ALL {
                let config = RunConfig {
                    cpus: Some(2),
                    seed,
                    backend,
                    operations: Some(400),
                    timer_period: Some(20_000),
                    migrate_every: Some(2),
                    schedule: ScheduleChoice::Random,
                    ..rt("rt", kernel)
                };
                let report = scenario(name, &config);
                let found = kinds(&report);
                if is_safe("rt", kernel) {
                    assert_eq!(found, Vec::<&str>::new(), "{name} {config:?}");
                    assert!(report.counters.batch_flushes > 0);
                } else {
                    assert!(found.contains(&"unsafe-per-cpu"), "{name} {found:?}");
                }
            }
        }
    }
}

#[test]
fn every_scenario_runs_under_every_policy() {
    for info in scenarios() {
        for policy in policy_names() {
            for kernel in KernelVersion::ALL {
                let config = RunConfig {
                    cpus: Some(2),
                    operations: operations(info.name, 12),
                    timer_period: Some(20_000),
                    migrate_every: Some(2),
                    ..rt(policy, kernel)
                };
                let report = scenario(info.name, &config);
                let broken = ["user-mprotect", "kasan-populate"].contains(&info.name);
                if is_safe(policy, kernel) && !broken {
                    assert_eq!(kinds(&report), Vec::<&str>::new(), "{} {policy}", info.name);
                    assert_eq!(report.oops, None);
                }
            }
        }
    }
}

#[test]
fn the_same_seed_and_a_recorded_schedule_give_the_same_bytes() {
    let config = RunConfig {
        cpus: Some(3),
        schedule: ScheduleChoice::Random,
        operations: Some(60),
        ..rt("rt", KernelVersion::V6_1)
    };
    let first = scenario("vmalloc-random", &config);
    assert_eq!(first, scenario("vmalloc-random", &config));
    assert!(first.counters.preemptions > 0);
    if let Some(text) = &first.schedule {
        let recorded: Schedule = text.parse().unwrap();
        let again = RunConfig {
            schedule: ScheduleChoice::Replay(recorded),
            ..config
        };
        assert_eq!(first, scenario("vmalloc-random", &again));
    }
}
