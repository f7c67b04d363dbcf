//! Tables in the memory of an embedder that is built on rust-vmm's `vm-memory` (feature `vm-memory`).
//!
//! Owns both directions. [`VmMemory`] lets the MMU walk, and software change, a table that lies in any
//! `vm_memory::GuestMemory`: several regions, holes, dirty bitmaps and all. The other way round
//! [`GuestRegion`] offers a [`crate::GuestMemory`] to code that is written for `vm-memory`'s traits. Refuses to keep anything: each access asks `vm-memory` for its place, which costs more
//! than [`crate::GuestMemory`] does.
//!
//! ```
//! use emu_mmu::rust_vmm::{VmMemory, VmTable};
//! use emu_mmu::*;
//! use vm_memory::{GuestAddress, GuestMemoryMmap};
//!
//! let theirs = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 64 << 20)])?;
//! let hpt = Hpt::new(Ra::new(1 << 20), 13)?;
//! let mut mmu = Mmu::new(&MmuGeometry::POWER8)?;
//! let (size, page, ea) = (SegmentSize::S1T, PageSize::P4K, Ea::new(0xd000_0000_0010_0123));
//! let segment = SlbEntry::kernel(ea, Vsid::new(0xeb71b0), size, page);
//! mmu.slbmte(segment.rs(), segment.rb(1))?;
//!
//! let vpn = Vpn::from_ea(segment.vsid, ea, size);
//! let r = HpteR::new(Ra::new(0x234_5000), page, page).with_flags(0x194);
//! let mut tlb = |_| {};
//! let mut table = VmTable::new(&theirs, &mut tlb);
//! let group = hpt.primary(vpn.hash(size, page));
//! hpt.insert(&mut table, group, HpteV::new(vpn, size, page), r, false)?;
//!
//! let (memory, state) = (VmMemory(&theirs), AccessState::kernel());
//! let ra = mmu.translate(&memory, &hpt, ea, Access::Load, state, &mut ());
//! assert_eq!(ra, Ok(Ra::new(0x234_5123)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering, fence};

use vm_memory::bitmap::{BS, Bitmap};
use vm_memory::{Bytes, GuestAddress, GuestMemory, Permissions, VolatileMemory, VolatileSlice};

use crate::addr::Ra;
use crate::hpt::{Barrier, Step, TableAccess};
use crate::invalidate::TlbInvalidate;
pub use crate::memory::GuestRegion;
use crate::memory::MemoryError;
use crate::translate::WalkMemory;

/// An embedder's memory, as the walker reads it.
#[derive(Debug)]
pub struct VmMemory<'a, M: ?Sized>(pub &'a M);

impl<M: ?Sized> Clone for VmMemory<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: ?Sized> Copy for VmMemory<'_, M> {}

impl<'a, M: GuestMemory + ?Sized> VmMemory<'a, M> {
    /// The place of an aligned access, which must lie in one region.
    fn slice(
        self,
        ra: Ra,
        bytes: u64,
        permissions: Permissions,
    ) -> Result<VolatileSlice<'a, BS<'a, M::Bitmap>>, MemoryError> {
        if ra.get() & (bytes - 1) != 0 {
            return Err(MemoryError::Misaligned { ra, bytes });
        }
        let slices = self
            .0
            .get_slices(GuestAddress(ra.get()), bytes as usize, permissions);
        let first = slices.ok().and_then(|mut slices| slices.next()?.ok());
        first
            .filter(|slice| slice.len() as u64 == bytes)
            .ok_or(MemoryError::OutOfBounds { ra, bytes })
    }

    fn load_u64(self, ra: Ra) -> Result<u64, MemoryError> {
        let slice = self.slice(ra, 8, Permissions::Read)?;
        let word = slice.load(0, Ordering::Acquire);
        word.map(u64::from_be).map_err(|_| unaligned(ra))
    }
}

/// The host's address is not aligned, though the guest's is.
const fn unaligned(ra: Ra) -> MemoryError {
    MemoryError::Misaligned { ra, bytes: 8 }
}

impl<M: GuestMemory + ?Sized> WalkMemory for VmMemory<'_, M> {
    fn load_group(&self, ra: Ra) -> Result<[u64; 16], MemoryError> {
        let slice = self.slice(ra, 128, Permissions::Read)?;
        let mut group = [0_u64; 16];
        for (i, word) in group.iter_mut().enumerate() {
            let loaded = slice.load(8 * i, Ordering::Acquire);
            *word = loaded.map(u64::from_be).map_err(|_| unaligned(ra))?;
        }
        Ok(group)
    }

    fn store_u8(&self, ra: Ra, value: u8) -> Result<(), MemoryError> {
        let slice = self.slice(ra, 1, Permissions::Write)?;
        let outside = MemoryError::OutOfBounds { ra, bytes: 1 };
        slice
            .store(value, 0, Ordering::Release)
            .map_err(|_| outside)
    }
}

/// [`TableAccess`] on an embedder's memory; `tlbie` calls a closure. A lock bit nobody clears makes it
/// spin for ever.
pub struct VmTable<'a, M: ?Sized> {
    memory: VmMemory<'a, M>,
    tlb: &'a mut dyn FnMut(TlbInvalidate),
}

impl<M: ?Sized> fmt::Debug for VmTable<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VmTable").finish_non_exhaustive()
    }
}

impl<'a, M: GuestMemory + ?Sized> VmTable<'a, M> {
    /// Access to the tables in `memory`; each invalidation is handed to `tlb`.
    pub fn new(memory: &'a M, tlb: &'a mut dyn FnMut(TlbInvalidate)) -> Self {
        Self {
            memory: VmMemory(memory),
            tlb,
        }
    }
}

impl<M: GuestMemory + ?Sized> TableAccess for VmTable<'_, M> {
    type Error = MemoryError;

    fn load(&mut self, ra: Ra, _step: Step) -> Result<u64, MemoryError> {
        self.memory.load_u64(ra)
    }

    fn store(&mut self, ra: Ra, value: u64, _step: Step) -> Result<(), MemoryError> {
        let slice = self.memory.slice(ra, 8, Permissions::Write)?;
        let stored = slice.store(value.to_be(), 0, Ordering::Release);
        stored.map_err(|_| unaligned(ra))
    }

    fn compare_exchange(
        &mut self,
        ra: Ra,
        old: u64,
        new: u64,
        _step: Step,
    ) -> Result<bool, MemoryError> {
        let slice = self.memory.slice(ra, 8, Permissions::ReadWrite)?;
        let word = slice
            .get_atomic_ref::<AtomicU64>(0)
            .map_err(|_| unaligned(ra))?;
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let done = word
            .compare_exchange(old.to_be(), new.to_be(), success, failure)
            .is_ok();
        if done {
            slice.bitmap().mark_dirty(0, 8);
        }
        Ok(done)
    }

    fn barrier(&mut self, barrier: Barrier, _step: Step) -> Result<(), MemoryError> {
        // As for `Direct`: accesses are acquire and release already.
        if barrier == Barrier::Ptesync {
            fence(Ordering::SeqCst);
        }
        Ok(())
    }

    fn tlb_invalidate(&mut self, operand: TlbInvalidate, _step: Step) -> Result<(), MemoryError> {
        (self.tlb)(operand);
        Ok(())
    }

    fn spin(&mut self, _step: Step) -> Result<(), MemoryError> {
        core::hint::spin_loop();
        Ok(())
    }
}
