//! Reads `.emut` files: checked whole when opened, then streamed from the mapping.
//!
//! Owns every check of a file. What it hands out after that may still fail, if the file is changed
//! while it is read, and is then an error, never a wrong operation without notice of its shape.

use super::about::survey_of;
use super::layout::{
    HEADER_BYTES, Header, MAGIC, NameAt, Packed, PackedTask, RECORD_BYTES, TASK_BYTES, Unpacked,
    VERSION, flag,
};
use super::writer::{NAMES_BYTES_MAX, TASKS_MAX, header_crc};
use crate::trace::areas::AREAS_MAX;
use crate::trace::ftrace::LINE_BYTES_MAX;
use crate::trace::mask_votes::HtabSizes;
use crate::trace::recorded::SEGMENTS_MAX;
use crate::trace::{Op, Survey, TaskId, TraceError, TraceOp};
use emu_mmu::FileMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// Records read at a time.
const CHUNK_RECORDS: usize = 1024;
/// Bytes checked at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// The bytes of a file.
#[derive(Debug)]
enum Bytes {
    Map(FileMap),
    Memory(Arc<[u8]>),
}

impl Bytes {
    fn len(&self) -> u64 {
        match self {
            Bytes::Map(map) => map.len_bytes(),
            Bytes::Memory(bytes) => bytes.len() as u64,
        }
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Bytes::Map(map) => map.read_at(offset, out),
            Bytes::Memory(bytes) => {
                let from = usize::try_from(offset).ok();
                let end = from.and_then(|from| from.checked_add(out.len()));
                let found = from.zip(end).and_then(|(from, end)| bytes.get(from..end));
                let found = found.ok_or(io::ErrorKind::UnexpectedEof)?;
                out.copy_from_slice(found);
                Ok(())
            }
        }
    }
}

/// An opened file: header and tables.
#[derive(Debug)]
struct Open {
    name: String,
    bytes: Bytes,
    existing: u64,
    operations: u64,
    names_offset: u64,
    names_bytes: u64,
    page_bytes: u64,
    tasks: Vec<TaskId>,
}

/// An `.emut` file that has been checked and can be streamed as often as wanted.
#[derive(Debug, Clone)]
pub(crate) struct EmutFile {
    open: Arc<Open>,
    survey: Survey,
}

impl EmutFile {
    /// Maps a file and checks all of it.
    pub fn open(name: String, file: File) -> Result<EmutFile, TraceError> {
        match FileMap::new(file) {
            Ok(map) => EmutFile::new(name, Bytes::Map(map)),
            Err(source) => Err(TraceError::Open { name, source }),
        }
    }

    /// The same for a file in memory.
    pub fn from_bytes(name: String, bytes: Arc<[u8]>) -> Result<EmutFile, TraceError> {
        EmutFile::new(name, Bytes::Memory(bytes))
    }

    fn new(name: String, bytes: Bytes) -> Result<EmutFile, TraceError> {
        let damaged = |what| TraceError::EmutDamaged {
            name: name.clone(),
            what,
        };
        let header = read_header(&name, &bytes)?;
        let mut open = Open {
            name: name.clone(),
            existing: header.existing.get(),
            operations: header.operations.get(),
            names_offset: header.names_offset.get(),
            names_bytes: header.names_bytes.get(),
            page_bytes: u64::from(header.page_bytes.get()),
            tasks: Vec::new(),
            bytes,
        };
        if header.flags.get() & !flag::ALL != 0
            || header.reserved != [0; 28]
            || HtabSizes::from_mask(header.htab_bits.get()).is_none()
            || open.existing > AREAS_MAX as u64
        {
            return Err(damaged("its header has values that no writer gives"));
        }
        check_body(&open, &header)?;
        let tables = open.names_offset
            - header.tasks.get() * TASK_BYTES as u64
            - header.cpus.get() * size_of::<u16>() as u64;
        open.read_tasks(tables, header.tasks.get())?;
        let cpus_offset = tables + header.tasks.get() * TASK_BYTES as u64;
        let cpus = open.read_cpus(cpus_offset, header.cpus.get())?;
        let mut survey = survey_of(name, &header, open.tasks.clone(), cpus);
        let open = Arc::new(open);
        for record in 0..open.existing {
            match open.record(record)?.1 {
                Unpacked::Existing(area) => survey.pre_existing.push(area),
                _ => return Err(open.damaged("an operation stands among the areas")),
            }
        }
        for op in EmutOps::new(open.clone()) {
            let op = op?;
            *survey.events.entry(kind_name(&op.op)).or_default() += 1;
            if let Op::Begin(name) = op.op
                && survey.segments.len() < SEGMENTS_MAX
            {
                survey.segments.push(name);
            }
        }
        Ok(EmutFile { open, survey })
    }

    /// What the file says about the capture it comes from.
    pub fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Bytes of a page.
    pub fn page_bytes(&self) -> u64 {
        self.open.page_bytes
    }

    /// The operations in order.
    pub fn ops(&self) -> EmutOps {
        EmutOps::new(self.open.clone())
    }
}

/// The operations of an `.emut` file. It ends after the first error.
#[derive(Debug)]
pub(crate) struct EmutOps {
    open: Arc<Open>,
    next: u64,
    chunk: Vec<u8>,
    at: usize,
}

impl EmutOps {
    fn new(open: Arc<Open>) -> EmutOps {
        EmutOps {
            next: open.existing,
            open,
            chunk: Vec::new(),
            at: 0,
        }
    }

    fn read(&mut self) -> Result<TraceOp, TraceError> {
        if self.at == self.chunk.len() {
            let left = self.open.existing + self.open.operations - self.next;
            let records = left.min(CHUNK_RECORDS as u64) as usize;
            self.chunk.resize(records * RECORD_BYTES, 0);
            self.at = 0;
            self.open.read(record_offset(self.next), &mut self.chunk)?;
        }
        let bytes = &self.chunk[self.at..self.at + RECORD_BYTES];
        self.at += RECORD_BYTES;
        self.next += 1;
        let (packed, unpacked) = self.open.unpack(bytes)?;
        let op = match unpacked {
            Unpacked::Op(op) => op,
            Unpacked::Begin(name) => Op::Begin(self.open.name_at(name)?),
            Unpacked::End(name) => Op::End(self.open.name_at(name)?),
            Unpacked::Existing(_) => {
                return Err(self.open.damaged("an area stands among the operations"));
            }
        };
        let task = self.open.tasks.get(packed.task.get() as usize);
        let task = task.ok_or_else(|| self.open.damaged("a record names no task of its table"))?;
        Ok(TraceOp {
            line: packed.line.get(),
            task: *task,
            cpu: packed.cpu.get(),
            op,
        })
    }
}

impl Iterator for EmutOps {
    type Item = Result<TraceOp, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.open.existing + self.open.operations {
            return None;
        }
        let op = self.read();
        if op.is_err() {
            self.next = u64::MAX;
        }
        Some(op)
    }
}

impl Open {
    fn damaged(&self, what: &'static str) -> TraceError {
        TraceError::EmutDamaged {
            name: self.name.clone(),
            what,
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), TraceError> {
        let read = self.bytes.read_at(offset, out);
        read.map_err(|_| self.damaged("it became shorter while it was read"))
    }

    fn unpack(&self, bytes: &[u8]) -> Result<(Packed, Unpacked), TraceError> {
        let packed = Packed::read_from_bytes(bytes).ok();
        let unpacked = packed.and_then(|packed| packed.unpack().map(|is| (packed, is)));
        unpacked.ok_or_else(|| self.damaged("a record has values that no writer gives"))
    }

    fn record(&self, record: u64) -> Result<(Packed, Unpacked), TraceError> {
        let mut bytes = [0; RECORD_BYTES];
        self.read(record_offset(record), &mut bytes)?;
        self.unpack(&bytes)
    }

    fn name_at(&self, at: NameAt) -> Result<String, TraceError> {
        let end = at.offset.checked_add(at.bytes);
        if end.is_none_or(|end| end > self.names_bytes) || at.bytes > LINE_BYTES_MAX as u64 {
            return Err(self.damaged("a record names no segment of its table"));
        }
        let mut bytes = vec![0; at.bytes as usize];
        self.read(self.names_offset + at.offset, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| self.damaged("a segment name is no UTF-8 text"))
    }

    fn read_tasks(&mut self, offset: u64, tasks: u64) -> Result<(), TraceError> {
        for i in 0..tasks {
            let mut bytes = [0; TASK_BYTES];
            self.read(offset + i * TASK_BYTES as u64, &mut bytes)?;
            let packed = PackedTask::read_from_bytes(&bytes).ok();
            let task = packed.and_then(|packed| packed.task());
            let task = task.ok_or_else(|| self.damaged("its table of tasks is wrong"))?;
            self.tasks.push(task);
        }
        Ok(())
    }

    fn read_cpus(&self, offset: u64, cpus: u64) -> Result<Vec<u16>, TraceError> {
        let mut bytes = vec![0; cpus as usize * size_of::<u16>()];
        self.read(offset, &mut bytes)?;
        let pairs = bytes.chunks_exact(2);
        Ok(pairs
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect())
    }
}

fn record_offset(record: u64) -> u64 {
    HEADER_BYTES as u64 + record * RECORD_BYTES as u64
}

/// Reads the header and checks everything that needs no other byte.
fn read_header(name: &str, bytes: &Bytes) -> Result<Header, TraceError> {
    let damaged = |what| TraceError::EmutDamaged {
        name: name.to_owned(),
        what,
    };
    let cut = |expected| TraceError::EmutCut {
        name: name.to_owned(),
        bytes: bytes.len(),
        expected,
    };
    let mut header = Header::default();
    if bytes.len() < HEADER_BYTES as u64 {
        return Err(cut(HEADER_BYTES as u64));
    }
    let read = bytes.read_at(0, header.as_mut_bytes());
    read.map_err(|_| cut(HEADER_BYTES as u64))?;
    if header.magic != MAGIC {
        return Err(damaged(
            "its first bytes are changed, as by a text conversion",
        ));
    }
    let version = header.version.get();
    if version > VERSION {
        return Err(TraceError::EmutVersion {
            name: name.to_owned(),
            version,
            newest: VERSION,
        });
    }
    if header_crc(&header) != header.header_crc.get() {
        return Err(damaged("the checksum of its header is wrong"));
    }
    let sizes = [
        header.header_bytes,
        header.record_bytes,
        header.task_bytes,
        header.version,
    ];
    let expected = [HEADER_BYTES, RECORD_BYTES, TASK_BYTES, usize::from(VERSION)];
    if sizes.map(|size| usize::from(size.get())) != expected {
        return Err(damaged(
            "its header gives sizes that this version does not have",
        ));
    }
    Ok(header)
}

/// Checks the sizes against the length of the file, and the checksum of the body.
fn check_body(open: &Open, header: &Header) -> Result<(), TraceError> {
    let (tasks, cpus) = (header.tasks.get(), header.cpus.get());
    let records = u128::from(open.existing) + u128::from(open.operations);
    let tables = u128::from(tasks) * TASK_BYTES as u128 + u128::from(cpus) * 2;
    let names_offset = HEADER_BYTES as u128 + records * RECORD_BYTES as u128 + tables;
    if names_offset != u128::from(open.names_offset)
        || tasks > TASKS_MAX as u64
        || cpus > 1 << u16::BITS
        || open.names_bytes > NAMES_BYTES_MAX
    {
        return Err(open.damaged("the counts in its header do not add up"));
    }
    let expected = open.names_offset.saturating_add(open.names_bytes);
    let bytes = open.bytes.len();
    if bytes < expected {
        return Err(TraceError::EmutCut {
            name: open.name.clone(),
            bytes,
            expected,
        });
    }
    if bytes > expected {
        return Err(open.damaged("more bytes follow its end"));
    }
    let mut crc = crc32fast::Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = HEADER_BYTES as u64;
    while at < bytes {
        let some = (bytes - at).min(CHUNK_BYTES as u64) as usize;
        open.read(at, &mut chunk[..some])?;
        crc.update(&chunk[..some]);
        at += some as u64;
    }
    if crc.finalize() != header.body_crc.get() {
        return Err(open.damaged("the checksum of its records is wrong"));
    }
    Ok(())
}

fn kind_name(op: &Op) -> &'static str {
    match op {
        Op::Map { .. } => "map",
        Op::Unmap { .. } => "unmap",
        Op::Touch { .. } => "touch",
        Op::Begin(_) => "begin",
        Op::End(_) => "end",
    }
}
