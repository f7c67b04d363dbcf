//! Decoded instructions of guest memory, shared by all CPUs.
//!
//! Owns them page by page, each word decoded when it is first executed, and the rule that a store takes
//! along what was decoded from the word it wrote. Refuses to know who stores: interpreted stores tell it,
//! and `icbi` does for whoever else wrote.

use super::decode::decode;
use super::op::{Decoded, Op};
use emu_mmu::{GuestMemory, MemoryError, Ra};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

const PAGE_BYTES: u64 = 4096;
const PAGE_WORDS: usize = 1024;
/// Pages of a chunk: 2 MiB.
const CHUNK_PAGES: usize = 512;

/// A page of decoded instructions, in one byte order.
pub(crate) struct CodePage {
    /// Real address of its first byte.
    ra: u64,
    little_endian: bool,
    words: [AtomicU64; PAGE_WORDS],
}

type Chunk = Box<[[OnceLock<Arc<CodePage>>; 2]]>;

/// The decoded pages of a machine.
pub(crate) struct Code {
    chunks: Box<[OnceLock<Chunk>]>,
}

impl CodePage {
    /// The instruction at a byte offset in the page, decoded.
    #[inline(always)]
    pub fn at(&self, offset: u64) -> Decoded {
        let index = (offset >> 2) as usize % PAGE_WORDS;
        Decoded::unpack(self.words[index].load(Ordering::Relaxed))
    }

    /// The real address of an offset in the page.
    pub const fn ra(&self, offset: u64) -> Ra {
        Ra::new(self.ra | offset & (PAGE_BYTES - 1))
    }

    /// The word at an offset.
    pub fn word(&self, memory: &GuestMemory, offset: u64) -> Result<u32, MemoryError> {
        let word = memory.load_u32(self.ra(offset & !3))?;
        Ok(if self.little_endian {
            word.swap_bytes()
        } else {
            word
        })
    }

    /// Decodes the word at an offset and keeps it. Somebody may store over the word meanwhile: the store
    /// comes before its reset of the slot, so either that reset or the second look here sees to it.
    #[cold]
    pub fn fetch(&self, memory: &GuestMemory, offset: u64) -> Result<Decoded, MemoryError> {
        let index = (offset >> 2) as usize % PAGE_WORDS;
        let word = self.word(memory, offset)?;
        let decoded = decode(word);
        self.words[index].store(decoded.pack(), Ordering::SeqCst);
        if self.word(memory, offset)? != word {
            self.words[index].store(0, Ordering::SeqCst);
        }
        Ok(decoded)
    }
}

impl Code {
    /// No page is decoded yet.
    pub fn new(memory_bytes: u64) -> Self {
        let chunks = memory_bytes.div_ceil(PAGE_BYTES * CHUNK_PAGES as u64);
        Code {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The page that holds a real address.
    ///
    /// # Errors
    /// An address outside memory.
    pub fn page(&self, ra: Ra, little_endian: bool) -> Result<Arc<CodePage>, MemoryError> {
        let number = (ra.get() / PAGE_BYTES) as usize;
        let chunk = self.chunks.get(number / CHUNK_PAGES);
        let chunk = chunk.ok_or(MemoryError::OutOfBounds { ra, bytes: 4 })?;
        let pages = chunk.get_or_init(|| {
            let none = || [OnceLock::new(), OnceLock::new()];
            (0..CHUNK_PAGES).map(|_| none()).collect()
        });
        let page = pages[number % CHUNK_PAGES][usize::from(little_endian)].get_or_init(|| {
            Arc::new(CodePage {
                ra: ra.get() & !(PAGE_BYTES - 1),
                little_endian,
                words: [const { AtomicU64::new(Op::Fetch.number() as u64) }; PAGE_WORDS],
            })
        });
        Ok(page.clone())
    }

    /// Forgets what was decoded from these bytes of one page.
    #[inline(always)]
    pub fn written(&self, ra: Ra, bytes: u64) {
        let number = (ra.get() / PAGE_BYTES) as usize;
        let Some(pages) = self
            .chunks
            .get(number / CHUNK_PAGES)
            .and_then(OnceLock::get)
        else {
            return;
        };
        for page in pages[number % CHUNK_PAGES].iter().filter_map(OnceLock::get) {
            let first = (ra.get() % PAGE_BYTES) >> 2;
            let last = (ra.get() % PAGE_BYTES + bytes - 1) >> 2;
            for index in first..=last {
                let word = &page.words[index as usize % PAGE_WORDS];
                // Data beside code is stored to often, and was never decoded.
                if word.load(Ordering::Relaxed) != 0 {
                    word.store(0, Ordering::SeqCst);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_takes_the_decoded_word_along() {
        let memory = GuestMemory::new(8192).unwrap();
        let code = Code::new(8192);
        let ra = Ra::new(0x1008);
        memory.store_u32(ra, 0x3860_0001).unwrap();
        let page = code.page(ra, false).unwrap();
        assert_eq!(page.at(8).op, Op::Fetch);
        assert_eq!(page.fetch(&memory, 8).unwrap().op, Op::Li);
        assert_eq!(page.at(8).op, Op::Li);
        memory.store_u32(ra, 0x4e80_0020).unwrap();
        code.written(ra, 4);
        assert_eq!(page.at(8).op, Op::Fetch);
        assert_eq!(page.fetch(&memory, 8).unwrap().op, Op::Bclr);
        assert!(code.page(Ra::new(1 << 40), false).is_err());
    }

    #[test]
    fn each_byte_order_has_its_own() {
        let memory = GuestMemory::new(4096).unwrap();
        let code = Code::new(4096);
        memory.store_u32(Ra::new(0), 0x2000_804e).unwrap();
        let le = code.page(Ra::new(0), true).unwrap();
        let be = code.page(Ra::new(0), false).unwrap();
        assert_eq!(le.fetch(&memory, 0).unwrap().op, Op::Bclr);
        assert_ne!(be.fetch(&memory, 0).unwrap().op, Op::Bclr);
    }
}
