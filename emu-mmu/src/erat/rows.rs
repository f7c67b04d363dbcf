//! The host's short way to a hit: a direct-mapped array of effective pages that were just used.
//!
//! Owns no translation: a row repeats what one slot of the ERAT holds, names the slot, so that its
//! replacement state stays true, and goes when the slot changes. With and without rows every counter
//! is the same; a test holds them together.

use crate::addr::{Ea, Ra};
use crate::protect::Access;

/// Rows of the array; a power of two.
const ROWS: usize = 512;

/// One effective page of 4 KB.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    /// [`tag`] if a load needs nothing more, else 0.
    load: u64,
    /// The same for a store.
    store: u64,
    /// First byte of the real page.
    ra: u64,
    /// The slot of the ERAT.
    slot: u32,
    /// Pages of this row that the ERAT holds: with none, there is nothing to search for.
    held: u32,
}

impl Row {
    /// Forgets the page, not how many there are.
    #[inline]
    fn clear(&mut self) {
        *self = Row {
            held: self.held,
            ..Row::default()
        };
    }
}

/// The array.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    rows: Box<[Row; ROWS]>,
    /// Without, nothing is ever noted and every access goes the long way.
    enabled: bool,
}

/// What a row must hold: the page, the privilege, and a bit that no empty row has.
#[inline(always)]
const fn tag(ea: Ea, pr: bool) -> u64 {
    ea.get() & !0xfff | (pr as u64) << 1 | 1
}

impl Rows {
    pub fn new() -> Self {
        Rows {
            rows: Box::new([Row::default(); ROWS]),
            enabled: true,
        }
    }

    /// Switches the array off or on; nothing is noted afterwards.
    pub fn enable(&mut self, enabled: bool) {
        self.rows.iter_mut().for_each(Row::clear);
        self.enabled = enabled;
    }

    /// Whether the ERAT may hold a page.
    #[inline]
    pub fn may_hold(&self, ea: Ea) -> bool {
        self.rows[Self::row(ea)].held != 0
    }

    /// Counts a page that the ERAT now holds, and notes where.
    #[inline]
    pub fn add(&mut self, ea: Ea, slot: usize) {
        self.rows[Self::row(ea)].held += 1;
        self.found(ea, slot);
    }

    /// Counts a page that the ERAT holds no more, and drops what is known of it.
    #[inline]
    pub fn remove(&mut self, ea: Ea, slot: usize) {
        let row = &mut self.rows[Self::row(ea)];
        row.held -= 1;
        if row.slot as usize == slot {
            row.clear();
        }
    }

    /// The high bits of a product: guests align their areas, so low page bits alone would collide.
    #[inline(always)]
    fn row(ea: Ea) -> usize {
        ((ea.get() >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - ROWS.ilog2())) as usize
    }

    /// The slot that was last noted for this page or one like it: a guess.
    #[inline]
    pub fn guess(&self, ea: Ea) -> usize {
        self.rows[Self::row(ea)].slot as usize
    }

    /// The slot and real address of a load or store that needs nothing more.
    #[inline(always)]
    pub fn lookup(&self, ea: Ea, pr: bool, store: bool) -> Option<(usize, Ra)> {
        let row = &self.rows[Self::row(ea)];
        let held = if store { row.store } else { row.load };
        if held != tag(ea, pr) {
            return None;
        }
        Some((row.slot as usize, Ra::new(row.ra | ea.get() & 0xfff)))
    }

    /// Notes where a page was found.
    #[inline]
    pub fn found(&mut self, ea: Ea, slot: usize) {
        let row = &mut self.rows[Self::row(ea)];
        row.clear();
        row.slot = slot as u32;
    }

    /// Notes that this access to a page needs only its slot.
    #[inline]
    pub fn permit(&mut self, ea: Ea, pr: bool, access: Access, slot: usize, page: Ra) {
        if !self.enabled {
            return;
        }
        let (tag, slot, ra) = (tag(ea, pr), slot as u32, page.get());
        let row = &mut self.rows[Self::row(ea)];
        if row.slot != slot || row.ra != ra {
            row.clear();
        }
        (row.slot, row.ra) = (slot, ra);
        match access {
            Access::Fetch => {}
            Access::Load => row.load = tag,
            Access::Store => row.store = tag,
        }
    }
}
