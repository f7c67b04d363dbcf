//! One configuration, one run: the same bytes each time, and a recorded schedule replays.

use crate::support::{assert_accounts, operations, policy_names, scenario};
use ppc_mmu_emu::linux::{RunConfig, RunReport, ScheduleChoice, scenarios};

/// Everything a run gives, as text: its JSON and its kernel log.
fn bytes(report: &RunReport) -> String {
    let json = serde_json::to_string(report).expect("JSON");
    format!("{json}\n{}", report.kernel_log.join("\n"))
}

/// A short run.
fn config(name: &str, policy: &str, cpus: u16, schedule: ScheduleChoice) -> RunConfig {
    RunConfig {
        cpus: Some(cpus),
        operations: operations(name, 24),
        schedule,
        ..RunConfig::new(policy)
    }
}

/// Every scenario and policy, twice.
fn twice(cpus: u16, schedules: &[ScheduleChoice]) {
    assert!(scenarios().len() >= 3 && policy_names().len() >= 9);
    for info in scenarios() {
        for policy in policy_names() {
            for schedule in schedules {
                let config = config(info.name, policy, cpus, schedule.clone());
                let (first, second) = (scenario(info.name, &config), scenario(info.name, &config));
                assert!(first.counters.context_switches > 0 && first.cycles.total > 0);
                let what = format!("{} {config:?}", info.name);
                assert_eq!(bytes(&first), bytes(&second), "{what}");
                assert_accounts(&first, &what);
            }
        }
    }
}

#[test]
fn twice_on_one_cpu() {
    twice(1, &[ScheduleChoice::Clocked, ScheduleChoice::Random]);
}

#[test]
fn twice_on_two_cpus() {
    twice(2, &[ScheduleChoice::Random]);
}

#[test]
fn twice_on_four_cpus() {
    twice(4, &[ScheduleChoice::Random]);
}

#[test]
fn another_seed_is_another_run() {
    let mut config = config(
        "vmalloc-random",
        "mainline-6.16-fixed",
        2,
        ScheduleChoice::Random,
    );
    let first = scenario("vmalloc-random", &config);
    config.seed += 1;
    let other = scenario("vmalloc-random", &config);
    assert_ne!(first.counters, other.counters);
    assert_ne!(first.cycles, other.cycles);
    // Where the work is the same for every seed, the schedule alone makes the difference.
    let first = scenario("vmalloc-pairs", &config);
    config.seed += 1;
    let other = scenario("vmalloc-pairs", &config);
    assert_eq!(first.counters.ptes_set, other.counters.ptes_set);
    assert!(first.schedule.is_some() && first.schedule != other.schedule);
    assert_ne!(first.cycles, other.cycles);
}

#[test]
fn a_recorded_schedule_replays() {
    let (mut replayed, mut departed) = (0, 0);
    for policy in policy_names() {
        for (name, n) in [
            ("swapon-swapoff", 2),
            ("vmalloc-pairs", 3),
            ("vmalloc-random", 2),
        ] {
            let mut config = config(name, policy, 2, ScheduleChoice::Random);
            config.operations = operations(name, n);
            let random = scenario(name, &config);
            let Some(schedule) = random.schedule.clone() else {
                continue; // Longer than a report holds.
            };
            assert_ne!(
                schedule, "emu1:",
                "{name}: a random run departs from its clocks"
            );
            config.schedule = ScheduleChoice::Replay(schedule.parse().expect("its own string"));
            let again = scenario(name, &config);
            assert_eq!(bytes(&again), bytes(&random), "{name} under {policy}");
            config.schedule = ScheduleChoice::Clocked;
            let clocked = scenario(name, &config);
            departed += u32::from(clocked.cycles != random.cycles);
            replayed += 1;
        }
    }
    assert!(replayed >= 9, "{replayed} runs were short enough to replay");
    // Not each: a short run may go by before anything unusual falls to it.
    assert!(
        departed * 3 > replayed,
        "{departed} of {replayed} runs were not the clocked one"
    );
}
