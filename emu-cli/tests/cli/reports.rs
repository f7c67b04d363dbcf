//! What `run`, `compare` and `trace info` report: exit codes, the JSON, the same bytes each time.

use super::{emu, policy_that, printed, scenario};
use predicates::str::contains;
use serde_json::Value;
use std::collections::BTreeSet;

/// Of a scenario; a capture adds `trace` and, with insert records, `groups`.
const RUN_KEYS: [&str; 26] = [
    "schema",
    "checked",
    "entries_queued",
    "entries_flushed",
    "mode",
    "timing",
    "scenario",
    "policy",
    "kernel",
    "pages",
    "backend",
    "machine",
    "htab_bits",
    "cpus",
    "preempt",
    "batch_size",
    "seed",
    "schedule",
    "counters",
    "segments",
    "reports",
    "reports_suppressed",
    "violations",
    "cycles",
    "longest_spans",
    "latency",
];

const COUNTER_KEYS: [&str; 22] = [
    "vmalloc",
    "vfree",
    "ptes_set",
    "ptes_cleared",
    "hash_faults",
    "hpte_inserts",
    "hpte_evictions",
    "hpte_invalidations",
    "need_flush",
    "batch_flushes",
    "batch_sizes",
    "batched_entries",
    "single_flushes",
    "tlbie",
    "tlbiel",
    "hcalls",
    "flushes_repeated",
    "context_switches",
    "preemptions",
    "migrations",
    "preempt_off_cycles_max",
    "irqs_off_cycles_max",
];

#[test]
fn each_allocation_made_to_fail_is_one_report() {
    let run = |policy: &str| {
        let words = [
            "run",
            scenario(),
            "--policy",
            policy,
            "--fail-alloc",
            "each",
        ];
        let (code, json) = printed(&[&words[..], &["--json"]].concat());
        let (_, text) = printed(&words);
        let report: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(report["schema"], emu_linux::FAIL_EACH_SCHEMA);
        assert_eq!(report["runs"], report["allocations"]);
        (code, report, text)
    };
    let (code, report, text) = run("hugh-preempt");
    assert_eq!((code, report["leaking"].as_u64()), (1, Some(1)));
    let leak = &report["failures"][0]["leaks"][0];
    assert_eq!(leak["what"], "preempt count");
    assert_eq!(leak["function"], "apply_to_pte_range");
    assert!(text.contains("  leak: 1 preempt count, taken by apply_to_pte_range in swapon/"));
    let (code, report, text) = run("hugh-preempt-fixed");
    assert_eq!((code, report["unclean"].as_u64()), (0, Some(0)));
    assert!(text.contains("not clean 0  leaking 0  died 0") && !text.contains("leak:"));
}

#[test]
fn one_allocation_made_to_fail_is_named_with_what_leaked() {
    let words = ["run", scenario(), "--policy", "hugh-preempt"];
    let (code, text) = printed(&[&words[..], &["--fail-alloc", "101"]].concat());
    assert_eq!(code, 1);
    assert!(
        text.contains("failed: page table for apply_to_pte_range in swapon/"),
        "{text}"
    );
    assert!(text.contains("leaks:\n  1 preempt count"), "{text}");
    let (code, text) = printed(&[&words[..], &["--fail-alloc", "1"]].concat());
    assert_eq!(code, 0);
    assert!(text.contains("leaks: none"), "{text}");
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn set(names: &[&'static str]) -> BTreeSet<&'static str> {
    names
        .iter()
        .copied()
        .filter(|name| !name.is_empty())
        .collect()
}

fn json(words: &[&str]) -> (i32, Value) {
    let (code, text) = printed(words);
    (code, serde_json::from_str(&text).unwrap())
}

fn run_json(policy: &str) -> (i32, Value) {
    json(&["run", scenario(), "--policy", policy, "--json"])
}

fn sum<'a>(values: impl IntoIterator<Item = &'a Value>) -> u64 {
    values
        .into_iter()
        .map(|value| value.as_u64().unwrap())
        .sum()
}

#[test]
fn a_violation_is_exit_code_one() {
    for (breaks, code) in [(false, 0), (true, 1)] {
        let words = ["run", scenario(), "--policy", policy_that(breaks)];
        emu(&words).assert().code(code).stdout(contains(words[3]));
        // Nothing is found where nothing is looked for.
        emu(&words)
            .arg("--no-check")
            .assert()
            .code(0)
            .stdout(contains("not checked"));
    }
}

#[test]
fn a_run_has_exactly_the_keys_of_its_schema() {
    let (code, run) = run_json(policy_that(true));
    assert_eq!(code, 1);
    assert_eq!(keys(&run), set(&RUN_KEYS));
    assert_eq!(run["schema"], "ppc-mmu-emu/run/1");
    assert_eq!(keys(&run["counters"]), set(&COUNTER_KEYS));
    assert_eq!(
        keys(&run["cycles"]),
        set(&[
            "total",
            "per_cpu",
            "stack",
            "parts",
            "paths",
            "parts_per_cpu"
        ])
    );
    let violation = &run["violations"][0];
    assert_eq!(keys(violation), set(&["kind", "count", "first"]));
    let first = ["message", "cpu", "cycle", "comm", "pid", "history"];
    assert_eq!(keys(&violation["first"]), set(&first));
    for report in run["reports"].as_array().unwrap() {
        assert_eq!(
            keys(report),
            set(&["comm", "pid", "message", "caller", "chain"])
        );
    }
    for segment in run["segments"].as_array().unwrap() {
        let expected: BTreeSet<&str> = set(&COUNTER_KEYS)
            .union(&set(&["name", "batches"]))
            .copied()
            .collect();
        assert_eq!(keys(segment), expected);
    }
}

#[test]
fn cycles_add_up() {
    let (_, run) = run_json(policy_that(false));
    let cycles = &run["cycles"];
    let total = cycles["total"].as_u64().unwrap();
    assert!(total > 0);
    assert_eq!(sum(cycles["per_cpu"].as_array().unwrap()), total);
    assert_eq!(sum(cycles["stack"].as_object().unwrap().values()), total);
    assert_eq!(sum(cycles["parts"].as_object().unwrap().values()), total);
    let of_cpus = cycles["parts_per_cpu"].as_array().unwrap();
    for (parts, clock) in of_cpus.iter().zip(cycles["per_cpu"].as_array().unwrap()) {
        assert_eq!(sum(parts.as_object().unwrap().values()), *clock);
        assert_eq!(parts.as_object().unwrap().len(), 17);
    }
    assert_eq!(
        cycles["per_cpu"].as_array().unwrap().len() as u64,
        run["cpus"].as_u64().unwrap()
    );
}

#[test]
fn the_same_command_prints_the_same_bytes() {
    let policy = policy_that(true);
    for more in [
        &[][..],
        &["--json"],
        &["--schedule", "random", "--seed", "7"],
    ] {
        let words = [&["run", scenario(), "--policy", policy], more].concat();
        assert_eq!(printed(&words), printed(&words), "{words:?}");
    }
    assert_eq!(
        printed(&["compare", scenario()]),
        printed(&["compare", scenario()])
    );
}

#[test]
fn a_comparison_holds_one_run_for_each_policy_in_order() {
    let (code, all) = json(&["compare", scenario(), "--json"]);
    assert_eq!(code, 0);
    assert_eq!(keys(&all), set(&["schema", "scenario", "runs"]));
    assert_eq!(all["schema"], "ppc-mmu-emu/compare/1");
    let named = |report: &Value| -> Vec<String> {
        let runs = report["runs"].as_array().unwrap().iter();
        runs.map(|run| run["policy"].as_str().unwrap().to_owned())
            .collect()
    };
    let expected: Vec<&str> = emu_linux::policies()
        .iter()
        .map(|policy| policy.name)
        .collect();
    assert_eq!(named(&all), expected);
    let (breaking, clean) = (policy_that(true), policy_that(false));
    let list = format!("{breaking},{clean}");
    let (code, two) = json(&["compare", scenario(), "--policies", &list, "--json"]);
    assert_eq!(
        (code, named(&two)),
        (0, vec![breaking.to_owned(), clean.to_owned()])
    );
    assert_eq!(two["runs"][0], run_json(breaking).1);
}

#[test]
fn a_comparison_has_a_row_and_a_paragraph_for_each_policy() {
    let (code, text) = printed(&["compare", scenario()]);
    assert_eq!(code, 0);
    for policy in emu_linux::policies() {
        assert!(
            text.lines()
                .any(|line| line.starts_with(&format!("{} ", policy.name))),
            "{text}"
        );
        assert!(text.contains(&format!("\n{}: ", policy.name)), "{text}");
    }
}

#[test]
fn flags_change_the_run() {
    let policy = policy_that(false);
    let words = ["run", scenario(), "--policy", policy, "--json"];
    let run = json(
        &[
            &words[..],
            &["--cpus", "3", "--seed", "9", "--htab-bits", "12"],
        ]
        .concat(),
    )
    .1;
    assert_eq!(
        (&run["cpus"], &run["seed"], &run["htab_bits"]),
        (&3.into(), &9.into(), &12.into())
    );
    let newer = json(&[&words[..], &["--kernel", "6.1"]].concat()).1;
    assert_eq!(newer["kernel"], "6.1");
}

#[test]
fn a_capture_is_described_in_text_and_json() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capture.txt");
    let capture = "# tracer: nop\n#\n\
        swapon-7  [000] .....  1.000001: vfree: (vfree+0x0/0x10) addr=0xc0003d0000010000\n\
        swapon-7  [000] .....  1.000002: strange: x=1\n";
    std::fs::write(&file, capture).unwrap();
    let path = file.to_str().unwrap();
    let (code, info) = json(&["trace", "info", path, "--json"]);
    assert_eq!((code, &info["records"]), (0, &1.into()));
    assert_eq!(info["schema"], "ppc-mmu-emu/trace/1");
    assert_eq!(info["unknown_events"]["strange"], 1);
    emu(&["trace", "info", path])
        .assert()
        .code(0)
        .stdout(contains("swapon/7"));
}

#[test]
fn a_printed_schedule_replays_the_run() {
    let words = [
        "run",
        scenario(),
        "--policy",
        policy_that(true),
        "--json",
        "--seed",
        "3",
    ];
    let random = json(&[&words[..], &["--schedule", "random"]].concat()).1;
    let schedule = random["schedule"].as_str().unwrap();
    assert!(
        schedule.len() > "emu1:".len(),
        "nothing departed from the clocks: {schedule}"
    );
    assert_eq!(
        json(&[&words[..], &["--schedule", schedule]].concat()).1,
        random
    );
}

#[test]
fn a_replay_adds_what_its_capture_says() {
    let captures = concat!(env!("CARGO_MANIFEST_DIR"), "/../traces/captures");
    let file = format!("{captures}/mix-powernv-4k-mmotm.txt.gz");
    let (code, run) = json(&["run", &file, "--policy", "mmotm", "--json"]);
    assert_eq!(
        (code, &run["scenario"]),
        (1, &"mix-powernv-4k-mmotm.txt.gz".into())
    );
    let expected: BTreeSet<&str> = set(&RUN_KEYS)
        .union(&set(&["trace", "groups"]))
        .copied()
        .collect();
    assert_eq!(keys(&run), expected);
    assert_eq!(keys(&run["groups"]), set(&["matched", "mismatched"]));
    // As recorded: 6372 pages hashed, and each queued and flushed.
    assert_eq!(run["trace"]["recorded"]["need_flush"], 6372);
    assert_eq!(run["counters"]["need_flush"], 6372);
}

#[test]
fn functional_timing_counts_the_same_in_fewer_cycles() {
    let words = [
        "run",
        "vmalloc-pairs",
        "--policy",
        "mainline-6.1",
        "--operations",
        "20",
    ];
    let run = |timing: &str| -> Value {
        let (code, json) = printed(&[&words[..], &["--timing", timing, "--json"]].concat());
        assert_eq!(code, 0);
        serde_json::from_str(&json).unwrap()
    };
    let (functional, cycle) = (run("functional"), run("cycle"));
    assert_eq!(
        (&functional["timing"], &cycle["timing"]),
        (&"functional".into(), &"cycle".into())
    );
    for key in [
        "hash_faults",
        "hpte_inserts",
        "ptes_cleared",
        "need_flush",
        "tlbie",
    ] {
        assert!(functional["counters"][key].as_u64() > Some(0), "{key}");
        assert_eq!(functional["counters"][key], cycle["counters"][key], "{key}");
    }
    let total = |report: &Value| report["cycles"]["total"].as_u64().unwrap();
    assert!(total(&functional) < total(&cycle));
    let (_, text) = printed(&[&words[..], &["--timing", "functional"]].concat());
    assert!(
        text.lines()
            .next()
            .unwrap()
            .contains("  timing functional  "),
        "{text}"
    );
}

#[test]
fn a_run_on_threads_says_so() {
    let machine = ["--cpus", "2", "--operations", "5", "--mode", "threads"];
    let words = ["compare", "user-random", "--policies", "no-power-batch"];
    let (code, text) = printed(&[&words[..], &machine].concat());
    assert_eq!(code, 0);
    assert!(
        text.lines().next().unwrap().contains("  mode threads  "),
        "{text}"
    );
    let words = ["run", "user-random", "--policy", "no-power-batch"];
    let (_, text) = printed(&[&words[..], &machine].concat());
    assert!(text.contains("no schedule: the host chose"), "{text}");
    let (_, json) = printed(&[&words[..], &machine, &["--json"]].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["mode"], "threads");
    assert_eq!(json["schedule"], Value::Null);
    assert_eq!(json["entries_queued"], json["entries_flushed"]);
}
