//! Functional and cycle timing: the same events where their order is the same.

use crate::support::{assert_accounts, operations, scenario};
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
