use super::*;
use crate::addr::{GroupIndex, PageSize, SegmentSize, Vpn, Vsid};
use crate::fault::{CAUSE_NO_EXECUTE, CAUSE_NO_HPTE, CAUSE_PROTECTION, CAUSE_STORE};
use crate::hpt::Direct;
use crate::hpte::{HpteR, HpteV};
use crate::invalidate::TlbInvalidate;
use crate::memory::GuestMemory;
use crate::memory::MemoryError;
use crate::slb::SlbEntry;

use PageSize::{P4K, P16M, P64K};
use SegmentSize::{S1T, S256M};

const EA: Ea = Ea::new(0x1_2345_6789);

#[derive(Default)]
struct Last(Option<Walk>);

impl Probe for Last {
    fn walk(&mut self, walk: &Walk) {
        self.0 = Some(*walk);
    }
}

/// One CPU, one table, one segment of user class at `EA`.
struct World {
    memory: GuestMemory,
    hpt: Hpt,
    mmu: Mmu,
    segment: SlbEntry,
    last: Last,
}

fn world(segment: SegmentSize, page: PageSize) -> World {
    let memory = GuestMemory::new(1 << 20).expect("memory");
    let hpt = Hpt::new(Ra::new(1 << 18), 11).expect("table");
    let mut mmu = Mmu::new(&MmuGeometry::PPC970).expect("geometry");
    let mut segment = SlbEntry::kernel(EA, Vsid::new(0x123_4567), segment, page);
    segment.class = true;
    mmu.slbmte(segment.rs(), segment.rb(3)).expect("slbmte");
    World {
        memory,
        hpt,
        mmu,
        segment,
        last: Last::default(),
    }
}

impl World {
    fn vpn(&self, ea: Ea) -> Vpn {
        Vpn::from_ea(self.segment.vsid, ea, self.segment.segment)
    }

    /// Maps the base page of `ea`; returns the address of the entry.
    fn map(&mut self, ea: Ea, ra: u64, actual: PageSize, flags: u64, secondary: bool) -> Ra {
        let (vpn, base) = (self.vpn(ea), self.segment.page);
        let mut v = HpteV::new(vpn, self.segment.segment, base);
        if actual != P4K {
            v = v.with_large();
        }
        let r = HpteR::new(Ra::new(ra), base, actual).with_flags(flags);
        let hash = vpn.hash(self.segment.segment, base);
        let group: GroupIndex = if secondary {
            self.hpt.secondary(hash)
        } else {
            self.hpt.primary(hash)
        };
        let mut tlb = |_| {};
        let mut a = Direct::new(&self.memory, &mut tlb);
        let slot = self
            .hpt
            .insert(&mut a, group, v, r, secondary)
            .expect("insert")
            .expect("free");
        self.hpt.hpte_ra(group.slot(slot))
    }

    fn go(&mut self, ea: Ea, access: Access, state: AccessState) -> Result<Ra, Fault> {
        self.mmu
            .translate(&self.memory, &self.hpt, ea, access, state, &mut self.last)
    }

    fn load(&mut self, ea: Ea) -> Result<Ra, Fault> {
        self.go(ea, Access::Load, AccessState::kernel())
    }

    fn store(&mut self, ea: Ea) -> Result<Ra, Fault> {
        self.go(ea, Access::Store, AccessState::kernel())
    }

    fn walk(&self) -> Walk {
        self.last.0.expect("a walk")
    }

    fn operand(&self, ea: Ea, actual: PageSize) -> TlbInvalidate {
        let (segment, base) = (self.segment.segment, self.segment.page);
        TlbInvalidate {
            vpn: self.vpn(ea),
            segment,
            base,
            actual,
            local: false,
        }
    }
}

#[test]
fn levels_in_turn() {
    for segment in [S256M, S1T] {
        let mut w = world(segment, P4K);
        w.map(EA, 0x7000, P4K, 0x192, true);
        assert_eq!(w.load(EA), Ok(Ra::new(0x7789)));
        let walk = w.walk();
        assert!(walk.slb_hit && !walk.erat_hit && !walk.tlb_hit && !walk.r_written);
        assert_eq!((walk.groups_read, walk.entries_compared), (2, 9));
        assert_eq!(walk.vpn, Some(w.vpn(EA)));
        assert_eq!(w.load(EA), Ok(Ra::new(0x7789)));
        assert!(w.walk().erat_hit && !w.walk().slb_hit && w.walk().vpn == Some(w.vpn(EA)));
        w.mmu.erat.invalidate_all();
        assert_eq!(w.load(EA), Ok(Ra::new(0x7789)));
        assert!(w.walk().tlb_hit && w.walk().groups_read == 0);
    }
}

#[test]
fn page_sizes() {
    for (base, actual) in [(P4K, P4K), (P4K, P64K), (P64K, P64K), (P64K, P16M)] {
        let mut w = world(S256M, base);
        w.map(EA, 0xff00_0000, actual, 0x192, false);
        let offset = EA.get() & (actual.bytes() - 1);
        assert_eq!(
            w.load(EA),
            Ok(Ra::new(0xff00_0000 | offset)),
            "{base:?} {actual:?}"
        );
        let next = EA + base.bytes();
        if base == actual {
            let fault = Fault::DataStorage {
                dar: next,
                dsisr: CAUSE_NO_HPTE,
            };
            assert_eq!(w.load(next), Err(fault));
        } else {
            let offset = next.get() & (actual.bytes() - 1);
            assert_eq!(
                w.load(next),
                Ok(Ra::new(0xff00_0000 | offset)),
                "the TLB serves the actual page"
            );
        }
    }
    let mut w = world(S256M, P16M);
    w.map(EA, 0x300_0000, P16M, 0x192, false);
    assert_eq!(w.load(EA), Ok(Ra::new(0x345_6789)));
}

#[test]
fn mpss_neighbour_has_its_own_entry_in_the_table() {
    let mut w = world(S256M, P4K);
    w.map(EA, 0xff00_0000, P64K, 0x192, false);
    let next = EA + 0x1000;
    assert_eq!(
        w.load(next),
        Err(Fault::DataStorage {
            dar: next,
            dsisr: CAUSE_NO_HPTE
        })
    );
}

#[test]
fn faults() {
    let mut w = world(S256M, P4K);
    let k = AccessState::kernel();
    let far = Ea::new(0x9_0000_0000);
    assert_eq!(w.load(far), Err(Fault::DataSegment { dar: far }));
    assert_eq!(
        w.go(far, Access::Fetch, k),
        Err(Fault::InstructionSegment { ea: far })
    );
    assert_eq!(
        w.store(EA),
        Err(Fault::DataStorage {
            dar: EA,
            dsisr: CAUSE_NO_HPTE | CAUSE_STORE
        })
    );
    assert_eq!((w.walk().groups_read, w.walk().entries_compared), (2, 16));
    assert_eq!(
        w.go(EA, Access::Fetch, k),
        Err(Fault::InstructionStorage {
            ea: EA,
            srr1: CAUSE_NO_HPTE
        })
    );
    let hpte = w.map(EA, 0x7000, P4K, HpteR::N, false);
    assert_eq!(
        w.go(EA, Access::Fetch, k),
        Err(Fault::InstructionStorage {
            ea: EA,
            srr1: CAUSE_NO_EXECUTE
        })
    );
    let user = AccessState::user();
    let denied = Err(Fault::DataStorage {
        dar: EA,
        dsisr: CAUSE_PROTECTION,
    });
    assert_eq!(w.go(EA, Access::Load, user), denied);
    let r = HpteR(w.memory.load_u64(hpte + 8).expect("load"));
    assert!(!r.r() && !r.c(), "a refused access sets nothing");
    assert_eq!(w.load(EA), Ok(Ra::new(0x7789)));
    for _ in 0..2 {
        assert_eq!(
            w.go(EA, Access::Load, user),
            denied,
            "from the ERAT, then from the TLB"
        );
        w.mmu.erat.invalidate_all();
    }
    assert_eq!(
        [far].map(|ea| Fault::DataSegment { dar: ea }.vector()),
        [0x380]
    );
    let vectors = [
        w.load(far),
        w.store(EA + 0x1000),
        w.go(far, Access::Fetch, k),
        w.go(EA, Access::Fetch, k),
    ];
    assert_eq!(
        vectors.map(|f| f.expect_err("fault").vector()),
        [0x380, 0x300, 0x480, 0x400]
    );
}

#[test]
fn table_outside_memory_is_a_machine_check() {
    let mut w = world(S256M, P4K);
    w.hpt = Hpt::new(Ra::new(1 << 30), 11).expect("table");
    let fault = w.load(EA).expect_err("fault");
    let Fault::MachineCheck {
        dar: EA,
        error: MemoryError::OutOfBounds { .. },
    } = fault
    else {
        panic!("{fault:?}");
    };
    assert_eq!((fault.vector(), fault.ea()), (0x200, EA));
}

#[test]
fn reference_and_change() {
    let mut w = world(S256M, P4K);
    let hpte = w.map(EA, 0xabc7_7000, P4K, 2 | 0xe00, false);
    let plain = w.memory.load_u64(hpte + 8).expect("load");
    assert!(w.load(EA).is_ok() && w.walk().r_written && !w.walk().c_written);
    assert_eq!(w.memory.load_u64(hpte + 8), Ok(plain | HpteR::R));
    // The ERAT and the TLB hold C=0: a store goes back to the table, once.
    assert!(w.store(EA).is_ok());
    assert!(
        w.walk().c_written && !w.walk().r_written && w.walk().groups_read == 1 && !w.walk().tlb_hit
    );
    assert_eq!(w.memory.load_u64(hpte + 8), Ok(plain | HpteR::R | HpteR::C));
    assert!(w.store(EA).is_ok() && w.walk().erat_hit);
    w.mmu.erat.invalidate_all();
    assert!(w.store(EA).is_ok() && w.walk().tlb_hit && w.walk().groups_read == 0);
}

#[test]
fn store_with_c_clear_sees_that_the_entry_went() {
    let mut w = world(S256M, P4K);
    let hpte = w.map(EA, 0x7000, P4K, 2, false);
    assert!(w.load(EA).is_ok());
    w.memory.store_u64(hpte, 0).expect("clear V");
    assert!(w.load(EA).is_ok(), "no tlbie: the translation lives on");
    assert_eq!(
        w.store(EA),
        Err(Fault::DataStorage {
            dar: EA,
            dsisr: CAUSE_NO_HPTE | CAUSE_STORE
        })
    );
    assert!(w.load(EA).is_err());
}

#[test]
fn tlbie_ends_a_translation() {
    let mut w = world(S1T, P4K);
    let hpte = w.map(EA, 0x7000, P4K, 0x192, false);
    assert!(w.load(EA).is_ok() && w.go(EA, Access::Fetch, AccessState::kernel()).is_ok());
    w.memory.store_u64(hpte, 0).expect("clear V");
    assert!(w.load(EA).is_ok());
    assert_eq!(w.mmu.tlb_invalidate(&w.operand(EA + 0x1000, P4K)), 0);
    assert_eq!(w.mmu.tlb_invalidate(&w.operand(EA, P64K)), 0);
    assert_eq!(
        w.mmu.tlb_invalidate(&w.operand(EA, P4K)),
        3,
        "TLB and both ERATs"
    );
    assert!(w.load(EA).is_err());
}

#[test]
fn erat_outlives_slbmte_and_dies_by_slbie() {
    let mut w = world(S256M, P4K);
    w.map(EA, 0x7000, P4K, 0x192, false);
    assert!(w.load(EA).is_ok());
    let other = SlbEntry::kernel(Ea::new(0x5_0000_0000), Vsid::new(5), S256M, P4K);
    w.mmu.slbmte(other.rs(), other.rb(3)).expect("slbmte");
    assert!(w.load(EA).is_ok() && w.walk().erat_hit, "stale ERAT");
    assert_eq!(w.mmu.slbie(EA, false, S256M), 0, "other class");
    assert_eq!(w.mmu.slbie(EA, true, S256M), 1);
    assert_eq!(w.load(EA), Err(Fault::DataSegment { dar: EA }));
}

#[test]
fn slbia_and_the_erats() {
    for (ih, erat_left) in [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0), (6, 0), (7, 0)] {
        let mut w = world(S256M, P4K);
        w.map(EA, 0x7000, P4K, 0x192, false);
        let kernel = SlbEntry::kernel(Ea::new(0xc000_0000_0000_0000), Vsid::new(9), S256M, P4K);
        w.mmu.slbmte(kernel.rs(), kernel.rb(0)).expect("slbmte");
        w.segment = kernel;
        let kernel_ea = Ea::new(0xc000_0000_0000_0000);
        w.map(kernel_ea, 0x8000, P4K, 0x192, false);
        assert!(w.load(EA).is_ok() && w.load(kernel_ea).is_ok());
        w.mmu.slbia(ih).expect("slbia");
        let left: Vec<_> = w.mmu.erat.entries().map(|e| e.class).collect();
        assert_eq!(left, vec![false; erat_left], "IH={ih}");
        assert!(w.mmu.erat.peek(EA).is_none());
        assert_eq!(w.mmu.tlb.entries().count(), 2, "the TLB keeps its entries");
    }
}

#[test]
fn real_mode_and_32_bits() {
    let mut w = world(S256M, P4K);
    let real = AccessState::real();
    assert_eq!(
        w.go(Ea::new(0xc000_0000_0000_1234), Access::Load, real),
        Ok(Ra::new(0x1234))
    );
    assert!(w.last.0.is_none());
    let fetch_only = AccessState {
        ir: false,
        ..AccessState::kernel()
    };
    assert_eq!(w.go(EA, Access::Fetch, fetch_only), Ok(Ra::new(EA.get())));
    assert!(w.go(EA, Access::Load, fetch_only).is_err());
    w.map(EA, 0x7000, P4K, 0x192, false);
    let narrow = AccessState {
        sf: false,
        ..AccessState::kernel()
    };
    let fault = Fault::DataSegment {
        dar: Ea::new(0x2345_6789),
    };
    assert_eq!(w.go(EA, Access::Load, narrow), Err(fault));
}

#[test]
fn another_base_size_does_not_hit() {
    let mut w = world(S256M, P64K);
    w.map(EA, 0x7_0000, P64K, 0x192, false);
    assert!(w.load(EA).is_ok());
    // The segment is demoted; the old entry stays in table and TLB.
    w.mmu.slbie(EA, true, S256M);
    w.segment.page = P4K;
    w.mmu
        .slbmte(w.segment.rs(), w.segment.rb(3))
        .expect("slbmte");
    assert!(w.load(EA).is_err());
    w.map(EA, 0x9000, P4K, 0x192, false);
    assert_eq!(w.load(EA), Ok(Ra::new(0x9789)));
}

#[test]
fn geometry_is_checked() {
    let g = MmuGeometry {
        slb_entries: 0,
        ..MmuGeometry::POWER8
    };
    assert_eq!(Mmu::new(&g).err(), Some(GeometryError::Slb { entries: 0 }));
    assert!(Mmu::new(&MmuGeometry::POWER8).is_ok());
}
