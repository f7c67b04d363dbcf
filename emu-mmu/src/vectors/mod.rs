//! Recorded machine states: what a CPU had in its registers, SLB and table, the accesses made, and
//! what each gave.
//!
//! Owns the file format (one JSON object a line, numbers as hexadecimal strings) and the comparison
//! with this crate's MMU. Refuses files: the caller reads lines. Everything about cached translations
//! lies outside: TLB and ERAT are empty before every access.
//!
//! ```
//! use emu_mmu::vectors::{Runner, Vector, Verdict};
//!
//! let line = r#"{"id":1,"cat":"basic_primary","cpu":"power8","sdr1":"0x9d00002",
//!   "slb":[{"rb":"0x1d0559dbb8000005","rs":"0x4f000"}],
//!   "hptes":[{"index":57025,"dw0":"0x4f381","dw1":"0x12f67010"}],
//!   "accesses":[{"ea":"0x1d0559dbb3b97600","kind":"ld","pr":0,"expect":{"ra":"0x12f67600"},
//!     "rc_after":"2"}]}"#;
//! let vector = Vector::parse(line)?;
//! assert_eq!(Runner::new()?.run(&vector)?, Verdict::Passed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod format;
pub mod fuzzing;
mod run;

pub use format::{
    Expect, Hex, RecordedAccess, RecordedCpu, RecordedHpte, RecordedKind, RecordedSlb, Vector,
};
pub use run::{Difference, Runner, Verdict};

use crate::hpt::HptError;
use crate::memory::MemoryError;
use crate::replace::GeometryError;
use crate::slb::SlbError;
use thiserror::Error;

/// Why a vector could not be read or set up. A wrong result is no error but [`Verdict::Failed`].
#[derive(Debug, Error)]
pub enum VectorError {
    /// No vector.
    #[error("not a vector: {0}")]
    Json(#[from] serde_json::Error),
    /// Neither SDR1 nor a partition table entry, or both.
    #[error("vector {id} ({cpu}) needs `{needs}` and nothing else to say where the table is")]
    Table {
        /// The vector.
        id: u64,
        /// Its CPU.
        cpu: RecordedCpu,
        /// The field its CPU has.
        needs: &'static str,
    },
    /// An entry past the table's end.
    #[error("vector {id}: entry {index} is past the table of {entries} entries")]
    Index {
        /// The vector.
        id: u64,
        /// The entry.
        index: u64,
        /// Entries of the table.
        entries: u64,
    },
    /// `rc_after` is not one digit from 0 to 3 for each entry.
    #[error("vector {id}: rc_after `{text}` is not {entries} digits from 0 to 3")]
    Rc {
        /// The vector.
        id: u64,
        /// What stands there.
        text: String,
        /// Entries listed.
        entries: usize,
    },
    /// The table cannot be.
    #[error("vector {id}: {error}")]
    Hpt {
        /// The vector.
        id: u64,
        /// Why.
        error: HptError,
    },
    /// An `slbmte` was refused.
    #[error("vector {id}: slbmte: {error}")]
    Slb {
        /// The vector.
        id: u64,
        /// Why.
        error: SlbError,
    },
    /// The table is outside the memory of a [`Runner`].
    #[error("vector {id}: {error}")]
    Memory {
        /// The vector.
        id: u64,
        /// Why.
        error: MemoryError,
    },
    /// No memory to run in.
    #[error("memory for the vectors: {0}")]
    Setup(#[from] MemoryError),
    /// The MMU could not be built.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
}

#[cfg(test)]
mod tests;
