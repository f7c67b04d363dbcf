//! The machine that a kernel runs on: which one, its hash table, the page sizes the kernel takes from it.
//!
//! Owns the choice. Refuses figures, which are the machine's profile.

use crate::config::{KernelVersion, Pages, RunConfig, RunError};
use crate::memmap::RAM_BYTES;
use emu_core::{MachineConfig, MachineProfile};
use emu_mmu::{Hpt, PageSize, Ra};

/// The machine of a run, changed as asked. Unless told otherwise a kernel runs on the G5 of the 2011
/// report, or on the POWER8 of the captures.
///
/// # Errors
/// A change that the machine has no place for.
pub fn machine_of(config: &RunConfig, version: KernelVersion) -> Result<MachineProfile, RunError> {
    let mut machine = match (&config.machine, version) {
        (Some(machine), _) => machine.clone(),
        (None, KernelVersion::V2_6_38) => MachineProfile::builtin("ppc970")?,
        (None, KernelVersion::V6_1) => MachineProfile::builtin("power8")?,
    };
    for change in &config.machine_changes {
        machine.set(change)?;
    }
    Ok(machine)
}

/// log2 of the number of groups by the kernel's rule: one group for each two pages of RAM, at least
/// 2^11 (htab_get_table_size, arch/powerpc/mm/hash_utils_64.c).
pub const fn default_htab_bits(pages: Pages) -> u8 {
    (RAM_BYTES.ilog2() - (pages.shift() + 1)) as u8
}

/// Size of the HPTEs on vmalloc and user addresses: the base page's where the CPU has it, else 4K
/// (htab_init_page_sizes, arch/powerpc/mm/hash_utils_64.c).
pub(crate) fn hpte_page(
    asked: Option<Pages>,
    machine: &str,
    has_64k_pages: bool,
    pages: Pages,
) -> Result<PageSize, RunError> {
    let refuse = |value: Pages, right: String| {
        Err(RunError::Value {
            what: "--hpte-pages",
            value: value.name().to_owned(),
            right,
        })
    };
    match (pages, asked) {
        (Pages::K4, None) | (Pages::K64, Some(Pages::K4)) => Ok(PageSize::P4K),
        (Pages::K4, Some(asked)) => refuse(
            asked,
            "it is for a kernel with `--pages 64k`; with 4K pages every entry is one of 4K"
                .to_owned(),
        ),
        (Pages::K64, None) if !has_64k_pages => Ok(PageSize::P4K),
        (Pages::K64, Some(asked)) if !has_64k_pages => refuse(
            asked,
            format!(
                "the {machine} has no 64K pages, so that the kernel hashes each page as 4K pieces; take `4k`, or \
                 `--machine power8`"
            ),
        ),
        (Pages::K64, _) => Ok(PageSize::P64K),
    }
}

/// Places the hash table behind RAM and shapes the machine.
///
/// # Errors
/// A number of groups that the architecture or the model does not allow.
pub fn machine_config(
    config: &RunConfig,
    machine: &MachineProfile,
    pages: Pages,
    cpus: u16,
) -> Result<MachineConfig, RunError> {
    let bits = config.htab_bits.unwrap_or(default_htab_bits(pages));
    let right = "log2 of the number of groups, from 11 to 28".to_owned();
    if !(11..=28).contains(&bits) {
        return Err(RunError::Value {
            what: "--htab-bits",
            value: bits.to_string(),
            right,
        });
    }
    let base = RAM_BYTES.max(128 << bits);
    let hpt = Hpt::new(Ra::new(base), bits).map_err(|_| RunError::Value {
        what: "--htab-bits",
        value: bits.to_string(),
        right,
    })?;
    Ok(MachineConfig {
        cpus,
        memory_bytes: base + hpt.size_bytes(),
        hpt,
        geometry: machine.geometry(),
        costs: config.timing.costs(machine.costs()),
        quantum: config.mode.quantum(config.check),
    })
}
