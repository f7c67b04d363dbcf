//! `vmalloc-areas`: a task on each CPU maps, touches and frees areas of one size, all at the same time.
//!
//! What a page costs here, by the size of an area, of a batch and of the machine, is what `emu sweep` asks.

use super::{Meter, Repeated};
use crate::config::{Pages, RunConfig};
use crate::kernel::Linux;
use emu_core::{CpuId, Ctx, Run};
use std::sync::Arc;

/// Pages of an area unless told otherwise.
const PAGES: u64 = 16;

/// Most pages of an area: the PTEs of one page table of a 4K kernel.
pub(super) fn pages_max(_: Pages) -> u64 {
    512
}

/// Areas of each task.
fn areas(config: &RunConfig) -> u64 {
    config.operations.unwrap_or(1000)
}

/// Areas of all tasks together.
pub(super) fn operations(config: &RunConfig) -> u64 {
    areas(config) * u64::from(config.cpus.unwrap_or(1))
}

pub(super) fn start(
    linux: &Arc<Linux>,
    cx: &mut Ctx<'_>,
    config: &RunConfig,
    meter: &Arc<Meter>,
) -> Run<()> {
    let pages = config.touch.unwrap_or(PAGES);
    let mut tasks = Vec::new();
    for cpu in (0..linux.cpus).map(CpuId) {
        let work = Repeated {
            comm: format!("areas/{cpu}"),
            cpu,
            operations: areas(config),
            state: pages,
            one,
            last: |_, _, _, _| Ok(()),
        };
        if let Ok(task) = linux.make_task(cx, work.task(linux, meter), false)? {
            tasks.push((task, cpu));
        }
    }
    // None ends, and the machine with it, before all are there.
    for (task, cpu) in tasks {
        linux.wake_up_new(cx, task, cpu)?;
    }
    Ok(())
}

fn one(linux: &Linux, cx: &mut Ctx<'_>, pages: &mut u64) -> Run<()> {
    if let Ok(area) = linux.vmalloc(cx, *pages * linux.page_bytes())? {
        for page in 0..*pages {
            linux.touch(cx, area + page * linux.page_bytes(), true)?;
        }
        linux.vfree(cx, area)?;
    }
    Ok(())
}
