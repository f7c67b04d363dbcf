//! [`GuestMemory`] as a region of rust-vmm's `vm-memory`: device models that are written for its traits
//! read and write the memory that the CPUs run in.
//!
//! Tracks no dirty pages. What goes through `vm-memory` is in host byte order unless the caller says
//! otherwise, for instance with its `Be64`.

use std::sync::Arc;

use vm_memory::bitmap::BS;
use vm_memory::{
    GuestAddress, GuestMemoryError, GuestMemoryRegion, GuestMemoryRegionBytes, GuestUsize,
    MemoryRegionAddress, VolatileSlice,
};

use super::GuestMemory;

/// All of a [`GuestMemory`] as one region, to be put into a `vm_memory::GuestRegionCollection` alone or
/// beside others.
#[derive(Clone, Debug)]
pub struct GuestRegion {
    memory: Arc<GuestMemory>,
    start: GuestAddress,
}

impl GuestRegion {
    /// The memory from guest address `start` on: its real address 0 is there. `None` if it would end
    /// past the last address.
    pub fn new(memory: Arc<GuestMemory>, start: GuestAddress) -> Option<Self> {
        start.0.checked_add(memory.len())?;
        Some(Self { memory, start })
    }

    /// The memory.
    pub const fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }
}

impl GuestMemoryRegion for GuestRegion {
    type B = ();

    fn len(&self) -> GuestUsize {
        self.memory.len
    }

    fn start_addr(&self) -> GuestAddress {
        self.start
    }

    fn bitmap(&self) -> BS<'_, ()> {}

    fn get_host_address(&self, addr: MemoryRegionAddress) -> Result<*mut u8, GuestMemoryError> {
        Ok(self.get_slice(addr, 1)?.ptr_guard_mut().as_ptr())
    }

    fn get_slice(
        &self,
        offset: MemoryRegionAddress,
        count: usize,
    ) -> Result<VolatileSlice<'_, ()>, GuestMemoryError> {
        let end = offset.0.checked_add(count as u64);
        if end.is_none_or(|end| end > self.memory.len) {
            return Err(GuestMemoryError::InvalidBackendAddress);
        }
        // SAFETY: needed to hand out a window of the mapping. `offset` and `count` lie inside it, it
        // lives as long as `self.memory`, and all other accesses to it are atomic.
        Ok(unsafe { VolatileSlice::new(self.memory.base.add(offset.0 as usize), count) })
    }
}

impl GuestMemoryRegionBytes for GuestRegion {}
