//! A guest's program from an ELF file.
//!
//! Owns what is accepted: 64-bit PowerPC, either byte order, segments inside guest memory. Refuses
//! relocation: a program is linked for where it runs.

use anyhow::{Context, Result, bail};
use emu_mmu::{GuestMemory, Ra};
use object::elf::{EM_PPC64, FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endian, Endianness};

/// A program, checked.
#[derive(Debug)]
pub struct Image {
    /// Where every CPU begins.
    pub entry: u64,
    /// The program is little-endian.
    pub little_endian: bool,
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    at: u64,
    bytes: Vec<u8>,
    memory_bytes: u64,
}

impl Image {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// What is no ELF file for 64-bit PowerPC, or is cut short.
    pub fn parse(data: &[u8]) -> Result<Self> {
        let no_elf = "it is no ELF file of 64 bits";
        let header = FileHeader64::<Endianness>::parse(data).context(no_elf)?;
        let endian = header.endian().context(no_elf)?;
        let machine = header.e_machine(endian);
        if machine != EM_PPC64 {
            bail!("it is for ELF machine {machine:?}, not for 64-bit PowerPC");
        }
        let mut segments = Vec::new();
        for segment in header
            .program_headers(endian, data)
            .context("its headers")?
        {
            if segment.p_type(endian) != PT_LOAD {
                continue;
            }
            let bytes = segment.data(endian, data);
            let bytes = bytes.ok().context("a segment is cut short")?;
            segments.push(Segment {
                at: segment.p_paddr(endian),
                bytes: bytes.to_owned(),
                memory_bytes: segment.p_memsz(endian).max(bytes.len() as u64),
            });
        }
        if segments.is_empty() {
            bail!("it has nothing to load");
        }
        Ok(Image {
            entry: header.e_entry(endian),
            little_endian: endian.is_little_endian(),
            segments,
        })
    }

    /// Puts the program into memory that ends at `end`, where the hash table begins.
    ///
    /// # Errors
    /// A segment that does not fit.
    pub fn load(&self, memory: &GuestMemory, end: u64) -> Result<()> {
        for segment in &self.segments {
            let last = segment.at.checked_add(segment.memory_bytes);
            if last.is_none_or(|last| last > end) {
                bail!(
                    "a segment at {:#x} of {:#x} bytes does not fit below the hash table at {end:#x}; take more \
                     `--memory`",
                    segment.at,
                    segment.memory_bytes
                );
            }
            for (at, &byte) in (segment.at..).zip(&segment.bytes) {
                memory.store_u8(Ra::new(at), byte)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_is_refused() {
        let said = |data: &[u8]| format!("{:#}", Image::parse(data).unwrap_err());
        assert!(said(b"text").contains("no ELF file"));
        let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 2, 1, 0];
        elf.resize(64, 0);
        elf[19] = 62;
        elf[52..54].copy_from_slice(&[0, 64]);
        assert!(said(&elf).contains("64-bit PowerPC"), "{}", said(&elf));
        elf[19] = 21;
        assert!(said(&elf).contains("nothing to load"), "{}", said(&elf));
    }
}
