//! The pages flushed last, to tell a repeated flush from a first one.
//!
//! Owns a ring of 4096 pages and an index over it. Refuses to remember more: a repeat that comes
//! later than that is not counted.

use super::pending::page_key;
use crate::key_map::KeyMap;
use emu_mmu::{SegmentSize, Vpn};

/// Pages remembered: some twenty full batches (PPC64_TLB_BATCH_NR is 192).
const PAGES: usize = 4096;

/// The pages flushed last and not queued again since.
#[derive(Debug, Default)]
pub(super) struct Flushed {
    ring: Vec<u64>,
    /// Page -> number of the flush that remembered it; its place in the ring is that modulo PAGES.
    by_page: KeyMap<u64>,
    count: u64,
}

cloned_by_field!(Flushed {
    ring,
    by_page,
    count,
});

impl Flushed {
    /// A page was flushed.
    pub fn remember(&mut self, vpn: Vpn, segment: SegmentSize) {
        let key = page_key(vpn, segment);
        let place = (self.count % PAGES as u64) as usize;
        if let Some(oldest) = self.ring.get_mut(place) {
            // Only if it was not flushed again since: then a younger place remembers it.
            let oldest = std::mem::replace(oldest, key);
            if self
                .by_page
                .get(&oldest)
                .is_some_and(|&n| n + PAGES as u64 == self.count)
            {
                self.by_page.remove(&oldest);
            }
        } else {
            self.ring.push(key);
        }
        self.by_page.insert(key, self.count);
        self.count += 1;
    }

    /// A page was queued again.
    pub fn forget(&mut self, vpn: Vpn, segment: SegmentSize) {
        self.by_page.remove(&page_key(vpn, segment));
    }

    /// True if the page is remembered.
    pub fn contains(&self, vpn: Vpn, segment: SegmentSize) -> bool {
        self.by_page.contains_key(&page_key(vpn, segment))
    }

    /// Pages remembered now.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_page.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SegmentSize = SegmentSize::S256M;

    #[test]
    fn remembers_the_last_pages_only() {
        let mut flushed = Flushed::default();
        for i in 0..3 * PAGES as u64 {
            flushed.remember(Vpn::new(i), S);
        }
        assert_eq!(flushed.len(), PAGES);
        assert!(flushed.contains(Vpn::new(2 * PAGES as u64), S));
        assert!(!flushed.contains(Vpn::new(2 * PAGES as u64 - 1), S));
        assert!(!flushed.contains(Vpn::new(2 * PAGES as u64), SegmentSize::S1T));
    }

    #[test]
    fn a_page_flushed_again_lives_as_long_as_its_last_flush() {
        let mut flushed = Flushed::default();
        flushed.remember(Vpn::new(7), S);
        flushed.remember(Vpn::new(7), S);
        for i in 0..PAGES as u64 - 1 {
            flushed.remember(Vpn::new(100 + i), S);
        }
        assert!(flushed.contains(Vpn::new(7), S));
        flushed.remember(Vpn::new(8), S);
        assert!(!flushed.contains(Vpn::new(7), S));
    }

    #[test]
    fn a_page_queued_again_is_forgotten() {
        let mut flushed = Flushed::default();
        flushed.remember(Vpn::new(7), S);
        flushed.forget(Vpn::new(7), S);
        assert!(!flushed.contains(Vpn::new(7), S));
    }
}
