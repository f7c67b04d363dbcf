//! Tables in memory of rust-vmm's `vm-memory`, and memory of this crate offered to it.
#![cfg(feature = "vm-memory")]

use emu_mmu::rust_vmm::{GuestRegion, VmMemory, VmTable};
use emu_mmu::*;
use std::sync::Arc;
use vm_memory::bitmap::{AtomicBitmap, Bitmap};
use vm_memory::{
    Be64, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    GuestRegionCollection, MemoryRegionAddress, MmapRegion,
};

const EA: Ea = Ea::new(0x1234_5678);
const SIZE: SegmentSize = SegmentSize::S256M;
const PAGE: PageSize = PageSize::P4K;
/// The table's region; there is nothing between it and the first megabyte.
const TABLE: u64 = 4 << 20;

fn theirs() -> GuestMemoryMmap<AtomicBitmap> {
    let ranges = [(GuestAddress(0), 1 << 20), (GuestAddress(TABLE), 1 << 20)];
    GuestMemoryMmap::from_ranges(&ranges).expect("their memory")
}

fn mmu() -> (Mmu, Hpt, Vpn) {
    let hpt = Hpt::new(Ra::new(TABLE), 11).expect("table");
    let mut mmu = Mmu::new(&MmuGeometry::POWER8).expect("geometry");
    let segment = SlbEntry::kernel(EA, Vsid::new(0x77), SIZE, PAGE);
    mmu.slbmte(segment.rs(), segment.rb(5)).expect("slbmte");
    (mmu, hpt, Vpn::from_ea(segment.vsid, EA, SIZE))
}

fn hpte(vpn: Vpn, flags: u64) -> (HpteV, HpteR) {
    let r = HpteR::new(Ra::new(0x7000), PAGE, PAGE).with_flags(flags);
    (HpteV::new(vpn, SIZE, PAGE), r)
}

#[test]
fn a_table_in_their_memory_is_changed_and_walked() {
    let (theirs, (mut mmu, hpt, vpn)) = (theirs(), mmu());
    let (v, r) = hpte(vpn, 0x12);
    let group = hpt.primary(vpn.hash(SIZE, PAGE));
    let mut gone = Vec::new();
    let mut tlb = |operand: TlbInvalidate| gone.push(operand.vpn);
    let mut table = VmTable::new(&theirs, &mut tlb);
    let slot = hpt.insert(&mut table, group, v, r, false).expect("table");
    assert_eq!(slot, Some(0));
    let found = hpt.find(&mut table, vpn, SIZE, PAGE).expect("table");
    assert_eq!(found, Some(group.slot(0)));

    // In memory it is big-endian, as the architecture says.
    let at = hpt.hpte_ra(group.slot(0)).get();
    let word: Be64 = theirs.read_obj(GuestAddress(at)).expect("read");
    assert_eq!(word.to_native(), v.with_valid().0);
    let region = theirs.find_region(GuestAddress(at)).expect("region");
    let offset = (at - TABLE) as usize;
    assert!(
        region.bitmap().dirty_at(offset),
        "their log sees the insert"
    );
    MmapRegion::bitmap(region).reset();

    let memory = VmMemory(&theirs);
    let kernel = AccessState::kernel();
    let ra = mmu.translate(&memory, &hpt, EA, Access::Store, kernel, &mut ());
    assert_eq!(ra, Ok(Ra::new(0x7678)));
    assert!(region.bitmap().dirty_at(offset), "and the walker's R and C");
    let word: Be64 = theirs.read_obj(GuestAddress(at + 8)).expect("read");
    assert_eq!(word.to_native(), r.0 | HpteR::R | HpteR::C);
    let told = mmu.explain(&memory, &hpt, EA, Access::Load, kernel);
    assert_eq!(told.expect("told").result, ra);

    // The lock bit is taken by a compare-and-exchange.
    let compare = CompareOrder::BeforeLock;
    let mut table = VmTable::new(&theirs, &mut tlb);
    assert_eq!(
        hpt.invalidate(&mut table, group.slot(0), v, compare),
        Ok(true)
    );
    let operand = TlbInvalidate {
        vpn,
        segment: SIZE,
        base: PAGE,
        actual: PAGE,
        local: false,
    };
    tlbie_sequence(&mut table, &[operand]).expect("tlbie");
    assert_eq!(gone, [vpn]);
    mmu.tlb_invalidate(&operand);
    let fault = mmu.translate(&memory, &hpt, EA, Access::Load, kernel, &mut ());
    assert!(matches!(
        fault,
        Err(Fault::DataStorage {
            dsisr: 0x4000_0000,
            ..
        })
    ));
}

#[test]
fn what_is_outside_their_memory_is_refused() {
    let (theirs, (mut mmu, _, vpn)) = (theirs(), mmu());
    let hole = Hpt::new(Ra::new(1 << 20), 11).expect("table");
    let memory = VmMemory(&theirs);
    let group = hole.group_ra(hole.primary(vpn.hash(SIZE, PAGE)));
    let error = MemoryError::OutOfBounds {
        ra: group,
        bytes: 128,
    };
    let fault = mmu.translate(
        &memory,
        &hole,
        EA,
        Access::Load,
        AccessState::kernel(),
        &mut (),
    );
    assert_eq!(fault, Err(Fault::MachineCheck { dar: EA, error }));
    let misaligned = MemoryError::Misaligned {
        ra: Ra::new(64),
        bytes: 128,
    };
    assert_eq!(memory.load_group(Ra::new(64)), Err(misaligned));
    assert!(memory.store_u8(Ra::new(1 << 20), 1).is_err());
    let mut tlb = |_| {};
    let mut table = VmTable::new(&theirs, &mut tlb);
    let first_past = Ra::new(1 << 20);
    assert!(table.load(first_past, "test").is_err());
    assert!(table.store(first_past, 1, "test").is_err());
    assert!(table.compare_exchange(first_past, 0, 1, "test").is_err());
    assert!(table.load(Ra::new(4), "test").is_err(), "not aligned");
    assert_eq!(table.compare_exchange(Ra::new(8), 1, 2, "test"), Ok(false));
    assert_eq!(table.spin("test"), Ok(()));
}

#[test]
fn ours_is_their_memory() {
    let memory = Arc::new(GuestMemory::new(1 << 20).expect("memory"));
    let region = GuestRegion::new(Arc::clone(&memory), GuestAddress(0)).expect("fits");
    let theirs = GuestRegionCollection::from_regions(vec![region]).expect("one region");
    theirs
        .write_obj(Be64::from(0x0102_0304), GuestAddress(8))
        .expect("write");
    assert_eq!(memory.load_u64(Ra::new(8)), Ok(0x0102_0304));
    memory.store_u8(Ra::new(0xfffff), 7).expect("store");
    let mut last = [0; 2];
    assert_eq!(
        theirs.read(&mut last, GuestAddress(0xffffe)).expect("read"),
        2
    );
    assert_eq!(last, [0, 7]);
    let mut past = [0; 2];
    assert_eq!(theirs.read(&mut past, GuestAddress(0xfffff)).ok(), Some(1));
    assert!(theirs.write(&[1], GuestAddress(1 << 20)).is_err());
    let host = theirs
        .get_host_address(GuestAddress(8))
        .expect("host address");
    assert!(host.addr().is_multiple_of(8));

    // A table written through our own access is walked through theirs, and the other way round.
    let (mut mmu, _, vpn) = mmu();
    let hpt = Hpt::new(Ra::new(1 << 18), 11).expect("table");
    let (v, r) = hpte(vpn, 0x192);
    let mut tlb = |_| {};
    let group = hpt.primary(vpn.hash(SIZE, PAGE));
    let put = hpt.insert(&mut Direct::new(&memory, &mut tlb), group, v, r, false);
    assert_eq!(put, Ok(Some(0)));
    let ra = mmu.translate(
        &VmMemory(&theirs),
        &hpt,
        EA,
        Access::Load,
        AccessState::user(),
        &mut (),
    );
    assert_eq!(ra, Ok(Ra::new(0x7678)));
    let gone = hpt.remove(&mut VmTable::new(&theirs, &mut tlb), group, 0);
    assert_eq!(
        (gone, hpt.count_valid(&memory)),
        (Ok(Some(group.slot(0))), Ok(0))
    );
}

#[test]
fn a_region_may_start_elsewhere() {
    let memory = Arc::new(GuestMemory::new(1 << 20).expect("memory"));
    let start = GuestAddress(1 << 32);
    let region = GuestRegion::new(Arc::clone(&memory), start).expect("fits");
    assert_eq!((region.memory().len(), region.len()), (1 << 20, 1 << 20));
    assert_eq!(
        region.to_region_addr(GuestAddress((1 << 32) + 5)),
        Some(MemoryRegionAddress(5))
    );
    let end = region.get_slice(MemoryRegionAddress((1 << 20) - 1), 2);
    assert!(end.is_err());
    assert!(region.get_slice(MemoryRegionAddress(u64::MAX), 2).is_err());
    let theirs = GuestRegionCollection::from_regions(vec![region]).expect("one region");
    theirs
        .write_obj(0xa5_u8, GuestAddress((1 << 32) + 5))
        .expect("write");
    assert_eq!(memory.load_u8(Ra::new(5)), Ok(0xa5));
    assert!(GuestRegion::new(memory, GuestAddress(u64::MAX - 9)).is_none());
}
