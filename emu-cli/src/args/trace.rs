//! `emu trace`: its verbs and their flags.

use clap::{Args, Subcommand};
use emu_linux::trace::generate::{OPERATIONS, PAGES, TASKS};
use std::path::PathBuf;

/// `emu trace`.
#[derive(Debug, Subcommand)]
pub enum TraceVerb {
    /// Say what a capture holds, what it lacks and what it counted
    Info {
        /// The capture: ftrace text, plain or gzip, or .emut
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print JSON for programs [default: text for people]
        #[arg(long)]
        json: bool,
    },
    /// Print what a replay of a capture does, one operation a line
    Cat {
        /// The capture: ftrace text, plain or gzip, or .emut
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print a JSON object on each line, for programs [default: text for people]
        #[arg(long)]
        json: bool,
    },
    /// Turn ftrace text into the compact form, .emut, which replays the same
    Import {
        /// The capture: ftrace text, plain or gzip
        #[arg(value_name = "IN.txt[.gz]")]
        file: PathBuf,
        /// Write it there, all of it or nothing
        #[arg(short, long, value_name = "OUT.emut")]
        output: PathBuf,
    },
    /// Make up a workload of vmalloc, touches and vfree, as .emut
    Gen(GenArgs),
    /// Print the shell commands that make a capture, and why
    Recipe,
}

/// `emu trace gen`.
#[derive(Debug, Args)]
pub struct GenArgs {
    /// Tasks that take turns, 1 to 4096
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(i64::from(*TASKS.start())..=i64::from(*TASKS.end())))]
    pub tasks: u32,
    /// Operations in all, at least 2
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(OPERATIONS))]
    pub operations: u64,
    /// Pages of the largest area, 1 to 4096
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u64).range(PAGES))]
    pub pages_max: u64,
    /// Seed of every choice, a 64-bit number
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Write it there, all of it or nothing
    #[arg(short, long, value_name = "OUT.emut")]
    pub output: PathBuf,
}
