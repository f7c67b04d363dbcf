//! `live-mappings`: many pages stay mapped at once, and loads reach them at random.
//!
//! All areas map the same frames, so that what grows with them is what translates: areas, page tables and
//! hash table.

use super::{Meter, Repeated};
use crate::config::{Pages, RunConfig};
use crate::kernel::Linux;
use emu_core::{CpuId, Ctx, Run};
use emu_mmu::{Ea, Ra};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Pages of each area: enough that the slab holds the areas of the most pages.
const AREA_PAGES: u64 = 64;

/// Most pages that are mapped at once; their page tables fill a tenth of RAM.
pub(super) fn pages_max(_: Pages) -> u64 {
    16 << 20
}

fn areas(config: &RunConfig) -> u64 {
    config.touch.unwrap_or(1024).div_ceil(AREA_PAGES)
}

/// An operation for each area that is mapped, then one for each load.
pub(super) fn operations(config: &RunConfig) -> u64 {
    areas(config) + config.operations.unwrap_or(10_000)
}

/// What the task keeps between two operations.
struct Live {
    rng: ChaCha8Rng,
    frames: Vec<Ra>,
    /// Areas still to be mapped.
    missing: u64,
    areas: Vec<Ea>,
}

pub(super) fn start(
    linux: &Arc<Linux>,
    cx: &mut Ctx<'_>,
    config: &RunConfig,
    meter: &Arc<Meter>,
) -> Run<()> {
    let work = Repeated {
        comm: "live".to_owned(),
        cpu: CpuId(0),
        operations: operations(config),
        state: Live {
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            frames: Vec::new(),
            missing: areas(config),
            areas: Vec::new(),
        },
        one,
        last,
    };
    work.spawn(linux, cx, meter)
}

/// Maps an area and loads from each of its pages, or loads from one of those that are mapped.
fn one(linux: &Linux, cx: &mut Ctx<'_>, live: &mut Live) -> Run<()> {
    if live.missing > 0 {
        live.missing -= 1;
        return map(linux, cx, live);
    }
    let pages = live.areas.len() as u64 * AREA_PAGES;
    if pages == 0 {
        return Ok(());
    }
    let page = live.rng.random_range(0..pages);
    let area = live.areas[(page / AREA_PAGES) as usize];
    linux.touch(cx, area + page % AREA_PAGES * linux.page_bytes(), false)
}

fn map(linux: &Linux, cx: &mut Ctx<'_>, live: &mut Live) -> Run<()> {
    while (live.frames.len() as u64) < AREA_PAGES {
        match linux.alloc_page(cx)? {
            Ok(frame) => live.frames.push(frame),
            Err(_) => return Ok(()),
        }
    }
    if let Ok(area) = linux.vmap(cx, &live.frames)? {
        for page in 0..AREA_PAGES {
            linux.touch(cx, area + page * linux.page_bytes(), false)?;
        }
        live.areas.push(area);
    }
    Ok(())
}

/// Newest first, which a look-up by address finds first.
fn last(linux: &Linux, cx: &mut Ctx<'_>, live: Live, meter: &Meter) -> Run<()> {
    for area in live.areas.into_iter().rev() {
        linux.vunmap(cx, area)?;
        meter.tidy();
    }
    for frame in live.frames {
        linux.free_page(cx, frame)?;
    }
    Ok(())
}
