//! What batching buys: the areas of a `table` capture (1 to 4096 pages, all touched, then freed)
//! unmapped in batches of up to 192 entries, and page by page.
//!
//! The time is the host's; the emulated cycles of each page are printed beside it.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ppc_mmu_emu::linux::{RunConfig, RunReport, Source, run};
use std::hint::black_box;
use std::path::Path;

fn go(source: &Source, config: &RunConfig) -> RunReport {
    run(source, config, &mut |_| ()).expect("a run of the benchmark")
}

fn table(c: &mut Criterion) {
    let path = "traces/captures/table-powernv-4k-mmotm.txt.gz";
    let source = Source::Trace(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let mut group = c.benchmark_group("flush/table");
    group.sample_size(10);
    for (name, policy) in [
        ("batches-of-192", "mainline-6.16-fixed"),
        ("one-by-one", "mainline-6.1"),
    ] {
        let config = RunConfig {
            check: false,
            ..RunConfig::new(policy)
        };
        let report = go(&source, &config);
        let pages = report.counters.need_flush;
        println!(
            "{name}: {:.1} emulated cycles per page, {pages} pages, {} batches, {} tlbie",
            report.cycles.total as f64 / pages as f64,
            report.counters.batch_flushes,
            report.counters.tlbie,
        );
        group.throughput(Throughput::Elements(pages));
        group.bench_function(name, |b| b.iter(|| black_box(go(&source, &config))));
    }
    group.finish();
}

criterion_group!(flush, table);
criterion_main!(flush);
