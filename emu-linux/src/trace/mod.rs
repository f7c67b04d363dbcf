//! Captures of real kernels: reads ftrace text and turns it into operations to replay, and keeps
//! them in a compact form of its own ([`emut`]).
//!
//! Owns the formats (records, headers, malformed lines), the pairing of allocation and free records
//! into areas, and the counts a capture recorded about itself. It refuses files that are neither
//! ftrace text nor `.emut`. It does not run anything: the replay executes [`TraceOp`]s, and only allocations, frees,
//! kernel hash faults and `begin`/`end` marks produce them. What the recorded kernel did with its
//! batches and its hash table is kept for comparison ([`RecordedCounts`]) and never replayed.
//!
//! ```no_run
//! let importer = emu_linux::trace::Importer::open("capture.txt.gz")?;
//! println!("{} records", importer.survey().records);
//! for op in importer.ops()? {
//!     println!("{:?}", op?);
//! }
//! # Ok::<(), emu_linux::trace::TraceError>(())
//! ```

mod areas;
mod columns;
pub mod emut;
mod error;
mod event;
mod event_text;
mod fields;
pub mod ftrace;
mod ftrace_ops;
#[doc(hidden)]
pub mod fuzzing;
pub mod generate;
mod import;
mod intervals;
mod mask_votes;
mod op;
mod page_votes;
mod recipe;
mod record;
pub mod recorded;
mod survey;
mod synthesis;
mod unknown;
mod warning;

pub use crate::config::Backend;
pub use error::{Malformed, MalformedLine, MalformedSummary, TraceError};
pub use event::{Event, RangeFlush};
pub use ftrace::{Header, Reader};
pub use import::{Format, Importer, Ops};
pub use mask_votes::HtabSizes;
pub use op::{Op, TraceOp};
pub use recipe::recipe;
pub use record::{Comm, Flags, Record, TaskId};
pub use recorded::{Counts, RecordedCounts, SegmentCounts};
pub use survey::{KernelHint, PreExisting, Survey, Unexplained};
pub use warning::Warning;

/// First effective address of the kernel on 64-bit Book3S: `PAGE_OFFSET`
/// (Linux arch/powerpc/include/asm/page.h).
pub const KERNEL_EA_START: u64 = 0xc000_0000_0000_0000;
