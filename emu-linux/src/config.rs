//! What a run is: its source, its kernel, its policy, its seed.
//!
//! Owns the configuration that a program or the command fills in, and its checks.

use crate::lazy_mmu::PolicyFile;
use crate::mode::Mode;
use crate::scenario::Scenario;
use crate::timing::Timing;
use emu_core::{MachineProfile, Schedule};
use serde::Serialize;
use std::path::PathBuf;

/// The kernel whose layout and behaviour is modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KernelVersion {
    /// 2.6.38 with the mmotm patches of March 2011.
    V2_6_38,
    /// 6.1.
    V6_1,
}

impl KernelVersion {
    /// All of them, in order of age.
    pub const ALL: [KernelVersion; 2] = [KernelVersion::V2_6_38, KernelVersion::V6_1];

    /// The name as typed and reported.
    pub const fn name(self) -> &'static str {
        match self {
            KernelVersion::V2_6_38 => "2.6.38",
            KernelVersion::V6_1 => "6.1",
        }
    }
}

/// The base page size that a kernel was configured with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pages {
    /// 4 KiB (CONFIG_PPC_4K_PAGES).
    #[default]
    K4,
    /// 64 KiB (CONFIG_PPC_64K_PAGES).
    K64,
}

impl Pages {
    /// All of them, smallest first.
    pub const ALL: [Pages; 2] = [Pages::K4, Pages::K64];

    /// The name as typed and reported.
    pub const fn name(self) -> &'static str {
        match self {
            Pages::K4 => "4k",
            Pages::K64 => "64k",
        }
    }

    /// log2 of the bytes of a page.
    pub const fn shift(self) -> u32 {
        match self {
            Pages::K4 => 12,
            Pages::K64 => 16,
        }
    }

    /// Bytes of a page.
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// The size with so many bytes.
    pub fn of_bytes(bytes: u64) -> Option<Pages> {
        Pages::ALL.into_iter().find(|pages| pages.bytes() == bytes)
    }
}

/// How the kernel reaches its hash table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// Itself, with `tlbie`.
    #[default]
    Native,
    /// By calls to the hypervisor that owns the table.
    Lpar,
}

impl Backend {
    /// All of them.
    pub const ALL: [Backend; 2] = [Backend::Native, Backend::Lpar];

    /// The name as typed and reported.
    pub const fn name(self) -> &'static str {
        match self {
            Backend::Native => "native",
            Backend::Lpar => "lpar",
        }
    }
}

/// What the firmware of a machine under a hypervisor offers beyond the calls that every one has
/// (`ibm,hypertas-functions` of the device tree).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirmwareFeature {
    /// `hcall-block-remove`: H_BLOCK_REMOVE, up to eight pages of one aligned block of eight in a call.
    BlockRemove,
}

impl FirmwareFeature {
    /// All of them.
    pub const ALL: [FirmwareFeature; 1] = [FirmwareFeature::BlockRemove];

    /// The name as typed.
    pub const fn name(self) -> &'static str {
        match self {
            FirmwareFeature::BlockRemove => "block-remove",
        }
    }
}

/// Where kernel code can be preempted (the PREEMPT choice of a kernel's configuration).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preempt {
    /// CONFIG_PREEMPT_NONE: nowhere. preempt_disable and preempt_enable are nothing, preemptible() is a
    /// constant 0, debug_smp_processor_id does not exist; a task is switched out when it calls schedule()
    /// or goes back to user mode.
    None,
    /// CONFIG_PREEMPT with CONFIG_DEBUG_PREEMPT: wherever preempt_count is 0 and interrupts are on.
    #[default]
    Full,
    /// CONFIG_PREEMPT_RT with the same debugging and CONFIG_DEBUG_ATOMIC_SLEEP: as `Full`, and spinlocks
    /// that are not raw sleep, so that a task can be switched out while it holds one.
    Rt,
}

impl Preempt {
    /// All of them.
    pub const ALL: [Preempt; 3] = [Preempt::None, Preempt::Full, Preempt::Rt];

    /// The name as typed and reported.
    pub const fn name(self) -> &'static str {
        match self {
            Preempt::None => "none",
            Preempt::Full => "full",
            Preempt::Rt => "rt",
        }
    }

    /// True if a task can be switched out inside the kernel without asking for it.
    pub const fn preempts_kernel(self) -> bool {
        !matches!(self, Preempt::None)
    }
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A built-in scenario, by name.
    Scenario(String),
    /// A scenario from a text of the caller's own. Its settings are taken where the configuration leaves
    /// them open; [`Settings::config`](crate::Settings::config) makes the configuration that has them all.
    File(Box<Scenario>),
    /// An ftrace capture, plain or gzip.
    Trace(PathBuf),
}

/// Who makes the choices that are not determined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ScheduleChoice {
    /// The clocks.
    #[default]
    Clocked,
    /// A random number generator with the run's seed.
    Random,
    /// A recorded schedule.
    Replay(Schedule),
}

impl std::str::FromStr for ScheduleChoice {
    type Err = String;

    /// `clocked`, `random` or a schedule as reports print it; the error says what is wrong in words.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "clocked" => Ok(ScheduleChoice::Clocked),
            "random" => Ok(ScheduleChoice::Random),
            _ => text.parse().map(ScheduleChoice::Replay).map_err(|refused| {
                let hint = nearest(text, ["clocked", "random"])
                    .map(|name| format!(", did you mean `{name}`?"))
                    .unwrap_or_default();
                format!("neither `clocked` nor `random`{hint}, and {refused}")
            }),
        }
    }
}

/// Everything that determines a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunConfig {
    /// Policy name.
    pub policy: String,
    /// A policy composed of shipped ones, in place of the one named.
    pub policy_file: Option<PolicyFile>,
    /// Kernel; `None` takes the source's own (2.6.38 for scenarios, 6.1 for traces).
    pub kernel: Option<KernelVersion>,
    /// Base page size; `None` takes the source's own (4K for scenarios, the recorded kernel's for traces).
    pub pages: Option<Pages>,
    /// Size of the hash-table entries for the pages of a 64K kernel, on vmalloc and user addresses; `None`
    /// takes the largest that the CPU has. Refused with 4K pages, where there is no choice.
    pub hpte_pages: Option<Pages>,
    /// The machine; `None` takes the kernel's own (ppc970 for 2.6.38, power8 for 6.1).
    pub machine: Option<MachineProfile>,
    /// Changes of it, each as [`MachineProfile::set`] takes it.
    pub machine_changes: Vec<String>,
    /// Who writes the hash table.
    pub backend: Backend,
    /// What the firmware offers under a hypervisor. Refused where the kernel would not use it: with the
    /// native writer, and with 2.6.38.
    pub firmware_feature: Option<FirmwareFeature>,
    /// Entries of a CPU's flush batch, 1 to 512; `None` takes the kernel's own number
    /// (PPC64_TLB_BATCH_NR, 192).
    pub batch_size: Option<u64>,
    /// log2 of the number of groups; `None` takes the kernel's rule for the memory size, or what explains
    /// the inserts of a trace that contradict it.
    pub htab_bits: Option<u8>,
    /// Number of CPUs, 1 to 64; `None` takes the source's own.
    pub cpus: Option<u16>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Pages of the swap map touched at swapoff; `None` takes the scenario's own (all).
    pub touch: Option<u64>,
    /// Operations of a scenario that repeats; `None` takes its own number.
    pub operations: Option<u64>,
    /// Where kernel code can be preempted.
    pub preempt: Preempt,
    /// Tasks may run on one CPU only.
    pub pin: bool,
    /// The n-th allocation of the kernel fails, counted from 1: of a page, a page table, an area, a page
    /// array, a block of vm_map_ram, an address space or a task.
    pub fail_alloc: Option<u64>,
    /// The n-th page that vmalloc is to map is missing, counted from 1: mapping ends there with -ENOMEM,
    /// inside the lazy section if there is one.
    pub fail_map: Option<u64>,
    /// Cycles between two timer interrupts of a CPU, 10000 to 10^12; `None` takes the kernel's own (4 ms).
    pub timer_period: Option<u64>,
    /// At every n-th timer interrupt of a CPU the task that runs there is moved to another, which the seed
    /// chooses; `None` moves none. Needs two CPUs and tasks that are not pinned.
    pub migrate_every: Option<u64>,
    /// Say at the end what was not given back; always done where something is made to fail.
    pub leaks: bool,
    /// Who makes the choices.
    pub schedule: ScheduleChoice,
    /// The engine.
    pub mode: Mode,
    /// What a step costs.
    pub timing: Timing,
    /// Check the invariants.
    pub check: bool,
    /// Keep what happened when, for a picture.
    pub timeline: bool,
}

impl RunConfig {
    /// The defaults with a policy.
    pub fn new(policy: &str) -> Self {
        RunConfig {
            policy: policy.to_owned(),
            policy_file: None,
            kernel: None,
            pages: None,
            hpte_pages: None,
            machine: None,
            machine_changes: Vec::new(),
            backend: Backend::Native,
            firmware_feature: None,
            batch_size: None,
            htab_bits: None,
            cpus: None,
            seed: 1,
            touch: None,
            operations: None,
            preempt: Preempt::Full,
            pin: false,
            fail_alloc: None,
            fail_map: None,
            timer_period: None,
            migrate_every: None,
            leaks: false,
            schedule: ScheduleChoice::Clocked,
            mode: Mode::Deterministic,
            timing: Timing::Cycle,
            check: true,
            timeline: false,
        }
    }
}

/// Why a run could not be made. Every text names what was wrong and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No policy of that name.
    #[error("no policy `{name}`{} `emu policy list` names them all", sentence_end(.nearest))]
    NoPolicy {
        /// What was asked for.
        name: String,
        /// The nearest name there is.
        nearest: Option<String>,
    },
    /// No scenario of that name, and no such file.
    #[error("no scenario or file `{name}`{} The scenarios are: {known}", sentence_end(.nearest))]
    NoScenario {
        /// What was asked for.
        name: String,
        /// The nearest name there is.
        nearest: Option<String>,
        /// All names.
        known: String,
    },
    /// A value out of range.
    #[error("{what} is {value}: {right}")]
    Value {
        /// What it sets.
        what: &'static str,
        /// The value given.
        value: String,
        /// What would be right.
        right: String,
    },
    /// The trace was recorded on a kernel with another page size than the one asked for.
    #[error(
        "{name} was recorded on a kernel with {recorded}-byte pages; replay it without `--pages`, which takes \
         the recorded size"
    )]
    PageSize {
        /// The trace.
        name: String,
        /// Its page size in bytes.
        recorded: u64,
    },
    /// The trace was refused.
    #[error(transparent)]
    Trace(#[from] crate::trace::TraceError),
    /// The engine refused or stopped.
    #[error(transparent)]
    Engine(#[from] emu_core::EngineError),
    /// No operation was completed for very long.
    #[error(
        "the kernel hangs: at cycle {0} no operation had been completed for 1,000,000,000 cycles"
    )]
    Hung(emu_core::Cycles),
    /// A machine, or a change to one, was refused.
    #[error(transparent)]
    Machine(#[from] emu_core::ProfileError),
    /// The symbol table was refused.
    #[error("symbol table: {0}")]
    Symbols(String),
}

fn sentence_end(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(|| ".".to_owned(), |n| format!(", did you mean `{n}`?"))
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Operations done.
    pub done: u64,
    /// Operations in all, if known.
    pub total: Option<u64>,
}

/// The name in `known` nearest to `name`, if any is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_suggested() {
        let known = ["mmotm", "mainline-6.1", "hugh-preempt"];
        assert_eq!(nearest("mmtom", known), Some("mmotm".into()));
        assert_eq!(nearest("hugh", known), Some("hugh-preempt".into()));
        assert_eq!(nearest("zzzz", known), None);
    }
}
