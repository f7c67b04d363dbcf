//! Replacement: which way of a set goes when a new entry comes. Shared by the TLB and the ERATs.
//!
//! Owns the policies' state. Refuses contents: it never sees an entry.

use thiserror::Error;

/// A replacement policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Replacement {
    /// Least recently used.
    #[default]
    Lru,
    /// A binary tree of bits per set, each pointing away from the half used last.
    TreePlru,
    /// Each set's ways in turn.
    RoundRobin,
    /// Any way, from a generator with this seed.
    Random(u64),
}

/// Shape of a TLB or ERAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TlbGeometry {
    /// Congruence classes, a power of two.
    pub sets: u32,
    /// Entries of a class.
    pub ways: u32,
}

/// A structure that cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum GeometryError {
    /// The set count is 0, no power of two, or the ways are 0, or there are more than 65536
    /// entries.
    #[error("{sets} sets of {ways} ways: a power of two, at least 1, in all at most 65536")]
    Tlb {
        /// Sets asked for.
        sets: u32,
        /// Ways asked for.
        ways: u32,
    },
    /// The SLB has no entry, or more than an index of 12 bits can name.
    #[error("{entries} SLB entries: 1 to 4096 are possible")]
    Slb {
        /// Entries asked for.
        entries: usize,
    },
}

impl TlbGeometry {
    /// Number of entries.
    #[inline]
    pub const fn entries(self) -> u64 {
        self.sets as u64 * self.ways as u64
    }

    /// Accepts shapes that can be built.
    ///
    /// # Errors
    /// [`GeometryError::Tlb`].
    pub const fn check(self) -> Result<(), GeometryError> {
        let Self { sets, ways } = self;
        if !sets.is_power_of_two() || ways == 0 || self.entries() > 65_536 {
            return Err(GeometryError::Tlb { sets, ways });
        }
        Ok(())
    }
}

/// The policy's memory for one structure. Ways are numbered through all sets: `set * ways + way`.
#[derive(Clone, Debug)]
pub(crate) struct Replacer {
    policy: Replacement,
    ways: usize,
    /// Leaves of a set's tree: ways rounded up to a power of two.
    leaves: usize,
    /// Lru: when each way was used. TreePlru: one node each, `leaves` per set. RoundRobin: next way
    /// of each set.
    state: Vec<u64>,
    /// Uses so far.
    now: u64,
    /// Random: the generator.
    random: u64,
    /// Lru of one set of many ways: the ways as they were last put in order of use, and the use that
    /// each then had, oldest last. A way used since is younger than all that are left here.
    aged: Vec<(u64, u32)>,
    /// TreePlru: the slot used last: to use it again changes nothing.
    last: usize,
}

/// Ways above which a scan for the oldest costs more than an order kept for a while.
const WAYS_SCANNED: usize = 8;

impl Replacer {
    /// State for a checked geometry.
    pub(crate) fn new(geometry: TlbGeometry, policy: Replacement) -> Self {
        let (sets, ways) = (geometry.sets as usize, geometry.ways as usize);
        let leaves = ways.next_power_of_two();
        let (len, random) = match policy {
            Replacement::Lru => (sets * ways, 0),
            Replacement::TreePlru => (sets * leaves, 0),
            Replacement::RoundRobin => (sets, 0),
            // A xorshift generator must not start at 0.
            Replacement::Random(seed) => (0, (seed ^ 0x9e37_79b9_7f4a_7c15).max(1)),
        };
        Self {
            policy,
            ways,
            leaves,
            state: vec![0; len],
            now: 0,
            random,
            aged: Vec::new(),
            last: usize::MAX,
        }
    }

    /// Takes over what another of the same shape holds, in the same memory.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        (self.policy, self.now, self.last) = (other.policy, other.now, other.last);
        self.random = other.random;
        (self.ways, self.leaves) = (other.ways, other.leaves);
        self.state.clone_from(&other.state);
        self.aged.clone_from(&other.aged);
    }

    /// Notes a use.
    #[inline(always)]
    pub(crate) fn touch(&mut self, slot: usize) {
        match self.policy {
            Replacement::Lru => {
                let now = self.tick();
                self.used(slot, now);
            }
            Replacement::TreePlru if slot == self.last => {}
            Replacement::TreePlru => self.touch_tree(slot),
            Replacement::RoundRobin | Replacement::Random(_) => {}
        }
    }

    /// Whether a use need not be noted before the next victim is asked for.
    pub(crate) fn is_patient(&self) -> bool {
        self.policy != Replacement::TreePlru
    }

    /// When a use is that happens now: later than all before.
    #[inline(always)]
    pub(crate) fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// Notes a use that happened `at` some time.
    #[inline(always)]
    pub(crate) fn used(&mut self, slot: usize, at: u64) {
        if self.policy == Replacement::Lru
            && let Some(stamp) = self.state.get_mut(slot)
        {
            *stamp = (*stamp).max(at);
        }
    }

    #[inline(never)]
    fn touch_tree(&mut self, slot: usize) {
        self.last = slot;
        let (set, way) = (slot / self.ways, slot % self.ways);
        let tree = &mut self.state[set * self.leaves..(set + 1) * self.leaves];
        // Nodes 1.. as in a heap; leaf `way` is node leaves + way.
        let mut node = self.leaves + way;
        while node > 1 {
            tree[node / 2] = u64::from(node.is_multiple_of(2));
            node /= 2;
        }
    }

    /// The way of a full set to give up. `latest` tells of uses that were not noted yet: when the latest of a
    /// slot was, or 0.
    #[inline(always)]
    pub(crate) fn victim(&mut self, set: usize, latest: impl Fn(usize) -> u64) -> usize {
        let first = set * self.ways;
        match self.policy {
            Replacement::Lru if self.state.len() == self.ways && self.ways > WAYS_SCANNED => {
                self.oldest(latest)
            }
            Replacement::Lru => {
                let (mut way, mut oldest) = (0, u64::MAX);
                for (w, &used) in self.state[first..first + self.ways].iter().enumerate() {
                    let used = used.max(latest(first + w));
                    if used < oldest {
                        (way, oldest) = (w, used);
                    }
                }
                first + way
            }
            Replacement::TreePlru => first + self.victim_tree(set),
            Replacement::RoundRobin => {
                let way = self.state[set] as usize;
                self.state[set] = ((way + 1) % self.ways) as u64;
                first + way
            }
            Replacement::Random(_) => {
                // xorshift64*
                self.random ^= self.random >> 12;
                self.random ^= self.random << 25;
                self.random ^= self.random >> 27;
                let random = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
                first + random as usize % self.ways
            }
        }
    }

    /// The way of the only set that was used the longest ago; of two never used, the first.
    #[inline(never)]
    fn oldest(&mut self, latest: impl Fn(usize) -> u64) -> usize {
        loop {
            while let Some(&(used, way)) = self.aged.last() {
                let way = way as usize;
                if self.state[way].max(latest(way)) == used {
                    return way;
                }
                self.aged.pop();
            }
            let ways = self.state.iter().enumerate();
            let used = ways.map(|(way, &used)| (used.max(latest(way)), way as u32));
            self.aged.extend(used);
            self.aged.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    fn victim_tree(&self, set: usize) -> usize {
        let tree = &self.state[set * self.leaves..(set + 1) * self.leaves];
        let (mut node, mut start, mut span) = (1, 0, self.leaves);
        while span > 1 {
            span /= 2;
            // With ways not a power of two the last leaves do not exist.
            let right = tree[node] != 0 && start + span < self.ways;
            node = 2 * node + usize::from(right);
            start += if right { span } else { 0 };
        }
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn victims(policy: Replacement, ways: u32, touches: &[usize]) -> Vec<usize> {
        let mut r = Replacer::new(TlbGeometry { sets: 2, ways }, policy);
        let base = ways as usize;
        for t in touches {
            r.touch(base + t);
        }
        let mut out = Vec::new();
        for _ in 0..ways {
            let v = r.victim(1, |_| 0);
            r.touch(v);
            out.push(v - base);
        }
        out
    }

    #[test]
    fn order_of_victims() {
        assert_eq!(victims(Replacement::Lru, 4, &[2, 0, 3, 1, 0]), [2, 3, 1, 0]);
        assert_eq!(
            victims(Replacement::TreePlru, 4, &[0, 1, 2, 3]),
            [0, 2, 1, 3]
        );
        assert_eq!(victims(Replacement::RoundRobin, 4, &[3]), [0, 1, 2, 3]);
        let seen = victims(Replacement::Random(7), 64, &[]);
        assert!(seen.iter().all(|&w| w < 64) && seen.iter().any(|&w| w != seen[0]));
        assert_eq!(seen, victims(Replacement::Random(7), 64, &[]));
    }

    proptest! {
        /// The order kept for one set of many ways gives the victims that a scan gives.
        #[test]
        fn oldest_as_a_scan_finds_it(
            ways in 9u32..70,
            uses in prop::collection::vec(prop_oneof![Just(None), (0usize..70).prop_map(Some)], 1..400),
        ) {
            let geometry = TlbGeometry { sets: 1, ways };
            let mut r = Replacer::new(geometry, Replacement::Lru);
            let mut used = vec![0u64; ways as usize];
            for (now, touched) in uses.into_iter().enumerate() {
                let slot = touched.map(|way| way % ways as usize).unwrap_or_else(|| {
                    let oldest = used.iter().enumerate().min_by_key(|(_, used)| **used);
                    let expected = oldest.expect("at least nine ways").0;
                    let victim = r.victim(0, |_| 0);
                    assert_eq!(victim, expected);
                    victim
                });
                r.touch(slot);
                used[slot] = now as u64 + 1;
            }
        }
    }

    #[test]
    fn tree_of_an_odd_number_of_ways() {
        for ways in [1, 3, 48] {
            let mut v = victims(Replacement::TreePlru, ways, &[]);
            assert!(v.iter().all(|&w| w < ways as usize));
            v.sort_unstable();
            v.dedup();
            assert!(v.len() as u32 * 2 >= ways, "spread over the ways");
        }
    }

    #[test]
    fn geometry() {
        assert!(TlbGeometry { sets: 512, ways: 4 }.check().is_ok());
        for (sets, ways) in [(0, 1), (3, 1), (1, 0), (65_536, 2), (1 << 31, u32::MAX)] {
            assert!(TlbGeometry { sets, ways }.check().is_err());
        }
    }
}
