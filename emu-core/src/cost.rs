//! Cycles, the cost table and the cycle stack.
//!
//! Owns what each step costs on a machine and where cycles went. The figures are data
//! (`traces/machines/first.toml`), each with its source or the word `estimate`; none stands in code.
//! Refuses host time.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::{Add, AddAssign, Sub};

const FIRST_TABLE: &str = include_str!("../../traces/machines/first.toml");

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

/// A CPU of the first cost table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineKind {
    /// PowerPC 970 (G5): 256 MiB segments only, tlbie under a lock.
    Ppc970,
    /// POWER8: 1 TiB segments, lockless tlbie.
    Power8,
}

impl MachineKind {
    /// Name of the machine's table in the cost file.
    pub const fn name(self) -> &'static str {
        match self {
            MachineKind::Ppc970 => "ppc970",
            MachineKind::Power8 => "power8",
        }
    }
}

/// Why a cost table was refused.
#[derive(Debug, thiserror::Error)]
pub enum CostError {
    /// Not TOML of the expected shape.
    #[error("cost table: {0}")]
    Parse(#[from] toml::de::Error),
    /// The file has no table of that name.
    #[error("cost table has no machine `{0}`")]
    NoMachine(String),
    /// A figure has neither a source nor the word `estimate`.
    #[error("cost `{0}` names no source; write where the figure is from, or `estimate`")]
    NoSource(String),
    /// A machine lacks a figure.
    #[error("machine `{machine}` has no figure for `{key}`")]
    Missing {
        /// The machine's name.
        machine: String,
        /// The missing key.
        key: &'static str,
    },
}

#[derive(Deserialize)]
struct Figure {
    value: u64,
    source: String,
}

macro_rules! cost_table {
    ($($(#[$doc:meta])* $field:ident),* $(,)?) => {
        /// What each step costs on one machine, in cycles unless the field says otherwise.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct CostTable {
            $($(#[$doc])* pub $field: u64,)*
            /// Instructions of each modelled kernel function, by its name.
            pub functions: BTreeMap<String, u64>,
        }

        impl CostTable {
            fn from_figures(
                machine: &str,
                figures: &BTreeMap<String, Figure>,
                functions: BTreeMap<String, u64>,
            ) -> Result<Self, CostError> {
                let get = |key: &'static str| {
                    figures.get(key).map(|f| f.value).ok_or_else(|| CostError::Missing {
                        machine: machine.to_owned(),
                        key,
                    })
                };
                Ok(CostTable { $($field: get(stringify!($field))?,)* functions })
            }

            /// Every step costs one cycle and nothing else does: order without timing.
            pub fn functional() -> Self {
                CostTable {
                    $($field: 1,)*
                    functions: BTreeMap::new(),
                }
                .without_added_latency()
            }
        }
    };
}

cost_table! {
    /// Clock frequency in MHz.
    frequency_mhz,
    /// Timebase frequency in kHz.
    timebase_khz,
    /// Cycles per hundred straight-line instructions.
    cycles_per_100_instructions,
    /// Load that hits the first-level cache.
    load,
    /// Store into the store queue.
    store,
    /// ldarx that hits.
    load_reserve,
    /// stdcx. that hits.
    store_conditional,
    /// ERAT miss that hits the TLB, added to the access.
    erat_miss,
    /// Fixed part of a hash-table walk.
    walk,
    /// Reading one group of the hash table in a walk.
    walk_group,
    /// Hardware update of R or C.
    reference_change_update,
    /// slbmte.
    slbmte,
    /// slbie.
    slbie,
    /// slbia.
    slbia,
    /// Issuing one tlbie.
    tlbie,
    /// tlbsync: waiting until every CPU has done the tlbies.
    tlbsync,
    /// tlbsync, added for each further CPU.
    tlbsync_per_cpu,
    /// Receiving one tlbie from another CPU.
    tlbie_received,
    /// One tlbiel.
    tlbiel,
    /// ptesync.
    ptesync,
    /// eieio.
    eieio,
    /// isync.
    isync,
    /// lwsync.
    lwsync,
    /// Interrupt entry.
    interrupt_entry,
    /// rfid.
    rfid,
    /// Entry into the hypervisor by a call, with what it saves.
    hypercall_entry,
    /// Return from it.
    hypercall_return,
    /// mtspr or mfspr, mtmsrd.
    special_register,
    /// Delay from sending an inter-processor interrupt to its arrival.
    ipi,
}

impl CostTable {
    /// The built-in table of a machine.
    ///
    /// # Errors
    /// If the built-in file were damaged; a test reads it.
    pub fn builtin(machine: MachineKind) -> Result<Self, CostError> {
        Self::parse(FIRST_TABLE, machine.name())
    }

    /// Reads the table of `machine` from TOML text.
    ///
    /// # Errors
    /// Text that does not parse, a machine that is not in it, a missing figure, a figure without source.
    pub fn parse(text: &str, machine: &str) -> Result<Self, CostError> {
        type File = BTreeMap<String, BTreeMap<String, Figure>>;
        let mut file: File = toml::from_str(text)?;
        for (table, figures) in &file {
            for (key, figure) in figures {
                if figure.source.trim().is_empty() {
                    return Err(CostError::NoSource(format!("{table}.{key}")));
                }
            }
        }
        let functions = file.remove("functions").unwrap_or_default();
        let functions = functions
            .into_iter()
            .map(|(name, f)| (name, f.value))
            .collect();
        let figures = file
            .get(machine)
            .ok_or_else(|| CostError::NoMachine(machine.to_owned()))?;
        Self::from_figures(machine, figures, functions)
    }

    /// [`CostTable::functional`] with the instruction counts of this table's functions.
    pub fn into_functional(self) -> Self {
        CostTable {
            functions: self.functions,
            ..Self::functional()
        }
    }

    fn without_added_latency(mut self) -> Self {
        self.frequency_mhz = 1000;
        self.timebase_khz = 1_000_000;
        self.cycles_per_100_instructions = 0;
        self.erat_miss = 0;
        self.walk = 0;
        self.walk_group = 0;
        self.reference_change_update = 0;
        self.tlbsync_per_cpu = 0;
        self.tlbie_received = 0;
        self
    }

    /// Cycles of `count` straight-line instructions.
    #[inline]
    pub fn instructions(&self, count: u64) -> Cycles {
        Cycles(count * self.cycles_per_100_instructions / 100)
    }

    /// Timebase ticks at a point of the clock.
    pub fn timebase(&self, clock: Cycles) -> u64 {
        (u128::from(clock.get()) * u128::from(self.timebase_khz)
            / (u128::from(self.frequency_mhz) * 1000)) as u64
    }

    /// Cycles in `micros` microseconds.
    pub fn micros(&self, micros: u64) -> Cycles {
        Cycles(micros.saturating_mul(self.frequency_mhz))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_tables_are_complete_and_sourced() {
        for machine in [MachineKind::Ppc970, MachineKind::Power8] {
            let table = CostTable::builtin(machine).unwrap();
            assert!(table.tlbsync > 0 && table.frequency_mhz > 0);
        }
    }

    #[test]
    fn a_figure_without_source_is_refused() {
        let text = "[m]\nload = { value = 4, source = \" \" }";
        assert!(
            matches!(CostTable::parse(text, "m"), Err(CostError::NoSource(k)) if k == "m.load")
        );
    }

    #[test]
    fn a_missing_figure_and_machine_are_named() {
        let text = "[m]\nload = { value = 4, source = \"estimate\" }";
        assert!(matches!(
            CostTable::parse(text, "m"),
            Err(CostError::Missing { .. })
        ));
        assert!(matches!(CostTable::parse(text, "g5"), Err(CostError::NoMachine(m)) if m == "g5"));
    }

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
