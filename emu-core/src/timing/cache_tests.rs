//! Lines go where they should and cost what they should.

use super::cache::{Level, OwnCaches, SharedCaches};
use super::{CostTable, MachineProfile};
use crate::cost::Category;
use emu_mmu::Ra;
use proptest::prelude::*;

const MEMORY: u64 = 64 << 20;

fn costs(name: &str) -> CostTable {
    MachineProfile::builtin(name).unwrap().costs()
}

fn line(n: u64) -> Ra {
    Ra::new(n * 128 + 8)
}

fn machine(name: &str, cpus: u16) -> (CostTable, SharedCaches, Vec<OwnCaches>) {
    let costs = costs(name);
    let shared = SharedCaches::new(&costs, cpus, MEMORY).unwrap();
    let own = (0..cpus).map(|cpu| OwnCaches::new(&costs, cpu)).collect();
    (costs, shared, own)
}

#[test]
fn a_line_is_found_nearer_the_second_time() {
    for name in MachineProfile::NAMES {
        let (costs, shared, mut own) = machine(name, 1);
        let own = &mut own[0];
        let first = (Category::Memory, costs.memory_latency);
        assert_eq!(shared.load(own, &costs, line(5)), first);
        let second = (Category::LoadStore, costs.load);
        assert_eq!(shared.load(own, &costs, line(5)), second);
        assert_eq!(shared.walk(own, &costs, line(5)), costs.l2_latency);
        assert_eq!(shared.walk(own, &costs, line(6)), costs.memory_latency);
        let by_walk = (Category::L2, costs.l2_latency);
        assert_eq!(
            shared.load(own, &costs, line(6)),
            by_walk,
            "not in L1D by a walk"
        );
    }
}

/// Category of the second pass over so many bytes.
fn second_pass(name: &str, bytes: u64) -> Vec<Category> {
    let (costs, shared, mut own) = machine(name, 1);
    let mut pass = || -> Vec<Category> {
        (0..bytes / 128)
            .map(|n| shared.load(&mut own[0], &costs, line(n)).0)
            .collect()
    };
    pass();
    pass()
}

#[test]
fn what_fits_a_level_is_served_by_it_and_no_more() {
    for name in MachineProfile::NAMES {
        let costs = costs(name);
        let all = |bytes, category| second_pass(name, bytes).iter().all(|c| *c == category);
        assert!(all(costs.l1d_bytes, Category::LoadStore), "{name}");
        assert!(all(costs.l1d_bytes * 2, Category::L2), "{name}");
        assert!(all(costs.l2_bytes, Category::L2), "{name}");
        let beyond = match costs.l3_bytes {
            0 => Category::Memory,
            _ => Category::L3,
        };
        assert!(all(costs.l2_bytes * 2, beyond), "{name}");
        if costs.l3_bytes > 0 {
            assert!(all(costs.l3_bytes, Category::L3), "{name}");
            // An LRU level that is passed over in turn keeps nothing.
            assert!(all(costs.l3_bytes * 3 / 2, Category::Memory), "{name}");
        }
    }
}

#[test]
fn a_store_takes_the_line_from_the_others() {
    let (costs, shared, mut own) = machine("power8", 3);
    let [a, b, c] = &mut own[..] else { panic!() };
    assert_eq!(
        shared.store(a, &costs, line(9)),
        Some((Category::Memory, costs.memory_latency))
    );
    assert_eq!(shared.store(a, &costs, line(9)), None, "it is its own");
    let transfer = (Category::Transfer, costs.coherence_transfer);
    assert_eq!(shared.load(b, &costs, line(9)), transfer);
    let hit = (Category::LoadStore, costs.load);
    assert_eq!(shared.load(b, &costs, line(9)), hit);
    let upgrade = (Category::Transfer, costs.coherence_upgrade);
    assert_eq!(
        shared.store(a, &costs, line(9)),
        Some(upgrade),
        "b holds it too"
    );
    assert_eq!(
        shared.load(b, &costs, line(9)),
        transfer,
        "b's copy is gone"
    );
    assert_eq!(shared.store(c, &costs, line(9)), Some(transfer));
    assert_eq!(shared.load(a, &costs, line(9)), transfer);
    assert_eq!(
        shared.load(a, &costs, Ra::new(9 * 128 + 127)),
        hit,
        "same line"
    );
}

#[test]
fn dcbz_reads_nothing() {
    let (costs, shared, mut own) = machine("power8", 2);
    let [a, b] = &mut own[..] else { panic!() };
    assert_eq!(
        shared.make_zero(a, &costs, line(3)),
        Some((Category::L2, costs.l2_latency))
    );
    assert_eq!(shared.make_zero(a, &costs, line(3)), None);
    assert_eq!(
        shared.make_zero(b, &costs, line(3)),
        Some((Category::Transfer, costs.coherence_upgrade))
    );
    let transfer = (Category::Transfer, costs.coherence_transfer);
    assert_eq!(shared.load(a, &costs, line(3)), transfer);
}

#[test]
fn lines_beyond_memory_are_no_panic() {
    let (costs, shared, mut own) = machine("power5", 2);
    for ra in [MEMORY + (1 << 30), u64::MAX] {
        shared.load(&mut own[0], &costs, Ra::new(ra));
        shared.store(&mut own[1], &costs, Ra::new(ra));
    }
}

/// The same by a list, most recently used first.
#[derive(Default)]
struct PlainSet(Vec<u64>);

impl PlainSet {
    fn fill(&mut self, line: u64, ways: usize) -> (bool, Option<u64>) {
        let at = self.0.iter().position(|&l| l == line);
        if let Some(at) = at {
            self.0.remove(at);
        }
        self.0.insert(0, line);
        let gone = (self.0.len() > ways).then(|| self.0.pop()).flatten();
        (at.is_some(), gone)
    }
}

proptest! {
    #[test]
    fn a_level_is_least_recently_used(
        ways in 1u64..6, sets in 1u64..7, lines in prop::collection::vec((0u64..60, 0u8..8), 1..400)
    ) {
        let mut level = Level::new(sets * ways * 128, ways);
        let mut plain: Vec<PlainSet> = (0..sets).map(|_| PlainSet::default()).collect();
        for (line, what) in lines {
            let set = &mut plain[(line % sets) as usize];
            if what == 0 {
                level.drop_line(line);
                set.0.retain(|&l| l != line);
                continue;
            }
            let (was, gone) = set.fill(line, ways as usize);
            prop_assert_eq!(level.clone().hit(line), was);
            prop_assert_eq!(level.fill(line), gone);
        }
    }
}
