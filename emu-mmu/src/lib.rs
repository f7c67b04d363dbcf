//! The 64-bit PowerPC hash MMU.

pub mod addr;
pub mod check;
pub mod erat;
pub mod fault;
pub mod hpt;
pub mod hpte;
pub mod invalidate;
pub mod memory;
pub mod protect;
pub mod pteg;
mod replace;
pub mod slb;
pub mod tlb;
pub mod translate;

pub use addr::{Ea, Esid, GroupIndex, HpteIndex, PageSize, Ra, SegmentSize, Vpn, Vsid};
pub use check::{Duplicate, DuplicateChecker};
pub use erat::{Erat, EratEntry};
pub use fault::Fault;
pub use hpt::{
    Barrier, CompareOrder, Direct, FlushEntry, Hpt, HptError, Step, TableAccess, tlbie_sequence,
    tlbiel_sequence,
};
pub use hpte::{Hpte, HpteR, HpteV};
pub use invalidate::{TlbInvalidate, TlbieForm};
pub use memory::{GuestMemory, MemoryError};
pub use protect::{Access, Denied, allowed};
pub use pteg::{Pteg, SlotMask};
pub use replace::{GeometryError, Replacement, TlbGeometry};
pub use slb::{Slb, SlbEntry, SlbError};
pub use tlb::{Tlb, TlbEntry};
pub use translate::{AccessState, Mmu, MmuGeometry, Probe, Walk};
