//! The 64-bit PowerPC hash MMU: guest memory, the hashed page table, SLB, TLB and ERATs,
//! translation with protection and the R and C bits, and a checker of the table. It knows no
//! operating system, no clock and no scheduler: operations return what happened and charge nothing.
//!
//! | module | owns |
//! |---|---|
//! | [`addr`] | address newtypes, segment and page sizes, the hash |
//! | [`memory`] | guest memory: big-endian, atomic, by value |
//! | [`hpte`], [`pteg`] | the entry and the group of eight |
//! | [`hpt`] | the table's place, and software's operations on it over [`TableAccess`] |
//! | [`limit`] | what the host's memory itself allows: what benchmarks divide by |
//! | [`htab_stream`] | a whole table as the stream of `KVM_PPC_GET_HTAB_FD` |
//! | [`hcall`] | a hypervisor's calls on a table that it owns |
//! | [`invalidate`] | the operand of `tlbie` and `tlbiel` |
//! | [`slb`], [`tlb`], [`erat`] | the lookaside structures of a CPU |
//! | [`page_sizes`], [`registers`], [`choices`] | what a CPU has; AMR, LPCR; what is left undefined |
//! | [`protect`], [`fault`], [`translate`] | key and pp; causes of faults; effective to real |
//! | [`access`] | an instruction's access: alignment, page crossing, what it counts as |
//! | `vectors` | recorded machine states, read and run (feature `vectors`) |
//! | [`check`] | the invariant that no page has two entries, decoded on its own |
//! | `rust_vmm` | tables in memory of rust-vmm's `vm-memory` (feature `vm-memory`) |
//!
//! Feature `serde` derives `Serialize` and `Deserialize` for the plain data. None is on by default; the
//! README says what each dependency is for.
//!
//! Map a page and translate an address in it:
//!
//! ```
//! use emu_mmu::*;
//!
//! let memory = GuestMemory::new(64 << 20)?;
//! let hpt = Hpt::new(Ra::new(1 << 20), 13)?;
//! let mut mmu = Mmu::new(&MmuGeometry::POWER8)?;
//! let (size, page, ea) = (SegmentSize::S1T, PageSize::P4K, Ea::new(0xd000_0000_0010_0123));
//! let segment = SlbEntry::kernel(ea, Vsid::new(0xeb71b0), size, page);
//! mmu.slbmte(segment.rs(), segment.rb(1))?;
//!
//! let vpn = Vpn::from_ea(segment.vsid, ea, size);
//! let v = HpteV::new(vpn, size, page);
//! let r = HpteR::new(Ra::new(0x234_5000), page, page).with_flags(0x194);
//! let mut tlb = |_| {};
//! let mut table = Direct::new(&memory, &mut tlb);
//! hpt.insert(&mut table, hpt.primary(vpn.hash(size, page)), v, r, false)?;
//!
//! let ra = mmu.translate(&memory, &hpt, ea, Access::Load, AccessState::kernel(), &mut ());
//! assert_eq!(ra, Ok(Ra::new(0x234_5123)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub mod access;
pub mod addr;
pub mod check;
pub mod choices;
pub mod erat;
pub mod fault;
pub mod hcall;
pub mod hpt;
pub mod hpte;
pub mod htab_stream;
pub mod invalidate;
pub mod limit;
pub mod memory;
pub mod page_sizes;
pub mod protect;
pub mod pteg;
pub mod registers;
mod replace;
#[cfg(feature = "vm-memory")]
pub mod rust_vmm;
pub mod slb;
pub mod tlb;
pub mod translate;
#[cfg(feature = "vectors")]
pub mod vectors;

pub use access::{Accessed, Storage};
pub use addr::{Ea, Esid, GroupIndex, HpteIndex, PageSize, Ra, SegmentSize, Vpn, Vsid};
pub use check::{Duplicate, DuplicateChecker, SequenceChecker, SequenceOverlap};
pub use choices::{
    Choices, Deviations, HptMultihit, LarxUncached, MixedPages, MustBeZero, SlbMultihit,
};
pub use erat::{Erat, EratEntry};
pub use fault::Fault;
pub use hcall::{Hcall, HcallError, Hypervisor};
pub use hpt::{
    Barrier, Batch, CompareOrder, Direct, Exclusive, FlushEntry, Health, Hpt, HptError, Keep,
    Mapping, Pages, Rehashed, ResizeError, Shared, Sharing, Step, TableAccess, tlbie_sequence,
    tlbiel_sequence,
};
pub use hpte::{Hpte, HpteFormat, HpteR, HpteV};
pub use htab_stream::{HeaderOrder, Imported, StreamError, StreamSurvey};
pub use invalidate::{Scope, TlbInvalidate, TlbieFields, TlbieForm, TlbieRs};
pub use limit::Limit;
pub use memory::{FileMap, GuestMemory, JournalMark, MemoryError};
pub use page_sizes::{PageSizes, SizeCode};
pub use protect::{Access, ClassKeys, Denied, allowed};
pub use pteg::{Backend, Pteg, SlotMask};
pub use registers::{Lpcr, Registers};
pub use replace::{GeometryError, Replacement, TlbGeometry};
pub use slb::{Slb, SlbEntry, SlbError, SlbieOperand, SlbiegOperand};
pub use tlb::{Tlb, TlbEntry};
pub use translate::{
    AccessState, EntryVerdict, Explanation, GroupExplained, GuestRealMode, Mmu, MmuFeatures,
    MmuGeometry, Probe, RcStep, SearchExplained, Translation, Walk, WalkMemory,
};
