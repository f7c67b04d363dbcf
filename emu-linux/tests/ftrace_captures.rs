//! The committed captures: the recorded counts, and the operations made of them.

use emu_linux::trace::{Counts, Importer, Op, TraceOp};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/captures")
}

fn read_text(name: &str) -> String {
    let bytes = fs::read(captures().join(name)).expect("a committed capture");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..])
        .read_to_string(&mut text)
        .expect("gzip text");
    text
}

fn open(name: &str) -> Importer {
    Importer::open(captures().join(name)).expect("a committed capture")
}

fn ops(importer: &Importer) -> Vec<TraceOp> {
    importer
        .ops()
        .expect("opened before")
        .map(|op| op.expect("read before"))
        .collect()
}

/// The rows of counts.tsv whose capture is committed: file name, then column -> value.
fn rows() -> Vec<(String, BTreeMap<String, String>)> {
    let table = fs::read_to_string(captures().join("counts.tsv")).expect("counts.tsv");
    let mut lines = table.lines();
    let columns: Vec<&str> = lines.next().expect("a heading").split('\t').collect();
    let rows = lines.map(|line| {
        let cells = columns
            .iter()
            .map(|c| c.to_string())
            .zip(line.split('\t').map(String::from));
        let row: BTreeMap<String, String> = cells.collect();
        (row["file"].clone(), row)
    });
    let rows: Vec<_> = rows
        .filter(|(file, _)| captures().join(file).exists())
        .collect();
    assert!(rows.len() >= 18, "{} captures", rows.len());
    rows
}

fn hcall_name(opcode: u64) -> String {
    match opcode {
        4 => "H_REMOVE".to_string(),
        8 => "H_ENTER".to_string(),
        24 => "H_PROTECT".to_string(),
        88 => "H_PUT_TERM_CHAR".to_string(),
        292 => "H_BULK_REMOVE".to_string(),
        other => other.to_string(),
    }
}

fn or_dash(parts: Vec<String>) -> String {
    if parts.is_empty() {
        "-".to_string()
    } else {
        parts.join(" ")
    }
}

#[test]
fn counts_equal_those_of_the_capture() {
    for (file, row) in rows() {
        let survey = open(&file).survey().clone();
        let Counts {
            kbatch_hist,
            hcalls,
            ..
        } = &survey.recorded.whole;
        let counts = &survey.recorded.whole;
        let hist = kbatch_hist
            .iter()
            .rev()
            .map(|(size, n)| format!("{n}x{size}"))
            .collect();
        let mut calls: Vec<String> = hcalls
            .iter()
            .map(|(&opcode, n)| format!("{}={n}", hcall_name(opcode)))
            .collect();
        calls.sort();
        let marks = survey
            .events
            .get("tracing_mark_write")
            .copied()
            .unwrap_or(0);
        let unknown: u64 = survey.unknown_events.values().sum();
        let counted: [(&str, String); 13] = [
            ("events", (survey.records + unknown - marks).to_string()),
            ("ncpu", survey.header.cpus.expect("#P").to_string()),
            ("valloc", counts.valloc.to_string()),
            ("vfree", counts.vfree.to_string()),
            ("kfault", counts.kfault.to_string()),
            ("kinsert", counts.kinsert.to_string()),
            ("kneed", counts.kneed.to_string()),
            ("kflush_page", counts.kflush_page.to_string()),
            ("nkbatches", counts.nkbatches.to_string()),
            ("kbatched", counts.kbatched.to_string()),
            ("tlbie", counts.tlbie.to_string()),
            ("kbatch_hist", or_dash(hist)),
            ("hcalls", or_dash(calls)),
        ];
        for (column, value) in counted {
            assert_eq!(value, row[column], "{file}: {column}");
        }
        assert_eq!(counts.tlbiel.to_string(), row["tlbiel"], "{file}: tlbiel");
        assert_eq!(
            survey.recorded.init_mm.is_some(),
            survey.has_need_records,
            "{file}"
        );
    }
}

#[test]
fn segments_equal_those_of_the_capture() {
    let text = fs::read_to_string(captures().join("segments.json")).expect("segments.json");
    let expected: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    let mut compared = 0;
    for file in ["tracepoints-612-powernv-4k-head.txt.gz".to_string()]
        .into_iter()
        .chain(rows().into_iter().map(|(file, _)| file))
    {
        let survey = open(&file).survey().clone();
        let whole_name = file.replace("-head", "");
        let expected: Vec<_> = expected
            .iter()
            .filter(|s| s["file"] == *whole_name)
            .collect();
        if !file.contains("-head") {
            assert_eq!(survey.segments.len(), expected.len(), "{file}");
        }
        for (segment, expected) in survey.recorded.segments.iter().zip(expected) {
            assert_eq!(expected["name"], segment.name, "{file}");
            assert!(
                segment.end_line.is_some_and(|end| end > segment.begin_line),
                "{file}"
            );
            let c = &segment.counts;
            let counted = [
                ("valloc", c.valloc),
                ("vfree", c.vfree),
                ("kfault", c.kfault),
                ("kinsert", c.kinsert),
                ("kneed", c.kneed),
                ("kflush_page", c.kflush_page),
                ("tlbie", c.tlbie),
                ("tlbiel", c.tlbiel),
            ];
            for (key, value) in counted {
                assert_eq!(expected[key], value, "{file} {}: {key}", segment.name);
            }
            assert_eq!(
                expected["kbatches"],
                serde_json::json!(c.kbatches),
                "{}",
                segment.name
            );
            compared += 1;
        }
    }
    assert!(compared >= 50, "{compared} segments");
}

/// Whether an event may be deleted without changing an operation.
fn is_comparison(line: &str) -> bool {
    [
        ": need: ",
        ": pending: ",
        ": fpage: ",
        ": frange: ",
        ": nfrange: ",
        ": lfrange: ",
        ": hpins: ",
        ": hpinsret: ",
        ": hpupd: ",
        ": hprem: ",
        ": hpinv: ",
        ": tlbie: ",
        ": hcall_entry: ",
        ": hcall_exit: ",
    ]
    .iter()
    .any(|name| line.contains(name))
}

#[test]
fn operations_do_not_depend_on_what_the_kernel_did() {
    for (file, _) in rows()
        .into_iter()
        .filter(|(file, _)| !file.starts_with("hazard"))
    {
        let text = read_text(&file);
        let kept: String = text
            .split_inclusive('\n')
            .filter(|line| !is_comparison(line))
            .collect();
        assert!(kept.len() <= text.len());
        let stripped =
            Importer::from_bytes("stripped", kept.into_bytes()).expect("still a capture");
        let whole = open(&file);
        assert_eq!(
            whole.survey().pre_existing,
            stripped.survey().pre_existing,
            "{file}"
        );
        assert_eq!(whole.page_bytes(), stripped.page_bytes(), "{file}");
        let plain = |mut op: TraceOp| {
            op.line = 0;
            if let Op::Touch {
                recorded_group,
                recorded_vpn,
                ..
            } = &mut op.op
            {
                (*recorded_group, *recorded_vpn) = (None, None);
            }
            op
        };
        let whole: Vec<TraceOp> = ops(&whole).into_iter().map(plain).collect();
        assert!(whole.len() > 6, "{file}");
        let stripped: Vec<TraceOp> = ops(&stripped).into_iter().map(plain).collect();
        assert_eq!(whole.len(), stripped.len(), "{file}");
        for (whole, stripped) in whole.iter().zip(&stripped) {
            assert_eq!(whole, stripped, "{file}");
        }
    }
}

#[test]
fn whole_captures_need_nothing_made_up() {
    for (file, row) in rows()
        .into_iter()
        .filter(|(file, _)| !file.starts_with("hazard"))
    {
        let importer = open(&file);
        let survey = importer.survey();
        assert_eq!(survey.pre_existing, [], "{file}");
        assert!(!survey.synthesised, "{file}");
        let page = if file.contains("64k") { 65536 } else { 4096 };
        assert_eq!(survey.page_bytes, Some(page), "{file}");
        let (mut maps, mut unmaps, mut touches, mut inserts) = (0u64, 0u64, 0u64, 0u64);
        for op in ops(&importer) {
            match op.op {
                Op::Map {
                    start,
                    end,
                    size_bytes,
                    requested,
                } => {
                    assert_eq!(end - start, size_bytes + page, "{file}: one guard page");
                    let asked = requested.expect("a vmalloc").next_multiple_of(page);
                    assert_eq!(size_bytes, asked, "{file}");
                    maps += 1;
                }
                Op::Unmap { .. } => unmaps += 1,
                Op::Touch {
                    recorded_group,
                    recorded_vpn,
                    addr,
                    ..
                } => {
                    touches += 1;
                    inserts += u64::from(recorded_group.is_some());
                    assert_eq!(recorded_group.is_some(), recorded_vpn.is_some());
                    if let Some(vpn) = recorded_vpn {
                        let first = addr / page * (page / 4096);
                        assert_eq!(vpn & 0xffff, first & 0xffff, "{file}");
                    }
                }
                Op::Begin(_) | Op::End(_) => {}
            }
        }
        assert_eq!(maps.to_string(), row["valloc"], "{file}");
        if !file.starts_with("tracepoints") {
            assert_eq!(unmaps.to_string(), row["vfree"], "{file}");
        }
        assert_eq!(touches.to_string(), row["kfault"], "{file}");
        assert_eq!(inserts.to_string(), row["kinsert"], "{file}");
        let warnings: Vec<String> = survey.warnings().iter().map(|w| w.to_string()).collect();
        let touched = if touches == 0 {
            vec!["no kernel hash faults were recorded"]
        } else {
            vec![]
        };
        assert_eq!(warnings, touched, "{file}");
    }
}

#[test]
fn the_page_array_is_mapped_before_the_area_it_serves() {
    let ops = ops(&open("table-powernv-4k-mmotm.txt.gz"));
    let begin = ops
        .iter()
        .position(|op| op.op == Op::Begin("seq 1024 batch=1".into()));
    let maps: Vec<&Op> = ops[begin.expect("the mark")..]
        .iter()
        .map(|op| &op.op)
        .filter(|op| matches!(op, Op::Map { .. }))
        .take(2)
        .collect();
    let array = Op::Map {
        start: 0xc000_3d00_0001_3000,
        end: 0xc000_3d00_0001_6000,
        size_bytes: 8192,
        requested: Some(8192),
    };
    let area = Op::Map {
        start: 0xc000_3d00_002e_a000,
        end: 0xc000_3d00_006e_b000,
        size_bytes: 4 << 20,
        requested: Some(4 << 20),
    };
    assert_eq!(maps, [&array, &area]);
}

#[test]
fn a_capture_of_frees_and_queued_pages_is_made_runnable() {
    let importer = open("hazard-powernv-4k-policy0-head.txt.gz");
    let survey = importer.survey();
    assert!(survey.synthesised && survey.has_need_records);
    assert!(!survey.has_allocations && !survey.has_touches);
    assert_eq!(survey.pre_existing, []);
    let ops = ops(&importer);
    let count = |f: fn(&Op) -> bool| ops.iter().filter(|op| f(&op.op)).count() as u64;
    assert_eq!(
        count(|op| matches!(op, Op::Unmap { .. })),
        survey.recorded.whole.vfree
    );
    assert_eq!(
        count(|op| matches!(op, Op::Touch { .. })),
        survey.recorded.whole.kneed
    );
    assert!(survey.recorded.whole.kneed > 5000);
    assert!(survey.tasks.len() > 6 && survey.cpus == [0, 1]);
}

#[test]
fn the_vmalloc_tracepoints_are_enough() {
    let importer = open("tracepoints-612-powernv-4k-head.txt.gz");
    let survey = importer.survey();
    assert_eq!(survey.kernel_hint.release_min, Some("6.2"));
    assert!(!survey.events.contains_key("vmap") && survey.events["alloc_vmap_area"] == 7);
    let sizes: Vec<u64> = ops(&importer)
        .iter()
        .filter_map(|op| match op.op {
            Op::Map { size_bytes, .. } => Some(size_bytes / 4096),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [1, 2, 8, 64, 192, 193, 512]);
}
