//! Reads ftrace text line by line, plain or gzip, in constant memory.
//!
//! Owns recognising the file, its header, lost-event lines and the account of what could not be
//! read. Refuses files that are not ftrace text; a bad line in a good file is counted and skipped.

use super::columns::Columns;
use super::event::NAMES;
use super::{Event, Malformed, MalformedSummary, Record, TraceError, fields::number};
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;

/// Longest line read, in bytes; a longer one is malformed and skipped.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Names of unknown events that are kept; further ones are counted together.
pub const UNKNOWN_NAMES_MAX: usize = 64;
/// Lines that may be unreadable before a file without ftrace header is given up.
const FOREIGN_LINES_MAX: u64 = 64;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What the header of a capture says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Header {
    /// Name of the tracer; `nop` if only events were traced.
    pub tracer: Option<String>,
    /// Records in the ring buffer when it was read.
    pub entries_in_buffer: Option<u64>,
    /// Records ever written to it; more than `entries_in_buffer` means the oldest were overwritten.
    pub entries_written: Option<u64>,
    /// CPUs (`#P:n`).
    pub cpus: Option<u64>,
}

/// What the reader met so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReaderStats {
    /// Lines read.
    pub lines: u64,
    /// Records understood.
    pub records: u64,
    /// Records per known event.
    pub known: BTreeMap<&'static str, u64>,
    /// Records per event that is not known; the first [`UNKNOWN_NAMES_MAX`] names.
    pub unknown: BTreeMap<String, u64>,
    /// Records of unknown events beyond those names.
    pub unknown_others: u64,
    /// Events the kernel says it lost (`CPU:n [LOST m EVENTS]`); one without a number counts 1.
    pub lost_events: u64,
    /// Lines that could not be read.
    pub malformed: MalformedSummary,
    /// The header.
    pub header: Header,
}

/// A streaming reader of one capture.
pub struct Reader {
    name: String,
    input: Box<dyn BufRead + Send>,
    gzip: bool,
    line: Vec<u8>,
    stats: ReaderStats,
    /// Records per known event, by its index.
    known: [u64; NAMES.len()],
    recognised: bool,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("name", &self.name)
            .field("stats", &self.stats)
            .finish()
    }
}

impl Reader {
    /// Opens a file, plain or gzip (told by its first bytes, not by its name).
    ///
    /// # Errors
    /// [`TraceError::Open`], and those of [`Reader::new`].
    pub fn open(path: impl AsRef<Path>) -> Result<Reader, TraceError> {
        let name = path.as_ref().display().to_string();
        match File::open(path) {
            Ok(file) => Reader::new(name, file),
            Err(source) => Err(TraceError::Open { name, source }),
        }
    }

    /// Reads `input`, which messages call `name`.
    ///
    /// # Errors
    /// [`TraceError::Empty`], [`TraceError::Read`], or [`TraceError::NotFtrace`] if the first bytes
    /// are those of another trace format.
    pub fn new(
        name: impl Into<String>,
        mut input: impl Read + Send + 'static,
    ) -> Result<Reader, TraceError> {
        let name = name.into();
        let mut magic = Vec::new();
        if let Err(source) = input.by_ref().take(8).read_to_end(&mut magic) {
            return Err(TraceError::Read {
                name,
                line: 0,
                source,
            });
        }
        if let Some(hint) = foreign_magic(&magic) {
            return Err(TraceError::NotFtrace { name, hint });
        }
        let gzip = magic.starts_with(&GZIP_MAGIC);
        if magic.is_empty() {
            return Err(TraceError::Empty { name });
        }
        let input = Cursor::new(magic).chain(input);
        let input: Box<dyn BufRead + Send> = if gzip {
            Box::new(BufReader::with_capacity(
                64 << 10,
                MultiGzDecoder::new(input),
            ))
        } else {
            Box::new(BufReader::with_capacity(64 << 10, input))
        };
        let stats = ReaderStats::default();
        Ok(Reader {
            name,
            input,
            gzip,
            line: Vec::new(),
            stats,
            known: [0; NAMES.len()],
            recognised: false,
        })
    }

    /// The name given when it was made.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The account so far; complete once [`Reader::next_record`] returned `None`.
    pub fn stats(&self) -> ReaderStats {
        let known = NAMES
            .into_iter()
            .zip(self.known)
            .filter(|&(_, count)| count > 0);
        ReaderStats {
            known: known.collect(),
            ..self.stats.clone()
        }
    }

    /// Lines read so far.
    pub fn lines(&self) -> u64 {
        self.stats.lines
    }

    /// The next record of a known event; `None` at the end.
    ///
    /// # Errors
    /// Reading or decompressing failed, or the file turns out not to be ftrace text.
    pub fn next_record(&mut self) -> Result<Option<Record>, TraceError> {
        loop {
            let ending = self.read_line()?;
            let reason = match ending {
                Ending::File => {
                    return if self.recognised {
                        Ok(None)
                    } else {
                        Err(self.not_ftrace())
                    };
                }
                Ending::Cut => Some(Malformed::Cut),
                Ending::TooLong => Some(Malformed::TooLong),
                _ => None,
            };
            let parsed = match reason {
                Some(reason) => Err(reason),
                None => self.parse_line(),
            };
            match parsed {
                Ok(None) => {}
                Ok(Some(record)) => return Ok(Some(record)),
                Err(reason) => {
                    self.stats.malformed.add(self.stats.lines, reason);
                    if !self.recognised && self.stats.malformed.lines >= FOREIGN_LINES_MAX {
                        return Err(self.not_ftrace());
                    }
                }
            }
        }
    }

    fn parse_line(&mut self) -> Result<Option<Record>, Malformed> {
        let stats = &mut self.stats;
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if line.is_empty() {
            return Ok(None);
        }
        if let Some(comment) = line.strip_prefix(b"#") {
            self.recognised |= stats.header.read(comment);
            return Ok(None);
        }
        if let Some(lost) = lost_events(line) {
            self.recognised = true;
            stats.lost_events = stats.lost_events.saturating_add(lost);
            return Ok(None);
        }
        let columns = Columns::parse(line)?;
        self.recognised = true;
        let Some(event) = Event::parse(columns.name, columns.text)? else {
            stats.add_unknown(columns.name);
            return Ok(None);
        };
        stats.records += 1;
        self.known[event.index()] += 1;
        let Columns {
            task,
            cpu,
            flags,
            timestamp_us,
            ..
        } = columns;
        Ok(Some(Record {
            line: stats.lines,
            task,
            cpu,
            flags,
            timestamp_us,
            event,
        }))
    }

    /// Reads one line into `self.line`, without its newline.
    fn read_line(&mut self) -> Result<Ending, TraceError> {
        self.line.clear();
        let mut limited = self.input.by_ref().take(LINE_BYTES_MAX as u64);
        let outcome = limited.read_until(b'\n', &mut self.line);
        match outcome {
            Ok(0) => return Ok(Ending::File),
            Ok(_) => self.stats.lines += 1,
            Err(source) => return Err(self.read_error(source)),
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            return Ok(Ending::Line);
        }
        if self.line.len() < LINE_BYTES_MAX {
            return Ok(Ending::Cut);
        }
        self.skip_line()?;
        Ok(Ending::TooLong)
    }

    fn skip_line(&mut self) -> Result<(), TraceError> {
        loop {
            let (used, done) = match self.input.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(buffer) => match buffer.iter().position(|&b| b == b'\n') {
                    Some(at) => (at + 1, true),
                    None => (buffer.len(), false),
                },
                Err(source) if source.kind() == ErrorKind::Interrupted => continue,
                Err(source) => return Err(self.read_error(source)),
            };
            self.input.consume(used);
            if done {
                return Ok(());
            }
        }
    }

    fn read_error(&self, source: std::io::Error) -> TraceError {
        let (name, line) = (self.name.clone(), self.stats.lines);
        if self.gzip {
            TraceError::Gzip { name, line, source }
        } else {
            TraceError::Read { name, line, source }
        }
    }

    fn not_ftrace(&self) -> TraceError {
        let name = self.name.clone();
        if self.stats.lines == 0 {
            return TraceError::Empty { name };
        }
        let hint = "no `# tracer:` header and no record; save /sys/kernel/tracing/trace as it is";
        TraceError::NotFtrace { name, hint }
    }
}

/// How a line ended.
enum Ending {
    Line,
    Cut,
    TooLong,
    File,
}

impl Header {
    /// Takes what a comment line says; whether only ftrace writes such a line.
    fn read(&mut self, comment: &[u8]) -> bool {
        let comment = String::from_utf8_lossy(&comment[..comment.len().min(256)]);
        let comment = comment.trim();
        if let Some(tracer) = comment.strip_prefix("tracer:") {
            self.tracer = Some(tracer.trim().to_string());
            return true;
        }
        let Some(entries) = comment.strip_prefix("entries-in-buffer/entries-written:") else {
            return false;
        };
        let mut words = entries.split_whitespace();
        if let Some((buffer, written)) = words.next().and_then(|word| word.split_once('/')) {
            self.entries_in_buffer = number(buffer.as_bytes());
            self.entries_written = number(written.as_bytes());
        }
        let cpus = words.next().and_then(|word| word.strip_prefix("#P:"));
        self.cpus = cpus.and_then(|word| number(word.as_bytes()));
        true
    }
}

impl ReaderStats {
    fn add_unknown(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name);
        if let Some(count) = self.unknown.get_mut(name.as_ref()) {
            *count += 1;
        } else if self.unknown.len() < UNKNOWN_NAMES_MAX {
            self.unknown.insert(name.into_owned(), 1);
        } else {
            self.unknown_others += 1;
        }
    }
}

/// `CPU:n [LOST m EVENTS]` or `CPU:n [LOST EVENTS]` (Linux kernel/trace/trace.c, `print_trace_line`).
fn lost_events(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line.get(..line.len().min(64))?.strip_prefix(b"CPU:")?).ok()?;
    let (cpu, lost) = line.trim_end().split_once(" [LOST ")?;
    number(cpu.as_bytes())?;
    match lost.strip_suffix("EVENTS]")?.trim_end() {
        "" => Some(1),
        count => number(count.as_bytes()),
    }
}

fn foreign_magic(magic: &[u8]) -> Option<&'static str> {
    let formats: [(&[u8], &str); 4] = [
        (
            b"\x17\x08Dtraci",
            "it is a trace-cmd file; save /sys/kernel/tracing/trace instead",
        ),
        (
            b"PERFILE2",
            "it is a perf.data file; save /sys/kernel/tracing/trace instead",
        ),
        (
            b"\x28\xb5\x2f\xfd",
            "it is zstd data; unpack it, or compress with gzip",
        ),
        (
            b"\xfd7zXZ",
            "it is xz data; unpack it, or compress with gzip",
        ),
    ];
    formats
        .iter()
        .find(|(start, _)| magic.starts_with(start))
        .map(|f| f.1)
}
