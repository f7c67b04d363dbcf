//! The scenario `test_vmalloc`: every case runs on every CPU and gives back what it took.

use emu_linux::{KernelVersion, RunConfig, RunReport, Source, run};

const CASES: [&str; 10] = [
    "fix_size_alloc_test",
    "full_fit_alloc_test",
    "long_busy_list_alloc_test",
    "random_size_alloc_test",
    "fix_align_alloc_test",
    "random_size_align_alloc_test",
    "align_shift_alloc_test",
    "pcpu_alloc_test",
    "kvfree_rcu_1_arg_vmalloc_test",
    "kvfree_rcu_2_arg_vmalloc_test",
];

fn tested(config: &RunConfig) -> RunReport {
    let source = Source::Scenario("test_vmalloc".to_owned());
    run(&source, config, &mut |_| ()).unwrap()
}

fn config(policy: &str, kernel: KernelVersion) -> RunConfig {
    RunConfig {
        cpus: Some(2),
        operations: Some(40),
        kernel: Some(kernel),
        ..RunConfig::new(policy)
    }
}

#[test]
fn the_kernel_log_has_the_summary_of_each_worker() {
    for kernel in KernelVersion::ALL {
        let report = tested(&config("mainline-6.16-fixed", kernel));
        let log = report.kernel_log;
        assert_eq!(log.len(), 22, "{log:#?}");
        for worker in 0..2 {
            let lines = &log[worker * 11..][..11];
            for (line, name) in lines.iter().zip(CASES) {
                let failed = u64::from(name == "align_shift_alloc_test");
                let passed = 1 - failed;
                let head = format!(
                    "Summary: {name} passed: {passed} failed: {failed} repeat: 1 loops: 40 avg: "
                );
                let micros = line
                    .strip_prefix(&head)
                    .and_then(|l| l.strip_suffix(" usec"));
                assert!(micros.is_some_and(|n| n.parse::<u64>().is_ok()), "{line}");
            }
            let head = format!("All test took worker{worker}=");
            let cycles = lines[10].strip_prefix(&head).unwrap();
            let cycles = cycles.strip_suffix(" cycles").unwrap().parse::<u64>();
            assert!(cycles.unwrap() > 100_000, "{}", lines[10]);
        }
        assert!(report.violations.is_empty(), "{:?}", report.violations);
    }
}

#[test]
fn whatever_is_taken_is_given_back() {
    for policy in emu_linux::policies() {
        let report = tested(&config(policy.name, KernelVersion::V2_6_38));
        let c = &report.counters;
        if report.oops.is_none() && !report.found_violation() {
            assert_eq!(c.vmalloc, c.vfree, "{}", policy.name);
            assert_eq!(c.ptes_set, c.ptes_cleared, "{}", policy.name);
        }
        // Eight loops of 40 for each of two workers, one of them with two areas.
        assert!(c.vmalloc > 2 * 9 * 40, "{}: {}", policy.name, c.vmalloc);
    }
}

#[test]
fn loops_are_progress_and_the_seed_decides() {
    let source = Source::Scenario("test_vmalloc".to_owned());
    let config = config("mainline-6.1", KernelVersion::V6_1);
    let mut last = None;
    let first = run(&source, &config, &mut |progress| last = Some(progress)).unwrap();
    let last = last.expect("progress is told");
    // 65 areas kept and as many freed, 60 in the busy list, 140 per-CPU objects: made and freed.
    assert_eq!(last.total, Some(2 * (8 * 40 + 2 * (65 + 65 + 60 + 140))));
    assert!(last.done <= last.total.unwrap() && last.done > 0);
    assert_eq!(tested(&config), first);
    let other = tested(&RunConfig { seed: 2, ..config });
    assert_ne!(other.cycles, first.cycles);
}
