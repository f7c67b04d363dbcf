//! What was typed: the flags, their values and their help.
//!
//! Owns the syntax. Names that only the library knows (scenarios, policies) are [`plan`](crate::plan)'s.

mod bench;
mod exec;
mod explore;
mod hpt;
mod litmus;
mod machine;
mod probe;
mod profile;
mod scenario;
mod sweep;
mod trace;
mod vectors;

pub use bench::{
    BenchExecArgs, BenchExploreArgs, BenchFlushArgs, BenchHptArgs, BenchReplayArgs,
    BenchTranslateArgs, BenchVerb,
};
pub use exec::ExecArgs;
pub use explore::{
    ExplainArgs, ExploreArgs, ExploreVerb, MergeArgs, Piece, PlanArgs, ReplayArgs, RunJobArgs,
    StrategyName,
};
pub use hpt::{
    AccessKind, Cpu, DumpArgs, HptVerb, Isa, LoadArgs, Order, TableArgs, TableSource, WalkArgs,
};
pub use litmus::LitmusArgs;
pub use machine::{FailAlloc, MachineArgs};
pub use probe::{LatencyArgs, ProbeVerb, SensitivityArgs};
pub use profile::ProfileVerb;
pub use scenario::ScenarioVerb;
pub use sweep::{SweepArgs, SweepVerb, WorkArgs};
pub use trace::{GenArgs, TraceVerb};
pub use vectors::{Undefined, VectorsArgs};

use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

const ABOUT: &str = "Emulates the 64-bit PowerPC hash MMU and the Linux code that drives it";

const EXAMPLES: &str = "\
Examples:
  emu policy list                                 the policies and where each is from
  emu run swapon-swapoff --policy mmotm           one run of a built-in scenario
  emu run capture.txt.gz --policy mmotm --json    the same for a capture of a real kernel
  emu compare swapon-swapoff                      every policy on the same work
  emu scenario show vmalloc-pairs                 the file of a scenario, to start one of your own
  emu trace recipe                                how to make a capture
  emu explore unmap-vs-cow --policies mmotm       every interleaving within a bound

Exit status: 0; 1 if what was looked for was found (`run`, `explore`, `replay`: a broken invariant; `vectors`: one that
failed; `hpt check`: a page with two entries; `litmus`: a claim that does not hold; `exec`: a guest that halted with 1); 2 for any error.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "emu", version, about = ABOUT, after_help = EXAMPLES)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a scenario or a capture under one policy and report what happened
    Run(RunArgs),
    /// Run a scenario or a capture under several policies, side by side
    Compare(CompareArgs),
    /// The lazy-MMU policies there are
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// Scenarios: those built in, and files of your own
    #[command(subcommand)]
    Scenario(ScenarioVerb),
    /// Machines: those built in, and files of your own
    #[command(subcommand)]
    Machine(ProfileVerb),
    /// Captures of real kernels, and made-up ones
    #[command(subcommand)]
    Trace(TraceVerb),
    /// Hashed page tables from files: figures, checks, one translation step by step
    #[command(subcommand)]
    Hpt(HptVerb),
    /// Search the interleavings of a small scenario for what breaks an invariant
    Explore(ExploreVerb),
    /// Run one schedule that `emu explore` found again, step by step
    Replay(ReplayArgs),
    /// Say what an invariant asks, or what a schedule breaks and how it came to that
    Explain(ExplainArgs),
    /// Run every interleaving of a litmus test and say whether its claim holds
    Litmus(LitmusArgs),
    /// A modelled figure over a range of settings, for each policy on each machine
    #[command(subcommand)]
    Sweep(SweepVerb),
    /// What the timing model itself is like
    #[command(subcommand)]
    Probe(ProbeVerb),
    /// Run a program in PPC64 machine code on the machine itself
    Exec(ExecArgs),
    /// Hold the MMU against recorded machine states
    Vectors(VectorsArgs),
    /// How fast this program is on this machine, beside what the machine allows
    #[command(subcommand)]
    Bench(BenchVerb),
}

/// `emu run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Name of a scenario, a scenario's file (.toml), or a capture: ftrace text, plain or gzip, or .emut
    #[arg(value_name = "SCENARIO|FILE")]
    pub source: OsString,
    /// Policy of the lazy MMU mode; `emu policy list` names them (required, unless a scenario's file has one)
    #[arg(long, value_name = "P")]
    pub policy: Option<String>,
    /// In place of a policy's name: a TOML file that composes one from points of those there are
    #[arg(long, value_name = "FILE.toml", conflicts_with = "policy")]
    pub policy_file: Option<PathBuf>,
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Write the kernel log there; `-` prints it before the report
    #[arg(long, value_name = "FILE|-")]
    pub kernel_log: Option<PathBuf>,
    /// Write what happened when there, as a Chrome trace for Perfetto: CPUs, tasks, batches, tlbie and locks
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `emu compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Name of a scenario, a scenario's file (.toml), or a capture: ftrace text, plain or gzip, or .emut
    #[arg(value_name = "SCENARIO|FILE")]
    pub source: OsString,
    /// Policies to compare, with commas between them, or `all`
    #[arg(
        long,
        value_name = "A,B,...|all",
        value_delimiter = ',',
        default_value = "all"
    )]
    pub policies: Vec<String>,
    /// The machine.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// The output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Where the report goes and in which form.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Print JSON for programs [default: text for people]
    #[arg(long)]
    pub json: bool,
    /// Write the report there, all of it or nothing [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `emu policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// List the policies
    List {
        /// Print JSON for programs [default: text for people]
        #[arg(long)]
        json: bool,
    },
    /// Say what one policy does and where it is from
    Show {
        /// Name of the policy
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// Also for `--help` and `--version`, which clap hands back as text to print.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<CommandLine, clap::Error> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    if words.len() == 1 {
        // Somebody who typed nothing asks what there is: that is no error.
        words.push("--help".into());
    }
    let mut command = command();
    let matches = command.try_get_matches_from_mut(words)?;
    CommandLine::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The definition, with the library's scenarios in the help of the verbs that take one.
fn command() -> Command {
    let mut scenarios = "Scenarios:".to_owned();
    for scenario in emu_linux::scenarios() {
        scenarios.push_str(&format!("\n  {}: {}", scenario.name, scenario.about));
    }
    CommandLine::command()
        .mut_subcommand("run", |verb| verb.after_help(scenarios.clone()))
        .mut_subcommand("compare", |verb| verb.after_help(scenarios.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_linux::{
        Backend, FirmwareFeature, KernelVersion, Mode, Pages, Preempt, ScheduleChoice, Timing,
    };

    fn typed(line: &str) -> Result<CommandLine, clap::Error> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn clap_finds_no_fault_in_the_definition() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_reaches_its_field() {
        let line = "emu run s --policy p --kernel 6.1 --pages 64k --hpte-pages 4k --machine power9 --set tlb.tlbie=3 --backend lpar --firmware-feature block-remove --batch-size 64 --htab-bits 12 \
                    --cpus 3 --seed 9 --touch 7 --operations 5 --pin --kernel-log k --timeline t --json --fail-alloc 2 \
                    --fail-map 6 --timer-period 20000 --migrate-every 4 --preempt none --schedule emu1:3.1 --mode threads --timing functional --no-check -o out";
        let Verb::Run(run) = typed(line).unwrap().verb else {
            panic!("not run")
        };
        let machine = run.machine;
        assert_eq!((run.source, run.policy), ("s".into(), Some("p".into())));
        assert_eq!(machine.kernel, Some(KernelVersion::V6_1));
        assert_eq!(
            (machine.pages, machine.hpte_pages),
            (Some(Pages::K64), Some(Pages::K4))
        );
        assert_eq!(machine.machine, Some("power9".into()));
        assert_eq!(machine.set, ["tlb.tlbie=3"]);
        assert_eq!(machine.backend, Some(Backend::Lpar));
        let feature = machine.firmware_feature.map(FirmwareFeature::name);
        assert_eq!(feature, Some("block-remove"));
        assert_eq!((machine.htab_bits, machine.cpus), (Some(12), Some(3)));
        assert_eq!(machine.batch_size, Some(64));
        assert_eq!(
            (machine.seed, machine.touch, machine.fail_alloc),
            (Some(9), Some(7), Some(FailAlloc::Nth(2)))
        );
        assert_eq!((machine.operations, machine.fail_map), (Some(5), Some(6)));
        assert_eq!(
            (machine.timer_period, machine.migrate_every),
            (Some(20_000), Some(4))
        );
        assert_eq!(
            (machine.preempt, machine.mode, machine.timing),
            (
                Some(Preempt::None),
                Some(Mode::Threads),
                Some(Timing::Functional)
            )
        );
        assert!(machine.pin && machine.no_check && run.output.json);
        assert_eq!(
            machine.schedule,
            Some(ScheduleChoice::Replay("emu1:3.1".parse().unwrap()))
        );
        assert_eq!(run.kernel_log, Some("k".into()));
        assert_eq!(run.timeline, Some("t".into()));
        assert_eq!(run.output.output, Some("out".into()));
    }

    #[test]
    fn each_allocation_is_a_word() {
        let Verb::Run(run) = typed("emu run s --fail-alloc each").unwrap().verb else {
            panic!("not run")
        };
        assert_eq!(run.machine.fail_alloc, Some(FailAlloc::Each));
        let refused = typed("emu run s --fail-alloc all").unwrap_err().to_string();
        assert!(refused.contains("`each`"), "{refused}");
    }

    #[test]
    fn policies_are_split_at_commas() {
        let Verb::Compare(compare) = typed("emu compare s --policies a,b").unwrap().verb else {
            panic!("not compare")
        };
        assert_eq!(compare.policies, ["a", "b"]);
    }

    #[test]
    fn refusals_name_the_value_and_what_would_be_right() {
        for (line, words) in [
            ("emu run s --pages 16k", ["16k", "64k"]),
            ("emu run s --backend xen", ["xen", "lpar"]),
            ("emu run s --kernel 2.6.39", ["2.6.39", "2.6.38"]),
            ("emu run s --timing cycles", ["cycles", "'cycle'"]),
            ("emu run s --mode thread", ["thread", "'threads'"]),
            ("emu run s --preempt ful", ["ful", "'full'"]),
            (
                "emu run s --policy a --policy-file b",
                ["--policy-file", "cannot be used"],
            ),
            ("emu run s --cpus 65", ["65", "1..=64"]),
            ("emu run s --htab-bits 10", ["10", "11..=28"]),
            ("emu run s --batch-size 513", ["513", "1..=512"]),
            (
                "emu run s --schedule randm",
                ["randm", "did you mean `random`"],
            ),
            ("emu run s --schedule emu1:?", ["`?`", "base 36"]),
            ("emu rum s", ["rum", "'run'"]),
        ] {
            let text = typed(line).unwrap_err().to_string();
            assert!(
                words.iter().all(|word| text.contains(word)),
                "{line}: {text}"
            );
        }
    }

    #[test]
    fn the_examples_name_what_there_is() {
        for line in EXAMPLES.lines().filter(|line| line.starts_with("  emu ")) {
            let line = line.trim_start().split("  ").next().unwrap();
            typed(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let words: Vec<&str> = line.split(' ').collect();
            if ["run", "compare"].contains(&words[1]) && !words[2].contains('.') {
                assert!(
                    emu_linux::scenarios()
                        .iter()
                        .any(|scenario| scenario.name == words[2])
                );
            }
            if let Some(at) = words.iter().position(|word| *word == "--policy") {
                assert!(
                    emu_linux::policies()
                        .iter()
                        .any(|policy| policy.name == words[at + 1])
                );
            }
        }
    }

    #[test]
    fn the_help_of_run_names_the_scenarios() {
        let help = typed("emu run --help").unwrap_err().to_string();
        assert!(
            emu_linux::scenarios()
                .iter()
                .all(|scenario| help.contains(scenario.name))
        );
    }

    #[test]
    fn nothing_typed_is_answered_with_help() {
        let help = typed("emu").unwrap_err();
        assert!(!help.use_stderr());
        assert!(help.to_string().starts_with("Emulates") && help.to_string().contains("Examples:"));
    }
}
