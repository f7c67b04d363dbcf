//! What a user should know before trusting the replay of a capture.

use super::{MalformedLine, Survey, Unexplained};
use serde::Serialize;
use std::fmt;

/// Something a user should know before trusting the replay of a capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the display text of each says what its fields are"
)]
pub enum Warning {
    /// The ring buffer overran.
    Overran {
        entries_in_buffer: u64,
        entries_written: u64,
    },
    /// Events were lost.
    LostEvents { events: u64 },
    /// Lines could not be read.
    Malformed {
        lines: u64,
        first: Option<MalformedLine>,
    },
    /// Records were not replayed.
    Unexplained(Unexplained),
    /// No allocation records.
    NoAllocations,
    /// No kernel hash faults.
    NoTouches,
    /// The operations are made up.
    Synthesised,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Overran {
                entries_in_buffer,
                entries_written,
            } => write!(
                f,
                "the ring buffer overran: {entries_written} entries written, {entries_in_buffer} \
                 kept; the oldest are missing (raise buffer_size_kb)"
            ),
            Warning::LostEvents { events } => write!(f, "the kernel lost {events} events"),
            Warning::Malformed {
                lines,
                first: Some(first),
            } => {
                write!(
                    f,
                    "{lines} malformed lines, first line {}: {}",
                    first.line, first.reason
                )
            }
            Warning::Malformed { lines, first: None } => write!(f, "{lines} malformed lines"),
            Warning::Unexplained(Unexplained { touches, frees }) => write!(
                f,
                "{touches} touches and {frees} frees of areas whose allocation was not recorded \
                 are left out"
            ),
            Warning::NoAllocations => f.write_str("no allocations were recorded"),
            Warning::NoTouches => f.write_str("no kernel hash faults were recorded"),
            Warning::Synthesised => f.write_str(
                "the operations are made up from frees and queued pages; counts need not equal \
                 the recorded ones",
            ),
        }
    }
}

impl Survey {
    /// What a user should know before trusting a replay.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if let (Some(entries_in_buffer), Some(entries_written)) =
            (self.header.entries_in_buffer, self.header.entries_written)
            && entries_written > entries_in_buffer
        {
            warnings.push(Warning::Overran {
                entries_in_buffer,
                entries_written,
            });
        }
        if self.lost_events > 0 {
            warnings.push(Warning::LostEvents {
                events: self.lost_events,
            });
        }
        if self.malformed.lines > 0 {
            let first = self.malformed.first.first().copied();
            warnings.push(Warning::Malformed {
                lines: self.malformed.lines,
                first,
            });
        }
        if self.unexplained != Unexplained::default() {
            warnings.push(Warning::Unexplained(self.unexplained));
        }
        if !self.has_allocations {
            warnings.push(Warning::NoAllocations);
        }
        if !self.has_touches {
            warnings.push(Warning::NoTouches);
        }
        if self.synthesised {
            warnings.push(Warning::Synthesised);
        }
        warnings
    }
}
