//! Each bug that is put into the kernel model is found, by the name of the rule that it breaks.

use super::{Bounds, ExploreScenario, Strategy, explore, explore_scenarios};
use crate::lazy_mmu::policy::policy;
use crate::mutation::Mutation;

/// Names of what breaks within one departure, and the fewest departures that break it.
fn broken(rule: &str, scenario: &ExploreScenario, cpus: u16) -> Vec<(String, usize)> {
    broken_within(1, rule, scenario, cpus)
}

fn broken_within(
    departures: usize,
    rule: &str,
    scenario: &ExploreScenario,
    cpus: u16,
) -> Vec<(String, usize)> {
    let rule = policy(rule).unwrap();
    let bounds = Bounds::all(departures);
    let strategy = Strategy::Exhaustive;
    let cell = explore(scenario, rule, cpus, bounds, strategy, &mut |_| true).unwrap();
    assert!(cell.exhausted);
    let found = cell.violations.iter();
    found.map(|f| (f.kind.clone(), f.departures())).collect()
}

/// Explores a scenario as it is, where nothing may break, and with a bug.
fn caught(text: &str, cpus: u16, by: Mutation, kind: &str, departures: usize) {
    caught_under("hugh-preempt-fixed", text, cpus, by, (kind, departures));
}

fn caught_under(
    rule: &str,
    text: &str,
    cpus: u16,
    by: Mutation,
    (kind, departures): (&str, usize),
) {
    let mut scenario = ExploreScenario::parse(text).unwrap();
    assert_eq!(broken(rule, &scenario, cpus), [], "without {by:?}");
    scenario.mutation = Some(by);
    let found = broken(rule, &scenario, cpus);
    let wanted = (kind.to_owned(), departures);
    assert!(found.contains(&wanted), "{by:?} breaks {found:?}");
}

const VMALLOC: &str = r#"
id = "vmalloc"
about = "An area is made, read and freed."

[[task]]
name = "task"
run = ["vmalloc a 2", "read a 0", "read a 1", "vfree a"]
"#;

const MUNMAP: &str = r#"
id = "munmap"
about = "A page is stored to, unmapped and stored to again."
setup = ["mm m"]

[[task]]
name = "task"
mm = "m"
run = ["store 0", "munmap 0 1", "store 0"]
"#;

const THREADS: &str = r#"
id = "threads"
about = "A page is unmapped while another thread stores to it."
setup = ["mm m", "fault m 0"]

[[task]]
name = "munmap"
mm = "m"
run = ["load 0", "munmap 0 1"]

[[task]]
name = "thread"
cpu = 1
mm = "m"
run = ["store 0"]
"#;

#[test]
fn a_flush_that_is_skipped_is_lost() {
    caught(VMALLOC, 1, Mutation::SkipFlush, "lost-flush", 0);
}

#[test]
fn a_pte_that_is_not_unlocked_is_stuck() {
    caught(VMALLOC, 1, Mutation::ForgetUnlock, "stuck-lock", 0);
}

#[test]
fn an_entry_inserted_twice_is_a_duplicate() {
    caught(VMALLOC, 1, Mutation::DoubleInsert, "duplicate-hpte", 0);
}

#[test]
fn a_tlbie_that_is_dropped_leaves_a_stale_translation() {
    caught(MUNMAP, 1, Mutation::DropTlbie, "stale-translation", 0);
}

#[test]
fn a_frame_freed_early_is_reached_by_another_thread() {
    caught(THREADS, 2, Mutation::FreeEarly, "stale-translation", 1);
}

#[test]
fn preemption_that_stays_off_is_unbalanced() {
    caught(MUNMAP, 1, Mutation::ForgetEnable, "unbalanced-preempt", 0);
}

#[test]
fn a_pte_that_stays_present_while_its_flush_waits_escapes() {
    caught(VMALLOC, 1, Mutation::KeepPresent, "batch-escape", 0);
}

#[test]
fn a_batch_looked_up_while_preemptible_is_unsafe() {
    // Without a batch nothing else keeps preemption off there.
    let (rule, by) = ("no-power-batch", Mutation::LookUpEarly);
    caught_under(rule, VMALLOC, 1, by, ("unsafe-per-cpu", 0));
}

/// A thread that begins on another CPU between the look at the mask and the end of the entry.
#[test]
fn a_flush_that_is_never_local_misses_no_cpu() {
    let mut scenario = explore_scenarios().unwrap();
    scenario.retain(|scenario| scenario.id == "munmap-vs-thread");
    let mut scenario = scenario.pop().unwrap();
    for rule in ["mmotm", "mainline-6.1", "mainline-7.0"] {
        scenario.mutation = None;
        let found = broken_within(2, rule, &scenario, 2);
        assert_eq!(found, [("stale-translation".to_owned(), 2)], "{rule}");
        scenario.mutation = Some(Mutation::NeverLocal);
        assert_eq!(broken_within(2, rule, &scenario, 2), [], "{rule}");
    }
}
