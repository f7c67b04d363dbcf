//! Areas that existed before the capture began.
//!
//! Owns what a first pass gathers about addresses that are touched or freed though nobody allocated
//! them in the capture, and makes areas of it. It does not invent allocations that were lost in the
//! middle: an address that an area of the capture held before is only counted as unexplained.

use super::areas::GRANULE_BYTES;
use super::intervals::Intervals;
use super::{KERNEL_EA_START, PreExisting, Unexplained};
use std::collections::BTreeMap;

/// Touches and frees without an allocation.
#[derive(Debug, Default)]
pub(crate) struct Unknown {
    touched: Intervals,
    /// Start of an area that was freed, and its end if a record told it.
    freed: BTreeMap<u64, Option<u64>>,
    /// Every address an area of the capture held so far.
    ever: Intervals,
    unexplained: Unexplained,
}

impl Unknown {
    /// An area was mapped in the capture.
    pub fn mapped(&mut self, start: u64, end: u64) {
        self.ever.add(start, end);
    }

    /// A touch of an address no live area holds.
    pub fn touch(&mut self, addr: u64) {
        let page = addr - addr % GRANULE_BYTES;
        let freed = self.freed.range(..=addr).next_back();
        let freed = freed.is_some_and(|(&start, end)| addr < end.unwrap_or(start + GRANULE_BYTES));
        match page.checked_add(GRANULE_BYTES) {
            Some(end) if !freed && self.ever.around(addr).is_none() => self.touched.add(page, end),
            _ => self.unexplained.touches += 1,
        }
    }

    /// A free of an address at which no live area starts.
    pub fn free(&mut self, addr: u64) {
        let sound = addr.is_multiple_of(GRANULE_BYTES)
            && (KERNEL_EA_START..u64::MAX - GRANULE_BYTES).contains(&addr);
        let known = self.freed.contains_key(&addr) || self.ever.around(addr).is_some();
        if sound && !known {
            self.freed.insert(addr, None);
        } else {
            self.unexplained.frees += 1;
        }
    }

    /// The area that was freed at `start` ends at `end`.
    pub fn freed_end(&mut self, start: u64, end: u64) {
        if let Some(known @ None) = self.freed.get_mut(&start)
            && end > start
            && end.is_multiple_of(GRANULE_BYTES)
        {
            *known = Some(end);
        }
    }

    /// How much state is held.
    pub fn len(&self) -> usize {
        self.touched.len() + self.freed.len() + self.ever.len()
    }

    /// The areas, in order and apart from each other, and what they do not explain.
    pub fn finish(self, page_bytes: u64) -> (Vec<PreExisting>, Unexplained) {
        let mut pages = Intervals::default();
        for (start, end) in self.touched.iter() {
            let start = start - start % page_bytes;
            pages.add(
                start,
                end.checked_next_multiple_of(page_bytes).unwrap_or(end),
            );
        }
        let mut areas = Vec::new();
        let mut covered = Intervals::default();
        for (&start, &end) in &self.freed {
            let next = self
                .freed
                .range(start + 1..)
                .next()
                .map_or(u64::MAX, |(&next, _)| next);
            let area = match end {
                Some(end) => known_area(&pages, start, end.min(next), page_bytes),
                None => {
                    let held = self.ever.next_start(start).unwrap_or(u64::MAX);
                    guessed_area(&pages, start, next.min(held), page_bytes)
                }
            };
            covered.add(area.start, area.end);
            areas.push(area);
        }
        for (start, end) in pages.iter() {
            for (start, end) in uncovered(&covered, start, end) {
                let next = covered.next_start(start).unwrap_or(u64::MAX);
                let next = next.min(pages.next_start(start).unwrap_or(u64::MAX));
                let guarded = end.saturating_add(page_bytes).min(next);
                areas.push(PreExisting {
                    start,
                    end: guarded,
                    size_bytes: end - start,
                });
            }
        }
        areas.sort_by_key(|area| area.start);
        (areas, self.unexplained)
    }
}

/// An area whose end was recorded; its last page is a guard page unless it was touched.
fn known_area(pages: &Intervals, start: u64, end: u64, page_bytes: u64) -> PreExisting {
    let guard = end.saturating_sub(page_bytes);
    let guarded = guard > start && pages.around(guard).is_none();
    let size_bytes = if guarded { guard - start } else { end - start };
    PreExisting {
        start,
        end,
        size_bytes,
    }
}

/// An area that was freed at `start` and reaches to its last touched page before `limit`.
fn guessed_area(pages: &Intervals, start: u64, limit: u64, page_bytes: u64) -> PreExisting {
    let mut mapped_end = start.saturating_add(page_bytes).min(limit);
    let mut at = start;
    loop {
        if let Some((_, end)) = pages.around(at) {
            mapped_end = mapped_end.max(end.min(limit));
        }
        match pages.next_start(at) {
            Some(next) if next < limit => at = next,
            _ => break,
        }
    }
    let end = mapped_end.saturating_add(page_bytes).min(limit);
    PreExisting {
        start,
        end,
        size_bytes: mapped_end - start,
    }
}

/// The parts of `start..end` that `covered` leaves out.
fn uncovered(covered: &Intervals, start: u64, end: u64) -> Vec<(u64, u64)> {
    let mut parts = Vec::new();
    let mut at = start;
    while at < end {
        if let Some((_, covered_end)) = covered.around(at) {
            at = covered_end;
        } else {
            let stop = covered.next_start(at).unwrap_or(end).min(end);
            parts.push((at, stop));
            at = stop;
        }
    }
    parts
}
