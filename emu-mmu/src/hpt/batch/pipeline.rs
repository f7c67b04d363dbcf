//! The rolling pipeline under every batch.
//!
//! Owns the order of work: entries go by in blocks; the groups of a block some places ahead are found
//! and fetched, then this block is worked on. Blocks, because what is computed for a block becomes
//! vector code and leaves few instructions between two fetches: the fewer, the more cache misses and
//! page walks the host has in flight. Refuses to know what is done with an entry.

use crate::memory::{GroupAt, prefetch_read};

/// Entries of a block.
const BLOCK: usize = 8;
/// Blocks whose groups are remembered; a power of two above `DISTANCE_MAX / BLOCK`.
const RING: usize = 16;
/// How many entries ahead a group is fetched.
pub(super) const DISTANCE: usize = 16;
/// The furthest.
pub(super) const DISTANCE_MAX: usize = 64;

/// Weight of one entry in the running count of those that went to their other group.
const STRAY: u32 = 1 << 10;
/// The count above which groups are looked at half-way: about one entry in 32.
const STRAYS_OFTEN: u32 = (STRAY * BLOCK as u32 / 32) << 4;
/// Blocks beyond those whose groups are fetched at which the entries themselves are: their misses
/// wait behind those of the groups, so the host's own prefetch of a sequence comes too late.
const ENTRIES_AHEAD: usize = 6;

/// What a batch does with each of its entries. Every method is `#[inline(always)]` where it is
/// written, or its vector compare would not be compiled for the CPU feature.
pub(super) trait Pass {
    /// One entry of the batch.
    type Entry;
    /// What is made of an entry before its group is looked at.
    type Ready: Copy;

    /// The entry's primary group.
    fn place(&self, entry: &Self::Entry) -> GroupAt;
    /// Makes an entry ready.
    fn ready(&self, entry: &Self::Entry) -> Self::Ready;
    /// Brings the group near, or the part of it that the entry needs.
    fn fetch(&self, entry: &Self::Entry, at: GroupAt);
    /// A second look, when the group is near: fetches the other one if that will be needed.
    fn glance(&self, ready: Self::Ready, at: GroupAt);
    /// Does the work on entry `i`. True if it went to its other group.
    fn work(&mut self, i: usize, ready: Self::Ready, at: GroupAt) -> bool;
}

/// Runs a pass over all entries in order, fetching `distance` entries ahead; 0 fetches nothing.
#[inline(always)]
pub(super) fn run<P: Pass>(mut pass: P, entries: &[P::Entry], distance: usize) {
    let (blocks, rest) = entries.as_chunks::<BLOCK>();
    let ahead = distance.min(DISTANCE_MAX).div_ceil(BLOCK);
    let mut ring = [[GroupAt::default(); BLOCK]; RING];
    for (block, places) in blocks[..blocks.len().min(ahead)].iter().zip(&mut ring) {
        *places = place(&pass, block);
        for (entry, &at) in block.iter().zip(&*places) {
            pass.fetch(entry, at);
        }
    }
    let mut strays = 0;
    for (b, block) in blocks.iter().enumerate() {
        let next = blocks.get(b + ahead).unwrap_or(block);
        let next_places = place(&pass, next);
        ring[(b + ahead) % RING] = next_places;
        if ahead > 0
            && let Some(far) = blocks.get(b + ahead + ENTRIES_AHEAD)
        {
            prefetch_read(far);
        }
        if strays > STRAYS_OFTEN
            && let Some(near) = blocks.get(b + ahead / 2)
        {
            glance(&pass, near, &ring[(b + ahead / 2) % RING]);
        }
        let places = ring[b % RING];
        let ready: [P::Ready; BLOCK] = core::array::from_fn(
            #[inline(always)]
            |k| pass.ready(&block[k]),
        );
        strays -= strays >> 4;
        for k in 0..BLOCK {
            if ahead > 0 {
                pass.fetch(&next[k], next_places[k]);
            }
            strays += STRAY * u32::from(pass.work(b * BLOCK + k, ready[k], places[k]));
        }
    }
    finish(&mut pass, rest, entries.len() - rest.len(), distance > 0);
}

/// Finds the groups of a block.
#[inline(always)]
fn place<P: Pass>(pass: &P, block: &[P::Entry; BLOCK]) -> [GroupAt; BLOCK] {
    core::array::from_fn(
        #[inline(always)]
        |k| pass.place(&block[k]),
    )
}

/// Looks at the groups of a block that is half-way.
#[inline(always)]
fn glance<P: Pass>(pass: &P, block: &[P::Entry; BLOCK], places: &[GroupAt; BLOCK]) {
    for (entry, &at) in block.iter().zip(places) {
        pass.glance(pass.ready(entry), at);
    }
}

/// The entries that fill no block.
#[inline(always)]
fn finish<P: Pass>(pass: &mut P, rest: &[P::Entry], first: usize, fetched: bool) {
    if fetched && rest.len() > 1 {
        for entry in rest {
            pass.fetch(entry, pass.place(entry));
        }
    }
    for (k, entry) in rest.iter().enumerate() {
        pass.work(first + k, pass.ready(entry), pass.place(entry));
    }
}
