//! Host-time measurements: how fast this program's hot paths are, beside what the machine allows.
//!
//! Owns rounds, spreads and the description of the host. It is the only place of the command that takes
//! a result from a clock. Refuses modelled cycles: they are `emu run`'s.

pub mod curves;
pub mod exec;
pub mod explore;
pub mod flush;
pub mod host;
pub mod hpt;
pub mod replay;
pub mod spread;
pub mod translate;

pub use spread::Spread;
