//! The host's short way to an ERAT hit changes nothing but time.

use super::*;
use crate::GuestMemory;
use crate::addr::{PageSize, SegmentSize, Vpn, Vsid};
use crate::hpt::{Batch, Exclusive, Mapping, Pages};
use crate::hpte::HpteR;
use crate::invalidate::TlbInvalidate;
use crate::slb::SlbEntry;
use proptest::prelude::*;

const PAGES: Pages = Pages::new(SegmentSize::S256M, PageSize::P4K);
const VSIDS: [u64; 2] = [0x12_3456, 0x65_4321];

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Segment, page, load or store, problem state.
    Access(u64, u64, bool, bool),
    Map(u64, u64, u64),
    Unmap(u64, u64),
    Tlbie(u64, u64),
    Slbie(u64),
    Slbia,
    /// Fills the segment's SLB entry anew.
    Slbmte(u64),
    /// Problem-state accesses to key 0 forbidden, or not.
    Amr(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let page = || (0u64..2, 0u64..24);
    prop_oneof![
        12 => (page(), any::<bool>(), any::<bool>())
            .prop_map(|((s, p), store, pr)| Op::Access(s, p, store, pr)),
        3 => (page(), 0u64..4).prop_map(|((s, p), pp)| Op::Map(s, p, pp)),
        1 => page().prop_map(|(s, p)| Op::Unmap(s, p)),
        2 => page().prop_map(|(s, p)| Op::Tlbie(s, p)),
        1 => (0u64..2).prop_map(Op::Slbie),
        1 => Just(Op::Slbia),
        1 => (0u64..2).prop_map(Op::Slbmte),
        1 => any::<bool>().prop_map(Op::Amr),
    ]
}

fn ea(segment: u64, page: u64) -> Ea {
    // Pages far apart too, so that rows of the array collide.
    Ea::new(0xd000_0000_0000_0000 | segment << 28 | ((page * 0x41) & 0xffff) << 12)
}

fn vpn(segment: u64, page: u64) -> Vpn {
    let vsid = Vsid::new(VSIDS[segment as usize]);
    Vpn::from_ea(vsid, ea(segment, page), SegmentSize::S256M)
}

/// What one access told.
#[derive(Debug, Default, PartialEq)]
struct Told(Vec<Walk>);

impl Probe for Told {
    fn walk(&mut self, walk: &Walk) {
        if !walk.erat_hit {
            self.0.push(*walk);
        }
    }
}

fn slbmte(mmu: &mut Mmu, segment: u64) {
    let entry = SlbEntry {
        kp: true,
        ..SlbEntry::kernel(
            ea(segment, 0),
            Vsid::new(VSIDS[segment as usize]),
            SegmentSize::S256M,
            PageSize::P4K,
        )
    };
    mmu.slbmte(entry.rs(), entry.rb(segment))
        .expect("a legal entry");
}

fn change(batch: &mut Batch<'_, Exclusive>, op: Op) {
    match op {
        Op::Map(segment, page, pp) => {
            let vpn = vpn(segment, page);
            batch.invalidate(PAGES, &[vpn], |_, _| ());
            let ra = Ra::new((segment << 8 | page) << 12);
            let r = HpteR::new(ra, PAGES.base, PAGES.base).with_flags(pp);
            batch.insert(PAGES, &[Mapping { vpn, r }], |_, _| ());
        }
        Op::Unmap(segment, page) => batch.invalidate(PAGES, &[vpn(segment, page)], |_, _| ()),
        _ => {}
    }
}

proptest! {
    #[test]
    fn quick_hits_change_nothing(
        ops in prop::collection::vec(op(), 1..300),
        ways in 1u32..4,
        policy in prop::sample::select(&[
            crate::Replacement::Lru,
            crate::Replacement::TreePlru,
            crate::Replacement::RoundRobin,
        ]),
    ) {
        // One table for each: an access sets R and C.
        let memory = || GuestMemory::new(1 << 21).expect("memory");
        let mut memories = [memory(), memory()];
        let hpt = Hpt::new(Ra::new(1 << 20), 11).expect("table");
        let shape = crate::TlbGeometry { sets: 4, ways };
        let geometry = MmuGeometry { erat: shape, erat_replacement: policy, ..MmuGeometry::POWER8 };
        let mut with = Mmu::new(&geometry).expect("legal");
        let mut without = with.clone();
        without.set_quick_hits(false);
        for op in ops {
            let mut results = Vec::new();
            for (mmu, memory) in [&mut with, &mut without].into_iter().zip(&mut memories) {
                change(&mut hpt.exclusive(memory).expect("inside"), op);
                let mut told = Told::default();
                let mut result = None;
                match op {
                    Op::Access(segment, page, store, pr) => {
                        let access = if store { Access::Store } else { Access::Load };
                        let state = AccessState { pr, ..AccessState::kernel() };
                        let ea = ea(segment, page) + 8 * page;
                        result = Some(match mmu.quick_hit(ea, access, state) {
                            Some(ra) => Ok(ra),
                            None => mmu.translate(memory, &hpt, ea, access, state, &mut told),
                        });
                    }
                    Op::Tlbie(segment, page) => {
                        let operand = TlbInvalidate {
                            vpn: vpn(segment, page),
                            segment: SegmentSize::S256M,
                            base: PageSize::P4K,
                            actual: PageSize::P4K,
                            local: false,
                        };
                        told.0.extend((0..mmu.tlb_invalidate(&operand)).map(|_| Walk::new(ea(0, 0))));
                    }
                    Op::Slbie(segment) => {
                        mmu.slbie(ea(segment, 0), false, SegmentSize::S256M);
                    }
                    Op::Slbia => { mmu.slbia(0).expect("IH 0"); }
                    Op::Slbmte(segment) => slbmte(mmu, segment),
                    Op::Amr(forbid) => mmu.registers.keys.amr = if forbid { 3 << 62 } else { 0 },
                    Op::Map(..) | Op::Unmap(..) => {}
                }
                results.push((result, told));
            }
            prop_assert_eq!(&results[0], &results[1], "{:?}", op);
            let entries = |mmu: &Mmu| mmu.erat.entries().copied().collect::<Vec<_>>();
            prop_assert_eq!(entries(&with), entries(&without));
        }
    }
}

#[test]
fn a_hit_is_quick() {
    let mut memory = GuestMemory::new(1 << 21).expect("memory");
    let hpt = Hpt::new(Ra::new(1 << 20), 11).expect("table");
    change(
        &mut hpt.exclusive(&mut memory).expect("inside"),
        Op::Map(0, 1, 0),
    );
    let mut mmu = Mmu::new(&MmuGeometry::POWER8).expect("legal");
    slbmte(&mut mmu, 0);
    let (at, state) = (ea(0, 1), AccessState::kernel());
    let load = |mmu: &mut Mmu| mmu.translate(&memory, &hpt, at, Access::Load, state, &mut ());
    assert_eq!(mmu.quick_hit(at, Access::Load, state), None);
    let ra = load(&mut mmu).expect("mapped");
    load(&mut mmu).expect("mapped");
    assert_eq!(mmu.quick_hit(at, Access::Load, state), Some(ra));
    assert_eq!(
        mmu.quick_hit(at, Access::Store, state),
        None,
        "not stored to yet"
    );
}
