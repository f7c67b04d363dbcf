//! Chases through the caches, one doubleword a line, with MSR[DR]=0.
//!
//! Owns the footprints, from the sizes of the levels. Refuses latencies.

use super::chase::{Bench, Chase, Link, Mode};
use super::{LatencyError, Plateau};
use crate::timing::CostTable;
use std::collections::BTreeMap;

/// Bytes of a line.
const LINE: u64 = 128;
/// Most lines in a row that a plateau is measured over: 8 MB. A larger footprint is thinned out.
const ROW_MAX: u64 = 1 << 16;
/// Sets of a cache that a thinned footprint uses.
const SETS_USED: u64 = 64;

/// Lines of a level by its shape, as lines that follow each other fill it.
#[derive(Clone, Copy, Debug)]
struct Shape {
    sets: u64,
    ways: u64,
}

impl Shape {
    fn new(bytes: u64, ways: u64) -> Self {
        let sets = (bytes / LINE / ways).max(1);
        Shape { sets, ways }
    }

    /// Lines in a row that all stay.
    const fn holds(self) -> u64 {
        self.sets * self.ways
    }

    /// Lines in a row of which none stays until its next turn: each set has one too many.
    const fn overflows(self) -> u64 {
        self.sets * (self.ways + 1)
    }

    /// How many of the lines each set has that has any.
    fn counts(self, lines: &[u64]) -> impl Iterator<Item = u64> {
        let mut counts = BTreeMap::new();
        for line in lines {
            *counts.entry(line % self.sets).or_insert(0) += 1;
        }
        counts.into_values()
    }
}

fn chase(lines: impl Iterator<Item = u64>) -> Chase {
    let link = |line| Link {
        ea: 0,
        at: line * LINE,
    };
    let links = lines.map(link).collect();
    Chase {
        links,
        vsid_mask: 0,
    }
    .shuffled()
}

/// Cycles of one access of a chase over so many lines in a row.
pub fn at(bench: &Bench, count: u64) -> Result<f64, LatencyError> {
    bench.access(&chase(0..count), Mode::Real, 1)
}

/// The caches of a machine, nearest first, as far as it has them.
fn levels(costs: &CostTable) -> Vec<Shape> {
    let l3 = (costs.l3_bytes > 0).then(|| Shape::new(costs.l3_bytes, costs.l3_ways));
    let own = [
        Shape::new(costs.l1d_bytes, costs.l1d_ways),
        Shape::new(costs.l2_bytes, costs.l2_ways),
    ];
    own.into_iter().chain(l3).collect()
}

/// Number of a level, nearest first; beyond the last for memory.
fn number(costs: &CostTable, level: &str) -> usize {
    match level {
        "l1d" => 0,
        "l2" => 1,
        "l3" => 2,
        _ => levels(costs).len(),
    }
}

/// Lines in a row that only the level of this number serves: how many; `None` if no number does that.
fn footprint(costs: &CostTable, level: usize) -> Option<u64> {
    let levels = levels(costs);
    let (before, rest) = levels.split_at(level);
    let least = before.iter().map(|shape| shape.overflows()).max();
    // What L2 drops, L1D drops too.
    let served = if level == 0 {
        &levels[..2]
    } else {
        &rest[..rest.len().min(1)]
    };
    let most = served.iter().map(|shape| shape.holds()).min();
    match (least, most) {
        (None, most) => Some((most? / 2).max(1)),
        (Some(least), Some(most)) => (least <= most).then_some(least),
        (Some(least), None) => Some(least),
    }
}

/// Lines for a level that is too large to fill: some sets of the level before it, with one line more than
/// they have ways. `None` if another level would then serve.
fn few_sets(costs: &CostTable, level: usize) -> Option<Vec<u64>> {
    let levels = levels(costs);
    let (before, rest) = levels.split_at(level);
    let stride = before.last()?.sets;
    let rounds = before.iter().map(|shape| shape.ways).max()? + 1;
    // Where the sets of a nearer level do not divide those of this one: whole turns through them.
    let turns = |shape: &Shape| shape.sets * (shape.ways + 1).div_ceil(rounds);
    let whole = before.iter().rev().skip(1).map(turns).max();
    let chosen = [Some(SETS_USED), whole].into_iter().flatten();
    let thinned = chosen.map(|in_round| thinned(stride, rounds, in_round.min(stride)));
    let only = |lines: &Vec<u64>| {
        let missed = |shape: &Shape| shape.counts(lines).all(|count| count > shape.ways);
        let kept = |shape: &Shape| shape.counts(lines).all(|count| count <= shape.ways);
        before.iter().all(missed) && rest.first().is_none_or(kept)
    };
    thinned.into_iter().find(only)
}

/// The first lines of each of some rounds.
fn thinned(stride: u64, rounds: u64, in_round: u64) -> Vec<u64> {
    let line = |i| i / in_round * stride + i % in_round;
    (0..rounds * in_round).map(line).collect()
}

/// The plateaus `l1d l2 l3 memory`, `l3` if there is one.
pub fn plateau(bench: &Bench, level: &'static str) -> Result<Plateau, LatencyError> {
    let costs = bench.profile.costs();
    let number = number(&costs, level);
    let row = footprint(&costs, number);
    let few = match row {
        Some(row) if row <= ROW_MAX => None,
        _ => few_sets(&costs, number),
    };
    let measured = match (few, row) {
        (Some(lines), _) => {
            let chase = chase(lines.into_iter());
            Some(bench.access(&chase, Mode::Real, 1)?)
        }
        (None, Some(row)) => Some(at(bench, row)?),
        (None, None) => None,
    };
    let path = format!("{level}.latency");
    Ok(Plateau::of_figures(bench, level, measured, &[&path]))
}

/// Footprints for a curve, in lines: four for each doubling, until beyond the last level.
pub fn curve_lines(costs: &CostTable) -> Vec<u64> {
    let most = footprint(costs, number(costs, "memory")).unwrap_or(1);
    let steps = |k: u32| [8u64, 10, 12, 14].map(|eighths| eighths << k);
    let all = (0..40).flat_map(steps);
    all.take_while(|&lines| lines < most * 2).collect()
}
