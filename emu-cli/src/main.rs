//! The command `emu`: what was typed -> what it means -> one module per verb -> reports.
//!
//! Owns the command line, its output and its exit codes. It refuses to model anything: the libraries
//! do.

mod args;
mod bench;
mod cmd;
mod exec;
mod output;
mod plan;
mod probe;
mod progress;
mod report;
mod sweep;

use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse(std::env::args_os()) {
        Ok(args) => cmd::dispatch(args),
        Err(refusal) => {
            // Nobody is left to tell if standard error is closed.
            let _ = refusal.print();
            ExitCode::from(if refusal.use_stderr() {
                cmd::EXIT_ERROR
            } else {
                0
            })
        }
    }
}
