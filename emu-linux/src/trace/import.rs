//! The importer: a survey of the capture, then its operations as a stream.
//!
//! Owns which of the two forms a file has, ftrace text or `.emut`, told by its first bytes. Both are
//! read twice in memory proportional to the live areas or less. It refuses sources that cannot be read
//! twice.

use super::emut::{self, EmutFile, EmutOps};
use super::ftrace_ops::FtraceOps;
use super::survey::{self, Plan};
use super::{Reader, Survey, TraceError, TraceOp, Unexplained};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Ftrace text, plain or gzip.
    Ftrace,
    /// `.emut`.
    Emut,
}

#[derive(Debug, Clone)]
enum Source {
    Path(PathBuf),
    Bytes(String, Arc<[u8]>),
}

impl Source {
    fn open(&self) -> Result<Reader, TraceError> {
        match self {
            Source::Path(path) => Reader::open(path),
            Source::Bytes(name, bytes) => Reader::new(name.clone(), Cursor::new(bytes.clone())),
        }
    }
}

#[derive(Debug, Clone)]
enum Kind {
    Ftrace {
        source: Source,
        survey: Box<Survey>,
        plan: Plan,
    },
    Emut(Box<EmutFile>),
}

/// A capture that has been surveyed and can be streamed as often as wanted.
#[derive(Debug, Clone)]
pub struct Importer(Kind);

impl Importer {
    /// Reads the file once, for its survey.
    ///
    /// # Errors
    /// Any [`TraceError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Importer, TraceError> {
        let path = path.as_ref();
        let name = || path.display().to_string();
        let failed = |source| TraceError::Open {
            name: name(),
            source,
        };
        let metadata = fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(TraceError::NotRegular { name: name() });
        }
        let mut file = File::open(path).map_err(failed)?;
        let mut first = Vec::new();
        let read = file.by_ref().take(8).read_to_end(&mut first);
        read.map_err(|source| TraceError::Read {
            name: name(),
            line: 0,
            source,
        })?;
        if emut::looks_like_emut(&first) {
            let file = EmutFile::open(name(), file)?;
            return Ok(Importer(Kind::Emut(Box::new(file))));
        }
        Importer::ftrace(Source::Path(path.to_path_buf()))
    }

    /// The same for a capture in memory, ftrace text (plain or gzip) or `.emut`; messages call it
    /// `name`.
    ///
    /// # Errors
    /// Any [`TraceError`].
    pub fn from_bytes(
        name: impl Into<String>,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<Importer, TraceError> {
        let (name, bytes) = (name.into(), bytes.into());
        if emut::looks_like_emut(&bytes) {
            let file = EmutFile::from_bytes(name, bytes)?;
            return Ok(Importer(Kind::Emut(Box::new(file))));
        }
        Importer::ftrace(Source::Bytes(name, bytes))
    }

    fn ftrace(source: Source) -> Result<Importer, TraceError> {
        let (survey, plan) = survey::survey(source.open()?)?;
        Ok(Importer(Kind::Ftrace {
            source,
            survey: Box::new(survey),
            plan,
        }))
    }

    /// The form of the file.
    pub fn format(&self) -> Format {
        match self.0 {
            Kind::Ftrace { .. } => Format::Ftrace,
            Kind::Emut(_) => Format::Emut,
        }
    }

    /// What the capture holds. Of an `.emut` file, records are its own records, and
    /// [`Survey::events`] counts them by kind; lines are those of the capture it was made of.
    pub fn survey(&self) -> &Survey {
        match &self.0 {
            Kind::Ftrace { survey, .. } => survey,
            Kind::Emut(file) => file.survey(),
        }
    }

    /// Bytes of a page as the operations use them: what the capture shows, or 4096.
    pub fn page_bytes(&self) -> u64 {
        match &self.0 {
            Kind::Ftrace { plan, .. } => plan.page_bytes,
            Kind::Emut(file) => file.page_bytes(),
        }
    }

    /// The operations, in file order. [`Survey::pre_existing`] is to be mapped before the first.
    ///
    /// # Errors
    /// The source cannot be opened again.
    pub fn ops(&self) -> Result<Ops, TraceError> {
        Ok(Ops(match &self.0 {
            Kind::Ftrace {
                source,
                survey,
                plan,
            } => Stream::Ftrace(Box::new(FtraceOps::new(source.open()?, survey, plan))),
            Kind::Emut(file) => Stream::Emut(file.ops(), file.survey().unexplained),
        }))
    }
}

/// The operations of a capture, as an iterator. It ends after the first error.
#[derive(Debug)]
pub struct Ops(Stream);

#[derive(Debug)]
enum Stream {
    Ftrace(Box<FtraceOps>),
    Emut(EmutOps, Unexplained),
}

impl Ops {
    /// Touches and frees left out so far because no area explains them. This is what was really
    /// left out; the survey's count is an estimate where old and new areas overlap. An `.emut` file
    /// has the survey's.
    pub fn unexplained(&self) -> Unexplained {
        match &self.0 {
            Stream::Ftrace(ops) => ops.unexplained(),
            Stream::Emut(_, unexplained) => *unexplained,
        }
    }
}

impl Iterator for Ops {
    type Item = Result<TraceOp, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Stream::Ftrace(ops) => ops.next(),
            Stream::Emut(ops, _) => ops.next(),
        }
    }
}
