//! A user of the library asks what batching buys: one vmalloc workload under three policies.
//!
//! `cargo run --release --example vmalloc_workload`

use ppc_mmu_emu::linux::{RunConfig, RunError, Source, run as run_source};

/// Pages that each area has; all are touched.
const PAGES: u64 = 8;
/// Areas mapped and freed.
const PAIRS: u64 = 500;

/// What one run showed.
#[derive(Debug)]
pub struct Row {
    /// Policy.
    pub policy: String,
    /// Pages mapped, touched and unmapped.
    pub pages: u64,
    /// Emulated cycles of the whole run for each of those pages.
    pub cycles_per_page: f64,
    /// Global TLB invalidations.
    pub tlbie: u64,
    /// Batches flushed.
    pub batches: u64,
    /// Longest span with preemption off, in cycles.
    pub preempt_off_cycles_max: u64,
}

/// Runs the workload under each policy.
///
/// # Errors
/// A run that was refused.
pub fn run_all(policies: &[&str]) -> Result<Vec<Row>, RunError> {
    let source = Source::Scenario("vmalloc-pairs".into());
    let mut rows = Vec::new();
    for policy in policies {
        let config = RunConfig {
            operations: Some(PAIRS),
            ..RunConfig::new(policy)
        };
        let report = run_source(&source, &config, &mut |_| ())?;
        assert_eq!(report.violations, [], "{policy} broke an invariant");
        assert_eq!(report.counters.ptes_set, PAIRS * PAGES);
        rows.push(Row {
            policy: report.policy,
            pages: report.counters.ptes_set,
            cycles_per_page: report.cycles.total as f64 / report.counters.ptes_set as f64,
            tlbie: report.counters.tlbie,
            batches: report.counters.batch_flushes,
            preempt_off_cycles_max: report.counters.preempt_off_cycles_max,
        });
    }
    Ok(rows)
}

/// The example: three policies, and what must be true of them.
///
/// # Errors
/// A run that was refused.
pub fn run() -> Result<Vec<Row>, RunError> {
    let rows = run_all(&["mainline-6.1", "mainline-6.16-fixed", "no-power-batch"])?;
    // The pages to invalidate are the same; only the barriers round them are shared.
    assert!(rows.iter().all(|row| row.tlbie == row.pages));
    assert!(rows[1].cycles_per_page < rows[0].cycles_per_page);
    Ok(rows)
}

#[allow(dead_code, reason = "a test includes this file as a module")]
fn main() -> Result<(), RunError> {
    println!("{PAIRS} times vmalloc of {PAGES} pages, a store to each, vfree");
    println!("policy               cycles/page   tlbie  batches  longest preempt-off");
    for row in run()? {
        println!(
            "{:<20} {:>11.1} {:>7} {:>8} {:>20}",
            row.policy, row.cycles_per_page, row.tlbie, row.batches, row.preempt_off_cycles_max
        );
    }
    Ok(())
}
