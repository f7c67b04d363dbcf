//! Pairs allocation and free records into areas, and turns records into replay operations.
//!
//! Owns which kernel areas are mapped at each point of the capture. The order in the kernel (Linux
//! 6.1 mm/vmalloc.c, `__vmalloc_node_range`): the address range first (`vmap`), then the array of
//! page pointers (a nested `vmalloc` if it is larger than a page), then the pages, then the PTEs;
//! so an area is mapped where its `vallocret` stands, and the nested one before it. Decisions for
//! captures that are not whole:
//!
//! * `vmap` outside a `valloc` of the task (`ioremap`, `vmap`, `vm_map_ram`): mapped at once.
//! * `valloc` and `vmap` without `vallocret`: mapped at its first touch; untouched, it is left out,
//!   since an area without hashed pages has no effect on any count.
//! * `vallocret` without `vmap`: mapped there, with the size of its `valloc`. Without `valloc` too,
//!   its start lies before the capture: the first touch or the free makes it known.
//! * A free in an interrupt only queues the area (`vfree_atomic`); the record of the worker counts.
//! * `free_vmap_area_noflush` of an area that is still mapped: its free had no `vfree` record.
//! * An area given out again while mapped: its free was not recorded, and is put in front.
//! * Touches and frees of addresses nobody allocated go to [`Step::Unknown`].

use super::{Event, KERNEL_EA_START, Op, Record, TaskId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most areas mapped at a time, and most of every other kind of state.
pub(crate) const AREAS_MAX: usize = 1 << 20;
/// Deepest nesting of `vmalloc` within `vmalloc`; the kernel's is 2.
const OPEN_MAX: usize = 16;

/// Smallest page: every area boundary is a multiple of it.
pub(crate) const GRANULE_BYTES: u64 = 4096;

/// What a record means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// An operation to replay.
    Op(Op),
    /// A touch of an address that no known area holds.
    UnknownTouch(u64),
    /// A free of an address at which no known area starts.
    UnknownFree(u64),
}

#[derive(Debug, Clone, Copy)]
struct Live {
    end: u64,
    mapped_end: u64,
    /// Line of its `vmap`, by which both passes name it; 0 if mapped before the capture.
    line: u64,
    /// Who mapped it.
    task: Option<TaskId>,
}

/// An area with an address, not yet mapped.
#[derive(Debug, Clone, Copy)]
struct Area {
    start: u64,
    end: u64,
    line: u64,
    task: TaskId,
    requested: Option<u64>,
}

/// A `vmalloc` that has not returned.
#[derive(Debug)]
struct Open {
    requested: u64,
    area: Option<Area>,
}

/// The areas at one point of the capture.
#[derive(Debug, Default)]
pub(crate) struct Areas {
    page_bytes: u64,
    live: BTreeMap<u64, Live>,
    open: HashMap<TaskId, Vec<Open>>,
    /// Areas in `open`, by start.
    waiting: BTreeMap<u64, Area>,
    /// Lines of `vmap` records whose last page is no guard page, because it was touched.
    unguarded: BTreeSet<u64>,
    /// Whether `unguarded` is complete.
    second_pass: bool,
}

impl Areas {
    /// No area yet. `unguarded` is what a first pass over the capture found.
    pub fn new(page_bytes: u64, unguarded: BTreeSet<u64>) -> Areas {
        Areas {
            page_bytes,
            unguarded,
            second_pass: true,
            ..Areas::default()
        }
    }

    /// Adds an area that was mapped before the capture began.
    pub fn add_live(&mut self, start: u64, end: u64, mapped_end: u64) {
        self.live.insert(
            start,
            Live {
                end,
                mapped_end,
                line: 0,
                task: None,
            },
        );
    }

    /// The areas whose last page was touched; for the second pass.
    pub fn into_unguarded(self) -> BTreeSet<u64> {
        self.unguarded
    }

    /// Sets the page size, once the capture has shown it.
    pub fn set_page_bytes(&mut self, page_bytes: u64) {
        self.page_bytes = page_bytes;
    }

    /// How much state is held.
    pub fn len(&self) -> usize {
        self.live.len() + self.waiting.len() + self.open.len() + self.unguarded.len()
    }

    /// Whether a live area holds `addr`.
    fn covers(&self, addr: u64) -> bool {
        self.live
            .range(..=addr)
            .next_back()
            .is_some_and(|(_, live)| addr < live.end)
    }

    /// Appends what `record` means to `steps`.
    pub fn record(&mut self, record: &Record, steps: &mut Vec<Step>) {
        let line = record.line;
        match record.event {
            Event::Valloc { size } => {
                let open = self.open.entry(record.task).or_default();
                if open.len() < OPEN_MAX {
                    open.push(Open {
                        requested: size,
                        area: None,
                    });
                }
            }
            Event::Vmap { start, end } => self.vmap(record.task, line, start, end, steps),
            Event::AllocVmapArea {
                va_start,
                size,
                failed: 0,
                ..
            } => {
                if let Some(end) = va_start.checked_add(size) {
                    self.vmap(record.task, line, va_start, end, steps);
                }
            }
            Event::Vallocret { addr } => self.vallocret(record.task, line, addr, steps),
            Event::Vfree { addr } if !record.flags.in_interrupt() => self.vfree(addr, steps),
            Event::Valazy { start, .. }
            | Event::FreeVmapAreaNoflush {
                va_start: start, ..
            } if self.live.remove(&start).is_some() => {
                steps.push(Step::Op(Op::Unmap { addr: start }));
            }
            Event::HashFault { addr, access, .. } if addr >= KERNEL_EA_START => {
                self.touch(addr, access & PAGE_WRITE != 0, steps);
            }
            Event::Mark(ref text) => {
                if let Some(name) = text.strip_prefix("begin ") {
                    steps.push(Step::Op(Op::Begin(name.to_string())));
                } else if let Some(name) = text.strip_prefix("end ") {
                    steps.push(Step::Op(Op::End(name.to_string())));
                }
            }
            _ => {}
        }
    }

    fn vmap(&mut self, task: TaskId, line: u64, start: u64, end: u64, steps: &mut Vec<Step>) {
        if start < KERNEL_EA_START || start >= end || !(start | end).is_multiple_of(GRANULE_BYTES) {
            return; // the allocation failed
        }
        let open = self.open.get_mut(&task).and_then(|open| open.last_mut());
        let same = |area: &Area| (area.start, area.end) == (start, end);
        let known = open
            .as_ref()
            .and_then(|open| open.area.as_ref())
            .is_some_and(same)
            || self
                .live
                .get(&start)
                .is_some_and(|live| live.end == end && live.task == Some(task));
        if known {
            return; // kprobe and tracepoint of one allocation
        }
        match open {
            Some(open) if open.area.is_none() => {
                let area = Area {
                    start,
                    end,
                    line,
                    task,
                    requested: Some(open.requested),
                };
                open.area = Some(area);
                self.waiting.insert(start, area);
            }
            _ => self.map(
                Area {
                    start,
                    end,
                    line,
                    task,
                    requested: None,
                },
                steps,
            ),
        }
    }

    fn vallocret(&mut self, task: TaskId, line: u64, addr: u64, steps: &mut Vec<Step>) {
        let Some(mut open) = self.open.remove(&task) else {
            return;
        };
        let returned = |open: &Open| open.area.is_some_and(|area| area.start == addr);
        let at = match open.iter().rposition(returned) {
            Some(at) => at,
            None if addr == 0 || open.last().is_some_and(|open| open.area.is_none()) => {
                open.len() - 1
            }
            None => open.len(),
        };
        // those nested deeper returned before, unrecorded
        for (at, Open { requested, area }) in open.drain(at..).enumerate().rev() {
            match area {
                Some(area) if addr != 0 => self.map_waiting(area, steps),
                Some(area) => drop(self.waiting.remove(&area.start)),
                None if at == 0 => self.map_returned(task, line, addr, requested, steps),
                None => {}
            }
        }
        if !open.is_empty() {
            self.open.insert(task, open);
        }
    }

    /// Maps what a `vmalloc` returned whose `vmap` was not recorded.
    fn map_returned(
        &mut self,
        task: TaskId,
        line: u64,
        start: u64,
        requested: u64,
        steps: &mut Vec<Step>,
    ) {
        let page = self.page_bytes;
        let bytes = requested
            .checked_next_multiple_of(page)
            .and_then(|b| b.checked_add(page));
        let end = bytes.and_then(|bytes| start.checked_add(bytes));
        let sound = start >= KERNEL_EA_START && start.is_multiple_of(GRANULE_BYTES);
        if let Some(end) = end.filter(|_| sound && !self.live.contains_key(&start)) {
            self.map(
                Area {
                    start,
                    end,
                    line,
                    task,
                    requested: Some(requested),
                },
                steps,
            );
        }
    }

    fn vfree(&mut self, addr: u64, steps: &mut Vec<Step>) {
        if addr == 0 {
            return;
        }
        if self.live.remove(&addr).is_some() {
            steps.push(Step::Op(Op::Unmap { addr }));
        } else if self.waiting.remove(&addr).is_none() {
            steps.push(Step::UnknownFree(addr));
        }
    }

    fn touch(&mut self, addr: u64, write: bool, steps: &mut Vec<Step>) {
        if !self.covers(addr)
            && let Some((_, &area)) = self.waiting.range(..=addr).next_back()
            && addr < area.end
        {
            self.map_waiting(area, steps);
        }
        match self.live.range(..=addr).next_back() {
            Some((_, live)) if addr < live.mapped_end || (addr < live.end && !self.second_pass) => {
                if addr >= live.mapped_end {
                    self.unguarded.insert(live.line);
                }
                let (recorded_group, recorded_vpn) = (None, None);
                steps.push(Step::Op(Op::Touch {
                    addr,
                    write,
                    recorded_group,
                    recorded_vpn,
                }));
            }
            _ => steps.push(Step::UnknownTouch(addr)),
        }
    }

    /// Maps an area of a `vmalloc`, unless its first touch did.
    fn map_waiting(&mut self, area: Area, steps: &mut Vec<Step>) {
        if self.waiting.remove(&area.start).is_some() {
            self.map(area, steps);
        }
    }

    fn map(&mut self, area: Area, steps: &mut Vec<Step>) {
        let Area {
            start,
            end,
            line,
            task,
            requested,
        } = area;
        let overlapped: Vec<u64> = self
            .live
            .range(..end)
            .rev()
            .take_while(|(_, live)| live.end > start)
            .map(|(&start, _)| start)
            .collect();
        for addr in overlapped {
            self.live.remove(&addr);
            steps.push(Step::Op(Op::Unmap { addr }));
        }
        let size_bytes = self.mapped_bytes(&area);
        self.live.insert(
            start,
            Live {
                end,
                mapped_end: start + size_bytes,
                line,
                task: Some(task),
            },
        );
        steps.push(Step::Op(Op::Map {
            start,
            end,
            size_bytes,
            requested,
        }));
    }

    /// Bytes of the area that get pages: what was asked for in whole pages, or all but the guard
    /// page; all of it if its last page was touched.
    fn mapped_bytes(&self, area: &Area) -> u64 {
        let whole = area.end - area.start;
        if self.unguarded.contains(&area.line) {
            return whole;
        }
        let asked = area
            .requested
            .and_then(|size| size.checked_next_multiple_of(self.page_bytes));
        match asked {
            Some(asked) if asked > 0 => asked.min(whole),
            _ if whole > self.page_bytes => whole - self.page_bytes,
            _ => whole,
        }
    }
}

/// `_PAGE_WRITE` (Linux arch/powerpc/include/asm/book3s/64/pgtable.h).
pub(crate) const PAGE_WRITE: u64 = 0x2;
