//! What a machine is and what its steps cost.
//!
//! Owns machine profiles, which are data (`traces/machines/*.toml`), and the table of figures that a run
//! reads. No figure stands in code. Refuses to charge anything: verbs do.

mod bus;
mod cache;
#[cfg(test)]
mod cache_tests;
mod costs;
mod profile;
#[cfg(test)]
mod profile_tests;

pub(crate) use bus::InvalidationBus;
pub(crate) use cache::{OwnCaches, SharedCaches};
pub use costs::{CostTable, Key, Lump, Unit};
pub use profile::{Figure, MachineProfile, ProfileError};
