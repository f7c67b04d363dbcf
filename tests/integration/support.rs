//! What several tests need: runs by name, the committed captures, and what was counted in them.

use ppc_mmu_emu::linux::{Backend, RunConfig, RunReport, Source, run};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the committed captures.
pub fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/captures")
}

/// A row of counts.tsv: column -> value.
pub type Row = BTreeMap<String, String>;

/// The rows of counts.tsv whose capture is committed whole, with their file names.
pub fn rows() -> Vec<(String, Row)> {
    let table = fs::read_to_string(captures().join("counts.tsv")).expect("counts.tsv");
    let mut lines = table.lines();
    let columns: Vec<&str> = lines.next().expect("a heading").split('\t').collect();
    lines
        .map(|line| {
            let names = columns.iter().map(|column| (*column).to_owned());
            let row: Row = names.zip(line.split('\t').map(str::to_owned)).collect();
            (row["file"].clone(), row)
        })
        .filter(|(file, _)| captures().join(file).exists())
        .collect()
}

/// The rows of captures that begin with `family` and were made on a `machine`: `powernv-4k` and the like.
pub fn made_on(machine: &str, family: &str) -> Vec<(String, Row)> {
    let machine = format!("-{machine}");
    rows()
        .into_iter()
        .filter(|(file, _)| file.starts_with(family) && file.contains(&machine))
        .collect()
}

/// The rows that a test of native 4K kernels replays: those that begin with `family`.
pub fn native_4k(family: &str) -> Vec<(String, Row)> {
    made_on("powernv-4k", family)
}

/// The policy that the kernel of a capture was built with, from the file's name.
pub fn policy_of(file: &str) -> &'static str {
    match file {
        _ if file.contains("policy0") => "mmotm",
        _ if file.contains("policy2") => "hugh-preempt-fixed",
        _ if file.contains("policy4") => "no-power-batch",
        _ if file.contains("mmotm") => "mainline-6.16-fixed",
        _ => "mainline-6.1",
    }
}

fn go(source: &Source, config: &RunConfig) -> RunReport {
    run(source, config, &mut |_| ())
        .unwrap_or_else(|error| panic!("{source:?} {config:?}: {error}"))
}

/// The rows of the 4K captures made under a hypervisor.
pub fn pseries_4k(family: &str) -> Vec<(String, Row)> {
    made_on("pseries-4k", family)
}

/// What a capture does not tell about its kernel, by the file's name. Page size and hash table it tells.
pub fn config_of(file: &str) -> RunConfig {
    let backend = match file.contains("-pseries-") {
        true => Backend::Lpar,
        false => Backend::Native,
    };
    RunConfig {
        backend,
        ..RunConfig::new(policy_of(file))
    }
}

/// Replays a file under a policy, invariants checked.
pub fn replay(path: &Path, policy: &str) -> RunReport {
    replay_as(path, &RunConfig::new(policy))
}

/// Replays a file.
pub fn replay_as(path: &Path, config: &RunConfig) -> RunReport {
    go(&Source::Trace(path.to_path_buf()), config)
}

/// Runs a scenario.
pub fn scenario(name: &str, config: &RunConfig) -> RunReport {
    go(&Source::Scenario(name.to_owned()), config)
}

/// How often a scenario repeats: `operations`, unless it does one thing only; fewer where each maps many
/// pages.
pub fn operations(name: &str, operations: u64) -> Option<u64> {
    match name {
        "swapon-swapoff" => None,
        "vm-map-ram" | "ioremap" | "alloc-vm-area" | "module-load" | "kasan-populate"
        | "vmalloc-areas" | "user-unmap" => Some(operations / 10 + 1),
        _ => Some(operations),
    }
}

/// Every cycle has one name: the stack and the parts sum to the total, and each CPU's parts to its clock.
/// The spans that are told are the longest.
pub fn assert_accounts(report: &RunReport, what: &str) {
    let cycles = &report.cycles;
    assert_eq!(cycles.per_cpu.iter().sum::<u64>(), cycles.total, "{what}");
    assert_eq!(cycles.stack.values().sum::<u64>(), cycles.total, "{what}");
    assert_eq!(cycles.parts.values().sum::<u64>(), cycles.total, "{what}");
    assert_eq!(cycles.parts_per_cpu.len(), cycles.per_cpu.len(), "{what}");
    for (parts, clock) in cycles.parts_per_cpu.iter().zip(&cycles.per_cpu) {
        assert_eq!(parts.values().sum::<u64>(), *clock, "{what}");
    }
    let of_paths = cycles.paths.values().flat_map(|parts| parts.values());
    assert_eq!(of_paths.sum::<u64>(), cycles.total, "{what}");
    let (spans, counters) = (&report.longest_spans, &report.counters);
    for (span, max) in [
        (&spans.preempt_off, counters.preempt_off_cycles_max),
        (&spans.irqs_off, counters.irqs_off_cycles_max),
    ] {
        assert_eq!(span.as_ref().map_or(0, |span| span.cycles), max, "{what}");
    }
}

/// Names of the shipped policies.
pub fn policy_names() -> Vec<&'static str> {
    let policies = ppc_mmu_emu::linux::policies();
    policies.iter().map(|policy| policy.name).collect()
}

/// Kinds of the violations of a run.
pub fn kinds(report: &RunReport) -> Vec<&str> {
    report.violations.iter().map(|v| v.kind.as_str()).collect()
}
