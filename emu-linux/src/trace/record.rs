//! One record of a capture: the columns every ftrace line has, and the event.
//!
//! Owns the columns' types and how a record is written as text; parsing is in `columns` and `event`.

use super::Event;
use serde::{Serialize, Serializer};
use std::fmt;

/// A task name: at most [`Comm::LEN_MAX`] bytes, kept inline so that a record costs no allocation.
///
/// Linux keeps 15 bytes (`TASK_COMM_LEN`, include/linux/sched.h); they need not be UTF-8. Leading
/// spaces are lost in ftrace text, which pads the column with them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Comm {
    bytes: [u8; Comm::LEN_MAX],
    len: u8,
}

impl Comm {
    /// Longest name accepted, in bytes.
    pub const LEN_MAX: usize = 31;

    /// The name made of `bytes`; `None` if there are more than [`Comm::LEN_MAX`].
    pub fn new(bytes: &[u8]) -> Option<Comm> {
        let mut comm = Comm {
            bytes: [0; Comm::LEN_MAX],
            len: 0,
        };
        comm.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        comm.len = bytes.len() as u8;
        Some(comm)
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), f)
    }
}

impl Serialize for Comm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The TASK-PID column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct TaskId {
    /// Task name.
    pub comm: Comm,
    /// Process id.
    pub pid: u32,
}

/// The flags column: irqs-off, need-resched, hardirq/softirq, preempt-depth and what later kernels
/// append (Linux kernel/trace/trace_output.c, `trace_print_lat_fmt`). Empty if the capture has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    bytes: [u8; Flags::LEN_MAX],
    len: u8,
}

impl Flags {
    /// Most characters accepted.
    pub const LEN_MAX: usize = 8;

    /// The flags made of `bytes`; `None` if they are too many or not printable.
    pub fn new(bytes: &[u8]) -> Option<Flags> {
        let mut flags = Flags::default();
        if !bytes.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        flags.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        flags.len = bytes.len() as u8;
        Some(flags)
    }

    /// The characters of the column.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether the record was made in a hard or soft interrupt.
    pub fn in_interrupt(&self) -> bool {
        self.as_bytes()
            .get(2)
            .is_some_and(|flag| b"hHsSzZ".contains(flag))
    }
}

/// One line of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Line number in the file, from 1.
    pub line: u64,
    /// Task that was running.
    pub task: TaskId,
    /// CPU the record was made on.
    pub cpu: u16,
    /// Interrupt and preemption state.
    pub flags: Flags,
    /// Time stamp in microseconds (in ticks, if the trace clock has no decimal point). Emulated
    /// machines stamp emulator time: good for order, not for durations.
    pub timestamp_us: u64,
    /// What happened.
    pub event: Event,
}

impl Record {
    /// Appends the record as one line of ftrace text, newline included.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        let comm = self.task.comm.as_bytes();
        out.resize(out.len() + 16usize.saturating_sub(comm.len()), b' ');
        out.extend_from_slice(comm);
        let columns = format!("-{:<7} [{:03}] ", self.task.pid, self.cpu);
        out.extend_from_slice(columns.as_bytes());
        out.extend_from_slice(self.flags.as_bytes());
        let (seconds, us) = (self.timestamp_us / 1_000_000, self.timestamp_us % 1_000_000);
        out.extend_from_slice(format!(" {seconds:5}.{us:06}: {}\n", self.event).as_bytes());
    }
}
