//! Flags of `emu probe`.

use super::OutputArgs;
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// `emu probe`.
#[derive(Debug, Subcommand)]
pub enum ProbeVerb {
    /// How far each headline ratio moves when an estimate is halved or doubled
    Sensitivity(SensitivityArgs),
    /// What loops in machine code measure on a machine, beside what its profile says
    Latency(LatencyArgs),
}

/// `emu probe latency`.
#[derive(Debug, Args)]
pub struct LatencyArgs {
    /// The machine: a name of `emu machine list`, or a profile's file
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "power8")]
    pub machine: OsString,
    /// Change a figure of the machine first, such as `l2.latency=20`; may be given several times
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Draw cycles of a load against the footprint there
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `emu probe sensitivity`.
#[derive(Debug, Args)]
pub struct SensitivityArgs {
    /// Machines, names or files, with commas between them, or `all`
    #[arg(
        long,
        value_name = "A,B,...|all",
        value_delimiter = ',',
        default_value = "ppc970,power8"
    )]
    pub machines: Vec<OsString>,
    /// Change a figure of every machine first, such as `tlb.tlbsync=300`; may be given several times
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Figures whose path begins so, such as `tlb.` [default: every estimate]
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub figures: String,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}
