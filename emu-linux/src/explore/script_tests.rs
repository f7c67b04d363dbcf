//! What is done by script, and what is run once for several, comes to what guest code run for each comes to.

use super::explore_scenarios;
use super::scenario::ExploreScenario;
use super::stage::{Ran, Stage};
use super::step::{StepRecord, digest};
use crate::lazy_mmu::policy::policy;
use emu_core::CpuId;
use emu_core::explore::{ArenaEnd, Deviation, Plan, Turn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Every kind of end, interrupts, migrations, faults of users, failures, a sleeping callback, locks that sleep.
const CASES: [(&str, &str, u16, bool); 8] = [
    ("unmap-vs-cow", "mainline-6.1", 1, false),
    ("munmap-gather", "mmotm", 2, false),
    ("swapoff-migrate", "mmotm", 2, true),
    ("mprotect-vs-fault", "hugh-preempt", 2, false),
    ("enomem-midbatch", "mainline-6.16-fixed", 1, false),
    ("error-midbatch", "mainline-6.16", 1, false),
    ("sleeping-callback", "apply-ptl", 1, false),
    ("rt-ptl", "mainline-6.1", 2, false),
];

fn stage((id, rule, cpus, late): (&str, &str, u16, bool)) -> Stage {
    let scenarios = explore_scenarios().unwrap();
    let scenario: &ExploreScenario = scenarios.iter().find(|s| s.id == id).unwrap();
    let stage = Stage::new(scenario, policy(rule).unwrap(), cpus).unwrap();
    match late {
        true => stage.with_late_invalidations(),
        false => stage,
    }
}

fn random_plan(rng: &mut ChaCha8Rng, steps: u64, cpus: u16) -> Plan {
    let mut at: Vec<u64> = (0..rng.random_range(0..5))
        .map(|_| rng.random_range(1..=steps))
        .collect();
    at.sort_unstable();
    at.iter().fold(Plan::undisturbed(), |plan, &step| {
        let cpu = CpuId(rng.random_range(0..cpus));
        let turn = match rng.random_range(0..5) {
            0 | 1 => Turn::Interrupt,
            2 => Turn::SwitchTo(cpu),
            3 => Turn::Wake(cpu),
            _ => Turn::Receive(cpu),
        };
        plan.and(Deviation { step, turn })
    })
}

type Outcome = (ArenaEnd, u64, Vec<&'static str>);

fn outcome(ran: Ran) -> Outcome {
    (ran.end, ran.steps, ran.broken)
}

/// What can be told of a run from outside.
fn told(stage: &mut Stage, plan: &Plan) -> (Outcome, Vec<(&'static str, u64)>, u32, Vec<u64>) {
    let mut trace: Vec<StepRecord> = Vec::new();
    let ran = stage.run(plan, Some(&mut trace)).unwrap();
    let broke_at = ran.broke_at.clone();
    let memory = trace.iter().map(|step| step.state).collect();
    (outcome(ran), broke_at, digest(&trace), memory)
}

/// What a run leaves: memory, and what each way of each TLB and ERAT holds.
fn left_behind(stage: &Stage, cpus: u16) -> (u64, Vec<String>) {
    let held = |cpu| {
        let mmu = stage.mmu(CpuId(cpu)).unwrap();
        let erat: Vec<_> = mmu.erat.entries().collect();
        let tlb: Vec<_> = mmu.tlb.entries().collect();
        format!("{erat:?} {tlb:?}")
    };
    (stage.memory_hash(), (0..cpus).map(held).collect())
}

#[test]
fn a_script_comes_to_what_its_code_comes_to() {
    for case in CASES {
        let (mut code, mut script) = (stage(case), stage(case).with_scripts());
        let steps = code.run(&Plan::undisturbed(), None).unwrap().steps;
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for number in 0..12 {
            let plan = random_plan(&mut rng, steps, case.2);
            let by_code = told(&mut code, &plan);
            // What is found out on the way, then what is known.
            for _ in 0..2 {
                let by_script = told(&mut script, &plan);
                assert_eq!(by_script, by_code, "{case:?}, plan {number}: {plan}");
            }
            code.run(&plan, None).unwrap();
            // Verb by verb, and in chains when they were gone through often enough.
            for _ in 0..3 {
                let unwatched = outcome(script.run(&plan, None).unwrap());
                assert_eq!(unwatched, by_code.0, "{case:?}: {plan}");
                let (script, code) = (left_behind(&script, case.2), left_behind(&code, case.2));
                assert_eq!(script, code, "{case:?}: {plan}");
            }
        }
    }
}

#[test]
fn runs_with_one_beginning_come_to_what_each_comes_to_alone() {
    for case in CASES {
        let (mut alone, mut together) = (stage(case), stage(case).with_scripts());
        let mut trace = Vec::new();
        alone.run(&Plan::undisturbed(), Some(&mut trace)).unwrap();
        let first = trace.iter().flat_map(|step| {
            let step_turns = step.turns();
            step_turns.map(|turn| Deviation {
                step: step.step,
                turn,
            })
        });
        let first: Vec<Deviation> = first.collect();
        // From the undisturbed run, and from one that was departed from.
        let middle = first[first.len() / 2];
        let later = first.iter().filter(|d| d.step > middle.step).copied();
        let plans = [
            (Plan::undisturbed(), first.clone()),
            (Plan::undisturbed().and(middle), later.collect()),
        ];
        for (plan, departures) in plans {
            let few: Vec<Deviation> = departures.into_iter().step_by(7).collect();
            let mut ran = Vec::new();
            let mut note = |_, one: Ran| {
                ran.push(outcome(one));
                true
            };
            together.branches(&plan, &few, &mut note).unwrap();
            assert_eq!(ran.len(), few.len());
            for (departure, ran) in few.iter().zip(ran) {
                let plan = plan.and(*departure);
                let expected = outcome(alone.run(&plan, None).unwrap());
                assert_eq!(ran, expected, "{case:?}: {plan}");
            }
        }
    }
}

#[test]
fn code_on_coroutines_has_no_moment_to_return_to() {
    let mut stage = stage(CASES[0]);
    let departures = [Deviation {
        step: 5,
        turn: Turn::Interrupt,
    }];
    let refused = stage.branches(&Plan::undisturbed(), &departures, &mut |_, _| true);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("no scripts"), "{refused}");
}
