//! What batching flushes buys on each machine: the workload of 2011, flushed page by page and in batches.
//!
//! `cargo run --release --example batch_vs_unbatched`

use ppc_mmu_emu::linux::{MachineProfile, RunConfig, RunError, Source, run};

/// One machine.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub machine: String,
    /// Modelled cycles for each page flushed, one at a time.
    pub unbatched: f64,
    /// The same in batches.
    pub batched: f64,
}

/// Runs both on every machine.
///
/// # Errors
/// A run that was refused.
pub fn run_all() -> Result<Vec<Row>, RunError> {
    let source = Source::Scenario("swapon-swapoff".to_owned());
    let cycles_per_page = |machine: &str, policy: &str| -> Result<f64, RunError> {
        let config = RunConfig {
            machine: Some(MachineProfile::builtin(machine)?),
            ..RunConfig::new(policy)
        };
        let report = run(&source, &config, &mut |_| ())?;
        Ok(report.cycles.total as f64 / report.counters.ptes_cleared as f64)
    };
    let row = |machine: &str| {
        Ok(Row {
            machine: machine.to_owned(),
            unbatched: cycles_per_page(machine, "mainline-6.1")?,
            batched: cycles_per_page(machine, "mainline-6.16-fixed")?,
        })
    };
    MachineProfile::NAMES.into_iter().map(row).collect()
}

#[allow(dead_code, reason = "a test includes this file as a module")]
fn main() -> Result<(), RunError> {
    println!("modelled cycles a page, the whole run included");
    println!("machine  unbatched  batched  times");
    for row in run_all()? {
        let times = row.unbatched / row.batched;
        println!(
            "{:7}  {:9.0}  {:7.0}  {times:5.2}",
            row.machine, row.unbatched, row.batched
        );
    }
    Ok(())
}
