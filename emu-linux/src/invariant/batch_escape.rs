//! `batch-escape`: while an entry waits in a batch, no present value of its PTE exists without the
//! recorded slot, and nobody hashes its page.
//!
//! The rule. An entry waits from the moment it is queued until the invalidation of its page is
//! issued as part of a batch flush; the invalidation of a permission change or of a page flushed
//! alone does not end the wait, since the entry is still in its batch. While it waits, it is a
//! violation
//! - to store a present value into its PTE that does not record the slot the entry was queued with
//!   (Linux 2.6.38 arch/powerpc/include/asm/pgtable.h: `__set_pte_at` drops the record),
//! - to make an entry of the hash table valid for its page, if the PTE lost its slot in this way or
//!   the old entry is still valid.
//!
//! By the letter mprotect does the first at each page it changes, within one section and under the
//! page-table lock: that is reported. The second tells whether anybody used the gap.
//!
//! What is no violation. A PTE that stays present with its slot (fork's write protection, set_memory
//! of 6.1, which replaces a PTE in one atomic step and keeps the record) can be hashed by any CPU
//! at any time, since hash faults take no lock. They find the slot, and where the old entry is no
//! longer in it (evicted, or taken out by the flush whose tlbie is still to come) they insert
//! another one and record that: there is one entry, made from the new PTE, and the tlbie to come
//! spares it. From then on the PTE is held to any slot, no longer to the first. (set_memory keeps the
//! record that it read: if the page is hashed between the read and the replacement, the slot is lost. That
//! is a race of Linux 6.1 arch/powerpc/mm/pageattr.c with whoever accesses the page, and is reported.)
//!
//! With 64K pages the slots are recorded beside the PTE: there it is enough that the new value says
//! that the page is hashed.
//!
//! A PTE whose flush was queued with the PTE left present (fork's write protection) keeps the slot
//! and is right. The wait of one page is one wait for as many flushes as it was queued times.
//!
//! On threads: exact, as a checked run takes turns. Without them it would hold only for what the page-table
//! lock orders: hash faults take none.

use super::mark::hash_of_set;
use super::page::{self, Page};
use crate::key_map::KeyMap;
use crate::layout::{PteBits, SlotRecord};
use crate::report::BATCH_ENTRIES_MAX;
use crate::tracepoint::{Moment, Tracepoint};
use emu_mmu::Ra;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Name of the rule.
pub(super) const NAME: &str = "batch-escape";

/// The rule for a reader.
pub(super) const EXPLANATION: &str = "\
    While the flush of a page waits in a batch, its page-table entry must not become present \
    without the slot of the old hash-table entry, and nobody may hash the page. Otherwise a fault \
    on any CPU inserts a second entry beside the old one, and the flush that comes later removes \
    only the first. The rule looks at the stores into page tables and into the hash table while \
    an entry waits.";

/// Waiting pages that are remembered: more than all batches of 64 CPUs hold.
const WAITING_MAX: usize = 64 * BATCH_ENTRIES_MAX;
/// Stores into page tables that are remembered: some for each CPU between the change of a PTE and its queueing.
const RECENT: usize = 32;
/// Bits of a kernel address that are the real address in the linear map.
const LINEAR_MASK: u64 = 0x0fff_ffff_ffff_ffff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    page: Page,
    slot: u64,
    pte: u64,
    since: Moment,
    times: u64,
    /// The PTE was present without the slot since.
    forgotten: bool,
    /// A hash fault that found the slot empty put the page elsewhere.
    moved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Present { value: u64 },
    Hashed { ra: Ra },
}

/// An entry that escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Escape {
    waiting: Waiting,
    how: How,
}

impl fmt::Display for Escape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Waiting {
            page,
            slot,
            pte,
            since,
            ..
        } = self.waiting;
        write!(
            f,
            "vpn {} waits in a batch with slot {slot} (queued by pid {} on CPU {} at cycle {}), and ",
            page.0,
            since.pid,
            since.cpu,
            since.now.get()
        )?;
        match self.how {
            How::Present { value } => {
                write!(
                    f,
                    "its PTE {pte:#x} becomes {value:#x}, present without that slot"
                )
            }
            How::Hashed { ra } => write!(f, "the HPTE at {ra} is made valid for it"),
        }
    }
}

/// The rule's state: the pages that wait.
#[derive(Debug, Default)]
pub(super) struct BatchEscape {
    waiting: KeyMap<Waiting>,
    by_pte: KeyMap<u64>,
    /// Keys in the order in which they began to wait; some no longer do.
    order: VecDeque<u64>,
    /// The last stores into page tables: address and value.
    recent: [(u64, u64); RECENT],
    /// Where the next one goes.
    stores: usize,
}

cloned_by_field!(BatchEscape {
    waiting,
    by_pte,
    order,
    recent,
    stores,
});

fn key(page: Page) -> u64 {
    (page.0.get() << 1) | page.1.b_field()
}

impl BatchEscape {
    /// What decides what may break.
    pub fn hash_state(&self, to: &mut impl Hasher) {
        let waiting = self.waiting.iter().map(|(key, w)| {
            let page = (w.page.0, w.page.1);
            (
                key,
                page,
                (w.slot, w.pte),
                w.since.task,
                (w.forgotten, w.moved),
            )
        });
        hash_of_set(waiting).hash(to);
        hash_of_set(self.by_pte.iter()).hash(to);
        hash_of_set(self.recent.iter()).hash(to);
    }

    /// An event of Linux: an entry begins to wait. The PTE was changed just before; if that left it present
    /// and not hashed, it has forgotten the slot already.
    #[inline]
    pub fn tracepoint(&mut self, at: Moment, tp: &Tracepoint, bits: &PteBits) -> Option<Escape> {
        let Tracepoint::Queued {
            vpn,
            segment,
            slot,
            pte,
            ..
        } = *tp
        else {
            return None;
        };
        let page = (vpn, segment);
        let known = self.waiting.get(&key(page));
        let (times, forgotten) = known.map_or((1, false), |w| (w.times + 1, w.forgotten));
        if times == 1 {
            self.order.push_back(key(page));
            if self.order.len() > WAITING_MAX {
                self.forget_oldest();
            }
        }
        let value = self.recent(Ra::new(pte & LINEAR_MASK)).unwrap_or(0);
        let bare = (value & bits.present != 0 && value & bits.hashpte == 0).then_some(value);
        let waiting = Waiting {
            page,
            slot,
            pte,
            since: at,
            times,
            forgotten: forgotten || bare.is_some(),
            moved: false,
        };
        self.by_pte.insert(pte & LINEAR_MASK, key(page));
        if let Some(before) = self.waiting.insert(key(page), waiting)
            && before.pte != pte
        {
            self.by_pte.remove(&(before.pte & LINEAR_MASK));
        }
        bare.filter(|_| !forgotten).map(|value| Escape {
            waiting,
            how: How::Present { value },
        })
    }

    /// The last value stored at `ra`, if that was lately.
    fn recent(&self, ra: Ra) -> Option<u64> {
        let newest = (1..=RECENT).map(|back| self.recent[(self.stores + RECENT - back) % RECENT]);
        let mut of_pte = newest.filter(|&(at, _)| at == ra.get());
        of_pte.next().map(|(_, value)| value)
    }

    fn forget_oldest(&mut self) {
        let waiting = &self.waiting;
        self.order.retain(|key| waiting.contains_key(key));
        if self.order.len() > WAITING_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, key: u64) {
        if let Some(gone) = self.waiting.remove(&key) {
            self.by_pte.remove(&(gone.pte & LINEAR_MASK));
        }
    }

    /// An invalidation was issued as part of a batch flush.
    #[inline]
    pub fn flushed(&mut self, page: Page) {
        let key = key(page);
        let Some(waiting) = self.waiting.get_mut(&key) else {
            return;
        };
        waiting.times -= 1;
        if waiting.times == 0 {
            self.forget(key);
        }
    }

    /// A doubleword of a page table changed from `old` to `new`. A store that finds the slot gone
    /// already and leaves it so is no new violation.
    #[inline]
    pub fn pte_store(&mut self, ra: Ra, old: u64, new: u64, bits: &PteBits) -> Option<Escape> {
        self.recent[self.stores] = (ra.get(), new);
        self.stores = (self.stores + 1) % RECENT;
        if new & bits.present == 0 || self.waiting.is_empty() {
            return None;
        }
        let known = self.waiting.get_mut(self.by_pte.get(&ra.get())?)?;
        let waiting = *known;
        let escapes = |value: u64| {
            let secondary = value & bits.second != 0;
            let recorded = value & bits.hashpte != 0
                && (bits.slots != SlotRecord::Pte
                    || waiting.moved
                    || (value >> bits.gix_shift) & 7 == waiting.slot & 7
                        && secondary == page::is_secondary(waiting.page, waiting.slot));
            value & bits.present != 0 && !recorded
        };
        known.forgotten |= escapes(new);
        (escapes(new) && !escapes(old)).then_some(Escape {
            waiting,
            how: How::Present { value: new },
        })
    }

    /// An entry of the table at `ra` was made valid for `page`, a second one if `duplicate`.
    #[inline]
    pub fn born(&mut self, ra: Ra, page: Page, duplicate: bool) -> Option<Escape> {
        let known = self.waiting.get_mut(&key(page))?;
        let waiting = *known;
        known.moved = true;
        (waiting.forgotten || duplicate).then_some(Escape {
            waiting,
            how: How::Hashed { ra },
        })
    }
}

#[cfg(test)]
mod tests;
