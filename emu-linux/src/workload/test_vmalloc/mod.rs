//! `test_vmalloc`: the kernel's test module for vmalloc (Linux 6.1 lib/test_vmalloc.c).
//!
//! Owns the module's driver: workers, the order of the cases, the summary in the kernel log. One worker
//! runs for each CPU, as with `nr_threads` set to the number of CPUs; it does each case once, in an order
//! that the seed shuffles. What the module counts in fixed numbers is scaled with the loops. Its last
//! case of later kernels (`vm_map_ram_test`) and huge pages are left out.

mod cases;
mod percpu;

use super::Meter;
use crate::config::RunConfig;
use crate::kernel::Linux;
use crate::printk::Level;
use crate::task::TaskSpec;
use cases::CASES;
use emu_core::{CpuId, Ctx, Run};
use emu_mmu::Ea;
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Loops of each case unless told otherwise. The module's own default is a million.
const LOOPS: u64 = 500;
/// Loops at which the fixed numbers of the module are not scaled: those of the smoke test
/// (tools/testing/selftests/vm/test_vmalloc.sh).
const LOOPS_UNSCALED: u64 = 10_000;
/// How often each case runs (`test_repeat_count`).
const REPEAT: u64 = 1;

/// What one worker has to work with.
struct Worker {
    loops: u64,
    rng: ChaCha8Rng,
    meter: Arc<Meter>,
}

impl Worker {
    /// A number that the module fixes, at this number of loops.
    fn scaled(&self, number: u64) -> u64 {
        scaled(number, self.loops)
    }

    fn random(&mut self) -> u64 {
        u64::from(self.rng.next_u32())
    }
}

/// How a case ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcome {
    passed: bool,
    cycles: u64,
}

/// What the workers found, for the task that loads the module.
struct Results {
    left: usize,
    workers: Vec<Option<WorkerResult>>,
}

struct WorkerResult {
    cases: [Outcome; CASES.len()],
    cycles: u64,
}

fn loops(config: &RunConfig) -> u64 {
    config.operations.unwrap_or(LOOPS)
}

/// A number that the module fixes, at `loops` loops.
fn scaled(number: u64, loops: u64) -> u64 {
    (number.saturating_mul(loops) / LOOPS_UNSCALED).clamp(1, number)
}

/// Loops of all cases and workers together, and what the cases keep: each object is made and freed.
pub(super) fn operations(config: &RunConfig) -> u64 {
    let (cpus, loops) = (config.cpus.unwrap_or(1), loops(config));
    let kept = cases::kept_objects(cpus, config.pages.unwrap_or_default())
        .map(|number| 2 * scaled(number, loops));
    let looping = CASES.iter().filter(|case| case.loops).count() as u64;
    let each = loops.saturating_mul(looping);
    each.saturating_add(kept.iter().sum())
        .saturating_mul(u64::from(cpus))
}

/// Starts the task that loads the module: it starts the workers, waits, and prints.
pub(super) fn start(
    linux: &Arc<Linux>,
    cx: &mut Ctx<'_>,
    config: &RunConfig,
    meter: &Arc<Meter>,
) -> Run<()> {
    let (loops, seed, meter) = (loops(config), config.seed, meter.clone());
    let task = TaskSpec {
        comm: "modprobe".into(),
        pid: None,
        stack: None,
        mm: None,
        cpus_allowed: linux.allowed(CpuId(0)),
        cpu: CpuId(0),
        body: Box::new(move |linux, cx| {
            let workers = usize::from(linux.cpus);
            let results = Arc::new(Mutex::new(Results {
                left: workers,
                workers: (0..workers).map(|_| None).collect(),
            }));
            let me = Ea::new(cx.local());
            for index in 0..linux.cpus {
                let number = seed.wrapping_mul(64).wrapping_add(u64::from(index));
                let worker = Worker {
                    loops,
                    rng: ChaCha8Rng::seed_from_u64(number),
                    meter: meter.clone(),
                };
                start_worker(linux, cx, index, worker, &results, me)?;
            }
            while results.lock().left > 0 {
                linux.sleep_unless(cx, |_| results.lock().left == 0)?;
            }
            let lines = summary(linux, loops, &results.lock().workers);
            for line in lines {
                linux.printk(cx, Level::Info, &line)?;
            }
            Ok(())
        }),
    };
    linux.spawn_task(cx, task).map(|_| ())
}

fn start_worker(
    linux: &Arc<Linux>,
    cx: &mut Ctx<'_>,
    index: u16,
    mut worker: Worker,
    results: &Arc<Mutex<Results>>,
    loader: Ea,
) -> Run<()> {
    let own = results.clone();
    let task = TaskSpec {
        comm: format!("vmalloc_test/{index}"),
        pid: None,
        stack: None,
        mm: None,
        cpus_allowed: linux.allowed(CpuId(index)),
        cpu: CpuId(index),
        body: Box::new(move |linux, cx| {
            let result = run_cases(linux, cx, &mut worker)?;
            let last = {
                let mut results = own.lock();
                results.workers[usize::from(index)] = Some(result);
                results.left -= 1;
                results.left == 0
            };
            if last {
                linux.wake_up(cx, loader)
            } else {
                Ok(())
            }
        }),
    };
    if linux.spawn_task(cx, task)?.is_err() {
        results.lock().left -= 1;
    }
    Ok(())
}

fn run_cases(linux: &Arc<Linux>, cx: &mut Ctx<'_>, worker: &mut Worker) -> Run<WorkerResult> {
    let mut order: Vec<usize> = (0..CASES.len()).collect();
    order.shuffle(&mut worker.rng);
    let mut cases = [Outcome::default(); CASES.len()];
    let began = cx.now();
    for index in order {
        let from = cx.now();
        let passed = (CASES[index].run)(linux, cx, worker)?;
        // Another CPU's clock may be behind.
        let cycles = cx.now().get().saturating_sub(from.get());
        cases[index] = Outcome { passed, cycles };
    }
    Ok(WorkerResult {
        cases,
        cycles: cx.now().get().saturating_sub(began.get()),
    })
}

/// The lines that the module prints when it is done.
fn summary(linux: &Linux, loops: u64, workers: &[Option<WorkerResult>]) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, worker) in workers.iter().enumerate() {
        let Some(worker) = worker else { continue };
        for (case, outcome) in CASES.iter().zip(&worker.cases) {
            let (passed, failed) = (u64::from(outcome.passed), u64::from(!outcome.passed));
            lines.push(format!(
                "Summary: {} passed: {passed} failed: {failed} repeat: {REPEAT} loops: {loops} avg: {} usec",
                case.name,
                linux.micros(outcome.cycles) / REPEAT,
            ));
        }
        let cycles = worker.cycles;
        lines.push(format!("All test took worker{index}={cycles} cycles"));
    }
    lines
}
