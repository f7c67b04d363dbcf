//! `emu bench once`: one hot path over the same table some number of times, for a counter of
//! instructions round it. No clock is looked at.

use super::hpt::table::Table;
use super::translate;
use anyhow::{Context, Result};
use emu_mmu::Backend;

/// log2 of the groups of the table: 1 MiB, so that the paths are those of tables beyond a cache.
const GROUPS_LOG2: u8 = 13;
/// Pages that are translated: some in the ERAT, some in the TLB.
const PAGES: u64 = 1 << 10;
/// Translations of a pass.
const TRANSLATIONS: u64 = 1 << 14;

/// A hot path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Path {
    /// The table emptied and half filled, alone
    Insert,
    /// The same beside others, under the entry lock bit
    InsertShared,
    /// Every page found
    Find,
    /// The table half filled, and flushed 192 entries at a time
    Flush,
    /// Random addresses of 1,024 pages translated
    Translate,
}

/// Runs a path `passes` times and gives the operations of one pass.
pub fn run(path: Path, backend: Backend, passes: u32) -> Result<u64> {
    if path == Path::Translate {
        for _ in 0..passes {
            translate::rate(1, PAGES, TRANSLATIONS)?;
        }
        return Ok(TRANSLATIONS);
    }
    let mut table = Table::new(GROUPS_LOG2, 50)?;
    table
        .force(backend)
        .with_context(|| format!("this host cannot run the {} compare", backend.name()))?;
    if path == Path::Find {
        table.fill()?;
    }
    for _ in 0..passes {
        match path {
            Path::Insert => table.insert_exclusive()?,
            Path::InsertShared => table.insert_shared(1)?,
            Path::Find => table.find()?,
            Path::Flush => {
                table.fill()?;
                table.flush(super::hpt::table::FLUSH_ENTRIES)?
            }
            Path::Translate => 0.0,
        };
    }
    Ok(table.mappings.len() as u64)
}
