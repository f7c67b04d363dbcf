//! Flags of `emu sweep`.

use super::OutputArgs;
use super::machine::kernel_parser;
use clap::{Args, Subcommand};
use emu_linux::KernelVersion;
use std::ffi::OsString;
use std::path::PathBuf;

/// `emu sweep`.
#[derive(Debug, Subcommand)]
pub enum SweepVerb {
    /// Cycles per page against the size of a flush batch
    Batch(SizesArgs),
    /// Cycles per page against the number of CPUs that all work
    Cpus(CountsArgs),
    /// Cycles per page of a process whose flushes are local, against one whose flushes are global
    Scope(ScopeArgs),
    /// Longest span with preemption off against the size of a flush batch
    PreemptOff(SizesArgs),
    /// The workload of 2011 under random schedules: cycles, and how many seeds break a rule
    Seed(SeedArgs),
}

/// What every sweep is told.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// Policies, with commas between them, or `all`
    #[arg(
        long,
        value_name = "A,B,...|all",
        value_delimiter = ',',
        default_value = "all"
    )]
    pub policies: Vec<String>,
    /// Machines, names or files, with commas between them, or `all`
    #[arg(
        long,
        value_name = "A,B,...|all",
        value_delimiter = ',',
        default_value = "all"
    )]
    pub machines: Vec<OsString>,
    /// Change a figure of every machine, such as `tlb.tlbsync=300`; may be given several times
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Kernel whose layout and behaviour is modelled [default: 2.6.38]
    #[arg(long, value_name = "VERSION", value_parser = kernel_parser())]
    pub kernel: Option<KernelVersion>,
    /// Draw the curves there, a picture for each machine below the other
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How much is done at each point.
#[derive(Debug, Args)]
pub struct WorkArgs {
    /// Pages of an area, or of a round: mapped, touched, unmapped
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=512))]
    pub pages: u64,
    /// Areas of each CPU, or rounds, at each point
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub operations: u64,
}

/// `emu sweep batch` and `emu sweep preempt-off`.
#[derive(Debug, Args)]
pub struct SizesArgs {
    /// Entries of a flush batch, 1 to 512, with commas between them
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "1,2,4,8,16,32,64,96,128,192,256,384,512", value_parser = clap::value_parser!(u64).range(1..=512))]
    pub batch_sizes: Vec<u64>,
    /// CPUs, each of which works
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub cpus: u16,
    /// How much.
    #[command(flatten)]
    pub work: WorkArgs,
    /// The rest.
    #[command(flatten)]
    pub sweep: SweepArgs,
}

/// `emu sweep cpus`.
#[derive(Debug, Args)]
pub struct CountsArgs {
    /// Numbers of CPUs, 1 to 64, with commas between them
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "1,2,4,8,16,32,64", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub cpu_counts: Vec<u16>,
    /// Pages of an area: mapped, touched, unmapped
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=512))]
    pub pages: u64,
    /// Areas of each CPU at each point
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub operations: u64,
    /// Entries of a flush batch
    #[arg(long, value_name = "N", default_value_t = 192, value_parser = clap::value_parser!(u64).range(1..=512))]
    pub batch_size: u64,
    /// The rest.
    #[command(flatten)]
    pub sweep: SweepArgs,
}

/// `emu sweep scope`.
#[derive(Debug, Args)]
pub struct ScopeArgs {
    /// Entries of a flush batch, 1 to 512, with commas between them
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "1,8,64,192,512", value_parser = clap::value_parser!(u64).range(1..=512))]
    pub batch_sizes: Vec<u64>,
    /// CPUs of the machine, on all of which the process has run where its flushes are global
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=64))]
    pub cpus: u16,
    /// How much.
    #[command(flatten)]
    pub work: WorkArgs,
    /// The rest.
    #[command(flatten)]
    pub sweep: SweepArgs,
}

/// `emu sweep seed`.
#[derive(Debug, Args)]
pub struct SeedArgs {
    /// Seeds, from 1
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub seeds: u64,
    /// CPUs
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub cpus: u16,
    /// The rest.
    #[command(flatten)]
    pub sweep: SweepArgs,
}
