//! The other half of `stale-translation`: which translation served an access.
//!
//! The rule. The flush of a PTE takes in the page from the moment it is queued, or flushed alone,
//! and is complete with the first ptesync of the CPU that issued the page's invalidation for it.
//! From then on the page has no translation until an entry of the hash table is made valid for it,
//! so any access through it is served by the old one. An entry made valid before the flush is
//! complete is a new translation, and from then on only accesses to the old frame are stale; if it
//! maps the same frame they cannot be told apart and nothing is judged. And no access may reach a
//! frame between its freeing and its next allocation.
//!
//! Judges each access outside the linear map, whose entries are bolted, so that the allocator's own
//! links in free frames do not count. The last 65536 pages flushed are remembered.

use super::lost_flush::KeyMap;
use super::page::Page;
use crate::tracepoint::Tracepoint;
use emu_core::CpuId;
use emu_mmu::{Ea, PageSize, Ra, TlbInvalidate};
use std::collections::VecDeque;
use std::fmt;

/// Flushed pages that are remembered.
const FLUSHED_MAX: usize = 1 << 16;
/// The real page of an HPTE's second doubleword (Power ISA 2.07 Book III-S 5.7.7.1), 4K.
const HPTE_R_RPN: u64 = 0x0fff_ffff_ffff_f000;
const PAGE_BYTES: u64 = PageSize::P4K.bytes();

/// An access that a dead translation served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stale {
    /// To a frame that is free.
    Freed { ea: Ea, ra: Ra },
    /// By a translation whose flush is complete.
    Flushed { ea: Ea, ra: Ra, page: Page },
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stale::Freed { ea, ra } => {
                write!(
                    f,
                    "an access at {ea} reaches {ra}, in a frame that was freed"
                )
            }
            Stale::Flushed { ea, ra, page } => write!(
                f,
                "an access at {ea} (vpn {}) is served by a translation to {ra} whose flush is complete",
                page.0
            ),
        }
    }
}

/// What became of the old translation of a page.
#[derive(Clone, Copy, Debug)]
struct Old {
    size: PageSize,
    frame: u64,
    /// The flush is complete.
    dead: bool,
    /// Another translation came since it began.
    replaced: bool,
}

/// The state of the rule.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// log2 of the bytes of a frame beyond 4K.
    frame_extra: u32,
    free: KeyMap<()>,
    old: KeyMap<Old>,
    /// Keys of `old`, oldest first; some are gone.
    order: VecDeque<u64>,
    /// Pages that a CPU invalidated since its last ptesync.
    issued: Vec<(CpuId, u64)>,
    /// The last second doubleword stored into the table by each slot in use lately.
    last_r: [(u64, u64); 4],
    next_r: usize,
}

fn key(page: Page) -> u64 {
    (page.0.get() << 1) | page.1.b_field()
}

impl Served {
    /// Bytes of a frame of the page allocator.
    pub fn frame_bytes(&mut self, bytes: u64) {
        self.frame_extra = (bytes / PAGE_BYTES).max(1).ilog2();
    }

    fn frame(&self, ra: u64) -> u64 {
        (ra / PAGE_BYTES) >> self.frame_extra
    }

    /// An event of Linux.
    #[inline]
    pub fn tracepoint(&mut self, tp: &Tracepoint) {
        match *tp {
            Tracepoint::PageFreed { frame } => {
                self.free.insert(self.frame(frame), ());
            }
            Tracepoint::PageAllocated { frame } => {
                self.free.remove(&self.frame(frame));
            }
            Tracepoint::Queued {
                vpn,
                segment,
                size,
                frame,
                ..
            }
            | Tracepoint::SingleFlush {
                vpn,
                segment,
                size,
                frame,
            } => self.begin((vpn, segment), size, frame),
            _ => {}
        }
    }

    fn begin(&mut self, page: Page, size: PageSize, frame: u64) {
        let old = Old {
            size,
            frame,
            dead: false,
            replaced: false,
        };
        if self.old.insert(key(page), old).is_none() {
            self.order.push_back(key(page));
        }
        if self.order.len() > FLUSHED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.old.remove(&oldest);
        }
    }

    /// An invalidation was issued as part of a flush.
    #[inline]
    pub fn flushed(&mut self, cpu: CpuId, operand: &TlbInvalidate) {
        let key = key((operand.vpn, operand.segment));
        if self.old.contains_key(&key) {
            self.issued.push((cpu, key));
        }
    }

    /// A ptesync of a CPU: its invalidations are complete.
    #[inline]
    pub fn ptesync(&mut self, cpu: CpuId) {
        let old = &mut self.old;
        self.issued.retain(|&(by, key)| {
            if by == cpu
                && let Some(old) = old.get_mut(&key)
            {
                old.dead = true;
            }
            by != cpu
        });
    }

    /// A doubleword of the table became `new`.
    #[inline]
    pub fn table_store(&mut self, ra: Ra, new: u64) {
        if ra.get() & 8 != 0 {
            self.last_r[self.next_r] = (ra.get() - 8, new);
            self.next_r = (self.next_r + 1) % self.last_r.len();
        }
    }

    /// The entry at `ra` was made valid for `page`.
    #[inline]
    pub fn born(&mut self, ra: Ra, page: Page) {
        let frame_extra = self.frame_extra;
        let frame_of = |ra: u64| (ra / PAGE_BYTES) >> frame_extra;
        let Some(old) = self.old.get_mut(&key(page)) else {
            return;
        };
        let newest = (1..=self.last_r.len()).map(|back| {
            let at = (self.next_r + self.last_r.len() - back) % self.last_r.len();
            self.last_r[at]
        });
        let r = newest.filter(|&(at, _)| at == ra.get()).map(|(_, r)| r);
        match r.map(|r| r & HPTE_R_RPN).next() {
            Some(frame) if frame_of(frame) != frame_of(old.frame) => old.replaced = true,
            // The same frame, or one that nobody saw: nothing tells old from new.
            _ => {
                self.old.remove(&key(page));
            }
        }
    }

    /// An access at `ea` was served by a translation of `page` to `ra`.
    pub fn access(&mut self, ea: Ea, page: Option<Page>, ra: Ra) -> Option<Stale> {
        if self.free.contains_key(&self.frame(ra.get())) {
            return Some(Stale::Freed { ea, ra });
        }
        let page = page?;
        let whole = (page.0.align_down(PageSize::P64K), page.1);
        let large = self.old.get(&key(whole));
        let large = large.filter(|old| old.size != PageSize::P4K);
        let old = large.or_else(|| self.old.get(&key(page)))?;
        let same_frame = self.frame(ra.get()) == self.frame(old.frame);
        (old.dead && (same_frame || !old.replaced)).then_some(Stale::Flushed { ea, ra, page })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_mmu::{SegmentSize, Vpn};

    const PAGE: Page = (Vpn::new(0xf_09b8_9af5_0100), SegmentSize::S256M);
    const EA: Ea = Ea::new(0xd000_0000_0010_0008);
    const OLD: Ra = Ra::new(0x5008);
    const NEW: Ra = Ra::new(0x6008);
    const HPTE: Ra = Ra::new(0x40d_fa80);

    fn begun() -> Served {
        let mut rule = Served::default();
        rule.tracepoint(&Tracepoint::SingleFlush {
            vpn: PAGE.0,
            segment: PAGE.1,
            size: PageSize::P4K,
            frame: 0x5000,
        });
        rule
    }

    fn tlbie(rule: &mut Served) {
        let operand = TlbInvalidate {
            vpn: PAGE.0,
            segment: PAGE.1,
            base: PageSize::P4K,
            actual: PageSize::P4K,
            local: false,
        };
        rule.flushed(CpuId(1), &operand);
    }

    #[test]
    fn the_old_translation_is_dead_after_the_ptesync_of_the_cpu_that_flushed() {
        let mut rule = begun();
        tlbie(&mut rule);
        assert_eq!(rule.access(EA, Some(PAGE), OLD), None, "under way");
        rule.ptesync(CpuId(0));
        assert_eq!(rule.access(EA, Some(PAGE), OLD), None, "another CPU's");
        rule.ptesync(CpuId(1));
        let stale = rule.access(EA, Some(PAGE), OLD).unwrap().to_string();
        assert!(stale.ends_with("whose flush is complete"), "{stale}");
        let next = (PAGE.0.wrapping_add(1), PAGE.1);
        assert_eq!(rule.access(EA + 4096, Some(next), NEW), None);
    }

    #[test]
    fn a_new_entry_brings_a_new_translation_and_not_the_old_one_back() {
        for before in [false, true] {
            let mut rule = begun();
            tlbie(&mut rule);
            if !before {
                rule.ptesync(CpuId(1));
            }
            rule.table_store(HPTE + 8, 0x6194);
            rule.born(HPTE, PAGE);
            rule.ptesync(CpuId(1));
            assert_eq!(rule.access(EA, Some(PAGE), NEW), None);
            assert!(rule.access(EA, Some(PAGE), OLD).is_some());
        }
    }

    #[test]
    fn the_same_frame_again_is_not_judged() {
        let mut rule = begun();
        tlbie(&mut rule);
        rule.ptesync(CpuId(1));
        rule.table_store(HPTE + 8, 0x5194);
        rule.born(HPTE, PAGE);
        assert_eq!(rule.access(EA, Some(PAGE), OLD), None);
    }

    #[test]
    fn no_access_reaches_a_freed_frame_until_it_is_allocated() {
        let mut rule = Served::default();
        rule.tracepoint(&Tracepoint::PageFreed { frame: 0x5000 });
        assert!(matches!(
            rule.access(EA, None, OLD),
            Some(Stale::Freed { .. })
        ));
        assert_eq!(rule.access(EA, None, NEW), None);
        rule.tracepoint(&Tracepoint::PageAllocated { frame: 0x5000 });
        assert_eq!(rule.access(EA, None, OLD), None);
    }
}
