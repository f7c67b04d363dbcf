//! Operations of a workload or a capture that are emulated in a second of the host.
//!
//! One operation of `vmalloc-pairs` is a pair: vmalloc of 8 pages, a store to each, vfree. One of a
//! capture is a map, an unmap, a touch or a mark.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ppc_mmu_emu::linux::{RunConfig, RunReport, Source, run};
use std::hint::black_box;
use std::path::Path;

/// Pairs in one iteration.
const PAIRS: u64 = 2_000;

fn go(source: &Source, config: &RunConfig) -> RunReport {
    run(source, config, &mut |_| ()).expect("a run of the benchmark")
}

fn pairs(c: &mut Criterion) {
    let source = Source::Scenario("vmalloc-pairs".into());
    let mut group = c.benchmark_group("replay/vmalloc-pairs");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(PAIRS));
    for (name, check, touch) in [
        ("unchecked", false, 8),
        ("checked", true, 8),
        ("unchecked-untouched", false, 0),
        ("checked-untouched", true, 0),
    ] {
        let config = RunConfig {
            operations: Some(PAIRS),
            touch: Some(touch),
            check,
            ..RunConfig::new("mainline-6.16-fixed")
        };
        group.bench_function(name, |b| b.iter(|| black_box(go(&source, &config))));
    }
    group.finish();
}

fn capture(c: &mut Criterion) {
    let path = "traces/captures/mix-powernv-4k-mmotm.txt.gz";
    let source = Source::Trace(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let mut config = RunConfig::new("mainline-6.16-fixed");
    let trace = go(&source, &config).trace.expect("a trace");
    let mut group = c.benchmark_group("replay/mix-powernv-4k-mmotm");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(trace.operations));
    for (name, check) in [("unchecked", false), ("checked", true)] {
        config.check = check;
        group.bench_function(name, |b| b.iter(|| black_box(go(&source, &config))));
    }
    group.finish();
}

criterion_group!(replay, pairs, capture);
criterion_main!(replay);
