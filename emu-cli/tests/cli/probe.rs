//! `emu probe`.

use super::{printed, refused};
use serde_json::Value;

const NARROW: [&str; 6] = [
    "probe",
    "sensitivity",
    "--machines",
    "power8",
    "--figures",
    "tlb.tlbs",
];

#[test]
fn estimates_are_halved_and_doubled() {
    let (code, text) = printed(&[&NARROW[..], &["--json"]].concat());
    let probed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &probed["schema"]),
        (0, &"ppc-mmu-emu/probe-sensitivity/1".into())
    );
    let machine = &probed["machines"][0];
    let figures = machine["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 2, "{machine:#}");
    let name = "unbatched_vs_batched";
    let base = machine["ratios"][name].as_f64().unwrap();
    let tlbsync = figures.iter().find(|f| f["path"] == "tlb.tlbsync").unwrap();
    let of = |way: &str| tlbsync[way][name].as_f64().unwrap();
    // The barriers are what batching saves.
    assert!(of("halved") < base && base < of("doubled"), "{tlbsync:#}");
    let range = &machine["ranges"][name];
    assert_eq!(range["greatest_by"], "twice tlb.tlbsync");
    assert_eq!(range["greatest"].as_f64().unwrap(), of("doubled"));
    let (code, text) = printed(&NARROW);
    assert_eq!(code, 0);
    for word in ["power8, 2 estimates", "twice tlb.tlbsync", name] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn what_cannot_be_probed_is_refused() {
    let words = ["probe", "sensitivity", "--figures", "nothing."];
    assert!(refused(&words).contains("`nothing.`"));
    assert!(refused(&["probe", "sensitivity", "--machines", "power10"]).contains("did you mean"));
    assert!(refused(&["probe", "sensitivty"]).contains("sensitivity"));
}

#[test]
fn latencies_are_measured_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("curve.svg");
    let words = [
        "probe",
        "latency",
        "--machine",
        "ppc970",
        "--set",
        "l2.latency=24",
        "--set",
        "l2.bytes=65536",
    ];
    let drawn = ["--json", "--svg", svg.to_str().unwrap()];
    let (code, text) = printed(&[&words[..], &drawn].concat());
    let probed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &probed["schema"]),
        (0, &"ppc-mmu-emu/probe-latency/1".into())
    );
    let plateaus = probed["plateaus"].as_array().unwrap();
    let l2 = plateaus.iter().find(|p| p["name"] == "l2").unwrap();
    assert!(
        (l2["measured"].as_f64().unwrap() - 24.0).abs() < 0.5,
        "{l2}"
    );
    assert_eq!(
        (&l2["unit"], &l2["profile"], &l2["source"]),
        (
            &"cycles".into(),
            &24.0.into(),
            &"l2.latency 24 (set by hand)".into()
        )
    );
    assert!(probed["curve"].as_array().unwrap().len() > 20);
    assert!(std::fs::read_to_string(&svg).unwrap().contains("footprint"));
}

#[test]
fn latencies_of_no_machine_are_refused() {
    assert!(refused(&["probe", "latency", "--machine", "power10"]).contains("did you mean"));
    let said = refused(&["probe", "latency", "--set", "l2.latncy=3"]);
    assert!(said.contains("did you mean `l2.latency`"), "{said}");
    let said = refused(&["probe", "latency", "-o", "x.svg", "--svg", "x.svg"]);
    assert!(said.contains("each its own"), "{said}");
}
