//! `emu machine`: its verbs and their flags.

use clap::Subcommand;
use std::ffi::OsString;

/// `emu machine`.
#[derive(Debug, Subcommand)]
pub enum ProfileVerb {
    /// List the machines that are built in
    List {
        /// Print JSON for programs [default: text for people]
        #[arg(long)]
        json: bool,
    },
    /// Print the figures of a machine, each with where it is from
    Show {
        /// Name of a machine, or a profile's file
        #[arg(value_name = "NAME|FILE.toml")]
        machine: OsString,
        /// Change a figure, such as `tlb.tlbsync=300`; may be given several times
        #[arg(long, value_name = "PATH=VALUE")]
        set: Vec<String>,
        /// Print the file of a built-in machine: a start for one of your own
        #[arg(long, conflicts_with_all = ["json", "set"])]
        toml: bool,
        /// Print JSON for programs [default: text for people]
        #[arg(long)]
        json: bool,
    },
}
