use super::*;
use crate::addr::{PageSize, SegmentSize, Vpn};
use crate::hpte::{HpteR, HpteV};

const P4K: PageSize = PageSize::P4K;
const S256M: SegmentSize = SegmentSize::S256M;

pub(super) fn table() -> (GuestMemory, Hpt) {
    let memory = GuestMemory::new(1 << 20).expect("memory");
    (memory, Hpt::new(Ra::new(1 << 18), 11).expect("table"))
}

pub(super) fn word(page: u64) -> HpteR {
    HpteR::new(Ra::new(page << 12), P4K, P4K).with_flags(0x196)
}

#[test]
fn place_and_size() {
    assert_eq!(
        Hpt::new(Ra::new(0), 10),
        Err(HptError::Size { groups_log2: 10 })
    );
    assert_eq!(
        Hpt::new(Ra::new(0), 40),
        Err(HptError::Size { groups_log2: 40 })
    );
    assert!(Hpt::new(Ra::new(1 << 17), 11).is_err());
    assert!(Hpt::new(Ra::new(1 << 60), 11).is_err());
    let t = Hpt::new(Ra::new(0x40_0000), 15).expect("table");
    assert_eq!(
        (t.size_bytes(), t.hash_mask(), t.sdr1()),
        (4 << 20, 0x7fff, 0x40_0004)
    );
    assert_eq!(t.hpte_ra(HpteIndex(9)), Ra::new(0x40_0090));
    assert_eq!(t.group_ra(GroupIndex(0x8001)), Ra::new(0x40_0080), "wraps");
    assert_eq!(t.index_of(Ra::new(0x40_0098)), Some(HpteIndex(9)));
    assert!(!t.contains(Ra::new(0x80_0000)) && !t.contains(Ra::new(0x3f_ffff)));
}

#[test]
fn worked_example_groups() {
    // Linux 2.6.38 arithmetic for EA 0xd000000000100000 and 2^15 groups.
    let t = Hpt::new(Ra::new(0), 15).expect("table");
    assert_eq!(t.primary(0xf_09b8_9bf5), GroupIndex(0x1bf5));
    assert_eq!(t.secondary(0xf_09b8_9bf5), GroupIndex(0x640a));
    assert_eq!(t.primary(0x63_60eb_70b0), GroupIndex(0x70b0));
    assert_eq!(t.secondary(0x63_60eb_70b0), GroupIndex(0x0f4f));
}

/// Records steps on top of memory.
struct Recorder<'a> {
    memory: &'a GuestMemory,
    steps: Vec<String>,
    /// Done once, before the n-th step from here.
    disturb: Option<(usize, Ra, u64)>,
}

impl Recorder<'_> {
    fn note(&mut self, text: String) {
        if let Some((n, ra, value)) = self.disturb {
            if n == 0 {
                self.memory.store_u64(ra, value).expect("disturb");
                self.disturb = None;
            } else {
                self.disturb = Some((n - 1, ra, value));
            }
        }
        self.steps.push(text);
    }
}

impl TableAccess for Recorder<'_> {
    type Error = MemoryError;
    fn load(&mut self, ra: Ra, step: Step) -> Result<u64, MemoryError> {
        self.note(format!("load {step}"));
        self.memory.load_u64(ra)
    }
    fn store(&mut self, ra: Ra, value: u64, step: Step) -> Result<(), MemoryError> {
        self.note(format!("store {step}"));
        self.memory.store_u64(ra, value)
    }
    fn compare_exchange(
        &mut self,
        ra: Ra,
        old: u64,
        new: u64,
        step: Step,
    ) -> Result<bool, MemoryError> {
        self.note(format!("cas {step}"));
        Ok(self.memory.compare_exchange_u64(ra, old, new)?.is_ok())
    }
    fn barrier(&mut self, barrier: Barrier, _step: Step) -> Result<(), MemoryError> {
        self.note(format!("{barrier:?}"));
        Ok(())
    }
    fn tlb_invalidate(&mut self, operand: TlbInvalidate, _step: Step) -> Result<(), MemoryError> {
        self.note(format!("tlb {:x} {}", operand.vpn, operand.local));
        Ok(())
    }
    fn spin(&mut self, _step: Step) -> Result<(), MemoryError> {
        self.note("spin".into());
        Ok(())
    }
}

fn recorder(memory: &GuestMemory) -> Recorder<'_> {
    Recorder {
        memory,
        steps: Vec::new(),
        disturb: None,
    }
}

#[test]
fn insert_steps_and_recheck() {
    let (memory, t) = table();
    let mut a = recorder(&memory);
    let v = HpteV::new(Vpn::new(0x1000), S256M, P4K);
    assert_eq!(
        t.insert(&mut a, GroupIndex(3), v, word(7), false),
        Ok(Some(0))
    );
    let expected = [
        "load native_hpte_insert: load V",
        "load native_lock_hpte: load V",
        "cas native_lock_hpte: set the lock bit",
        "Isync",
        "store native_hpte_insert: store R",
        "Eieio",
        "store native_hpte_insert: store V",
        "Ptesync",
    ];
    assert_eq!(a.steps, expected);
    assert_eq!(
        memory.load_u64(t.hpte_ra(HpteIndex(24))),
        Ok(v.with_valid().0)
    );
    // Slot 1 becomes valid between the check and the lock: slot 2 is taken.
    let mut a = recorder(&memory);
    a.disturb = Some((2, t.hpte_ra(HpteIndex(25)), 0xff81));
    assert_eq!(
        t.insert(&mut a, GroupIndex(3), v, word(8), true),
        Ok(Some(2))
    );
    assert_eq!(
        memory.load_u64(t.hpte_ra(HpteIndex(25))),
        Ok(0xff81),
        "unlocked, kept"
    );
    assert_eq!(
        memory.load_u64(t.hpte_ra(HpteIndex(26))),
        Ok(v.with_valid().with_secondary().0)
    );
}

#[test]
fn lock_waits_for_its_holder() {
    let (memory, t) = table();
    let ra = t.hpte_ra(HpteIndex(5));
    memory.store_u64(ra, HpteV::LOCK | 0x81).expect("store");
    let mut a = recorder(&memory);
    a.disturb = Some((4, ra, 0x81));
    assert_eq!(t.lock_slot(&mut a, HpteIndex(5)), Ok(HpteV(0x89)));
    assert_eq!(a.steps.iter().filter(|s| *s == "spin").count(), 2);
    t.unlock_slot(&mut a, HpteIndex(5)).expect("unlock");
    assert_eq!(memory.load_u64(ra), Ok(0x81));
}

#[test]
fn remove_starts_where_told_and_spares_bolted() {
    let (memory, t) = table();
    let mut a = recorder(&memory);
    let g = GroupIndex(1);
    for slot in [0, 3, 6] {
        let v = if slot == 6 { 0x91 } else { 0x81 };
        memory.store_u64(t.hpte_ra(g.slot(slot)), v).expect("store");
    }
    assert_eq!(
        t.remove(&mut a, g, 4),
        Ok(Some(g.slot(0))),
        "6 is bolted, then wraps"
    );
    assert_eq!(t.remove(&mut a, g, 0xff), Ok(Some(g.slot(3))));
    assert_eq!(t.remove(&mut a, g, 0), Ok(None));
    assert_eq!(t.count_valid(&memory), Ok(1));
    assert!(
        a.steps
            .iter()
            .all(|s| s != "Ptesync" && !s.starts_with("tlb"))
    );
}

#[test]
fn update_pp_by_kernel_version() {
    let (memory, t) = table();
    let (g, v) = (GroupIndex(2), HpteV::new(Vpn::new(0x42_1234), S256M, P4K));
    let ra = t.hpte_ra(g.slot(0)) + 8;
    let run = |compare, want: HpteV| {
        let mut a = recorder(&memory);
        memory
            .store_u64(t.hpte_ra(g.slot(0)), v.with_valid().0)
            .expect("store");
        memory.store_u64(ra, 0x1234_5000 | 0x117).expect("store");
        let flags = HpteR::PP0 | HpteR::C | HpteR::R | 2;
        let done = t
            .update_pp(&mut a, g.slot(0), want, flags, compare)
            .expect("update");
        (done, memory.load_u64(ra).expect("load"), a.steps.len())
    };
    assert!(run(CompareOrder::UnderLock, v).0 && run(CompareOrder::BeforeLock, v).0);
    assert_eq!(run(CompareOrder::UnderLock, v).1, 0x1234_5192);
    assert_eq!(run(CompareOrder::BeforeLock, v).1, HpteR::PP0 | 0x1234_5192);
    let other = HpteV(v.0 ^ 0x80);
    let (locked, plain) = (
        run(CompareOrder::UnderLock, other),
        run(CompareOrder::BeforeLock, other),
    );
    assert_eq!(
        (locked.0, locked.1, plain.0, plain.1),
        (false, 0x1234_5117, false, 0x1234_5117)
    );
    assert!(
        locked.2 > 1 && plain.2 == 1,
        "6.1 does not lock an entry that differs"
    );
    let mut a = recorder(&memory);
    t.update_bolted_pp(&mut a, g.slot(0), 3 | HpteR::C, CompareOrder::UnderLock)
        .expect("update");
    assert_eq!((memory.load_u64(ra), a.steps.len()), (Ok(0x1234_5113), 2));
}

#[test]
fn sequences() {
    let (memory, _) = table();
    let op = |vpn, local| TlbInvalidate {
        vpn: Vpn::new(vpn),
        segment: S256M,
        base: P4K,
        actual: P4K,
        local,
    };
    let mut a = recorder(&memory);
    tlbie_sequence(&mut a, &[op(1, true), op(2, false)]).expect("sequence");
    assert_eq!(
        a.steps,
        [
            "Ptesync",
            "tlb 1 false",
            "tlb 2 false",
            "Eieio",
            "Tlbsync",
            "Ptesync"
        ]
    );
    let mut a = recorder(&memory);
    tlbiel_sequence(&mut a, &[op(1, false)]).expect("sequence");
    assert_eq!(a.steps, ["Ptesync", "tlb 1 true", "Ptesync"]);
}

#[test]
fn find_respects_h() {
    let (memory, t) = table();
    let mut a = recorder(&memory);
    let vpn = Vpn::new(0x77_1234);
    let (v, hash) = (HpteV::new(vpn, S256M, P4K), vpn.hash(S256M, P4K));
    t.insert(&mut a, t.primary(hash), v, word(1), true)
        .expect("wrong H");
    assert_eq!(t.find(&mut a, vpn, S256M, P4K), Ok(None));
    t.insert(&mut a, t.secondary(hash), v, word(1), true)
        .expect("secondary");
    assert_eq!(
        t.find(&mut a, vpn, S256M, P4K),
        Ok(Some(t.secondary(hash).slot(0)))
    );
}
