//! What can be wrong with a capture: errors that refuse the file, and reasons a line is malformed.

use serde::Serialize;
use std::io;
use thiserror::Error;

/// A capture that cannot be imported. Each message names the file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file cannot be opened.
    #[error("{name}: cannot open the capture: {source}")]
    Open {
        /// The file, as the caller named it.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The importer reads a capture twice, which a pipe or a device does not allow.
    #[error("{name}: not a regular file; a capture is read twice, so save it to a file first")]
    NotRegular {
        /// The file, as the caller named it.
        name: String,
    },
    /// Reading failed.
    #[error("{name}: reading failed after line {line}: {source}")]
    Read {
        /// The file, as the caller named it.
        name: String,
        /// Lines read before.
        line: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The gzip data ends early or is damaged.
    #[error("{name}: the gzip data is cut or damaged after line {line}: {source}")]
    Gzip {
        /// The file, as the caller named it.
        name: String,
        /// Lines decompressed before.
        line: u64,
        /// What the decoder said.
        source: io::Error,
    },
    /// The file holds no byte.
    #[error("{name}: the file is empty")]
    Empty {
        /// The file, as the caller named it.
        name: String,
    },
    /// The file is something else.
    #[error("{name}: this is not ftrace text: {hint}")]
    NotFtrace {
        /// The file, as the caller named it.
        name: String,
        /// What it looks like, and what to do.
        hint: &'static str,
    },
    /// Ftrace text without one usable record.
    #[error("{name}: ftrace text, but no record in it ({malformed} malformed lines)")]
    NoRecords {
        /// The file, as the caller named it.
        name: String,
        /// Lines that could not be read.
        malformed: u64,
    },
    /// An `.emut` file that is not as it was written.
    #[error("{name}: the .emut file is damaged: {what}")]
    EmutDamaged {
        /// The file, as the caller named it.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An `.emut` file without its end.
    #[error("{name}: the .emut file is cut: {bytes} bytes are left of {expected}")]
    EmutCut {
        /// The file, as the caller named it.
        name: String,
        /// Bytes there are.
        bytes: u64,
        /// Bytes there should be at least.
        expected: u64,
    },
    /// An `.emut` file of a version to come.
    #[error(
        "{name}: the .emut file has version {version}, and this program reads up to {newest}; use a \
         newer one, or import the capture again"
    )]
    EmutVersion {
        /// The file, as the caller named it.
        name: String,
        /// Its version.
        version: u16,
        /// The newest version that is read.
        newest: u16,
    },
    /// Writing a file failed.
    #[error("{name}: writing failed: {source}")]
    Write {
        /// The file, as the caller named it.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// More state than the importer is willing to hold, or more than a file can.
    #[error("{name}, line {line}: more than {max} {what}")]
    Limit {
        /// The file, as the caller named it.
        name: String,
        /// The line that went over.
        line: u64,
        /// What there is too much of.
        what: &'static str,
        /// How many are accepted.
        max: usize,
    },
}

/// Why a line was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Malformed {
    /// The columns TASK-PID, CPU# and TIMESTAMP are not there.
    #[error("no TASK-PID, CPU# and TIMESTAMP columns")]
    Columns,
    /// The columns are there, an `event:` after them is not.
    #[error("no event name after the time stamp")]
    EventName,
    /// A known event lacks a field.
    #[error("the event has no field `{0}`")]
    Missing(&'static str),
    /// A field is not a number, or does not fit.
    #[error("field `{0}` is not a number that fits")]
    Number(&'static str),
    /// The line is longer than [`LINE_BYTES_MAX`](super::ftrace::LINE_BYTES_MAX).
    #[error("the line is too long")]
    TooLong,
    /// The last line does not end: the file was cut in the middle of it.
    #[error("the last line is cut: no newline at its end")]
    Cut,
}

/// One malformed line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MalformedLine {
    /// Line number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: Malformed,
}

/// How many lines were malformed, and the first few.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MalformedSummary {
    /// Malformed lines in the whole file.
    pub lines: u64,
    /// The first [`MalformedSummary::FIRST_MAX`] of them.
    pub first: Vec<MalformedLine>,
}

impl MalformedSummary {
    /// How many malformed lines are kept.
    pub const FIRST_MAX: usize = 8;

    pub(crate) fn add(&mut self, line: u64, reason: Malformed) {
        self.lines += 1;
        if self.first.len() < Self::FIRST_MAX {
            self.first.push(MalformedLine { line, reason });
        }
    }
}
