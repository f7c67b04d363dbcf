//! The bytes of an `.emut` file.
//!
//! Owns the types on disk and what each field means. All are unaligned little-endian views, so that
//! any bytes are a value and every value is checked when it is used.

use crate::trace::{Comm, Op, PreExisting, TaskId, TraceOp};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Version of the format that is written, and the newest that is read.
pub const VERSION: u16 = 1;
/// First bytes of a file: no text, and changed by whoever changes line ends.
pub(crate) const MAGIC: [u8; 8] = *b"\x89EMUT\r\n\x1a";
/// Bytes of the magic by which a file is known even if the rest of it was changed.
const MAGIC_KNOWN_BYTES: usize = 5;

/// Stands for "not recorded" in the header.
pub(super) const ABSENT: u64 = u64::MAX;

/// Bits of [`Header::flags`].
pub(super) mod flag {
    pub const HAS_ALLOCATIONS: u32 = 1;
    pub const HAS_TOUCHES: u32 = 1 << 1;
    pub const HAS_NEED_RECORDS: u32 = 1 << 2;
    pub const SYNTHESISED: u32 = 1 << 3;
    /// The records showed the page size; otherwise it was assumed.
    pub const PAGE_BYTES_SHOWN: u32 = 1 << 4;
    pub const NATIVE: u32 = 1 << 5;
    pub const LPAR: u32 = 1 << 6;
    /// Written by 6.2 or later.
    pub const RELEASE_6_2: u32 = 1 << 7;
    pub const ALL: u32 = (1 << 8) - 1;
}

/// Bits of [`Packed::flags`].
mod bit {
    pub const WRITE: u8 = 1;
    pub const HAS_B: u8 = 1 << 1;
    pub const HAS_C: u8 = 1 << 2;
    pub const HAS_D: u8 = 1 << 3;
}

/// Values of [`Packed::kind`].
mod kind {
    pub const EXISTING: u8 = 0;
    pub const MAP: u8 = 1;
    pub const UNMAP: u8 = 2;
    pub const TOUCH: u8 = 3;
    pub const BEGIN: u8 = 4;
    pub const END: u8 = 5;
}

/// The header, at offset 0.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub magic: [u8; 8],
    pub version: U16,
    pub header_bytes: U16,
    pub record_bytes: U16,
    pub task_bytes: U16,
    pub flags: U32,
    pub page_bytes: U32,
    /// Records of areas from before the capture; they come first.
    pub existing: U64,
    /// Records of operations, behind them.
    pub operations: U64,
    /// Entries of the table of tasks, which follows the records.
    pub tasks: U64,
    /// Entries of the table of CPUs, 2 bytes each, which follows it.
    pub cpus: U64,
    /// Where the segment names are, behind that.
    pub names_offset: U64,
    pub names_bytes: U64,
    pub lines: U64,
    pub lost_events: U64,
    pub malformed_lines: U64,
    pub entries_in_buffer: U64,
    pub entries_written: U64,
    pub unexplained_touches: U64,
    pub unexplained_frees: U64,
    pub init_mm: U64,
    pub counts: RecordedTotals,
    /// Sizes of the hash table that explain the recorded inserts: bit n for 2^n groups.
    pub htab_bits: U32,
    pub reserved: [u8; 28],
    /// CRC-32 of everything behind the header.
    pub body_crc: U32,
    /// CRC-32 of the header up to here.
    pub header_crc: U32,
}

/// What the recorded kernel did in all: the scalar fields of [`Counts`](crate::trace::Counts).
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RecordedTotals {
    pub valloc: U64,
    pub vfree: U64,
    pub kfault: U64,
    pub kinsert: U64,
    pub kneed: U64,
    pub kflush_page: U64,
    pub nkbatches: U64,
    pub kbatched: U64,
    pub tlbie: U64,
    pub tlbiel: U64,
}

/// One record.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Packed {
    pub kind: u8,
    pub flags: u8,
    pub cpu: U16,
    /// Index into the table of tasks.
    pub task: U32,
    pub line: U64,
    /// Start or address; offset of a name.
    pub a: U64,
    /// End; recorded group; bytes of a name.
    pub b: U64,
    /// Mapped bytes; recorded virtual page number.
    pub c: U64,
    /// Bytes asked for.
    pub d: U64,
}

/// One entry of the table of tasks.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct PackedTask {
    pub pid: U32,
    pub comm_bytes: u8,
    pub comm: [u8; Comm::LEN_MAX],
    pub reserved: [u8; 4],
}

pub(super) const HEADER_BYTES: usize = size_of::<Header>();
pub(super) const RECORD_BYTES: usize = size_of::<Packed>();
pub(super) const TASK_BYTES: usize = size_of::<PackedTask>();

const _: () = assert!(HEADER_BYTES == 256 && RECORD_BYTES == 48 && TASK_BYTES == 40);

/// What a record says, before its task and its name are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unpacked {
    Existing(PreExisting),
    /// An operation; the names of `Begin` and `End` are still to be filled in.
    Op(Op),
    Begin(NameAt),
    End(NameAt),
}

/// Where a segment name is, within the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameAt {
    pub offset: u64,
    pub bytes: u64,
}

/// Whether a file that begins like this is an `.emut` file, sound or not.
pub(crate) fn looks_like_emut(first: &[u8]) -> bool {
    first.starts_with(&MAGIC[..MAGIC_KNOWN_BYTES])
}

impl Packed {
    /// The record of an area from before the capture.
    pub fn existing(area: &PreExisting) -> Packed {
        Packed {
            kind: kind::EXISTING,
            a: area.start.into(),
            b: area.end.into(),
            c: area.size_bytes.into(),
            ..Packed::default()
        }
    }

    /// The record of an operation by the task of that index; `name` is where its name stands.
    pub fn operation(op: &TraceOp, task: u32, name: NameAt) -> Packed {
        let mut packed = Packed {
            cpu: op.cpu.into(),
            task: task.into(),
            line: op.line.into(),
            ..Packed::default()
        };
        packed.fill(&op.op, name);
        packed
    }

    fn fill(&mut self, op: &Op, name: NameAt) {
        let mut optional = |value: Option<u64>, bit: u8| {
            self.flags |= if value.is_some() { bit } else { 0 };
            U64::new(value.unwrap_or(0))
        };
        match *op {
            Op::Map {
                start,
                end,
                size_bytes,
                requested,
            } => {
                self.d = optional(requested, bit::HAS_D);
                (self.kind, self.a) = (kind::MAP, start.into());
                (self.b, self.c) = (end.into(), size_bytes.into());
            }
            Op::Unmap { addr } => (self.kind, self.a) = (kind::UNMAP, addr.into()),
            Op::Touch {
                addr,
                write,
                recorded_group,
                recorded_vpn,
            } => {
                self.b = optional(recorded_group, bit::HAS_B);
                self.c = optional(recorded_vpn, bit::HAS_C);
                self.flags |= if write { bit::WRITE } else { 0 };
                (self.kind, self.a) = (kind::TOUCH, addr.into());
            }
            Op::Begin(_) | Op::End(_) => {
                let begin = matches!(op, Op::Begin(_));
                self.kind = if begin { kind::BEGIN } else { kind::END };
                (self.a, self.b) = (name.offset.into(), name.bytes.into());
            }
        }
    }

    /// What it says; `None` for anything that the writer does not write.
    pub fn unpack(&self) -> Option<Unpacked> {
        let (a, b, c, d) = (self.a.get(), self.b.get(), self.c.get(), self.d.get());
        let optional = |value: u64, bit: u8| (self.flags & bit != 0).then_some(value);
        let name = NameAt {
            offset: a,
            bytes: b,
        };
        let unpacked = match self.kind {
            kind::EXISTING => Unpacked::Existing(PreExisting {
                start: a,
                end: b,
                size_bytes: c,
            }),
            kind::MAP => Unpacked::Op(Op::Map {
                start: a,
                end: b,
                size_bytes: c,
                requested: optional(d, bit::HAS_D),
            }),
            kind::UNMAP => Unpacked::Op(Op::Unmap { addr: a }),
            kind::TOUCH => Unpacked::Op(Op::Touch {
                addr: a,
                write: self.flags & bit::WRITE != 0,
                recorded_group: optional(b, bit::HAS_B),
                recorded_vpn: optional(c, bit::HAS_C),
            }),
            kind::BEGIN => Unpacked::Begin(name),
            kind::END => Unpacked::End(name),
            _ => return None,
        };
        // Fields that a kind does not use are 0, so that a file has one form.
        (self.as_bytes() == self.again(&unpacked).as_bytes()).then_some(unpacked)
    }

    fn again(&self, unpacked: &Unpacked) -> Packed {
        let mut packed = Packed {
            cpu: self.cpu,
            task: self.task,
            line: self.line,
            ..Packed::default()
        };
        let nowhere = NameAt {
            offset: 0,
            bytes: 0,
        };
        match unpacked {
            Unpacked::Existing(area) => packed = Packed::existing(area),
            Unpacked::Op(op) => packed.fill(op, nowhere),
            Unpacked::Begin(name) => packed.fill(&Op::Begin(String::new()), *name),
            Unpacked::End(name) => packed.fill(&Op::End(String::new()), *name),
        }
        packed
    }
}

impl PackedTask {
    /// The entry of a task.
    pub fn new(task: &TaskId) -> PackedTask {
        let bytes = task.comm.as_bytes();
        let mut comm = [0; Comm::LEN_MAX];
        comm[..bytes.len()].copy_from_slice(bytes);
        PackedTask {
            pid: task.pid.into(),
            comm_bytes: bytes.len() as u8,
            comm,
            reserved: [0; 4],
        }
    }

    /// The task; `None` for an entry that the writer does not write.
    pub fn task(&self) -> Option<TaskId> {
        let comm = Comm::new(self.comm.get(..usize::from(self.comm_bytes))?)?;
        let task = TaskId {
            comm,
            pid: self.pid.get(),
        };
        (PackedTask::new(&task).as_bytes() == self.as_bytes()).then_some(task)
    }
}
