//! Facade: re-exports the three libraries under one name and holds no logic.
pub use emu_core as core;
pub use emu_linux as linux;
pub use emu_mmu as mmu;

/// The Rust code shown to readers is compiled and run with the documentation's tests.
#[cfg(doctest)]
mod shown {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/src/embedding.md")]
    mod embedding {}
    #[doc = include_str!("../docs/src/policies.md")]
    mod policies {}
}
