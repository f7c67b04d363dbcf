//! Cached translations, selectivity and races: what a recording of a machine without a TLB model cannot
//! show. One test for each rule (Power ISA 2.07 Book III-S 5.7 to 5.10); the numbers go on from the 63
//! categories of the recorded vectors.

use emu_mmu::PageSize::{P4K, P16M, P64K};
use emu_mmu::SegmentSize::{S1T, S256M};
use emu_mmu::*;

const EA: Ea = Ea::new(0x1_2345_6789);
const PP_RW: u64 = 0x192;

/// One memory and table, CPUs beside each other, one segment.
struct World {
    memory: GuestMemory,
    hpt: Hpt,
    cpus: Vec<Mmu>,
    segment: SlbEntry,
}

fn world_of(cpus: usize, segment: SegmentSize, page: PageSize) -> World {
    let memory = GuestMemory::new(1 << 24).expect("memory");
    let hpt = Hpt::new(Ra::new(1 << 20), 11).expect("table");
    let segment = SlbEntry::kernel(EA, Vsid::new(0x123_4567), segment, page);
    let cpu = || {
        let mut mmu = Mmu::new(&MmuGeometry::POWER8).expect("geometry");
        mmu.slbmte(segment.rs(), segment.rb(3)).expect("slbmte");
        mmu
    };
    World {
        memory,
        hpt,
        cpus: (0..cpus).map(|_| cpu()).collect(),
        segment,
    }
}

fn world(cpus: usize) -> World {
    world_of(cpus, S256M, P4K)
}

impl World {
    fn vpn(&self, ea: Ea) -> Vpn {
        Vpn::from_ea(self.segment.vsid, ea, self.segment.segment)
    }

    fn v(&self, ea: Ea, actual: PageSize) -> HpteV {
        let v = HpteV::new(self.vpn(ea), self.segment.segment, self.segment.page);
        if actual == P4K { v } else { v.with_large() }
    }

    fn map(&self, ea: Ea, ra: u64, actual: PageSize, flags: u64) -> HpteIndex {
        let (segment, base) = (self.segment.segment, self.segment.page);
        let group = self.hpt.primary(self.vpn(ea).hash(segment, base));
        let r = HpteR::new(Ra::new(ra), base, actual).with_flags(flags);
        let mut tlb = |_| {};
        let mut table = Direct::new(&self.memory, &mut tlb);
        let v = self.v(ea, actual);
        let slot = self.hpt.insert(&mut table, group, v, r, false);
        group.slot(slot.expect("insert").expect("a free slot"))
    }

    fn clear_v(&self, index: HpteIndex) {
        let ra = self.hpt.hpte_ra(index);
        self.memory.store_u64(ra, 0).expect("store");
    }

    fn r(&self, index: HpteIndex) -> HpteR {
        let ra = self.hpt.hpte_ra(index) + 8;
        HpteR(self.memory.load_u64(ra).expect("load"))
    }

    fn go(&mut self, cpu: usize, ea: Ea, access: Access) -> Result<Ra, Fault> {
        let state = AccessState::kernel();
        self.cpus[cpu].translate(&self.memory, &self.hpt, ea, access, state, &mut ())
    }

    fn load(&mut self, cpu: usize, ea: Ea) -> Result<Ra, Fault> {
        self.go(cpu, ea, Access::Load)
    }

    fn operand(&self, ea: Ea, actual: PageSize) -> TlbInvalidate {
        TlbInvalidate {
            vpn: self.vpn(ea),
            segment: self.segment.segment,
            base: self.segment.page,
            actual,
            local: false,
        }
    }

    fn tlbie(&mut self, operand: TlbInvalidate) -> u32 {
        self.cpus
            .iter_mut()
            .map(|cpu| cpu.tlb_invalidate(&operand))
            .sum()
    }
}

fn at(page: u64) -> Result<Ra, Fault> {
    Ok(Ra::new(page | 0x789))
}

fn is_no_page(result: Result<Ra, Fault>) -> bool {
    matches!(result, Err(Fault::DataStorage { dsisr, .. }) if dsisr & 0x4000_0000 != 0)
}

#[test]
fn item_64_v_cleared_without_tlbie_the_copy_lives_on() {
    let mut w = world(1);
    let index = w.map(EA, 0x7000, P4K, PP_RW);
    assert_eq!(w.load(0, EA), at(0x7000));
    w.clear_v(index);
    assert_eq!(w.load(0, EA), at(0x7000), "from the ERAT");
    w.cpus[0].erat.invalidate_all();
    assert_eq!(w.load(0, EA), at(0x7000), "from the TLB");
    w.tlbie(w.operand(EA, P4K));
    assert!(is_no_page(w.load(0, EA)));
}

#[test]
fn item_65_tlbie_of_an_address_that_differs_in_va_0_to_13_hits_and_is_counted() {
    let mut w = world(1);
    w.map(EA, 0x7000, P4K, PP_RW);
    assert_eq!(w.load(0, EA), at(0x7000));
    let mut operand = w.operand(EA, P4K);
    operand.vpn = Vpn::new(operand.vpn.get() ^ 1 << 51);
    assert_eq!(w.tlbie(operand), 0, "VA bit 14 is compared");
    operand.vpn = Vpn::new(w.vpn(EA).get() ^ 1 << 52);
    assert_eq!(w.tlbie(operand), 2, "TLB and ERAT");
    assert_eq!(w.cpus[0].over_invalidated, 1);
    assert_eq!(w.load(0, EA), at(0x7000));
    w.tlbie(w.operand(EA, P4K));
    assert_eq!(
        w.cpus[0].over_invalidated, 1,
        "its own page is not too much"
    );
}

#[test]
fn item_66_tlbie_with_wrong_b_ap_or_lp_leaves_the_copy() {
    let mut w = world(1);
    w.map(EA, 0x7000, P4K, PP_RW);
    assert_eq!(w.load(0, EA), at(0x7000));
    let right = w.operand(EA, P4K);
    for wrong in [
        TlbInvalidate {
            segment: S1T,
            ..right
        },
        TlbInvalidate {
            actual: P64K,
            ..right
        },
        TlbInvalidate {
            base: P64K,
            actual: P64K,
            ..right
        },
    ] {
        assert_eq!(w.tlbie(wrong), 0, "{wrong:?}");
    }
    assert_eq!(w.tlbie(right), 2);
}

#[test]
fn item_67_tlbiel_leaves_the_copy_of_another_cpu() {
    let mut w = world(2);
    let index = w.map(EA, 0x7000, P4K, PP_RW);
    assert_eq!((w.load(0, EA), w.load(1, EA)), (at(0x7000), at(0x7000)));
    w.clear_v(index);
    let operand = TlbInvalidate {
        local: true,
        ..w.operand(EA, P4K)
    };
    w.cpus[0].tlb_invalidate(&operand);
    assert!(is_no_page(w.load(0, EA)));
    assert_eq!(w.load(1, EA), at(0x7000));
}

#[test]
fn item_68_tlbie_before_the_store_is_seen_lets_the_old_entry_be_fetched_again() {
    let mut w = world(2);
    let index = w.map(EA, 0x7000, P4K, PP_RW);
    assert_eq!(w.load(1, EA), at(0x7000));
    // CPU 0's store of V=0 has not left it: no ptesync stood before the tlbie.
    w.tlbie(w.operand(EA, P4K));
    assert_eq!(w.load(1, EA), at(0x7000));
    w.clear_v(index);
    assert_eq!(w.load(1, EA), at(0x7000), "stale from here on");
}

/// Clears V just before the walker stores R or C.
struct ClearsV<'m>(&'m GuestMemory, Vec<RcStep>);

impl Probe for ClearsV<'_> {
    fn before_rc(&mut self, step: RcStep) {
        let (RcStep::R(ra) | RcStep::C(ra)) = step;
        self.0.store_u64(ra, 0).expect("store");
        self.1.push(step);
    }
}

#[test]
fn item_69_without_the_final_ptesync_an_r_or_c_store_comes_after_v_is_0() {
    let w = world(1);
    let index = w.map(EA, 0x7000, P4K, PP_RW & !0x180);
    let mut cpu = w.cpus[0].clone();
    let ra = w.hpt.hpte_ra(index);
    let mut probe = ClearsV(&w.memory, Vec::new());
    let state = AccessState::kernel();
    let result = cpu.translate(&w.memory, &w.hpt, EA, Access::Store, state, &mut probe);
    assert_eq!(result, at(0x7000), "the walker does not look again");
    assert_eq!(probe.1, [RcStep::R(ra), RcStep::C(ra)], "one step each");
    assert_eq!(w.memory.load_u64(ra), Ok(0));
    assert!(
        w.r(index).r() && w.r(index).c(),
        "and stores into a free entry"
    );
}

#[test]
fn item_70_eviction_without_tlbie_and_an_insert_elsewhere_make_two_live_translations() {
    let mut w = world(2);
    let index = w.map(EA, 0x7000, P4K, PP_RW);
    assert_eq!(w.load(0, EA), at(0x7000));
    let mut tlb = |_| panic!("eviction invalidates nothing");
    let mut table = Direct::new(&w.memory, &mut tlb);
    let gone = w.hpt.remove(&mut table, index.group(), index.slot());
    assert_eq!(gone, Ok(Some(index)));
    w.map(EA, 0x9000, P4K, PP_RW);
    assert_eq!((w.load(0, EA), w.load(1, EA)), (at(0x7000), at(0x9000)));
}

#[test]
fn item_71_slbmte_over_a_live_entry_leaves_the_erat_stale() {
    let mut w = world(1);
    w.map(EA, 0x7000, P4K, PP_RW);
    assert_eq!(w.load(0, EA), at(0x7000));
    let other = SlbEntry::kernel(EA, Vsid::new(0x777), S256M, P4K);
    w.cpus[0].slbmte(other.rs(), other.rb(3)).expect("slbmte");
    assert_eq!(w.load(0, EA), at(0x7000), "stale");
    w.cpus[0].slbie(EA, false, S256M);
    w.cpus[0].slbmte(other.rs(), other.rb(3)).expect("slbmte");
    assert!(is_no_page(w.load(0, EA)));
}

#[test]
fn item_72_slbia_leaves_entry_0() {
    let mut w = world(1);
    let entry = w.segment;
    w.map(EA, 0x7000, P4K, PP_RW);
    w.cpus[0].slbia(4).expect("IH");
    w.cpus[0].slbmte(entry.rs(), entry.rb(0)).expect("slbmte");
    assert_eq!(w.load(0, EA), at(0x7000));
    w.cpus[0].slbia(0).expect("IH");
    assert_eq!(w.load(0, EA), at(0x7000), "entry 0 still translates");
    w.cpus[0].slbia(4).expect("IH");
    assert_eq!(w.load(0, EA), Err(Fault::DataSegment { dar: EA }));
}

#[test]
fn item_73_slbia_with_ih_1_3_and_7() {
    let user = Ea::new(0x4000_0000);
    let of = |ih| {
        let mut w = world(1);
        let mut segment = w.segment;
        w.map(EA, 0x7000, P4K, PP_RW);
        assert_eq!(w.load(0, EA), at(0x7000));
        segment.class = true;
        segment.esid = user.esid(S256M);
        w.cpus[0]
            .slbmte(segment.rs(), segment.rb(0))
            .expect("slbmte");
        w.segment = segment;
        w.map(user, 0x8000, P4K, PP_RW);
        assert_eq!(w.load(0, user), Ok(Ra::new(0x8000)));
        w.cpus[0].slbia(ih).expect("IH");
        let slb = [EA, user].map(|ea| w.cpus[0].slb.slbfee(ea).is_some());
        let erat = [EA, user].map(|ea| w.cpus[0].erat.peek(ea).is_some());
        (slb, erat)
    };
    assert_eq!(
        of(1),
        ([false, true], [true, false]),
        "ERAT data of class 1"
    );
    assert_eq!(of(3), ([true, false], [true, false]), "both of class 1");
    assert_eq!(of(7), ([true, true], [false, false]), "the ERAT alone");
}

#[test]
fn item_74_a_store_that_hits_an_erat_entry_with_c_0_sets_c_in_the_table() {
    let mut w = world(1);
    let index = w.map(EA, 0x7000, P4K, PP_RW & !0x180);
    assert_eq!(w.load(0, EA), at(0x7000));
    assert!(w.r(index).r() && !w.r(index).c());
    assert_eq!(w.go(0, EA, Access::Store), at(0x7000));
    assert!(w.r(index).c());
}

#[test]
fn item_75_a_mixed_size_entry_in_the_tlb_serves_another_base_page() {
    let mut w = world(1);
    w.map(EA, 0x30_0000, P64K, PP_RW);
    let neighbour = Ea::new(EA.get() ^ 0x1000);
    assert_eq!(w.load(0, EA), Ok(Ra::new(0x30_6789)));
    assert_eq!(
        w.load(0, neighbour),
        Ok(Ra::new(0x30_7789)),
        "has no entry of its own"
    );
    w.cpus[0].tlb.invalidate_all();
    w.cpus[0].erat.invalidate_all();
    assert!(
        is_no_page(w.load(0, neighbour)),
        "the search does not find it"
    );
}

#[test]
fn item_76_a_loop_over_too_few_congruence_classes_leaves_some() {
    let mut w = world_of(1, S1T, P4K);
    for page in 0..512u64 {
        w.map(EA + page * 4096, page << 12, P4K, PP_RW);
        assert!(w.load(0, EA + page * 4096).is_ok());
    }
    let sets = |cpu: &mut Mmu, n: u64| {
        for set in 0..n {
            let scope = Scope::from_rb(set << 12 | 0xc00, true).expect("IS=3");
            cpu.tlb_invalidate_scope(&scope);
        }
        cpu.tlb.entries().count()
    };
    let cpu = &mut w.cpus[0];
    assert_eq!(sets(cpu, 128), 384, "POWER7's number of sets");
    assert_eq!(sets(cpu, 512), 0, "POWER8's");
}

#[test]
fn item_77_two_sequences_at_once_are_noticed() {
    let mut checker = SequenceChecker::default();
    assert_eq!(checker.tlbie(0), Ok(()));
    assert_eq!(checker.tlbie(0), Ok(()));
    let (first, second) = (0, 1);
    assert_eq!(checker.tlbie(1), Err(SequenceOverlap { first, second }));
    checker.ptesync(1);
    assert!(
        checker.tlbie(1).is_err(),
        "another CPU's ptesync completes nothing"
    );
    checker.ptesync(0);
    assert_eq!(checker.tlbie(1), Ok(()));
}

/// A table whose store of doubleword 1 is seen late, unless eieio stands behind it.
struct LateR<'m> {
    memory: &'m GuestMemory,
    held: Option<(Ra, u64)>,
    obeys_eieio: bool,
    /// R as a walker would see it when it first sees V=1.
    seen: Option<u64>,
}

impl TableAccess for LateR<'_> {
    type Error = MemoryError;

    fn load(&mut self, ra: Ra, _: Step) -> Result<u64, MemoryError> {
        self.memory.load_u64(ra)
    }

    fn store(&mut self, ra: Ra, value: u64, _: Step) -> Result<(), MemoryError> {
        if ra.get() & 8 != 0 {
            self.held = Some((ra, value));
            return Ok(());
        }
        self.memory.store_u64(ra, value)?;
        if value & HpteV::VALID != 0 {
            self.seen = Some(self.memory.load_u64(ra + 8)?);
        }
        Ok(())
    }

    fn compare_exchange(
        &mut self,
        ra: Ra,
        old: u64,
        new: u64,
        _: Step,
    ) -> Result<bool, MemoryError> {
        Ok(self.memory.compare_exchange_u64(ra, old, new)?.is_ok())
    }

    fn barrier(&mut self, barrier: Barrier, _: Step) -> Result<(), MemoryError> {
        let drains = match barrier {
            Barrier::Eieio => self.obeys_eieio,
            _ => true,
        };
        if drains && let Some((ra, value)) = self.held.take() {
            self.memory.store_u64(ra, value)?;
        }
        Ok(())
    }

    fn tlb_invalidate(&mut self, _: TlbInvalidate, _: Step) -> Result<(), MemoryError> {
        Ok(())
    }

    fn spin(&mut self, _: Step) -> Result<(), MemoryError> {
        Ok(())
    }
}

#[test]
fn item_78_without_eieio_v_is_seen_before_r() {
    let seen = |obeys_eieio| {
        let w = world(1);
        let r = HpteR::new(Ra::new(0x7000), P4K, P4K).with_flags(PP_RW);
        let mut table = LateR {
            memory: &w.memory,
            held: None,
            obeys_eieio,
            seen: None,
        };
        let group = w.hpt.primary(w.vpn(EA).hash(S256M, P4K));
        let slot = w.hpt.insert(&mut table, group, w.v(EA, P4K), r, false);
        assert_eq!(slot, Ok(Some(0)));
        (table.seen, r.0)
    };
    let (without, _) = seen(false);
    assert_eq!(without, Some(0), "a valid entry for real page 0");
    let (with, r) = seen(true);
    assert_eq!(with, Some(r));
}

#[test]
fn item_79_entries_of_another_partition_are_kept_and_not_used() {
    let mut w = world(1);
    let index = w.map(EA, 0x7000, P4K, PP_RW);
    assert_eq!(w.load(0, EA), at(0x7000));
    w.clear_v(index);
    w.cpus[0].set_lpid(9);
    assert!(is_no_page(w.load(0, EA)), "not those of partition 0");
    assert_eq!(w.tlbie(w.operand(EA, P4K)), 0, "nor named by a tlbie of 9");
    w.cpus[0].set_lpid(0);
    assert_eq!(w.load(0, EA), at(0x7000), "old entries after the way back");
    w.cpus[0].set_lpid(9);
    let operand = w.operand(EA, P4K);
    assert_eq!(w.cpus[0].tlb_invalidate_of(0, &operand), 1);
    w.cpus[0].set_lpid(0);
    assert!(is_no_page(w.load(0, EA)));
}

/// Software clears R while the walker is about to set C.
struct ClearsR<'m> {
    memory: &'m GuestMemory,
    whole_doubleword: bool,
    read_before: u64,
}

impl Probe for ClearsR<'_> {
    fn before_rc(&mut self, step: RcStep) {
        let (RcStep::R(ra) | RcStep::C(ra)) = step;
        self.read_before = self.memory.load_u64(ra + 8).expect("load");
        if !self.whole_doubleword {
            let byte = (self.read_before >> 8) as u8 & !1;
            self.memory.store_u8(ra + 14, byte).expect("store");
        }
    }
}

#[test]
fn item_80_a_byte_store_to_r_keeps_the_c_that_hardware_sets_a_doubleword_store_loses_it() {
    for whole_doubleword in [false, true] {
        let w = world(1);
        let index = w.map(EA, 0x7000, P4K, PP_RW & !0x080);
        let mut cpu = w.cpus[0].clone();
        let mut probe = ClearsR {
            memory: &w.memory,
            whole_doubleword,
            read_before: 0,
        };
        let state = AccessState::kernel();
        let result = cpu.translate(&w.memory, &w.hpt, EA, Access::Store, state, &mut probe);
        assert_eq!(result, at(0x7000));
        if whole_doubleword {
            // Software had read the word before hardware set C, and stores it now.
            let cleared = probe.read_before & !HpteR::R;
            let ra = w.hpt.hpte_ra(index) + 8;
            w.memory.store_u64(ra, cleared).expect("store");
        }
        let r = w.r(index);
        assert_eq!((r.r(), r.c()), (false, !whole_doubleword));
    }
}

#[test]
fn a_large_page_is_named_by_any_of_its_addresses() {
    let mut w = world_of(1, S1T, P16M);
    w.map(EA, 0, P16M, PP_RW);
    assert!(w.load(0, EA).is_ok());
    let other = Ea::new(EA.get() ^ 0x80_0000);
    assert_eq!(w.tlbie(w.operand(other, P16M)), 2);
}
