//! What a run reports: counters, segments, reports of the kernel, violations, cycles.
//!
//! Owns the shape of the JSON (`schema` names its version) and the live counters behind it. Refuses to
//! print: text is the command's.

mod trace;

pub use trace::TraceReport;

use crate::latency::Latency;
use crate::leaks::{Accounting, Leak};
use crate::memmap::batch;
use crate::span::LongestSpans;
use crate::timeline::Timeline;
use emu_mmu::Hcall;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Version of the JSON of [`RunReport`].
pub const RUN_SCHEMA: &str = "ppc-mmu-emu/run/1";
/// Version of the JSON of [`CompareReport`].
pub const COMPARE_SCHEMA: &str = "ppc-mmu-emu/compare/1";

/// Entries of the kernel's own flush batch (PPC64_TLB_BATCH_NR).
pub const BATCH_ENTRIES: u64 = batch::ENTRIES;
/// Most entries that a batch can be given.
pub const BATCH_ENTRIES_MAX: usize = batch::ENTRIES_MAX as usize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Live counters, kernel-side (init_mm) unless a field says otherwise.
        #[derive(Debug)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
            /// How many batches of each size were flushed; the index is the size.
            pub batch_sizes: [AtomicU64; BATCH_ENTRIES_MAX + 1],
            /// Hypervisor calls on the table; the index is the [`Hcall`].
            pub hcalls: [AtomicU64; Hcall::COUNT],
        }

        impl Default for Counters {
            fn default() -> Self {
                Counters {
                    $($name: AtomicU64::new(0),)*
                    batch_sizes: std::array::from_fn(|_| AtomicU64::new(0)),
                    hcalls: std::array::from_fn(|_| AtomicU64::new(0)),
                }
            }
        }

        /// Values of [`Counters`] at one moment, or their growth between two.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct CounterValues {
            $($(#[$doc])* pub $name: u64,)*
            /// Size of a batch -> how many of that size were flushed.
            pub batch_sizes: BTreeMap<u64, u64>,
            /// Hypervisor calls by name; empty on the native back end.
            pub hcalls: BTreeMap<String, u64>,
        }

        impl Counters {
            /// Back to zero: what happened so far was preparation.
            pub fn reset(&self) {
                $(self.$name.store(0, Ordering::Relaxed);)*
                for of_size in self.batch_sizes.iter().chain(&self.hcalls) {
                    of_size.store(0, Ordering::Relaxed);
                }
            }

            /// Their values now.
            pub fn values(&self) -> CounterValues {
                CounterValues {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    batch_sizes: self.batch_sizes.iter().enumerate()
                        .map(|(size, n)| (size as u64, n.load(Ordering::Relaxed)))
                        .filter(|&(_, n)| n > 0)
                        .collect(),
                    hcalls: Hcall::ALL.iter().zip(&self.hcalls)
                        .map(|(call, n)| (call.name().to_owned(), n.load(Ordering::Relaxed)))
                        .filter(|&(_, n)| n > 0)
                        .collect(),
                }
            }
        }

        impl CounterValues {
            /// Growth since `earlier`. The two longest spans are maxima, not sums: they are kept.
            pub fn since(&self, earlier: &CounterValues) -> CounterValues {
                let mut grown = CounterValues {
                    $($name: self.$name - earlier.$name,)*
                    batch_sizes: self.batch_sizes.iter()
                        .map(|(size, n)| (*size, n - earlier.batch_sizes.get(size).unwrap_or(&0)))
                        .filter(|&(_, n)| n > 0)
                        .collect(),
                    hcalls: self.hcalls.iter()
                        .map(|(name, n)| {
                            (name.clone(), n - earlier.hcalls.get(name).unwrap_or(&0))
                        })
                        .filter(|&(_, n)| n > 0)
                        .collect(),
                };
                grown.preempt_off_cycles_max = self.preempt_off_cycles_max;
                grown.irqs_off_cycles_max = self.irqs_off_cycles_max;
                grown
            }
        }
    };
}

counters! {
    /// vmalloc areas allocated and mapped.
    vmalloc,
    /// vmalloc areas unmapped and freed.
    vfree,
    /// Linux PTEs set.
    ptes_set,
    /// Linux PTEs cleared that were present.
    ptes_cleared,
    /// Hash faults (entries of the hash-fault path).
    hash_faults,
    /// HPTEs inserted by hash faults.
    hpte_inserts,
    /// HPTEs evicted because both groups were full.
    hpte_evictions,
    /// HPTEs whose V was cleared by a flush.
    hpte_invalidations,
    /// Calls of hpte_need_flush.
    need_flush,
    /// Batches flushed (`__flush_tlb_pending`), batches of one included.
    batch_flushes,
    /// Entries in those batches.
    batched_entries,
    /// Pages flushed outside a batch.
    single_flushes,
    /// Global TLB invalidations.
    tlbie,
    /// Local TLB invalidations.
    tlbiel,
    /// Queued entries flushed more than once.
    flushes_repeated,
    /// Context switches, all tasks.
    context_switches,
    /// Context switches that the task did not ask for.
    preemptions,
    /// Times a task went on on another CPU than before.
    migrations,
    /// Longest span with preemption off, in cycles, idle excluded.
    preempt_off_cycles_max,
    /// Longest span with interrupts off on any CPU, in cycles: local_irq_save, exceptions that disable
    /// them, hypervisor calls; idle excluded.
    irqs_off_cycles_max,
}

/// Adds one to a counter.
#[inline]
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One message of debug_smp_processor_id or of the scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelReport {
    /// Name of the task.
    pub comm: String,
    /// Its process id.
    pub pid: u32,
    /// The first line.
    pub message: String,
    /// `symbol+offset/size` of the caller.
    pub caller: String,
    /// The call chain, innermost first, as printed.
    pub chain: Vec<String>,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ViolationReport {
    /// Stable name of the invariant, such as `duplicate-hpte`.
    pub kind: String,
    /// How often it was broken.
    pub count: u64,
    /// The first time: what, where, by whom, and the events that led to it.
    pub first: ViolationDetail,
}

/// One violation in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ViolationDetail {
    /// One sentence for a person.
    pub message: String,
    /// CPU it happened on.
    pub cpu: u16,
    /// That CPU's clock, in cycles.
    pub cycle: u64,
    /// Task that ran.
    pub comm: String,
    /// Its process id.
    pub pid: u32,
    /// The last events before it, oldest first.
    pub history: Vec<String>,
}

/// What happened between `begin NAME` and `end NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// NAME.
    pub name: String,
    /// Growth of the counters.
    #[serde(flatten)]
    pub counters: CounterValues,
    /// Sizes of the kernel batches flushed, in order.
    pub batches: Vec<u64>,
}

/// Comparison of the group computed for each insert with the recorded one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupComparison {
    /// Inserts whose group is the recorded one.
    pub matched: u64,
    /// Inserts whose group is another.
    pub mismatched: u64,
}

/// Where the cycles went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CycleReport {
    /// Sum over the CPUs.
    pub total: u64,
    /// Each CPU's clock at the end.
    pub per_cpu: Vec<u64>,
    /// Category -> cycles; they sum to `total`.
    pub stack: BTreeMap<String, u64>,
    /// Part of the kernel's work, by the names of [`crate::PART_NAMES`] and [`crate::OTHER_PART`] -> cycles;
    /// they sum to `total`.
    pub parts: BTreeMap<String, u64>,
    /// Kernel path -> the parts of its cycles; all of them sum to `total`. A flush within an unmapping is a
    /// flush, and a fault within it a fault.
    pub paths: BTreeMap<String, BTreeMap<String, u64>>,
    /// The parts for each CPU; they sum to its clock.
    pub parts_per_cpu: Vec<BTreeMap<String, u64>>,
}

/// Result of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunReport {
    /// [`RUN_SCHEMA`].
    pub schema: String,
    /// Scenario name, or the trace's file name.
    pub scenario: String,
    /// Policy name.
    pub policy: String,
    /// Kernel layout, `2.6.38` or `6.1`.
    pub kernel: String,
    /// Base page size, `4k`.
    pub pages: String,
    /// Writer of the hash table, `native` or `lpar`.
    pub backend: String,
    /// Machine of the cost table.
    pub machine: String,
    /// log2 of the number of groups of the hash table.
    pub htab_bits: u8,
    /// Number of CPUs.
    pub cpus: u16,
    /// Where kernel code can be preempted, `none`, `full` or `rt`.
    pub preempt: String,
    /// Entries that a flush batch holds.
    pub batch_size: u64,
    /// The engine, `deterministic` or `threads`.
    pub mode: String,
    /// What a step costs, `functional` or `cycle`.
    pub timing: String,
    /// Seed of the run.
    pub seed: u64,
    /// Schedule string that replays the run's choices, unless it is very long or the host made them.
    pub schedule: Option<String>,
    /// The counters at the end.
    pub counters: CounterValues,
    /// Segments in order.
    pub segments: Vec<Segment>,
    /// Present when the trace has insert records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupComparison>,
    /// Messages of the kernel about itself, as printed (rate limited).
    pub reports: Vec<KernelReport>,
    /// Messages that the rate limit swallowed.
    pub reports_suppressed: u64,
    /// True if the invariants were checked.
    pub checked: bool,
    /// Entries that were queued in batches; present where the invariants were checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries_queued: Option<u64>,
    /// Those of them whose page the hardware was seen to invalidate in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries_flushed: Option<u64>,
    /// Broken invariants.
    pub violations: Vec<ViolationReport>,
    /// Allocations and what was not given back; present where something was made to fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accounting: Option<Accounting>,
    /// How the kernel died or where it hangs, if it did not live to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oops: Option<String>,
    /// Cycles.
    pub cycles: CycleReport,
    /// Where the longest spans with preemption and with interrupts off were.
    pub longest_spans: LongestSpans,
    /// How long operations took, by name; empty where steps take no time.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub latency: BTreeMap<String, Latency>,
    /// The trace that was replayed, what it says itself, and what was odd in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceReport>,
    /// What happened when, if it was asked for; not part of the JSON.
    #[serde(skip)]
    pub timeline: Option<Timeline>,
    /// The kernel log, line by line; not part of the JSON.
    #[serde(skip)]
    pub kernel_log: Vec<String>,
}

impl RunReport {
    /// True if an invariant was broken, something was not given back or the kernel died of what it had
    /// reported.
    pub fn found_violation(&self) -> bool {
        let died_of_it = self.oops.is_some() && !self.reports.is_empty();
        !self.violations.is_empty() || !self.leaks().is_empty() || died_of_it
    }

    /// What was not given back, as far as it was looked at.
    pub fn leaks(&self) -> &[Leak] {
        self.accounting.as_ref().map_or(&[], |found| &found.leaks)
    }
}

/// Result of `compare`.
#[derive(Clone, Debug, Serialize)]
pub struct CompareReport {
    /// [`COMPARE_SCHEMA`].
    pub schema: String,
    /// Scenario name, or the trace's file name.
    pub scenario: String,
    /// One run for each policy, in the order asked for.
    pub runs: Vec<RunReport>,
}
