//! `emu hpt`: its verbs and their flags.

use super::OutputArgs;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `emu hpt`.
#[derive(Debug, Subcommand)]
pub enum HptVerb {
    /// Say how full a table is and where its entries lie
    Stat(TableArgs),
    /// Look for virtual pages with two entries; exit status 1 if there are any
    Check(TableArgs),
    /// Print the valid entries, or write the table as the stream of KVM_PPC_GET_HTAB_FD
    Dump(DumpArgs),
    /// Read a stream, or an image, and write the table as a raw image
    Load(LoadArgs),
    /// Translate one address and say at each step why
    Walk(WalkArgs),
}

/// Byte order of a stream's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Of a little-endian host
    Little,
    /// Of a big-endian host
    Big,
}

/// Layout of the entries of a raw image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Isa {
    /// 970 to POWER8
    #[default]
    #[value(name = "2")]
    Isa2,
    /// POWER9
    #[value(name = "3")]
    Isa3,
}

/// A table in a file.
#[derive(Debug, Args)]
pub struct TableSource {
    /// The table: a raw image, or a stream as read from KVM_PPC_GET_HTAB_FD; `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// log2 of the number of groups [default: as the file says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(11..=28))]
    pub htab_bits: Option<u8>,
    /// Byte order of a stream's headers [default: the one that fits]
    #[arg(long, value_name = "ORDER")]
    pub header_order: Option<Order>,
    /// Layout of a raw image's entries, by version of the Power ISA; streams have that of 2
    #[arg(long, value_name = "2|3", default_value = "2")]
    pub isa: Isa,
}

/// `emu hpt stat` and `emu hpt check`.
#[derive(Debug, Args)]
pub struct TableArgs {
    /// The table.
    #[command(flatten)]
    pub table: TableSource,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `emu hpt dump`.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// The table.
    #[command(flatten)]
    pub table: TableSource,
    /// Print a JSON object on each line, for programs [default: text for people]
    #[arg(long)]
    pub json: bool,
    /// Write a stream there instead, all of it or nothing
    #[arg(long, value_name = "OUT", conflicts_with = "json")]
    pub stream: Option<PathBuf>,
    /// Only bolted entries
    #[arg(long)]
    pub bolted: bool,
}

/// `emu hpt load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// The table.
    #[command(flatten)]
    pub table: TableSource,
    /// Write the image there, all of it or nothing
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
}

/// What an access does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AccessKind {
    /// Data load
    #[default]
    Load,
    /// Data store
    Store,
    /// Instruction fetch
    Fetch,
}

/// The CPU that translates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Cpu {
    /// PowerPC 970
    #[value(name = "970")]
    Ppc970,
    /// POWER5+
    #[value(name = "power5+")]
    Power5Plus,
    /// POWER7 and POWER8
    #[default]
    Power8,
    /// POWER9
    Power9,
}

/// `emu hpt walk`.
#[derive(Debug, Args)]
pub struct WalkArgs {
    /// The table.
    #[command(flatten)]
    pub table: TableSource,
    /// The effective address, hexadecimal
    #[arg(long, value_name = "0x..", value_parser = hex)]
    pub ea: u64,
    /// Operands RS and RB of an slbmte, hexadecimal; may be given again
    #[arg(long, value_name = "RS,RB", required = true, value_parser = slb)]
    pub slb: Vec<(u64, u64)>,
    /// What the access does
    #[arg(long, value_name = "KIND", default_value = "load")]
    pub access: AccessKind,
    /// In problem state (MSR PR) [default: privileged]
    #[arg(long)]
    pub problem_state: bool,
    /// The CPU, for its page sizes
    #[arg(long, value_name = "CPU", default_value = "power8")]
    pub cpu: Cpu,
    /// AMR, hexadecimal
    #[arg(long, value_name = "0x..", default_value = "0x0", value_parser = hex)]
    pub amr: u64,
    /// IAMR, hexadecimal
    #[arg(long, value_name = "0x..", default_value = "0x0", value_parser = hex)]
    pub iamr: u64,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

fn hex(typed: &str) -> Result<u64, String> {
    let digits = typed.strip_prefix("0x").unwrap_or(typed);
    u64::from_str_radix(digits, 16).map_err(|_| "take a hexadecimal number of 64 bits".to_owned())
}

fn slb(typed: &str) -> Result<(u64, u64), String> {
    let (rs, rb) = typed
        .split_once(',')
        .ok_or("take RS and RB with a comma between them")?;
    Ok((hex(rs)?, hex(rb)?))
}
