//! What other tests pass by: a guest's real mode, faults that a hypervisor takes, `stcx.` to odd storage,
//! table operations in the ISA 3.0 layout, wide invalidations, and what errors say.

use emu_mmu::*;

const EA: Ea = Ea::new(0x1234_5678);
const SIZE: SegmentSize = SegmentSize::S256M;
const PAGE: PageSize = PageSize::P4K;
const ACCESSES: [Access; 3] = [Access::Fetch, Access::Load, Access::Store];

const GUEST: AccessState = AccessState {
    hv: false,
    ..AccessState::kernel()
};
const GUEST_REAL: AccessState = AccessState {
    hv: false,
    ..AccessState::real()
};

fn world(features: MmuFeatures) -> (GuestMemory, Hpt, Mmu, Vpn) {
    let memory = GuestMemory::new(1 << 20).expect("memory");
    let hpt = Hpt::new(Ra::new(1 << 18), 11).expect("table");
    let hpt = hpt.with_format(features.hpte_format);
    let mut mmu = Mmu::with_features(&MmuGeometry::POWER8, features).expect("geometry");
    let segment = SlbEntry::kernel(EA, Vsid::new(0x77), SIZE, PAGE);
    mmu.slbmte(segment.rs(), segment.rb(5)).expect("slbmte");
    (memory, hpt, mmu, Vpn::from_ea(segment.vsid, EA, SIZE))
}

fn map(memory: &GuestMemory, hpt: &Hpt, vpn: Vpn, size: SegmentSize, flags: u64) -> HpteIndex {
    let v = HpteV::new(vpn, size, PAGE);
    let r = HpteR::new(Ra::new(0x7000), PAGE, PAGE).with_flags(flags);
    let group = hpt.primary(vpn.hash(size, PAGE));
    let slot = hpt.insert(&mut Direct::new(memory, &mut |_| {}), group, v, r, false);
    group.slot(slot.expect("memory").expect("room"))
}

#[test]
fn a_guests_page_faults_go_to_the_hypervisor_if_vpm1_says_so() {
    let (memory, hpt, mut mmu, _) = world(MmuFeatures::POWER8);
    let mut go = |lpcr: u64, access| {
        mmu.registers.lpcr = Lpcr(lpcr);
        mmu.translate(&memory, &hpt, EA, access, GUEST, &mut ())
            .expect_err("no page")
    };
    let vectors = |fault: Fault| (fault.vector(), fault.ea());
    assert_eq!(
        ACCESSES.map(|a| vectors(go(0, a))),
        [0x400, 0x300, 0x300].map(|v| (v, EA))
    );
    let taken = ACCESSES.map(|a| go(Lpcr::VPM1, a));
    assert_eq!(taken.map(vectors), [0xE20, 0xE00, 0xE00].map(|v| (v, EA)));
    assert_eq!(
        taken.map(|fault| fault.to_string()),
        [
            "hypervisor instruction storage interrupt at 0x12345678, HSRR1 0x40000000",
            "hypervisor data storage interrupt at 0x12345678, HDSISR 0x40000000",
            "hypervisor data storage interrupt at 0x12345678, HDSISR 0x42000000",
        ]
    );
}

#[test]
fn real_mode_of_a_guest_ends_at_rmls() {
    let (memory, hpt, mut mmu, _) = world(MmuFeatures::POWER8);
    for (code, limit) in [
        (0, 256 << 30),
        (1, 16 << 30),
        (2, 1 << 30),
        (3, 64 << 20),
        (4, 256 << 20),
        (7, 128 << 20),
        (8, 32 << 20),
    ] {
        mmu.registers.lpcr = Lpcr(code << 26);
        mmu.registers.rmor = 1 << 40;
        for access in ACCESSES {
            let mut at =
                |ea| mmu.translate(&memory, &hpt, Ea::new(ea), access, GUEST_REAL, &mut ());
            assert_eq!(at(limit - 4), Ok(Ra::new(1 << 40 | (limit - 4))));
            let fault = at(limit).expect_err("past the limit");
            let ea = Ea::new(limit);
            let expected = match access {
                Access::Fetch => Fault::InstructionStorage {
                    ea,
                    srr1: 0x0800_0000,
                },
                Access::Load => Fault::DataStorage {
                    dar: ea,
                    dsisr: 0x0800_0000,
                },
                Access::Store => Fault::DataStorage {
                    dar: ea,
                    dsisr: 0x0a00_0000,
                },
            };
            assert_eq!(fault, expected);
        }
    }
}

#[test]
fn real_mode_of_a_guest_through_the_vrma() {
    for features in [MmuFeatures::POWER8, MmuFeatures::POWER9] {
        let (memory, hpt, mut mmu, _) = world(features);
        mmu.registers.lpcr = Lpcr(Lpcr::VPM0);
        let size = SegmentSize::S1T;
        let vpn = Vpn::from_ea(Vsid::new(0x1FF_FFFF), Ea::new(0x5000), size);
        // Key 0, whatever the SLB says; EA bits 0:23 do not count.
        map(&memory, &hpt, vpn, size, 0x190);
        let mut go =
            |ea, access| mmu.translate(&memory, &hpt, Ea::new(ea), access, GUEST_REAL, &mut ());
        assert_eq!(go(0xffff_ff00_0000_5008, Access::Load), Ok(Ra::new(0x7008)));
        let vectors = ACCESSES.map(|a| go(0x6000, a).expect_err("no page").vector());
        assert_eq!(vectors, [0xE20, 0xE00, 0xE00]);
    }
    let (memory, hpt, mut mmu, _) = world(MmuFeatures::POWER8);
    mmu.registers.lpcr = Lpcr(Lpcr::VPM0 | 1 << 47);
    let reserved = mmu.translate(&memory, &hpt, Ea::new(0), Access::Load, GUEST_REAL, &mut ());
    assert!(reserved.is_err(), "L||LP = 001");
}

#[test]
fn stcx_and_larx_to_storage_that_is_not_cached() {
    for (flags, odd) in [(0x192, false), (0x1b2, true), (0x1d2, true)] {
        let (memory, hpt, mut mmu, vpn) = world(MmuFeatures::POWER8);
        map(&memory, &hpt, vpn, SIZE, flags);
        let state = AccessState::kernel();
        let dar = EA;
        let mut go = |storage| mmu.access(&memory, &hpt, EA, storage, state, &mut ());
        let denied = |dsisr| Err(Fault::DataStorage { dar, dsisr });
        let (larx, stcx) = (
            go(Storage::LoadReserve(8)),
            go(Storage::StoreConditional(8)),
        );
        if odd {
            assert_eq!((larx, stcx), (denied(0x0400_0000), denied(0x0600_0000)));
        } else {
            assert!(larx.is_ok() && stcx.is_ok());
        }
    }
}

#[test]
fn table_operations_in_the_isa_3_0_layout() {
    let (memory, hpt, mut mmu, vpn) = world(MmuFeatures::POWER9);
    let large = Vpn::from_ea(Vsid::new(0x77), Ea::new(0x5000), SegmentSize::S1T);
    let index = map(&memory, &hpt, vpn, SIZE, 0x192);
    map(&memory, &hpt, large, SegmentSize::S1T, 0x192);
    let mut nothing = |_| {};
    let a = &mut Direct::new(&memory, &mut nothing);
    assert_eq!(hpt.find(a, vpn, SIZE, PAGE), Ok(Some(index)));
    assert_eq!(
        hpt.find(a, vpn, SegmentSize::S1T, PAGE),
        Ok(None),
        "B is in doubleword 1"
    );
    assert!(
        hpt.find(a, large, SegmentSize::S1T, PAGE)
            .expect("memory")
            .is_some()
    );
    let order = CompareOrder::BeforeLock;
    let (want, other) = (
        HpteV::new(vpn, SIZE, PAGE),
        HpteV::new(vpn, SegmentSize::S1T, PAGE),
    );
    assert_eq!(hpt.update_pp(a, index, other, 3, order), Ok(false));
    assert_eq!(hpt.update_pp(a, index, want, 3, order), Ok(true));
    let state = AccessState::user();
    let mut go = |access| mmu.translate(&memory, &hpt, EA, access, state, &mut ());
    assert!(
        go(Access::Load).is_ok() && go(Access::Store).is_err(),
        "pp 011"
    );
    assert_eq!(hpt.invalidate(a, index, want, order), Ok(true));
    assert_eq!(hpt.count_valid(&memory), Ok(1));
}

#[test]
fn wide_invalidations_and_partitions() {
    let (memory, hpt, mut mmu, vpn) = world(MmuFeatures::POWER9);
    map(&memory, &hpt, vpn, SIZE, 0x192);
    let load = |mmu: &mut Mmu| {
        let state = AccessState::kernel();
        mmu.translate(&memory, &hpt, EA, Access::Load, state, &mut ())
    };
    let operand = TlbInvalidate {
        vpn,
        segment: SIZE,
        base: PAGE,
        actual: PAGE,
        local: false,
    };
    load(&mut mmu).expect("mapped");
    assert_eq!(mmu.tlb_invalidate_scope(&Scope::Process), 0);
    assert_eq!(mmu.tlb_invalidate_of(7, &operand), 0, "another partition's");
    assert_eq!(mmu.tlb_invalidate_of(0, &operand), 2, "TLB and ERAT");
    for all_lpids in [false, true] {
        load(&mut mmu).expect("mapped");
        assert_eq!(mmu.tlb_invalidate_scope(&Scope::All { all_lpids }), 2);
    }
    load(&mut mmu).expect("mapped");
    assert_eq!(mmu.tlb_invalidate_scope(&Scope::Page(operand)), 2);
    assert_eq!(mmu.tlb.geometry(), MmuGeometry::POWER8.tlb);
    assert_eq!(mmu.features(), &MmuFeatures::POWER9);
}

#[test]
fn what_a_cpu_lacks_is_refused() {
    let (.., mut mmu, _) = world(MmuFeatures::PPC970);
    let entry = |size, page| SlbEntry::kernel(EA, Vsid::new(1), size, page);
    let mut go = |e: SlbEntry| mmu.slbmte(e.rs(), e.rb(0));
    let one_t = go(entry(SegmentSize::S1T, PAGE));
    assert_eq!(one_t, Err(SlbError::SegmentSize { b: 1 }));
    let page = go(entry(SIZE, PageSize::P64K));
    assert_eq!(page, Err(SlbError::PageSize { llp: 5 }));
    let radix = Hpt::from_partition_entry(1 << 63).expect_err("HR");
    assert!(radix.to_string().contains("radix"));
    assert!(Hpt::from_partition_entry(29).is_err(), "HTABSIZE");
    let hpt = Hpt::new(Ra::new(1 << 18), 11).expect("table");
    assert_eq!(hpt.index_of(Ra::new(0)), None);
}

#[test]
fn what_faults_and_calls_are_called() {
    let error = MemoryError::OutOfBounds {
        ra: Ra::new(0x10),
        bytes: 8,
    };
    let check = Fault::MachineCheck { dar: EA, error };
    assert_eq!(
        check.to_string(),
        "machine check at 0x12345678: real address 0x10 + 8 bytes is outside guest memory"
    );
    let multihit = Fault::SlbMultihit { dar: EA };
    assert_eq!(
        multihit.to_string(),
        "machine check at 0x12345678: SLB multihit"
    );
    assert_eq!((multihit.ea(), multihit.vector()), (EA, 0x200));
    let names = Hcall::ALL.map(Hcall::name);
    assert!(names.iter().all(|name| name.starts_with("H_")));
    assert_eq!(
        (names[3], names[10]),
        ("H_CLEAR_MOD", "H_RESIZE_HPT_COMMIT")
    );
}
