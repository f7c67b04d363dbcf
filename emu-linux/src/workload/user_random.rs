//! `user-random` and `user-mprotect`: processes with threads that store, load, unmap, move, swap out and
//! fork at random, beside two kernel tasks that use vmalloc.
//!
//! Each thread works in a slice of its process's area and remembers what it stored. A load that finds
//! something else is evidence that a translation outlived its page, whatever else was or was not noticed.

use super::{Meter, vmalloc_random};
use crate::config::RunConfig;
use crate::kernel::Linux;
use crate::layout::{PIECE_BYTES, PIECES};
use crate::mm::Mm;
use crate::task::TaskSpec;
use crate::tracepoint::Tracepoint;
use crate::user::{USER_PAGES, USER_START};
use emu_core::{CpuId, Ctx, Run};
use emu_mmu::Ea;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Processes at the start.
const PROCESSES: u64 = 2;
/// Threads of each.
const THREADS: u64 = 2;
/// Pages of a thread's slice.
const SLICE_PAGES: u64 = USER_PAGES / 8;
/// One operation in so many is a fork.
const FORK_ONE_IN: u32 = 150;
/// Operations of a forked child.
const CHILD_OPERATIONS: u64 = 40;

/// Operations of all tasks together, children not counted.
pub(super) fn operations(config: &RunConfig) -> u64 {
    config.operations.unwrap_or(4_000)
}

/// Without mprotect.
pub(super) fn start(
    linux: &Arc<Linux>,
    cx: &mut Ctx<'_>,
    config: &RunConfig,
    meter: &Arc<Meter>,
) -> Run<()> {
    start_with(linux, cx, config, meter, false)
}

/// With mprotect.
pub(super) fn start_mprotect(
    linux: &Arc<Linux>,
    cx: &mut Ctx<'_>,
    config: &RunConfig,
    meter: &Arc<Meter>,
) -> Run<()> {
    start_with(linux, cx, config, meter, true)
}

fn start_with(
    linux: &Arc<Linux>,
    cx: &mut Ctx<'_>,
    config: &RunConfig,
    meter: &Arc<Meter>,
    mprotect: bool,
) -> Run<()> {
    let all = operations(config);
    let users = PROCESSES * THREADS;
    let kernel_tasks = 2;
    let each = all / (users + kernel_tasks);
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    for i in 0..kernel_tasks {
        let cpu = CpuId((i % u64::from(linux.cpus)) as u16);
        vmalloc_random::spawn(linux, cx, i, cpu, each, rng.random(), meter)?;
    }
    for process in 0..PROCESSES {
        let Ok(mm) = linux.mm_alloc(cx)? else {
            continue;
        };
        for thread in 0..THREADS {
            if thread > 0 {
                linux.mm_get(cx, mm)?;
            }
            let i = process * THREADS + thread;
            let worker = Worker {
                rng: ChaCha8Rng::seed_from_u64(rng.random()),
                slice: thread,
                page_bytes: linux.page_bytes(),
                expected: vec![None; SLICE_PAGES as usize],
                left: each,
                mprotect,
                may_fork: true,
                meter: meter.clone(),
            };
            let cpu = CpuId((i % u64::from(linux.cpus)) as u16);
            worker.spawn(linux, cx, format!("user/{process}.{thread}"), mm, cpu)?;
        }
    }
    Ok(())
}

/// A thread's own view of its slice.
struct Worker {
    rng: ChaCha8Rng,
    slice: u64,
    page_bytes: u64,
    /// What a load of each page must find; `None` if it is not mapped and would be zero.
    expected: Vec<Option<u64>>,
    left: u64,
    mprotect: bool,
    may_fork: bool,
    meter: Arc<Meter>,
}

impl Worker {
    fn spawn(
        mut self,
        linux: &Arc<Linux>,
        cx: &mut Ctx<'_>,
        comm: String,
        mm: Mm,
        cpu: CpuId,
    ) -> Run<bool> {
        let spec = TaskSpec {
            comm,
            pid: None,
            stack: None,
            cpus_allowed: linux.allowed(cpu),
            cpu,
            mm: Some(mm),
            body: Box::new(move |linux, cx| {
                while self.left > 0 {
                    self.left -= 1;
                    self.one(linux, cx, mm)?;
                    if self.may_fork {
                        self.meter.step();
                    }
                    linux.return_to_user(cx)?;
                }
                Ok(())
            }),
        };
        let spawned = linux.spawn_task(cx, spec)?.is_ok();
        if !spawned {
            linux.mmput(cx, mm)?;
        }
        Ok(spawned)
    }

    fn address(&self, page: usize) -> Ea {
        Ea::new(USER_START + (self.slice * SLICE_PAGES + page as u64) * self.page_bytes)
    }

    /// The word of a page that this thread uses.
    fn word(&self, page: usize) -> Ea {
        self.address(page) + 8 * (1 + self.slice)
    }

    fn one(&mut self, linux: &Arc<Linux>, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        let page = self.rng.random_range(0..self.expected.len());
        if self.may_fork && self.rng.random_range(0..FORK_ONE_IN) == 0 {
            return self.fork(linux, cx, mm);
        }
        match self.rng.random_range(0..20) {
            0 => self.unmap(linux, cx, mm, page),
            1 => linux.swap_out(cx, mm, self.address(page)).map(|_| ()),
            2 => self.move_page(linux, cx, mm, page),
            3 if self.mprotect => self.protect(linux, cx, mm, page),
            3..=9 => self.check(linux, cx, page),
            _ => self.store(linux, cx, page),
        }
    }

    fn store(&mut self, linux: &Linux, cx: &mut Ctx<'_>, page: usize) -> Run<()> {
        let value = self.rng.random::<u64>() | 1;
        cx.user_store_u64(self.word(page), value, "user: store")?;
        for _ in 0..linux.more_pieces() {
            let piece = self.rng.random_range(1..PIECES) * PIECE_BYTES;
            cx.user_load_u64(self.word(page) + piece, "user: load of another piece")?;
        }
        self.expected[page] = Some(value);
        Ok(())
    }

    fn check(&mut self, linux: &Linux, cx: &mut Ctx<'_>, page: usize) -> Run<()> {
        let at = self.word(page);
        let found = cx.user_load_u64(at, "user: load")?;
        let expected = self.expected[page].unwrap_or(0);
        if found != expected {
            linux.trace(
                cx,
                Tracepoint::StaleData {
                    ea: at.get(),
                    expected,
                    found,
                },
            );
            self.expected[page] = Some(found);
        }
        Ok(())
    }

    fn unmap(&mut self, linux: &Linux, cx: &mut Ctx<'_>, mm: Mm, page: usize) -> Run<()> {
        let most = (self.expected.len() - page).min(24);
        let pages = self.rng.random_range(1..=most);
        linux.munmap(cx, mm, self.address(page), pages as u64)?;
        self.expected[page..page + pages].fill(None);
        Ok(())
    }

    fn move_page(&mut self, linux: &Linux, cx: &mut Ctx<'_>, mm: Mm, page: usize) -> Run<()> {
        let to = self.rng.random_range(0..self.expected.len());
        if to == page {
            return Ok(());
        }
        // mremap unmaps its target first.
        linux.munmap(cx, mm, self.address(to), 1)?;
        self.expected[to] = None;
        if linux
            .move_ptes(cx, mm, self.address(page), self.address(to), 1)?
            .is_ok()
        {
            self.expected[to] = self.expected[page].take();
        }
        Ok(())
    }

    /// Read-only and writable again: no store is lost in between, as nobody else stores here.
    fn protect(&mut self, linux: &Linux, cx: &mut Ctx<'_>, mm: Mm, page: usize) -> Run<()> {
        let pages = (self.expected.len() - page).min(8) as u64;
        linux.mprotect(cx, mm, self.address(page), pages, false)?;
        self.check(linux, cx, page)?;
        linux.mprotect(cx, mm, self.address(page), pages, true)
    }

    fn fork(&mut self, linux: &Arc<Linux>, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        let Ok(child) = linux.dup_mm(cx, mm)? else {
            return Ok(());
        };
        let worker = Worker {
            rng: ChaCha8Rng::seed_from_u64(self.rng.random()),
            slice: self.slice,
            page_bytes: self.page_bytes,
            expected: self.expected.clone(),
            left: CHILD_OPERATIONS,
            mprotect: self.mprotect,
            may_fork: false,
            meter: self.meter.clone(),
        };
        let cpu = cx.cpu_id();
        worker
            .spawn(linux, cx, "child".to_owned(), child, cpu)
            .map(|_| ())
    }
}
