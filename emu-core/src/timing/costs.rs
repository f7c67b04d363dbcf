//! The figures of a machine as a run reads them, and the schema of the files they come from.
//!
//! Owns the list of figures: each one's path in a profile, its unit and its range. Refuses sources and
//! files: those are the profile's.

use crate::cost::Cycles;
use std::collections::BTreeMap;

/// Unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// CPU cycles.
    Cycles,
    /// Bytes.
    Bytes,
    /// Entries, sets or ways.
    Count,
    /// 1 or 0.
    YesNo,
    /// Megahertz.
    Megahertz,
    /// Kilohertz.
    Kilohertz,
}

impl Unit {
    /// Its name in reports; empty for a count and for yes or no.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Cycles => "cycles",
            Unit::Bytes => "bytes",
            Unit::Count | Unit::YesNo => "",
            Unit::Megahertz => "MHz",
            Unit::Kilohertz => "kHz",
        }
    }
}

/// A figure that every profile has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Table and key in the profile, with a dot between them.
    pub path: &'static str,
    /// What it is, in words.
    pub about: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// Least value.
    pub min: u64,
    /// Greatest value.
    pub max: u64,
}

/// Straight-line instructions that are executed again and again, and what they cost on a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lump {
    instructions: u64,
    cycles: u64,
}

impl Lump {
    /// How many they are.
    pub const fn instructions(self) -> u64 {
        self.instructions
    }

    /// What they cost, in cycles.
    #[inline(always)]
    pub(crate) const fn cycles(self) -> u64 {
        self.cycles
    }
}

macro_rules! cost_table {
    ($($(#[doc = $doc:literal])* $field:ident = $path:literal, $unit:ident, $min:literal..=$max:literal;)*) => {
        /// The figures of one machine: its shape, and what each step costs.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct CostTable {
            $($(#[doc = $doc])* pub $field: u64,)*
            /// Instructions of each modelled kernel function, by its name.
            pub functions: BTreeMap<String, u64>,
        }

        impl CostTable {
            /// Every figure there is, in the order of a profile.
            pub const KEYS: &'static [Key] = &[
                $(Key {
                    path: $path,
                    about: concat!($($doc),*),
                    unit: Unit::$unit,
                    min: $min,
                    max: $max,
                },)*
            ];

            /// The table whose figures `get` gives by path.
            ///
            /// # Errors
            /// Those of `get`.
            pub(crate) fn from_figures<E>(
                get: impl Fn(&'static str) -> Result<u64, E>,
                functions: BTreeMap<String, u64>,
            ) -> Result<Self, E> {
                Ok(CostTable { $($field: get($path)?,)* functions })
            }

            /// Every step costs one cycle and nothing else does: order without timing.
            pub fn functional() -> Self {
                CostTable {
                    $($field: 1,)*
                    functions: BTreeMap::new(),
                }
                .without_added_latency()
            }

            /// [`CostTable::functional`] with this machine's shape and the instruction counts of its
            /// functions.
            pub fn into_functional(self) -> Self {
                let timed = |unit: Unit, value: u64| match unit {
                    Unit::Cycles => 1,
                    _ => value,
                };
                CostTable {
                    $($field: timed(Unit::$unit, self.$field),)*
                    functions: self.functions,
                }
                .without_added_latency()
            }
        }
    };
}

cost_table! {
    /// Clock frequency.
    frequency_mhz = "machine.frequency_mhz", Megahertz, 1..=100_000;
    /// Timebase frequency.
    timebase_khz = "machine.timebase_khz", Kilohertz, 1..=10_000_000;
    /// Cycles per hundred straight-line instructions.
    cycles_per_100_instructions = "machine.cycles_per_100_instructions", Cycles, 0..=100_000;
    /// Has segments of 1T, so that the kernel uses them.
    segments_1t = "features.segments_1t", YesNo, 0..=1;
    /// Has pages of 64K.
    pages_64k = "features.pages_64k", YesNo, 0..=1;
    /// Several CPUs may be in a tlbie sequence at a time; if not, the kernel takes a lock.
    lockless_tlbie = "features.lockless_tlbie", YesNo, 0..=1;
    /// Entries of the SLB.
    slb_entries = "geometry.slb_entries", Count, 32..=4096;
    /// Sets of the data ERAT, a power of two.
    erat_sets = "geometry.erat_sets", Count, 1..=65536;
    /// Ways of the data ERAT.
    erat_ways = "geometry.erat_ways", Count, 1..=65536;
    /// Sets of the instruction ERAT, a power of two.
    ierat_sets = "geometry.ierat_sets", Count, 1..=65536;
    /// Ways of the instruction ERAT.
    ierat_ways = "geometry.ierat_ways", Count, 1..=65536;
    /// Sets of the TLB, a power of two.
    tlb_sets = "geometry.tlb_sets", Count, 1..=65536;
    /// Ways of the TLB.
    tlb_ways = "geometry.tlb_ways", Count, 1..=65536;
    /// Size of the first-level data cache.
    l1d_bytes = "l1d.bytes", Bytes, 1024..=1_073_741_824;
    /// Ways of it.
    l1d_ways = "l1d.ways", Count, 1..=1024;
    /// Load that hits the first-level cache.
    load = "l1d.latency", Cycles, 0..=100_000;
    /// Store into the store queue.
    store = "l1d.store", Cycles, 0..=100_000;
    /// Size of each CPU's second-level cache.
    l2_bytes = "l2.bytes", Bytes, 1024..=1_073_741_824;
    /// Ways of it.
    l2_ways = "l2.ways", Count, 1..=1024;
    /// Load that the second-level cache serves.
    l2_latency = "l2.latency", Cycles, 0..=100_000;
    /// Size of the third-level cache that the CPUs share; 0: there is none.
    l3_bytes = "l3.bytes", Bytes, 0..=1_073_741_824;
    /// Ways of it.
    l3_ways = "l3.ways", Count, 1..=1024;
    /// Load that the third-level cache serves.
    l3_latency = "l3.latency", Cycles, 0..=100_000;
    /// Load that memory serves.
    memory_latency = "memory.latency", Cycles, 0..=100_000;
    /// Access to a line that another CPU holds.
    coherence_transfer = "coherence.transfer", Cycles, 0..=100_000;
    /// Store to a line that other CPUs hold too.
    coherence_upgrade = "coherence.upgrade", Cycles, 0..=100_000;
    /// ldarx that hits.
    load_reserve = "reservation.load_reserve", Cycles, 0..=100_000;
    /// stdcx. that hits.
    store_conditional = "reservation.store_conditional", Cycles, 0..=100_000;
    /// ERAT miss that hits the TLB, added to the access.
    erat_miss = "translation.erat_miss", Cycles, 0..=100_000;
    /// Fixed part of a hash-table walk; the groups come from L2 or beyond.
    walk = "translation.walk", Cycles, 0..=100_000;
    /// Hardware update of R or C.
    reference_change_update = "translation.reference_change_update", Cycles, 0..=100_000;
    /// slbmte.
    slbmte = "slb.slbmte", Cycles, 0..=100_000;
    /// slbie.
    slbie = "slb.slbie", Cycles, 0..=100_000;
    /// slbia.
    slbia = "slb.slbia", Cycles, 0..=100_000;
    /// Issuing one tlbie.
    tlbie = "tlb.tlbie", Cycles, 0..=100_000;
    /// How long one tlbie holds the bus on which they are broadcast.
    tlbie_bus = "tlb.tlbie_bus", Cycles, 0..=100_000;
    /// tlbsync: waiting until every CPU has done the tlbies.
    tlbsync = "tlb.tlbsync", Cycles, 0..=100_000;
    /// tlbsync, added for each further CPU.
    tlbsync_per_cpu = "tlb.tlbsync_per_cpu", Cycles, 0..=100_000;
    /// Receiving one tlbie from another CPU.
    tlbie_received = "tlb.tlbie_received", Cycles, 0..=100_000;
    /// One tlbiel.
    tlbiel = "tlb.tlbiel", Cycles, 0..=100_000;
    /// ptesync.
    ptesync = "order.ptesync", Cycles, 0..=100_000;
    /// eieio.
    eieio = "order.eieio", Cycles, 0..=100_000;
    /// isync.
    isync = "order.isync", Cycles, 0..=100_000;
    /// lwsync.
    lwsync = "order.lwsync", Cycles, 0..=100_000;
    /// Interrupt entry.
    interrupt_entry = "exception.interrupt_entry", Cycles, 0..=100_000;
    /// rfid.
    rfid = "exception.rfid", Cycles, 0..=100_000;
    /// Entry into the hypervisor by a call, with what it saves.
    hypercall_entry = "exception.hypercall_entry", Cycles, 0..=100_000;
    /// Return from it.
    hypercall_return = "exception.hypercall_return", Cycles, 0..=100_000;
    /// mtspr or mfspr, mtmsrd.
    special_register = "exception.special_register", Cycles, 0..=100_000;
    /// Delay from sending an inter-processor interrupt to its arrival.
    ipi = "exception.ipi", Cycles, 0..=100_000;
}

impl CostTable {
    fn without_added_latency(mut self) -> Self {
        self.frequency_mhz = 1000;
        self.timebase_khz = 1_000_000;
        self.cycles_per_100_instructions = 0;
        self.erat_miss = 0;
        self.walk = 0;
        self.l1d_bytes = 0;
        self.tlbie_bus = 0;
        self.reference_change_update = 0;
        self.tlbsync_per_cpu = 0;
        self.tlbie_received = 0;
        self
    }

    /// False if an access costs the same wherever its line is: without timing.
    pub(crate) fn has_caches(&self) -> bool {
        self.l1d_bytes > 0
    }

    /// `count` straight-line instructions, with what they cost.
    pub fn lump(&self, count: u64) -> Lump {
        Lump {
            instructions: count,
            cycles: self.instructions(count).get(),
        }
    }

    /// Cycles of `count` straight-line instructions.
    #[inline]
    pub fn instructions(&self, count: u64) -> Cycles {
        Cycles::new(count * self.cycles_per_100_instructions / 100)
    }

    /// Timebase ticks at a point of the clock.
    pub fn timebase(&self, clock: Cycles) -> u64 {
        (u128::from(clock.get()) * u128::from(self.timebase_khz)
            / (u128::from(self.frequency_mhz) * 1000)) as u64
    }

    /// Cycles in `micros` microseconds.
    pub fn micros(&self, micros: u64) -> Cycles {
        Cycles::new(micros.saturating_mul(self.frequency_mhz))
    }
}
