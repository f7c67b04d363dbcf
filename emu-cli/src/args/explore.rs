//! Flags of `emu explore`, `emu replay` and `emu explain`.

use super::OutputArgs;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// How interleavings are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StrategyName {
    /// All within the bounds, but for those that differ in nothing anybody could tell
    #[default]
    Exhaustive,
    /// All within the bounds, nothing left out
    Plain,
    /// All within the bounds, but for what follows a state that was seen with as much of the bounds left
    States,
    /// As many departures as the bound, before random steps
    Pct,
    /// One to four times as many, before random steps
    Random,
}

/// `emu explore`, at once or in pieces.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ExploreVerb {
    /// In pieces.
    #[command(subcommand)]
    pub piece: Option<Piece>,
    /// At once.
    #[command(flatten)]
    pub search: ExploreArgs,
}

/// A search in pieces.
#[derive(Debug, Subcommand)]
pub enum Piece {
    /// Split a search into jobs, a line each
    Plan(PlanArgs),
    /// Do one job, given as its line
    Run(RunJobArgs),
    /// Join what the jobs came to, if every one was done
    Merge(MergeArgs),
}

/// `emu explore plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What to search.
    #[command(flatten)]
    pub search: ExploreArgs,
    /// Jobs of each scenario, policy and number of CPUs, by the first departure
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub parts: u16,
}

/// `emu explore run`.
#[derive(Debug, Args)]
pub struct RunJobArgs {
    /// A line of the plan
    #[arg(long, value_name = "LINE")]
    pub job: String,
    /// Write the result there, all of it or nothing [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `emu explore merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The plan
    #[arg(value_name = "JOBS.jsonl")]
    pub plan: PathBuf,
    /// Results: files of one or more lines
    #[arg(value_name = "RESULT", required = true)]
    pub results: Vec<PathBuf>,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A search.
#[derive(Debug, Args)]
pub struct ExploreArgs {
    /// Name of a scenario to explore, a file with one (FILE.toml), or `all`
    #[arg(value_name = "SCENARIO|FILE.toml|all", required = true)]
    pub scenario: Option<String>,
    /// With `all`: these scenarios only
    #[arg(long, value_name = "S,T,...", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Policies, with commas between them, or `all`
    #[arg(
        long,
        alias = "policy",
        value_name = "A,B,...|all",
        value_delimiter = ',',
        default_value = "all"
    )]
    pub policies: Vec<String>,
    /// Numbers of CPUs, each explored
    #[arg(long, value_name = "N,M,...", value_delimiter = ',', default_values_t = [1, 2], value_parser = clap::value_parser!(u16).range(1..=4))]
    pub cpus: Vec<u16>,
    /// Most departures in all: preemptions, migrations, switches of the CPU and speculative walks
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=8))]
    pub bound: u16,
    /// Most preemptions [default: as many as `--bound`]
    #[arg(long, value_name = "N")]
    pub preemptions: Option<u16>,
    /// Most migrations [default: as many as `--bound`]
    #[arg(long, value_name = "N")]
    pub migrations: Option<u16>,
    /// Most switches of the CPU [default: as many as `--bound`]
    #[arg(long, value_name = "N")]
    pub switches: Option<u16>,
    /// Most speculative walks of the table, by any CPU for any page that the scenario accesses
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=8))]
    pub walks: u16,
    /// Let invalidations reach other CPUs as late as the architecture allows
    #[arg(long)]
    pub late: bool,
    /// How interleavings are chosen
    #[arg(long, value_enum, default_value_t)]
    pub strategy: StrategyName,
    /// Runs of each cell with `pct` and `random`
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub schedules: u64,
    /// Seed of `pct` and `random`
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Keep finished cells there, and do not search them again when started with the same flags
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Threads [default: one for each CPU of the host]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `emu replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The string that `emu explore` gave: SCENARIO/POLICY/CPUS/emx2:...
    #[arg(value_name = "STRING")]
    pub replay: String,
    /// The file that has the scenario, if it was explored from one
    #[arg(long, value_name = "FILE.toml")]
    pub scenario: Option<PathBuf>,
    /// Draw the steps there, for Perfetto or chrome://tracing
    #[arg(long, value_name = "FILE.json")]
    pub timeline: Option<PathBuf>,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `emu explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Name of an invariant, or the string of a schedule that breaks one
    #[arg(value_name = "KIND|STRING")]
    pub what: String,
    /// With a string: the file that has the scenario, if it was explored from one
    #[arg(long, value_name = "FILE.toml")]
    pub scenario: Option<PathBuf>,
    /// With a string: search its scenario under every policy, with as many departures, and say which close it
    #[arg(long)]
    pub remedies: bool,
}
