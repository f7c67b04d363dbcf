//! What is refused, and in which words. Every refusal exits with 2 and prints no report.

use super::{emu, refused, scenario};
use std::fs;

#[test]
fn a_flag_that_is_not_there() {
    let said = refused(&["run", scenario(), "--polcy", "x"]);
    assert!(
        said.contains("--polcy") && said.contains("--policy"),
        "{said}"
    );
}

#[test]
fn a_verb_that_is_not_there() {
    let said = refused(&["rum", scenario()]);
    assert!(said.contains("rum") && said.contains("'run'"), "{said}");
    assert!(refused(&["policy", "lst"]).contains("'list'"));
}

#[test]
fn a_policy_that_is_not_there_and_the_nearest() {
    let near = format!("{}x", emu_linux::policies()[0].name);
    let hint = format!("did you mean `{}`", emu_linux::policies()[0].name);
    for words in [
        &["run", scenario(), "--policy", &near][..],
        &["compare", scenario(), "--policies", &near],
        &["policy", "show", &near],
    ] {
        let said = refused(words);
        assert!(said.contains(&near) && said.contains(&hint), "{said}");
        assert!(said.contains("emu policy list"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_run_without_policy_names_the_list() {
    assert!(refused(&["run", scenario()]).contains("emu policy list"));
}

#[test]
fn a_source_that_is_neither_scenario_nor_file() {
    let near = format!("{}x", scenario());
    let said = refused(&["run", &near, "--policy", emu_linux::policies()[0].name]);
    assert!(
        said.contains(&near) && said.contains("scenario or file"),
        "{said}"
    );
    assert!(
        said.contains(&format!("did you mean `{}`", scenario())),
        "{said}"
    );
}

#[test]
fn captures_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    // The head of a gzip file and a stored block of 100 bytes that ends after 5.
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x64\0\x9b\xff# tra";
    let files: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("foreign", b"total 8\ndrwxr-xr-x 2 root root\n"),
        ("binary", &[0, 159, 146, 150, 0, 1, 2, 3, 255]),
        ("cut.gz", gzip),
        ("header", b"# tracer: nop\n#\n"),
    ];
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        let policy = emu_linux::policies()[0].name;
        for words in [
            &["run", path, "--policy", policy][..],
            &["compare", path],
            &["trace", "info", path],
        ] {
            let said = refused(words);
            assert!(said.contains(path), "{words:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
        }
    }
}

#[test]
fn a_directory_and_a_missing_capture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let said = refused(&["run", path, "--policy", emu_linux::policies()[0].name]);
    assert!(
        said.contains("is a directory") && said.contains(path),
        "{said}"
    );
    assert!(refused(&["trace", "info", path]).contains(path));
    let missing = format!("{path}/missing.txt");
    assert!(refused(&["trace", "info", &missing]).contains(&missing));
}

#[test]
fn values_that_are_none() {
    let policy = emu_linux::policies()[0].name;
    for (flag, value, right) in [
        ("--kernel", "2.6.39", "2.6.38"),
        ("--pages", "16k", "64k"),
        ("--hpte-pages", "16k", "64k"),
        ("--backend", "xen", "lpar"),
        ("--firmware-feature", "bulk-remove", "block-remove"),
        ("--firmware-feature", "block-remove", "--backend lpar"),
        ("--htab-bits", "10", "11"),
        ("--htab-bits", "29", "28"),
        ("--cpus", "0", "1..=64"),
        ("--cpus", "65", "1..=64"),
        ("--seed", "0x1", "invalid digit"),
        ("--touch", "many", "invalid digit"),
        ("--operations", "0", "1.."),
        ("--fail-alloc", "0", "1.."),
        ("--schedule", "emu0:1.1", "emu1:"),
    ] {
        let said = refused(&["run", scenario(), "--policy", policy, flag, value]);
        assert!(
            said.contains(value) && said.contains(flag) && said.contains(right),
            "{said}"
        );
    }
}

#[test]
fn each_allocation_is_for_one_policy_and_has_no_kernel_log() {
    let said = refused(&["compare", scenario(), "--fail-alloc", "each"]);
    assert!(said.contains("`emu run`"), "{said}");
    let policy = emu_linux::policies()[0].name;
    let words = [
        "run",
        scenario(),
        "--policy",
        policy,
        "--fail-alloc",
        "each",
    ];
    let said = refused(&[&words[..], &["--kernel-log", "-"]].concat());
    assert!(said.contains("no one kernel log"), "{said}");
}

#[test]
fn help_and_version_are_no_errors() {
    for words in [&["--help"][..], &["run", "--help"], &["--version"], &[]] {
        let output = emu(words).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(
            output.stderr.is_empty() && !output.stdout.is_empty(),
            "{words:?}"
        );
    }
}

#[test]
fn what_host_threads_cannot_repeat() {
    let common = ["run", "vmalloc-pairs", "--policy", "mmotm", "--mode"];
    let with = |more: &[&str]| refused(&[&common[..], more].concat());
    let said = with(&["threads", "--cpus", "2", "--schedule", "emu1:1.1"]);
    assert!(said.contains("`--mode threads`"), "{said}");
    let said = with(&["threads", "--fail-alloc", "each"]);
    assert!(said.contains("`--mode threads`"), "{said}");
    assert!(with(&["thread"]).contains("'threads'"));
}
