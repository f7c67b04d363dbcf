//! The ten cases, in the module's order and under its names.
//!
//! Each gives true if it passed. Pointers that the module keeps in an area of its own are kept there,
//! in guest memory. Zeroed memory is cleared through the linear map, so that a case that does not write
//! its area touches no page of it.

use super::percpu::Chunks;
use super::{Meter, Worker};
use crate::config::Pages;
use crate::kernel::Linux;
use crate::memmap::STACK_BYTES;
use crate::task::TaskSpec;
use emu_core::{Ctx, Run};
use emu_mmu::Ea;
use std::sync::Arc;

/// Areas of `long_busy_list_alloc_test`.
const BUSY_AREAS: u64 = 15_000;
/// Objects of `pcpu_alloc_test`.
const PERCPU_OBJECTS: u64 = 35_000;
/// Pointers that kvfree_rcu() gathers in a page before they are handed over (Linux 6.1
/// kernel/rcu/tree.c, KVFREE_BULK_MAX_ENTR).
const KVFREE_BULK: usize = 510;

/// Objects that the cases keep for a while, before they are scaled.
pub(super) fn kept_objects(cpus: u16, pages: Pages) -> [u64; 4] {
    let full_fit = Linux::lazy_max_pages_of(cpus, pages);
    [full_fit, full_fit, BUSY_AREAS, PERCPU_OBJECTS]
}

type CaseFn = fn(&Arc<Linux>, &mut Ctx<'_>, &mut Worker) -> Run<bool>;

/// A case.
pub(super) struct Case {
    pub name: &'static str,
    pub run: CaseFn,
    /// True if it loops as often as told.
    pub loops: bool,
}

const fn case(name: &'static str, run: CaseFn, loops: bool) -> Case {
    Case { name, run, loops }
}

/// All cases.
pub(super) const CASES: [Case; 10] = [
    case("fix_size_alloc_test", fix_size, true),
    case("full_fit_alloc_test", full_fit, true),
    case("long_busy_list_alloc_test", long_busy_list, true),
    case("random_size_alloc_test", random_size, true),
    case("fix_align_alloc_test", fix_align, true),
    case("random_size_align_alloc_test", random_size_align, true),
    case("align_shift_alloc_test", align_shift, false),
    case("pcpu_alloc_test", percpu, false),
    case("kvfree_rcu_1_arg_vmalloc_test", kvfree_rcu, true),
    case("kvfree_rcu_2_arg_vmalloc_test", kvfree_rcu, true),
];

/// The loop of a case; it ends with the first failure.
fn looped(
    cx: &mut Ctx<'_>,
    worker: &mut Worker,
    mut once: impl FnMut(&mut Ctx<'_>, &mut Worker) -> Run<bool>,
) -> Run<bool> {
    for _ in 0..worker.loops {
        if !once(cx, worker)? {
            return Ok(false);
        }
        worker.meter.step();
    }
    Ok(true)
}

/// vmalloc of `pages`, a store to its first byte, vfree.
fn written_area(linux: &Linux, cx: &mut Ctx<'_>, pages: u64) -> Run<bool> {
    let Ok(area) = linux.vmalloc(cx, pages * linux.page_bytes())? else {
        return Ok(false);
    };
    linux.touch(cx, area, true)?;
    linux.vfree(cx, area)
}

/// An aligned area, freed untouched.
fn aligned_area(linux: &Linux, cx: &mut Ctx<'_>, pages: u64, align: u64) -> Run<bool> {
    match linux.vmalloc_aligned(cx, pages * linux.page_bytes(), align)? {
        Ok(area) => linux.vfree(cx, area),
        Err(_) => Ok(false),
    }
}

/// An area of pointers to areas.
struct Pointers {
    at: Ea,
    len: u64,
    meter: Arc<Meter>,
}

impl Pointers {
    /// Room for as many as `number` is, scaled.
    fn new(linux: &Linux, cx: &mut Ctx<'_>, worker: &Worker, number: u64) -> Run<Option<Pointers>> {
        let len = worker.scaled(number);
        let at = linux.vmalloc(cx, len * 8)?;
        let meter = worker.meter.clone();
        Ok(at.ok().map(|at| Pointers { at, len, meter }))
    }

    fn set(&self, cx: &mut Ctx<'_>, index: u64, to: Ea) -> Run<()> {
        self.meter.step();
        cx.store_u64(self.at + index * 8, to.get(), "test_vmalloc: pointer")
    }

    fn get(&self, cx: &mut Ctx<'_>, index: u64) -> Run<Ea> {
        self.meter.step();
        let to = cx.load_u64(self.at + index * 8, "test_vmalloc: pointer")?;
        Ok(Ea::new(to))
    }

    /// One area of one page; a null pointer if there is none.
    fn allocate(&self, linux: &Linux, cx: &mut Ctx<'_>, index: u64) -> Run<()> {
        let area = linux.vmalloc(cx, linux.page_bytes())?.unwrap_or(Ea::new(0));
        self.set(cx, index, area)
    }

    fn free_all(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        for index in 0..self.len {
            let area = self.get(cx, index)?;
            if area != Ea::new(0) {
                linux.vfree(cx, area)?;
            }
        }
        Ok(())
    }

    fn free(self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        linux.vfree(cx, self.at).map(|_| ())
    }
}

/// One page, over and over.
fn fix_size(linux: &Arc<Linux>, cx: &mut Ctx<'_>, worker: &mut Worker) -> Run<bool> {
    looped(cx, worker, |cx, _| written_area(linux, cx, 1))
}

/// One page, over and over, among holes of exactly its size: of twice lazy_max_pages() areas every other
/// one is freed first. Their number is scaled.
fn full_fit(linux: &Arc<Linux>, cx: &mut Ctx<'_>, worker: &mut Worker) -> Run<bool> {
    let number = linux.lazy_max_pages();
    let Some(kept) = Pointers::new(linux, cx, worker, number)? else {
        return Ok(false);
    };
    let Some(junk) = Pointers::new(linux, cx, worker, number)? else {
        kept.free(linux, cx)?;
        return Ok(false);
    };
    for index in 0..kept.len {
        kept.allocate(linux, cx, index)?;
        junk.allocate(linux, cx, index)?;
    }
    junk.free_all(linux, cx)?;
    let passed = looped(cx, worker, |cx, _| written_area(linux, cx, 1))?;
    kept.free_all(linux, cx)?;
    kept.free(linux, cx)?;
    junk.free(linux, cx)?;
    Ok(passed)
}

/// 100 pages and one page, over and over, behind a list of 15000 areas in use (scaled).
fn long_busy_list(linux: &Arc<Linux>, cx: &mut Ctx<'_>, worker: &mut Worker) -> Run<bool> {
    let Some(busy) = Pointers::new(linux, cx, worker, BUSY_AREAS)? else {
        return Ok(false);
    };
    for index in 0..busy.len {
        busy.allocate(linux, cx, index)?;
    }
    let passed = looped(cx, worker, |cx, _| {
        let Ok(large) = linux.vmalloc(cx, 100 * linux.page_bytes())? else {
            return Ok(false);
        };
        let Ok(small) = linux.vmalloc(cx, linux.page_bytes())? else {
            linux.vfree(cx, large)?;
            return Ok(false);
        };
        linux.touch(cx, large, true)?;
        linux.touch(cx, small, true)?;
        Ok(linux.vfree(cx, large)? & linux.vfree(cx, small)?)
    })?;
    busy.free_all(linux, cx)?;
    busy.free(linux, cx)?;
    Ok(passed)
}

/// 1 to 100 pages.
fn random_size(linux: &Arc<Linux>, cx: &mut Ctx<'_>, worker: &mut Worker) -> Run<bool> {
    looped(cx, worker, |cx, worker| {
        let pages = worker.random() % 100 + 1;
        written_area(linux, cx, pages)
    })
}

/// Five pages at twice the alignment of a kernel stack.
fn fix_align(linux: &Arc<Linux>, cx: &mut Ctx<'_>, worker: &mut Worker) -> Run<bool> {
    looped(cx, worker, |cx, _| {
        aligned_area(linux, cx, 5, STACK_BYTES << 1)
    })
}

/// 1 to 10 pages at an alignment of 1 byte to 4 MiB.
fn random_size_align(linux: &Arc<Linux>, cx: &mut Ctx<'_>, worker: &mut Worker) -> Run<bool> {
    looped(cx, worker, |cx, worker| {
        let random = worker.random();
        aligned_area(linux, cx, random % 10 + 1, 1 << (random % 23))
    })
}

/// One page at each alignment there is. It is to fail, where the address space ends.
fn align_shift(linux: &Arc<Linux>, cx: &mut Ctx<'_>, _worker: &mut Worker) -> Run<bool> {
    for shift in 0..u64::BITS {
        if !aligned_area(linux, cx, 1, 1 << shift)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// 35000 per-CPU objects (scaled) of 1 to 1024 bytes at 2 to 2048, then all freed. Of the per-CPU
/// allocator only its chunks are modelled: see [`Chunks`].
fn percpu(linux: &Arc<Linux>, cx: &mut Ctx<'_>, worker: &mut Worker) -> Run<bool> {
    let Some(objects) = Pointers::new(linux, cx, worker, PERCPU_OBJECTS)? else {
        return Ok(false);
    };
    let mut chunks = Chunks::default();
    let mut passed = true;
    for index in 0..objects.len {
        let bytes = worker.random() % (linux.page_bytes() / 4) + 1;
        let object = chunks.allocate(linux, cx, bytes, 1 << (index % 11 + 1))?;
        passed &= object.is_some();
        objects.set(cx, index, object.unwrap_or(Ea::new(0)))?;
    }
    for index in 0..objects.len {
        let object = objects.get(cx, index)?;
        chunks.free(linux, cx, object)?;
    }
    // What a corrupted pointer left behind.
    chunks.free_all(linux, cx)?;
    objects.free(linux, cx)?;
    Ok(passed)
}

/// One page, written once, given to kvfree_rcu(), over and over. Both forms gather pointers of vmalloc
/// areas in pages, and a kworker frees a page full of them after a grace period; the form with two
/// arguments differs only when there is no page to gather them in. Nobody reads under RCU here, so that
/// the grace period is over at once.
fn kvfree_rcu(linux: &Arc<Linux>, cx: &mut Ctx<'_>, worker: &mut Worker) -> Run<bool> {
    let mut gathered = Vec::new();
    let passed = looped(cx, worker, |cx, _| {
        let Ok(area) = linux.vmalloc(cx, linux.page_bytes())? else {
            return Ok(false);
        };
        linux.touch(cx, area, true)?;
        gathered.push(area);
        if gathered.len() == KVFREE_BULK {
            free_by_worker(linux, cx, std::mem::take(&mut gathered))?;
        }
        Ok(true)
    })?;
    free_by_worker(linux, cx, gathered)?;
    Ok(passed)
}

/// A kworker that frees `areas`; without room for one they are freed here.
fn free_by_worker(linux: &Arc<Linux>, cx: &mut Ctx<'_>, areas: Vec<Ea>) -> Run<()> {
    let cpu = cx.cpu_id();
    let areas = Arc::new(areas);
    let given = areas.clone();
    let kworker = TaskSpec {
        comm: format!("kworker/{}:1", cpu.0),
        pid: None,
        stack: None,
        mm: None,
        cpus_allowed: linux.allowed(cpu),
        cpu,
        body: Box::new(move |linux, cx| free_areas(linux, cx, &given)),
    };
    match linux.spawn_task(cx, kworker)? {
        Ok(_) => Ok(()),
        Err(_) => free_areas(linux, cx, &areas),
    }
}

fn free_areas(linux: &Linux, cx: &mut Ctx<'_>, areas: &[Ea]) -> Run<()> {
    for area in areas {
        linux.vfree(cx, *area)?;
    }
    Ok(())
}
