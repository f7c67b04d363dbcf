//! An entry of a batch whose flush is waited for, and what is said of one that was lost.

use crate::invariant::history::{page_words, segment_words};
use emu_core::{CpuId, Cycles};
use emu_mmu::{PageSize, SegmentSize, Vpn};
use std::fmt;

/// One entry of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub vpn: Vpn,
    pub segment: SegmentSize,
    pub size: PageSize,
    pub slot: u64,
    pub pte: u64,
    pub frame: u64,
    /// Who queued it last, where and when.
    pub task: u64,
    pub pid: u32,
    pub cpu: CpuId,
    pub at: Cycles,
    /// Queued inside a section of its own task.
    pub in_section: bool,
    /// How often it was queued while it pended.
    pub times: u64,
}

impl Entry {
    /// True if a second queueing of `other` adds nothing to this one.
    pub fn is_same(&self, other: &Entry) -> bool {
        (
            self.vpn,
            self.segment,
            self.size,
            self.pte,
            self.frame,
            self.task,
            self.in_section,
        ) == (
            other.vpn,
            other.segment,
            other.size,
            other.pte,
            other.frame,
            other.task,
            other.in_section,
        )
    }
}

/// What came before the flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    SectionEnd,
    TaskExit,
    PageFreed,
    PteSet,
    RunEnd,
}

/// An entry that was not flushed in time.
#[derive(Clone, Copy, Debug)]
pub(in crate::invariant) struct Lost {
    pub(super) entry: Entry,
    pub(super) before: Before,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry {
            vpn,
            segment,
            size,
            slot,
            pte,
            frame,
            pid,
            cpu,
            at,
            ..
        } = self.entry;
        write!(
            f,
            "vpn {vpn} ({}{}, slot {slot}), queued by pid {pid} on cpu {cpu} at cycle {}, \
             was not flushed before ",
            segment_words(segment),
            page_words(size),
            at.get()
        )?;
        match self.before {
            Before::SectionEnd => f.write_str("its lazy section ended"),
            Before::TaskExit => f.write_str("its task exited inside its lazy section"),
            Before::PageFreed => write!(f, "its frame {frame:#x} was freed"),
            Before::PteSet => write!(f, "its PTE {pte:#x} was set again"),
            Before::RunEnd => f.write_str("the run ended"),
        }
    }
}
