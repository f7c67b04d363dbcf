//! The command as a user meets it: what it refuses, what it prints, how it ends.

mod bench;
mod exec;
mod explore;
mod explore_file;
mod gdb;
mod hpt;
mod litmus;
mod machines;
mod outputs;
mod policies;
mod probe;
mod refusals;
mod reports;
mod scenarios;
mod sweep;
mod traces;
mod vectors;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin_cmd;
use emu_linux::{RunConfig, Source};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

fn emu(words: &[&str]) -> Command {
    let mut command = cargo_bin_cmd!("emu");
    command.args(words);
    command
}

/// What a successful or violating command prints, and its exit code.
fn printed(words: &[&str]) -> (i32, String) {
    let output = emu(words).output().unwrap();
    assert!(
        output.stderr.is_empty(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

/// What a command that is refused says; it prints nothing else and exits with 2.
fn refused(words: &[&str]) -> String {
    let output = emu(words).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
    assert!(output.stdout.is_empty(), "{words:?} printed something");
    said
}

fn scenario() -> &'static str {
    emu_linux::scenarios()[0].name
}

/// The first policy that breaks, or does not break, a rule on the first scenario.
fn policy_that(breaks: bool) -> &'static str {
    static FOUND: OnceLock<[Option<&str>; 2]> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let source = Source::Scenario(scenario().to_owned());
        let mut found = [None; 2];
        for policy in emu_linux::policies() {
            let config = RunConfig::new(policy.name);
            let report = emu_linux::run(&source, &config, &mut |_| {}).unwrap();
            found[usize::from(report.found_violation())].get_or_insert(policy.name);
            if !found.contains(&None) {
                break;
            }
        }
        found
    });
    found[usize::from(breaks)].expect("the first scenario tells policies apart")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
