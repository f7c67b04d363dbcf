//! H_PAGE_INIT, and the zeroing that H_ENTER may ask for.

use super::{
    Answer, H_COPY_PAGE, H_ICACHE_INVALIDATE, H_ICACHE_SYNCHRONIZE, H_ZERO_PAGE, HcallError,
    Hypervisor, TableAccess,
};
use crate::addr::{PageSize, Ra};

const PAGE_INIT_FLAGS: u64 = H_ZERO_PAGE | H_COPY_PAGE | H_ICACHE_INVALIDATE | H_ICACHE_SYNCHRONIZE;
const BYTES: u64 = PageSize::P4K.bytes();

/// Zeroes a page by doublewords.
pub(super) fn zero<A: TableAccess>(a: &mut A, page: Ra, bytes: u64) -> Result<(), A::Error> {
    (0..bytes)
        .step_by(8)
        .try_for_each(|at| a.store(page + at, 0, "hypervisor: zero the page"))
}

impl Hypervisor {
    /// H_PAGE_INIT: zeroes the 4 KB page at `destination`, or copies the one at `source` there. With
    /// both flags it copies, as QEMU 7.2 does; `source` counts only for a copy.
    ///
    /// # Errors
    /// Those of the access; H_PARAMETER for another flag, or a page that is not aligned or not the
    /// guest's memory.
    pub fn page_init<A: TableAccess>(
        &self,
        a: &mut A,
        flags: u64,
        destination: Ra,
        source: Ra,
    ) -> Answer<(), A::Error> {
        let copy = flags & H_COPY_PAGE != 0;
        let mine = |page: Ra| {
            page.get().is_multiple_of(BYTES)
                && page.get() <= self.memory_bytes.saturating_sub(BYTES)
        };
        let pages = self.memory_bytes >= BYTES && mine(destination) && (!copy || mine(source));
        if flags & !PAGE_INIT_FLAGS != 0 || !pages {
            return Ok(Err(HcallError::Parameter));
        }
        if copy {
            for at in (0..BYTES).step_by(8) {
                let word = a.load(source + at, "H_PAGE_INIT: load")?;
                a.store(destination + at, word, "H_PAGE_INIT: copy")?;
            }
        } else if flags & H_ZERO_PAGE != 0 {
            zero(a, destination, BYTES)?;
        }
        Ok(Ok(()))
    }
}
