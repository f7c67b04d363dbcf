//! Whole operations of several CPUs at once, under shuttle: random schedules at the grain of table
//! accesses. Each model is run twice: with the entry locks, where it must hold in every schedule, and
//! without, where some schedule must break it, so that it is known to look at what the locks guard.

use emu_mmu::{
    Barrier, CompareOrder, Direct, FlushEntry, GroupIndex, GuestMemory, Hpt, HpteIndex, HpteR,
    HpteV, Keep, MemoryError, PageSize, Ra, SegmentSize, Step, TableAccess, TlbInvalidate, Vpn,
};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

const SIZE: SegmentSize = SegmentSize::S256M;
const PAGE: PageSize = PageSize::P4K;
const GROUP: GroupIndex = GroupIndex(5);
/// Schedules of each model.
const SCHEDULES: usize = 400;
const TAKE_LOCK: Step = "native_lock_hpte: set the lock bit";

/// A table that all threads of a model reach, one access at a time.
#[derive(Clone)]
struct Shared {
    memory: Arc<GuestMemory>,
    hpt: Hpt,
    locks: bool,
}

struct Cpu {
    memory: Arc<GuestMemory>,
    locks: bool,
}

impl Shared {
    fn new(locks: bool) -> Self {
        Self {
            memory: Arc::new(GuestMemory::new(1 << 20).unwrap()),
            hpt: Hpt::new(Ra::new(1 << 18), 11).unwrap(),
            locks,
        }
    }

    fn cpu(&self) -> Cpu {
        Cpu {
            memory: self.memory.clone(),
            locks: self.locks,
        }
    }

    /// Fills the group with bolted strangers, except these slots.
    fn fill_but(&self, free: &[u8]) {
        for slot in (0..8).filter(|slot| !free.contains(slot)) {
            self.put(slot, 100 + u64::from(slot), true);
        }
    }

    fn put(&self, slot: u8, n: u64, bolted: bool) {
        let (v, r) = page(n);
        let v = if bolted { v.with_bolted() } else { v };
        let hpte = emu_mmu::Hpte { v, r };
        self.hpt
            .put(&self.memory, GROUP.slot(slot).0, hpte)
            .unwrap();
    }

    fn insert(&self, n: u64, bolted: bool) -> Option<u8> {
        let (v, r) = page(n);
        let v = if bolted { v.with_bolted() } else { v };
        self.hpt
            .insert(&mut self.cpu(), GROUP, v, r, false)
            .unwrap()
    }

    fn invalidate(&self, slot: u8, n: u64) -> bool {
        let order = CompareOrder::UnderLock;
        let index = GROUP.slot(slot);
        self.hpt
            .invalidate(&mut self.cpu(), index, page(n).0, order)
            .unwrap()
    }

    fn find(&self, n: u64) -> Option<HpteIndex> {
        self.hpt.find(&mut self.cpu(), vpn(n), SIZE, PAGE).unwrap()
    }

    /// The entry is this page's, unlocked and whole.
    fn check(&self, slot: u8, n: u64) {
        let hpte = self.hpt.get(&self.memory, GROUP.slot(slot).0).unwrap();
        let (v, r) = page(n);
        assert_eq!(hpte.v.0 & !HpteV::BOLTED, v.0, "slot {slot}");
        assert_eq!(hpte.r, r, "slot {slot}");
    }

    fn spawn<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let shared = self.clone();
        thread::spawn(move || run(&shared))
    }
}

/// Pages whose primary group is [`GROUP`].
fn vpn(n: u64) -> Vpn {
    // VSID n << 11 leaves the low hash bits to the page index.
    Vpn::new((n << 11) << 16 | GROUP.0)
}

fn page(n: u64) -> (HpteV, HpteR) {
    let r = HpteR::new(Ra::new(n << 12), PAGE, PAGE).with_flags(0x190);
    (HpteV::new(vpn(n), SIZE, PAGE).with_valid(), r)
}

impl Cpu {
    /// Another CPU may come here.
    fn step<T>(&self, access: impl FnOnce(&mut Direct<'_>) -> T) -> T {
        thread::yield_now();
        access(&mut Direct::new(&self.memory, &mut |_| {}))
    }
}

impl TableAccess for Cpu {
    type Error = MemoryError;

    fn load(&mut self, ra: Ra, step: Step) -> Result<u64, MemoryError> {
        self.step(|direct| direct.load(ra, step))
    }

    fn store(&mut self, ra: Ra, value: u64, step: Step) -> Result<(), MemoryError> {
        self.step(|direct| direct.store(ra, value, step))
    }

    fn compare_exchange(
        &mut self,
        ra: Ra,
        old: u64,
        new: u64,
        step: Step,
    ) -> Result<bool, MemoryError> {
        if !self.locks && step == TAKE_LOCK {
            return Ok(true);
        }
        self.step(|direct| direct.compare_exchange(ra, old, new, step))
    }

    fn barrier(&mut self, _: Barrier, _: Step) -> Result<(), MemoryError> {
        Ok(())
    }

    fn tlb_invalidate(&mut self, _: TlbInvalidate, _: Step) -> Result<(), MemoryError> {
        Ok(())
    }

    fn spin(&mut self, _: Step) -> Result<(), MemoryError> {
        thread::yield_now();
        Ok(())
    }
}

/// Holds with locks in every schedule, and breaks without in some.
fn guarded_by_the_lock(model: fn(Shared)) {
    shuttle::check_random(move || model(Shared::new(true)), SCHEDULES);
    let broken = catch_unwind(AssertUnwindSafe(|| {
        shuttle::check_random(move || model(Shared::new(false)), 20 * SCHEDULES);
    }));
    assert!(
        broken.is_err(),
        "the model holds without locks: it shows nothing"
    );
}

#[test]
fn inserts_into_one_group_share_no_slot() {
    guarded_by_the_lock(|t| {
        t.fill_but(&[2, 6]);
        let others = [1, 2].map(|n| t.spawn(move |t| (n, t.insert(n, false))));
        let mine = (3, t.insert(3, false));
        let [one, two] = others.map(|thread| thread.join().unwrap());
        let mut given = Vec::new();
        for (n, slot) in [one, two, mine] {
            if let Some(slot) = slot {
                t.check(slot, n);
                given.push(slot);
            }
        }
        given.sort_unstable();
        assert_eq!(given, [2, 6]);
    });
}

#[test]
fn an_invalidation_never_takes_a_newer_entry() {
    guarded_by_the_lock(|t| {
        t.fill_but(&[3]);
        t.put(3, 1, false);
        let invalidations = [(); 2].map(|()| t.spawn(|t| t.invalidate(3, 1)));
        let inserted = t.insert(2, false);
        let gone = invalidations.map(|thread| thread.join().unwrap());
        assert!(gone[0] ^ gone[1], "one of the two did it");
        match inserted {
            Some(slot) => t.check(slot, 2),
            None => assert_eq!(t.find(2), None),
        }
    });
}

#[test]
fn updatepp_never_changes_a_newer_entry() {
    guarded_by_the_lock(|t| {
        t.fill_but(&[3]);
        t.put(3, 1, false);
        let update = t.spawn(|t| {
            let (index, order) = (GROUP.slot(3), CompareOrder::UnderLock);
            t.hpt
                .update_pp(&mut t.cpu(), index, page(1).0, 3, order)
                .unwrap()
        });
        assert!(t.invalidate(3, 1));
        let slot = t.insert(2, false);
        update.join().unwrap();
        assert_eq!(slot, Some(3));
        t.check(3, 2);
    });
}

#[test]
fn an_eviction_never_takes_a_bolted_entry_that_came_since() {
    guarded_by_the_lock(|t| {
        t.fill_but(&[4]);
        t.put(4, 1, false);
        let evict = |t: &Shared| t.hpt.remove(&mut t.cpu(), GROUP, 4).unwrap();
        let other = t.spawn(evict);
        let reader = t.spawn(|t| t.find(1));
        let mine = evict(&t);
        let slot = t.insert(2, true);
        assert_eq!(slot, Some(4), "one of the two evicted what was there");
        let theirs = other.join().unwrap();
        assert!(mine.is_some() ^ theirs.is_some());
        assert_eq!(t.find(2), Some(GROUP.slot(4)));
        t.check(4, 2);
        let seen = reader.join().unwrap();
        assert!(seen.is_none() || seen == Some(GROUP.slot(4)));
    });
}

#[test]
fn a_flushed_range_leaves_what_was_inserted_meanwhile() {
    guarded_by_the_lock(|t| {
        t.fill_but(&[2, 6]);
        t.put(2, 1, false);
        t.put(6, 2, false);
        let flush = |t: &Shared| {
            let entries = [(2, 1), (6, 2)].map(|(slot, n)| FlushEntry {
                index: GROUP.slot(slot),
                want: page(n).0,
            });
            let order = CompareOrder::UnderLock;
            t.hpt.flush_range(&mut t.cpu(), &entries, order).unwrap()
        };
        let other = t.spawn(flush);
        let inserted = t.spawn(|t| t.insert(3, false));
        let mine = flush(&t);
        assert_eq!(mine + other.join().unwrap(), 2, "each entry once");
        match inserted.join().unwrap() {
            Some(slot) => t.check(slot, 3),
            None => assert_eq!(t.find(3), None),
        }
    });
}

/// Readers beside a resize: the old table may be read while its entries are moved, and be emptied when
/// no reader is left in it.
fn resize_beside_a_reader(wait_for_readers: bool) {
    let old = Shared::new(true);
    old.put(3, 1, true);
    let mut new = old.clone();
    new.hpt = Hpt::new(Ra::new(1 << 19), 12).unwrap();
    let tables = Arc::new([old, new]);
    let state = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let (their_tables, their_state) = (tables.clone(), state.clone());
    let reader = thread::spawn(move || {
        let (current, readers) = &*their_state;
        readers.fetch_add(1, Ordering::SeqCst);
        let table = &their_tables[current.load(Ordering::SeqCst) as usize];
        let found = table.find(1);
        readers.fetch_sub(1, Ordering::SeqCst);
        found
    });
    let (current, readers) = &*state;
    let [old, new] = &*tables;
    let rehashed = old.hpt.rehash(&old.memory, &new.hpt, Keep::Bolted);
    assert_eq!(rehashed.unwrap().moved, 1);
    current.store(1, Ordering::SeqCst);
    while wait_for_readers && readers.load(Ordering::SeqCst) != 0 {
        thread::yield_now();
    }
    old.hpt
        .put(&old.memory, GROUP.slot(3).0, emu_mmu::Hpte::default())
        .unwrap();
    assert!(reader.join().unwrap().is_some(), "a bolted page was missed");
    assert!(new.find(1).is_some());
}

#[test]
fn a_reader_beside_a_resize_misses_no_bolted_page() {
    shuttle::check_random(|| resize_beside_a_reader(true), SCHEDULES);
    let broken = catch_unwind(|| {
        shuttle::check_random(|| resize_beside_a_reader(false), 20 * SCHEDULES);
    });
    assert!(
        broken.is_err(),
        "nothing is shown if it holds without the wait"
    );
}
