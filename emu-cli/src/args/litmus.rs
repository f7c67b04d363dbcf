//! `emu litmus`: its flags.

use clap::Args;
use std::path::PathBuf;

/// `emu litmus`.
#[derive(Debug, Args)]
pub struct LitmusArgs {
    /// Tests (.hlit); of a directory, all in it by name
    #[arg(value_name = "FILE|DIR", required = true)]
    pub paths: Vec<PathBuf>,
    /// The output.
    #[command(flatten)]
    pub output: super::OutputArgs,
}
