//! The flags that say what is emulated and how choices are made; common to `run` and `compare`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use emu_linux::{
    Backend, FirmwareFeature, KernelVersion, Mode, Pages, Preempt, ScheduleChoice, Settings, Timing,
};
use std::ffi::OsString;

/// What is emulated and how choices are made. A flag that is not given leaves the choice to the scenario's
/// file, and that to the default.
#[derive(Debug, Args)]
pub struct MachineArgs {
    /// Kernel whose layout and behaviour is modelled [default: 2.6.38 for a scenario, 6.1 for a
    /// capture]
    #[arg(long, value_name = "VERSION", value_parser = kernel_parser())]
    pub kernel: Option<KernelVersion>,
    /// Base page size [default: 4k for a scenario, the recorded kernel's for a capture]
    #[arg(long, value_name = "4k|64k", value_parser = pages_parser())]
    pub pages: Option<Pages>,
    /// With 64K pages: size of the hash-table entries for them, `4k` for pieces [default: 64k where the
    /// CPU has it]
    #[arg(long, value_name = "4k|64k", value_parser = pages_parser())]
    pub hpte_pages: Option<Pages>,
    /// The machine: a name of `emu machine list`, or a profile's file [default: ppc970 for kernel 2.6.38,
    /// power8 for 6.1]
    #[arg(long, value_name = "NAME|FILE.toml")]
    pub machine: Option<OsString>,
    /// Change a figure of the machine, such as `tlb.tlbsync=300`; may be given several times
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Who writes the hash table: the kernel itself (`native`), or a hypervisor that it calls (`lpar`)
    /// [default: native]
    #[arg(long, value_name = "WRITER", value_parser = backend_parser())]
    pub backend: Option<Backend>,
    /// With `--backend lpar` and kernel 6.1: a call that the firmware offers beyond the common ones,
    /// `block-remove` for H_BLOCK_REMOVE [default: none]
    #[arg(long, value_name = "FEATURE", value_parser = firmware_parser())]
    pub firmware_feature: Option<FirmwareFeature>,
    /// Entries of each CPU's flush batch, 1 to 512 [default: 192, the kernel's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=512))]
    pub batch_size: Option<u64>,
    /// Size of the hash table: log2 of its number of 128-byte groups, 11 to 28 [default: the
    /// kernel's rule for the memory size, or what explains a capture's records]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(11..=28))]
    pub htab_bits: Option<u8>,
    /// Number of CPUs, 1 to 64 [default: the source's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub cpus: Option<u16>,
    /// Seed of every random choice, a 64-bit number [default: 1]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Pages of the swap map touched [default: the scenario's own]
    #[arg(long, value_name = "N")]
    pub touch: Option<u64>,
    /// Operations of a scenario that repeats [default: the scenario's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub operations: Option<u64>,
    /// Where kernel code can be preempted, as the kernel was configured: nowhere (CONFIG_PREEMPT_NONE),
    /// wherever preempt_count is 0 (CONFIG_PREEMPT), or that with spinlocks that sleep
    /// (CONFIG_PREEMPT_RT) [default: full]
    #[arg(long, value_name = "none|full|rt", value_parser = preempt_parser())]
    pub preempt: Option<Preempt>,
    /// Bind each task to its CPU [default: tasks may migrate]
    #[arg(long)]
    pub pin: bool,
    /// Let the N-th allocation of the kernel fail, counted from 1, and say what is not given back; `each`
    /// (for `run`) makes one run for every N [default: none fails]
    #[arg(long, value_name = "N|each", value_parser = fail_alloc)]
    pub fail_alloc: Option<FailAlloc>,
    /// Let the N-th page that vmalloc maps be missing, counted from 1: -ENOMEM in the middle of a
    /// table [default: none is]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub fail_map: Option<u64>,
    /// Let the timer of each CPU interrupt every N cycles, 10000 or more [default: 4 ms]
    #[arg(long, value_name = "CYCLES", value_parser = clap::value_parser!(u64).range(10_000..=1_000_000_000_000))]
    pub timer_period: Option<u64>,
    /// Move the running task to another CPU, chosen from the seed, at every N-th timer interrupt of a
    /// CPU [default: none is moved by force]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub migrate_every: Option<u64>,
    /// Who chooses where the model is free: the CPU clocks, a random number generator with the seed,
    /// or a schedule as printed by an earlier run [default: clocked]
    #[arg(long, value_name = "clocked|random|STRING")]
    pub schedule: Option<ScheduleChoice>,
    /// The engine: one host thread for all CPUs, which repeats a run byte for byte, or one for each CPU
    /// [default: deterministic]
    #[arg(long, value_name = "deterministic|threads", value_parser = mode_parser())]
    pub mode: Option<Mode>,
    /// What a step costs: the cycles of the machine, or one each, for order without time [default: cycle]
    #[arg(long, value_name = "functional|cycle", value_parser = timing_parser())]
    pub timing: Option<Timing>,
    /// Do not check the invariants [default: they are checked]
    #[arg(long)]
    pub no_check: bool,
}

impl MachineArgs {
    /// The settings that were typed, but for the machine, which may be a file.
    pub fn settings(&self) -> Settings {
        Settings {
            kernel: self.kernel,
            pages: self.pages,
            hpte_pages: self.hpte_pages,
            machine: None,
            backend: self.backend,
            firmware_feature: self.firmware_feature,
            batch_size: self.batch_size,
            htab_bits: self.htab_bits,
            cpus: self.cpus,
            seed: self.seed,
            touch: self.touch,
            operations: self.operations,
            preempt: self.preempt,
            pin: self.pin.then_some(true),
            schedule: self.schedule.clone(),
            mode: self.mode,
            timing: self.timing,
            fail_alloc: match self.fail_alloc {
                Some(FailAlloc::Nth(nth)) => Some(nth),
                Some(FailAlloc::Each) | None => None,
            },
            fail_map: self.fail_map,
            timer_period: self.timer_period,
            migrate_every: self.migrate_every,
        }
    }
}

pub(super) fn mode_parser() -> impl TypedValueParser<Value = Mode> {
    PossibleValuesParser::new(Mode::ALL.map(Mode::name)).try_map(|typed| {
        Mode::ALL
            .into_iter()
            .find(|mode| mode.name() == typed)
            .ok_or("no such engine")
    })
}

pub(super) fn timing_parser() -> impl TypedValueParser<Value = Timing> {
    PossibleValuesParser::new(Timing::ALL.map(Timing::name)).try_map(|typed| {
        Timing::ALL
            .into_iter()
            .find(|timing| timing.name() == typed)
            .ok_or("no such timing")
    })
}

pub(super) fn kernel_parser() -> impl TypedValueParser<Value = KernelVersion> {
    PossibleValuesParser::new(KernelVersion::ALL.map(KernelVersion::name)).try_map(|typed| {
        KernelVersion::ALL
            .into_iter()
            .find(|kernel| kernel.name() == typed)
            .ok_or("no such kernel")
    })
}

fn pages_parser() -> impl TypedValueParser<Value = Pages> {
    PossibleValuesParser::new(Pages::ALL.map(Pages::name)).try_map(|typed| {
        Pages::ALL
            .into_iter()
            .find(|pages| pages.name() == typed)
            .ok_or("no such page size")
    })
}

fn backend_parser() -> impl TypedValueParser<Value = Backend> {
    PossibleValuesParser::new(Backend::ALL.map(Backend::name)).try_map(|typed| {
        Backend::ALL
            .into_iter()
            .find(|backend| backend.name() == typed)
            .ok_or("no such writer")
    })
}

fn firmware_parser() -> impl TypedValueParser<Value = FirmwareFeature> {
    PossibleValuesParser::new(FirmwareFeature::ALL.map(FirmwareFeature::name)).try_map(|typed| {
        FirmwareFeature::ALL
            .into_iter()
            .find(|feature| feature.name() == typed)
            .ok_or("no such feature")
    })
}

/// Which allocation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailAlloc {
    /// That one, counted from 1.
    Nth(u64),
    /// Each in turn, in a run of its own.
    Each,
}

fn fail_alloc(typed: &str) -> Result<FailAlloc, String> {
    match typed.parse() {
        _ if typed == "each" => Ok(FailAlloc::Each),
        Ok(nth) if nth > 0 => Ok(FailAlloc::Nth(nth)),
        _ => Err("take a number in 1.., or `each`".to_owned()),
    }
}

fn preempt_parser() -> impl TypedValueParser<Value = Preempt> {
    PossibleValuesParser::new(Preempt::ALL.map(Preempt::name)).try_map(|typed| {
        Preempt::ALL
            .into_iter()
            .find(|preempt| preempt.name() == typed)
            .ok_or("no such kernel")
    })
}
