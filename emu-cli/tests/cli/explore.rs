//! `emu explore`, `emu replay`, `emu explain`.

use super::{printed, refused};
use serde_json::Value;

const CELL: [&str; 8] = [
    "explore",
    "unmap-vs-cow",
    "--policies",
    "mmotm",
    "--cpus",
    "1",
    "--bound",
    "1",
];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    CELL.iter().chain(more).copied().collect()
}

#[test]
fn a_cell_is_told_with_strings_that_replay() {
    let (code, text) = printed(&CELL);
    assert_eq!(code, 1, "{text}");
    let line = text
        .lines()
        .find(|line| line.starts_with("duplicate-hpte: "));
    let replay = line
        .and_then(|line| line.split("emu replay ").nth(1))
        .unwrap();
    let (code, text) = printed(&["replay", replay]);
    assert_eq!(code, 1);
    assert!(text.contains("-- timer interrupt --") && text.contains("** duplicate-hpte **"));
    assert!(text.contains("End: quiet."), "{text}");
    let (code, text) = printed(&["explain", replay]);
    assert_eq!(code, 0);
    assert!(
        text.contains("The rule:") && text.contains("What led there:"),
        "{text}"
    );
    let (_, text) = printed(&["replay", replay, "--json"]);
    let run: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(run["replay"], replay);
    let kinds = run["violations"].as_array().unwrap();
    assert!(
        kinds.iter().any(|v| v["kind"] == "duplicate-hpte"),
        "{kinds:?}"
    );
}

#[test]
fn json_has_a_cell_for_each_scenario_policy_and_number_of_cpus() {
    let (code, text) = printed(&[
        "explore",
        "all",
        "--only",
        "set-memory-replacing",
        "--policies",
        "mmotm,mainline-6.1",
        "--bound",
        "1",
        "--json",
    ]);
    assert_eq!(code, 1);
    let document: Value = serde_json::from_str(&text).unwrap();
    let results = document["results"].as_array().unwrap();
    assert_eq!(results.len(), 4);
    for cell in results {
        assert_eq!(cell["exhausted"], true);
        assert_eq!(cell["bounds"]["preemptions"], 1);
        assert!(cell["schedules"].as_u64().unwrap() > 1 && cell["states"].as_u64().unwrap() > 1);
        for found in cell["violations"].as_array().unwrap() {
            assert!(
                found["replay"].as_str().unwrap().contains("/emx2:"),
                "{found}"
            );
            assert!(found["steps"].is_u64() && found["migrations"].is_u64());
        }
    }
}

#[test]
fn nothing_found_is_exit_status_0() {
    let (code, text) = printed(&[
        "explore",
        "unmap-vs-cow",
        "--policies",
        "mainline-6.1",
        "--cpus",
        "1",
    ]);
    assert_eq!(code, 0, "{text}");
    let (code, _) = printed(&with(&[
        "--strategy",
        "pct",
        "--schedules",
        "400",
        "--seed",
        "3",
    ]));
    assert_eq!(code, 1);
}

#[test]
fn what_cannot_be_explored_is_refused() {
    for (words, right) in [
        (
            vec!["explore", "unmap-vs-caw"],
            "did you mean `unmap-vs-cow`?",
        ),
        (with(&["--only", "rt-ptl"]), "narrows `emu explore all`"),
        (vec!["explore", "all", "--bound", "9"], "0..=8"),
        (vec!["explore", "all", "--policies", "mmot"], "mmotm"),
        (vec!["replay", "x"], "SCENARIO/POLICY/CPUS/emx2:..."),
        (
            vec!["replay", "unmap-vs-cow/mmotm/1/emx2:2r.3"],
            "another version of the model",
        ),
        (
            vec!["explain", "duplicate-hpte", "--remedies"],
            "is an invariant",
        ),
        (
            vec!["explain", "duplicate-hpt"],
            "Did you mean `duplicate-hpte`?",
        ),
    ] {
        let text = refused(&words);
        assert!(text.contains(right), "{words:?}: {text}");
    }
}

#[test]
fn each_kind_of_departure_has_its_own_bound() {
    let (code, text) = printed(&with(&["--preemptions", "0", "--json"]));
    let document: Value = serde_json::from_str(&text).unwrap();
    let cell = &document["results"][0];
    assert_eq!((&cell["bounds"]["preemptions"], code), (&0.into(), 1));
    // Nothing else can be done on one CPU; the search begins anew when it has learnt who shares what.
    assert!(cell["schedules"].as_u64().unwrap() <= 3, "{cell}");
}

#[test]
fn a_checkpoint_is_gone_on_from_and_belongs_to_one_search() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cells.jsonl");
    let name = path.to_str().unwrap();
    let words = with(&["--policies", "mainline-6.1", "--json", "--checkpoint", name]);
    let (_, first) = printed(&words);
    let whole = std::fs::read_to_string(&path).unwrap();
    assert_eq!(whole.lines().count(), 3, "{whole}");
    // As if it had been cut off in the midst of the last line.
    std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    let (_, again) = printed(&words);
    assert_eq!(first, again);
    let cells = |text: &str| -> Vec<String> {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        cells(&std::fs::read_to_string(&path).unwrap()),
        cells(&whole)
    );
    let text = refused(&with(&["--checkpoint", name, "--switches", "0"]));
    assert!(text.contains("another search"), "{text}");
    std::fs::write(&path, "hello\n").unwrap();
    let text = refused(&words);
    assert!(text.contains("no checkpoint of `emu explore`"), "{text}");
}

#[cfg(unix)]
#[test]
fn interrupted_it_tells_what_it_has() {
    use std::process::{Command, Stdio};
    let words = ["explore", "all", "--bound", "2", "--jobs", "1", "--json"];
    let mut search = Command::new(env!("CARGO_BIN_EXE_emu"));
    let search = search.args(words).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let pid = search.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let output = search.wait_with_output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["cells_left"].as_u64().unwrap() > 0);
    let last = document["results"].as_array().unwrap().last().unwrap();
    assert_eq!(last["exhausted"], false);
}

#[test]
fn a_schedule_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("steps.json");
    let name = path.to_str().unwrap();
    let replay = "unmap-vs-cow/mmotm/1/emx2:4j.1";
    let (code, _) = printed(&["replay", replay, "--timeline", name]);
    assert_eq!(code, 1);
    let drawn: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let events = drawn["traceEvents"].as_array().unwrap();
    let named = |name: &str, ph: &str| events.iter().any(|e| e["name"] == name && e["ph"] == ph);
    assert!(named("timer interrupt", "i") && named("duplicate-hpte", "i"));
    assert!(named("vfree", "X") && named("user", "X") && named("native_hpte_insert: store V", "X"));
    let text = refused(&["replay", replay, "--timeline", name, "--output", name]);
    assert!(text.contains("a place of its own"), "{text}");
}

#[test]
fn what_closes_a_race_is_searched() {
    let (code, text) = printed(&["explain", "unmap-vs-cow/mmotm/1/emx2:4j.1", "--remedies"]);
    assert_eq!(code, 0);
    let of = text.split("  duplicate-hpte\n").nth(1).unwrap();
    let of = of.split("closed by: ").nth(1).unwrap();
    let (closed, open) = of.split_once("open under: ").unwrap();
    for name in ["hugh-preempt-fixed", "switch-flush", "mainline-6.1"] {
        assert!(closed.contains(name) && !open.contains(name), "{text}");
    }
    assert!(
        open.contains("mmotm") && open.contains("no-power-batch-naive"),
        "{text}"
    );
}

#[test]
fn a_search_in_pieces_is_the_search_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let search = [
        "unmap-vs-cow",
        "--policies",
        "mmotm,mainline-6.1",
        "--cpus",
        "1",
    ];
    let (code, plan) = printed(&[&["explore", "plan", "--parts", "3"], &search[..]].concat());
    assert_eq!((code, plan.lines().count()), (0, 6));
    std::fs::write(file("jobs"), &plan).unwrap();
    let results: Vec<String> = plan
        .lines()
        .map(|job| printed(&["explore", "run", "--job", job]).1)
        .collect();
    // In any order.
    std::fs::write(
        file("most"),
        results[1..].iter().rev().cloned().collect::<String>(),
    )
    .unwrap();
    std::fs::write(file("first"), &results[0]).unwrap();
    let (jobs, most, first) = (file("jobs"), file("most"), file("first"));
    let (code, merged) = printed(&["explore", "merge", &jobs, &most, &first, "--json"]);
    assert_eq!(code, 1);
    let (_, at_once) = printed(&[&["explore", "--json"], &search[..]].concat());
    let [merged, at_once] = [merged, at_once].map(|text| -> Value {
        let mut document: Value = serde_json::from_str(&text).unwrap();
        for cell in document["results"].as_array_mut().unwrap() {
            // A part learns on its own who shares what, and may begin anew at other times.
            let cell = cell.as_object_mut().unwrap();
            for count in ["schedules", "states", "steps"] {
                assert!(cell.remove(count).unwrap().as_u64().unwrap() > 0);
            }
        }
        document
    });
    assert_eq!(merged, at_once);
    let text = refused(&["explore", "merge", &jobs, &most]);
    assert!(text.contains("1 of 6 jobs are missing: 0"), "{text}");
    let text = refused(&["explore", "merge", &jobs, &most, &first, &first]);
    assert!(text.contains("job 0 was done twice"), "{text}");
    let (_, other) = printed(&["explore", "plan", "unmap-vs-cow", "--policies", "mmotm"]);
    std::fs::write(file("other"), other).unwrap();
    let text = refused(&["explore", "merge", &file("other"), &most]);
    assert!(text.contains("a result of another plan"), "{text}");
    let text = refused(&["explore", "run", "--job", "{}"]);
    assert!(text.contains("no line of `emu explore plan`"), "{text}");
}
