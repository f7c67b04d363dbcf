//! Flags of `emu bench`.

use super::OutputArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `emu bench`.
#[derive(Debug, Subcommand)]
pub enum BenchVerb {
    /// The hash table's hot paths beside the limit of the memory and general hash maps
    Hpt(BenchHptArgs),
    /// Flushes of 1 to 512 entries beside the limit of the memory and the unbatched sequence
    Flush(BenchFlushArgs),
    /// Translations by the number of pages in use, and by host threads
    Translate(BenchTranslateArgs),
    /// Instructions interpreted in a second, beside qemu-ppc64 if that is installed
    Exec(BenchExecArgs),
    /// Operations of the kernel model emulated in a second, checked and unchecked
    Replay(BenchReplayArgs),
    /// Interleavings searched in a second, and how many the search leaves out
    Explore(BenchExploreArgs),
}

/// `emu bench exec`.
#[derive(Debug, Args)]
pub struct BenchExecArgs {
    /// Rounds; the ratio is taken within one
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `emu bench replay`.
#[derive(Debug, Args)]
pub struct BenchReplayArgs {
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Operations of a run: vmalloc of 8 pages, a store to each, vfree
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub operations: u64,
    /// Draw the curve of random loads over live mappings there
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Most pages mapped at once for the curve, which begins at 1024; 0 leaves it out
    #[arg(long, value_name = "PAGES", default_value_t = 16 << 20, value_parser = clap::value_parser!(u64).range(0..=16 << 20))]
    pub live_max: u64,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `emu bench explore`.
#[derive(Debug, Args)]
pub struct BenchExploreArgs {
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Scenario to explore, on one CPU
    #[arg(long, value_name = "SCENARIO", default_value = "unmap-vs-cow")]
    pub scenario: String,
    /// Policy
    #[arg(long, value_name = "POLICY", default_value = "mainline-6.1")]
    pub policy: String,
    /// Departures of a run; the search that leaves nothing out has at most 3
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=5))]
    pub bound: u16,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `emu bench flush`.
#[derive(Debug, Args)]
pub struct BenchFlushArgs {
    /// Rounds; each ratio is taken within one
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Size of the table in MiB, a power of two [default: 1 GiB]
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = power_of_two)]
    pub table_mib: u64,
    /// Draw rates over the entries of a flush there
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `emu bench translate`.
#[derive(Debug, Args)]
pub struct BenchTranslateArgs {
    /// Rounds; each ratio is taken within one
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Translations of one measurement, each thread
    #[arg(long, value_name = "N", default_value_t = 4_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub translations: u64,
    /// Draw rates over the pages in use there
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `emu bench hpt`.
#[derive(Debug, Args)]
pub struct BenchHptArgs {
    /// Rounds; each ratio is taken within one
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Size of the largest table in MiB, a power of two [default: 1 GiB]
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = power_of_two)]
    pub table_mib_max: u64,
    /// Draw rates over table sizes and loads there
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

fn power_of_two(typed: &str) -> Result<u64, String> {
    match typed.parse::<u64>() {
        Ok(mib) if mib.is_power_of_two() && (1..=1024).contains(&mib) => Ok(mib),
        _ => Err("a power of two from 1 to 1024 is right".to_owned()),
    }
}
