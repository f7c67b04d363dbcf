//! Hand-made reports for the tests of texts.

use emu_linux::report::{
    CounterValues, CycleReport, KernelReport, RUN_SCHEMA, RunReport, ViolationDetail,
    ViolationReport,
};
use std::collections::BTreeMap;

/// A run that broke nothing.
pub fn clean() -> RunReport {
    let counters = CounterValues {
        vmalloc: 1,
        ptes_set: 96,
        batch_flushes: 1,
        batched_entries: 96,
        tlbie: 96,
        preempt_off_cycles_max: 1500,
        irqs_off_cycles_max: 700,
        batch_sizes: BTreeMap::from([(96, 1)]),
        ..CounterValues::default()
    };
    let stack = [
        ("instructions", 4000),
        ("tlbie", 1000),
        ("tlbie_wait", 4000),
        ("ptesync", 1000),
        ("slb", 0),
    ];
    let parts = [
        ("other", 3000),
        ("pte_write", 1000),
        ("tlbie_issue", 0),
        ("tlbie_wait", 5000),
        ("ptesync", 1000),
        ("slb", 0),
    ];
    let cycles = CycleReport {
        total: 10_000,
        per_cpu: vec![7000, 3000],
        stack: stack.map(|(name, cycles)| (name.to_owned(), cycles)).into(),
        parts: parts.map(|(name, cycles)| (name.to_owned(), cycles)).into(),
        paths: BTreeMap::new(),
        parts_per_cpu: Vec::new(),
    };
    RunReport {
        longest_spans: Default::default(),
        latency: BTreeMap::new(),
        timeline: None,
        schema: RUN_SCHEMA.to_owned(),
        scenario: "swapon-swapoff".to_owned(),
        policy: "mainline-6.1".to_owned(),
        kernel: "2.6.38".to_owned(),
        pages: "4k".to_owned(),
        backend: "native".to_owned(),
        machine: "ppc970".to_owned(),
        htab_bits: 15,
        cpus: 2,
        preempt: "full".to_owned(),
        batch_size: 192,
        mode: "deterministic".to_owned(),
        timing: "cycle".to_owned(),
        seed: 1,
        schedule: Some("emu1:".to_owned()),
        counters,
        segments: Vec::new(),
        groups: None,
        reports: Vec::new(),
        reports_suppressed: 0,
        checked: true,
        entries_queued: None,
        entries_flushed: None,
        violations: Vec::new(),
        accounting: None,
        oops: None,
        cycles,
        trace: None,
        kernel_log: Vec::new(),
    }
}

/// A run with reports, violations and repeated flushes.
pub fn broken() -> RunReport {
    let mut run = clean();
    run.policy = "mmotm".to_owned();
    run.counters.flushes_repeated = 2;
    run.reports_suppressed = 5;
    run.reports = vec![KernelReport {
        comm: "swapon".to_owned(),
        pid: 3457,
        message: "BUG: using smp_processor_id() in preemptible [00000000] code: swapon/3457".into(),
        caller: ".apply_to_pte_range+0x118/0x1f0".to_owned(),
        chain: vec![".apply_to_pte_range+0x118/0x1f0".to_owned()],
    }];
    run.violations = vec![ViolationReport {
        kind: "unsafe-per-cpu".to_owned(),
        count: 6,
        first: ViolationDetail {
            message: "the per-CPU batch is looked up while preemptible".to_owned(),
            cpu: 0,
            cycle: 12_345,
            comm: "swapon".to_owned(),
            pid: 3457,
            history: vec!["lazy enter".to_owned(), "per-CPU lookup".to_owned()],
        },
    }];
    run.cycles.total = 15_000;
    run.cycles.per_cpu = vec![12_000, 3000];
    run.cycles.stack.insert("instructions".to_owned(), 9000);
    run
}
