//! Loops around single instructions.
//!
//! Owns what stands in each loop. Refuses caches and pages: one line is touched, in real mode.

use super::chase::Bench;
use super::words::{EIEIO, IDLE_LOOP, PTESYNC, TLBSYNC, idle_loop, ldarx, stdcx, tlbie, tlbiel};
use super::{LatencyError, Plateau};

/// Most turns of the loop that lets the bus run empty.
const TURNS_MAX: u64 = 0x7fff;

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
    let idle = idle(bench);
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
/// does not wait for it: a loop of its own.
fn idle(bench: &Bench) -> Vec<u32> {
    let costs = bench.profile.costs();
    let sequence = costs.tlbie + costs.eieio + costs.tlbsync + 2 * costs.ptesync;
    let cycles = costs.tlbie_bus.saturating_sub(sequence);
    let instructions = (cycles * 100).div_ceil(bench.cycles_per_100());
    match instructions.div_ceil(IDLE_LOOP) {
        0 => Vec::new(),
        turns => idle_loop(turns.min(TURNS_MAX) as u16),
    }
}
