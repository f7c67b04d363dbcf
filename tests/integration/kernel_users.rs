//! The users of kernel page tables besides vmalloc, and what making each of their allocations fail shows.

use crate::support::{kinds, policy_names, scenario};
use ppc_mmu_emu::linux::{
    Backend, FailEachReport, KernelVersion, Pages, Preempt, RunConfig, Source, fail_each,
};

/// The scenarios, KASAN's apart.
const USERS: [&str; 4] = ["vm-map-ram", "ioremap", "alloc-vm-area", "module-load"];

fn each_machine(mut with: impl FnMut(RunConfig)) {
    for kernel in KernelVersion::ALL {
        for backend in Backend::ALL {
            for (cpus, pages) in [(1, Pages::K4), (2, Pages::K4), (2, Pages::K64)] {
                with(RunConfig {
                    kernel: Some(kernel),
                    pages: Some(pages),
                    backend,
                    cpus: Some(cpus),
                    operations: Some(60),
                    leaks: true,
                    ..RunConfig::new("mainline-6.16-fixed")
                });
            }
        }
    }
}

#[test]
fn every_user_gives_back_what_it_took_and_breaks_nothing() {
    each_machine(|config| {
        for name in USERS {
            let report = scenario(name, &config);
            assert_eq!(kinds(&report), [""; 0], "{name} {config:?}");
            assert_eq!(report.reports, [], "{name} {config:?}");
            assert_eq!(report.leaks(), [], "{name} {config:?}");
            let counters = &report.counters;
            assert_eq!(
                counters.ptes_set, counters.ptes_cleared,
                "{name} {config:?}"
            );
            assert!(counters.hpte_invalidations > 60, "{name} {config:?}");
        }
    });
}

#[test]
fn only_what_batches_vmalloc_batches_vm_map_ram_and_ioremap() {
    for (policy, vmalloc) in [("mainline-6.1", false), ("mainline-6.16-fixed", true)] {
        for (name, always) in [
            ("vm-map-ram", false),
            ("ioremap", false),
            ("alloc-vm-area", true),
            ("module-load", true),
        ] {
            let config = RunConfig {
                operations: Some(60),
                ..RunConfig::new(policy)
            };
            let batches = scenario(name, &config).counters.batch_flushes;
            assert_eq!(batches > 0, vmalloc || always, "{name} under {policy}");
        }
    }
}

fn kasan(policy: &str, kernel: KernelVersion) -> RunConfig {
    RunConfig {
        kernel: Some(kernel),
        operations: Some(60),
        ..RunConfig::new(policy)
    }
}

#[test]
fn a_callback_that_allocates_sleeps_where_preemption_is_off() {
    for (policy, off) in [
        ("mainline-6.1", true),
        ("hugh-preempt-fixed", true),
        ("no-power-batch", false),
        ("preemptible-guard", false),
    ] {
        let report = scenario("kasan-populate", &kasan(policy, KernelVersion::V2_6_38));
        let said = |head: &str| report.reports.iter().any(|r| r.message.starts_with(head));
        assert_eq!(said("BUG: sleeping function called"), off, "{policy}");
        assert_eq!(said("BUG: scheduling while atomic"), off, "{policy}");
        let broken = kinds(&report).contains(&"unbalanced-preempt");
        assert_eq!(broken, off, "{policy}");
        // 6.1.y allocates before the walk.
        let report = scenario("kasan-populate", &kasan(policy, KernelVersion::V6_1));
        assert_eq!(report.reports, [], "{policy}");
        assert!(!kinds(&report).contains(&"unbalanced-preempt"), "{policy}");
    }
}

#[test]
fn a_callback_that_takes_the_lock_waits_for_itself_where_the_rule_holds_it() {
    for policy in ["apply-ptl", "kernel-ptl"] {
        for kernel in KernelVersion::ALL {
            let report = scenario("kasan-populate", &kasan(policy, kernel));
            let last = report.reports.last().expect("a report");
            assert!(
                last.message
                    .starts_with("BUG: spinlock recursion on CPU#0, kasan/"),
                "{policy}: {}",
                last.message
            );
            assert!(
                report.oops.is_some() && report.found_violation(),
                "{policy}"
            );
        }
    }
}

#[test]
fn shadow_is_freed_while_its_flush_waits_wherever_kernel_sections_batch() {
    for (policy, batches) in [
        ("mainline-6.1", true),
        ("mainline-7.0", true),
        ("no-power-batch", false),
        ("preemptible-guard", false),
    ] {
        let report = scenario("kasan-populate", &kasan(policy, KernelVersion::V6_1));
        let lost = kinds(&report).contains(&"lost-flush");
        assert_eq!(lost, batches, "{policy}");
    }
}

fn each(name: &str, operations: Option<u64>, config: RunConfig) -> FailEachReport {
    let source = Source::Scenario(name.to_owned());
    let config = RunConfig {
        operations,
        ..config
    };
    fail_each(&source, &config, &mut |_| ()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn nothing_leaks_whatever_fails_but_where_history_has_it() {
    for policy in policy_names() {
        for (name, operations) in [("ioremap", 2), ("vmalloc-pairs", 2), ("module-load", 1)] {
            let report = each(name, Some(operations), RunConfig::new(policy));
            assert!(
                report.runs >= 4 && report.runs <= report.allocations,
                "{name}"
            );
            assert_eq!((report.died, report.without.leaks.len()), (0, 0), "{name}");
            // The table that is missing for apply_to_pte_range, after preempt_disable.
            let leaks = policy == "hugh-preempt";
            assert_eq!(report.leaking > 0, leaks, "{name} {policy}: {report:?}");
            for failure in &report.failures {
                assert_eq!(
                    failure.failed.function, "apply_to_pte_range",
                    "{name} {policy}"
                );
                let leak = &failure.findings.leaks[0];
                assert_eq!(leak.what, "preempt count");
                assert_eq!(leak.function, "apply_to_pte_range");
            }
        }
    }
}

#[test]
fn processes_survive_each_failure() {
    for (name, operations) in [("user-random", 12), ("vm-map-ram", 3), ("alloc-vm-area", 2)] {
        for kernel in KernelVersion::ALL {
            let config = RunConfig {
                kernel: Some(kernel),
                ..RunConfig::new("mainline-6.16-fixed")
            };
            let report = each(name, Some(operations), config);
            assert!(report.runs > 20, "{name}");
            assert!(!report.found_violation(), "{name}: {report:?}");
        }
    }
}

#[test]
fn a_page_that_cannot_be_mapped_leaves_lazy_mode_on_in_6_16() {
    for (policy, leaks) in [
        ("mainline-6.16", &["lazy MMU mode", "preempt count"][..]),
        ("mainline-6.16-fixed", &[]),
        ("mainline-7.0", &[]),
    ] {
        for preempt in Preempt::ALL {
            let config = RunConfig {
                fail_map: Some(10),
                preempt,
                ..RunConfig::new(policy)
            };
            let report = scenario("swapon-swapoff", &config);
            let found: Vec<&str> = report.leaks().iter().map(|l| l.what.as_str()).collect();
            // Nothing is counted where preempt_disable is nothing.
            let counted = preempt != Preempt::None;
            let expected = leaks
                .iter()
                .filter(|what| counted || **what != "preempt count");
            assert_eq!(found, expected.copied().collect::<Vec<_>>(), "{policy}");
        }
    }
}
