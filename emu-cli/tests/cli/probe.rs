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
