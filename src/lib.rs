//! Facade: re-exports the three libraries under one name and holds no logic.
pub use emu_core as core;
pub use emu_linux as linux;
pub use emu_mmu as mmu;
