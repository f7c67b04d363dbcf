//! The explorer: what it must find, what it must not, and that it is the same every time.

use emu_linux::explore::{
    Bounds, Cell, Found, ReplayError, Strategy, explore, explore_scenarios, replay,
};
use emu_linux::lazy_mmu::policy::policy;
use ppc_mmu_emu::core::explore::Plan;
use ppc_mmu_emu::linux as emu_linux;

fn cell(id: &str, name: &str, cpus: u16, bound: usize, strategy: Strategy) -> Cell {
    let scenarios = explore_scenarios().unwrap();
    let scenario = scenarios.iter().find(|s| s.id == id).unwrap();
    let rule = policy(name).unwrap();
    let bounds = Bounds::all(bound);
    explore(scenario, rule, cpus, bounds, strategy, &mut |_| true).unwrap()
}

fn exhaustive(id: &str, name: &str, cpus: u16, bound: usize) -> Cell {
    let cell = cell(id, name, cpus, bound, Strategy::Exhaustive);
    assert!(cell.exhausted);
    cell
}

fn found<'c>(cell: &'c Cell, kind: &str) -> Option<&'c Found> {
    cell.violations.iter().find(|found| found.kind == kind)
}

/// A bystander's copy on write while another task is preempted in its lazy section.
#[test]
fn one_preemption_on_one_cpu_makes_a_duplicate_under_the_rule_as_posted() {
    let cell = exhaustive("unmap-vs-cow", "mmotm", 1, 1);
    let duplicate = found(&cell, "duplicate-hpte").unwrap();
    assert_eq!(
        (
            duplicate.preemptions,
            duplicate.migrations,
            duplicate.switches
        ),
        (1, 0, 0)
    );
    assert_eq!(duplicate.replay, "unmap-vs-cow/mmotm/1/emx2:4j.1~6d046c7f");
    let again = replay(&duplicate.replay).unwrap();
    assert!(again.violations.iter().any(|v| v.kind == "duplicate-hpte"));
    let broke = again
        .steps
        .iter()
        .find(|s| s.broke.contains(&"duplicate-hpte".to_owned()));
    assert_eq!(broke.unwrap().step, duplicate.steps);
    assert_eq!(broke.unwrap().label, Some("native_hpte_insert: store V"));
    assert_eq!(broke.unwrap().task, "user");
}

#[test]
fn rules_that_keep_preemption_out_are_clean_there() {
    for name in [
        "mainline-6.1",
        "mainline-6.16-fixed",
        "hugh-preempt-fixed",
        "apply-ptl",
    ] {
        for cpus in [1, 2] {
            let cell = exhaustive("unmap-vs-cow", name, cpus, 1);
            assert!(
                cell.violations.is_empty() && cell.unfinished.is_empty(),
                "{cell:?}"
            );
        }
    }
}

/// Without kernel preemption a callback that sleeps is enough.
#[test]
fn a_sleeping_callback_needs_no_preemption() {
    let cell = exhaustive("sleeping-callback", "mmotm", 1, 0);
    let duplicate = found(&cell, "duplicate-hpte").unwrap();
    assert_eq!(duplicate.preemptions, 0);
    let cell = exhaustive("sleeping-callback", "switch-flush-sound", 1, 1);
    assert!(cell.violations.is_empty(), "{cell:?}");
}

/// Linux 5.14 to 5.16 read a PTE and then replaced it whole: a hash fault in between loses its slot.
#[test]
fn a_pte_replaced_by_what_was_read_races_with_a_hash_fault_whatever_the_rule() {
    let cell = exhaustive("set-memory-replacing", "hugh-preempt-fixed", 2, 1);
    assert!(found(&cell, "batch-escape").is_some(), "{cell:?}");
    let cell = exhaustive("set-memory-vs-access", "hugh-preempt-fixed", 1, 1);
    assert!(cell.violations.is_empty(), "{cell:?}");
}

/// A flush that looks at the mask of CPUs before its entry is gone misses a CPU that begins in between.
#[test]
fn a_thread_that_begins_during_a_local_flush_keeps_its_translation() {
    let cell = exhaustive("munmap-vs-thread", "mainline-6.16-fixed", 2, 2);
    let kinds: Vec<&str> = cell.violations.iter().map(|v| v.kind.as_str()).collect();
    assert_eq!(kinds, ["stale-translation"]);
    let stale = found(&cell, "stale-translation").unwrap();
    assert_eq!(
        stale.replay,
        "munmap-vs-thread/mainline-6.16-fixed/2/emx2:4v.3,27.2~1355ddad"
    );
    let one = exhaustive("munmap-vs-thread", "mainline-6.16-fixed", 1, 2);
    assert!(one.violations.is_empty(), "{one:?}");
}

/// The races that the thread and its analysis derive by hand, each by the schedule that the search gave.
#[test]
fn the_races_of_the_thread_replay_as_recorded() {
    for (text, kind, departures) in [
        // One CPU, no migration: a bystander breaks copy on write while a batch is active.
        (
            "unmap-vs-cow/mmotm/1/emx2:4j.1~6d046c7f",
            "duplicate-hpte",
            (1, 0, 0),
        ),
        // Migration: vfree ends with live entries in the batch of the CPU that it left.
        (
            "vfree-reuse/mmotm/2/emx2:41.1,br.1v~ce811822",
            "lost-flush",
            (1, 1, 0),
        ),
        // Migration between the index of one batch and the flush of another.
        (
            "vfree-reuse/mmotm/2/emx2:4q.1,46.1v~6c34d866",
            "lost-flush",
            (1, 1, 0),
        ),
        // The index of another CPU's batch is reset while its owner is in a section.
        (
            "munmap-gather/mmotm/2/emx2:4w.1,5w.3~36b1028b",
            "stale-translation",
            (1, 0, 1),
        ),
        // Torn enter, although the switch flushes.
        (
            "unmap-vs-cow/switch-flush/2/emx2:2y.1,3d.1v~b1c1ab21",
            "duplicate-hpte",
            (1, 1, 0),
        ),
        // A callback sleeps.
        (
            "sleeping-callback/mmotm/1/emx2:~060dac6b",
            "duplicate-hpte",
            (0, 0, 0),
        ),
        // The way of errors leaves without the other half.
        (
            "enomem-midbatch/hugh-preempt/1/emx2:~c797f5f5",
            "unbalanced-preempt",
            (0, 0, 0),
        ),
        (
            "error-midbatch/mainline-6.16/1/emx2:~91da16a9",
            "unbalanced-preempt",
            (0, 0, 0),
        ),
        // What nobody had derived.
        (
            "mprotect-vs-fault/mainline-6.1/2/emx2:8q.3~81fd04d6",
            "duplicate-hpte",
            (0, 0, 1),
        ),
        (
            "set-memory-replacing/mainline-6.1/2/emx2:2a.3,33.2~567aa413",
            "stuck-lock",
            (0, 0, 2),
        ),
        (
            "two-vmallocs/mmotm/1/emx2:kk.1,av.1~66cb8224",
            "lost-flush",
            (2, 0, 0),
        ),
    ] {
        let run = replay(text).unwrap();
        assert_eq!(run.replay, text);
        let broke = run.violations.iter().any(|v| v.kind == kind);
        assert!(broke, "{text}: {:?}", run.violations);
        let plan = text.rsplit('/').next().unwrap();
        let plan: Plan = plan.split('~').next().unwrap().parse().unwrap();
        assert_eq!(
            (plan.interrupts(), plan.wakes(), plan.switches()),
            departures,
            "{text}"
        );
    }
}

/// Switching flushes the batch, but the section is torn where it begins.
#[test]
fn a_flush_at_the_switch_is_not_enough() {
    let cell = exhaustive("unmap-vs-cow", "switch-flush", 2, 2);
    let duplicate = found(&cell, "duplicate-hpte").unwrap();
    assert_eq!((duplicate.preemptions, duplicate.migrations), (1, 1));
    assert_eq!(
        duplicate.replay,
        "unmap-vs-cow/switch-flush/2/emx2:2y.1,3d.1v~b1c1ab21"
    );
    let sound = exhaustive("unmap-vs-cow", "switch-flush-sound", 2, 1);
    assert!(sound.violations.is_empty(), "{sound:?}");
}

#[test]
fn what_is_left_out_breaks_nothing_else() {
    let mut saved = 0;
    for (id, name, cpus, bound) in [
        ("sleeping-callback", "switch-flush", 1, 2),
        ("set-memory-replacing", "mmotm", 1, 2),
        ("set-memory-replacing", "mainline-6.1", 2, 2),
        ("mprotect-vs-fault", "mmotm", 2, 2),
        ("mprotect-vs-fault", "switch-flush", 1, 1),
    ] {
        let few = exhaustive(id, name, cpus, bound);
        let states = cell(id, name, cpus, bound, Strategy::States);
        let all = cell(id, name, cpus, bound, Strategy::Plain);
        let kinds = |cell: &Cell| -> Vec<(String, usize)> {
            let broken = cell.violations.iter().chain(&cell.unfinished);
            let all = broken.map(|f| (f.kind.clone(), f.preemptions + f.migrations + f.switches));
            all.collect()
        };
        assert_eq!(kinds(&few), kinds(&all), "{id} under {name}");
        assert_eq!(kinds(&states), kinds(&all), "{id} under {name}");
        assert!(states.schedules <= all.schedules);
        // What runs have in common is made once.
        assert!(all.steps_made > 0 && all.steps_made < all.steps);
        saved += all.schedules - states.schedules;
        assert!(
            few.schedules < all.schedules,
            "{} of {}",
            few.schedules,
            all.schedules
        );
    }
    // Where three tasks wait for each other, states are met again.
    assert!(saved > 10_000, "{saved}");
}

/// Each race of the thread, by random departures from one seed, in far fewer than 10,000 schedules.
#[test]
fn random_priorities_find_the_races_of_the_thread() {
    for (id, name, cpus, bound, kind, (seed, schedules)) in [
        // A bystander's duplicate.
        ("unmap-vs-cow", "mmotm", 1, 1, "duplicate-hpte", (1, 100)),
        // Migration: live entries in the batch of the CPU that was left, or a whole batch lost.
        ("vfree-reuse", "mmotm", 2, 2, "lost-flush", (3, 100)),
        // The index of another CPU's batch is reset.
        (
            "munmap-gather",
            "mmotm",
            2,
            2,
            "stale-translation",
            (2, 1_200),
        ),
        // Torn enter.
        (
            "unmap-vs-cow",
            "switch-flush",
            2,
            2,
            "duplicate-hpte",
            (2, 400),
        ),
        // A callback sleeps; the ways of errors.
        (
            "sleeping-callback",
            "mmotm",
            1,
            1,
            "duplicate-hpte",
            (1, 10),
        ),
        (
            "enomem-midbatch",
            "hugh-preempt",
            1,
            1,
            "unbalanced-preempt",
            (1, 10),
        ),
        (
            "error-midbatch",
            "mainline-6.16",
            1,
            1,
            "unbalanced-preempt",
            (1, 10),
        ),
        // What nobody had derived.
        (
            "mprotect-vs-fault",
            "mainline-6.1",
            2,
            1,
            "duplicate-hpte",
            (2, 100),
        ),
        (
            "set-memory-replacing",
            "mainline-6.1",
            2,
            2,
            "stuck-lock",
            (5, 100),
        ),
    ] {
        let strategy = Strategy::Pct { schedules, seed };
        let cell = cell(id, name, cpus, bound, strategy);
        assert_eq!((cell.schedules, cell.exhausted), (schedules, false));
        let race = found(&cell, kind);
        let race = race.unwrap_or_else(|| panic!("{id} under {name}: {:?}", cell.violations));
        let again = replay(&race.replay).unwrap();
        assert!(again.violations.iter().any(|v| v.kind == kind), "{race:?}");
    }
}

/// Late invalidations and speculative walks leave the races of the thread as they are.
#[test]
fn hardware_that_does_more_finds_the_same() {
    let find = |bounds| {
        let (scenarios, rule) = (explore_scenarios().unwrap(), policy("mmotm").unwrap());
        let scenario = scenarios.iter().find(|s| s.id == "unmap-vs-cow").unwrap();
        let all = Strategy::Exhaustive;
        explore(scenario, rule, 2, bounds, all, &mut |_| true).unwrap()
    };
    let plain = find(Bounds::all(1));
    let late = find(Bounds {
        late: true,
        ..Bounds::all(1)
    });
    let walks = find(Bounds {
        walks: 1,
        ..Bounds::all(1)
    });
    let kinds = |cell: &Cell| {
        cell.violations
            .iter()
            .map(|f| f.kind.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(&late), kinds(&plain));
    assert_eq!(kinds(&walks), kinds(&plain));
    assert!(walks.schedules > plain.schedules);
    let duplicate = found(&late, "duplicate-hpte").unwrap();
    assert!(duplicate.replay.contains("/2late/"), "{}", duplicate.replay);
    let again = replay(&duplicate.replay).unwrap();
    assert!(again.violations.iter().any(|v| v.kind == "duplicate-hpte"));
}

#[test]
fn the_same_search_is_the_same_every_time() {
    let text = [(); 2].map(|()| {
        let mut cell = exhaustive("enomem-midbatch", "mmotm", 2, 1);
        // The host's time is the one thing that may differ.
        cell.searched_for = std::time::Duration::ZERO;
        format!("{cell:?}")
    });
    assert_eq!(text[0], text[1]);
}

#[test]
fn strings_that_cannot_be_replayed_say_why() {
    let refused = |text: &str| replay(text).unwrap_err();
    assert!(matches!(
        refused("unmap-vs-cow/mmotm/1"),
        ReplayError::Shape(_)
    ));
    assert!(matches!(
        refused("unmap-vs-cow/mmotm/9/emx2:"),
        ReplayError::Cpus(_)
    ));
    assert!(matches!(
        refused("unmap-vs-cow/mmotm/1/emx0:"),
        ReplayError::Plan(_)
    ));
    // Steps were counted otherwise in the version before.
    assert!(matches!(
        refused("unmap-vs-cow/mmotm/1/emx1:40.1"),
        ReplayError::Plan(_)
    ));
    // Another run than the one that was found, or no digest.
    assert!(matches!(
        refused("unmap-vs-cow/mmotm/1/emx2:4j.1~6d046c7e"),
        ReplayError::OtherRun { .. }
    ));
    assert!(matches!(
        refused("unmap-vs-cow/mmotm/1/emx2:4j.1~6d046c7"),
        ReplayError::Digest(_)
    ));
    let text = refused("unmap-vs-caw/mmotm/1/emx2:").to_string();
    assert!(text.contains("did you mean `unmap-vs-cow`?"), "{text}");
    // No second CPU is there to go on.
    assert!(matches!(
        refused("unmap-vs-cow/mmotm/1/emx2:2r.3"),
        ReplayError::Differs(_)
    ));
}
