//! Tracepoints: what the kernel model says it does, for checkers and histories.
//!
//! Owns the events at the level of Linux. Hardware events (stores into the table, tlbie) come from
//! `emu_core::Event`; a checker that needs both gets both.

use emu_core::{CpuId, Cycles};
use emu_mmu::{PageSize, SegmentSize, Vpn};

/// Who did something, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The CPU.
    pub cpu: CpuId,
    /// Its clock.
    pub now: Cycles,
    /// Address of the task in guest memory (`current`); names the task until it exits.
    pub task: u64,
    /// Its process id.
    pub pid: u32,
}

/// Something the kernel model did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracepoint {
    /// A lazy-MMU section was entered (after its hook).
    LazyEnter,
    /// A lazy-MMU section was left (after its hook).
    LazyLeave,
    /// An HPTE was queued in a batch instead of being flushed. A page hashed in pieces is one entry of the batch
    /// and tells this for each hashed piece.
    Queued {
        /// Page.
        vpn: Vpn,
        /// Segment size.
        segment: SegmentSize,
        /// Size of the HPTE.
        size: PageSize,
        /// Slot in the hash table that the old PTE recorded.
        slot: u64,
        /// Address of the PTE in guest memory.
        pte: u64,
        /// Real address of the frame that the old PTE mapped.
        frame: u64,
    },
    /// A batch of `entries` entries is about to be flushed.
    BatchFlush {
        /// Number of entries.
        entries: u64,
        /// HPTEs that they name: more where pages are hashed in pieces.
        pieces: u64,
        /// CPU whose batch it is.
        batch_cpu: u16,
    },
    /// One page is flushed outside a batch; where it is hashed in pieces, one for each.
    SingleFlush {
        /// Page.
        vpn: Vpn,
        /// Segment size.
        segment: SegmentSize,
        /// Size of the HPTE.
        size: PageSize,
        /// Real address of the frame that the old PTE mapped.
        frame: u64,
    },
    /// The hypervisor was asked to remove a page's HPTE and answered that its slot does not hold it: whoever
    /// removed it has invalidated the TLBs too.
    NothingToRemove {
        /// Page.
        vpn: Vpn,
        /// Segment size.
        segment: SegmentSize,
        /// Size of the HPTE.
        size: PageSize,
    },
    /// A present PTE was cleared.
    PteCleared {
        /// Address of the PTE.
        pte: u64,
    },
    /// A PTE was set.
    PteSet {
        /// Address of the PTE.
        pte: u64,
        /// Real address of the frame it maps.
        frame: u64,
    },
    /// A page frame was taken from the page allocator.
    PageAllocated {
        /// Its real address.
        frame: u64,
    },
    /// A page frame went back to the page allocator.
    PageFreed {
        /// Its real address.
        frame: u64,
    },
    /// A hash fault was entered.
    HashFault {
        /// Faulting address.
        ea: u64,
    },
    /// The hash code is done with a fault; what it locked it has given back.
    HashFaultReturn {
        /// Faulting address.
        ea: u64,
    },
    /// Kernel code looked up its per-CPU area with smp_processor_id().
    PerCpuLookup {
        /// Function that looked.
        function: &'static str,
        /// preempt_count of the task.
        preempt_count: u32,
        /// External interrupts are enabled (MSR bit EE).
        interrupts_enabled: bool,
        /// The task may run on this CPU only.
        pinned: bool,
        /// system_state is RUNNING.
        running: bool,
    },
    /// schedule() was called by the task itself, not by preemption, with this preempt_count before it.
    VoluntarySchedule {
        /// preempt_count at the call.
        preempt_count: u32,
        /// True if the task goes to sleep, false if it only yields or exits.
        sleeps: bool,
    },
    /// The CPU goes on with another task.
    SwitchTo {
        /// The task's address.
        next: u64,
        /// Its process id.
        next_pid: u32,
        /// The task before did not ask for the switch.
        preempted: bool,
    },
    /// The task exits.
    TaskExit {
        /// preempt_count at exit; 0 if balanced.
        preempt_count: u32,
    },
    /// A task read something else than it had stored.
    StaleData {
        /// Where.
        ea: u64,
        /// What it had stored.
        expected: u64,
        /// What it read.
        found: u64,
    },
    /// A spinlock was taken.
    LockAcquired {
        /// Its address.
        lock: u64,
    },
    /// A spinlock was released.
    LockReleased {
        /// Its address.
        lock: u64,
    },
}
