//! The invariant `duplicate-hpte`: at most one valid entry translates a virtual page, over both
//! groups and all page sizes.
//!
//! Owns its own decoding of entries and hash, so that an error in `hpt`, `hpte` or `addr` cannot
//! hide itself; of those it takes only the names of numbers. Refuses to judge entries no search can
//! reach: wrong group, reserved size.

mod sequence;

pub use sequence::{SequenceChecker, SequenceOverlap};

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::addr::{HpteIndex, Ra, Vpn};
use crate::memory::{GuestMemory, MemoryError};

/// Two valid entries that serve a common virtual page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Duplicate {
    /// The entry that was there.
    pub first: HpteIndex,
    /// The entry that came to it.
    pub second: HpteIndex,
    /// The first 4 KB page both serve.
    pub vpn: Vpn,
}

/// log2 of base page sizes.
const BASE_SHIFTS: [u32; 4] = [12, 16, 24, 34];

/// What an entry serves: segment size code, log2 of the base page, and base page number (virtual
/// address >> shift).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Served {
    one_t: bool,
    shift: u32,
    page: u64,
}

impl Served {
    /// First 4 KB page.
    fn vpn(self) -> u64 {
        self.page << (self.shift - 12)
    }
}

/// log2 of the base page size of an entry, from L and LP (Power ISA 2.07 Book III-S 5.7.7.1 with
/// POWER7's codes).
fn base_shift(v: u64, r: u64) -> Option<u32> {
    if v & 4 == 0 {
        return Some(12);
    }
    match (r >> 12) & 0xff {
        0x38 => Some(12),
        0x08 => Some(16),
        0x00 => Some(24),
        0x03 => Some(34),
        lp if lp & 0xf == 7 => Some(12),
        lp if lp & 0xf == 1 => Some(16),
        _ => None,
    }
}

/// Decodes an entry; `None` if it is invalid or no search for any page would come to it.
fn decode(index: u64, groups_log2: u8, v: u64, r: u64) -> Option<Served> {
    if v & 1 == 0 || v >> 63 != 0 {
        return None;
    }
    let one_t = v >> 62 == 1;
    let shift = base_shift(v, r)?;
    let segment_shift = if one_t { 40 } else { 28 };
    // AVPN has 55 bits; a VPN of 64 bits can name those of 53, far more than any CPU implements.
    if (v << 2 >> 2) >> 60 != 0 || segment_shift < shift {
        return None;
    }
    let vpn_high = (v << 2 >> 2) >> 7 << 11;
    let vsid = vpn_high >> (segment_shift - 12);
    let spread = if one_t { vsid ^ (vsid << 25) } else { vsid };
    let mask = (1u64 << groups_log2) - 1;
    let group = index >> 3;
    let hash = if v & 2 != 0 { !group & mask } else { group };
    // Below bit 23 of the address the page number is only in the hash.
    let low = if shift < 23 {
        (hash ^ spread) & ((1 << (23 - shift)) - 1)
    } else {
        0
    };
    let page = (vpn_high >> (shift - 12)) | low;
    let in_segment = page & ((1 << (segment_shift - shift)) - 1);
    let reachable = (spread ^ in_segment) & ((1 << 39) - 1) & mask == hash;
    reachable.then_some(Served { one_t, shift, page })
}

/// The entries that serve one page: rarely more than one.
#[derive(Clone, Debug)]
struct Servers {
    first: u64,
    others: Vec<u64>,
}

impl Servers {
    /// False if none is left.
    fn remove(&mut self, index: u64) -> bool {
        self.others.retain(|&i| i != index);
        if self.first == index {
            if self.others.is_empty() {
                return false;
            }
            self.first = self.others.remove(0);
        }
        true
    }
}

/// An entry that changed, and both its words before; none if it had not been seen.
type Changed = (u64, Option<(u64, u64)>);

/// Follows stores into a table and reports duplicates as they come to be.
#[derive(Clone, Debug)]
pub struct DuplicateChecker {
    base: u64,
    groups_log2: u8,
    /// Both words of each entry seen.
    words: HashMap<u64, (u64, u64)>,
    /// Who serves what.
    served: BTreeMap<Served, Servers>,
    /// If it can be brought back: what each entry was before it changed, oldest first; none if it was new.
    past: Option<Vec<Changed>>,
}

impl DuplicateChecker {
    /// A checker of an empty table of `2^groups_log2` groups at `base`. A size above 39, which no
    /// table has, counts as 39.
    pub fn new(base: Ra, groups_log2: u8) -> Self {
        let groups_log2 = groups_log2.min(39);
        Self {
            base: base.get(),
            groups_log2,
            words: HashMap::new(),
            served: BTreeMap::new(),
            past: None,
        }
    }

    /// Remembers from now on what it forgets, to be brought back.
    pub fn keep_past(&mut self) {
        self.past.get_or_insert_default();
    }

    /// How many changes it remembers: what [`Self::return_to`] takes.
    pub fn changes(&self) -> usize {
        self.past.as_ref().map_or(0, Vec::len)
    }

    /// Returns to when it remembered so many changes, if it remembers more. Which of several entries that serve
    /// a page is called the first may differ from then.
    pub fn return_to(&mut self, changes: usize) {
        let Some(mut past) = self.past.take() else {
            return;
        };
        for (index, words) in past.drain(changes.min(past.len())..).rev() {
            let old = match words {
                Some(words) => self.words.insert(index, words),
                None => self.words.remove(&index),
            };
            let (old, words) = (old.unwrap_or_default(), words.unwrap_or_default());
            let before = decode(index, self.groups_log2, old.0, old.1);
            let after = decode(index, self.groups_log2, words.0, words.1);
            if before != after {
                self.serve(index, before, after);
            }
        }
        self.past = Some(past);
    }

    /// Follows a store of a doubleword anywhere in guest memory; stores outside the table are
    /// ignored. Doubleword 1 must be seen too: it says the page size. The lock bit does not count.
    pub fn observe_store(&mut self, ra: Ra, value: u64) -> Option<Duplicate> {
        let offset = ra.get().wrapping_sub(self.base);
        if offset >= 128 << self.groups_log2 {
            return None;
        }
        let first = offset & 8 == 0;
        self.change(offset >> 4, |held| {
            let (v, r) = held.unwrap_or_default();
            if first { (value, r) } else { (v, value) }
        })
    }

    /// As [`Self::observe_store`], for one who knows what doubleword 0 was: an entry this checker
    /// has not seen yet was `old_v`, which it takes up first (with a doubleword 1 of 0 unless it
    /// has seen that stored).
    pub fn observe_v_store(&mut self, ra: Ra, old_v: u64, new_v: u64) -> Option<Duplicate> {
        let offset = ra.get().wrapping_sub(self.base);
        if offset >= 128 << self.groups_log2 {
            return None;
        }
        let index = offset >> 4;
        let (mut seen, mut r) = (false, 0);
        // The one lookup of an entry that was seen is that of its change.
        let duplicate = self.change(index, |held| {
            seen = held.is_some();
            r = held.unwrap_or_default().1;
            (if seen { new_v } else { old_v }, r)
        });
        match seen {
            true => duplicate,
            false => self.observe_entry(index, new_v, r),
        }
    }

    fn observe_entry(&mut self, index: u64, v: u64, r: u64) -> Option<Duplicate> {
        self.change(index, |_| (v, r))
    }

    /// An entry holds what `to` makes of what it held, if it was seen.
    fn change(
        &mut self,
        index: u64,
        to: impl FnOnce(Option<(u64, u64)>) -> (u64, u64),
    ) -> Option<Duplicate> {
        let (old, (v, r)) = match self.words.entry(index) {
            Entry::Occupied(mut held) => {
                let old = *held.get();
                *held.get_mut() = to(Some(old));
                (Some(old), *held.get())
            }
            Entry::Vacant(room) => (None, *room.insert(to(None))),
        };
        if old == Some((v, r)) {
            return None;
        }
        if let Some(past) = &mut self.past {
            past.push((index, old));
        }
        let old = old.unwrap_or_default();
        let before = decode(index, self.groups_log2, old.0, old.1);
        let after = decode(index, self.groups_log2, v, r);
        if before == after {
            return None;
        }
        self.serve(index, before, None);
        let rival = after.and_then(|key| self.rival(key));
        self.serve(index, None, after);
        rival.map(|(first, vpn)| Duplicate {
            first: HpteIndex(first),
            second: HpteIndex(index),
            vpn: Vpn::new(vpn),
        })
    }

    /// An entry serves `after`, and `before` no longer.
    fn serve(&mut self, index: u64, before: Option<Served>, after: Option<Served>) {
        if let Some(key) = before
            && let Some(servers) = self.served.get_mut(&key)
            && !servers.remove(index)
        {
            self.served.remove(&key);
        }
        if let Some(key) = after {
            let servers = self.served.entry(key);
            servers
                .and_modify(|servers| servers.others.push(index))
                .or_insert(Servers {
                    first: index,
                    others: Vec::new(),
                });
        }
    }

    /// An entry that serves a page of `key`, and the first 4 KB page both serve.
    fn rival(&self, key: Served) -> Option<(u64, u64)> {
        for shift in BASE_SHIFTS {
            let hit = if shift >= key.shift {
                let over = Served {
                    shift,
                    page: key.page >> (shift - key.shift),
                    ..key
                };
                self.served.get_key_value(&over)
            } else {
                let down = key.shift - shift;
                let from = Served {
                    shift,
                    page: key.page << down,
                    ..key
                };
                let to = Served {
                    page: from.page | ((1 << down) - 1),
                    ..from
                };
                self.served.range(from..=to).next()
            };
            if let Some((other, servers)) = hit {
                return Some((servers.first, other.vpn().max(key.vpn())));
            }
        }
        None
    }

    /// Reads a whole table and returns every entry that comes, in table order, to a page already
    /// served.
    ///
    /// # Errors
    /// [`MemoryError`] if the table reaches outside memory.
    pub fn scan(
        memory: &GuestMemory,
        base: Ra,
        groups_log2: u8,
    ) -> Result<Vec<Duplicate>, MemoryError> {
        let mut checker = Self::new(base, groups_log2);
        checker.adopt(memory)
    }

    /// Takes up the present contents of the table, as [`Self::scan`] does, to follow stores from
    /// here on.
    ///
    /// # Errors
    /// [`MemoryError`] if the table reaches outside memory.
    pub fn adopt(&mut self, memory: &GuestMemory) -> Result<Vec<Duplicate>, MemoryError> {
        let mut found = Vec::new();
        for index in 0..8u64 << self.groups_log2 {
            let at = self.base.wrapping_add(index << 4);
            let v = memory.load_u64(Ra::new(at))?;
            if v & 1 != 0 || self.words.contains_key(&index) {
                let r = memory.load_u64(Ra::new(at.wrapping_add(8)))?;
                found.extend(self.observe_entry(index, v, r));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
