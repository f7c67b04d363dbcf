//! Chases over pages and segments, with MSR[DR]=1, against the same real addresses with MSR[DR]=0.
//!
//! Owns which pages are visited, from the shapes of ERAT, TLB and SLB, and the search for a knee. Pages
//! share lines: each has a doubleword of its own, so that few lines are read. Refuses costs.

use super::chase::{Bench, Chase, Link, SEGMENT_PAGES};
use super::words::SEGMENT_HANDLER_STRAIGHT;
use super::{LatencyError, Plateau};

/// Segments whose pages may fall into one group of the table, which has eight entries.
const SEGMENTS_OF_GROUP: u64 = 8;
/// Effective address of the first segment.
const FIRST_SEGMENT: u64 = 1 << 28;
/// Segments whose doublewords share a page.
const SEGMENTS_OF_PAGE: u64 = 512;
/// Each segment has a VSID of its own.
const OWN_VSIDS: u64 = u64::MAX << 20;
/// Greatest footprint of a sweep.
const SWEEP_MAX: u64 = 1 << 17;
/// A knee is where accesses take this part of a miss more than before it, on average.
const KNEE: f64 = 0.05;

/// A set-associative structure of pages.
#[derive(Clone, Copy, Debug)]
struct Shape {
    sets: u64,
    ways: u64,
}

fn shapes(bench: &Bench) -> (Shape, Shape) {
    let costs = bench.profile.costs();
    let erat = Shape {
        sets: costs.erat_sets,
        ways: costs.erat_ways,
    };
    let tlb = Shape {
        sets: costs.tlb_sets,
        ways: costs.tlb_ways,
    };
    (erat, tlb)
}

impl Shape {
    /// Whether `count` pages stay whose numbers are `stride` apart, a power of two.
    const fn holds(self, count: u64, stride: u64) -> bool {
        let sets = if self.sets > stride {
            self.sets / stride
        } else {
            1
        };
        count.div_ceil(sets) <= self.ways
    }
}

/// Number `at` of a chase lies on a page of a segment.
fn link(segment: u64, page: u64, at: u64) -> Link {
    let ea = FIRST_SEGMENT + ((segment * SEGMENT_PAGES + page) << 12);
    Link { ea, at: at * 8 }
}

/// Pages that the ERAT loses before their next turn, while the TLB keeps them: one more than a set has ways,
/// all of one set.
fn erat_chase(bench: &Bench) -> Option<Chase> {
    let (erat, tlb) = shapes(bench);
    let count = erat.ways + 1;
    let page = |i| link(0, i * erat.sets, i);
    let chase = Chase {
        links: (0..count).map(page).collect(),
        vsid_mask: OWN_VSIDS,
    };
    tlb.holds(count, erat.sets).then(|| chase.shuffled())
}

/// Pages that neither ERAT nor TLB keeps until their next turn: in some sets of the TLB one more than they have
/// ways, and enough of them for the ERAT. Eight segments take turns, so that each group of the hash table
/// has eight of them and few are read.
fn tlb_chase(bench: &Bench) -> Option<Chase> {
    let (erat, tlb) = shapes(bench);
    let stride = erat.sets.max(tlb.sets);
    let (mut sets, mut rounds) = (1, tlb.ways + 1);
    let overflows = |sets: u64, rounds: u64| rounds * sets / sets.min(erat.sets) > erat.ways;
    while !overflows(sets, rounds) && sets < tlb.sets {
        sets *= 2;
    }
    if !overflows(sets, rounds) {
        rounds = (erat.ways + 1) * sets.min(erat.sets).div_ceil(sets);
    }
    let last = (rounds - 1) / SEGMENTS_OF_GROUP * stride + sets;
    let page = |i: u64| {
        let (round, set) = (i / sets, i % sets);
        let page = round / SEGMENTS_OF_GROUP * stride + set;
        link(round % SEGMENTS_OF_GROUP, page, i)
    };
    let chase = Chase {
        links: (0..rounds * sets).map(page).collect(),
        vsid_mask: OWN_VSIDS,
    };
    (last <= SEGMENT_PAGES).then(|| chase.shuffled())
}

/// Visits `segments` segments in turn, at pages that the ERAT loses before their next turn, so that the SLB is
/// asked each time. All segments are views of the same virtual pages, which the TLB keeps.
fn slb_chase(bench: &Bench, segments: u64) -> Option<Chase> {
    let (erat, tlb) = shapes(bench);
    let passes = (erat.ways + 1).div_ceil(segments);
    let pages = passes * segments.div_ceil(SEGMENTS_OF_PAGE);
    let visit = |i: u64| {
        let (pass, segment) = (i / segments, i % segments);
        let page = pass + passes * (segment / SEGMENTS_OF_PAGE);
        let at = page * SEGMENTS_OF_PAGE + segment % SEGMENTS_OF_PAGE;
        link(segment, page * erat.sets, at)
    };
    let links = (0..passes * segments).map(visit).collect();
    let fits = pages * erat.sets <= SEGMENT_PAGES && tlb.holds(pages, erat.sets);
    fits.then_some(Chase {
        links,
        vsid_mask: 0,
    })
}

/// Pages in a row.
fn row(count: u64) -> Chase {
    let page = |i| link(i / SEGMENT_PAGES, i % SEGMENT_PAGES, i);
    Chase {
        links: (0..count).map(page).collect(),
        vsid_mask: OWN_VSIDS,
    }
    .shuffled()
}

fn added(bench: &Bench, chase: Option<Chase>) -> Result<Option<f64>, LatencyError> {
    chase.map(|chase| bench.added(&chase)).transpose()
}

/// The plateaus `erat_miss tlb_miss slb_miss` and the reaches of what is missed.
pub fn plateaus(bench: &Bench, step: &mut dyn FnMut(Plateau)) -> Result<(), LatencyError> {
    let erat_miss = added(bench, erat_chase(bench))?;
    let paths = ["translation.erat_miss"];
    step(Plateau::of_figures(bench, "erat_miss", erat_miss, &paths));
    let beyond = |all: Option<f64>| Some(all? - erat_miss?);
    let tlb_miss = beyond(added(bench, tlb_chase(bench))?);
    let paths = ["translation.walk", "l2.latency"];
    step(Plateau::of_figures(bench, "tlb_miss", tlb_miss, &paths));
    let slb_entries = bench.profile.costs().slb_entries;
    let slb_miss = beyond(added(bench, slb_chase(bench, slb_entries + 1))?);
    step(slb_plateau(bench, slb_miss));
    let pages = |count| Some(row(count));
    let entries = ["geometry.erat_sets", "geometry.erat_ways"];
    let reach = knee(bench, pages, 0.0, erat_miss)?;
    step(Plateau::of_shape(
        bench,
        "erat_reach_entries",
        reach,
        &entries,
    ));
    let reach = knee(bench, pages, erat_miss.unwrap_or(0.0), tlb_miss)?;
    let entries = ["geometry.tlb_sets", "geometry.tlb_ways"];
    step(Plateau::of_shape(
        bench,
        "tlb_reach_entries",
        reach,
        &entries,
    ));
    let segments = |count| slb_chase(bench, count);
    let reach = knee(bench, segments, erat_miss.unwrap_or(0.0), slb_miss)?;
    let entries = ["geometry.slb_entries"];
    step(Plateau::of_shape(
        bench,
        "slb_reach_entries",
        reach,
        &entries,
    ));
    Ok(())
}

/// An SLB miss beyond an ERAT miss: the interrupt, the handler, and the second try, which misses the ERAT too.
fn slb_plateau(bench: &Bench, measured: Option<f64>) -> Plateau {
    let paths = [
        "exception.interrupt_entry",
        "exception.special_register",
        "slb.slbmte",
        "exception.rfid",
        "translation.erat_miss",
    ];
    let mut plateau = Plateau::of_figures(bench, "slb_miss", measured, &paths);
    let rate = bench.cycles_per_100();
    plateau.profile += (SEGMENT_HANDLER_STRAIGHT * rate) as f64 / 100.0;
    plateau.source.push_str(&format!(
        " + {SEGMENT_HANDLER_STRAIGHT} instructions at machine.cycles_per_100_instructions"
    ));
    plateau
}

/// The greatest footprint at which translation adds no more than `before` and a small part of `miss`: the
/// footprint is doubled until it does, then the place is narrowed down.
fn knee(
    bench: &Bench,
    chase: impl Fn(u64) -> Option<Chase>,
    before: f64,
    miss: Option<f64>,
) -> Result<Option<f64>, LatencyError> {
    let Some(limit) = miss.filter(|miss| *miss > 0.0).map(|m| before + m * KNEE) else {
        return Ok(None);
    };
    let stays = |count| match added(bench, chase(count))? {
        Some(added) => Ok::<_, LatencyError>(Some(added <= limit)),
        None => Ok(None),
    };
    let (mut fits, mut too_many) = (0, 1);
    while stays(too_many)? == Some(true) && too_many < SWEEP_MAX {
        (fits, too_many) = (too_many, too_many * 2);
    }
    if stays(too_many)? != Some(false) {
        return Ok(None);
    }
    while too_many - fits > 1 + fits / 128 {
        let middle = fits.midpoint(too_many);
        match stays(middle)? {
            Some(true) => fits = middle,
            Some(false) => too_many = middle,
            None => return Ok(None),
        }
    }
    Ok(Some(fits as f64))
}
