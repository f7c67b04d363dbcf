//! What the recorded kernel did, counted from the capture, to compare a replay with.
//!
//! Owns the counting rules. Nothing here is replayed. Kernel-side means `init_mm`, which is the mm
//! of the `hpte_need_flush` records of kernel addresses; without such a record it stays unknown and
//! the counts that need it stay 0.

use super::{Event, KERNEL_EA_START, Record};
use serde::Serialize;
use std::collections::BTreeMap;

/// Batch sizes kept in order, per segment and for the whole file.
pub const BATCHES_MAX: usize = 1 << 14;
/// Segments kept.
pub const SEGMENTS_MAX: usize = 1 << 12;
/// Segments open at a time.
const OPEN_SEGMENTS_MAX: usize = 16;
/// Distinct batch sizes and hypercalls counted apart.
const DISTINCT_MAX: usize = 1 << 10;

/// Counts over the whole capture or one segment of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Entries of `__vmalloc_node_range`.
    pub valloc: u64,
    /// Entries of `remove_vm_area` or `vfree`, those of address 0 included.
    pub vfree: u64,
    /// Hash faults of kernel addresses.
    pub kfault: u64,
    /// HPTE inserts that followed them.
    pub kinsert: u64,
    /// `hpte_need_flush` of kernel addresses: hashed PTEs that changed.
    pub kneed: u64,
    /// Kernel pages flushed alone, outside a batch.
    pub kflush_page: u64,
    /// Batches of `init_mm` flushed.
    pub nkbatches: u64,
    /// Entries in them.
    pub kbatched: u64,
    /// Batch size -> how many batches of `init_mm` had it.
    pub kbatch_hist: BTreeMap<u64, u64>,
    /// Sizes of the batches of `init_mm`, in order; the first [`BATCHES_MAX`].
    pub kbatches: Vec<u64>,
    /// Global invalidations (`tlbie`, `local=0`), user ones included.
    pub tlbie: u64,
    /// Local invalidations (`tlbiel`, `local=1`).
    pub tlbiel: u64,
    /// Hypercall opcode -> calls, user pages' included (opcodes: PAPR 2.8).
    pub hcalls: BTreeMap<u64, u64>,
}

/// Counts between `begin NAME` and `end NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentCounts {
    /// The NAME.
    pub name: String,
    /// Line of the `begin` mark.
    pub begin_line: u64,
    /// Line of the `end` mark; `None` if the capture has none.
    pub end_line: Option<u64>,
    /// The counts.
    pub counts: Counts,
}

/// Everything a capture recorded about the hash table and the batches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RecordedCounts {
    /// Address of `init_mm`; `None` if the capture has no kernel `hpte_need_flush` record.
    pub init_mm: Option<u64>,
    /// The whole file.
    pub whole: Counts,
    /// Segments, in order of their `begin`; at most [`SEGMENTS_MAX`].
    pub segments: Vec<SegmentCounts>,
    /// Segments beyond those, and `end` marks without `begin`.
    pub segments_dropped: u64,
}

/// One count of a record.
enum Count {
    Valloc,
    Vfree,
    Kfault,
    Kinsert,
    Kneed,
    KflushPage,
    Kbatch(u64),
    Tlbie,
    Tlbiel,
    Hcall(u64),
}

impl Counts {
    fn add(&mut self, count: &Count) {
        match *count {
            Count::Valloc => self.valloc += 1,
            Count::Vfree => self.vfree += 1,
            Count::Kfault => self.kfault += 1,
            Count::Kinsert => self.kinsert += 1,
            Count::Kneed => self.kneed += 1,
            Count::KflushPage => self.kflush_page += 1,
            Count::Tlbie => self.tlbie += 1,
            Count::Tlbiel => self.tlbiel += 1,
            Count::Hcall(opcode) => add_distinct(&mut self.hcalls, opcode),
            Count::Kbatch(size) => {
                self.nkbatches += 1;
                self.kbatched = self.kbatched.saturating_add(size);
                add_distinct(&mut self.kbatch_hist, size);
                if self.kbatches.len() < BATCHES_MAX {
                    self.kbatches.push(size);
                }
            }
        }
    }
}

fn add_distinct(counts: &mut BTreeMap<u64, u64>, key: u64) {
    if counts.len() < DISTINCT_MAX || counts.contains_key(&key) {
        *counts.entry(key).or_default() += 1;
    }
}

/// Finds the insert a kernel hash fault led to: the next `hpins` on its CPU, by the same task, of
/// the same page. The handler runs with interrupts off, so nothing else may stand between but the
/// attempt to update an old entry (`hpupd`).
#[derive(Debug, Default)]
pub(crate) struct FaultInserts {
    /// CPU -> task, address and line of the fault.
    waiting: BTreeMap<u16, (u32, u64, u64)>,
}

impl FaultInserts {
    /// Takes a record. `Some(true)`: it is the insert of the fault that waited on its CPU;
    /// `Some(false)`: that fault has no insert; `None`: no news.
    pub fn record(&mut self, record: &Record) -> Option<bool> {
        match record.event {
            Event::Hpupd { .. } | Event::Tlbie { .. } => None,
            Event::HcallEntry { .. } | Event::HcallExit { .. } => None,
            Event::Hpins { vpn, psize, .. } => {
                let (pid, addr, _) = self.waiting.remove(&record.cpu)?;
                Some(pid == record.task.pid && same_page(vpn, addr, psize))
            }
            Event::HashFault { addr, .. } if addr >= KERNEL_EA_START => {
                let fault = (record.task.pid, addr, record.line);
                self.waiting.insert(record.cpu, fault).map(|_| false)
            }
            _ => self.waiting.remove(&record.cpu).map(|_| false),
        }
    }

    /// Whether the fault of `line` waits on `cpu`.
    pub fn waits(&self, cpu: u16, line: u64) -> bool {
        self.waiting
            .get(&cpu)
            .is_some_and(|&(_, _, fault)| fault == line)
    }
}

/// Whether `vpn` (4 KiB units) can be the page of `addr`: its bits within 256 MiB, which no segment
/// size hashes. Pages larger than 4 KiB leave the low 4 bits open.
fn same_page(vpn: u64, addr: u64, psize: i64) -> bool {
    let mask = if psize == 0 { 0xffff } else { 0xfff0 };
    (vpn ^ (addr >> 12)) & mask == 0
}

/// Counts records.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    recorded: RecordedCounts,
    open: Vec<usize>,
    inserts: FaultInserts,
    /// Task -> address of its `hpte_need_flush` that no flush followed yet.
    queued: BTreeMap<u32, u64>,
}

impl Counter {
    /// Counts one record.
    pub fn record(&mut self, record: &Record) {
        if let Event::Mark(text) = &record.event {
            self.mark(record.line, text);
            return;
        }
        if let Some(true) = self.inserts.record(record) {
            self.add(&Count::Kinsert);
        }
        let pid = record.task.pid;
        match record.event {
            Event::Valloc { .. } => self.add(&Count::Valloc),
            Event::Vfree { .. } => self.add(&Count::Vfree),
            Event::HashFault { addr, .. } if addr >= KERNEL_EA_START => self.add(&Count::Kfault),
            Event::Need { mm, addr, .. } if addr >= KERNEL_EA_START => {
                self.recorded.init_mm = Some(mm);
                if self.queued.len() >= DISTINCT_MAX {
                    self.queued.clear();
                }
                self.queued.insert(pid, addr);
                self.add(&Count::Kneed);
            }
            Event::Pending { index, mm, .. } => {
                self.queued.remove(&pid);
                if self.recorded.init_mm == Some(mm) {
                    self.add(&Count::Kbatch(index));
                }
            }
            Event::Fpage { vpn, psize, .. } => {
                let queued = self.queued.remove(&pid);
                if queued.is_some_and(|addr| same_page(vpn, addr, psize)) {
                    self.add(&Count::KflushPage);
                }
            }
            Event::Tlbie { local: 0, .. } => self.add(&Count::Tlbie),
            Event::Tlbie { .. } => self.add(&Count::Tlbiel),
            Event::HcallEntry { opcode } => self.add(&Count::Hcall(opcode)),
            _ => {}
        }
    }

    /// The counts, after the last record.
    pub fn finish(self) -> RecordedCounts {
        self.recorded
    }

    fn add(&mut self, count: &Count) {
        self.recorded.whole.add(count);
        for &at in &self.open {
            self.recorded.segments[at].counts.add(count);
        }
    }

    fn mark(&mut self, line: u64, text: &str) {
        let segments = &mut self.recorded.segments;
        if let Some(name) = text.strip_prefix("begin ") {
            if segments.len() >= SEGMENTS_MAX || self.open.len() >= OPEN_SEGMENTS_MAX {
                self.recorded.segments_dropped += 1;
                return;
            }
            self.open.push(segments.len());
            segments.push(SegmentCounts {
                name: name.to_string(),
                begin_line: line,
                end_line: None,
                counts: Counts::default(),
            });
        } else if let Some(name) = text.strip_prefix("end ") {
            match self.open.iter().rposition(|&at| segments[at].name == name) {
                Some(at) => segments[self.open.remove(at)].end_line = Some(line),
                None => self.recorded.segments_dropped += 1,
            }
        }
    }
}
