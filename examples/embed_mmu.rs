//! The author of an emulator embeds the MMU: guest memory, a hash table, one CPU's lookaside
//! structures; no Linux, no clock.
//!
//! `cargo run --release --example embed_mmu`

use ppc_mmu_emu::mmu::{
    Access, AccessState, CompareOrder, Direct, Ea, Fault, GuestMemory, Hpt, HpteIndex, HpteR,
    HpteV, Mmu, MmuGeometry, PageSize, Ra, SegmentSize, SlbEntry, TlbInvalidate, Vpn, Vsid,
    tlbie_sequence,
};
use std::error::Error;

/// Both segments are of 256 MB.
const SEGMENT: SegmentSize = SegmentSize::S256M;
/// M and pp=00: the kernel (key 0) may read and write.
const KERNEL_READ_WRITE: u64 = 0x10;

/// A machine as an emulator would hold it.
struct Machine {
    memory: GuestMemory,
    hpt: Hpt,
    mmu: Mmu,
}

impl Machine {
    /// 64 MB of memory, 1 MB of which is the table.
    fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Machine {
            memory: GuestMemory::new(64 << 20)?,
            hpt: Hpt::new(Ra::new(1 << 20), 13)?,
            mmu: Mmu::new(&MmuGeometry::POWER8)?,
        })
    }

    /// Enters a page into the hash table, primary group first.
    fn map(&self, segment: &SlbEntry, ea: Ea, ra: Ra) -> Result<HpteIndex, Box<dyn Error>> {
        let vpn = Vpn::from_ea(segment.vsid, ea, SEGMENT);
        let hash = vpn.hash(SEGMENT, segment.page);
        let v = HpteV::new(vpn, SEGMENT, segment.page);
        let r = HpteR::new(ra, segment.page, segment.page).with_flags(KERNEL_READ_WRITE);
        let mut no_tlbie = |_| {};
        let mut table = Direct::new(&self.memory, &mut no_tlbie);
        let groups = [
            (self.hpt.primary(hash), false),
            (self.hpt.secondary(hash), true),
        ];
        for (group, secondary) in groups {
            if let Some(slot) = self.hpt.insert(&mut table, group, v, r, secondary)? {
                return Ok(group.slot(slot));
            }
        }
        Err("both groups are full".into())
    }

    /// What a load or store of the kernel at `ea` comes to.
    fn translate(&mut self, ea: Ea, access: Access) -> Result<Ra, Fault> {
        let state = AccessState::kernel();
        self.mmu
            .translate(&self.memory, &self.hpt, ea, access, state, &mut ())
    }
}

/// An outcome in words.
fn words(outcome: Result<Ra, Fault>) -> String {
    match outcome {
        Ok(ra) => format!("{ra}"),
        Err(fault) => format!("interrupt {:#x} at {}", fault.vector(), fault.ea()),
    }
}

/// The example; every step is checked.
///
/// # Errors
/// A machine that cannot be built, or a step that gave something else.
pub fn run() -> Result<(), Box<dyn Error>> {
    let mut machine = Machine::new()?;
    let small_ea = Ea::new(0xd000_0000_0010_2345);
    let large_ea = Ea::new(0xd000_0000_1234_5678);
    let small = SlbEntry::kernel(small_ea, Vsid::new(0x5_1234), SEGMENT, PageSize::P4K);
    let large = SlbEntry::kernel(large_ea, Vsid::new(0x5_1235), SEGMENT, PageSize::P16M);

    let fault = machine.translate(small_ea, Access::Load);
    println!("no segment yet:    {}", words(fault));
    assert_eq!(fault, Err(Fault::DataSegment { dar: small_ea }));
    machine.mmu.slbmte(small.rs(), small.rb(0))?;
    machine.mmu.slbmte(large.rs(), large.rb(1))?;

    let fault = machine.translate(small_ea, Access::Load);
    println!("no page yet:       {}", words(fault));
    assert!(fault.is_err_and(|fault| fault.vector() == 0x300));
    let index = machine.map(&small, small_ea, Ra::new(0x0200_0000))?;
    machine.map(&large, large_ea, Ra::new(0x0300_0000))?;

    let ra = machine.translate(small_ea, Access::Store);
    println!("4K page:           {small_ea} -> {}", words(ra));
    assert_eq!(ra, Ok(Ra::new(0x0200_0345)));
    let ra = machine.translate(large_ea, Access::Load);
    println!("16M page:          {large_ea} -> {}", words(ra));
    assert_eq!(ra, Ok(Ra::new(0x0334_5678)));

    let vpn = Vpn::from_ea(small.vsid, small_ea, SEGMENT);
    let want = HpteV::new(vpn, SEGMENT, PageSize::P4K);
    let Machine { memory, hpt, .. } = &machine;
    let mut no_tlbie = |_| {};
    let mut table = Direct::new(memory, &mut no_tlbie);
    assert!(hpt.invalidate(&mut table, index, want, CompareOrder::BeforeLock)?);
    assert_eq!(hpt.find(&mut table, vpn, SEGMENT, PageSize::P4K)?, None);
    let stale = machine.translate(small_ea, Access::Load);
    println!(
        "entry gone:        {small_ea} -> {}, from the TLB",
        words(stale)
    );
    assert_eq!(stale, Ok(Ra::new(0x0200_0345)), "the TLB still has it");

    let operand = TlbInvalidate {
        vpn,
        segment: SEGMENT,
        base: PageSize::P4K,
        actual: PageSize::P4K,
        local: false,
    };
    let Machine { memory, mmu, .. } = &mut machine;
    let mut deliver = |operand| {
        mmu.tlb_invalidate(&operand);
    };
    tlbie_sequence(&mut Direct::new(memory, &mut deliver), &[operand])?;
    let fault = machine.translate(small_ea, Access::Load);
    println!("after tlbie:       {}", words(fault));
    assert!(fault.is_err_and(|fault| fault.vector() == 0x300));
    Ok(())
}

#[allow(dead_code, reason = "a test includes this file as a module")]
fn main() -> Result<(), Box<dyn Error>> {
    run()
}
