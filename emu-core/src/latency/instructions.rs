//! Loops around single instructions.
//!
//! Owns what stands in each loop. Refuses caches and pages: one line is touched, in real mode.

use super::chase::Bench;
use super::words::{EIEIO, NOP, PTESYNC, TLBSYNC, ldarx, stdcx, tlbie, tlbiel};
use super::{LatencyError, Plateau};

/// Most instructions that let the bus run empty.
const IDLE_MAX: u64 = 50_000;

/// The plateaus `larx_stcx tlbiel tlbie tlbie_sequence`.
pub fn plateaus(bench: &Bench, step: &mut dyn FnMut(Plateau)) -> Result<(), LatencyError> {
    let pair = bench.body(&[ldarx(4, 3), stdcx(4, 3)])?;
    let paths = ["reservation.load_reserve", "reservation.store_conditional"];
    step(Plateau::of_figures(bench, "larx_stcx", Some(pair), &paths));
    let local = bench.body(&[tlbiel(5)])?;
    step(Plateau::of_figures(
        bench,
        "tlbiel",
        Some(local),
        &["tlb.tlbiel"],
    ));
    let idle = vec![NOP; idle(bench) as usize];
    let around = |middle: &[u32]| {
        let barriers = [EIEIO, TLBSYNC, PTESYNC];
        bench.body(&[&[PTESYNC], middle, &barriers, &idle[..]].concat())
    };
    let (with, without) = (around(&[tlbie(5)])?, around(&[])?);
    let global = Some(with - without);
    step(Plateau::of_figures(bench, "tlbie", global, &["tlb.tlbie"]));
    let sequence = with - bench.body(&idle)?;
    let paths = [
        "order.ptesync",
        "tlb.tlbie",
        "order.eieio",
        "tlb.tlbsync",
        "order.ptesync",
    ];
    step(Plateau::of_figures(
        bench,
        "tlbie_sequence",
        Some(sequence),
        &paths,
    ));
    Ok(())
}

/// Instructions after a sequence until the bus that carries a tlbie is free again, so that the next one
/// does not wait for it.
fn idle(bench: &Bench) -> u64 {
    let costs = bench.profile.costs();
    let sequence = costs.tlbie + costs.eieio + costs.tlbsync + 2 * costs.ptesync;
    let cycles = costs.tlbie_bus.saturating_sub(sequence);
    (cycles * 100)
        .div_ceil(costs.cycles_per_100_instructions.max(1))
        .min(IDLE_MAX)
}
