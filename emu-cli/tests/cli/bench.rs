//! `emu bench`: what it prints, never how fast anything is.

use super::{printed, refused};
use serde_json::Value;

#[test]
fn exec_prints_rates_and_says_if_there_is_no_qemu() {
    let (code, text) = printed(&["bench", "exec", "--rounds", "1", "--json"]);
    assert_eq!(code, 0, "{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["schema"], "ppc-mmu-emu/bench-exec/1");
    let keys = ["functional_vs_qemu", "qemu_mips"].map(|key| json.get(key).is_some());
    assert_eq!(keys, [json["qemu"].as_bool().unwrap(); 2]);
    assert!(json["functional_mips"]["median"].as_f64().unwrap() > 0.0);
    assert!(json["instructions"].as_u64().unwrap() > 1_000_000);
}

#[test]
fn hpt_prints_every_ratio_and_draws() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("curves.svg");
    let words = "bench hpt --rounds 1 --table-mib-max 1 --json --svg";
    let mut words: Vec<&str> = words.split(' ').collect();
    words.push(picture.to_str().unwrap());
    let (code, text) = printed(&words);
    assert_eq!(code, 0, "{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    for key in [
        "insert_exclusive_vs_limit",
        "insert_shared_vs_limit",
        "insert_exclusive_16m_vs_limit",
        "insert_batched_vs_single",
        "insert_batched_vs_single_16m",
        "flush_batched_vs_limit",
        "find_batched_vs_limit",
        "insert_vs_hashbrown",
        "insert_vs_dashmap",
        "simd_vs_scalar",
        "insert_threads2_vs_limit_scaling",
        "translate_threads2_scaling",
        "limit_1g_mps",
        "limit_16m_mps",
    ] {
        let spread = &json[key];
        let of = |name: &str| {
            spread[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{key} {name}"))
        };
        assert!(of("min") > 0.0, "{key}");
        assert!(
            of("min") <= of("median") && of("median") <= of("max"),
            "{key}"
        );
    }
    assert_eq!(json["table_bytes"], 1 << 20);
    assert!(json["host"]["cpus"].as_u64().unwrap() > 0);
    let svg = std::fs::read_to_string(&picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("insert, load 50 %"));
}

#[test]
fn replay_prints_rates_and_draws_its_curve() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("replay.svg");
    let (code, text) = printed(&[
        "bench",
        "replay",
        "--rounds",
        "2",
        "--operations",
        "20",
        "--live-max",
        "1024",
        "--json",
        "--svg",
        picture.to_str().unwrap(),
    ]);
    assert_eq!(code, 0, "{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    for name in ["functional", "functional_checked", "cycle"] {
        assert!(
            json["ops_per_second"][name]["median"].as_f64().unwrap() > 0.0,
            "{name}"
        );
    }
    let curve = json["curve"].as_array().unwrap();
    let live: Vec<_> = curve
        .iter()
        .map(|point| point["live_mappings"].as_u64())
        .collect();
    assert_eq!(live, [Some(1024)]);
    for point in curve {
        for name in ["ops_per_second", "limit_per_second", "ratio"] {
            assert!(point[name].as_f64().unwrap() > 0.0, "{name}");
        }
    }
    let svg = std::fs::read_to_string(&picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("random loads"));
    let words = [
        "bench",
        "replay",
        "--rounds",
        "1",
        "--operations",
        "20",
        "--live-max",
    ];
    let (code, text) = printed(&[&words[..], &["0"]].concat());
    assert!(code == 0 && text.contains("functional_checked"), "{text}");
    let text = refused(&[&words[..], &["0", "--svg", "x.svg"]].concat());
    assert!(text.contains("`--live-max`"), "{text}");
}

#[test]
fn flush_goes_over_the_sizes_of_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("flush.svg");
    let words = "bench flush --rounds 1 --table-mib 1 --json --svg";
    let mut words: Vec<&str> = words.split(' ').collect();
    words.push(picture.to_str().unwrap());
    let (code, text) = printed(&words);
    assert_eq!(code, 0, "{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    for key in ["flush_1_mps", "flush_192_vs_limit", "flush_192_vs_steps"] {
        assert!(json[key]["median"].as_f64().unwrap() > 0.0, "{key}");
    }
    let svg = std::fs::read_to_string(&picture).unwrap();
    assert!(svg.contains("entries of a flush") && svg.contains("batched"));
}

#[test]
fn translate_goes_over_pages_in_use() {
    let words = "bench translate --rounds 1 --translations 1000";
    let words: Vec<&str> = words.split(' ').collect();
    let (code, text) = printed(&words);
    assert!(
        code == 0 && text.contains("translate_16384_pages_mps"),
        "{text}"
    );
    let (code, text) = printed(&[&words[..], &["--json"]].concat());
    assert_eq!(code, 0, "{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert!(json["translate_16_pages_mps"]["median"].as_f64().unwrap() > 0.0);
    assert_eq!(json["curves"][0]["points"].as_array().unwrap().len(), 6);
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    for (value, right) in [
        ("3", "power of two"),
        ("2048", "power of two"),
        ("x", "power of two"),
    ] {
        let text = refused(&["bench", "hpt", "--table-mib-max", value]);
        assert!(text.contains(right) && text.contains(value), "{text}");
    }
    let text = refused(&["bench", "hpt", "--rounds", "0"]);
    assert!(text.contains("1..=1000"), "{text}");
}
