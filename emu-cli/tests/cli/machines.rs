//! `emu machine`, `--machine` and `--set`.

use super::{printed, refused};
use serde_json::Value;
use std::fs;

const RUN: [&str; 7] = [
    "run",
    "vmalloc-pairs",
    "--policy",
    "mainline-6.16",
    "--operations",
    "10",
    "--json",
];

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&printed(words).1).unwrap()
}

fn total(more: &[&str]) -> u64 {
    json(&[&RUN[..], more].concat())["cycles"]["total"]
        .as_u64()
        .unwrap()
}

#[test]
fn every_machine_is_listed_and_shown_with_sources() {
    let listed = json(&["machine", "list", "--json"]);
    let names: Vec<&str> = listed["machines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|machine| machine["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ppc970", "power5", "power7", "power8", "power9"]);
    for name in names {
        assert!(printed(&["machine", "list"]).1.contains(name));
        let shown = json(&["machine", "show", name, "--json"]);
        let figures = shown["figures"].as_array().unwrap();
        assert!(figures.len() > 100);
        for figure in figures {
            assert!(!figure["source"].as_str().unwrap().is_empty(), "{figure}");
        }
        assert!(
            printed(&["machine", "show", name])
                .1
                .contains("tlb.tlbsync")
        );
    }
}

#[test]
fn a_machine_of_ones_own_runs_like_the_one_it_is_a_copy_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let typed = path.to_str().unwrap();
    let text = printed(&["machine", "show", "power9", "--toml"]).1;
    fs::write(&path, text).unwrap();
    assert_eq!(
        total(&["--machine", typed]),
        total(&["--machine", "power9"])
    );
    fs::write(&path, "name = 'mine'\nbase = 'power9'\n").unwrap();
    assert_eq!(
        json(&[&RUN[..], &["--machine", typed]].concat())["machine"],
        "mine"
    );
    let shown = json(&["machine", "show", typed, "--set", "tlb.tlbie=77", "--json"]);
    let figures = shown["figures"].as_array().unwrap();
    let tlbie = figures.iter().find(|f| f["path"] == "tlb.tlbie").unwrap();
    assert_eq!(
        (&tlbie["value"], &tlbie["source"]),
        (&77.into(), &"set by hand".into())
    );
}

#[test]
fn machines_and_changes_reach_the_cycles() {
    assert!(total(&["--machine", "power9"]) != total(&["--machine", "ppc970"]));
    let dear = total(&["--set", "tlb.tlbsync=5000", "--set", "tlb.tlbie=5000"]);
    assert!(dear > total(&[]));
}

#[test]
fn what_is_wrong_is_named_with_the_nearest() {
    let run = |more: &[&str]| refused(&[&RUN[..], more].concat());
    assert!(run(&["--machine", "power10"]).contains("did you mean `power"));
    assert!(run(&["--set", "tlb.tlbei=3"]).contains("did you mean `tlb.tlbie`"));
    assert!(run(&["--set", "tlb.tlbie"]).contains("PATH=VALUE"));
    assert!(run(&["--set", "tlb.tlbie=x"]).contains("take 0 to"));
    assert!(run(&["--set", "geometry.tlb_sets=3"]).contains("power of two"));
    assert!(run(&["--machine", "nowhere.toml"]).contains("nowhere.toml"));
}
