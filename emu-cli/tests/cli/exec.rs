//! `emu exec`: the guest programs under `traces/guest`, and what is refused.

use super::{emu, refused};
use std::path::{Path, PathBuf};

fn guest(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/guest");
    folder.join(name).with_extension("elf")
}

/// What a program prints and the report after it, and its exit code.
fn run(name: &str, flags: &[&str]) -> (i32, String) {
    let path = guest(name);
    let words = [&["exec", path.to_str().unwrap()], flags].concat();
    let output = emu(&words).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.is_empty(), "{said}");
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn a_lock_counts_exactly_under_both_engines() {
    for mode in ["deterministic", "threads"] {
        let (code, text) = run("lock", &["--cpus", "4", "--mode", mode]);
        assert_eq!(code, 0, "{text}");
        assert!(text.starts_with("counted 8000\nhalted with 0\n"), "{text}");
    }
}

#[test]
fn the_page_table_does_what_it_says_on_every_machine() {
    for machine in ["power7", "power8", "power9"] {
        let (code, text) = run("pages", &["--machine", machine]);
        assert_eq!(code, 0, "{machine}: {text}");
    }
    let (_, text) = run("pages", &[]);
    let full = text.lines().next().unwrap().split(' ').next_back().unwrap();
    assert!(full.parse::<u64>().unwrap() > 0, "groups fill up: {text}");
    assert_eq!(run("pages", &[]).1, text, "the same bytes again");
}

#[test]
fn no_old_frame_is_read_after_tlbsync() {
    for mode in ["deterministic", "threads"] {
        for timing in ["functional", "cycle"] {
            let flags = ["--cpus", "3", "--mode", mode, "--timing", timing];
            let (code, text) = run("tlbie", &flags);
            assert_eq!(code, 0, "{mode} {timing}: {text}");
        }
    }
}

#[test]
fn json_has_the_console_and_the_counters() {
    let (code, text) = run("tlbie", &["--cpus", "2", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["exit"]), (0, &0.into()));
    assert_eq!(report["schema"], "ppc-mmu-emu/exec/1");
    assert_eq!(report["console"], "moved 300 times\n");
    assert_eq!(report["cpus"][0]["counters"]["tlbie"], 300);
    assert_eq!(report["cpus"][0]["counters"]["ptesync"], 900);
    let sum: u64 = report["cpus"][1]["cycles_by_category"]
        .as_object()
        .unwrap()
        .values()
        .map(|cycles| cycles.as_u64().unwrap())
        .sum();
    assert_eq!(report["cpus"][1]["cycles"], sum);
}

#[test]
fn a_trace_has_every_instruction_and_a_limit_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let flags = [
        "--max-instructions",
        "500",
        "--trace",
        path.to_str().unwrap(),
    ];
    let (code, text) = run("pages", &flags);
    assert_eq!(code, 2);
    assert!(text.starts_with("stopped"), "{text}");
    let trace = std::fs::read_to_string(path).unwrap();
    assert_eq!(trace.lines().count(), 500);
    assert!(trace.starts_with("0 0 0000000000010000: 3c20"), "{trace}");
    assert!(trace.contains("slbmte r"), "{trace}");
}

#[test]
fn what_cannot_run_is_refused() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let said = refused(&["exec", manifest.to_str().unwrap()]);
    assert!(said.contains("no ELF file"), "{said}");
    let path = guest("lock");
    let path = path.to_str().unwrap();
    let said = refused(&["exec", path, "--memory", "1", "--htab-bits", "16"]);
    assert!(said.contains("--memory"), "{said}");
    let said = refused(&["exec", path, "--machine", "power6"]);
    assert!(said.contains("power"), "{said}");
}
