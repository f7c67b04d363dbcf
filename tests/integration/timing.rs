//! Functional and cycle timing: the same events where their order is the same.

use crate::support::{assert_accounts, operations, scenario};
use ppc_mmu_emu::linux::timeline::Track;
use ppc_mmu_emu::linux::{CounterValues, RunConfig, RunReport, Source, Timing, run, scenarios};

/// Longer than any run here: no tick.
const NEVER: u64 = 1_000_000_000_000;

fn go(scenario: &str, policy: &str, timing: Timing) -> RunReport {
    let config = RunConfig {
        timing,
        cpus: Some(1),
        timer_period: Some(NEVER),
        operations: operations(scenario, 30),
        ..RunConfig::new(policy)
    };
    let source = Source::Scenario(scenario.to_owned());
    run(&source, &config, &mut |_| ()).unwrap_or_else(|error| panic!("{scenario}: {error}"))
}

/// All but the two that are cycles.
fn events(report: &RunReport) -> CounterValues {
    CounterValues {
        preempt_off_cycles_max: 0,
        irqs_off_cycles_max: 0,
        ..report.counters.clone()
    }
}

#[test]
fn one_cpu_without_ticks_counts_the_same() {
    for scenario in scenarios() {
        for policy in ["mmotm", "mainline-6.1", "mainline-6.16-fixed"] {
            let [functional, cycle] =
                [Timing::Functional, Timing::Cycle].map(|timing| go(scenario.name, policy, timing));
            let what = format!("{} {policy}", scenario.name);
            assert_eq!(
                (functional.timing.as_str(), cycle.timing.as_str()),
                ("functional", "cycle")
            );
            assert!(cycle.counters.ptes_set > 0, "{what}");
            assert_eq!(events(&functional), events(&cycle), "{what}");
            assert_accounts(&functional, &what);
            assert_accounts(&cycle, &what);
            assert_eq!(functional.entries_flushed, cycle.entries_flushed, "{what}");
            assert_eq!(functional.oops, cycle.oops, "{what}");
            assert!(functional.cycles.total < cycle.cycles.total, "{what}");
        }
    }
}

#[test]
fn the_longest_spans_are_where_the_policy_keeps_preemption_off() {
    let longest = |policy: &str| {
        let report = scenario("swapon-swapoff", &RunConfig::new(policy));
        report.longest_spans.preempt_off.expect("there is one")
    };
    let batched = longest("hugh-preempt-fixed");
    assert!(
        batched
            .chain
            .iter()
            .any(|f| f.starts_with("apply_to_pte_range"))
    );
    assert!(batched.began_in.starts_with("apply_to_pte_range"));
    // Without a section it is the refill of the CPU's list of free pages.
    let single = longest("mainline-6.1");
    assert!(
        single.chain[0].starts_with("__vmalloc_area_node"),
        "{single:?}"
    );
    assert_eq!((single.comm.as_str(), single.pid), ("swapon", 3230));
}

#[test]
fn every_operation_has_its_latency() {
    let config = RunConfig {
        operations: Some(50),
        ..RunConfig::new("mainline-6.16-fixed")
    };
    let report = scenario("vmalloc-pairs", &config);
    for (name, count) in [
        ("vmalloc", report.counters.vmalloc),
        ("vfree", report.counters.vfree),
        ("hash_fault", report.counters.hash_faults),
        ("flush_tlb_pending", report.counters.batch_flushes),
    ] {
        let told = &report.latency[name];
        assert_eq!(told.count, count, "{name}");
        let rising = [told.min, told.p50, told.p90, told.p99, told.p999, told.max];
        assert!(rising.is_sorted() && told.min > 0, "{name}: {rising:?}");
        let in_buckets: u64 = told.buckets.iter().map(|bucket| bucket.1).sum();
        assert_eq!(in_buckets, count, "{name}");
    }
    let vfree = &report.latency["vfree"];
    let mean = report.latency["flush_tlb_pending"].mean;
    assert!(vfree.mean > mean, "the flush is in it");
    let functional = RunConfig {
        timing: Timing::Functional,
        ..config
    };
    assert!(scenario("vmalloc-pairs", &functional).latency.is_empty());
}

#[test]
fn a_timeline_has_every_kind_of_track() {
    let config = RunConfig {
        cpus: Some(2),
        operations: Some(60),
        timeline: true,
        ..RunConfig::new("mainline-6.16-fixed")
    };
    let report = scenario("vmalloc-random", &config);
    let timeline = report.timeline.as_ref().expect("it was asked for");
    let of = |kind: fn(&Track) -> bool| {
        let slices = timeline.slices.iter();
        slices
            .filter(|slice| kind(&slice.track))
            .collect::<Vec<_>>()
    };
    let tasks = of(|track| matches!(track, Track::Task(_)));
    let named = |name: &str| tasks.iter().filter(|slice| slice.name == name).count() as u64;
    assert_eq!(named("vfree"), report.counters.vfree);
    assert_eq!(named("hash_fault"), report.counters.hash_faults);
    assert!(named("lazy section") > 0);
    let batches = of(|track| matches!(track, Track::Batch(_)));
    assert_eq!(batches.len() as u64, report.counters.batch_flushes);
    assert!(!of(|track| matches!(track, Track::Tlbie(_))).is_empty());
    assert!(!of(|track| matches!(track, Track::Lock(_))).is_empty());
    for (cpu, &clock) in report.cycles.per_cpu.iter().enumerate() {
        let on_cpu = timeline.slices.iter();
        let on_cpu = on_cpu.filter(|slice| slice.track == Track::Cpu(cpu as u16));
        let ran: u64 = on_cpu.map(|slice| slice.cycles).sum();
        assert_eq!(ran, clock, "CPU {cpu} runs something all the time");
    }
    let json: serde_json::Value = serde_json::from_str(&timeline.chrome_json()).expect("JSON");
    let events = json["traceEvents"].as_array().expect("events").len();
    assert!(events > timeline.slices.len() + timeline.fillings.len());
    let plain = RunConfig {
        timeline: false,
        ..config
    };
    let plain = scenario("vmalloc-random", &plain);
    assert_eq!(
        (&plain.counters, &plain.cycles),
        (&report.counters, &report.cycles)
    );
}
