//! `.emut` files: what goes in comes out, damage is refused, and a replay is the same.

use arbitrary::Unstructured;
use emu_linux::trace::fuzzing::check_emut;
use emu_linux::trace::generate::{Generator, Workload};
use emu_linux::trace::{
    Comm, Format, Importer, Op, PreExisting, Survey, TaskId, TraceError, TraceOp, emut,
};
use emu_linux::{RunConfig, RunReport, Source, run};
use proptest::prelude::*;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

fn written(survey: &Survey, ops: &[TraceOp]) -> Vec<u8> {
    let out = Cursor::new(Vec::new());
    let mut writer = emut::Writer::new(out, "memory", survey, 4096).unwrap();
    for op in ops {
        writer.push(op).unwrap();
    }
    assert_eq!(writer.operations(), ops.len() as u64);
    writer.finish().unwrap().into_inner()
}

fn ops_of(importer: &Importer) -> Vec<TraceOp> {
    importer.ops().unwrap().map(|op| op.unwrap()).collect()
}

fn an_op() -> impl Strategy<Value = Op> {
    let number = || prop_oneof![0u64..10, any::<u64>()];
    let maybe = || proptest::option::of(prop_oneof![Just(0), any::<u64>()]);
    prop_oneof![
        (number(), number(), number(), maybe()).prop_map(|(start, end, size_bytes, requested)| {
            Op::Map {
                start,
                end,
                size_bytes,
                requested,
            }
        }),
        number().prop_map(|addr| Op::Unmap { addr }),
        (number(), any::<bool>(), maybe(), maybe()).prop_map(
            |(addr, write, recorded_group, recorded_vpn)| Op::Touch {
                addr,
                write,
                recorded_group,
                recorded_vpn,
            }
        ),
        "[a-zäß ]{0,12}".prop_map(Op::Begin),
        "[a-zäß ]{0,12}".prop_map(Op::End),
    ]
}

fn a_task() -> impl Strategy<Value = TaskId> {
    (
        proptest::collection::vec(any::<u8>(), 0..=Comm::LEN_MAX),
        0u32..5,
    )
        .prop_map(|(comm, pid)| TaskId {
            comm: Comm::new(&comm).unwrap(),
            pid,
        })
}

fn ops() -> impl Strategy<Value = Vec<TraceOp>> {
    let op = (any::<u64>(), a_task(), any::<u16>(), an_op());
    let op = op.prop_map(|(line, task, cpu, op)| TraceOp {
        line,
        task,
        cpu,
        op,
    });
    proptest::collection::vec(op, 0..60)
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        ops in ops(),
        areas in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..5),
        flags: [bool; 4],
        counts: [u64; 4],
    ) {
        let mut survey = Survey::empty("made up");
        survey.pre_existing = areas
            .into_iter()
            .map(|(start, end, size_bytes)| PreExisting { start, end, size_bytes })
            .collect();
        [survey.has_allocations, survey.has_touches, survey.has_need_records, survey.synthesised] =
            flags;
        survey.recorded.whole.kfault = counts[0];
        survey.recorded.whole.tlbie = counts[1];
        (survey.lines, survey.lost_events) = (counts[2], counts[3]);
        let bytes = written(&survey, &ops);
        let importer = Importer::from_bytes("bytes", bytes).unwrap();
        prop_assert_eq!(importer.format(), Format::Emut);
        prop_assert_eq!(ops_of(&importer), ops);
        let read = importer.survey();
        prop_assert_eq!(&read.pre_existing, &survey.pre_existing);
        prop_assert_eq!(
            [read.has_allocations, read.has_touches, read.has_need_records, read.synthesised],
            flags
        );
        prop_assert_eq!(&read.recorded.whole, &survey.recorded.whole);
        prop_assert_eq!((read.lines, read.lost_events), (counts[2], counts[3]));
    }
}

fn generated() -> Vec<u8> {
    let generator = Generator::new(Workload {
        tasks: 3,
        operations: 500,
        pages_max: 20,
        seed: 7,
    });
    let generator = generator.unwrap();
    let survey = generator.survey();
    written(&survey, &generator.collect::<Vec<_>>())
}

fn refused(bytes: &[u8]) -> TraceError {
    Importer::from_bytes("file", bytes).expect_err("a file that is not whole")
}

#[test]
fn every_changed_byte_is_noticed() {
    let whole = generated();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        let said = refused(&bytes).to_string();
        assert!(said.starts_with("file: "), "byte {at}: {said}");
    }
}

#[test]
fn every_cut_is_noticed() {
    let whole = generated();
    for len in (0..whole.len()).step_by(7).skip(1) {
        let error = refused(&whole[..len]);
        assert!(
            matches!(error, TraceError::EmutCut { .. }),
            "{len}: {error}"
        );
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(refused(&longer).to_string().contains("follow its end"));
}

#[test]
fn a_newer_version_and_a_converted_file_are_told_apart() {
    let mut newer = generated();
    newer[8] = 9;
    let said = refused(&newer).to_string();
    assert!(
        said.contains("version 9") && said.contains("up to 1"),
        "{said}"
    );
    let text: Vec<u8> = generated()
        .into_iter()
        .filter(|&byte| byte != b'\r')
        .collect();
    assert!(refused(&text).to_string().contains("text conversion"));
}

#[test]
fn sealed_mutations() {
    let whole = generated();
    check_emut(&whole);
    arbtest::arbtest(|u| {
        let mut bytes = whole.clone();
        for _ in 0..u.int_in_range(1..=6)? {
            mutate(u, &mut bytes)?;
        }
        check_emut(&bytes);
        Ok(())
    })
    .budget_ms(3000);
}

fn mutate(u: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> arbitrary::Result<()> {
    // Mostly the header, a record, or the tables at the end.
    let near = *u.choose(&[16, 256, 256 + 48 * 20, bytes.len().saturating_sub(130)])?;
    let at = near + u.int_in_range(0..=239usize)?;
    if u.ratio(1, 20)? {
        bytes.truncate(at);
    } else if let Some(byte) = bytes.get_mut(at) {
        *byte = *u.choose(&[0, 1, 2, 5, 6, 255, *byte ^ 1, byte.wrapping_add(1)])?;
    }
    Ok(())
}

#[test]
fn arbitrary_bytes_behind_the_magic() {
    arbtest::arbtest(|u| {
        let mut bytes = generated()[..16].to_vec();
        bytes.extend_from_slice(u.bytes(u.len())?);
        check_emut(&bytes);
        Ok(())
    })
    .budget_ms(1000);
}

fn replay(path: &Path) -> RunReport {
    let config = RunConfig::new("mainline-6.16-fixed");
    run(&Source::Trace(path.to_path_buf()), &config, &mut |_| ()).unwrap()
}

/// The replay of a committed capture, and that of its `.emut` form under a name that says nothing.
fn both_forms(folder: &Path, name: &str) -> [RunReport; 2] {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/captures");
    let text = captures.join(name);
    let packed: PathBuf = folder.join("capture");
    let importer = Importer::open(&text).unwrap();
    let out = fs::File::create(&packed).unwrap();
    let mut told = 0;
    emut::write(out, "capture", &importer, &mut |done| told = done).unwrap();
    let again = Importer::open(&packed).unwrap();
    assert_eq!(ops_of(&again), ops_of(&importer), "{name}");
    assert_eq!(told, ops_of(&again).len() as u64);
    assert_eq!(again.survey().tasks, importer.survey().tasks);
    assert_eq!(again.survey().segments, importer.survey().segments);
    assert_eq!(again.survey().kernel_hint, importer.survey().kernel_hint);
    [replay(&text), replay(&packed)]
}

#[test]
fn both_forms_of_a_capture_replay_alike() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "table-powernv-4k-mmotm.txt.gz",
        "smp2-powernv-4k-mmotm-policy0.txt.gz",
        "swap-powernv-4k-stock-memset.txt.gz",
        "hazard-powernv-4k-policy0-head.txt.gz",
        "tracepoints-612-powernv-4k-head.txt.gz",
        "variants-pseries-4k-mmotm.txt.gz",
    ] {
        let [text, mut packed] = both_forms(folder.path(), name);
        assert!(text.counters.vmalloc > 0, "{name}");
        assert_eq!(packed.scenario, "capture");
        packed.scenario.clone_from(&text.scenario);
        assert_eq!(packed, text, "{name}");
    }
}

#[test]
fn a_made_up_workload_replays_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.emut");
    fs::write(&path, generated()).unwrap();
    let report = replay(&path);
    let trace = report.trace.as_ref().unwrap();
    assert_eq!(trace.operations, 500);
    assert!(trace.anomalies.is_empty(), "{:?}", trace.anomalies);
    assert!(trace.notes.is_empty(), "{:?}", trace.notes);
    assert!(report.counters.hash_faults > 0 && !report.found_violation());
    assert_eq!(report.counters.vmalloc, report.counters.vfree);
}

#[test]
fn a_workload_with_more_cpus_than_the_machine_is_refused_or_run() {
    let mut survey = Survey::empty("made up");
    survey.cpus = vec![u16::MAX];
    let task = TaskId {
        comm: Comm::new(b"t").unwrap(),
        pid: 1,
    };
    let op = TraceOp {
        line: u64::MAX,
        task,
        cpu: u16::MAX,
        op: Op::Unmap { addr: u64::MAX },
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("far.emut");
    fs::write(&path, written(&survey, &[op])).unwrap();
    let source = Source::Trace(path);
    let config = RunConfig::new("mmotm");
    assert!(run(&source, &config, &mut |_| ()).is_err());
    let config = RunConfig {
        cpus: Some(2),
        ..config
    };
    let report = run(&source, &config, &mut |_| ()).unwrap();
    assert_eq!(report.trace.unwrap().anomalies.values().sum::<u64>(), 1);
}
