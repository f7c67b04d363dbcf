//! The stream that `KVM_PPC_GET_HTAB_FD` reads and writes: a table with its free entries run-length
//! coded.
//!
//! Owns the format (Linux Documentation/virt/kvm/api.rst 4.78; commit a2932923ccf6): records of a
//! header (`index`, `n_valid`, `n_invalid`; in the host's byte order) and `n_valid` entries of 16 bytes,
//! big-endian and in the ISA 2.x layout. Refuses the `ioctl`: the caller opens files.

use std::io::{self, Read, Write};

use crate::addr::{HpteIndex, Ra};
use crate::hpt::Hpt;
use crate::hpte::{Hpte, HpteR, HpteV};
use crate::memory::{GuestMemory, MemoryError};
use thiserror::Error;

/// Byte order of the headers: that of the host that made the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum HeaderOrder {
    /// Little-endian hosts.
    #[default]
    Little,
    /// Big-endian hosts.
    Big,
}

/// Why a stream could not be read or written.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The stream ends inside a record.
    #[error("the stream ends inside the record at byte {at}")]
    Cut {
        /// First byte of the record.
        at: u64,
    },
    /// A record covers no entry. No kernel writes such, and zeros would be such records without end.
    #[error("the record at byte {at} covers no entry")]
    Empty {
        /// First byte of the record.
        at: u64,
    },
    /// A record reaches past the table.
    #[error(
        "the record at byte {at} reaches entry {end}: the table has {entries}; \
         is its byte order or size another?"
    )]
    Past {
        /// First byte of the record.
        at: u64,
        /// One past its last entry.
        end: u64,
        /// Entries of the table.
        entries: u64,
    },
    /// An entry listed as valid is not.
    #[error("entry {index} is listed as valid and has V=0")]
    NotValid {
        /// The entry.
        index: u64,
    },
    /// The stream itself.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The table is outside memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// What a stream held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Imported {
    /// Records read.
    pub records: u64,
    /// Entries written as valid.
    pub valid: u64,
    /// Entries written as free.
    pub invalid: u64,
}

/// What a stream would fill, from its headers alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StreamSurvey {
    /// Records.
    pub records: u64,
    /// Entries listed as valid.
    pub valid: u64,
    /// One past the last entry that a record covers.
    pub end: u64,
    /// Whether each record begins where the one before ended, from entry 0 on: a whole first pass.
    pub whole: bool,
}

impl StreamSurvey {
    /// Reads a stream's headers.
    ///
    /// # Errors
    /// [`StreamError::Cut`], [`StreamError::Empty`] and [`StreamError::Io`].
    pub fn of(stream: &mut impl Read, order: HeaderOrder) -> Result<Self, StreamError> {
        let mut survey = Self {
            whole: true,
            ..Self::default()
        };
        let mut at = 0;
        let mut header = [0; HEADER_BYTES as usize];
        while fill(stream, &mut header, at)? {
            let h = Header::decode(header, order);
            h.covers_something(at)?;
            let (index, valid) = (u64::from(h.index), u64::from(h.n_valid));
            let body = valid * HPTE_BYTES;
            if io::copy(&mut stream.take(body), &mut io::sink())? != body {
                return Err(StreamError::Cut { at });
            }
            survey.whole &= index == survey.end;
            survey.records += 1;
            survey.valid += valid;
            survey.end = survey.end.max(index + valid + u64::from(h.n_invalid));
            at += HEADER_BYTES + body;
        }
        Ok(survey)
    }
}

const HEADER_BYTES: u64 = 8;
const HPTE_BYTES: u64 = 16;

struct Header {
    index: u32,
    n_valid: u16,
    n_invalid: u16,
}

impl Header {
    fn covers_something(&self, at: u64) -> Result<(), StreamError> {
        match (self.n_valid, self.n_invalid) {
            (0, 0) => Err(StreamError::Empty { at }),
            _ => Ok(()),
        }
    }

    fn decode(bytes: [u8; 8], order: HeaderOrder) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        match order {
            HeaderOrder::Little => Self {
                index: u32::from_le_bytes([a, b, c, d]),
                n_valid: u16::from_le_bytes([e, f]),
                n_invalid: u16::from_le_bytes([g, h]),
            },
            HeaderOrder::Big => Self {
                index: u32::from_be_bytes([a, b, c, d]),
                n_valid: u16::from_be_bytes([e, f]),
                n_invalid: u16::from_be_bytes([g, h]),
            },
        }
    }

    fn encode(&self, order: HeaderOrder) -> [u8; 8] {
        let (i, v, n) = (self.index, self.n_valid, self.n_invalid);
        let ([a, b, c, d], [e, f], [g, h]) = match order {
            HeaderOrder::Little => (i.to_le_bytes(), v.to_le_bytes(), n.to_le_bytes()),
            HeaderOrder::Big => (i.to_be_bytes(), v.to_be_bytes(), n.to_be_bytes()),
        };
        [a, b, c, d, e, f, g, h]
    }
}

/// Fills `bytes`; false if the stream ends before the first of them.
fn fill(stream: &mut impl Read, bytes: &mut [u8], at: u64) -> Result<bool, StreamError> {
    let mut filled = 0;
    while filled < bytes.len() {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(StreamError::Cut { at }),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

impl Hpt {
    /// Writes what a stream says into the table. Entries that no record covers stay; a stream of
    /// changes can follow a whole one.
    ///
    /// # Errors
    /// [`StreamError`]; records before the one that failed stay written.
    pub fn import_stream(
        &self,
        memory: &GuestMemory,
        stream: &mut impl Read,
        order: HeaderOrder,
    ) -> Result<Imported, StreamError> {
        let entries = self.groups() * 8;
        let mut imported = Imported::default();
        let mut at = 0;
        let mut header = [0; HEADER_BYTES as usize];
        while fill(stream, &mut header, at)? {
            let h = Header::decode(header, order);
            h.covers_something(at)?;
            let (index, valid) = (u64::from(h.index), u64::from(h.n_valid));
            let end = index + valid + u64::from(h.n_invalid);
            if end > entries {
                return Err(StreamError::Past { at, end, entries });
            }
            for i in index..index + valid {
                let mut words = [0; HPTE_BYTES as usize];
                if !fill(stream, &mut words, at)? {
                    return Err(StreamError::Cut { at });
                }
                let hpte = decode(words);
                if !hpte.v.is_valid() {
                    return Err(StreamError::NotValid { index: i });
                }
                self.put(memory, i, hpte)?;
            }
            for i in index + valid..end {
                self.put(memory, i, Hpte::default())?;
            }
            imported.records += 1;
            imported.valid += valid;
            imported.invalid += end - index - valid;
            at += HEADER_BYTES + valid * HPTE_BYTES;
        }
        Ok(imported)
    }

    /// Writes the whole table, or its bolted entries only, as a first pass reads it. Gives the number
    /// of valid entries written.
    ///
    /// # Errors
    /// [`StreamError::Io`] and [`StreamError::Memory`].
    pub fn export_stream(
        &self,
        memory: &GuestMemory,
        stream: &mut impl Write,
        order: HeaderOrder,
        bolted_only: bool,
    ) -> Result<u64, StreamError> {
        let entries = self.groups() * 8;
        let wanted = |v: HpteV| v.is_valid() && (!bolted_only || v.is_bolted());
        let (mut index, mut written) = (0, 0);
        while index < entries {
            let mut words = Vec::new();
            let mut i = index;
            let mut n_valid = 0u16;
            while i < entries && n_valid < u16::MAX {
                let hpte = self.get(memory, i)?;
                if !wanted(hpte.v) {
                    break;
                }
                words.extend_from_slice(&hpte.v.0.to_be_bytes());
                words.extend_from_slice(&hpte.r.0.to_be_bytes());
                (n_valid, i) = (n_valid + 1, i + 1);
            }
            let mut n_invalid = 0u16;
            while i < entries && n_invalid < u16::MAX && !wanted(self.get(memory, i)?.v) {
                (n_invalid, i) = (n_invalid + 1, i + 1);
            }
            // A header's index has 32 bits; a table of more entries would be 64 GiB.
            let header = Header {
                index: u32::try_from(index).map_err(io::Error::other)?,
                n_valid,
                n_invalid,
            };
            stream.write_all(&header.encode(order))?;
            stream.write_all(&words)?;
            written += u64::from(n_valid);
            index = i;
        }
        Ok(written)
    }

    /// An entry, read without its lock.
    ///
    /// # Errors
    /// [`MemoryError`] if the table reaches outside memory.
    pub fn get(&self, memory: &GuestMemory, index: u64) -> Result<Hpte, MemoryError> {
        let ra = self.hpte_ra(HpteIndex(index));
        let (dw0, dw1) = (memory.load_u64(ra)?, memory.load_u64(ra + 8)?);
        Ok(self.format().decode(dw0, dw1))
    }

    /// Writes an entry, doubleword 1 first, without its lock: for tables nobody uses yet.
    ///
    /// # Errors
    /// [`MemoryError`] if the table reaches outside memory.
    pub fn put(&self, memory: &GuestMemory, index: u64, hpte: Hpte) -> Result<(), MemoryError> {
        let ra = self.hpte_ra(HpteIndex(index));
        let (dw0, dw1) = self.format().encode(hpte);
        memory.store_u64(ra + 8, dw1)?;
        memory.store_u64(ra, dw0)
    }
}

/// What must hold for any bytes at all, for fuzz targets and tests: reading them does no harm, and what
/// was read survives being written and read again.
///
/// # Panics
/// Only if it does not: a bug found.
pub fn check_stream(bytes: &[u8]) {
    const BASE: Ra = Ra::new(0);
    let (Ok(memory), Ok(hpt)) = (GuestMemory::new(1 << 18), Hpt::new(BASE, 11)) else {
        return;
    };
    for order in [HeaderOrder::Little, HeaderOrder::Big] {
        let _ = StreamSurvey::of(&mut &bytes[..], order);
        let read = hpt.import_stream(&memory, &mut &bytes[..], order);
        let mut first = Vec::new();
        let valid = hpt.export_stream(&memory, &mut first, order, false);
        let again = hpt.import_stream(&memory, &mut &first[..], order);
        assert_eq!(valid.ok(), again.ok().map(|a| a.valid), "{read:?}");
        let mut second = Vec::new();
        let _ = hpt.export_stream(&memory, &mut second, order, false);
        assert_eq!(first, second);
    }
}

fn decode(words: [u8; 16]) -> Hpte {
    let both = u128::from_be_bytes(words);
    Hpte {
        v: HpteV((both >> 64) as u64),
        r: HpteR(both as u64),
    }
}

#[cfg(test)]
mod tests;
