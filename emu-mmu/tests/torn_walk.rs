//! A walk while another CPU writes the entry it reads: the two doublewords are never of two entries.

use emu_mmu::*;
use std::cell::Cell;

const EA: Ea = Ea::new(0x1234_5678);
const SIZE: SegmentSize = SegmentSize::S256M;
const PAGE: PageSize = PageSize::P4K;

/// Memory in which another CPU replaces an entry between the walk's loads of its two doublewords.
struct Racing<'a> {
    memory: &'a GuestMemory,
    entry: Ra,
    by: Hpte,
    done: Cell<bool>,
}

impl WalkMemory for Racing<'_> {
    fn load_group(&self, ra: Ra) -> Result<[u64; 16], MemoryError> {
        let before = self.memory.load_group(ra)?;
        if !self.done.replace(true) {
            self.memory.store_u64(self.entry, 0)?;
            self.memory.store_u64(self.entry + 8, self.by.r.0)?;
            self.memory.store_u64(self.entry, self.by.v.0)?;
        }
        let mut group = self.memory.load_group(ra)?;
        for v in (0..16).step_by(2) {
            group[v] = before[v];
        }
        Ok(group)
    }

    fn store_u8(&self, ra: Ra, value: u8) -> Result<(), MemoryError> {
        self.memory.store_u8(ra, value)
    }

    fn still_holds(&self, ra: Ra, v: u64) -> Result<bool, MemoryError> {
        self.memory.still_holds(ra, v)
    }
}

#[test]
fn an_entry_replaced_under_the_walk_is_read_again() {
    let segment = SlbEntry::kernel(EA, Vsid::new(0x77), SIZE, PAGE);
    let vpn = Vpn::from_ea(segment.vsid, EA, SIZE);
    let r = |ra| HpteR::new(Ra::new(ra), PAGE, PAGE).with_flags(0x194);
    let go = |by: Vpn| {
        let memory = GuestMemory::new(1 << 20).expect("memory");
        let hpt = Hpt::new(Ra::new(1 << 18), 11).expect("table");
        let mut mmu = Mmu::new(&MmuGeometry::POWER8).expect("geometry");
        mmu.slbmte(segment.rs(), segment.rb(5)).expect("slbmte");
        let entry = hpt.hpte_ra(hpt.primary(vpn.hash(SIZE, PAGE)).slot(0));
        let v = |vpn| HpteV::new(vpn, SIZE, PAGE).with_valid();
        memory.store_u64(entry + 8, r(0x7000).0).expect("R");
        memory.store_u64(entry, v(vpn).0).expect("V");
        let racing = Racing {
            memory: &memory,
            entry,
            by: Hpte {
                v: v(by),
                r: r(0x9000),
            },
            done: Cell::new(false),
        };
        let state = AccessState::kernel();
        mmu.translate(&racing, &hpt, EA, Access::Load, state, &mut ())
    };
    // The page is gone: its address does not lead to the other page's frame.
    assert!(matches!(
        go(vpn.wrapping_add(1 << 11)),
        Err(Fault::DataStorage { .. })
    ));
    assert_eq!(go(vpn).map(|ra| ra.get()), Ok(0x9678), "its own new frame");
}
