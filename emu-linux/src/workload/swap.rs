//! `swapon-swapoff`: the workload of the report of March 2011.
//!
//! 1572860 KiB are 393215 good pages and the header: 393216 entries of one byte in the swap map, so 96
//! pages of vmalloc. v2.6.38 clears the map through its vmalloc address; mmotm (803d0c8351b) uses
//! vzalloc, which clears through the linear map, and that is what runs here: swapon then touches one
//! page. 2.6.38's swapoff reads the whole map before it frees it, so every page is hashed by then. With 64K
//! pages there are 24576 entries, and the map is one page.

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

/// KiB of the swap area, its header included.
const SWAP_KIB: u64 = 1_572_864;
/// Bytes of the swap map: one for each page of the area.
const fn swap_map_bytes(pages: Pages) -> u64 {
    (SWAP_KIB << 10) >> pages.shift()
}

/// Pages of the swap map.
pub(super) fn swap_map_pages(pages: Pages) -> u64 {
    swap_map_bytes(pages).div_ceil(pages.bytes())
}

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
    let map_pages = swap_map_pages(linux.layout().pages);
    // 2.6.38 looks through all of it; 6.1 does not look when no page is swapped out, so that only the header's
    // byte, written at swapon, was ever touched.
    let scanned = match linux.layout().version {
        KernelVersion::V2_6_38 => map_pages,
        KernelVersion::V6_1 => 1,
    };
    let touch = config.touch.unwrap_or(scanned).min(map_pages);
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

/// swapon(2): maps the swap map and marks the header page bad.
fn sys_swapon(linux: &Linux, cx: &mut Ctx<'_>, touch: u64) -> Run<Result<Ea, Errno>> {
    cx.call("sys_swapon", |cx| {
        linux.work(cx, Func::SysSwapon)?;
        let bytes = swap_map_bytes(linux.layout().pages);
        let allocated = match linux.layout().version {
            KernelVersion::V2_6_38 => linux.vmalloc(cx, bytes)?,
            KernelVersion::V6_1 => linux.vzalloc(cx, bytes)?,
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
        // The header takes a page.
        let kib = SWAP_KIB - (linux.page_bytes() >> 10);
        let area = SwapArea {
            kib,
            across_kib: kib,
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
