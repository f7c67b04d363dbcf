//! `vm-map-ram`, `ioremap`, `alloc-vm-area`, `module-load` and `kasan-populate`: the users of kernel page
//! tables besides vmalloc, each as two tasks that do the same at random.
//!
//! Owns what the callers of those functions do: their frames, what they touch, and giving all of it back on
//! every path.

use super::{Meter, Repeated};
use crate::config::RunConfig;
use crate::kernel::Linux;
use crate::memmap::{DEVICE_BYTES, DEVICE_START};
use crate::set_memory::SetMemory;
use emu_core::{CpuId, Ctx, Run};
use emu_mmu::{Ea, Ra};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Tasks of each scenario.
const TASKS: u64 = 2;
/// One operation of `vm-map-ram` in so many gives up the blocks that nothing uses.
const UNMAP_ALIASES_ONE_IN: u32 = 40;
/// Pages that one page of shadow stands for.
const SHADOW_PAGES: u64 = 8;

/// One operation of a task.
type Operation = fn(&Linux, &mut Ctx<'_>, &mut ChaCha8Rng) -> Run<()>;

/// Operations of all tasks together.
pub(super) fn operations(config: &RunConfig) -> u64 {
    config.operations.unwrap_or(1_000)
}

fn start(
    linux: &Arc<Linux>,
    cx: &mut Ctx<'_>,
    config: &RunConfig,
    meter: &Arc<Meter>,
    (comm, operation): (&str, Operation),
) -> Run<()> {
    let all = operations(config);
    for i in 0..TASKS {
        let mine = all / TASKS + u64::from(i < all % TASKS);
        let seed = config.seed.wrapping_mul(TASKS).wrapping_add(i);
        let work = Repeated {
            comm: format!("{comm}/{i}"),
            cpu: CpuId((i % u64::from(linux.cpus)) as u16),
            operations: mine,
            state: ChaCha8Rng::seed_from_u64(seed),
            one: operation,
            last: |_, _, _, _| Ok(()),
        };
        work.spawn(linux, cx, meter)?;
    }
    Ok(())
}

macro_rules! starts {
    ($($(#[$doc:meta])* $start:ident = $comm:literal, $operation:ident;)*) => {
        $($(#[$doc])*
        pub(super) fn $start(
            linux: &Arc<Linux>,
            cx: &mut Ctx<'_>,
            config: &RunConfig,
            meter: &Arc<Meter>,
        ) -> Run<()> {
            start(linux, cx, config, meter, ($comm, $operation))
        })*
    };
}

starts! {
    /// `vm-map-ram`.
    start_vm_map_ram = "xfsbufd", map_ram;
    /// `ioremap`.
    start_ioremap = "probe", map_device;
    /// `alloc-vm-area`.
    start_alloc_vm_area = "xenbus", map_grants;
    /// `module-load`.
    start_module_load = "insmod", load_module;
    /// `kasan-populate`.
    start_kasan_populate = "kasan", populate_shadow;
}

/// A store to or a load from each of `pages` pages.
fn touch_all(linux: &Linux, cx: &mut Ctx<'_>, start: Ea, pages: u64, store: bool) -> Run<()> {
    for page in 0..pages {
        linux.touch(cx, start + page * linux.page_bytes(), store)?;
    }
    Ok(())
}

/// Up to `pages` pages: fewer only if there are no more.
fn take_pages(linux: &Linux, cx: &mut Ctx<'_>, pages: u64) -> Run<Vec<Ra>> {
    let mut frames = Vec::new();
    for _ in 0..pages {
        match linux.alloc_page(cx)? {
            Ok(frame) => frames.push(frame),
            Err(_) => break,
        }
    }
    Ok(frames)
}

fn give_pages(linux: &Linux, cx: &mut Ctx<'_>, frames: Vec<Ra>) -> Run<()> {
    for frame in frames {
        linux.free_page(cx, frame)?;
    }
    Ok(())
}

/// A buffer of a file system: 1 to 64 pages out of a block, or more in an area of their own.
fn map_ram(linux: &Linux, cx: &mut Ctx<'_>, rng: &mut ChaCha8Rng) -> Run<()> {
    if rng.random_range(0..UNMAP_ALIASES_ONE_IN) == 0 {
        return linux.vm_unmap_aliases(cx);
    }
    let pages = match rng.random_range(0..8) {
        0 => rng.random_range(65..=200),
        _ => rng.random_range(1..=64),
    };
    let frames = take_pages(linux, cx, pages)?;
    let pages = frames.len() as u64;
    if let Ok(start) = linux.vm_map_ram(cx, &frames)? {
        touch_all(linux, cx, start, pages, true)?;
        linux.vm_unmap_ram(cx, start, pages)?;
    }
    give_pages(linux, cx, frames)
}

/// A driver that maps 1 to 128 pages of registers, reads them and goes away.
fn map_device(linux: &Linux, cx: &mut Ctx<'_>, rng: &mut ChaCha8Rng) -> Run<()> {
    let pages = rng.random_range(1..=128);
    let first = rng.random_range(0..=DEVICE_BYTES / linux.page_bytes() - pages);
    let device = Ra::new(DEVICE_START + first * linux.page_bytes());
    if let Ok(start) = linux.ioremap(cx, device, pages * linux.page_bytes())? {
        touch_all(linux, cx, start, pages.min(16), false)?;
        linux.iounmap(cx, start)?;
    }
    Ok(())
}

/// A backend driver: an area, 1 to 32 frames of somebody else set into it, read, cleared.
fn map_grants(linux: &Linux, cx: &mut Ctx<'_>, rng: &mut ChaCha8Rng) -> Run<()> {
    let frames = take_pages(linux, cx, rng.random_range(1..=32))?;
    let pages = frames.len() as u64;
    if let Ok(start) = linux.alloc_vm_area(cx, pages * linux.page_bytes())? {
        if linux.map_foreign_frames(cx, start, &frames)?.is_ok() {
            touch_all(linux, cx, start, pages, false)?;
        }
        // Its tables are there: this cannot fail.
        let _ = linux.unmap_foreign_frames(cx, start, pages)?;
        linux.free_vm_area(cx, start)?;
    }
    give_pages(linux, cx, frames)
}

/// A module: text and data written, text made read-only and executable, data not executable; used; and
/// unloaded.
fn load_module(linux: &Linux, cx: &mut Ctx<'_>, rng: &mut ChaCha8Rng) -> Run<()> {
    let (text, data) = (rng.random_range(1..=24), rng.random_range(1..=8));
    let Ok(start) = linux.vmalloc(cx, (text + data) * linux.page_bytes())? else {
        return Ok(());
    };
    touch_all(linux, cx, start, text + data, true)?;
    let data_start = start + text * linux.page_bytes();
    // No table is missing, so none of these can fail.
    let _ = linux.set_memory(cx, start, text, SetMemory::ReadOnly)?;
    touch_all(linux, cx, start, text, false)?;
    let _ = linux.set_memory(cx, start, text, SetMemory::Execute)?;
    let _ = linux.set_memory(cx, data_start, data, SetMemory::NoExecute)?;
    touch_all(linux, cx, start, text, false)?;
    touch_all(linux, cx, data_start, data, true)?;
    let _ = linux.set_memory(cx, start, text, SetMemory::NoExecute)?;
    touch_all(linux, cx, start, text, false)?;
    let _ = linux.set_memory(cx, start, text, SetMemory::ReadWrite)?;
    touch_all(linux, cx, start, text, true)?;
    linux.vfree(cx, start).map(|_| ())
}

/// An area with its shadow, which is read as checked code does; then both are given back.
fn populate_shadow(linux: &Linux, cx: &mut Ctx<'_>, rng: &mut ChaCha8Rng) -> Run<()> {
    // So that the shadow is this area's alone.
    let align = SHADOW_PAGES * linux.page_bytes();
    let bytes = rng.random_range(1..=8) * align;
    let Ok(start) = linux.vmalloc_aligned(cx, bytes, align)? else {
        return Ok(());
    };
    if linux.kasan_populate_vmalloc(cx, start, bytes)?.is_ok() {
        let shadow = linux.shadow_of(start);
        touch_all(linux, cx, shadow, bytes / align, true)?;
    }
    // Before the addresses can be anybody else's: the kernel does it in the purge.
    linux.kasan_release_vmalloc(cx, start, bytes)?;
    linux.vfree(cx, start).map(|_| ())
}
