//! A schedule found in one timing is the same run in the other: every event counter agrees.

use super::scenario::explore_scenarios;
use super::stage::Stage;
use crate::lazy_mmu::policy::policy;
use crate::report::CounterValues;
use crate::timing::Timing;
use emu_core::explore::{Deviation, Plan};

/// Departures tried of each scenario.
const DEPARTURES: usize = 4;

/// What a run counted, but for the two spans, which are cycles; how it ended, its steps, what broke.
fn told(stage: &mut Stage, plan: &Plan) -> (CounterValues, String, u64, Vec<&'static str>) {
    let before = stage.linux().counters().values();
    let ran = stage.run(plan, None).unwrap();
    let counters = CounterValues {
        preempt_off_cycles_max: 0,
        irqs_off_cycles_max: 0,
        ..stage.linux().counters().values().since(&before)
    };
    (counters, format!("{:?}", ran.end), ran.steps, ran.broken)
}

#[test]
fn a_schedule_of_one_timing_replays_in_the_other() {
    let mut compared = 0;
    for scenario in explore_scenarios().unwrap() {
        for (name, cpus) in [("mmotm", 1), ("mmotm", 2), ("mainline-6.16-fixed", 2)] {
            let [mut functional, mut cycle] = [Timing::Functional, Timing::Cycle].map(|timing| {
                let rule = policy(name).unwrap();
                Stage::with_timing(&scenario, rule, cpus, timing).unwrap()
            });
            let mut trace = Vec::new();
            let undisturbed = Plan::undisturbed();
            functional.run(&undisturbed, Some(&mut trace)).unwrap();
            let there = trace
                .iter()
                .filter_map(|record| Some((record.step, record.turns().next()?)));
            let all: Vec<_> = there.collect();
            let mut plans = vec![undisturbed];
            for &(step, turn) in all.iter().step_by(all.len() / DEPARTURES + 1) {
                plans.push(Plan::undisturbed().and(Deviation { step, turn }));
            }
            for plan in &plans {
                let what = format!("{} {name} on {cpus}: {plan}", scenario.id);
                assert_eq!(
                    told(&mut functional, plan),
                    told(&mut cycle, plan),
                    "{what}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 50, "{compared} schedules");
}
