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
    /// Loads that the first-level cache serves, and putting stores into the store queue.
    LoadStore,
    /// Lines from the second-level cache.
    L2,
    /// Lines from the third-level cache.
    L3,
    /// Lines from memory.
    Memory,
    /// Lines from another CPU, or taken from others.
    Transfer,
    /// Load-reserve and store-conditional.
    Reservation,
    /// ERAT misses, TLB misses and hash-table walks by hardware.
    Translation,
    /// slbmte, slbie, slbia.
    Slb,
    /// Issuing global TLB invalidations (tlbie).
    Tlbie,
    /// Waiting for them: for the bus, for their completion (tlbsync), and for those of other CPUs.
    TlbieWait,
    /// Local TLB invalidations.
    Tlbiel,
    /// ptesync.
    Ptesync,
    /// eieio, isync, lwsync.
    Barriers,
    /// Asynchronous interrupts: entry and return.
    Interrupts,
    /// Storage interrupts: entry and return.
    StorageInterrupts,
    /// Hypervisor call entry and return.
    Hypercalls,
    /// Waiting for an interrupt, or halted while other CPUs finish.
    Idle,
}

impl Category {
    /// Number of categories.
    pub const COUNT: usize = 18;
    /// All categories in report order.
    pub const ALL: [Category; Self::COUNT] = [
        Category::Instructions,
        Category::LoadStore,
        Category::L2,
        Category::L3,
        Category::Memory,
        Category::Transfer,
        Category::Reservation,
        Category::Translation,
        Category::Slb,
        Category::Tlbie,
        Category::TlbieWait,
        Category::Tlbiel,
        Category::Ptesync,
        Category::Barriers,
        Category::Interrupts,
        Category::StorageInterrupts,
        Category::Hypercalls,
        Category::Idle,
    ];

    /// The snake_case name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Category::Instructions => "instructions",
            Category::LoadStore => "load_store",
            Category::L2 => "l2",
            Category::L3 => "l3",
            Category::Memory => "memory",
            Category::Transfer => "transfer",
            Category::Reservation => "reservation",
            Category::Translation => "translation",
            Category::Slb => "slb",
            Category::Tlbie => "tlbie",
            Category::TlbieWait => "tlbie_wait",
            Category::Tlbiel => "tlbiel",
            Category::Ptesync => "ptesync",
            Category::Barriers => "barriers",
            Category::Interrupts => "interrupts",
            Category::StorageInterrupts => "storage_interrupts",
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

/// What the guest works at on a CPU, by a number that the guest gives it: a kernel path, such as giving an
/// area back. Cycles are kept apart by it, and within it by [`Path`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Job(u8);

impl Job {
    /// How many there may be.
    pub const COUNT: usize = 8;
    /// Nothing the guest has a number for.
    pub const OTHER: Job = Job(0);

    /// The job of that number, which is taken modulo [`Job::COUNT`].
    pub const fn new(number: u8) -> Self {
        Job(number % Self::COUNT as u8)
    }

    /// The number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize % Self::COUNT
    }
}

/// What part of its work a CPU is at, by a number that the guest gives it. Cycles are kept apart by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path(u8);

impl Path {
    /// How many there may be.
    pub const COUNT: usize = 16;
    /// Nothing the guest has a number for.
    pub const OTHER: Path = Path(0);

    /// The path of that number, which is taken modulo [`Path::COUNT`].
    pub const fn new(number: u8) -> Self {
        Path(number % Self::COUNT as u8)
    }

    /// The number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize % Self::COUNT
    }
}

/// Where a CPU's cycles go now: what its job and its path add to where they begin in [`PathStacks`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    job: u16,
    path: u16,
}

impl Place {
    const COUNT: usize = Job::COUNT * Path::COUNT;

    /// The same part of another job.
    #[inline(always)]
    pub const fn with_job(self, job: Job) -> Self {
        let job = (job.index() * Path::COUNT * Category::COUNT) as u16;
        Place { job, ..self }
    }

    /// Another part of the same job.
    #[inline(always)]
    pub const fn with_path(self, path: Path) -> Self {
        let path = (path.index() * Category::COUNT) as u16;
        Place { path, ..self }
    }

    const fn of(job: Job, path: Path) -> Self {
        Place { job: 0, path: 0 }.with_job(job).with_path(path)
    }

    /// Where its cycles begin in [`PathStacks`].
    #[inline(always)]
    pub const fn first(self) -> usize {
        self.job as usize + self.path as usize
    }
}

/// Cycles of a CPU by job, path and category. Their sum is its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStacks([u64; Place::COUNT * Category::COUNT]);

impl Default for PathStacks {
    fn default() -> Self {
        PathStacks([0; Place::COUNT * Category::COUNT])
    }
}

/// The cycles of a CPU while it runs: of every place, or not counted at all.
#[derive(Clone, Debug)]
pub(crate) struct Account(Vec<u64>);

impl Account {
    pub fn new() -> Self {
        Account(vec![0; Place::COUNT * Category::COUNT])
    }

    /// One that counts nothing: where a CPU is copied over and over.
    pub const fn none() -> Self {
        Account(Vec::new())
    }

    /// True if it counts nothing.
    pub const fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds cycles to a category of the place that begins at `first`.
    #[inline(always)]
    pub fn charge(&mut self, first: usize, category: Category, cycles: u64) {
        if let Some(counted) = self.0.get_mut(first + category as usize) {
            *counted += cycles;
        }
    }

    /// What was counted.
    pub fn stacks(&self) -> PathStacks {
        let mut stacks = PathStacks::default();
        for (stack, cycles) in stacks.0.iter_mut().zip(&self.0) {
            *stack = *cycles;
        }
        stacks
    }
}

impl PathStacks {
    /// Cycles of one path of a job.
    pub fn of(&self, job: Job, path: Path) -> CycleStack {
        let first = Place::of(job, path).first();
        CycleStack(std::array::from_fn(|category| self.0[first + category]))
    }

    /// Cycles of all jobs and paths, by category.
    pub fn sum(&self) -> CycleStack {
        let mut sum = CycleStack::default();
        for place in self.0.chunks_exact(Category::COUNT) {
            for (sum, cycles) in sum.0.iter_mut().zip(place) {
                *sum += cycles;
            }
        }
        sum
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

    #[test]
    fn every_path_of_every_job_has_a_place_of_its_own() {
        let mut account = Account::new();
        let all =
            || (0..8).flat_map(|job| (0..16).map(move |path| (Job::new(job), Path::new(path))));
        for (i, (job, path)) in all().enumerate() {
            let place = Place::default()
                .with_path(Path::new(15))
                .with_job(job)
                .with_path(path);
            assert_eq!(place, Place::default().with_path(path).with_job(job));
            account.charge(place.first(), Category::L2, i as u64);
        }
        let stacks = account.stacks();
        for (i, (job, path)) in all().enumerate() {
            assert_eq!(stacks.of(job, path).total(), Cycles::new(i as u64));
        }
        assert_eq!(stacks.sum().get(Category::L2), Cycles::new(127 * 64));
    }
}
