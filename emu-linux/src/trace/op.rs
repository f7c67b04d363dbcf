//! What a capture tells the replay to do.

use super::TaskId;
use serde::Serialize;
use std::fmt;

/// One operation of the replay. Addresses are effective addresses, sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// A kernel area gets its pages: the point where `vmap_pages_range` writes the PTEs.
    Map {
        /// First byte of the area.
        start: u64,
        /// End of the area, its guard page included.
        end: u64,
        /// Bytes that are mapped, a multiple of the page size where the capture is sound.
        size_bytes: u64,
        /// What `vmalloc` was asked for, if the capture has it.
        requested: Option<u64>,
    },
    /// The area that starts at `addr` is unmapped.
    Unmap {
        /// First byte of the area.
        addr: u64,
    },
    /// An access that took a hash fault.
    Touch {
        /// Faulting address.
        addr: u64,
        /// Whether it was a write: the fault's access has `_PAGE_WRITE`
        /// (Linux arch/powerpc/include/asm/book3s/64/pgtable.h).
        write: bool,
        /// Hash group the recorded kernel inserted into; only to compare with.
        recorded_group: Option<u64>,
        /// Virtual page number it inserted, in units of 4 KiB; only to compare with.
        recorded_vpn: Option<u64>,
    },
    /// `begin NAME` was written to `trace_marker`.
    Begin(String),
    /// `end NAME` was written to `trace_marker`.
    End(String),
}

/// An operation, and the record it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceOp {
    /// Line number of the record, from 1.
    pub line: u64,
    /// Task that does it.
    pub task: TaskId,
    /// CPU it was done on.
    pub cpu: u16,
    /// What is done.
    pub op: Op,
}

/// One line of text, for people and for `grep`: who, where, what.
impl fmt::Display for TraceOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, task) = (self.line, &self.task);
        write!(f, "{line} {}-{} [{:03}] ", task.comm, task.pid, self.cpu)?;
        match &self.op {
            Op::Map {
                start,
                end,
                size_bytes,
                requested,
            } => {
                write!(f, "map start={start:#x} end={end:#x} size={size_bytes}")?;
                requested.map_or(Ok(()), |bytes| write!(f, " requested={bytes}"))
            }
            Op::Unmap { addr } => write!(f, "unmap addr={addr:#x}"),
            Op::Touch {
                addr,
                write,
                recorded_group,
                recorded_vpn,
            } => {
                let access = if *write { "write" } else { "read" };
                write!(f, "touch addr={addr:#x} {access}")?;
                recorded_group.map_or(Ok(()), |group| write!(f, " group={group:#x}"))?;
                recorded_vpn.map_or(Ok(()), |vpn| write!(f, " vpn={vpn:#x}"))
            }
            Op::Begin(name) => write!(f, "begin {name}"),
            Op::End(name) => write!(f, "end {name}"),
        }
    }
}
