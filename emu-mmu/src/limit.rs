//! What the host's memory itself allows, to divide the rate of a table operation by.
//!
//! Owns the least loops over random groups: both lines of a group loaded, and for a change one word of
//! each stored. Nothing is compared, hashed or locked. Refuses time: the caller has the clock.

use crate::hpt::Hpt;
use crate::memory::{Groups, GuestMemory, MemoryError, prefetch_read};
use core::fmt;

/// The least loops over the groups of a table. They overwrite entries: use a table of no value.
#[derive(Clone)]
pub struct Limit<'m> {
    groups: Groups<'m>,
    keys_ahead: usize,
}

impl fmt::Debug for Limit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit").finish_non_exhaustive()
    }
}

impl<'m> Limit<'m> {
    /// The groups of a table.
    ///
    /// # Errors
    /// [`MemoryError`] if the table reaches outside memory.
    pub fn new(memory: &'m GuestMemory, hpt: &Hpt) -> Result<Self, MemoryError> {
        Ok(Limit {
            groups: Groups::new(memory, hpt.base(), hpt.groups_log2())?,
            keys_ahead: 0,
        })
    }

    /// Fetches the keys themselves too, `keys_ahead` keys before they are looked at. 0 leaves that to
    /// the host, which is slower where groups miss every cache.
    pub fn with_keys_ahead(self, keys_ahead: usize) -> Self {
        Limit { keys_ahead, ..self }
    }

    /// The key to fetch the group of, `distance` after key `i`.
    #[inline(always)]
    fn ahead<'k, T>(&self, keys: &'k [T], i: usize, distance: usize) -> Option<&'k T> {
        if self.keys_ahead > 0
            && i.is_multiple_of(4)
            && let Some(far) = keys.get(i + distance + self.keys_ahead)
        {
            prefetch_read(far);
        }
        keys.get(i + distance)
    }

    /// For each key's group (the key's low bits): loads both lines and stores one word of each. Gives a
    /// sum over what was loaded. `group_of` takes the group from a key; `distance` keys ahead are
    /// prefetched.
    pub fn change<T>(&self, keys: &[T], group_of: impl Fn(&T) -> u64, distance: usize) -> u64 {
        let mut sum = 0;
        for key in keys.iter().take(distance) {
            self.groups.prefetch_write(self.groups.group(group_of(key)));
        }
        for (i, key) in keys.iter().enumerate() {
            if let Some(ahead) = self.ahead(keys, i, distance) {
                self.groups
                    .prefetch_write(self.groups.group(group_of(ahead)));
            }
            let group = group_of(key);
            sum ^= self.groups.touch_lines(self.groups.group(group), group);
        }
        sum
    }

    /// For each key's group: loads both lines. Otherwise as [`Self::change`].
    pub fn read<T>(&self, keys: &[T], group_of: impl Fn(&T) -> u64, distance: usize) -> u64 {
        let mut sum = 0;
        for key in keys.iter().take(distance) {
            self.groups.prefetch(self.groups.group(group_of(key)));
        }
        for (i, key) in keys.iter().enumerate() {
            if let Some(ahead) = self.ahead(keys, i, distance) {
                self.groups.prefetch(self.groups.group(group_of(ahead)));
            }
            sum ^= self.groups.read_lines(self.groups.group(group_of(key)));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Ra;

    #[test]
    fn both_lines_of_each_group_are_touched() {
        let memory = GuestMemory::new(1 << 20).expect("memory");
        let hpt = Hpt::new(Ra::new(1 << 19), 11).expect("table");
        let limit = Limit::new(&memory, &hpt).expect("inside");
        let keys = [5u64, 5 + (1 << 11), 7];
        assert_eq!(limit.read(&keys, |&k| k, 8), 0);
        limit.clone().with_keys_ahead(1).change(&keys, |&k| k, 2);
        for group in 0..2048u64 {
            for word in 0..16 {
                let ra = hpt.base() + group * 128 + word * 8;
                let stored = u64::from_be(memory.load_u64(ra).expect("inside"));
                let expected = match (group, word % 8) {
                    (5, 0) => keys[1],
                    (7, 0) => 7,
                    _ => 0,
                };
                assert_eq!(stored, expected, "group {group} word {word}");
            }
        }
    }

    #[test]
    fn a_table_outside_memory_is_refused() {
        let memory = GuestMemory::new(1 << 18).expect("memory");
        let hpt = Hpt::new(Ra::new(1 << 18), 11).expect("table");
        assert!(Limit::new(&memory, &hpt).is_err());
        assert!(hpt.shared(&memory).is_err());
    }
}
