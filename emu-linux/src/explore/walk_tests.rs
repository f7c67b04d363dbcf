//! A speculative walk puts into a TLB what the table holds, and nothing where it holds nothing.

use super::scenario::ExploreScenario;
use super::stage::Stage;
use crate::lazy_mmu::policy::policy;
use emu_core::CpuId;
use emu_core::explore::{Deviation, Plan, Turn};

const READ: &str = r#"
id = "read"
about = "A page of an area is read on CPU 0; CPU 1 is idle."
setup = ["vmalloc a 2"]

[[task]]
name = "task"
run = ["read a 0"]
"#;

#[test]
fn a_walk_fills_the_tlb_if_the_table_has_the_page() {
    let scenario = ExploreScenario::parse(READ).unwrap();
    let rule = policy("mainline-6.1").unwrap();
    let mut stage = Stage::new(&scenario, rule, 2).unwrap();
    let mut trace = Vec::new();
    let undisturbed = Plan::undisturbed();
    stage.run(&undisturbed, Some(&mut trace)).unwrap();
    let &[page] = stage.pages().as_slice() else {
        panic!("{:?}", stage.pages());
    };
    let held = |stage: &Stage| stage.mmu(CpuId(1)).unwrap().tlb.entries().count();
    let without = held(&stage);
    for (at, more) in [(0, 0), (trace.len() - 1, 1)] {
        let turn = Turn::Walk(CpuId(1), page);
        let step = trace[at].step;
        let plan = undisturbed.and(Deviation { step, turn });
        let again: Plan = plan.to_string().parse().unwrap();
        stage.run(&again, None).unwrap();
        assert_eq!(held(&stage), without + more, "before step {step}");
    }
}
