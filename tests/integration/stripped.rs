//! A replay reads allocations, frees, touches and marks, and nothing else: a capture without the
//! records of what its kernel did about them gives the same run, to the cycle.

use crate::support::{captures, policy_of, replay, rows};
use flate2::read::GzDecoder;
use std::io::{Read, Write};
use std::path::Path;

/// Records that say what the kernel did with its batches, its hash table and its hypervisor.
const DELETED: [&str; 14] = [
    "need",
    "pending",
    "fpage",
    "frange",
    "nfrange",
    "lfrange",
    "hpins",
    "hpinsret",
    "hpupd",
    "hprem",
    "hpinv",
    "tlbie",
    "hcall_entry",
    "hcall_exit",
];

/// Whether a line is one of those records: `TASK-PID [CPU] FLAGS TIME: EVENT: ...`.
fn is_deleted(line: &str) -> bool {
    let mut parts = line.splitn(3, ": ");
    let event = parts.nth(1).unwrap_or_default();
    !line.starts_with('#') && DELETED.contains(&event)
}

/// Writes the capture without those records, plain; tells how many lines were deleted.
fn strip(capture: &Path, to: &Path) -> usize {
    let file = std::fs::File::open(capture).expect("a committed capture");
    let mut text = String::new();
    GzDecoder::new(file)
        .read_to_string(&mut text)
        .expect("gzip text");
    let mut out = std::fs::File::create(to).expect("a temporary file");
    let mut deleted = 0;
    let mut kept = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if is_deleted(line) {
            deleted += 1;
        } else {
            kept.push_str(line);
        }
    }
    out.write_all(kept.as_bytes()).expect("written");
    deleted
}

/// Replays the captures of a family whole and stripped.
fn same_run(family: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = rows().into_iter().map(|(file, _)| file);
    let files: Vec<_> = files
        .filter(|file| file.starts_with(family) && file.contains("-powernv-4k"))
        .collect();
    assert!(!files.is_empty(), "no capture of family {family}");
    for file in files {
        let path = folder.path().join("stripped.txt");
        let deleted = strip(&captures().join(&file), &path);
        assert!(deleted > 100, "{file}: {deleted} lines deleted");
        let whole = replay(&captures().join(&file), policy_of(&file));
        let stripped = replay(&path, policy_of(&file));
        assert_eq!(
            stripped.groups, None,
            "{file}: nothing is left to compare with"
        );
        assert!(whole.groups.is_some(), "{file}");
        assert_eq!(stripped.counters, whole.counters, "{file}");
        assert_eq!(stripped.segments, whole.segments, "{file}");
        assert_eq!(stripped.cycles, whole.cycles, "{file}");
        assert_eq!(stripped.kernel_log, whole.kernel_log, "{file}");
        assert_eq!(stripped.violations, whole.violations, "{file}");
    }
}

#[test]
fn table() {
    same_run("table");
}

#[test]
fn variants() {
    same_run("variants");
}

#[test]
fn mix() {
    same_run("mix");
}

#[test]
fn swap() {
    same_run("swap");
}

#[test]
fn two_cpus() {
    same_run("smp2");
}

#[test]
fn a_record_is_known_by_its_event_alone() {
    let head = "            init-1       [000] d....     2.597107: ";
    assert!(is_deleted(&format!(
        "{head}hpins: (native_hpte_insert+0xc/0x230) group=1612192"
    )));
    assert!(is_deleted(&format!(
        "{head}need: (hpte_need_flush+0xc/0x4e0) mm=0xc0"
    )));
    for kept in [
        "vfree: (remove_vm_area+0xc/0x190) addr=0x1",
        "tracing_mark_write: need: x",
        "hash_fault: x",
    ] {
        assert!(!is_deleted(&format!("{head}{kept}")), "{kept}");
    }
}
