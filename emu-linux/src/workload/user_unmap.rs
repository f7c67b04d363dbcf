//! `user-unmap`: a process that stores to pages and unmaps them, over and over.
//!
//! The process first runs on every CPU, so that its flushes are global; pinned it runs on one CPU, and the
//! flushes of its batches are local.

use super::Meter;
use crate::config::{Pages, RunConfig};
use crate::kernel::Linux;
use crate::memmap::{field, task};
use crate::mm::Mm;
use crate::task::TaskSpec;
use crate::user::{USER_PAGES, USER_START};
use emu_core::{CpuId, Ctx, Run};
use emu_mmu::Ea;
use std::sync::Arc;

/// Pages of a round unless told otherwise.
const PAGES: u64 = 16;

/// Most pages of a round: those that a user task may have mapped.
pub(super) fn pages_max(_: Pages) -> u64 {
    USER_PAGES
}

/// Rounds.
pub(super) fn operations(config: &RunConfig) -> u64 {
    config.operations.unwrap_or(1000)
}

pub(super) fn start(
    linux: &Arc<Linux>,
    cx: &mut Ctx<'_>,
    config: &RunConfig,
    meter: &Arc<Meter>,
) -> Run<()> {
    let Ok(mm) = linux.mm_alloc(cx)? else {
        return Ok(());
    };
    let (rounds, pages) = (operations(config), config.touch.unwrap_or(PAGES));
    let meter = meter.clone();
    let task = TaskSpec {
        comm: "unmap".to_owned(),
        pid: None,
        stack: None,
        cpus_allowed: linux.allowed(CpuId(0)),
        cpu: CpuId(0),
        mm: Some(mm),
        body: Box::new(move |linux, cx| {
            go_round(linux, cx)?;
            for _ in 0..rounds {
                one(linux, cx, mm, pages)?;
                meter.step();
                linux.return_to_user(cx)?;
            }
            Ok(())
        }),
    };
    if linux.spawn_task(cx, task)?.is_err() {
        linux.mmput(cx, mm)?;
    }
    Ok(())
}

/// Runs on every CPU that it may run on, and stays on the first.
fn go_round(linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
    for cpu in (0..linux.cpus).rev().map(CpuId) {
        if linux.may_move_to(cx, cpu) {
            // sched_setaffinity: else a CPU that has become idle pulls it back at once.
            let allowed = field(linux.current(cx), task::CPUS_ALLOWED);
            cx.store_u64(allowed, 1 << cpu.0, "sched_setaffinity")?;
            linux.migrate_current(cx, cpu)?;
        }
    }
    Ok(())
}

fn one(linux: &Linux, cx: &mut Ctx<'_>, mm: Mm, pages: u64) -> Run<()> {
    for page in 0..pages {
        let at = Ea::new(USER_START + page * linux.page_bytes());
        cx.user_store_u64(at, page, "user: store")?;
    }
    linux.munmap(cx, mm, Ea::new(USER_START), pages)
}
