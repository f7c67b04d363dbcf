//! The other half of `stale-translation`: which translation served an access.
//!
//! The rule. The flush of a PTE takes in the page from the moment it is queued, or flushed alone,
//! and is complete with the first ptesync of the CPU that issued the page's invalidation for it.
//! From then on the page has no translation until an entry of the hash table is made valid for it,
//! so any access through it is served by the old one. An entry made valid before the flush is
//! complete is a new translation, and from then on accesses to the old frame are stale. If the new
//! one maps the same frame, old and new are told apart by what they permit: a store that the newest
//! entry denies was served by the old one, whose protection was wider. What the old one denied and
//! the new one permits does no harm, as the access faults and tries again. And no access may reach
//! a frame between its freeing and its next allocation.
//!
//! What an entry permits are PP and the key of the address: 1 for user addresses and 0 for the
//! kernel's, as Linux sets its segments up. Loads and instruction fetches are not judged by
//! protection: Linux takes no page's read permission away in place, and the model fetches nothing.
//! An entry that is changed in place (updatepp) permits more from its store on; where it permits
//! less, a flush of the page began before, since the PTE had to be changed first.
//!
//! Judges each access outside the linear map, whose entries are bolted, so that the allocator's own
//! links in free frames do not count. The last 65536 pages flushed are remembered.
//!
//! On threads: exact, as a checked run takes turns: an access is told in the turn in which its translation
//! was looked up, and a CPU does what others invalidated when its turn begins. Without them an access
//! served before an invalidation could be told after its ptesync.

use super::mark::hash_of_set;
use super::page::Page;
use crate::key_map::KeyMap;
use crate::tracepoint::Tracepoint;
use emu_core::CpuId;
use emu_mmu::{Ea, PageSize, Ra, TlbInvalidate};
use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Flushed pages that are remembered.
const FLUSHED_MAX: usize = 1 << 16;
/// The real page of an HPTE's second doubleword (Power ISA 2.07 Book III-S 5.7.7.1), 4K.
const HPTE_R_RPN: u64 = 0x0fff_ffff_ffff_f000;
/// PP of the second doubleword: its highest bit lies apart.
const HPTE_R_PP0: u64 = 1 << 63;
const HPTE_R_PP: u64 = 3;
/// V of the first doubleword.
const HPTE_V_VALID: u64 = 1;
const PAGE_BYTES: u64 = PageSize::P4K.bytes();

/// An access that a dead translation served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stale {
    /// To a frame that is free.
    Freed { ea: Ea, ra: Ra },
    /// By a translation whose flush is complete.
    Flushed { ea: Ea, ra: Ra, page: Page },
    /// A store that the page's newest entry denies, likewise.
    Wider { ea: Ea, page: Page },
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
            Stale::Wider { ea, page } => write!(
                f,
                "a store at {ea} (vpn {}), which its entry denies, is served by a translation whose flush \
                 is complete",
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
    /// The translation that came since the flush began.
    newest: Option<Newest>,
}

/// The newest translation of a page.
#[derive(Clone, Copy, Debug)]
struct Newest {
    /// Real address of its entry.
    hpte: u64,
    /// It maps another frame than the old one.
    elsewhere: bool,
    /// Keys (bit 0 for key 0, bit 1 for key 1) with which it denies stores.
    denies: u8,
}

/// The keys with which PP of a second doubleword denies stores (Power ISA 2.07 Book III-S 5.7.10.1).
fn denies_stores(r: u64) -> u8 {
    match (r & HPTE_R_PP0 != 0, r & HPTE_R_PP) {
        (true, _) | (false, 3) => 0b11,
        (false, 2) => 0,
        (false, _) => 0b10,
    }
}

/// The bit of the key with which Linux accesses an address.
const fn key_bit(ea: Ea) -> u8 {
    if ea.get() >> 60 == 0 { 0b10 } else { 0b01 }
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
    /// Real address of an entry that is the newest of a page in `old` -> that page's key.
    by_hpte: KeyMap<u64>,
    /// The last second doubleword stored into the table by each slot in use lately.
    last_r: [(u64, u64); 4],
    next_r: usize,
}

cloned_by_field!(Served {
    frame_extra,
    free,
    old,
    order,
    issued,
    by_hpte,
    last_r,
    next_r,
});

fn key(page: Page) -> u64 {
    (page.0.get() << 1) | page.1.b_field()
}

impl Served {
    /// What decides what may break.
    pub fn hash_state(&self, to: &mut impl Hasher) {
        hash_of_set(self.free.keys()).hash(to);
        let old = self.old.iter().map(|(key, old)| {
            let newest = old.newest.map(|n| (n.hpte, n.elsewhere, n.denies));
            (key, old.size, old.frame, old.dead, newest)
        });
        hash_of_set(old).hash(to);
        self.issued.hash(to);
        hash_of_set(self.by_hpte.iter()).hash(to);
        hash_of_set(self.last_r.iter()).hash(to);
    }

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
            newest: None,
        };
        match self.old.insert(key(page), old) {
            Some(before) => self.forget_entry(&before),
            None => self.order.push_back(key(page)),
        }
        if self.order.len() > FLUSHED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, key: u64) {
        if let Some(old) = self.old.remove(&key) {
            self.forget_entry(&old);
        }
    }

    fn forget_entry(&mut self, old: &Old) {
        if let Some(newest) = old.newest {
            self.by_hpte.remove(&newest.hpte);
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
        if ra.get() & 8 == 0 {
            if new & HPTE_V_VALID == 0 && !self.by_hpte.is_empty() {
                self.by_hpte.remove(&ra.get());
            }
            return;
        }
        let hpte = ra.get() - 8;
        self.last_r[self.next_r] = (hpte, new);
        self.next_r = (self.next_r + 1) % self.last_r.len();
        if let Some(key) = self.by_hpte.get(&hpte)
            && let Some(old) = self.old.get_mut(key)
            && let Some(newest) = &mut old.newest
        {
            newest.denies &= denies_stores(new);
        }
    }

    /// The entry at `ra` was made valid for `page`.
    #[inline]
    pub fn born(&mut self, ra: Ra, page: Page) {
        let Some(before) = self.old.get(&key(page)).copied() else {
            return;
        };
        self.forget_entry(&before);
        let newest = (1..=self.last_r.len()).map(|back| {
            let at = (self.next_r + self.last_r.len() - back) % self.last_r.len();
            self.last_r[at]
        });
        let r = newest.filter(|&(at, _)| at == ra.get()).map(|(_, r)| r);
        // Of one that nobody saw nothing tells old from new.
        let Some(r) = r.take(1).next() else {
            self.old.remove(&key(page));
            return;
        };
        let newest = Newest {
            hpte: ra.get(),
            elsewhere: self.frame(r & HPTE_R_RPN) != self.frame(before.frame),
            denies: denies_stores(r),
        };
        let newest = Some(newest);
        self.old.insert(key(page), Old { newest, ..before });
        self.by_hpte.insert(ra.get(), key(page));
    }

    /// An access at `ea` was served by a translation of `page` to `ra`.
    pub fn access(&self, ea: Ea, page: Option<Page>, ra: Ra, store: bool) -> Option<Stale> {
        if self.free.contains_key(&self.frame(ra.get())) {
            return Some(Stale::Freed { ea, ra });
        }
        let page = page?;
        let whole = (page.0.align_down(PageSize::P64K), page.1);
        let large = self.old.get(&key(whole));
        let large = large.filter(|old| old.size != PageSize::P4K);
        let old = large.or_else(|| self.old.get(&key(page)))?;
        if !old.dead {
            return None;
        }
        let same_frame = self.frame(ra.get()) == self.frame(old.frame);
        match old.newest {
            None => Some(Stale::Flushed { ea, ra, page }),
            Some(newest) if newest.elsewhere && same_frame => Some(Stale::Flushed { ea, ra, page }),
            Some(newest) if store && newest.denies & key_bit(ea) != 0 => {
                Some(Stale::Wider { ea, page })
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
