//! `emu vectors`.

use super::{emu, printed, refused};
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::Read;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../traces/vectors/mmu-vectors-third.jsonl.gz"
);

fn lines(count: usize) -> Vec<String> {
    let mut text = String::new();
    GzDecoder::new(File::open(FILE).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text.lines().take(count).map(str::to_owned).collect()
}

#[test]
fn the_recording_passes() {
    let (code, text) = printed(&["vectors", FILE]);
    assert_eq!(
        (code, &*text),
        (0, "1163 passed, 0 failed, 33 deviations\n")
    );
}

#[test]
fn deviations_are_named_when_asked_for() {
    let (code, text) = printed(&["vectors", FILE, "--list-deviations"]);
    assert_eq!(code, 0);
    assert_eq!(text.matches("deviates: ").count(), 33);
    assert!(text.contains("dcbz_not_cacheable") && text.contains("lpcr_isl"));
}

#[test]
fn a_corrupted_vector_is_told_in_full_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("corrupted.jsonl");
    let corrupted = lines(8)
        .join("\n")
        .replacen(r#""ra":"0x1"#, r#""ra":"0x2"#, 1);
    fs::write(&file, corrupted).unwrap();
    let (code, text) = printed(&["vectors", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("failed: ") && text.contains("recorded real address 0x2"));
    assert!(
        text.ends_with("7 passed, 1 failed, 0 deviations\n"),
        "{text}"
    );
    let (code, json) = printed(&["vectors", file.to_str().unwrap(), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, json["failed"].as_u64()), (1, Some(1)));
    assert_eq!(
        json["failures"][0]["differences"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn what_is_undefined_can_be_decided_otherwise() {
    let (code, text) = printed(&["vectors", FILE, "--undefined", "plain"]);
    assert_eq!(code, 1);
    assert!(text.contains("more failed"), "{text}");
    let said = refused(&["vectors", FILE, "--undefined", "qemu"]);
    assert!(said.contains("qemu_like"), "{said}");
}

#[test]
fn files_without_vectors_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("v.jsonl");
    let name = file.to_str().unwrap();
    let said = |text: &str| {
        fs::write(&file, text).unwrap();
        refused(&["vectors", name])
    };
    assert!(said("\n").contains("holds no vectors"));
    assert!(said(&(lines(1)[0].clone() + "\n{}\n")).contains("line 2"));
    assert!(said(&"x".repeat(2 << 20)).contains("longer than"));
    assert!(refused(&["vectors", "absent.jsonl"]).contains("absent.jsonl"));
    let out = folder.path().join("no/such/report");
    emu(&["vectors", FILE, "-o", out.to_str().unwrap()])
        .assert()
        .code(2);
}

#[test]
fn vectors_from_standard_input() {
    let text = lines(3).join("\n");
    let output = emu(&["vectors", "-"]).write_stdin(text).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "3 passed, 0 failed, 0 deviations\n");
    let output = emu(&["vectors", "-"]).write_stdin("{").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("standard input, line 1: not a vector"),
        "{said}"
    );
}
