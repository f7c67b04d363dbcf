//! Cycles and the cycle stack.
//!
//! Owns the unit and where cycles went. Refuses figures, which are a machine's (`timing`), and host time.

use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign, Sub};

/// A number of CPU cycles, or a point on a CPU's clock.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Cycles(u64);

impl Cycles {
    /// No cycles.
    pub const ZERO: Cycles = Cycles(0);
    /// Later than any clock.
    pub const MAX: Cycles = Cycles(u64::MAX);

    /// Wraps a count of cycles.
    pub const fn new(cycles: u64) -> Self {
        Cycles(cycles)
    }

    /// The count.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Difference, zero if `other` is later.
    pub const fn saturating_sub(self, other: Cycles) -> Cycles {
        Cycles(self.0.saturating_sub(other.0))
    }
}

impl Add for Cycles {
    type Output = Cycles;
    #[inline]
    fn add(self, other: Cycles) -> Cycles {
        Cycles(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Cycles {
    #[inline]
    fn add_assign(&mut self, other: Cycles) {
        self.0 = self.0.saturating_add(other.0);
    }
}

impl Sub for Cycles {
    type Output = Cycles;
    fn sub(self, other: Cycles) -> Cycles {
        self.saturating_sub(other)
    }
}

impl std::fmt::Display for Cycles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a cycle went. The snake_case name is the key in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Category {
    /// Straight-line instructions.
    Instructions,
    /// Loads and stores that hit.
    LoadStore,
    /// Load-reserve and store-conditional.
    Reservation,
    /// ERAT misses, TLB misses and hash-table walks by hardware.
    Translation,
    /// slbmte, slbie, slbia.
    Slb,
    /// Global TLB invalidations and the wait for their completion (tlbie, tlbsync).
    Tlbie,
    /// Local TLB invalidations.
    Tlbiel,
    /// ptesync.
    Ptesync,
    /// eieio, isync, lwsync.
    Barriers,
    /// Interrupt entry and return.
    Interrupts,
    /// Hypervisor call entry and return.
    Hypercalls,
    /// Waiting for an interrupt, or halted while other CPUs finish.
    Idle,
}

impl Category {
    /// Number of categories.
    pub const COUNT: usize = 12;
    /// All categories in report order.
    pub const ALL: [Category; Self::COUNT] = [
        Category::Instructions,
        Category::LoadStore,
        Category::Reservation,
        Category::Translation,
        Category::Slb,
        Category::Tlbie,
        Category::Tlbiel,
        Category::Ptesync,
        Category::Barriers,
        Category::Interrupts,
        Category::Hypercalls,
        Category::Idle,
    ];

    /// The snake_case name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Category::Instructions => "instructions",
            Category::LoadStore => "load_store",
            Category::Reservation => "reservation",
            Category::Translation => "translation",
            Category::Slb => "slb",
            Category::Tlbie => "tlbie",
            Category::Tlbiel => "tlbiel",
            Category::Ptesync => "ptesync",
            Category::Barriers => "barriers",
            Category::Interrupts => "interrupts",
            Category::Hypercalls => "hypercalls",
            Category::Idle => "idle",
        }
    }
}

/// Cycles by category. Their sum is the clock they were charged to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CycleStack([u64; Category::COUNT]);

impl CycleStack {
    /// Adds cycles to a category.
    #[inline]
    pub fn charge(&mut self, category: Category, cycles: Cycles) {
        self.0[category as usize] += cycles.get();
    }

    /// Cycles of one category.
    pub fn get(&self, category: Category) -> Cycles {
        Cycles(self.0[category as usize])
    }

    /// Sum over the categories.
    pub fn total(&self) -> Cycles {
        Cycles(self.0.iter().sum())
    }

    /// Adds another stack to this one.
    pub fn merge(&mut self, other: &CycleStack) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stack_sums_to_what_was_charged() {
        let mut stack = CycleStack::default();
        for (i, category) in Category::ALL.into_iter().enumerate() {
            assert_eq!(category as usize, i);
            stack.charge(category, Cycles::new(i as u64 + 1));
        }
        assert_eq!(
            stack.total(),
            Cycles::new((1..=Category::COUNT as u64).sum())
        );
    }
}
