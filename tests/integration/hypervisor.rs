//! A hash table that a hypervisor owns: captures of a kernel under one replay exactly, call for call.

use crate::captures::compare;
use crate::support::{captures, kinds, operations, pseries_4k, scenario};
use ppc_mmu_emu::linux::{
    Backend, FirmwareFeature, KernelVersion, RunConfig, RunReport, ScheduleChoice, Source, run,
};
use std::collections::BTreeMap;

type Calls = BTreeMap<String, u64>;

/// The calls recorded in each segment without user activity: file and name -> calls.
fn recorded() -> BTreeMap<(String, String), Calls> {
    let text = std::fs::read_to_string(captures().join("segments.json")).expect("segments.json");
    let all: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    let idle = |segment: &&serde_json::Value| {
        ["uinsert", "ubatches", "uentries"]
            .iter()
            .all(|key| segment[key] == 0)
    };
    let named = |segment: &serde_json::Value| {
        let text = |key: &str| segment[key].as_str().expect("a string").to_owned();
        let calls = segment["hcalls"].as_object().expect("a map");
        let calls = calls
            .iter()
            .map(|(name, n)| (name.clone(), n.as_u64().expect("a count")));
        ((text("file"), text("name")), calls.collect())
    };
    all.iter().filter(idle).map(named).collect()
}

/// One H_ENTER an insert; H_REMOVE for a page flushed alone or a batch of one; else four to a call.
fn by_rule(inserts: u64, single: u64, batches: impl IntoIterator<Item = u64>) -> Calls {
    let mut calls = [
        ("H_ENTER", inserts),
        ("H_REMOVE", single),
        ("H_BULK_REMOVE", 0),
    ];
    for size in batches {
        match size {
            1 => calls[1].1 += 1,
            _ => calls[2].1 += size.div_ceil(4),
        }
    }
    let made = calls.into_iter().filter(|(_, n)| *n > 0);
    made.map(|(name, n)| (name.to_owned(), n)).collect()
}

/// Every call of the run, segment by segment and in all.
fn calls_are_the_recorded_ones(file: &str, report: &RunReport) -> usize {
    let recorded = recorded();
    let mut compared = 0;
    for segment in &report.segments {
        let c = &segment.counters;
        let rule = by_rule(c.hpte_inserts, c.single_flushes, segment.batches.clone());
        assert_eq!(c.hcalls, rule, "{file} {}", segment.name);
        if let Some(calls) = recorded.get(&(file.to_owned(), segment.name.clone())) {
            assert_eq!(&c.hcalls, calls, "{file} {}", segment.name);
            compared += 1;
        }
    }
    let c = &report.counters;
    let batches = c
        .batch_sizes
        .iter()
        .flat_map(|(size, n)| vec![*size; *n as usize]);
    assert_eq!(
        c.hcalls,
        by_rule(c.hpte_inserts, c.single_flushes, batches),
        "{file}"
    );
    assert_eq!((c.tlbie, c.tlbiel, c.hpte_evictions), (0, 0, 0), "{file}");
    assert_eq!(c.hpte_invalidations, c.hpte_inserts, "{file}");
    let stack = &report.cycles.stack;
    assert!(
        stack["hypercalls"] > 0 && stack["tlbie"] > 0,
        "{file}: the hypervisor's work costs"
    );
    assert_eq!(report.backend, "lpar", "{file}");
    compared
}

#[test]
fn table_captures() {
    for (file, report) in compare(pseries_4k("table"), 1) {
        assert_eq!(calls_are_the_recorded_ones(&file, &report), 9);
    }
}

#[test]
fn variants_captures() {
    for (file, report) in compare(pseries_4k("variants"), 2) {
        assert_eq!(calls_are_the_recorded_ones(&file, &report), 7);
    }
}

#[test]
fn swap_captures() {
    for (file, report) in compare(pseries_4k("swap"), 2) {
        calls_are_the_recorded_ones(&file, &report);
    }
}

#[test]
fn the_six_reports_with_the_hypervisors_own_sixth() {
    let config = RunConfig {
        kernel: Some(KernelVersion::V6_1),
        backend: Backend::Lpar,
        touch: Some(96),
        ..RunConfig::new("mmotm")
    };
    let report = scenario("swapon-swapoff", &config);
    let native = scenario(
        "swapon-swapoff",
        &RunConfig {
            backend: Backend::Native,
            ..config
        },
    );
    let callers = |report: &RunReport| -> Vec<String> {
        let name = |r: &ppc_mmu_emu::linux::report::KernelReport| r.caller.clone();
        report.reports.iter().map(name).collect()
    };
    let (lpar, native) = (callers(&report), callers(&native));
    assert_eq!(lpar.len(), 6, "{lpar:?}");
    assert_eq!(lpar[..5], native[..5]);
    assert_eq!(lpar[5], ".pSeries_lpar_flush_hash_range+0x54/0x530");
    assert!(
        native[5].starts_with(".native_flush_hash_range+"),
        "{native:?}"
    );
    assert_eq!(kinds(&report), ["unsafe-per-cpu"]);
    assert_eq!(report.counters.hcalls["H_BULK_REMOVE"], 24);
}

#[test]
fn the_old_kernel_makes_the_same_calls() {
    let config = RunConfig {
        backend: Backend::Lpar,
        ..RunConfig::new("mmotm")
    };
    let report = scenario("swapon-swapoff", &config);
    let callers: Vec<&str> = report.reports.iter().map(|r| r.caller.as_str()).collect();
    assert_eq!((report.kernel.as_str(), callers.len()), ("2.6.38", 6));
    assert!(
        callers[5].starts_with(".pSeries_lpar_flush_hash_range"),
        "{callers:?}"
    );
    let c = &report.counters;
    assert_eq!(c.hcalls, by_rule(c.hpte_inserts, c.single_flushes, [96]));
    assert_eq!(c.tlbie, 0);
}

/// A call for each aligned block of eight pages that a batch has pages of, where the firmware has
/// H_BLOCK_REMOVE; a batch of one goes by H_REMOVE as ever.
#[test]
fn pages_of_one_block_go_in_one_call() {
    let run = |feature, name: &str, policy: &str| {
        let config = RunConfig {
            kernel: Some(KernelVersion::V6_1),
            backend: Backend::Lpar,
            firmware_feature: feature,
            operations: operations(name, 2000),
            touch: (name == "swapon-swapoff").then_some(96),
            schedule: ScheduleChoice::Random,
            cpus: Some(2),
            ..RunConfig::new(policy)
        };
        scenario(name, &config)
    };
    let feature = Some(FirmwareFeature::BlockRemove);
    let swap = run(feature, "swapon-swapoff", "mainline-6.16-fixed");
    let plain = run(None, "swapon-swapoff", "mainline-6.16-fixed");
    // 96 pages: twelve blocks if the first is aligned, else thirteen.
    let calls = swap.counters.hcalls["H_BLOCK_REMOVE"];
    assert!((12..=13).contains(&calls), "{calls}");
    assert_eq!(plain.counters.hcalls["H_BULK_REMOVE"], 24);
    assert!(!swap.counters.hcalls.contains_key("H_BULK_REMOVE"));
    assert!(!plain.counters.hcalls.contains_key("H_BLOCK_REMOVE"));
    assert_eq!(
        swap.counters.hpte_invalidations,
        plain.counters.hpte_invalidations
    );
    assert!(swap.cycles.stack["hypercalls"] < plain.cycles.stack["hypercalls"]);
    for policy in ["mainline-6.1", "mainline-6.16-fixed"] {
        let random = run(feature, "user-random", policy);
        assert!(random.counters.hcalls["H_BLOCK_REMOVE"] > 0, "{policy}");
        assert_eq!(kinds(&random), [""; 0], "{policy}");
        assert_eq!(random.oops, None);
    }
}

#[test]
fn a_feature_that_the_kernel_would_not_use_is_refused() {
    for (kernel, backend, right) in [
        (KernelVersion::V6_1, Backend::Native, "--backend lpar"),
        (KernelVersion::V2_6_38, Backend::Lpar, "--kernel 6.1"),
    ] {
        let config = RunConfig {
            kernel: Some(kernel),
            backend,
            firmware_feature: Some(FirmwareFeature::BlockRemove),
            ..RunConfig::new("mmotm")
        };
        let source = Source::Scenario("swapon-swapoff".to_owned());
        let refused = run(&source, &config, &mut |_| {}).unwrap_err().to_string();
        assert!(refused.contains(right), "{refused}");
    }
}
