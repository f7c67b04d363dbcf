//! `emu sweep`.

use super::{printed, refused};
use serde_json::Value;
use std::fs;

const NARROW: [&str; 8] = [
    "--machines",
    "ppc970,power9",
    "--policies",
    "mainline-6.1,mainline-6.16-fixed",
    "--operations",
    "2",
    "--pages",
    "64",
];

fn json(words: &[&str]) -> Value {
    let (code, text) = printed(&[&["sweep"], words, &["--json"]].concat());
    assert_eq!(code, 0, "{words:?}");
    serde_json::from_str(&text).unwrap()
}

fn narrow(words: &[&str]) -> Value {
    json(&[words, &NARROW].concat())
}

#[test]
fn larger_batches_cost_less_a_page_where_there_are_batches() {
    let swept = narrow(&["batch", "--batch-sizes", "1,16,64"]);
    let cycles = |size: &str, policy: &str, machine: &str| {
        let figure = &swept["cycles_per_page"][size][policy][machine];
        figure.as_f64().unwrap_or_else(|| panic!("{swept:#}"))
    };
    for machine in ["ppc970", "power9"] {
        let batched = ["1", "16", "64"].map(|size| cycles(size, "mainline-6.16-fixed", machine));
        assert!(
            batched[0] > batched[1] && batched[1] > batched[2],
            "{batched:?}"
        );
        let single = ["1", "16", "64"].map(|size| cycles(size, "mainline-6.1", machine));
        assert!(
            single[0] == single[1] && single[1] == single[2],
            "{single:?}"
        );
        assert!(single[0] > batched[2]);
    }
    let points = swept["points"].as_array().unwrap();
    assert_eq!(points.len(), 12);
    for point in points {
        assert_eq!((&point["pages"], &point["cpus"]), (&128.into(), &1.into()));
        let parts = point["parts_per_page"].as_object().unwrap().values();
        let sum: f64 = parts.map(|part| part.as_f64().unwrap()).sum();
        let all = point["cycles_per_page"].as_f64().unwrap();
        assert!((sum - all).abs() < 0.001, "{point:#}");
    }
}

#[test]
fn spans_grow_with_batches_and_pages_cost_more_on_more_cpus() {
    let swept = narrow(&["preempt-off", "--batch-sizes", "1,64"]);
    let span = |size: &str| {
        let of_size = &swept["preempt_off_cycles_max"][size]["mainline-6.16-fixed"];
        of_size["power9"].as_f64().unwrap()
    };
    assert!(span("64") > 0.0 && span("1") > 0.0);
    let swept = narrow(&["cpus", "--cpu-counts", "1,4"]);
    for point in swept["points"].as_array().unwrap() {
        assert_eq!(point["pages"], point["cpus"].as_u64().unwrap() * 128);
    }
    let cycles = |cpus: &str| {
        let of_cpus = &swept["cycles_per_page"][cpus]["mainline-6.1"];
        of_cpus["power9"].as_f64().unwrap()
    };
    assert!(cycles("4") > cycles("1"));
}

#[test]
fn flushes_of_a_process_on_one_cpu_are_local() {
    let swept = narrow(&["scope", "--batch-sizes", "64"]);
    for point in swept["points"].as_array().unwrap() {
        let of = |key: &str| point[key].as_u64().unwrap();
        let expected = match point["scope"].as_str().unwrap() {
            "local" => (0, of("pages")),
            _ => (of("pages"), 0),
        };
        assert_eq!((of("tlbie"), of("tlbiel")), expected, "{point:#}");
    }
    let of_size = &swept["cycles_per_page"]["64"];
    let cycles = |series: &str| of_size[series]["power9"].as_f64().unwrap();
    assert!(cycles("mainline-6.1 local") < cycles("mainline-6.1 global"));
}

#[test]
fn seeds_tell_what_breaks() {
    let words = ["seed", "--seeds", "2", "--machines", "ppc970"];
    let words = [&words[..], &["--policies", "mmotm,mainline-6.1"]].concat();
    let swept = json(&words);
    assert_eq!(swept["points"].as_array().unwrap().len(), 4);
    for point in swept["points"].as_array().unwrap() {
        let broken = point.get("broken").is_some();
        assert_eq!(broken, point["policy"] == "mmotm", "{point:#}");
    }
    let (code, text) = printed(&[&["sweep"], &words[..]].concat());
    assert_eq!(code, 0);
    assert!(text.contains("2 of 2  unsafe-per-cpu"), "{text}");
    assert!(text.contains("0 of 2"), "{text}");
}

#[test]
fn a_sweep_is_text_and_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("batch.svg");
    let words = ["sweep", "batch", "--batch-sizes", "1,64", "--svg"];
    let typed = picture.to_str().unwrap();
    let (code, text) = printed(&[&words[..], &[typed], &NARROW].concat());
    assert_eq!(code, 0);
    assert!(
        text.contains("ppc970: cycles per page by entries of a batch"),
        "{text}"
    );
    let svg = fs::read_to_string(&picture).unwrap();
    for word in ["<svg", "ppc970", "power9", "mainline-6.16-fixed"] {
        assert!(svg.contains(word), "{word}");
    }
}

#[test]
fn what_cannot_be_swept_is_refused() {
    let run = |more: &[&str]| refused(&[&["sweep", "batch"], more].concat());
    assert!(run(&["--batch-sizes", "0"]).contains("1..=512"));
    assert!(run(&["--batch-sizes", "1,513"]).contains("513"));
    assert!(run(&["--policies", "mmtom"]).contains("did you mean `mmotm`"));
    assert!(run(&["--machines", "power10"]).contains("did you mean"));
    assert!(run(&["--machines", "all,power9"]).contains("stands alone"));
    assert!(run(&["--machines", "power9,power9"]).contains("twice"));
    assert!(run(&["--set", "tlb.tlbei=3"]).contains("did you mean `tlb.tlbie`"));
    assert!(refused(&["sweep", "cpus", "--cpu-counts", "65"]).contains("65"));
    assert!(refused(&["sweep", "scope", "--cpus", "1"]).contains("2..=64"));
}
