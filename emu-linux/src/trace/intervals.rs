//! A set of addresses as merged half-open intervals.

use std::collections::BTreeMap;

/// Merged, non-touching intervals `start..end`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intervals(BTreeMap<u64, u64>);

impl Intervals {
    /// Adds `start..end`; empty intervals are ignored.
    pub fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let (mut start, mut end) = (start, end);
        while let Some((&s, &e)) = self.0.range(..=end).next_back() {
            if e < start {
                break;
            }
            self.0.remove(&s);
            (start, end) = (start.min(s), end.max(e));
        }
        self.0.insert(start, end);
    }

    /// The interval that holds `addr`.
    pub fn around(&self, addr: u64) -> Option<(u64, u64)> {
        let (&start, &end) = self.0.range(..=addr).next_back()?;
        (addr < end).then_some((start, end))
    }

    /// The first interval start above `addr`.
    pub fn next_start(&self, addr: u64) -> Option<u64> {
        self.0
            .range(addr.checked_add(1)?..)
            .next()
            .map(|(&start, _)| start)
    }

    /// All intervals, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(&start, &end)| (start, end))
    }

    /// How many intervals.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_merge_like_a_bitmap() {
        arbtest::arbtest(|u| {
            let mut set = Intervals::default();
            let mut bits = [false; 64];
            for _ in 0..u.int_in_range(0..=20)? {
                let start = u.int_in_range(0..=63u64)?;
                let end = u.int_in_range(0..=64u64)?;
                set.add(start, end);
                (start..end).for_each(|at| bits[at as usize] = true);
            }
            for at in 0..64 {
                assert_eq!(set.around(at).is_some(), bits[at as usize]);
                let next =
                    (at + 1..64).find(|&s| bits[s as usize] && (s == 0 || !bits[s as usize - 1]));
                assert_eq!(set.next_start(at), next);
            }
            let runs = (0..64)
                .filter(|&s| bits[s] && (s == 0 || !bits[s - 1]))
                .count();
            assert_eq!(set.len(), runs);
            Ok(())
        })
        .budget_ms(200);
    }
}
