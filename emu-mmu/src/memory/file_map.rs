//! A file of the host, mapped to be read.
//!
//! Owns the mapping of files. Bytes are copied out, and no reference into the mapping is handed out:
//! another process may be writing the file. Refuses to read past the end the file had when mapped.

use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;

/// A file mapped read-only. It costs address space; the host keeps of it what it wants.
#[derive(Debug)]
pub struct FileMap {
    file: File,
    /// `None` for an empty file, which cannot be mapped.
    map: Option<MmapRaw>,
    len_bytes: u64,
}

impl FileMap {
    /// Maps a file at the length it has now.
    ///
    /// # Errors
    /// What the host says; also for a file larger than the address space.
    pub fn new(file: File) -> io::Result<FileMap> {
        let len_bytes = file.metadata()?.len();
        let len =
            usize::try_from(len_bytes).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let map = match len {
            0 => None,
            _ => Some(MmapOptions::new().len(len).map_raw_read_only(&file)?),
        };
        Ok(FileMap {
            file,
            map,
            len_bytes,
        })
    }

    /// Length of the mapping in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Copies the bytes at `offset`. If the file is changed meanwhile they may be any bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] past the end of the mapping, or if the file has become shorter
    /// than it was. (One that shrinks between this check and the copy ends the process with SIGBUS,
    /// as with every mapped file.)
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if out.is_empty() && offset <= self.len_bytes {
            return Ok(());
        }
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let map = self.map.as_ref().ok_or_else(cut)?;
        let end = offset.checked_add(out.len() as u64);
        let inside = end.is_some_and(|end| end <= self.len_bytes);
        if !inside || self.file.metadata()?.len() < self.len_bytes {
            return Err(cut());
        }
        let from = map.as_ptr().wrapping_add(offset as usize);
        for (i, byte) in out.iter_mut().enumerate() {
            // SAFETY: a mapping is reached by pointer only, since a slice would promise that nobody
            // writes the file. `offset + out.len()` lies within the mapping, which `self` owns; a
            // volatile read of a byte takes whatever value is there.
            *byte = unsafe { from.wrapping_add(i).read_volatile() };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    fn file_of(bytes: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!(
            "emu-mmu-file-map-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn bytes_are_those_of_the_file() {
        let bytes: Vec<u8> = (0..9000u32).map(|i| (i % 251) as u8).collect();
        let map = FileMap::new(file_of(&bytes)).unwrap();
        assert_eq!(map.len_bytes(), 9000);
        for (offset, len) in [(0, 9000), (4090, 20), (8999, 1), (9000, 0)] {
            let mut out = vec![0; len];
            map.read_at(offset as u64, &mut out).unwrap();
            assert_eq!(out, bytes[offset..offset + len]);
        }
    }

    #[test]
    fn nothing_is_read_past_the_end() {
        let map = FileMap::new(file_of(b"abc")).unwrap();
        let mut two = [0; 2];
        for offset in [2, 3, u64::MAX - 1, u64::MAX] {
            let error = map.read_at(offset, &mut two).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        assert!(map.read_at(4, &mut []).is_err());
        let empty = FileMap::new(file_of(b"")).unwrap();
        assert!(empty.read_at(0, &mut []).is_ok());
        assert!(empty.read_at(0, &mut two).is_err());
    }

    #[test]
    fn a_file_that_shrinks_is_refused() {
        let file = file_of(&[7; 8192]);
        let map = FileMap::new(file.try_clone().unwrap()).unwrap();
        file.set_len(100).unwrap();
        let error = map.read_at(0, &mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
