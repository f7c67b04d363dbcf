//! The entry lock bit under loom: every interleaving of two CPUs (with at most three preemptions) at
//! the grain of table accesses.

use emu_mmu::{
    Barrier, CompareOrder, GroupIndex, Hpt, HpteIndex, HpteR, HpteV, PageSize, Ra, SegmentSize,
    Step, TableAccess, TlbInvalidate, Vpn,
};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use std::convert::Infallible;

/// The first two entries of group 0, as loom's words. The others are taken for good, so that a model
/// stays small.
struct Words([AtomicU64; 4]);

struct Access(Arc<Words>);

const TAKEN: u64 = 0x5000 | 1;

impl Access {
    fn word(&self, ra: Ra) -> Option<&AtomicU64> {
        self.0.0.get((ra.get() / 8) as usize)
    }
}

impl TableAccess for Access {
    type Error = Infallible;

    fn load(&mut self, ra: Ra, _: Step) -> Result<u64, Infallible> {
        Ok(self
            .word(ra)
            .map_or(TAKEN, |word| word.load(Ordering::Acquire)))
    }

    fn store(&mut self, ra: Ra, value: u64, _: Step) -> Result<(), Infallible> {
        self.word(ra)
            .expect("a store to a taken entry")
            .store(value, Ordering::Release);
        Ok(())
    }

    fn compare_exchange(
        &mut self,
        ra: Ra,
        old: u64,
        new: u64,
        _: Step,
    ) -> Result<bool, Infallible> {
        let word = self.word(ra).expect("a lock of a taken entry");
        Ok(word
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok())
    }

    fn barrier(&mut self, barrier: Barrier, _: Step) -> Result<(), Infallible> {
        if barrier == Barrier::Ptesync {
            fence(Ordering::SeqCst);
        }
        Ok(())
    }

    fn tlb_invalidate(&mut self, _: TlbInvalidate, _: Step) -> Result<(), Infallible> {
        Ok(())
    }

    fn spin(&mut self, _: Step) -> Result<(), Infallible> {
        loom::thread::yield_now();
        Ok(())
    }
}

fn words(values: [u64; 4]) -> Arc<Words> {
    Arc::new(Words(values.map(AtomicU64::new)))
}

fn table() -> Hpt {
    Hpt::new(Ra::new(0), 11).unwrap()
}

fn page(n: u64) -> (HpteV, HpteR) {
    let v = HpteV::new(Vpn::new(n << 11), SegmentSize::S256M, PageSize::P4K).with_valid();
    (
        v,
        HpteR::new(Ra::new(n << 12), PageSize::P4K, PageSize::P4K),
    )
}

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn two_inserts_never_share_a_slot() {
    explore(|| {
        let words = words([0; 4]);
        let other = words.clone();
        let insert = |words: Arc<Words>, n: u64| {
            let (v, r) = page(n);
            table()
                .insert(&mut Access(words), GroupIndex(0), v, r, false)
                .unwrap()
        };
        let thread = loom::thread::spawn(move || insert(other, 1));
        let mine = insert(words.clone(), 2);
        let theirs = thread.join().unwrap();
        let (mine, theirs) = (mine.unwrap(), theirs.unwrap());
        assert_ne!(mine, theirs);
        for (slot, n) in [(mine, 2), (theirs, 1)] {
            let (v, r) = page(n);
            let at = usize::from(slot) * 2;
            assert_eq!(
                words.0[at].load(Ordering::Acquire),
                v.0,
                "unlocked and whole"
            );
            assert_eq!(words.0[at + 1].load(Ordering::Acquire), r.0);
        }
    });
}

#[test]
fn a_reader_that_sees_v_sees_its_r() {
    explore(|| {
        let words = words([0, 0, TAKEN, 0]);
        let reader = words.clone();
        let (v, r) = page(3);
        let thread = loom::thread::spawn(move || {
            let seen = reader.0[0].load(Ordering::Acquire);
            (seen, reader.0[1].load(Ordering::Acquire))
        });
        table()
            .insert(&mut Access(words), GroupIndex(0), v, r, false)
            .unwrap();
        let (seen, seen_r) = thread.join().unwrap();
        assert!(
            seen & 1 == 0 || seen_r == r.0,
            "V {seen:#x} with R {seen_r:#x}"
        );
    });
}

#[test]
fn an_invalidation_and_an_insert_leave_one_whole_entry() {
    for order in [CompareOrder::UnderLock, CompareOrder::BeforeLock] {
        explore(move || {
            let (old, old_r) = page(4);
            let words = words([old.0, old_r.0, TAKEN, 0]);
            let other = words.clone();
            let thread = loom::thread::spawn(move || {
                table()
                    .invalidate(&mut Access(other), HpteIndex(0), old, order)
                    .unwrap()
            });
            let (v, r) = page(5);
            let slot = table()
                .insert(&mut Access(words.clone()), GroupIndex(0), v, r, false)
                .unwrap();
            assert!(
                thread.join().unwrap(),
                "the old entry was there and nobody else took it out"
            );
            let left = words.0[0].load(Ordering::Acquire);
            match slot {
                Some(slot) => assert_eq!((slot, left), (0, v.0)),
                None => assert_eq!(left, 0),
            }
        });
    }
}

#[test]
fn two_invalidations_of_one_entry_succeed_once() {
    explore(|| {
        let (v, r) = page(6);
        let words = words([v.0, r.0, TAKEN, 0]);
        let other = words.clone();
        let invalidate = move |words: Arc<Words>| {
            let order = CompareOrder::UnderLock;
            table()
                .invalidate(&mut Access(words), HpteIndex(0), v, order)
                .unwrap()
        };
        let thread = loom::thread::spawn(move || invalidate(other));
        let mine = invalidate(words.clone());
        assert!(mine ^ thread.join().unwrap());
        assert_eq!(words.0[0].load(Ordering::Acquire), 0);
    });
}
