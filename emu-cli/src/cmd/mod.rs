//! One module per verb, and the exit codes.
//!
//! Owns the way from a plan to delivered output. The text itself is [`report`](crate::report)'s.

mod bench;
mod compare;
mod exec;
mod explore;
mod hpt;
mod litmus;
mod machine;
mod policy;
mod probe;
mod run;
mod scenario;
mod sweep;
mod trace;
mod vectors;

use crate::args::{CommandLine, Verb};
use crate::output::{Delivered, Place, deliver};
use anyhow::Result;
use std::io::Write;
use std::process::ExitCode;

/// Exit code of a run that found what was looked for: a broken invariant, a vector that failed.
pub const EXIT_VIOLATION: u8 = 1;
/// Exit code of everything that could not be done.
pub const EXIT_ERROR: u8 = 2;

/// Does what was typed and says how it ended.
pub fn dispatch(line: CommandLine) -> ExitCode {
    let done = match line.verb {
        Verb::Run(args) => run::run(args),
        Verb::Compare(args) => compare::compare(args),
        Verb::Policy(verb) => policy::policy(&verb),
        Verb::Scenario(verb) => scenario::scenario(&verb),
        Verb::Machine(verb) => machine::machine(verb),
        Verb::Trace(verb) => trace::trace(&verb),
        Verb::Hpt(verb) => hpt::hpt(&verb),
        Verb::Explore(args) => explore::explore(&args),
        Verb::Replay(args) => explore::replay(&args),
        Verb::Explain(args) => explore::explain(&args),
        Verb::Litmus(args) => litmus::litmus(&args),
        Verb::Sweep(verb) => sweep::sweep(&verb),
        Verb::Probe(verb) => probe::probe(&verb),
        Verb::Exec(args) => exec::exec(&args),
        Verb::Vectors(args) => vectors::vectors(&args),
        Verb::Bench(verb) => bench::bench(&verb),
    };
    done.map(ExitCode::from).unwrap_or_else(|error| {
        // Nobody is left to tell if standard error is closed.
        let _ = writeln!(std::io::stderr(), "error: {}", sentence(&error));
        ExitCode::from(EXIT_ERROR)
    })
}

/// An error and its causes in one line; a cause that the text before already tells is left out.
fn sentence(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    crate::report::layout::printable(&told)
}

/// Prints a text on standard output; a reader that went away is no error.
fn print(text: &str) -> Result<u8> {
    deliver(&[(&Place::Stdout, text)]).map(|_: Delivered| 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("no such file")
            .context("file: no such file")
            .context("cannot write");
        assert_eq!(sentence(&error), "cannot write: file: no such file");
    }

    #[test]
    fn an_error_cannot_steer_the_terminal() {
        assert_eq!(sentence(&anyhow!("a\u{1b}[2J")), "a\\u{1b}[2J");
    }
}
