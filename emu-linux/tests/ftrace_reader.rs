//! The ftrace reader: foreign files, damaged files, malformed lines, and text written and read back.

use emu_linux::trace::{
    Comm, Event, Flags, Importer, Malformed, RangeFlush, Reader, Record, TaskId, TraceError,
};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use std::io::{Cursor, Write};

const HEADER: &str = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 2/2   #P:1\n#\n";
const FAULT: &str = "            init-1       [000] d....     2.598063: hash_fault: hash fault with \
                     addr 0xc0003d0001f55abc and access = 0x800000000000000c trap = 0x300\n";

fn reader(bytes: impl Into<Vec<u8>>) -> Result<Reader, TraceError> {
    Reader::new("input.txt", Cursor::new(bytes.into()))
}

fn records(bytes: impl Into<Vec<u8>>) -> Result<(Vec<Record>, Reader), TraceError> {
    let mut reader = reader(bytes)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(record);
    }
    Ok((records, reader))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// The message a file is refused with.
#[track_caller]
fn refused(bytes: impl Into<Vec<u8>>) -> String {
    let bytes = bytes.into();
    let from_reader = records(bytes.clone()).err();
    let error = Importer::from_bytes("input.txt", bytes).expect_err("refused");
    let message = error.to_string();
    assert!(message.starts_with("input.txt"), "{message}");
    assert!(!message.contains('\n'), "{message}");
    if let Some(error) = from_reader {
        assert_eq!(error.to_string(), message);
    }
    message
}

#[test]
fn foreign_and_damaged_files_are_refused_by_name() {
    assert!(refused("").ends_with("the file is empty"));
    assert!(refused(gzip(b"")).ends_with("the file is empty"));
    assert!(refused("hello\nworld\n").contains("not ftrace text"));
    assert!(refused("# a markdown title\n\nand text\n").contains("not ftrace text"));
    assert!(refused("\n\n\n").contains("not ftrace text"));
    assert!(refused((0..=255u8).cycle().take(100_000).collect::<Vec<u8>>()).contains("not ftrace"));
    assert!(refused(vec![0; 1 << 20]).contains("not ftrace text"));
    assert!(refused(gzip(b"hello\nworld\n")).contains("not ftrace text"));
    assert!(refused(b"\x17\x08Dtracing\0".to_vec()).contains("trace-cmd"));
    assert!(refused(b"PERFILE2\0\0".to_vec()).contains("perf.data"));
    assert!(refused(HEADER).contains("no record"));
    let whole = gzip(format!("{HEADER}{}", FAULT.repeat(2000)).as_bytes());
    assert!(refused(&whole[..whole.len() / 2]).contains("gzip data is cut"));
    let mut damaged = whole.clone();
    damaged[40] ^= 0xff;
    assert!(refused(damaged).contains("gzip data is cut or damaged"));
    assert!(refused(&whole[..2]).contains("gzip data is cut"));
}

#[test]
fn files_that_cannot_be_read_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let missing = dir.path().join("missing.txt");
    let error = Importer::open(&missing).expect_err("missing");
    assert!(matches!(error, TraceError::Open { .. }));
    assert!(error.to_string().contains("missing.txt"));
    assert!(matches!(
        Reader::open(&missing),
        Err(TraceError::Open { .. })
    ));
    assert!(matches!(
        Importer::open(dir.path()),
        Err(TraceError::NotRegular { .. })
    ));
}

#[test]
fn gzip_is_told_by_its_first_bytes() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("capture.txt");
    std::fs::write(&path, gzip(format!("{HEADER}{FAULT}").as_bytes())).expect("written");
    assert_eq!(
        Importer::open(&path).expect("a capture").survey().records,
        1
    );
    std::fs::write(&path, format!("{HEADER}{FAULT}")).expect("written");
    assert_eq!(
        Importer::open(&path).expect("a capture").survey().records,
        1
    );
}

#[test]
fn the_header_is_optional_and_read() {
    let (_, reader) = records(format!("{HEADER}{FAULT}")).expect("a capture");
    let header = &reader.stats().header;
    assert_eq!(header.tracer.as_deref(), Some("nop"));
    assert_eq!(
        (header.entries_in_buffer, header.entries_written),
        (Some(2), Some(2))
    );
    assert_eq!(header.cpus, Some(1));
    let (found, reader) = records(FAULT).expect("a capture without header");
    assert_eq!(found.len(), 1);
    assert_eq!(reader.stats().header.tracer, None);
    let overran = format!("{HEADER}{FAULT}").replace("2/2", "2/9");
    let survey = Importer::from_bytes("x", overran.into_bytes()).expect("a capture");
    let warnings: Vec<String> = survey
        .survey()
        .warnings()
        .iter()
        .map(|w| w.to_string())
        .collect();
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("overran: 9 entries written")),
        "{warnings:?}"
    );
}

#[test]
fn bad_lines_are_counted_and_named() {
    let long = "x".repeat(200_000);
    let text = format!(
        "{HEADER}{FAULT}garbage\n{}{}{long}\n{}{FAULT}CPU:3 [LOST 12 EVENTS]\r\nCPU:0 [LOST EVENTS]\n{}{}",
        FAULT.replace("access", "success"),
        FAULT.replace("0x300", "0x3zz"),
        FAULT.replace("hash_fault:", "hash_fault"),
        FAULT.replace("hash_fault: ", "sched_switch: "),
        FAULT.trim_end(),
    );
    let (found, reader) = records(text).expect("a capture");
    assert_eq!(found.iter().map(|r| r.line).collect::<Vec<u64>>(), [5, 11]);
    let stats = reader.stats();
    assert_eq!(stats.lost_events, 13);
    assert_eq!(stats.unknown.get("sched_switch"), Some(&1));
    assert_eq!((stats.lines, stats.records), (15, 2));
    let reasons: Vec<(u64, Malformed)> = stats
        .malformed
        .first
        .iter()
        .map(|m| (m.line, m.reason))
        .collect();
    let expected = [
        (6, Malformed::Columns),
        (7, Malformed::Missing("access")),
        (8, Malformed::Number("trap")),
        (9, Malformed::TooLong),
        (10, Malformed::EventName),
        (15, Malformed::Cut),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(stats.malformed.lines, 6);
}

#[test]
fn names_of_unknown_events_are_bounded() {
    let mut text = HEADER.to_string();
    for n in 0..1000 {
        text += &FAULT.replace("hash_fault:", &format!("event_{n}:"));
    }
    let (_, reader) = records(text).expect("a capture");
    let stats = reader.stats();
    assert_eq!(
        stats.unknown.len(),
        emu_linux::trace::ftrace::UNKNOWN_NAMES_MAX
    );
    assert_eq!(
        stats.unknown.values().sum::<u64>() + stats.unknown_others,
        1000
    );
}

/// Task names that try to look like columns; no leading space, which the text cannot keep.
fn comm() -> impl Strategy<Value = Comm> {
    let nasty = prop::sample::select(vec![
        "kworker/1:1",
        "a b-c",
        "x-12 [003]",
        "-1 [0] ....",
        "]-7",
        "",
        "<idle>",
        "a: b: 1.0:",
        "-",
        "--1",
        "[000]",
        "1-1 [000] d...",
        "0.0: need: x",
        "#x",
        "CPU:0 [LOST 1",
        "(1) -2 [1]",
    ]);
    let any = prop::collection::vec(prop::num::u8::ANY, 0..16);
    prop_oneof![nasty.prop_map(|s| s.as_bytes().to_vec()), any]
        .prop_filter("kept by the text", |bytes| {
            bytes.first() != Some(&b' ') && !bytes.contains(&b'\n')
        })
        .prop_map(|bytes| Comm::new(&bytes).expect("at most 15 bytes"))
}

fn mapping() -> impl Strategy<Value = Event> {
    let n = any::<u64>;
    prop_oneof![
        n().prop_map(|size| Event::Valloc { size }),
        (n(), n()).prop_map(|(start, end)| Event::Vmap { start, end }),
        n().prop_map(|addr| Event::Vallocret { addr }),
        n().prop_map(|addr| Event::Vfree { addr }),
        (n(), n()).prop_map(|(start, end)| Event::Valazy { start, end }),
        (n(), n(), n(), n(), n(), any::<i64>()).prop_map(
            |(va_start, size, align, vstart, vend, failed)| Event::AllocVmapArea {
                va_start,
                size,
                align,
                vstart,
                vend,
                failed,
            }
        ),
        (n(), n(), n()).prop_map(
            |(va_start, nr_lazy, nr_lazy_max)| Event::FreeVmapAreaNoflush {
                va_start,
                nr_lazy,
                nr_lazy_max,
            }
        ),
        (n(), n(), n()).prop_map(|(start, end, num_purged)| Event::PurgeVmapAreaLazy {
            start,
            end,
            num_purged,
        }),
        "[ -~]{0,40}".prop_map(|text| Event::Mark(text.into())),
    ]
}

fn hashing() -> impl Strategy<Value = Event> {
    let (n, i) = (any::<u64>, any::<i64>);
    let routine = prop::sample::select(vec![
        RangeFlush::Generic,
        RangeFlush::Native,
        RangeFlush::Lpar,
    ]);
    prop_oneof![
        (n(), n(), n()).prop_map(|(addr, access, trap)| Event::HashFault { addr, access, trap }),
        (n(), n(), n(), i()).prop_map(|(mm, addr, pte, huge)| Event::Need {
            mm,
            addr,
            pte,
            huge
        }),
        (i(), n(), n()).prop_map(|(active, index, mm)| Event::Pending { active, index, mm }),
        (n(), i(), n()).prop_map(|(vpn, psize, local)| Event::Fpage { vpn, psize, local }),
        (routine, n(), i()).prop_map(|(routine, number, local)| Event::Frange {
            routine,
            number,
            local,
        }),
        (n(), n(), n(), n(), n(), i()).prop_map(|(group, vpn, pa, rflags, vflags, psize)| {
            Event::Hpins {
                group,
                vpn,
                pa,
                rflags,
                vflags,
                psize,
            }
        }),
        i().prop_map(|slot| Event::Hpinsret { slot }),
        (n(), n(), n()).prop_map(|(slot, newpp, vpn)| Event::Hpupd { slot, newpp, vpn }),
        n().prop_map(|group| Event::Hprem { group }),
        (n(), n(), i(), i()).prop_map(|(slot, vpn, psize, local)| Event::Hpinv {
            slot,
            vpn,
            psize,
            local,
        }),
        (i(), i(), n(), n(), n(), n(), n()).prop_map(|(lpid, local, rb, rs, ric, prs, r)| {
            Event::Tlbie {
                lpid,
                local,
                rb,
                rs,
                ric,
                prs,
                r,
            }
        }),
        n().prop_map(|opcode| Event::HcallEntry { opcode }),
        (n(), i()).prop_map(|(opcode, retval)| Event::HcallExit { opcode, retval }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn a_record_written_is_read_back(
        comm in comm(),
        pid in any::<u32>(),
        cpu in any::<u16>(),
        flags in "[d.][Nnp.][Hhs.][0-9a-f.][0-9.]",
        timestamp_us in 0..u64::MAX / 2,
        event in prop_oneof![mapping(), hashing()],
    ) {
        let task = TaskId { comm, pid };
        let flags = Flags::new(flags.as_bytes()).expect("five characters");
        let record = Record { line: 2, task, cpu, flags, timestamp_us, event };
        let mut text = b"# tracer: nop\n".to_vec();
        record.write_text(&mut text);
        let shown = String::from_utf8_lossy(&text).into_owned();
        let (found, _) = records(text).expect("a capture");
        prop_assert_eq!(found, [record], "{}", shown);
    }
}
