//! Made-up workloads: vmalloc, touches and vfree at addresses of their own.
//!
//! Owns the generator and its first-fit address space, that of a kernel 6.1 with 4K pages. The same
//! numbers give the same operations on any host. It refuses numbers that a replay could not meet.

use super::{Comm, Op, Survey, TaskId, TraceOp};
use crate::config::Pages as BasePages;
use crate::layout::Layout;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use thiserror::Error;

/// Tasks of a workload: as many as a replay makes.
pub const TASKS: RangeInclusive<u32> = 1..=4096;
/// Operations of a workload: a map needs its unmap.
pub const OPERATIONS: RangeInclusive<u64> = 2..=1 << 40;
/// Pages of the largest area.
pub const PAGES: RangeInclusive<u64> = 1..=4096;

/// Bytes of a page.
const PAGE_BYTES: u64 = BasePages::K4.bytes();
/// Areas that one task keeps at most, and all tasks together.
const TASK_AREAS_MAX: usize = 8;
const AREAS_MAX: usize = 1024;
/// Pages mapped at a time: 512 MiB, less than half of the emulated machine's.
const LIVE_PAGES_MAX: u64 = 1 << 17;

/// A number out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{what} is {value}; it must be from {least} to {most}")]
pub struct GenerateError {
    what: &'static str,
    value: u64,
    least: u64,
    most: u64,
}

/// What is made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Tasks, in [`TASKS`].
    pub tasks: u32,
    /// Operations in all, in [`OPERATIONS`].
    pub operations: u64,
    /// Pages of the largest area, in [`PAGES`].
    pub pages_max: u64,
    /// Seed of every choice.
    pub seed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Area {
    start: u64,
    pages: u64,
}

/// The operations of a workload, as an iterator. Whatever it maps it also unmaps.
#[derive(Debug)]
pub struct Generator {
    workload: Workload,
    rng: ChaCha8Rng,
    done: u64,
    /// Holes of the address space: start -> end.
    holes: BTreeMap<u64, u64>,
    /// Areas of each task.
    areas: Vec<Vec<Area>>,
    live: usize,
    live_pages: u64,
}

impl Generator {
    /// A generator of `workload`.
    ///
    /// # Errors
    /// [`GenerateError`] for a number out of range.
    pub fn new(workload: Workload) -> Result<Generator, GenerateError> {
        let check = |what, value, least, most| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(GenerateError {
                what,
                value,
                least,
                most,
            }),
        };
        let (tasks, (least, most)) = (u64::from(workload.tasks), TASKS.into_inner());
        check("the number of tasks", tasks, least.into(), most.into())?;
        let (least, most) = OPERATIONS.into_inner();
        check("the number of operations", workload.operations, least, most)?;
        let (least, most) = PAGES.into_inner();
        check("the most pages", workload.pages_max, least, most)?;
        let layout = Layout::V6_1;
        Ok(Generator {
            workload,
            rng: ChaCha8Rng::seed_from_u64(workload.seed),
            done: 0,
            holes: BTreeMap::from([(layout.vmalloc_start, layout.vmalloc_end)]),
            areas: vec![Vec::new(); workload.tasks as usize],
            live: 0,
            live_pages: 0,
        })
    }

    /// What a survey would say about the workload.
    pub fn survey(&self) -> Survey {
        let mut survey = Survey::empty("generated");
        survey.lines = self.workload.operations;
        survey.tasks = (0..self.workload.tasks).map(task).collect();
        survey.cpus = vec![0];
        survey.page_bytes = Some(PAGE_BYTES);
        (survey.has_allocations, survey.has_touches) = (true, true);
        survey
    }

    fn op(&mut self) -> (usize, Op) {
        let left = self.workload.operations - self.done;
        let task = self.rng.random_range(0..self.areas.len());
        if left <= self.live as u64 {
            // Only the frees are left to do.
            let owner = (0..self.areas.len())
                .map(|i| (task + i) % self.areas.len())
                .find(|&i| !self.areas[i].is_empty());
            let owner = owner.unwrap_or(task);
            return (owner, self.unmap_area(owner));
        }
        let own = self.areas[task].len();
        let may_map = left >= self.live as u64 + 2 && own < TASK_AREAS_MAX && self.live < AREAS_MAX;
        let may_unmap = own > 0 && (self.live > 1 || left > 2);
        let roll = self.rng.random_range(0..10);
        if may_map && (own == 0 || roll < 2) {
            let pages = self.rng.random_range(1..=self.workload.pages_max);
            if self.live_pages + pages <= LIVE_PAGES_MAX
                && let Some(op) = self.map_area(task, pages)
            {
                return (task, op);
            }
        }
        if may_unmap && roll < 4 {
            return (task, self.unmap_area(task));
        }
        // Somebody has an area: an operation is left over, and one that has none could map.
        let owner = (0..self.areas.len())
            .map(|i| (task + i) % self.areas.len())
            .find(|&i| !self.areas[i].is_empty());
        match owner {
            Some(owner) => (owner, self.touch(owner)),
            None => (task, self.unmap_area(task)),
        }
    }

    /// The lowest hole that an area with its guard page fits.
    fn map_area(&mut self, task: usize, pages: u64) -> Option<Op> {
        let bytes = (pages + 1) * PAGE_BYTES;
        let (&start, &end) = self
            .holes
            .iter()
            .find(|&(start, end)| end - start >= bytes)?;
        self.holes.remove(&start);
        if start + bytes < end {
            self.holes.insert(start + bytes, end);
        }
        self.areas[task].push(Area { start, pages });
        self.live += 1;
        self.live_pages += pages;
        Some(Op::Map {
            start,
            end: start + bytes,
            size_bytes: pages * PAGE_BYTES,
            requested: Some(pages * PAGE_BYTES),
        })
    }

    fn unmap_area(&mut self, task: usize) -> Op {
        let at = self.rng.random_range(0..self.areas[task].len());
        let area = self.areas[task].swap_remove(at);
        let mut start = area.start;
        let mut end = start + (area.pages + 1) * PAGE_BYTES;
        if let Some(after) = self.holes.remove(&end) {
            end = after;
        }
        if let Some((&before, &before_end)) = self.holes.range(..start).next_back()
            && before_end == start
        {
            start = before;
        }
        self.holes.insert(start, end);
        self.live -= 1;
        self.live_pages -= area.pages;
        Op::Unmap { addr: area.start }
    }

    fn touch(&mut self, task: usize) -> Op {
        let area = self.areas[task][self.rng.random_range(0..self.areas[task].len())];
        let page = self.rng.random_range(0..area.pages);
        Op::Touch {
            addr: area.start + page * PAGE_BYTES,
            write: self.rng.random_bool(0.5),
            recorded_group: None,
            recorded_vpn: None,
        }
    }
}

impl Iterator for Generator {
    type Item = TraceOp;

    fn next(&mut self) -> Option<TraceOp> {
        if self.done >= self.workload.operations {
            return None;
        }
        let (index, op) = self.op();
        self.done += 1;
        Some(TraceOp {
            line: self.done,
            task: task(index as u32),
            cpu: 0,
            op,
        })
    }
}

fn task(index: u32) -> TaskId {
    // A number of at most 4 digits fits a name.
    let comm = Comm::new(format!("gen/{index}").as_bytes()).unwrap_or_default();
    TaskId {
        comm,
        pid: 1000 + index,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(tasks: u32, operations: u64, pages_max: u64, seed: u64) -> Workload {
        Workload {
            tasks,
            operations,
            pages_max,
            seed,
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_made_up_adds_up(
            tasks in 1u32..50, operations in 2u64..2000, pages_max in 1u64..300, seed: u64,
        ) {
            let ops: Vec<TraceOp> =
                Generator::new(workload(tasks, operations, pages_max, seed)).unwrap().collect();
            assert_eq!(ops.len() as u64, operations);
            let mut live: BTreeMap<u64, (u64, u64, u32)> = BTreeMap::new();
            for op in &ops {
                match op.op {
                    Op::Map { start, end, size_bytes, .. } => {
                        assert!(size_bytes + PAGE_BYTES == end - start);
                        assert!(size_bytes / PAGE_BYTES <= pages_max);
                        let below = live.range(..end).next_back();
                        assert!(below.is_none_or(|(_, &(end, ..))| end <= start));
                        live.insert(start, (end, start + size_bytes, op.task.pid));
                    }
                    Op::Unmap { addr } => {
                        assert_eq!(live.remove(&addr).map(|area| area.2), Some(op.task.pid));
                    }
                    Op::Touch { addr, .. } => {
                        let area = live.range(..=addr).next_back().unwrap().1;
                        assert!(addr < area.1 && area.2 == op.task.pid);
                    }
                    _ => panic!("{op}"),
                }
            }
            assert!(live.is_empty());
        }
    }

    #[test]
    fn the_seed_decides() {
        let ops = |seed| -> Vec<TraceOp> {
            Generator::new(workload(3, 200, 20, seed))
                .unwrap()
                .collect()
        };
        assert_eq!(ops(1), ops(1));
        assert_ne!(ops(1), ops(2));
    }

    #[test]
    fn the_lowest_hole_is_taken_and_holes_grow_together() {
        let mut generator = Generator::new(workload(1, 100, 4, 1)).unwrap();
        let all = generator.holes.clone();
        let starts: Vec<u64> = (0..3)
            .map(|_| match generator.map_area(0, 2) {
                Some(Op::Map { start, .. }) => start,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(starts[2] - starts[0], 6 * PAGE_BYTES);
        for _ in 0..3 {
            generator.unmap_area(0);
        }
        assert_eq!(generator.holes, all);
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        for (bad, words) in [
            (
                workload(0, 2, 1, 1),
                "tasks is 0; it must be from 1 to 4096",
            ),
            (workload(1, 1, 1, 1), "operations is 1; it must be from 2"),
            (
                workload(1, 2, 4097, 1),
                "pages is 4097; it must be from 1 to 4096",
            ),
        ] {
            let said = Generator::new(bad).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
