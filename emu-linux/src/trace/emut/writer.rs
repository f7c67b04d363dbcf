//! Writes `.emut` files, one operation at a time.
//!
//! Owns the tables that grow meanwhile. The header comes last, over the place kept for it: a file
//! whose writer died is refused by every reader.

use super::about::header_of;
use super::layout::{HEADER_BYTES, Header, NameAt, Packed, PackedTask, RECORD_BYTES, TASK_BYTES};
use crate::trace::{Op, Survey, TaskId, TraceError, TraceOp};
use std::collections::HashMap;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use zerocopy::IntoBytes;

/// Most tasks in one file.
pub(super) const TASKS_MAX: usize = 1 << 20;
/// Most bytes of all segment names together.
pub(super) const NAMES_BYTES_MAX: u64 = 1 << 30;

/// A writer of one `.emut` file.
#[derive(Debug)]
pub struct Writer<W: Write + Seek> {
    name: String,
    out: BufWriter<W>,
    crc: crc32fast::Hasher,
    header: Header,
    tasks: Vec<TaskId>,
    indices: HashMap<TaskId, u32>,
    cpus: Vec<u16>,
    names: Vec<u8>,
    named: HashMap<String, NameAt>,
}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header")
            .field("operations", &self.operations.get())
            .finish_non_exhaustive()
    }
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a file at the start of `out`, which messages call `name`: what `survey` says about the
    /// capture, in pages of `page_bytes`, and its areas from before.
    ///
    /// # Errors
    /// [`TraceError::Write`]; [`TraceError::Limit`] for more tasks than a file holds.
    pub fn new(
        out: W,
        name: &str,
        survey: &Survey,
        page_bytes: u64,
    ) -> Result<Writer<W>, TraceError> {
        let mut writer = Writer {
            name: name.to_owned(),
            out: BufWriter::new(out),
            crc: crc32fast::Hasher::new(),
            header: header_of(survey, page_bytes),
            tasks: Vec::new(),
            indices: HashMap::new(),
            cpus: survey.cpus.clone(),
            names: Vec::new(),
            named: HashMap::new(),
        };
        for task in &survey.tasks {
            writer.task(*task, 0)?;
        }
        let place = [0; HEADER_BYTES];
        let kept = writer.out.write_all(&place);
        kept.map_err(|source| writer.failed(source))?;
        for area in &survey.pre_existing {
            writer.write(Packed::existing(area).as_bytes())?;
        }
        Ok(writer)
    }

    /// Adds an operation.
    ///
    /// # Errors
    /// [`TraceError::Write`]; [`TraceError::Limit`] for more tasks or names than a file holds.
    pub fn push(&mut self, op: &TraceOp) -> Result<(), TraceError> {
        let task = self.task(op.task, op.line)?;
        let name = match &op.op {
            Op::Begin(name) | Op::End(name) => self.name_at(name, op.line)?,
            _ => NameAt {
                offset: 0,
                bytes: 0,
            },
        };
        self.write(Packed::operation(op, task, name).as_bytes())?;
        self.header.operations += 1;
        Ok(())
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.header.operations.get()
    }

    /// Writes the tables and the header, and gives `out` back.
    ///
    /// # Errors
    /// [`TraceError::Write`].
    pub fn finish(mut self) -> Result<W, TraceError> {
        let mut tables = Vec::with_capacity(self.tasks.len() * TASK_BYTES + self.names.len());
        for task in &self.tasks {
            tables.extend_from_slice(PackedTask::new(task).as_bytes());
        }
        for cpu in &self.cpus {
            tables.extend_from_slice(&cpu.to_le_bytes());
        }
        let records = self.header.existing.get() + self.operations();
        let names_offset =
            HEADER_BYTES as u64 + records * RECORD_BYTES as u64 + tables.len() as u64;
        tables.append(&mut self.names);
        let names_bytes =
            tables.len() as u64 - (self.tasks.len() * TASK_BYTES + self.cpus.len() * 2) as u64;
        self.write(&tables)?;
        self.header.tasks = (self.tasks.len() as u64).into();
        self.header.cpus = (self.cpus.len() as u64).into();
        self.header.names_offset = names_offset.into();
        self.header.names_bytes = names_bytes.into();
        self.header.body_crc = self.crc.clone().finalize().into();
        self.header.header_crc = header_crc(&self.header).into();
        let (name, header) = (self.name, self.header);
        let failed = |source| TraceError::Write {
            name: name.clone(),
            source,
        };
        let mut out = self.out;
        out.seek(SeekFrom::Start(0)).map_err(failed)?;
        out.write_all(header.as_bytes()).map_err(failed)?;
        out.into_inner().map_err(|error| failed(error.into_error()))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TraceError> {
        self.crc.update(bytes);
        let written = self.out.write_all(bytes);
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> TraceError {
        TraceError::Write {
            name: self.name.clone(),
            source,
        }
    }

    fn limit(&self, line: u64, what: &'static str, max: usize) -> TraceError {
        TraceError::Limit {
            name: self.name.clone(),
            line,
            what,
            max,
        }
    }

    fn task(&mut self, task: TaskId, line: u64) -> Result<u32, TraceError> {
        if let Some(&index) = self.indices.get(&task) {
            return Ok(index);
        }
        if self.tasks.len() >= TASKS_MAX {
            return Err(self.limit(line, "tasks", TASKS_MAX));
        }
        let index = self.tasks.len() as u32;
        self.tasks.push(task);
        self.indices.insert(task, index);
        Ok(index)
    }

    fn name_at(&mut self, name: &str, line: u64) -> Result<NameAt, TraceError> {
        if let Some(&at) = self.named.get(name) {
            return Ok(at);
        }
        let (offset, bytes) = (self.names.len() as u64, name.len() as u64);
        if offset + bytes > NAMES_BYTES_MAX {
            return Err(self.limit(line, "bytes of segment names", NAMES_BYTES_MAX as usize));
        }
        let at = NameAt { offset, bytes };
        self.names.extend_from_slice(name.as_bytes());
        self.named.insert(name.to_owned(), at);
        Ok(at)
    }
}

/// Writes a whole capture; `progress` is told the operations so far. Gives `out` back.
///
/// # Errors
/// Those of [`Writer`], and of `ops`.
pub fn write<W: Write + Seek>(
    out: W,
    name: &str,
    importer: &crate::trace::Importer,
    progress: &mut dyn FnMut(u64),
) -> Result<W, TraceError> {
    let mut writer = Writer::new(out, name, importer.survey(), importer.page_bytes())?;
    for op in importer.ops()? {
        writer.push(&op?)?;
        progress(writer.operations());
    }
    writer.finish()
}

/// CRC-32 of a header but for the CRC itself, which is its end.
pub(super) fn header_crc(header: &Header) -> u32 {
    crc32fast::hash(&header.as_bytes()[..HEADER_BYTES - size_of::<u32>()])
}

/// Sets both checksums of a file in memory to what they should be, so that a changed file is refused
/// for what was changed; nothing if it is shorter than a header.
pub(crate) fn seal(bytes: &mut [u8]) {
    use zerocopy::FromBytes;
    if let Some((first, body)) = bytes.split_at_mut_checked(HEADER_BYTES)
        && let Ok(header) = Header::mut_from_bytes(first)
    {
        header.body_crc = crc32fast::hash(body).into();
        header.header_crc = header_crc(header).into();
    }
}
