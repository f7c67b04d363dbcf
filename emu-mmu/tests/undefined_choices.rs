//! What the architecture leaves undefined, decided by [`Choices`]: several entries for one address, in
//! the SLB and in the table.

use emu_mmu::*;

const EA: Ea = Ea::new(0x1234_5678);
const SIZE: SegmentSize = SegmentSize::S256M;
const PAGE: PageSize = PageSize::P4K;

struct World {
    memory: GuestMemory,
    hpt: Hpt,
    mmu: Mmu,
    vpn: Vpn,
}

fn world(choices: Choices) -> World {
    let memory = GuestMemory::new(1 << 20).expect("memory");
    let hpt = Hpt::new(Ra::new(1 << 18), 11).expect("table");
    let mut mmu = Mmu::new(&MmuGeometry::POWER8).expect("geometry");
    mmu.choices = choices;
    let segment = SlbEntry::kernel(EA, Vsid::new(0x77), SIZE, PAGE);
    mmu.slbmte(segment.rs(), segment.rb(5)).expect("slbmte");
    let vpn = Vpn::from_ea(segment.vsid, EA, SIZE);
    World {
        memory,
        hpt,
        mmu,
        vpn,
    }
}

impl World {
    fn map(&self, page: u64, slot: u8, secondary: bool) {
        let hash = self.vpn.hash(SIZE, PAGE);
        let v = HpteV::new(self.vpn, SIZE, PAGE).with_valid();
        let (group, v) = match secondary {
            false => (self.hpt.primary(hash), v),
            true => (self.hpt.secondary(hash), v.with_secondary()),
        };
        let r = HpteR::new(Ra::new(page << 12), PAGE, PAGE).with_flags(0x192);
        let index = group.slot(slot).0;
        self.hpt
            .put(&self.memory, index, Hpte { v, r })
            .expect("put");
    }

    fn load(&mut self) -> Result<Ra, Fault> {
        let state = AccessState::kernel();
        let (memory, hpt) = (&self.memory, &self.hpt);
        self.mmu
            .translate(memory, hpt, EA, Access::Load, state, &mut ())
    }
}

const MACHINE_CHECK: Choices = Choices {
    hpt_multihit: HptMultihit::MachineCheck,
    ..Choices {
        slb_multihit: SlbMultihit::MachineCheck,
        ..Choices::QEMU
    }
};

#[test]
fn several_table_entries_in_one_group_or_two() {
    for (slots, first) in [
        ([(2, false), (6, false)], 2),
        ([(6, false), (2, true)], 6),
        ([(0, true), (7, true)], 0),
    ] {
        let ours = [(Choices::default(), false), (MACHINE_CHECK, true)];
        for (choices, machine_check) in ours {
            let mut w = world(choices);
            for (slot, secondary) in slots {
                w.map(u64::from(slot) + 1, slot, secondary);
            }
            let taken = Ra::new((first + 1) << 12 | 0x678);
            let multihit = Fault::TlbMultihit { dar: EA };
            let expected = if machine_check {
                Err(multihit)
            } else {
                Ok(taken)
            };
            assert_eq!(w.load(), expected, "{slots:?}");
            let rc = w.hpt.entries(&w.memory).map(|e| e.expect("entry").1);
            let referenced = rc.filter(|e| e.v.is_valid() && e.r.r()).count();
            assert_eq!(referenced, 2, "both had R from the start, and none lost it");
        }
    }
}

#[test]
fn one_entry_is_no_multihit() {
    for secondary in [false, true] {
        let mut w = world(MACHINE_CHECK);
        w.map(3, 4, secondary);
        // A neighbour in the same group: another page.
        w.vpn = w.vpn.wrapping_add(1 << 11);
        w.map(9, 5, secondary);
        assert_eq!(w.load(), Ok(Ra::new(0x3678)));
    }
    assert!(matches!(
        world(MACHINE_CHECK).load(),
        Err(Fault::DataStorage { .. })
    ));
}

#[test]
fn identical_entries_are_several_too() {
    let mut w = world(MACHINE_CHECK);
    w.map(3, 4, false);
    w.map(3, 5, false);
    let fault = w.load().expect_err("a multihit");
    assert_eq!((fault.vector(), fault.ea()), (0x200, EA));
    assert_eq!(
        fault.to_string(),
        "machine check at 0x12345678: TLB multihit"
    );
}

#[test]
fn an_explanation_shows_both_groups() {
    for (choices, groups) in [(Choices::default(), 1), (MACHINE_CHECK, 2)] {
        let w = world(choices);
        w.map(3, 4, false);
        w.map(4, 5, true);
        let state = AccessState::kernel();
        let told = w
            .mmu
            .explain(&w.memory, &w.hpt, EA, Access::Load, state)
            .expect("told");
        let read = told.search.expect("searched").groups;
        assert_eq!(read.len(), groups);
        let verdict = read.last().map(|g| g.entries[5].1);
        if groups == 2 {
            assert_eq!(verdict, Some(EntryVerdict::MatchesToo(PAGE)));
            assert_eq!(told.result, Err(Fault::TlbMultihit { dar: EA }));
        }
    }
}

#[test]
fn several_slb_entries() {
    for (choices, fault) in [(Choices::default(), false), (MACHINE_CHECK, true)] {
        let mut w = world(choices);
        w.map(3, 4, false);
        let again = SlbEntry::kernel(EA, Vsid::new(0x99), SIZE, PAGE);
        w.mmu.slbmte(again.rs(), again.rb(9)).expect("slbmte");
        let multihit = Fault::SlbMultihit { dar: EA };
        let expected = if fault {
            Err(multihit)
        } else {
            Ok(Ra::new(0x3678))
        };
        assert_eq!(w.load(), expected);
    }
}

#[test]
fn slbieg_leaves_what_software_wrote() {
    let mut w = world(Choices::default());
    w.map(3, 4, false);
    let segment = SlbieOperand {
        ea: EA,
        class: false,
        segment: SIZE,
    };
    let operand = SlbiegOperand {
        pid: 0,
        lpid: 0,
        segment,
    };
    assert_eq!(w.mmu.slbieg(&operand), 0);
    assert_eq!(w.load(), Ok(Ra::new(0x3678)));
    let SlbieOperand { ea, class, segment } = segment;
    assert_eq!(
        w.mmu.slbie(ea, class, segment),
        2,
        "the SLB entry and the ERAT's"
    );
}

/// A 64 KB page of a 4 KB segment, one of whose base pages is in the table.
#[test]
fn a_mixed_page_serves_its_other_base_pages_or_not() {
    for (choices, reaches) in [(Choices::default(), true), (Choices::QEMU, false)] {
        let mut w = world(choices);
        let large = PageSize::P64K;
        let hash = w.vpn.hash(SIZE, PAGE);
        let v = HpteV::new(w.vpn, SIZE, PAGE).with_valid().with_large();
        let r = HpteR::new(Ra::new(0x7_0000), PAGE, large).with_flags(0x192);
        let index = w.hpt.primary(hash).slot(2).0;
        w.hpt.put(&w.memory, index, Hpte { v, r }).expect("put");
        let state = AccessState::kernel();
        // The last bytes of the base page, and of the next one.
        let ea = Ea::new(EA.get() | 0xffc);
        let (memory, hpt) = (&w.memory, &w.hpt);
        let crossing = w
            .mmu
            .access(memory, hpt, ea, Storage::Load(8), state, &mut ());
        if reaches {
            let next_page = Some(Ra::new(0x7_6000));
            let ra = Ra::new(0x7_5ffc);
            assert_eq!(crossing, Ok(Some(Accessed { ra, next_page })));
        } else {
            let next = ea + 4;
            let dsisr = 0x4000_0000;
            assert_eq!(crossing, Err(Fault::DataStorage { dar: next, dsisr }));
        }
    }
}
