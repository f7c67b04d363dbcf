//! `duplicate-hpte`: at most one valid HPTE translates a virtual address.
//!
//! The rule. Among all valid entries of the hash table that the hardware's search can reach, no two
//! serve a common virtual page: over both groups of a page, and over all page sizes of its segment.
//! With two, the hardware may use either (Power ISA 2.07 Book III-S 5.7.7 leaves it to software
//! that there is one), so a flush of one leaves the other in use. Each store that brings a second
//! entry to a page already served is one violation; the software lock bit of an entry, and stores
//! that change neither what an entry serves nor its validity, do not count.
//!
//! Owns which stores the checker of `emu_mmu` is shown. That checker has a decoder of its own and
//! shares nothing with the table's code.
//!
//! On threads: exact at each store, as a checked run takes turns. Without them it could be judged only
//! over the whole table with all CPUs stopped: two inserts into two groups have no lock in common.

use emu_mmu::{Duplicate, DuplicateChecker, Ra};
use std::fmt;

/// Name of the rule.
pub(super) const NAME: &str = "duplicate-hpte";

/// The rule for a reader.
pub(super) const EXPLANATION: &str = "\
    At most one valid entry of the hash table translates a virtual address, over its primary and \
    its secondary group and all page sizes. With two entries the hardware may use either one: a \
    store through the old one is lost or lands in memory of another owner, and removing one \
    leaves the other in use. Linux never searches for a second entry when it inserts one, so the \
    only guard is that the old entry was flushed before its page-table entry was set again.";

/// HPTE_V_LOCK: software's lock bit of doubleword 0 (Linux 2.6.38
/// arch/powerpc/mm/hash_native_64.c).
const HPTE_V_LOCK: u64 = 0x8;
/// The bits of doubleword 1 that can say a page size (Power ISA 2.07 Book III-S 5.7.7.1, LP).
const HPTE_R_LP: u64 = 0xff000;

/// A page served twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServedTwice(Duplicate);

impl fmt::Display for ServedTwice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Duplicate { first, second, vpn } = self.0;
        write!(
            f,
            "vpn {vpn} is translated by two valid HPTEs: slot {} of group {:#x}, and now also slot {} \
             of group {:#x}",
            first.slot(),
            first.group().0,
            second.slot(),
            second.group().0
        )
    }
}

/// The rule's state: what each entry of the table serves.
#[derive(Clone, Debug)]
pub(super) struct DuplicateHpte {
    checker: DuplicateChecker,
}

impl DuplicateHpte {
    /// An empty table of 2^`groups_log2` groups at `hpt_base`.
    pub fn new(hpt_base: Ra, groups_log2: u8) -> Self {
        DuplicateHpte {
            checker: DuplicateChecker::new(hpt_base, groups_log2),
        }
    }

    /// Remembers from now on what the table was.
    pub fn keep_past(&mut self) {
        self.checker.keep_past();
    }

    /// How many changes it remembers.
    pub fn changes(&self) -> usize {
        self.checker.changes()
    }

    /// Returns to when it remembered so many.
    pub fn return_to(&mut self, changes: usize) {
        self.checker.return_to(changes);
    }

    /// A doubleword of the table changed.
    #[inline]
    pub fn table_store(&mut self, ra: Ra, old: u64, new: u64) -> Option<ServedTwice> {
        let changed = old ^ new;
        let found = if ra.get() & 8 == 0 {
            if changed & !HPTE_V_LOCK == 0 {
                return None;
            }
            self.checker.observe_v_store(ra, old, new)
        } else {
            if changed & HPTE_R_LP == 0 {
                return None;
            }
            self.checker.observe_store(ra, new)
        };
        found.map(ServedTwice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Ra = Ra::new(0x400_0000);
    const GROUPS_LOG2: u8 = 15;
    /// V of EA 0xd000000000100000 in Linux 2.6.38 (VSID 0xf09b89af5), and its groups.
    const V: u64 = 0x0000_f09b_89af_5001;
    const PRIMARY: u64 = 0x1bf5;
    const SECONDARY: u64 = 0x640a;
    const H: u64 = 2;

    fn v_ra(group: u64, slot: u64) -> Ra {
        BASE + group * 128 + slot * 16
    }

    fn rule() -> DuplicateHpte {
        DuplicateHpte::new(BASE, GROUPS_LOG2)
    }

    #[test]
    fn fires_on_a_second_entry_in_the_same_group() {
        let mut rule = rule();
        assert_eq!(rule.table_store(v_ra(PRIMARY, 0), 0x8, V), None);
        assert_eq!(rule.table_store(v_ra(PRIMARY, 3) + 8, 0, 0x1234_5194), None);
        let found = rule.table_store(v_ra(PRIMARY, 3), 0x8, V).unwrap();
        assert_eq!(
            found.to_string(),
            "vpn 0xf09b89af50100 is translated by two valid HPTEs: slot 0 of group 0x1bf5, \
             and now also slot 3 of group 0x1bf5"
        );
    }

    #[test]
    fn fires_once_over_both_groups_whatever_the_lock_does() {
        let mut rule = rule();
        let second = v_ra(SECONDARY, 1);
        assert_eq!(rule.table_store(v_ra(PRIMARY, 0), 0, V), None);
        assert!(rule.table_store(second, 0, V | H).is_some());
        assert_eq!(rule.table_store(second, V | H, V | H | HPTE_V_LOCK), None);
        assert_eq!(rule.table_store(second, V | H | HPTE_V_LOCK, V | H), None);
    }

    #[test]
    fn an_entry_moved_after_its_flush_is_no_duplicate() {
        let mut rule = rule();
        assert_eq!(rule.table_store(v_ra(PRIMARY, 0), 0, V), None);
        assert_eq!(rule.table_store(v_ra(PRIMARY, 0), V | HPTE_V_LOCK, 0), None);
        assert_eq!(rule.table_store(v_ra(PRIMARY, 3), 0, V), None);
    }

    #[test]
    fn the_next_page_is_no_duplicate() {
        let mut rule = rule();
        assert_eq!(rule.table_store(v_ra(PRIMARY, 0), 0, V), None);
        // 4 KB further on: the same AVPN, told apart by the group alone.
        assert_eq!(rule.table_store(v_ra(PRIMARY ^ 1, 0), 0, V), None);
        // The same bits seen as secondary in the primary group are another page.
        assert_eq!(rule.table_store(v_ra(PRIMARY, 1), 0, V | H), None);
    }
}
