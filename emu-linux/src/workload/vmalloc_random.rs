//! `vmalloc-random`: six tasks map, touch and free areas of random sizes.

use super::{Meter, Repeated};
use crate::config::RunConfig;
use crate::kernel::Linux;
use crate::layout::{PIECE_BYTES, PIECES};
use emu_core::{CpuId, Ctx, Run};
use emu_mmu::Ea;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Tasks that run at once.
const TASKS: u64 = 6;
/// Areas that a task keeps at most.
const KEPT_MAX: usize = 8;
/// Pages of the largest area.
const PAGES_MAX: u64 = 300;

/// Operations of all tasks together.
pub(super) fn operations(config: &RunConfig) -> u64 {
    config.operations.unwrap_or(3_000)
}

pub(super) fn start(
    linux: &Arc<Linux>,
    cx: &mut Ctx<'_>,
    config: &RunConfig,
    meter: &Arc<Meter>,
) -> Run<()> {
    let all = operations(config);
    for i in 0..TASKS {
        let mine = all / TASKS + u64::from(i < all % TASKS);
        let seed = config.seed.wrapping_mul(TASKS).wrapping_add(i);
        let cpu = CpuId((i % u64::from(linux.cpus)) as u16);
        spawn(linux, cx, i, cpu, mine, seed, meter)?;
    }
    Ok(())
}

/// Makes one such task.
pub(super) fn spawn(
    linux: &Arc<Linux>,
    cx: &mut Ctx<'_>,
    number: u64,
    cpu: CpuId,
    operations: u64,
    seed: u64,
    meter: &Arc<Meter>,
) -> Run<()> {
    let work = Repeated {
        comm: format!("vmalloc/{number}"),
        cpu,
        operations,
        state: (ChaCha8Rng::seed_from_u64(seed), Vec::new()),
        one,
        last: |linux, cx, (_, kept), _| {
            for area in kept {
                linux.vfree(cx, area)?;
            }
            Ok(())
        },
    };
    work.spawn(linux, cx, meter)
}

/// One operation: free a kept area, or make one and touch a random part of it.
fn one(linux: &Linux, cx: &mut Ctx<'_>, (rng, kept): &mut (ChaCha8Rng, Vec<Ea>)) -> Run<()> {
    if kept.len() == KEPT_MAX || (!kept.is_empty() && rng.random_bool(0.4)) {
        let area = kept.swap_remove(rng.random_range(0..kept.len()));
        return linux.vfree(cx, area).map(|_| ());
    }
    let pages = rng.random_range(1..=PAGES_MAX);
    if let Ok(area) = linux.vmalloc(cx, pages * linux.page_bytes())? {
        for page in 0..pages {
            if rng.random_bool(0.7) {
                linux.touch(cx, area + page * linux.page_bytes(), true)?;
                for _ in 0..linux.more_pieces() {
                    let piece = rng.random_range(1..PIECES) * PIECE_BYTES;
                    linux.touch(cx, area + page * linux.page_bytes() + piece, true)?;
                }
            }
        }
        kept.push(area);
    }
    Ok(())
}
