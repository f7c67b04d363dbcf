//! A litmus test as it was read: names are numbers by then.

use super::words::Word;
use std::fmt;

/// A register of a task.
pub(super) type Register = usize;

/// A value: a constant or a register's, then bits cleared and set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub base: Base,
    pub clear: u64,
    pub set: u64,
}

/// What a value begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Constant(u64),
    Register(Register),
}

impl Value {
    pub const fn constant(value: u64) -> Self {
        Value {
            base: Base::Constant(value),
            clear: 0,
            set: 0,
        }
    }
}

/// Which of the 16 slots of a page's two groups: 8 and more lie in the secondary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// This number.
    Number(Value),
    /// The one that a PTE, in a register, records.
    OfPte(Register),
}

/// One operand of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Page(usize),
    Frame(usize),
    /// Real address of a doubleword.
    Word(u64),
    Cpu(u16),
    Slot(Slot),
    Value(Value),
}

/// One step of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Made only if this register is not 0 (true) or is 0.
    pub guard: Option<(Register, bool)>,
    /// Where the result goes.
    pub to: Option<Register>,
    pub word: Word,
    pub operands: Vec<Operand>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub name: String,
    /// The CPU it begins on, then those it may go on to.
    pub cpus: Vec<u16>,
    pub registers: Vec<String>,
    pub steps: Vec<Step>,
}

/// What can be seen when a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Location {
    Register(usize, Register),
    /// A doubleword at a real address.
    Word(u64),
    /// The frame that a PTE maps.
    Pte(usize),
    /// Bits of a PTE: 1 if all are set.
    PteBits(usize, u64),
    /// The frame that the first valid entry of a page maps.
    Hpte(usize),
    /// Bits of that entry's second (true) or first doubleword: 1 if these, under this mask, are set.
    HpteBits(usize, bool, u64, u64),
    /// Valid entries of a page.
    Hptes(usize),
    /// The frame that a CPU's ERAT or else its TLB has for a page.
    Tlb(u16, usize),
    /// Entries queued in a CPU's batch.
    Batch(u16),
    Active(u16),
    PreemptCount(usize),
    /// Where a task was last.
    Cpu(usize),
    Invariant(Invariant),
}

/// The invariants that a test may name: 1 if broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invariant {
    DuplicateHpte,
    StaleTranslation,
    StuckLock,
    UnbalancedPreempt,
    LostFlush,
}

impl Invariant {
    pub const ALL: [(&'static str, Invariant); 5] = [
        ("duplicate-hpte", Invariant::DuplicateHpte),
        ("stale-translation", Invariant::StaleTranslation),
        ("stuck-lock", Invariant::StuckLock),
        ("unbalanced-preempt", Invariant::UnbalancedPreempt),
        ("lost-flush", Invariant::LostFlush),
    ];
}

/// A condition on locations, by their number in [`Litmus`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Is {
        location: usize,
        value: u64,
        equal: bool,
    },
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
}

impl Condition {
    /// Whether it holds for the values of the locations.
    pub fn holds(&self, values: &[u64]) -> bool {
        match self {
            Condition::Is {
                location,
                value,
                equal,
            } => (values.get(*location) == Some(value)) == *equal,
            Condition::And(a, b) => a.holds(values) && b.holds(values),
            Condition::Or(a, b) => a.holds(values) || b.holds(values),
            Condition::Not(a) => !a.holds(values),
        }
    }
}

/// What is claimed of the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Claim {
    /// Some interleaving ends so.
    Exists,
    /// None does.
    Forbidden,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Claim::Exists => "exists",
            Claim::Forbidden => "forbidden",
        })
    }
}

/// What lies in memory and in the CPUs when the tasks begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Init {
    pub pages: Vec<String>,
    /// Name and first doubleword.
    pub frames: Vec<(String, u64)>,
    pub variables: Vec<(String, u64)>,
    /// PTE of each page.
    pub ptes: Vec<u64>,
    /// Page, slot, both doublewords.
    pub hptes: Vec<(usize, u8, u64, u64)>,
    /// CPU, page, whether it stored.
    pub cached: Vec<(u16, usize, bool)>,
    /// CPU, page, PTE.
    pub queued: Vec<(u16, usize, u64)>,
    pub active: Vec<u16>,
    /// Timer interrupts that one run may have.
    pub interrupts: usize,
}

/// A litmus test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Litmus {
    pub(super) name: String,
    pub(super) init: Init,
    pub(super) tasks: Vec<Task>,
    pub(super) claim: Claim,
    pub(super) condition: Condition,
    pub(super) condition_text: String,
    /// What the condition looks at, with what the test calls it.
    pub(super) locations: Vec<(Location, String)>,
}

impl Litmus {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// CPUs that it takes.
    pub fn cpus(&self) -> u16 {
        let of_tasks = self.tasks.iter().flat_map(|task| task.cpus.iter().copied());
        let of_init = self.init.cached.iter().map(|c| c.0);
        let of_batches = self.init.queued.iter().map(|q| q.0);
        let all = of_tasks.chain(of_init).chain(of_batches);
        let all = all.chain(self.init.active.iter().copied());
        let of_steps = self.tasks.iter().flat_map(|t| &t.steps);
        let of_steps = of_steps
            .flat_map(|s| s.operands.iter())
            .filter_map(|o| match o {
                Operand::Cpu(cpu) => Some(*cpu),
                _ => None,
            });
        let of_locations = self.locations.iter().filter_map(|(at, _)| match at {
            Location::Tlb(cpu, _) | Location::Batch(cpu) | Location::Active(cpu) => Some(*cpu),
            _ => None,
        });
        all.chain(of_steps).chain(of_locations).max().unwrap_or(0) + 1
    }
}
