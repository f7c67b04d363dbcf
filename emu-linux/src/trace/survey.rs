//! The first pass over a capture: what is in it, what is missing, and what it recorded.
//!
//! Owns the survey and its warnings. It holds state in proportion to the live areas, not to the
//! length of the file, and refuses captures that would need more.

use super::areas::{AREAS_MAX, Areas, Step};
use super::mask_votes::{HtabSizes, MaskVotes};
use super::page_votes::PageVotes;
use super::recorded::Counter;
use super::unknown::Unknown;
use super::{
    Event, KERNEL_EA_START, MalformedSummary, Op, RangeFlush, Reader, Record, RecordedCounts,
    TaskId, TraceError,
};
use crate::config::Backend;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Tasks listed in a survey.
const TASKS_MAX: usize = 1 << 16;

/// An area to be mapped before the replay starts: the capture touches or frees it and does not
/// record its allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PreExisting {
    /// First byte.
    pub start: u64,
    /// End, guard page included where there is room for one.
    pub end: u64,
    /// Bytes to map.
    pub size_bytes: u64,
}

/// Records that no area explains, because the record of an allocation was lost; not replayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Unexplained {
    /// Kernel hash faults.
    pub touches: u64,
    /// Frees.
    pub frees: u64,
}

/// What the records tell about the recorded kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KernelHint {
    /// Native or hypercalls; `None` if no record tells.
    pub backend: Option<Backend>,
    /// Oldest release that can have written this: 6.2 brought the `vmalloc:*` tracepoints.
    pub release_min: Option<&'static str>,
    /// Sizes of the hash table that explain the recorded inserts.
    pub htab_bits: HtabSizes,
}

/// What a capture holds.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Survey {
    /// The file, as the caller named it.
    pub name: String,
    /// Lines of the file.
    pub lines: u64,
    /// Records of events the importer knows.
    pub records: u64,
    /// Records per known event.
    pub events: BTreeMap<&'static str, u64>,
    /// Records per other event; they are skipped. At most
    /// [`UNKNOWN_NAMES_MAX`](super::ftrace::UNKNOWN_NAMES_MAX) names.
    pub unknown_events: BTreeMap<String, u64>,
    /// Records of other events beyond those names.
    pub unknown_events_others: u64,
    /// The header.
    pub header: super::Header,
    /// Tasks with records, by first appearance; a task that changed its name stands twice.
    pub tasks: Vec<TaskId>,
    /// CPUs with records.
    pub cpus: Vec<u16>,
    /// Names of the `begin`/`end` segments, in order.
    pub segments: Vec<String>,
    /// Areas to be mapped before the replay.
    pub pre_existing: Vec<PreExisting>,
    /// Records that could not be explained and are not replayed.
    pub unexplained: Unexplained,
    /// Base page size in bytes, if the records show it.
    pub page_bytes: Option<u64>,
    /// Events the kernel lost while recording.
    pub lost_events: u64,
    /// Lines that could not be read.
    pub malformed: MalformedSummary,
    /// Whether allocations were recorded.
    pub has_allocations: bool,
    /// Whether kernel hash faults were recorded.
    pub has_touches: bool,
    /// Whether `hpte_need_flush` of kernel addresses was recorded.
    pub has_need_records: bool,
    /// Whether the operations are made up from the `vfree` and `need` records, because neither
    /// allocations nor touches were recorded: each area is mapped, touched where it was hashed, and
    /// unmapped, all at the point of its free. Counts then need not equal the recorded ones.
    pub synthesised: bool,
    /// What the records tell about the kernel.
    pub kernel_hint: KernelHint,
    /// What the kernel did, to compare with.
    pub recorded: RecordedCounts,
}

impl Survey {
    /// The survey of a capture called `name` that holds nothing.
    pub fn empty(name: impl Into<String>) -> Survey {
        Survey {
            name: name.into(),
            lines: 0,
            records: 0,
            events: BTreeMap::new(),
            unknown_events: BTreeMap::new(),
            unknown_events_others: 0,
            header: super::Header::default(),
            tasks: Vec::new(),
            cpus: Vec::new(),
            segments: Vec::new(),
            pre_existing: Vec::new(),
            unexplained: Unexplained::default(),
            page_bytes: None,
            lost_events: 0,
            malformed: MalformedSummary::default(),
            has_allocations: false,
            has_touches: false,
            has_need_records: false,
            synthesised: false,
            kernel_hint: KernelHint::default(),
            recorded: RecordedCounts::default(),
        }
    }
}

/// What the second pass needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub page_bytes: u64,
    pub unguarded: BTreeSet<u64>,
}

/// Reads the capture to its end.
pub(crate) fn survey(mut reader: Reader) -> Result<(Survey, Plan), TraceError> {
    let mut pass = Pass::default();
    while let Some(record) = reader.next_record()? {
        pass.record(&record);
        if pass.areas.len() + pass.unknown.len() > AREAS_MAX {
            let (name, what) = (
                reader.name().to_string(),
                "areas and pages to keep track of",
            );
            return Err(TraceError::Limit {
                name,
                line: record.line,
                what,
                max: AREAS_MAX,
            });
        }
    }
    pass.finish(&reader)
}

#[derive(Default)]
struct Pass {
    areas: Areas,
    unknown: Unknown,
    counter: Counter,
    steps: Vec<Step>,
    tasks: Vec<TaskId>,
    known_tasks: HashSet<TaskId>,
    last_task: Option<TaskId>,
    cpus: BTreeSet<u16>,
    pages: PageVotes,
    hint: KernelHint,
    mask: MaskVotes,
    has_touches: bool,
    has_need_records: bool,
}

impl Pass {
    fn record(&mut self, record: &Record) {
        if self.last_task != Some(record.task) {
            self.last_task = Some(record.task);
            if self.tasks.len() < TASKS_MAX && self.known_tasks.insert(record.task) {
                self.tasks.push(record.task);
            }
        }
        self.cpus.insert(record.cpu);
        self.counter.record(record);
        self.mask.record(&record.event);
        self.learn(&record.event);
        self.areas.set_page_bytes(self.pages.for_replay());
        self.areas.record(record, &mut self.steps);
        for step in self.steps.drain(..) {
            match step {
                Step::Op(Op::Map {
                    start,
                    end,
                    requested,
                    ..
                }) => {
                    self.unknown.mapped(start, end);
                    self.pages.area(start, end, requested);
                }
                Step::Op(_) => {}
                Step::UnknownTouch(addr) => self.unknown.touch(addr),
                Step::UnknownFree(addr) => self.unknown.free(addr),
            }
        }
    }

    /// Takes what one event tells about the kernel.
    fn learn(&mut self, event: &Event) {
        match *event {
            Event::HashFault { addr, .. } if addr >= KERNEL_EA_START => {
                self.has_touches = true;
                self.pages.address(addr);
            }
            Event::Vfree { addr } => self.pages.address(addr),
            Event::Valazy { start, end } => self.unknown.freed_end(start, end),
            Event::Need { addr, .. } => self.has_need_records |= addr >= KERNEL_EA_START,
            Event::Hpins { psize, .. } | Event::Fpage { psize, .. } => self.pages.psize(psize),
            Event::Tlbie { .. }
            | Event::Frange {
                routine: RangeFlush::Native,
                ..
            } => {
                self.hint.backend = self.hint.backend.or(Some(Backend::Native));
            }
            Event::HcallEntry { .. }
            | Event::Frange {
                routine: RangeFlush::Lpar,
                ..
            } => {
                self.hint.backend = Some(Backend::Lpar);
            }
            Event::AllocVmapArea { .. }
            | Event::FreeVmapAreaNoflush { .. }
            | Event::PurgeVmapAreaLazy { .. } => self.hint.release_min = Some("6.2"),
            _ => {}
        }
    }

    fn finish(self, reader: &Reader) -> Result<(Survey, Plan), TraceError> {
        let (name, stats) = (reader.name().to_string(), reader.stats());
        if stats.records == 0 {
            return Err(TraceError::NoRecords {
                name,
                malformed: stats.malformed.lines,
            });
        }
        let has = |events: &[&str]| events.iter().any(|event| stats.known.contains_key(event));
        let has_allocations = has(&["valloc", "vmap", "vallocret", "alloc_vmap_area"]);
        let synthesised = !has_allocations
            && !stats.known.contains_key("hash_fault")
            && self.has_need_records
            && has(&["vfree"]);
        let page_bytes = if synthesised {
            self.pages.hint()
        } else {
            Some(self.pages.for_replay())
        };
        let page_bytes = page_bytes.unwrap_or(4096);
        let (mut pre_existing, unexplained) = self.unknown.finish(page_bytes);
        if synthesised {
            pre_existing.clear();
        }
        let recorded = self.counter.finish();
        let survey = Survey {
            name,
            lines: stats.lines,
            records: stats.records,
            events: stats.known,
            unknown_events: stats.unknown,
            unknown_events_others: stats.unknown_others,
            header: stats.header,
            tasks: self.tasks,
            cpus: self.cpus.into_iter().collect(),
            segments: recorded
                .segments
                .iter()
                .map(|segment| segment.name.clone())
                .collect(),
            pre_existing,
            unexplained: if synthesised {
                Unexplained::default()
            } else {
                unexplained
            },
            page_bytes: self.pages.hint(),
            lost_events: stats.lost_events,
            malformed: stats.malformed,
            has_allocations,
            has_touches: self.has_touches,
            has_need_records: self.has_need_records,
            synthesised,
            kernel_hint: KernelHint {
                htab_bits: self.mask.sizes(),
                ..self.hint
            },
            recorded,
        };
        Ok((
            survey,
            Plan {
                page_bytes,
                unguarded: self.areas.into_unguarded(),
            },
        ))
    }
}
