//! The table in guest memory, at full speed. Refuses to schedule: nothing can come between its
//! steps but real threads.

use core::fmt;
use core::sync::atomic::{Ordering, fence};

use super::{Barrier, Step, TableAccess};
use crate::addr::Ra;
use crate::invalidate::TlbInvalidate;
use crate::memory::{GuestMemory, MemoryError};

/// [`TableAccess`] straight on [`GuestMemory`]; `tlbie` calls a closure. A lock bit nobody clears
/// makes it spin for ever.
pub struct Direct<'a> {
    memory: &'a GuestMemory,
    tlb: &'a mut dyn FnMut(TlbInvalidate),
}

impl fmt::Debug for Direct<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct")
            .field("memory", self.memory)
            .finish_non_exhaustive()
    }
}

impl<'a> Direct<'a> {
    /// Access to the tables in `memory`; each invalidation is handed to `tlb`.
    pub fn new(memory: &'a GuestMemory, tlb: &'a mut dyn FnMut(TlbInvalidate)) -> Self {
        Self { memory, tlb }
    }
}

impl TableAccess for Direct<'_> {
    type Error = MemoryError;

    #[inline]
    fn load(&mut self, ra: Ra, _step: Step) -> Result<u64, MemoryError> {
        self.memory.load_u64(ra)
    }

    #[inline]
    fn store(&mut self, ra: Ra, value: u64, _step: Step) -> Result<(), MemoryError> {
        self.memory.store_u64(ra, value)
    }

    #[inline]
    fn compare_exchange(
        &mut self,
        ra: Ra,
        old: u64,
        new: u64,
        _step: Step,
    ) -> Result<bool, MemoryError> {
        Ok(self.memory.compare_exchange_u64(ra, old, new)?.is_ok())
    }

    #[inline]
    fn barrier(&mut self, barrier: Barrier, _step: Step) -> Result<(), MemoryError> {
        // Guest accesses are acquire and release already; only the full barrier orders more.
        if barrier == Barrier::Ptesync {
            fence(Ordering::SeqCst);
        }
        Ok(())
    }

    #[inline]
    fn tlb_invalidate(&mut self, operand: TlbInvalidate, _step: Step) -> Result<(), MemoryError> {
        (self.tlb)(operand);
        Ok(())
    }

    #[inline]
    fn spin(&mut self, _step: Step) -> Result<(), MemoryError> {
        core::hint::spin_loop();
        Ok(())
    }
}
