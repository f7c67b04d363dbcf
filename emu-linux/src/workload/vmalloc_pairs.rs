//! `vmalloc-pairs`: one task maps, touches and frees 8 pages, over and over.

use super::Meter;
use crate::config::RunConfig;
use crate::kernel::Linux;
use crate::task::TaskSpec;
use emu_core::{CpuId, Ctx, Run};
use std::sync::Arc;

/// Pages of each area.
pub(super) const PAGES: u64 = 8;

/// Pairs to run.
pub(super) fn operations(config: &RunConfig) -> u64 {
    config.operations.unwrap_or(10_000)
}

pub(super) fn start(
    linux: &Arc<Linux>,
    cx: &mut Ctx<'_>,
    config: &RunConfig,
    meter: &Arc<Meter>,
) -> Run<()> {
    let pairs = operations(config);
    let touched = config.touch.unwrap_or(PAGES).min(PAGES);
    let meter = meter.clone();
    let task = TaskSpec {
        comm: "vmalloc".into(),
        pid: None,
        stack: None,
        cpus_allowed: linux.allowed(CpuId(0)),
        cpu: CpuId(0),
        mm: None,
        body: Box::new(move |linux, cx| {
            for _ in 0..pairs {
                if let Ok(area) = linux.vmalloc(cx, PAGES * linux.page_bytes())? {
                    for page in 0..touched {
                        linux.touch(cx, area + page * linux.page_bytes(), true)?;
                    }
                    linux.vfree(cx, area)?;
                }
                meter.step();
                linux.return_to_user(cx)?;
            }
            Ok(())
        }),
    };
    linux.spawn_task(cx, task).map(|_| ())
}
