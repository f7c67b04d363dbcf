//! Flags of `emu exec`.

use super::OutputArgs;
use clap::Args;
use emu_linux::{Mode, Timing};
use std::ffi::OsString;
use std::path::PathBuf;

/// `emu exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// The program: an ELF file for 64-bit PowerPC of either byte order, loaded at its physical addresses
    #[arg(value_name = "IMAGE.elf")]
    pub image: PathBuf,
    /// Number of CPUs, 1 to 64; each begins at the entry with its number in r3 and how many there are in
    /// r4
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub cpus: u16,
    /// Guest memory in MiB; the hash table is at its end
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub memory: u64,
    /// Size of the hash table: log2 of its number of 128-byte groups, 11 to 28
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u8).range(11..=28))]
    pub htab_bits: u8,
    /// The machine: a name of `emu machine list`, or a profile's file
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "power8")]
    pub machine: OsString,
    /// Change a figure of the machine, such as `tlb.tlbsync=300`; may be given several times
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// What an instruction costs: the cycles of the machine, or one each [default: cycle]
    #[arg(long, value_name = "functional|cycle", value_parser = super::machine::timing_parser())]
    pub timing: Option<Timing>,
    /// The engine: one host thread for all CPUs, which repeats a run byte for byte, or one for each CPU
    /// [default: deterministic]
    #[arg(long, value_name = "deterministic|threads", value_parser = super::machine::mode_parser())]
    pub mode: Option<Mode>,
    /// Stop when a CPU has executed so many instructions [default: run until the guest halts]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_instructions: Option<u64>,
    /// Write each instruction there before it is executed; `-` is standard output
    #[arg(long, value_name = "FILE|-")]
    pub trace: Option<PathBuf>,
    /// Stop before the first instruction and wait for gdb at this address, by default 127.0.0.1:1234; a CPU
    /// is a thread
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:1234")]
    pub gdb: Option<String>,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}
