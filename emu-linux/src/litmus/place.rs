//! Where everything lies in the memory of a litmus test, and what its pages are to the MMU.
//!
//! Owns the addresses. Refuses contents.

use crate::layout::{Layout, PteBits};
use emu_mmu::{
    Ea, GroupIndex, Hpt, HpteIndex, HpteR, HpteV, PageSize, Ra, SegmentSize, SlbEntry,
    TlbInvalidate, Vpn, Vsid,
};

/// Bytes of guest memory.
pub(super) const MEMORY_BYTES: u64 = 1 << 20;
/// The hash table, of the smallest size there is.
const TABLE: Ra = Ra::new(512 << 10);
const TABLE_GROUPS_LOG2: u8 = 11;
const FRAMES: u64 = 0x1_0000;
const PTES: u64 = 0x1000;
const VARIABLES: u64 = 0x2000;
const BATCHES: u64 = 0x3000;
const TASKS: u64 = 0x4000;
const CPUS: u64 = 0x5000;

/// Most of each: what the areas above hold, and what no ERAT has to evict for.
pub(super) const PAGES_MAX: usize = 4;
pub(super) const FRAMES_MAX: usize = 8;
pub(super) const VARIABLES_MAX: usize = 8;
pub(super) const TASKS_MAX: usize = 4;
pub(super) const CPUS_MAX: u16 = 4;
pub(super) const REGISTERS_MAX: usize = 8;
/// Entries of a batch; the kernel's has 192.
pub(super) const BATCH_MAX: u64 = 8;

/// The kernel whose PTEs and HPTE flags these are.
pub(super) const LAYOUT: Layout = Layout::V2_6_38;
pub(super) const BITS: PteBits = LAYOUT.pte;

const SEGMENT: SegmentSize = SegmentSize::S256M;
const SIZE: PageSize = PageSize::P4K;
/// The segment's address, that of vmalloc.
const SEGMENT_EA: u64 = 0xd000_0000_0000_0000;
const VSID: Vsid = Vsid::new(0x1_2340);

/// What a load or store that faulted gives.
pub(super) const FAULT: u64 = u64::MAX;
/// The slot that an insertion gives which found none.
pub(super) const NO_SLOT: u64 = 16;

/// The hash table.
pub(super) fn table() -> Hpt {
    Hpt::new(TABLE, TABLE_GROUPS_LOG2).expect("constants that make a table")
}

/// The one segment of all pages.
pub(super) fn slb_entry() -> SlbEntry {
    SlbEntry::kernel(Ea::new(SEGMENT_EA), VSID, SEGMENT, SIZE)
}

pub(super) fn ea(page: usize) -> Ea {
    Ea::new(SEGMENT_EA + page as u64 * SIZE.bytes())
}

pub(super) fn vpn(page: usize) -> Vpn {
    Vpn::from_ea(VSID, ea(page), SEGMENT)
}

/// Doubleword 0 of a page's entry, valid and unlocked.
pub(super) fn pattern(page: usize) -> HpteV {
    HpteV::new(vpn(page), SEGMENT, SIZE).with_valid()
}

/// Doubleword 1 of an entry for a frame.
pub(super) fn entry_r(frame: usize, flags: u64) -> HpteR {
    HpteR::new(frame_ra(frame), SIZE, SIZE).with_flags(flags)
}

pub(super) fn entry_frame(r: u64) -> u64 {
    frame_number(HpteR(r).ra(SIZE))
}

pub(super) fn group(page: usize, secondary: bool) -> GroupIndex {
    let hash = vpn(page).hash(SEGMENT, SIZE);
    match secondary {
        true => table().secondary(hash),
        false => table().primary(hash),
    }
}

pub(super) fn slot(page: usize, hidx: u64) -> HpteIndex {
    HpteIndex(group(page, hidx & 8 != 0).0 * 8 + (hidx & 7))
}

pub(super) fn operand(page: usize, local: bool) -> TlbInvalidate {
    TlbInvalidate {
        vpn: vpn(page),
        segment: SEGMENT,
        base: SIZE,
        actual: SIZE,
        local,
    }
}

pub(super) const fn frame_ra(frame: usize) -> Ra {
    Ra::new(FRAMES + frame as u64 * 4096)
}

/// Number of the frame at an address, from 1; 0 if it is none.
pub(super) const fn frame_number(ra: Ra) -> u64 {
    let number = ra.get().wrapping_sub(FRAMES) >> 12;
    if number < FRAMES_MAX as u64 {
        number + 1
    } else {
        0
    }
}

pub(super) const fn pte(page: usize) -> Ra {
    Ra::new(PTES + page as u64 * 8)
}

pub(super) const fn variable(number: usize) -> Ra {
    Ra::new(VARIABLES + number as u64 * 8)
}

/// A CPU's batch: whether it is active, how many are queued, and for each its page and PTE.
pub(super) const fn batch(cpu: u16) -> Ra {
    Ra::new(BATCHES + cpu as u64 * 0x200)
}

/// The batch that a register names, if it does name one.
pub(super) fn batch_at(address: u64) -> Option<Ra> {
    (0..CPUS_MAX).map(batch).find(|at| at.get() == address)
}

pub(super) fn batch_active(batch: Ra) -> Ra {
    batch
}

pub(super) fn batch_index(batch: Ra) -> Ra {
    batch + 8
}

pub(super) fn batch_page(batch: Ra, entry: u64) -> Ra {
    batch + 16 + entry * 16
}

pub(super) fn batch_pte(batch: Ra, entry: u64) -> Ra {
    batch + 24 + entry * 16
}

/// A doubleword of a task's own.
#[derive(Clone, Copy)]
pub(super) enum OfTask {
    /// Steps done.
    Done,
    /// What the step that is under way has seen, hashed.
    Seen,
    /// The doubleword it waits for, or 0, and what that held.
    WaitsFor,
    WaitedFor,
    PreemptCount,
    /// The CPU it is on.
    Cpu,
    Register(usize),
}

pub(super) fn of_task(task: usize, what: OfTask) -> Ra {
    let number = match what {
        OfTask::Done => 0,
        OfTask::Seen => 1,
        OfTask::WaitsFor => 2,
        OfTask::WaitedFor => 3,
        OfTask::PreemptCount => 4,
        OfTask::Cpu => 5,
        OfTask::Register(number) => 8 + number as u64,
    };
    Ra::new(TASKS + task as u64 * 0x100 + number * 8)
}

/// The task that runs on a CPU, from 1, or 0.
pub(super) const fn current(cpu: u16) -> Ra {
    Ra::new(CPUS + cpu as u64 * 16)
}

/// Those that wait to run there: four bits each, from 1, the first lowest.
pub(super) const fn queue(cpu: u16) -> Ra {
    Ra::new(CPUS + cpu as u64 * 16 + 8)
}
