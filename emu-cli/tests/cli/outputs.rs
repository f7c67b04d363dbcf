//! Where output goes: files whole or not at all, standard output, a closed pipe.

use super::{emu, names_in, policy_that, printed, refused, scenario};
use std::fs;
use std::io::Read;
use std::process::Stdio;

fn run(more: &[&str]) -> Vec<String> {
    let words = ["run", scenario(), "--policy", policy_that(false)];
    words
        .iter()
        .chain(more)
        .map(|&word| word.to_owned())
        .collect()
}

fn slices(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[test]
fn a_file_holds_what_standard_output_would() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let (code, text) = printed(&slices(&run(&["--json"])));
    let filed = printed(&slices(&run(&["--json", "-o", file.to_str().unwrap()])));
    assert_eq!((code, filed), (0, (0, String::new())));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert_eq!(names_in(folder.path()), ["report.json"]);
}

#[test]
fn a_file_that_cannot_be_written_is_noticed_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let inside = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for path in [inside("missing/report"), inside(""), inside("new/")] {
        for flag in ["-o", "--kernel-log"] {
            let said = refused(&slices(&run(&[flag, &path])));
            assert!(
                said.contains(&path) && said.contains("cannot write"),
                "{said}"
            );
        }
    }
    assert!(names_in(folder.path()).is_empty());
}

#[test]
fn a_failed_run_leaves_files_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let (capture, kept) = (folder.path().join("capture"), folder.path().join("kept"));
    fs::write(&capture, "not a capture\n").unwrap();
    fs::write(&kept, "old").unwrap();
    let new = folder.path().join("new");
    refused(&[
        "run",
        capture.to_str().unwrap(),
        "--policy",
        policy_that(false),
        "-o",
        kept.to_str().unwrap(),
        "--kernel-log",
        new.to_str().unwrap(),
    ]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "old");
    let mut names = names_in(folder.path());
    names.sort();
    assert_eq!(names, ["capture", "kept"]);
}

#[test]
fn the_kernel_log_goes_to_a_file_or_before_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let words = [
        "run",
        scenario(),
        "--policy",
        policy_that(true),
        "--kernel-log",
    ];
    let (code, report) = printed(&[&words[..], &[file.to_str().unwrap()]].concat());
    let (_, both) = printed(&[&words[..], &["-"]].concat());
    assert_eq!(code, 1);
    let log = fs::read_to_string(&file).unwrap();
    assert!(log.ends_with('\n') && log.lines().count() > 1);
    assert_eq!(both, format!("{log}\n{report}"));
}

#[test]
fn standard_output_cannot_hold_the_log_and_json() {
    let said = refused(&slices(&run(&["--json", "--kernel-log", "-"])));
    assert!(
        said.contains("standard output") && said.contains("-o FILE"),
        "{said}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("emu"));
    command
        .args(slices(&run(&[])))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn no_colours_and_no_bar_without_a_terminal() {
    let output = emu(&slices(&run(&[]))).output().unwrap();
    assert!(!output.stdout.contains(&0x1b) && output.stderr.is_empty());
}

#[test]
fn a_timeline_is_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let typed = path.to_str().unwrap();
    let words = ["run", scenario(), "--policy", "mainline-6.1", "--timeline"];
    let (code, text) = printed(&[&words[..], &[typed]].concat());
    assert_eq!(code, 0);
    assert!(text.contains("latency, cycles"), "{text}");
    let drawn: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert!(drawn["traceEvents"].as_array().unwrap().len() > 100);
    assert_eq!(names_in(folder.path()), ["trace.json"]);
    assert!(refused(&[&words[..], &[typed, "-o", typed]].concat()).contains("--timeline"));
    assert!(refused(&[&words[..], &[typed, "--fail-alloc", "each"]].concat()).contains("timeline"));
}
