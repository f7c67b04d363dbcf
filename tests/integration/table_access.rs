//! One algorithm, several ways to the table: the operations of [`Hpt`] leave the same table and make
//! the same steps straight on guest memory, over plain words, and through the verbs of an emulated
//! CPU.

use ppc_mmu_emu::core::{Clocked, ContextEnd, Ctx, Engine, Exception, MachineConfig};
use ppc_mmu_emu::mmu::{
    Barrier, CompareOrder, Direct, FlushEntry, GuestMemory, Hpt, HpteIndex, HpteR, HpteV, PageSize,
    Ra, SegmentSize, TableAccess, TlbInvalidate, Vpn, tlbie_sequence, tlbiel_sequence,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::mpsc;

type Label = &'static str;

/// What was done, in order of kind and label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Steps {
    counts: BTreeMap<(&'static str, Label), u64>,
    invalidations: Vec<TlbInvalidate>,
}

/// Counts the steps on their way to another access.
struct Counting<A> {
    inner: A,
    steps: Steps,
}

impl<A> Counting<A> {
    fn new(inner: A) -> Self {
        Counting {
            inner,
            steps: Steps::default(),
        }
    }

    fn count(&mut self, kind: &'static str, label: Label) {
        *self.steps.counts.entry((kind, label)).or_default() += 1;
    }
}

impl<A: TableAccess> TableAccess for Counting<A> {
    type Error = A::Error;

    fn load(&mut self, ra: Ra, step: Label) -> Result<u64, A::Error> {
        self.count("load", step);
        self.inner.load(ra, step)
    }

    fn store(&mut self, ra: Ra, value: u64, step: Label) -> Result<(), A::Error> {
        self.count("store", step);
        self.inner.store(ra, value, step)
    }

    fn compare_exchange(
        &mut self,
        ra: Ra,
        old: u64,
        new: u64,
        step: Label,
    ) -> Result<bool, A::Error> {
        self.count("compare_exchange", step);
        self.inner.compare_exchange(ra, old, new, step)
    }

    fn barrier(&mut self, barrier: Barrier, step: Label) -> Result<(), A::Error> {
        self.count("barrier", step);
        self.inner.barrier(barrier, step)
    }

    fn tlb_invalidate(&mut self, operand: TlbInvalidate, step: Label) -> Result<(), A::Error> {
        self.count("tlb_invalidate", step);
        self.steps.invalidations.push(operand);
        self.inner.tlb_invalidate(operand, step)
    }

    fn spin(&mut self, step: Label) -> Result<(), A::Error> {
        self.count("spin", step);
        self.inner.spin(step)
    }
}

/// The table as a map of doublewords: shares nothing with guest memory.
#[derive(Default)]
struct Words(BTreeMap<u64, u64>);

impl TableAccess for &mut Words {
    type Error = Infallible;

    fn load(&mut self, ra: Ra, _step: Label) -> Result<u64, Infallible> {
        Ok(self.0.get(&ra.get()).copied().unwrap_or(0))
    }

    fn store(&mut self, ra: Ra, value: u64, _step: Label) -> Result<(), Infallible> {
        self.0.insert(ra.get(), value);
        Ok(())
    }

    fn compare_exchange(
        &mut self,
        ra: Ra,
        old: u64,
        new: u64,
        step: Label,
    ) -> Result<bool, Infallible> {
        let same = self.load(ra, step)? == old;
        if same {
            self.store(ra, new, step)?;
        }
        Ok(same)
    }

    fn barrier(&mut self, _barrier: Barrier, _step: Label) -> Result<(), Infallible> {
        Ok(())
    }

    fn tlb_invalidate(&mut self, _operand: TlbInvalidate, _step: Label) -> Result<(), Infallible> {
        Ok(())
    }

    fn spin(&mut self, step: Label) -> Result<(), Infallible> {
        unreachable!("{step}: nobody holds a lock here")
    }
}

/// The table through the verbs of an emulated CPU in real mode.
struct Verbs<'a, 'y>(&'a mut Ctx<'y>);

impl TableAccess for Verbs<'_, '_> {
    type Error = Exception;

    fn load(&mut self, ra: Ra, step: Label) -> Result<u64, Exception> {
        self.0.load_real_u64(ra, step)
    }

    fn store(&mut self, ra: Ra, value: u64, step: Label) -> Result<(), Exception> {
        self.0.store_real_u64(ra, value, step)
    }

    fn compare_exchange(
        &mut self,
        ra: Ra,
        old: u64,
        new: u64,
        step: Label,
    ) -> Result<bool, Exception> {
        let same = self.0.load_real_u64(ra, step)? == old;
        if same {
            self.0.store_real_u64(ra, new, step)?;
        }
        Ok(same)
    }

    fn barrier(&mut self, barrier: Barrier, step: Label) -> Result<(), Exception> {
        self.0.barrier(barrier, step)
    }

    fn tlb_invalidate(&mut self, operand: TlbInvalidate, step: Label) -> Result<(), Exception> {
        self.0.tlb_invalidate(operand, step)
    }

    fn spin(&mut self, step: Label) -> Result<(), Exception> {
        self.0.spin(step)
    }
}

/// An operation on a page or a group.
#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u64),
    Find(u64),
    Evict(u64, u8),
    Update(u64, u64),
    Invalidate(u64),
    Flush(u64, u64),
}

const SEGMENT: SegmentSize = SegmentSize::S256M;
const PAGE: PageSize = PageSize::P4K;

fn want(page: u64) -> HpteV {
    HpteV::new(Vpn::new(page), SEGMENT, PAGE)
}

fn operand(page: u64) -> TlbInvalidate {
    TlbInvalidate {
        vpn: Vpn::new(page),
        segment: SEGMENT,
        base: PAGE,
        actual: PAGE,
        local: false,
    }
}

/// Inserts as a hash fault does: primary group, secondary group, else evicts and tries again.
fn insert<A: TableAccess>(hpt: &Hpt, a: &mut A, page: u64) -> Result<u64, A::Error> {
    let hash = Vpn::new(page).hash(SEGMENT, PAGE);
    let r = HpteR::new(Ra::new(page % 512 * 4096), PAGE, PAGE).with_flags(0x194);
    let groups = [(hpt.primary(hash), false), (hpt.secondary(hash), true)];
    loop {
        for (group, secondary) in groups {
            if let Some(slot) = hpt.insert(a, group, want(page), r, secondary)? {
                return Ok(group.slot(slot).0);
            }
        }
        hpt.remove(a, groups[0].0, (page & 7) as u8)?;
    }
}

/// Does one operation; gives a number that says what it returned.
fn one<A: TableAccess>(hpt: &Hpt, a: &mut A, op: Op, order: CompareOrder) -> Result<u64, A::Error> {
    let find = |a: &mut A, page| hpt.find(a, Vpn::new(page), SEGMENT, PAGE);
    let or_none = |index: Option<HpteIndex>| index.map_or(u64::MAX, |index| index.0);
    match op {
        Op::Insert(page) => match find(a, page)? {
            Some(index) => Ok(index.0),
            None => insert(hpt, a, page),
        },
        Op::Find(page) => find(a, page).map(or_none),
        Op::Evict(page, slot) => {
            let hash = Vpn::new(page).hash(SEGMENT, PAGE);
            hpt.remove(a, hpt.primary(hash), slot).map(or_none)
        }
        Op::Update(page, flags) => {
            let at = find(a, page)?.unwrap_or(HpteIndex(page & 0x3fff));
            hpt.update_pp(a, at, want(page), flags, order)
                .map(u64::from)
        }
        Op::Invalidate(page) => {
            let at = find(a, page)?.unwrap_or(HpteIndex(page & 0x3fff));
            let gone = hpt.invalidate(a, at, want(page), order)?;
            tlbiel_sequence(a, &[operand(page)])?;
            Ok(u64::from(gone))
        }
        Op::Flush(first, second) => {
            let mut entries = Vec::new();
            for page in [first, second] {
                let index = find(a, page)?.unwrap_or(HpteIndex(page & 0x3fff));
                entries.push(FlushEntry {
                    index,
                    want: want(page),
                });
            }
            let gone = hpt.flush_range(a, &entries, order)?;
            tlbie_sequence(a, &[operand(first), operand(second)])?;
            Ok(u64::from(gone))
        }
    }
}

type Outcome = (Vec<u64>, Steps);

/// Does all of them.
fn all<A: TableAccess>(hpt: &Hpt, access: A, ops: &[Op], order: CompareOrder) -> Outcome
where
    A::Error: Debug,
{
    let mut a = Counting::new(access);
    let results = ops
        .iter()
        .map(|&op| one(hpt, &mut a, op, order).expect("inside memory"));
    (results.collect(), a.steps)
}

/// Every doubleword of the table that is not 0.
fn content(hpt: &Hpt, memory: &GuestMemory) -> BTreeMap<u64, u64> {
    let words = (0..hpt.size_bytes() / 8).map(|i| hpt.base() + i * 8);
    let words = words.map(|ra| (ra.get(), memory.load_u64(ra).expect("inside memory")));
    words.filter(|&(_, word)| word != 0).collect()
}

fn through_verbs(ops: &[Op], order: CompareOrder) -> (Hpt, Outcome, BTreeMap<u64, u64>) {
    let config = MachineConfig::small_test();
    let hpt = config.hpt;
    let mut engine = Engine::new(config, Box::new(Clocked::new())).expect("a machine");
    let machine = engine.machine().clone();
    let (send, receive) = mpsc::channel();
    let ops = ops.to_vec();
    engine.start_cpu(
        0,
        Box::new(move |cx| {
            let outcome = all(&hpt, Verbs(cx), &ops, order);
            let _ = send.send(outcome);
            Ok(ContextEnd::Halt)
        }),
    );
    let end = engine.run().expect("a run");
    assert!(end.cpus[0].clock.get() > 0);
    (
        hpt,
        receive.recv().expect("an outcome"),
        content(&hpt, machine.memory()),
    )
}

/// Pages that crowd into few groups.
fn page() -> impl Strategy<Value = u64> {
    (0u64..3, 0u64..40).prop_map(|(g, n)| (n << 27) | ((n & 0x7ff) ^ g))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => page().prop_map(Op::Insert),
        2 => page().prop_map(Op::Find),
        1 => (page(), 0u8..8).prop_map(|(page, slot)| Op::Evict(page, slot)),
        2 => (page(), 0u64..8).prop_map(|(page, flags)| Op::Update(page, flags)),
        2 => page().prop_map(Op::Invalidate),
        2 => (page(), page()).prop_map(|(a, b)| Op::Flush(a, b)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_access_gives_the_same(ops in prop::collection::vec(op(), 1..200), before: bool) {
        let order = if before { CompareOrder::BeforeLock } else { CompareOrder::UnderLock };
        let (hpt, verbs, of_verbs) = through_verbs(&ops, order);

        let memory = GuestMemory::new(16 << 20).expect("memory");
        let mut seen = Vec::new();
        let mut tlb = |operand| seen.push(operand);
        let direct = all(&hpt, Direct::new(&memory, &mut tlb), &ops, order);
        prop_assert_eq!(&seen, &direct.1.invalidations);

        let mut words = Words::default();
        let plain = all(&hpt, &mut words, &ops, order);
        words.0.retain(|_, word| *word != 0);

        prop_assert_eq!(&direct, &plain);
        prop_assert_eq!(&direct, &verbs);
        let of_direct = content(&hpt, &memory);
        prop_assert_eq!(&of_direct, &words.0);
        prop_assert_eq!(&of_direct, &of_verbs);
    }
}
