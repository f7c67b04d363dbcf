//! Sequences of table operations against a map: insert, evict, updatepp, invalidate and resize in any
//! order, and after each one every page is where the map says and no page has two entries.

use emu_mmu::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SIZE: SegmentSize = SegmentSize::S256M;
const PAGE: PageSize = PageSize::P4K;
const ORDER: CompareOrder = CompareOrder::BeforeLock;

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u64, bool),
    Evict(u64, bool, u8),
    UpdatePp(u64, u64),
    Invalidate(u64),
    Resize(u8),
}

/// Pages of few groups: `n << 27` is a VSID whose low hash bits are 0.
fn page() -> impl Strategy<Value = u64> {
    (0u64..2, 0u64..28).prop_map(|(g, n)| n << 27 | g)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (page(), any::<bool>()).prop_map(|(p, bolted)| Op::Insert(p, bolted)),
        1 => (page(), any::<bool>(), any::<u8>()).prop_map(|(p, s, at)| Op::Evict(p, s, at)),
        2 => (page(), any::<u64>()).prop_map(|(p, flags)| Op::UpdatePp(p, flags)),
        1 => page().prop_map(Op::Invalidate),
        1 => (11u8..14).prop_map(Op::Resize),
    ]
}

struct World {
    memory: GuestMemory,
    hpt: Hpt,
    /// The other place for a table.
    spare: Ra,
    /// What the table holds: doubleword 1 and whether it is bolted.
    pages: BTreeMap<u64, (u64, bool)>,
}

fn want(p: u64) -> HpteV {
    HpteV::new(Vpn::new(p), SIZE, PAGE)
}

impl World {
    fn new() -> Self {
        Self {
            memory: GuestMemory::new(4 << 20).expect("memory"),
            hpt: Hpt::new(Ra::new(1 << 20), 11).expect("table"),
            spare: Ra::new(2 << 20),
            pages: BTreeMap::new(),
        }
    }

    fn with<T>(&self, run: impl FnOnce(&mut Direct<'_>) -> Result<T, MemoryError>) -> T {
        run(&mut Direct::new(&self.memory, &mut |_| {})).expect("memory")
    }

    fn find(&self, p: u64) -> Option<HpteIndex> {
        self.with(|a| self.hpt.find(a, Vpn::new(p), SIZE, PAGE))
    }

    fn groups(&self, p: u64) -> [GroupIndex; 2] {
        let hash = Vpn::new(p).hash(SIZE, PAGE);
        [self.hpt.primary(hash), self.hpt.secondary(hash)]
    }

    fn insert(&mut self, p: u64, bolted: bool) {
        if self.pages.contains_key(&p) {
            return;
        }
        let r = HpteR::new(Ra::new((p & 0xff | p >> 20) << 12), PAGE, PAGE).with_flags(0x192);
        let v = if bolted {
            want(p).with_bolted()
        } else {
            want(p)
        };
        let groups = self.groups(p);
        let slots = [0, 1].map(|i| (groups[i], i == 1));
        let put = slots.iter().find_map(|&(group, secondary)| {
            self.with(|a| self.hpt.insert(a, group, v, r, secondary))
        });
        let held = self
            .pages
            .keys()
            .filter(|q| self.lies_in(**q, &groups))
            .count();
        assert_eq!(
            put.is_none(),
            held == 16,
            "refused exactly if both groups are full"
        );
        if put.is_some() {
            self.pages.insert(p, (r.0, bolted));
        }
    }

    fn lies_in(&self, p: u64, groups: &[GroupIndex]) -> bool {
        self.find(p)
            .is_some_and(|index| groups.contains(&index.group()))
    }

    fn evict(&mut self, p: u64, secondary: bool, start: u8) {
        let group = self.groups(p)[usize::from(secondary)];
        let candidates: Vec<u64> = self
            .pages
            .iter()
            .filter(|(q, (_, bolted))| !bolted && self.lies_in(**q, &[group]))
            .map(|(q, _)| *q)
            .collect();
        let gone = self.with(|a| self.hpt.remove(a, group, start));
        assert_eq!(gone.is_some(), !candidates.is_empty());
        let lost: Vec<u64> = candidates
            .into_iter()
            .filter(|q| self.find(*q).is_none())
            .collect();
        assert_eq!(lost.len(), usize::from(gone.is_some()));
        self.pages.retain(|q, _| !lost.contains(q));
    }

    fn update_pp(&mut self, p: u64, flags: u64) {
        // A page that is not there is looked for where it would be.
        let index = self.find(p).unwrap_or(self.groups(p)[0].slot(0));
        let done = self.with(|a| self.hpt.update_pp(a, index, want(p), flags, ORDER));
        // Small pages of one 8 MB range and group differ in the hash alone.
        let holder = self
            .pages
            .keys()
            .copied()
            .find(|q| self.find(*q) == Some(index));
        let holder = holder.filter(|q| q >> 11 == p >> 11);
        assert_eq!(done, holder.is_some());
        if let Some((r, _)) = holder.and_then(|q| self.pages.get_mut(&q)) {
            let changed = HpteR::PPP_MASK | HpteR::N;
            *r = *r & !changed | flags & (changed | HpteR::C);
        }
    }

    fn invalidate(&mut self, p: u64) {
        if let Some(index) = self.find(p) {
            assert!(self.with(|a| self.hpt.invalidate(a, index, want(p), ORDER)));
            self.pages.remove(&p);
        }
    }

    fn resize(&mut self, groups_log2: u8) {
        let new = Hpt::new(self.spare, groups_log2).expect("table");
        new.clear(&self.memory).expect("memory");
        match self.hpt.rehash(&self.memory, &new, Keep::All) {
            Ok(done) => {
                self.spare = self.hpt.base();
                self.hpt = new;
                let before = self.pages.len() as u64;
                let pages = self.pages.keys().copied();
                let lost: Vec<u64> = pages.filter(|p| self.find(*p).is_none()).collect();
                for p in lost {
                    let (_, bolted) = self.pages.remove(&p).expect("it was there");
                    assert!(!bolted, "a bolted entry is never dropped");
                }
                let left = self.pages.len() as u64;
                assert_eq!((done.moved, done.dropped), (left, before - left));
            }
            // The old table goes on.
            Err(error) => assert!(matches!(error, ResizeError::BoltedFull { .. })),
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let (base, groups_log2) = (self.hpt.base(), self.hpt.groups_log2());
        let twice = DuplicateChecker::scan(&self.memory, base, groups_log2).expect("scan");
        prop_assert!(twice.is_empty(), "{:?}", twice);
        let health = self.hpt.health(&self.memory).expect("health");
        let bolted = self.pages.values().filter(|(_, bolted)| *bolted).count();
        prop_assert_eq!(health.valid, self.pages.len() as u64);
        prop_assert_eq!((health.bolted, health.locked), (bolted as u64, 0));
        for (p, (r, _)) in &self.pages {
            let index = self.find(*p);
            prop_assert!(index.is_some(), "page {:#x} is lost", p);
            let hpte = index.map(|i| self.hpt.get(&self.memory, i.0).expect("get"));
            prop_assert_eq!(hpte.map(|hpte| hpte.r.0), Some(*r));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn every_page_is_where_the_map_says(ops in prop::collection::vec(op(), 1..90)) {
        let mut world = World::new();
        for op in ops {
            match op {
                Op::Insert(p, bolted) => world.insert(p, bolted),
                Op::Evict(p, secondary, start) => world.evict(p, secondary, start),
                Op::UpdatePp(p, flags) => world.update_pp(p, flags),
                Op::Invalidate(p) => world.invalidate(p),
                Op::Resize(groups_log2) => world.resize(groups_log2),
            }
            world.check()?;
        }
    }
}
