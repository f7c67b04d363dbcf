//! `emu scenario`: its verbs and their flags.

use clap::Subcommand;
use std::path::PathBuf;

/// `emu scenario`.
#[derive(Debug, Subcommand)]
pub enum ScenarioVerb {
    /// List the built-in scenarios
    List {
        /// Print JSON for programs [default: text for people]
        #[arg(long)]
        json: bool,
    },
    /// Print the file of a built-in scenario: a start for one of your own
    Show {
        /// Name of the scenario
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Check scenario files and tell all that is wrong with them
    Check {
        /// The files, TOML
        #[arg(value_name = "FILE.toml", required = true)]
        files: Vec<PathBuf>,
    },
}
