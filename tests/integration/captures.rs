//! Captures of real kernels replay to exactly what those kernels did.

use crate::support::{
    Row, captures, config_of, kinds, made_on, native_4k, policy_of, replay, replay_as, rows,
};
use ppc_mmu_emu::linux::RunReport;
use std::collections::BTreeMap;

/// A segment as another program counted it: its name and the ordered kernel batch sizes.
pub type Expected = (String, Vec<u64>);

/// The segments of segments.json, by file.
pub fn segments() -> BTreeMap<String, Vec<Expected>> {
    let text = std::fs::read_to_string(captures().join("segments.json")).expect("segments.json");
    let all: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    let mut by_file: BTreeMap<String, Vec<Expected>> = BTreeMap::new();
    for segment in all {
        let text = |key: &str| segment[key].as_str().expect("a string").to_owned();
        let batches = segment["kbatches"].as_array().expect("a list");
        let batches = batches.iter().map(|n| n.as_u64().expect("a size"));
        let expected = (text("name"), batches.collect());
        by_file.entry(text("file")).or_default().push(expected);
    }
    by_file
}

/// Every number of the run that is not what was counted in the capture, in words.
fn wrong(report: &RunReport, row: &Row, segments: &[Expected]) -> Vec<String> {
    let c = &report.counters;
    let sizes: Vec<String> = c
        .batch_sizes
        .iter()
        .rev()
        .map(|(s, n)| format!("{n}x{s}"))
        .collect();
    let hist = if sizes.is_empty() {
        "-".to_owned()
    } else {
        sizes.join(" ")
    };
    let groups = report.groups.unwrap_or_default();
    let columns = [
        ("valloc", c.vmalloc.to_string()),
        ("vfree", c.vfree.to_string()),
        ("kfault", c.hash_faults.to_string()),
        ("kinsert", c.hpte_inserts.to_string()),
        ("kinsert", groups.matched.to_string()),
        ("kneed", c.need_flush.to_string()),
        ("kflush_page", c.single_flushes.to_string()),
        ("nkbatches", c.batch_flushes.to_string()),
        ("kbatched", c.batched_entries.to_string()),
        ("kbatch_hist", hist),
        ("tlbie", c.tlbie.to_string()),
    ];
    let mut wrong: Vec<String> = columns
        .into_iter()
        .filter(|(column, ours)| row[*column] != *ours)
        .map(|(column, ours)| format!("{column}: {ours}, recorded {}", row[column]))
        .collect();
    if groups.mismatched != 0 {
        wrong.push(format!(
            "{} groups computed otherwise than recorded",
            groups.mismatched
        ));
    }
    let ours: Vec<Expected> = report
        .segments
        .iter()
        .map(|s| (s.name.clone(), s.batches.clone()))
        .collect();
    for (i, expected) in segments.iter().enumerate() {
        if ours.get(i) != Some(expected) {
            wrong.push(format!(
                "segment {i}: {:?}, recorded {expected:?}",
                ours.get(i)
            ));
        }
    }
    if !segments.is_empty() && ours.len() != segments.len() {
        wrong.push(format!(
            "{} segments, recorded {}",
            ours.len(),
            segments.len()
        ));
    }
    wrong
}

/// Replays every native 4K capture of a family and compares it.
fn family(name: &str, at_least: usize) {
    compare(native_4k(name), at_least);
}

/// Replays captures and compares them. Gives the reports.
pub fn compare(files: Vec<(String, Row)>, at_least: usize) -> Vec<(String, RunReport)> {
    let segments = segments();
    assert!(files.len() >= at_least, "{} captures", files.len());
    let mut reports = Vec::new();
    for (file, row) in files {
        let policy = policy_of(&file);
        let report = replay_as(&captures().join(&file), &config_of(&file));
        let expected = segments.get(&file).map_or(&[][..], Vec::as_slice);
        let wrong = wrong(&report, &row, expected);
        assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
        let trace = report.trace.as_ref().expect("a trace");
        assert!(trace.anomalies.is_empty(), "{file}: {:?}", trace.anomalies);
        assert!(
            trace.differences.is_empty(),
            "{file}: {:?}",
            trace.differences
        );
        assert_eq!(trace.malformed_lines, 0, "{file}");
        assert_eq!(report.kernel, "6.1", "{file}");
        assert_eq!(report.cpus.to_string(), row["ncpu"], "{file}");
        let broken: &[&str] = if policy == "mmotm" {
            &["unsafe-per-cpu"]
        } else {
            &[]
        };
        assert_eq!(kinds(&report), broken, "{file}: {:?}", report.violations);
        assert_eq!(report.oops, None, "{file}");
        reports.push((file, report));
    }
    reports
}

#[test]
fn table() {
    family("table", 2);
}

#[test]
fn table_with_64k_pages() {
    for (file, report) in compare(made_on("powernv-64k", "table"), 1) {
        assert_eq!(
            (report.pages.as_str(), report.htab_bits),
            ("64k", 14),
            "{file}"
        );
    }
}

#[test]
fn variants() {
    family("variants", 2);
}

#[test]
fn mix() {
    family("mix", 2);
}

#[test]
fn swap() {
    family("swap", 7);
}

#[test]
fn two_cpus() {
    family("smp2", 1);
}

#[test]
fn every_segment_of_the_table_captures_is_compared() {
    let segments = segments();
    for (file, _) in native_4k("table").into_iter().chain(native_4k("variants")) {
        assert!(segments[&file].len() >= 7, "{file}");
        let batched = segments[&file]
            .iter()
            .any(|(_, batches)| !batches.is_empty());
        assert_eq!(batched, file.contains("mmotm"), "{file}");
    }
}

#[test]
fn allocations_alone_replay_and_are_said_to_be_all() {
    let (file, row) = native_4k_file("vmonly");
    let report = replay(&captures().join(&file), "mainline-6.1");
    let c = &report.counters;
    assert_eq!(
        (c.vmalloc.to_string(), c.vfree.to_string()),
        (row["valloc"].clone(), row["vfree"].clone())
    );
    assert!(
        c.ptes_set > 8083 && c.ptes_set == c.ptes_cleared,
        "every area was freed"
    );
    assert_eq!(
        (c.hash_faults, c.hpte_inserts, c.need_flush, c.tlbie),
        (0, 0, 0, 0)
    );
    assert_eq!(report.groups, None);
    assert_eq!(kinds(&report), [""; 0]);
    let trace = report.trace.expect("a trace");
    assert!(trace.anomalies.is_empty(), "{:?}", trace.anomalies);
    assert!(
        trace
            .notes
            .iter()
            .any(|note| note.contains("no kernel hash faults")),
        "{:?}",
        trace.notes
    );
}

fn native_4k_file(family: &str) -> (String, Row) {
    rows()
        .into_iter()
        .find(|(file, _)| file.starts_with(family))
        .expect("a capture")
}

#[test]
fn frees_and_queued_pages_alone_run_as_made_up_areas() {
    let file = "hazard-powernv-4k-policy0-head.txt.gz";
    let report = replay(&captures().join(file), "mmotm");
    let trace = report.trace.as_ref().expect("a trace");
    assert!(report.counters.vfree > 100 && report.counters.need_flush > 5000);
    assert_eq!(report.cpus, 2);
    assert_eq!(report.groups, None, "it has no insert records");
    assert!(!trace.notes.is_empty() && trace.recorded.contains_key("need_flush"));
    let counters = serde_json::to_value(&report.counters).expect("JSON");
    for (name, &recorded) in &trace.recorded {
        let ours = counters[name].as_u64().expect("a counter");
        let difference = (recorded != ours).then_some((recorded, ours));
        assert_eq!(trace.differences.get(name).copied(), difference, "{name}");
    }
}

#[test]
fn a_wrong_number_is_told() {
    let (file, row) = native_4k("variants").swap_remove(0);
    let segments = segments().remove(&file).expect("segments");
    let good = replay(&captures().join(&file), policy_of(&file));
    assert_eq!(wrong(&good, &row, &segments), [""; 0]);
    let compared = [
        "valloc",
        "vfree",
        "kfault",
        "kinsert",
        "kneed",
        "kflush_page",
        "nkbatches",
        "kbatched",
        "kbatch_hist",
        "tlbie",
    ];
    for column in compared {
        let mut bad = row.clone();
        bad.insert(column.to_owned(), "4242".to_owned());
        let told = wrong(&good, &bad, &segments);
        assert!(
            !told.is_empty() && told[0].starts_with(column),
            "{column}: {told:?}"
        );
    }
    let other_policy = replay(&captures().join(&file), "mmotm");
    let told = wrong(&other_policy, &row, &segments);
    assert_ne!(told, [""; 0], "other batches must be told");
    let mut bad = segments.clone();
    bad[1].1.push(3);
    assert_eq!(wrong(&good, &row, &bad).len(), 1);
    assert!(wrong(&good, &row, &segments[1..]).len() > 1);
    let mut report = good.clone();
    report.groups.as_mut().expect("compared").mismatched = 1;
    assert_eq!(wrong(&report, &row, &segments).len(), 1);
}
