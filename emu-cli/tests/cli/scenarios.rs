//! `emu scenario`, and scenarios from files.

use super::{printed, refused};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

const GOOD: &str =
    "name = 'mine'\nsummary = 'a test'\nworkload = 'vmalloc-pairs'\noperations = 20\n";

fn file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("mine.toml");
    fs::write(&path, text).unwrap();
    let typed = path.to_str().unwrap().to_owned();
    (folder, typed)
}

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&printed(words).1).unwrap()
}

#[test]
fn the_list_names_them_all_as_text_and_json() {
    let (code, text) = printed(&["scenario", "list"]);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let json = json(&["scenario", "list", "--json"]);
    let listed = json["scenarios"].as_array().unwrap();
    let scenarios = emu_linux::scenarios();
    assert_eq!((code, listed.len()), (0, scenarios.len()));
    for (scenario, listed) in scenarios.iter().zip(listed) {
        assert!(words.contains(&format!("{} {}", scenario.name, scenario.about)));
        assert_eq!(listed["name"], scenario.name);
    }
}

#[test]
fn what_is_shown_is_a_scenario_that_runs_the_same() {
    let (_, text) = printed(&["scenario", "show", "vmalloc-pairs"]);
    let (_folder, path) = file(&text);
    assert_eq!(
        printed(&["scenario", "check", &path]),
        (
            0,
            format!("{path}: scenario vmalloc-pairs, workload vmalloc-pairs\n")
        )
    );
    let rest = ["--policy", "mainline-6.1", "--operations", "30", "--json"];
    let of = |source: &str| printed(&[&["run", source][..], &rest].concat());
    assert_eq!(of(&path), of("vmalloc-pairs"));
    let said = refused(&["scenario", "show", "vmalloc-pair"]);
    assert!(said.contains("did you mean `vmalloc-pairs`?"), "{said}");
}

#[test]
fn a_check_tells_all_errors_of_all_files() {
    let (_one, good) = file(GOOD);
    let (_two, bad) = file("name = 'x'\nsummary = 'y'\nworklod = 'z'\ncpus = 99\n");
    let output = super::emu(&["scenario", "check", &bad, &good, "nowhere.toml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let good_line = format!("{good}: scenario mine, workload vmalloc-pairs\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), good_line);
    let said = String::from_utf8(output.stderr).unwrap();
    for words in [
        format!("error: {bad}: line 1, column 1: `workload` is missing"),
        format!("error: {bad}: line 3, column 1: no key `worklod`, did you mean `workload`?"),
        format!("error: {bad}: line 4, column 8: `cpus` is 99"),
        "error: nowhere.toml: ".to_owned(),
    ] {
        assert!(said.contains(&words), "{words} not in {said}");
    }
    assert_eq!(said.lines().count(), 4, "{said}");
}

#[test]
fn a_file_says_how_it_is_run_and_the_command_line_stands_over_it() {
    let text =
        format!("{GOOD}policy = 'mainline-6.1'\nkernel = '6.1'\npreempt = 'none'\nseed = 7\n");
    let (_folder, path) = file(&text);
    let report = json(&["run", &path, "--json"]);
    for (key, value) in [
        ("scenario", "mine"),
        ("policy", "mainline-6.1"),
        ("kernel", "6.1"),
        ("preempt", "none"),
    ] {
        assert_eq!(report[key], value);
    }
    assert_eq!(
        (&report["seed"], &report["counters"]["vmalloc"]),
        (&7.into(), &20.into())
    );
    let over = [
        "--policy",
        "mmotm",
        "--preempt",
        "full",
        "--operations",
        "5",
        "--seed",
        "8",
    ];
    let report = json(&[&["run", &path, "--json"][..], &over].concat());
    assert_eq!(report["policy"], "mmotm");
    assert_eq!(report["preempt"], "full");
    assert_eq!(
        (&report["seed"], &report["counters"]["vmalloc"]),
        (&8.into(), &5.into())
    );
    let two = json(&[
        "compare",
        &path,
        "--policies",
        "mmotm,mainline-6.1",
        "--json",
    ]);
    assert_eq!(two["scenario"], "mine");
    assert_eq!(two["runs"][0]["kernel"], "6.1");
    assert_eq!(two["runs"].as_array().unwrap().len(), 2);
}

#[test]
fn a_file_with_something_wrong_is_refused_in_one_line() {
    let (_folder, path) = file(&format!("{GOOD}cpus = 0\nseed = 'x'\n"));
    for words in [
        &["run", &path, "--policy", "mmotm"][..],
        &["compare", &path],
    ] {
        let said = refused(words);
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in [
            &path,
            "line 5, column 8",
            "`cpus` is 0",
            "and 1 more",
            "scenario check",
        ] {
            assert!(said.contains(part), "{part} not in {said}");
        }
    }
    let (_folder, path) = file(GOOD);
    let said = refused(&["run", &path, "--policy", "mmotm", "-o", &path]);
    assert!(said.contains("scenario itself"), "{said}");
    assert!(refused(&["run", &path]).contains("--policy NAME"));
}
