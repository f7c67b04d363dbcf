//! Latencies of the machine as a program sees them: loops in machine code, timed by the CPU's clock.
//!
//! Owns the loops, as lmbench's `lat_mem_rd` has them (McVoy and Staelin, USENIX 1996): pointer chases
//! whose footprint tells which level serves, and loops around single instructions. What is measured comes from
//! the clock alone; the profile gives footprints, and the figure to compare with. Refuses to judge.

mod caches;
mod chase;
mod instructions;
#[cfg(test)]
mod tests;
mod translation;
mod words;

use crate::EngineError;
use crate::timing::MachineProfile;
use chase::Bench;
use emu_mmu::{HptError, MemoryError};

/// Why a machine could not be probed.
#[derive(Debug, thiserror::Error)]
pub enum LatencyError {
    /// The machine could not be built, or a loop did not come to its end.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The memory for a footprint.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The hash table for the pages of a footprint.
    #[error(transparent)]
    Table(#[from] HptError),
    /// More pages of a footprint fall into a group of the hash table than it has entries.
    #[error("the pages of a footprint do not fit into the hash table")]
    TableFull,
    /// A chase did not end where its links lead.
    #[error("a chase of pointers went astray")]
    Astray,
}

/// One latency or reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Plateau {
    /// Its name.
    pub name: &'static str,
    /// Cycles or entries.
    pub unit: &'static str,
    /// What the guest's clock says; `None` if no footprint shows this alone, such as that of an L2 smaller than
    /// the L1D.
    pub measured: Option<f64>,
    /// What the profile says of the same thing.
    pub profile: f64,
    /// The figures of the profile that this is, and where they are from.
    pub source: String,
}

impl Plateau {
    /// The sum of some figures.
    fn of_figures(
        bench: &Bench,
        name: &'static str,
        measured: Option<f64>,
        paths: &[&str],
    ) -> Self {
        let figures = paths.iter().filter_map(|path| bench.profile.figure(path));
        Plateau {
            name,
            unit: "cycles",
            measured,
            profile: figures.map(|figure| figure.value as f64).sum(),
            source: sources(bench, paths, " + "),
        }
    }

    /// Entries: the product of some figures.
    fn of_shape(bench: &Bench, name: &'static str, measured: Option<f64>, paths: &[&str]) -> Self {
        let figures = paths.iter().filter_map(|path| bench.profile.figure(path));
        Plateau {
            name,
            unit: "entries",
            measured,
            profile: figures.map(|figure| figure.value as f64).product(),
            source: sources(bench, paths, " * "),
        }
    }
}

fn sources(bench: &Bench, paths: &[&str], between: &str) -> String {
    let told = paths.iter().filter_map(|path| {
        let figure = bench.profile.figure(path)?;
        Some(format!("{path} {} ({})", figure.value, figure.source))
    });
    told.collect::<Vec<_>>().join(between)
}

/// Number of plateaus of a machine.
pub fn plateau_count(profile: &MachineProfile) -> u64 {
    if profile.costs().l3_bytes > 0 { 14 } else { 13 }
}

/// Measures every plateau of a machine with one CPU, and hands each to `step` when it is known.
///
/// # Errors
/// [`LatencyError`].
pub fn measure(
    profile: &MachineProfile,
    step: &mut dyn FnMut(Plateau),
) -> Result<(), LatencyError> {
    let bench = Bench::new(profile)?;
    for level in ["l1d", "l2", "l3", "memory"] {
        if level != "l3" || profile.costs().l3_bytes > 0 {
            step(caches::plateau(&bench, level)?);
        }
    }
    translation::plateaus(&bench, step)?;
    instructions::plateaus(&bench, step)
}

/// Number of points of [`curve`].
pub fn curve_count(profile: &MachineProfile) -> u64 {
    caches::curve_lines(&profile.costs()).len() as u64
}

/// Cycles of an access against the footprint in bytes, from a few lines to beyond the last cache, four points for
/// each doubling; `step` hears each.
///
/// # Errors
/// [`LatencyError`].
pub fn curve(profile: &MachineProfile, step: &mut dyn FnMut(u64, f64)) -> Result<(), LatencyError> {
    let bench = Bench::new(profile)?;
    for lines in caches::curve_lines(&profile.costs()) {
        step(lines * 128, caches::at(&bench, lines)?);
    }
    Ok(())
}
