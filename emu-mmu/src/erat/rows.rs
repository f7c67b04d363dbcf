//! The host's short way to a hit: a direct-mapped array of effective pages that were just used.
//!
//! Owns no translation: a row repeats what one slot of the ERAT holds, names the slot, so that its
//! replacement state stays true, and goes when the slot changes. With and without rows every counter
//! is the same; a test holds them together.

use super::changed::Changed;
use crate::addr::{Ea, Ra};

/// Rows of the array; a power of two.
const ROWS: usize = 512;

/// One effective page of 4 KB.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// [`tag`] if a load needs nothing more, else [`NO_PAGE`].
    load: u64,
    /// The same for a store.
    store: u64,
    /// What is added to an effective address of the page, modulo 2^64, to give the real one.
    to_real: u64,
    /// When it was last used on the short way.
    used: u64,
    /// The slot of the ERAT.
    slot: u32,
    /// Pages of this row that the ERAT holds: with none, there is nothing to search for.
    held: u32,
}

impl Default for Row {
    fn default() -> Self {
        Row {
            load: NO_PAGE,
            store: NO_PAGE,
            to_real: 0,
            used: 0,
            slot: 0,
            held: 0,
        }
    }
}

/// Which data accesses of a privilege need nothing more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permits {
    pub load: bool,
    pub store: bool,
}

impl Row {
    /// The row of a page in a slot of the ERAT; `noted` is false if only the slot is to be noted. It counts no
    /// page.
    #[inline]
    fn of(ea: Ea, pr: bool, permits: Permits, slot: usize, page: Ra, noted: bool) -> Self {
        let tag_if = |permitted| match permitted && noted {
            true => tag(ea, pr),
            false => NO_PAGE,
        };
        Row {
            load: tag_if(permits.load),
            store: tag_if(permits.store),
            to_real: page.get().wrapping_sub(ea.get() & !0xfff),
            used: 0,
            slot: slot as u32,
            held: 0,
        }
    }

    /// Puts another page in its place; how many there are stays. Gives the slot and the time of the last use of
    /// the one before.
    #[inline]
    fn replace(&mut self, by: Row) -> Use {
        let Row {
            slot, used, held, ..
        } = *self;
        *self = Row { held, ..by };
        Use {
            slot: slot as usize,
            at: used,
        }
    }
}

/// A use on the short way that nobody has noted yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    pub slot: usize,
    /// When it was; 0 for none.
    pub at: u64,
}

/// The array.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    rows: Box<[Row; ROWS]>,
    /// Without, nothing is ever noted and every access goes the long way.
    enabled: bool,
    changed: Changed<{ ROWS / 64 }>,
}

/// The tag of no page.
const NO_PAGE: u64 = u64::MAX;

/// What a row must hold: the number of the page, and the privilege above it.
#[inline(always)]
const fn tag(ea: Ea, pr: bool) -> u64 {
    ea.get() >> 12 | (pr as u64) << 62
}

impl Rows {
    pub fn new(enabled: bool) -> Self {
        Rows {
            rows: Box::new([Row::default(); ROWS]),
            enabled,
            changed: Changed::none(),
        }
    }

    /// Takes over what another array holds, in the same memory.
    pub fn copy_from(&mut self, other: &Self) {
        (self.changed).copy(&mut self.rows[..], &other.changed, &other.rows[..]);
        self.enabled = other.enabled;
    }

    /// Switches the array off or on; nothing is noted afterwards. Gives the uses on the short way to `note`.
    pub fn enable(&mut self, enabled: bool, mut note: impl FnMut(Use)) {
        for row in self.rows.iter_mut() {
            note(row.replace(Row::default()));
        }
        self.enabled = enabled;
    }

    /// Whether anything is noted.
    #[inline]
    pub const fn enabled(&self) -> bool {
        self.enabled
    }

    /// Whether the ERAT may hold a page.
    #[inline]
    pub fn may_hold(&self, ea: Ea) -> bool {
        self.rows[Self::row(ea)].held != 0
    }

    /// Counts a page that the ERAT now holds, and notes where, and which accesses need only that.
    #[inline]
    pub fn add(&mut self, ea: Ea, pr: bool, permits: Permits, slot: usize, page: Ra) -> Use {
        let row = Row::of(ea, pr, permits, slot, page, self.enabled);
        let at = self.row_mut(ea);
        at.held += 1;
        at.replace(row)
    }

    /// Counts a page that the ERAT holds no more, and drops what is known of it.
    #[inline]
    pub fn remove(&mut self, ea: Ea, slot: usize) {
        let row = self.row_mut(ea);
        row.held -= 1;
        if row.slot as usize == slot {
            row.replace(Row::default());
        }
    }

    /// The high bits of a product: guests align their areas, so low page bits alone would collide.
    #[inline(always)]
    fn row(ea: Ea) -> usize {
        ((ea.get() >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - ROWS.ilog2())) as usize
    }

    #[inline(always)]
    fn row_mut(&mut self, ea: Ea) -> &mut Row {
        let row = Self::row(ea);
        self.changed.note(row);
        &mut self.rows[row]
    }

    /// The slot that was last noted for this page or one like it: a guess.
    #[inline]
    pub fn guess(&self, ea: Ea) -> usize {
        self.rows[Self::row(ea)].slot as usize
    }

    /// The real address of a load or store that needs nothing more. `now` is asked for the time then, which is
    /// that of the last use from now on.
    #[inline(always)]
    pub fn lookup(
        &mut self,
        ea: Ea,
        pr: bool,
        store: bool,
        now: impl FnOnce() -> u64,
    ) -> Option<Ra> {
        let row = &mut self.rows[Self::row(ea)];
        let held = if store { row.store } else { row.load };
        if held != tag(ea, pr) {
            return None;
        }
        row.used = now();
        Some(Ra::new(ea.get().wrapping_add(row.to_real)))
    }

    /// When the page of a slot was last used on the short way; 0 if there was no such use since it was noted.
    #[inline]
    pub fn last_use(&self, ea: Ea, slot: usize) -> u64 {
        let row = &self.rows[Self::row(ea)];
        if row.slot as usize == slot {
            row.used
        } else {
            0
        }
    }

    /// Notes where a page was found.
    #[inline]
    pub fn found(&mut self, ea: Ea, slot: usize) -> Use {
        self.row_mut(ea).replace(Row {
            slot: slot as u32,
            ..Row::default()
        })
    }

    /// Notes which accesses to a page need only its slot.
    #[inline]
    pub fn permit(&mut self, ea: Ea, pr: bool, permits: Permits, slot: usize, page: Ra) -> Use {
        let row = Row::of(ea, pr, permits, slot, page, self.enabled);
        self.row_mut(ea).replace(row)
    }
}
