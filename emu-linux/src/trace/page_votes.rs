//! What the records of a capture tell about the base page size.

/// What the records tell about the base page size.
#[derive(Debug, Default)]
pub(crate) struct PageVotes {
    /// Areas whose guard page fits 4 KiB, and 64 KiB, pages.
    guards: [u64; 2],
    /// From the layout of the kernel's address space.
    region: Option<u64>,
    /// From the page size index of hash table records.
    psize: Option<u64>,
}

impl PageVotes {
    const SIZES: [u64; 2] = [4096, 65536];

    /// An area, and what `vmalloc` was asked for.
    pub fn area(&mut self, start: u64, end: u64, requested: Option<u64>) {
        self.address(start);
        let Some(requested) = requested.filter(|&size| size > 0) else {
            return;
        };
        for (size, votes) in Self::SIZES.iter().zip(&mut self.guards) {
            let fits =
                requested.checked_next_multiple_of(*size) == (end - start).checked_sub(*size);
            *votes += u64::from(fits);
        }
    }

    /// An address of a mapped kernel region. Source: Linux
    /// arch/powerpc/include/asm/book3s/64/hash-4k.h and hash-64k.h: where the kernel's mapped
    /// regions start.
    pub fn address(&mut self, addr: u64) {
        let size = match addr {
            0xc000_3d00_0000_0000..0xc000_4000_0000_0000 => 4096,
            0xc008_0000_0000_0000..0xc010_0000_0000_0000 => 65536,
            _ => return,
        };
        self.region = self.region.or(Some(size));
    }

    /// The page size index of a hash table record: `MMU_PAGE_4K` is 0, `MMU_PAGE_64K` is 2 (Linux arch/powerpc/include/asm/mmu.h).
    pub fn psize(&mut self, psize: i64) {
        let size = match psize {
            0 => 4096,
            2 => 65536,
            _ => return,
        };
        self.psize = self.psize.or(Some(size));
    }

    /// From what the replay uses too, so that dropping other records changes no operation.
    fn replayed(&self) -> Option<u64> {
        match self.guards {
            [0, 0] => self.region,
            [small, large] => Some(if large > small { 65536 } else { 4096 }),
        }
    }

    /// The page size the operations use.
    pub fn for_replay(&self) -> u64 {
        self.replayed().unwrap_or(4096)
    }

    /// The page size, if any record shows it.
    pub fn hint(&self) -> Option<u64> {
        self.replayed().or(self.psize)
    }
}
