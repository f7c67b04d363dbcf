//! `emu vectors`: its flags.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Who decides what the architecture leaves undefined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Undefined {
    /// As QEMU 7.2 does, which the vectors were recorded from
    #[default]
    QemuLike,
    /// As this MMU does unless told otherwise
    Plain,
}

/// `emu vectors`.
#[derive(Debug, Args)]
pub struct VectorsArgs {
    /// Vectors, one JSON object a line, plain or gzip; `-` for standard input
    #[arg(value_name = "FILE[.gz]")]
    pub file: PathBuf,
    /// Who decides what the architecture leaves undefined
    #[arg(long, value_name = "WHO", default_value = "qemu_like")]
    pub undefined: Undefined,
    /// Name each vector whose recording departs from the architecture [default: they are counted]
    #[arg(long)]
    pub list_deviations: bool,
    /// The output.
    #[command(flatten)]
    pub output: super::OutputArgs,
}
