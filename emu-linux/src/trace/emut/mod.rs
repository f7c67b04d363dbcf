//! `.emut`, the compact form of a capture: what a replay does, without the text.
//!
//! Owns the format, its writer and its reader. A file is a header of fixed size, records of fixed size
//! (the areas from before the capture, then the operations in order), the tables of tasks and CPUs,
//! and the bytes of the segment names; all numbers little-endian, a CRC-32 over the header and one
//! over the rest. It keeps the operations exactly and the counts that a replay compares itself with;
//! what a capture recorded per segment, its skipped events and the text of its bad lines stay behind.
//! Refuses, with one sentence, files that are damaged, cut, or of a newer version.

mod about;
mod layout;
mod reader;
mod writer;

pub use layout::VERSION;
pub(crate) use layout::looks_like_emut;
pub(crate) use reader::{EmutFile, EmutOps};
pub(crate) use writer::seal;
pub use writer::{Writer, write};
