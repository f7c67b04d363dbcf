//! Memory does not grow with the length of a run. In a process of its own: the resident set is that
//! of all tests in it, so these take turns.

#![cfg(target_os = "linux")]

use flate2::Compression;
use flate2::write::GzEncoder;
use ppc_mmu_emu::linux::{RunConfig, RunReport, Source, Timing, run};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;

/// Most that the resident set may grow from a tenth of a run to its end.
const GROWTH_BYTES_MAX: u64 = 4 << 20;

static TURN: Mutex<()> = Mutex::new(());

/// Resident set of this process.
fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("statm");
    let pages = statm.split(' ').nth(1).expect("resident").parse::<u64>();
    // As large as pages come on hosts that run this; too large is only stricter.
    pages.expect("a number") * 4096
}

/// Runs `operations` operations; gives the report and the growth of the resident set between the
/// first sample after a tenth of them and the last one.
fn growth(source: &Source, config: &RunConfig, operations: u64) -> (RunReport, u64) {
    let (mut first, mut last) = (None, None);
    let mut last_done = 0;
    let report = run(source, config, &mut |progress| {
        last_done = progress.done;
        if progress.done >= operations / 10 {
            let now = resident_bytes();
            first.get_or_insert((progress.done, now));
            last = Some(now);
        }
    });
    let report = report.unwrap_or_else(|error| panic!("{source:?}: {error}"));
    let (first_done, first) = first.expect("sampled after a tenth");
    assert!(
        first_done < operations / 2,
        "first sample at {first_done} of {operations}"
    );
    assert!(
        last_done > operations * 3 / 4,
        "last sample at {last_done} of {operations}"
    );
    (report, last.expect("sampled").saturating_sub(first))
}

fn pairs(operations: u64, touch: u64, check: bool) {
    let _turn = TURN.lock().unwrap_or_else(|broken| broken.into_inner());
    let config = RunConfig {
        operations: Some(operations),
        timing: Timing::Functional,
        touch: Some(touch),
        check,
        ..RunConfig::new("mainline-6.16-fixed")
    };
    let source = Source::Scenario("vmalloc-pairs".to_owned());
    let (report, grown) = growth(&source, &config, operations);
    assert_eq!(report.counters.vmalloc, operations);
    assert_eq!(report.counters.vfree, operations);
    assert_eq!(report.counters.hpte_invalidations, operations * touch);
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes more");
}

#[test]
fn a_million_pairs_run_in_constant_memory() {
    pairs(1_000_000, 0, false);
}

#[test]
fn checked_pairs_run_in_constant_memory() {
    pairs(100_000, 2, true);
}

/// First vmalloc address of a 4K kernel 6.1.
const VMALLOC_START: u64 = 0xc000_3d00_0000_0000;
/// Areas of a made-up capture before their addresses come round again.
const AREAS: u64 = 500;
/// Bytes of each, guard page not counted. With it, four divide a page table: none lies in two.
const AREA_BYTES: u64 = 3 * 4096;

/// Writes a capture of `pairs` allocations, each touched twice and freed, as gzip text.
fn write_capture(path: &Path, pairs: u64) {
    let gzip = GzEncoder::new(File::create(path).expect("a file"), Compression::fast());
    let mut out = BufWriter::new(gzip);
    let write = |out: &mut BufWriter<GzEncoder<File>>, text: String| {
        out.write_all(text.as_bytes()).expect("written");
    };
    write(
        &mut out,
        "# tracer: nop\n#\n#   TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n".into(),
    );
    for i in 0..pairs {
        let start = VMALLOC_START + i % AREAS * (AREA_BYTES + 4096);
        let (end, second) = (start + AREA_BYTES + 4096, start + 4096);
        let head = format!(
            " init-1 [000] ..... {}.{:06}: ",
            2 + i / 10_000,
            i % 10_000 * 100
        );
        let access = "access = 0x800000000000000e trap = 0x300";
        for event in [
            format!("valloc: (__vmalloc_node_range+0xc/0x770) size={AREA_BYTES}"),
            format!("vmap: (a+0x1/0x2 <- alloc_vmap_area) start={start:#x} end={end:#x}"),
            format!("vallocret: (vmalloc+0x58/0x70 <- __vmalloc_node_range) addr={start:#x}"),
            format!("hash_fault: hash fault with addr {start:#x} and {access}"),
            format!("hash_fault: hash fault with addr {second:#x} and {access}"),
            format!("vfree: (remove_vm_area+0xc/0x190) addr={start:#x}"),
        ] {
            write(&mut out, format!("{head}{event}\n"));
        }
    }
    let gzip = out.into_inner().expect("written");
    gzip.finish().expect("finished");
}

#[test]
fn a_long_capture_replays_in_constant_memory() {
    let _turn = TURN.lock().unwrap_or_else(|broken| broken.into_inner());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("long.txt.gz");
    let pairs = 100_000;
    write_capture(&path, pairs);
    // Each pair is a map, two touches and an unmap.
    let operations = 4 * pairs;
    let config = RunConfig::new("mainline-6.16-fixed");
    let (report, grown) = growth(&Source::Trace(path), &config, operations);
    let c = &report.counters;
    assert_eq!((c.vmalloc, c.vfree), (pairs, pairs));
    assert_eq!(
        (c.hpte_inserts, c.batch_sizes.get(&2)),
        (2 * pairs, Some(&pairs))
    );
    let trace = report.trace.expect("a trace");
    assert_eq!(trace.operations, operations);
    assert!(trace.anomalies.is_empty(), "{:?}", trace.anomalies);
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes more");
}
