//! A kernel developer tries a rule of their own before writing the patch: leave the hooks as mmotm
//! had them, but flush the batch when its task is switched out, and make it active again when the
//! task is back. Does the hash MMU survive preemption then?
//!
//! `cargo run --release --example custom_policy`

use ppc_mmu_emu::core::{Ctx, Run};
use ppc_mmu_emu::linux::lazy_mmu::policy::{Mainline616Fixed, Mmotm};
use ppc_mmu_emu::linux::memmap::{batch, field, task};
use ppc_mmu_emu::linux::{
    LazyMmuPolicy, Linux, RunConfig, RunError, ScheduleChoice, Source, run_policy,
};
use ppc_mmu_emu::mmu::Ea;

/// Bit of a task's local flags: it was in a lazy section when it was switched out.
const LAZY_MMU: u64 = 1 << 40;

/// mmotm with a flush at every context switch.
#[derive(Debug)]
struct FlushAtSwitch;

impl LazyMmuPolicy for FlushAtSwitch {
    fn name(&self) -> &'static str {
        "flush-at-switch"
    }

    fn origin(&self) -> &'static str {
        "an idea of this example"
    }

    fn about(&self) -> &'static str {
        "The hooks of mmotm; a batch is flushed when its task is switched out, and active again \
         when the task is back."
    }

    fn switch_out(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        let b = linux.this_cpu_batch(cx, "__switch_to")?;
        if cx.load_u64(field(b, batch::ACTIVE), "__switch_to: active")? == 0 {
            return Ok(());
        }
        let flags = field(Ea::new(cx.local()), task::LOCAL_FLAGS);
        let old = cx.load_u64(flags, "__switch_to: local flags")?;
        cx.store_u64(flags, old | LAZY_MMU, "__switch_to: was lazy")?;
        if cx.load_u64(field(b, batch::INDEX), "__switch_to: index")? != 0 {
            linux.flush_tlb_pending(cx, b)?;
        }
        cx.store_u64(field(b, batch::ACTIVE), 0, "__switch_to: not active")
    }

    fn switch_in(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        let flags = field(Ea::new(cx.local()), task::LOCAL_FLAGS);
        let old = cx.load_u64(flags, "__switch_to: local flags")?;
        if old & LAZY_MMU == 0 {
            return Ok(());
        }
        cx.store_u64(flags, old & !LAZY_MMU, "__switch_to: lazy again")?;
        let b = linux.this_cpu_batch(cx, "__switch_to")?;
        cx.store_u64(field(b, batch::ACTIVE), 1, "__switch_to: active")
    }
}

/// What several runs under one rule showed.
#[derive(Debug)]
pub struct Row {
    /// Rule.
    pub policy: String,
    /// Batches flushed.
    pub batches: u64,
    /// Flushes that were lost.
    pub lost_flushes: u64,
    /// Per-CPU accesses while preemptible.
    pub unsafe_per_cpu: u64,
}

/// Runs the same work, preempted at random and moved at every third tick, with a few seeds.
fn try_out(policy: fn() -> Box<dyn LazyMmuPolicy>) -> Result<Row, RunError> {
    let source = Source::Scenario("vmalloc-random".into());
    let mut row = Row {
        policy: policy().name().to_owned(),
        batches: 0,
        lost_flushes: 0,
        unsafe_per_cpu: 0,
    };
    for seed in 1..=4 {
        let config = RunConfig {
            cpus: Some(2),
            operations: Some(500),
            seed,
            schedule: ScheduleChoice::Random,
            timer_period: Some(20_000),
            migrate_every: Some(3),
            ..RunConfig::new(&row.policy)
        };
        let report = run_policy(&source, &config, policy(), &mut |_| ())?;
        let broken = |kind: &str| -> u64 {
            let found = report.violations.iter().find(|v| v.kind == kind);
            found.map_or(0, |violation| violation.count)
        };
        row.batches += report.counters.batch_flushes;
        row.lost_flushes += broken("lost-flush");
        row.unsafe_per_cpu += broken("unsafe-per-cpu");
    }
    Ok(row)
}

/// The example: the state that broke, the rule of one's own, and what mainline does.
///
/// # Errors
/// A run that was refused.
pub fn run() -> Result<Vec<Row>, RunError> {
    Ok(vec![
        try_out(|| Box::new(Mmotm))?,
        try_out(|| Box::new(FlushAtSwitch))?,
        try_out(|| Box::new(Mainline616Fixed))?,
    ])
}

#[allow(dead_code, reason = "a test includes this file as a module")]
fn main() -> Result<(), RunError> {
    println!("policy               batches  lost flushes  unsafe per-CPU accesses");
    for row in run()? {
        println!(
            "{:<20} {:>7} {:>13} {:>24}",
            row.policy, row.batches, row.lost_flushes, row.unsafe_per_cpu
        );
    }
    Ok(())
}
