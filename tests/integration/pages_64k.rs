//! Kernels with 64K pages: every scenario, both kernels, both writers of the table, HPTEs of both sizes.

use crate::support::{captures, kinds, made_on, operations, policy_names, replay_as, scenario};
use ppc_mmu_emu::linux::{
    Backend, KernelVersion, Pages, RunConfig, RunError, RunReport, ScheduleChoice, Source, run,
};

const SCENARIOS: [&str; 6] = [
    "swapon-swapoff",
    "vmalloc-pairs",
    "vmalloc-random",
    "user-random",
    "user-mprotect",
    "test_vmalloc",
];
/// Policies whose hooks report that they look the batch up while preemptible.
const REPORTING: [&str; 4] = ["mmotm", "switch-flush", "rt", "no-power-batch-naive"];

fn config(policy: &str, kernel: KernelVersion) -> RunConfig {
    RunConfig {
        kernel: Some(kernel),
        pages: Some(Pages::K64),
        ..RunConfig::new(policy)
    }
}

/// Runs a scenario on two CPUs under a random schedule, with pieces where the CPU could do without too.
fn preempted(name: &str, repeats: u64, config: RunConfig, pieces: bool) -> RunReport {
    let config = RunConfig {
        hpte_pages: pieces.then_some(Pages::K4),
        cpus: Some(2),
        schedule: ScheduleChoice::Random,
        operations: operations(name, repeats),
        ..config
    };
    scenario(name, &config)
}

fn matrix(name: &str) {
    for kernel in KernelVersion::ALL {
        for backend in Backend::ALL {
            // Without 64K pages in the CPU there are pieces anyway.
            for pieces in [false, kernel == KernelVersion::V6_1] {
                let config = RunConfig {
                    backend,
                    ..config("mainline-6.16-fixed", kernel)
                };
                let report = preempted(name, 24, config, pieces);
                // mprotect sets a PTE again while its flush waits, by design and under every policy.
                let expected: &[&str] = match name {
                    "user-mprotect" => &["batch-escape", "lost-flush"],
                    _ => &[],
                };
                let what = format!("{name} {kernel:?} {backend:?} {pieces}");
                assert_eq!(kinds(&report), expected, "{what}: {:?}", report.violations);
                assert_eq!(
                    (report.oops, report.pages.as_str()),
                    (None, "64k"),
                    "{what}"
                );
                assert!(report.counters.hpte_inserts > 0, "{what}");
            }
        }
    }
}

#[test]
fn every_scenario_but_the_random_ones_of_users() {
    for name in [
        "swapon-swapoff",
        "vmalloc-pairs",
        "vmalloc-random",
        "test_vmalloc",
    ] {
        matrix(name);
    }
}

#[test]
fn the_random_scenarios_of_users() {
    for name in ["user-random", "user-mprotect"] {
        matrix(name);
    }
}

#[test]
fn every_policy_with_pieces() {
    for policy in policy_names() {
        let report = preempted(
            "vmalloc-random",
            24,
            config(policy, KernelVersion::V6_1),
            true,
        );
        let expected: &[&str] = match REPORTING.contains(&policy) {
            true => &["unsafe-per-cpu"],
            false => &[],
        };
        assert_eq!(
            kinds(&report),
            expected,
            "{policy}: {:?}",
            report.violations
        );
        assert_eq!(report.oops, None, "{policy}");
    }
}

#[test]
fn a_swap_map_of_one_page_is_flushed_by_the_single_page_path() {
    for kernel in KernelVersion::ALL {
        let report = scenario("swapon-swapoff", &config("mmotm", kernel));
        assert_eq!(report.counters.batch_sizes.get(&1), Some(&1), "{kernel:?}");
        // So the sixth report of 2011, in the range routine, is not there.
        assert_eq!(report.reports.len(), 5, "{kernel:?}");
        let adding = report
            .kernel_log
            .iter()
            .any(|line| line.contains("Adding 1572800k swap"));
        assert!(adding, "{kernel:?}: {:?}", report.kernel_log);
    }
}

#[test]
fn sections_of_16_mib_give_192_and_64() {
    let (file, _) = made_on("powernv-64k", "table").swap_remove(0);
    for (backend, pieces) in [(Backend::Native, None), (Backend::Lpar, Some(Pages::K4))] {
        let config = RunConfig {
            backend,
            hpte_pages: pieces,
            ..RunConfig::new("mainline-6.16-fixed")
        };
        let report = replay_as(&captures().join(&file), &config);
        let whole = report
            .segments
            .iter()
            .find(|s| s.name.starts_with("seq 4096"));
        let batches = &whole.expect("the segment").batches;
        assert_eq!(batches.iter().sum::<u64>(), 4096);
        let inner = &batches[2..batches.len() - 1];
        assert!(inner.len() > 28 && inner.chunks_exact(2).all(|pair| pair == [192, 64]));
        assert_eq!(kinds(&report), [""; 0]);
    }
}

#[test]
fn sizes_that_do_not_go_together_are_refused() {
    let refused = |source: &Source, config: &RunConfig| {
        let error = run(source, config, &mut |_| ()).expect_err("refused");
        (error.to_string(), matches!(error, RunError::Value { .. }))
    };
    let swap = Source::Scenario(SCENARIOS[0].to_owned());
    for (pages, hpte_pages, kernel, words) in [
        (None, Pages::K4, KernelVersion::V6_1, "--pages 64k"),
        (
            Some(Pages::K4),
            Pages::K64,
            KernelVersion::V6_1,
            "--pages 64k",
        ),
        (
            Some(Pages::K64),
            Pages::K64,
            KernelVersion::V2_6_38,
            "no 64K pages",
        ),
    ] {
        let config = RunConfig {
            pages,
            hpte_pages: Some(hpte_pages),
            ..config("mmotm", kernel)
        };
        let (said, value) = refused(&swap, &config);
        assert!(
            value && said.contains("--hpte-pages") && said.contains(words),
            "{said}"
        );
    }
    let (file, _) = made_on("powernv-64k", "table").swap_remove(0);
    let config = RunConfig {
        pages: Some(Pages::K4),
        ..RunConfig::new("mainline-6.1")
    };
    let (said, _) = refused(&Source::Trace(captures().join(&file)), &config);
    assert!(
        said.contains("65536-byte pages") && said.contains("without `--pages`"),
        "{said}"
    );
}
