//! `emu litmus`.

use super::{emu, printed, refused};
use std::fs;

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../traces/litmus");

fn shipped(name: &str) -> String {
    format!("{TESTS}/{name}.hlit")
}

#[test]
fn each_end_is_told_with_its_count() {
    let (code, text) = printed(&["litmus", &shipped("ptesync-missing")]);
    let told = "Test ptesync-missing Allowed\nStates 4\n";
    assert!(text.starts_with(told), "{text}");
    assert!(text.contains("\n 1 *> P1:r=9; stale-translation=1;\n"));
    assert!(text.contains("\nOk\nWitnesses\nPositive: 1 Negative: 17\n"));
    assert_eq!(code, 0);
    let files = [shipped("ptesync-missing"), shipped("tlbie-complete")];
    let (code, json) = printed(&["litmus", &files[0], &files[1], "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, json["ok"].as_u64()), (0, Some(2)));
    let first = &json["tests"][0];
    assert_eq!(
        (first["claim"].as_str(), first["positive"].as_u64()),
        (Some("exists"), Some(1))
    );
    assert_eq!(json["tests"][1]["positive"], 0);
}

#[test]
fn a_claim_that_does_not_hold_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    for (name, claim, other) in [
        ("ptesync-missing", "exists", "forbidden"),
        ("tlbie-complete", "forbidden", "exists"),
    ] {
        let text = fs::read_to_string(shipped(name)).unwrap();
        let file = folder.path().join(format!("{name}.hlit"));
        fs::write(
            &file,
            text.replace(&format!("{claim} ("), &format!("{other} (")),
        )
        .unwrap();
    }
    let (code, text) = printed(&["litmus", folder.path().to_str().unwrap()]);
    assert_eq!(code, 1, "{text}");
    assert_eq!(text.matches("\nNo\n").count(), 2);
    assert!(
        text.contains("\n2 tests: 0 Ok, 2 No; 51 schedules\n"),
        "{text}"
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.hlit");
    fs::write(
        &file,
        "HLIT wrong { page A; }\nP0 @ 0 ;\n  tlbia A ;\nexists (hptes(A) = 1)\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let told = refused(&["litmus", path]);
    let right = format!("{path}:3:3: no step `tlbia`: did you mean `tlbie`?");
    assert!(told.contains(&right), "{told}");
    fs::remove_file(&file).unwrap();
    let told = refused(&["litmus", folder.path().to_str().unwrap()]);
    assert!(told.contains("holds no tests"), "{told}");
    emu(&["litmus"]).assert().code(2);
}
