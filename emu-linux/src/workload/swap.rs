//! `swapon-swapoff`: the workload of the report of March 2011.
//!
//! 1572860 KiB are 393215 good pages and the header: 393216 entries of one byte in the swap map, so 96
//! pages of vmalloc. v2.6.38 clears the map through its vmalloc address; mmotm (803d0c8351b) uses
//! vzalloc, which clears through the linear map, and that is what runs here: swapon then touches one
//! page. 2.6.38's swapoff reads the whole map before it frees it, so every page is hashed by then.

use super::Meter;
use crate::config::{KernelVersion, Pages, RunConfig};
use crate::functions::Func;
use crate::kernel::{Errno, Linux};
use crate::layout::va;
use crate::printk::{Level, SwapArea, swapon_line};
use crate::task::TaskSpec;
use emu_core::{CpuId, Ctx, Run};
use emu_mmu::{Ea, Ra};
use parking_lot::Mutex;
use std::sync::Arc;

/// Bytes of the swap map.
const SWAP_MAP_BYTES: u64 = 393_216;
/// Its pages.
pub(super) const SWAP_MAP_PAGES: u64 = SWAP_MAP_BYTES / Pages::K4.bytes();
/// Stacks of the two tasks in the report.
const SWAPON_STACK: u64 = 0x29c3_8000;
const SWAPOFF_STACK: u64 = 0x260d_0000;

type SwapMap = Arc<Mutex<Option<Ea>>>;

/// Starts `swapon`; it starts `swapoff` when it is done, as the shell did.
pub(super) fn start(
    linux: &Arc<Linux>,
    cx: &mut Ctx<'_>,
    config: &RunConfig,
    meter: &Arc<Meter>,
) -> Run<()> {
    let map: SwapMap = Arc::new(Mutex::new(None));
    let scanned = scanned_pages(linux.layout().version);
    let touch = config.touch.unwrap_or(scanned).min(SWAP_MAP_PAGES);
    let allowed = linux.allowed(CpuId(0));
    let meter = meter.clone();
    let swapon = TaskSpec {
        comm: "swapon".into(),
        pid: Some(3230),
        stack: Some(va(Ra::new(SWAPON_STACK))),
        cpus_allowed: allowed,
        cpu: CpuId(0),
        mm: None,
        body: Box::new(move |linux, cx| {
            let mapped = sys_swapon(linux, cx, touch)?;
            meter.step();
            *map.lock() = mapped.ok();
            let swapoff = TaskSpec {
                comm: "swapoff".into(),
                pid: Some(3231),
                stack: Some(va(Ra::new(SWAPOFF_STACK))),
                cpus_allowed: allowed,
                cpu: cx.cpu_id(),
                mm: None,
                body: Box::new(move |linux, cx| {
                    let mapped = map.lock().take();
                    if let Some(swap_map) = mapped {
                        sys_swapoff(linux, cx, swap_map, touch)?;
                    }
                    meter.step();
                    Ok(())
                }),
            };
            linux.spawn_task(cx, swapoff).map(|_| ())
        }),
    };
    linux.spawn_task(cx, swapon).map(|_| ())
}

/// Pages of the map that swapoff reads. 2.6.38 looks through all of it; 6.1 does not look when no page is
/// swapped out, so that only the header's byte, written at swapon, was ever touched.
fn scanned_pages(version: KernelVersion) -> u64 {
    match version {
        KernelVersion::V2_6_38 => SWAP_MAP_PAGES,
        KernelVersion::V6_1 => 1,
    }
}

/// swapon(2): maps the swap map and marks the header page bad.
fn sys_swapon(linux: &Linux, cx: &mut Ctx<'_>, touch: u64) -> Run<Result<Ea, Errno>> {
    cx.call("sys_swapon", |cx| {
        linux.work(cx, Func::SysSwapon)?;
        let allocated = match linux.layout().version {
            KernelVersion::V2_6_38 => linux.vmalloc(cx, SWAP_MAP_BYTES)?,
            KernelVersion::V6_1 => linux.vzalloc(cx, SWAP_MAP_BYTES)?,
        };
        let swap_map = match allocated {
            Ok(swap_map) => swap_map,
            Err(errno) => {
                // Back to user space: the next thing this task does is to sleep.
                linux.yield_once(cx)?;
                return Ok(Err(errno));
            }
        };
        if touch > 0 {
            linux.touch(cx, swap_map, true)?;
        }
        let priority = match linux.layout().version {
            KernelVersion::V2_6_38 => -1,
            KernelVersion::V6_1 => -2,
        };
        let area = SwapArea {
            priority,
            ..SwapArea::report_of_2011()
        };
        linux.printk(cx, Level::Info, &swapon_line(&area))?;
        Ok(Ok(swap_map))
    })
}

/// swapoff(2): looks through the map for entries in use, then frees it, in plain preemptible context.
fn sys_swapoff(linux: &Linux, cx: &mut Ctx<'_>, swap_map: Ea, touch: u64) -> Run<()> {
    cx.call("sys_swapoff", |cx| {
        linux.work(cx, Func::SysSwapoff)?;
        for page in 0..touch {
            linux.touch(cx, swap_map + page * linux.page_bytes(), false)?;
        }
        linux.vfree(cx, swap_map).map(|_| ())
    })
}
