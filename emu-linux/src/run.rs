//! One run from configuration to report, and a comparison of several.
//!
//! Owns the order: choose, build, boot, run, collect. Everything that happens in between is guest code.

mod work;

use crate::config::{Progress, RunConfig, RunError, ScheduleChoice, Source, nearest};
use crate::disturbance::Disturbances;
use crate::invariant::{Monitor, SharedMonitor};
use crate::kernel::Linux;
use crate::kernel_path;
use crate::latency::Latencies;
use crate::lazy_mmu::LazyMmuPolicy;
use crate::lazy_mmu::policy;
use crate::machine::{machine_config, machine_of};
use crate::mode::Mode;
use crate::printk::Level;
use crate::report::{CounterValues, CycleReport, RUN_SCHEMA, RunReport, TraceReport};
use crate::task::KernelVectors;
use crate::timeline::Timeline;
use crate::trace::{Importer, Survey};
use crate::tracepoint::Moment;
use crate::watchdog::Watchdog;
use crate::workload::{Meter, Replayer};
use emu_core::{
    Category, Clocked, ContextEnd, CpuId, CycleStack, Cycles, Engine, EngineError, Event, Interest,
    Observer, Random, Recorder, Replay, RunEnd, Schedule, Scheduler,
};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use work::Work;

/// Interrupts and migrations that were not due, in a thousand questions of a random run.
const RANDOM_INTERRUPTS_PER_MILLE: u32 = 50;
/// Longest schedule string that goes into a report, in characters.
const SCHEDULE_CHARS_MAX: usize = 4096;

/// Runs a scenario or replays a capture under a shipped policy, or under one composed of them.
///
/// # Errors
/// A name, a value or a file that was refused; guest code that could not go on.
pub fn run(
    source: &Source,
    config: &RunConfig,
    progress: &mut dyn FnMut(Progress),
) -> Result<RunReport, RunError> {
    let policy = match &config.policy_file {
        Some(file) => file.policy(),
        None => policy::policy(&config.policy).ok_or_else(|| RunError::NoPolicy {
            name: config.policy.clone(),
            nearest: nearest(&config.policy, policy::policies().iter().map(|p| p.name)),
        })?,
    };
    run_policy(source, config, policy, progress)
}

/// Runs under a policy of the caller's own.
///
/// # Errors
/// As [`run`].
pub fn run_policy(
    source: &Source,
    config: &RunConfig,
    policy: Box<dyn LazyMmuPolicy>,
    progress: &mut dyn FnMut(Progress),
) -> Result<RunReport, RunError> {
    let (mut work, config) = work::open(source, config)?;
    let config = &config;
    let (default_kernel, default_cpus, name) = work::defaults(source, &work);
    let version = config.kernel.unwrap_or(default_kernel);
    let cpus = config.cpus.unwrap_or(default_cpus);
    Disturbances::check(config, cpus)?;
    Mode::check(config, cpus)?;
    let pages = work::pages(source, &work, config)?;
    let config = &RunConfig {
        htab_bits: work::htab_bits(&work, config, pages),
        ..config.clone()
    };
    let machine = machine_of(config, version)?;
    let shape = machine_config(config, &machine, pages, cpus)?;
    let monitor = config.check.then(|| {
        Arc::new(SharedMonitor::new(Monitor::new(
            shape.hpt.base(),
            shape.hpt.groups_log2(),
        )))
    });
    let observer = monitor
        .clone()
        .map(|monitor| Box::new(Watch(monitor)) as Box<dyn Observer>);
    let balance = matches!(work, Work::Scenario { .. });
    let linux = Arc::new(Linux::new(
        config,
        version,
        pages,
        &shape,
        policy,
        monitor.clone(),
        balance,
    )?);
    let (scheduler, schedule) = scheduler(config, cpus);
    let mut engine = Engine::with_observer(shape, scheduler, observer)?;
    engine
        .machine()
        .set_vectors(Arc::new(KernelVectors(linux.clone())));

    let meter = Arc::new(Meter::default());
    let total = start(&mut engine, &linux, &mut work, config, &meter)?;
    let machine = engine.machine().clone();
    let mut watchdog = Watchdog::default();
    let (end, oops) = finish(&mut engine, &linux, config.mode, &mut |now| {
        let done = meter.done();
        progress(Progress { done, total });
        if watchdog.bites(now, meter.life()) {
            machine.request_stop();
        }
    })?;
    let oops = oops.or(watchdog.bitten.map(RunError::Hung));
    if let Some(monitor) = &monitor {
        let now = end.cpus.first().map_or(Cycles::ZERO, |cpu| cpu.clock);
        if oops.is_some() {
            monitor.with(Monitor::cut_short);
        }
        let end = Moment {
            cpu: CpuId(0),
            now,
            task: 0,
            pid: 0,
        };
        monitor.with(|monitor| monitor.end_of_run(end));
    }
    if oops.is_none() {
        linux.check_injections()?;
    }
    let areas_stay = matches!(work, Work::Trace { .. });
    let report = collect(config, name, &linux, work, &end, &schedule.lock())?;
    let memory = engine.machine().memory();
    Ok(RunReport {
        accounting: linux.accounting(memory, oops.is_none(), areas_stay),
        oops: oops.map(|error| error.to_string()),
        ..report
    })
}

/// Runs to the end. A kernel that dies is a result, not a failure of the run.
fn finish(
    engine: &mut Engine,
    linux: &Linux,
    mode: Mode,
    poll: &mut dyn FnMut(Cycles),
) -> Result<(RunEnd, Option<RunError>), RunError> {
    let ended = match mode {
        Mode::Deterministic => engine.run_polled(poll),
        Mode::Threads => engine.run_threads_polled(poll),
    };
    match ended {
        Ok(end) => Ok((end, None)),
        Err(
            error @ (EngineError::Guest { .. }
            | EngineError::NoContext { .. }
            | EngineError::Deadlock),
        ) => {
            let now = engine
                .snapshot()
                .cpus
                .first()
                .map_or(Cycles::ZERO, |cpu| cpu.clock);
            linux
                .log
                .lock()
                .push(now, Level::Emerg, &format!("Oops: {error}"));
            Ok((engine.snapshot(), Some(error.into())))
        }
        Err(error) => Err(error.into()),
    }
}

/// The observer that hands hardware events to the checkers.
struct Watch(Arc<SharedMonitor>);

impl Observer for Watch {
    fn interest(&self) -> Interest {
        Monitor::INTEREST
    }

    fn quiet_addresses(&self) -> std::ops::Range<u64> {
        Monitor::QUIET
    }

    fn observe(&mut self, cpu: CpuId, now: Cycles, event: Event) {
        self.0.with(|monitor| monitor.hardware(cpu, now, event));
    }
}

type SharedSchedule = Arc<Mutex<Schedule>>;

fn scheduler(config: &RunConfig, cpus: u16) -> (Box<dyn Scheduler>, SharedSchedule) {
    let inner: Box<dyn Scheduler> = match &config.schedule {
        ScheduleChoice::Clocked => Box::new(Clocked::new()),
        ScheduleChoice::Random => Box::new(Random::new(config.seed, RANDOM_INTERRUPTS_PER_MILLE)),
        ScheduleChoice::Replay(schedule) => Box::new(Replay::new(schedule.clone())),
    };
    if config.mode.is_unordered(cpus) {
        // What the host decides has no place in a schedule.
        return (inner, SharedSchedule::default());
    }
    let (recorder, schedule) = Recorder::new(inner);
    (Box::new(recorder), schedule)
}

/// Boots and starts the work. Gives the number of operations if it is known.
fn start(
    engine: &mut Engine,
    linux: &Arc<Linux>,
    work: &mut Work,
    config: &RunConfig,
    meter: &Arc<Meter>,
) -> Result<Option<u64>, RunError> {
    let mut total = None;
    let first: Boot = match work {
        Work::Scenario { workload, .. } => {
            total = Some((workload.operations)(config));
            let (begin, config, meter) = (workload.start, config.clone(), meter.clone());
            Box::new(move |linux, cx| begin(linux, cx, &config, &meter))
        }
        Work::Trace { importer, replayer } => {
            let pre_existing = importer.survey().pre_existing.clone();
            let new = Replayer::new(importer.ops()?, pre_existing, meter.clone());
            *replayer = Some(new.clone());
            Box::new(move |linux, cx| new.start(linux, cx))
        }
    };
    boot_cpus(engine, linux, first);
    Ok(total)
}

/// What CPU 0 does when it has booted, before it is idle.
pub(crate) type Boot =
    Box<dyn FnOnce(&Arc<Linux>, &mut emu_core::Ctx<'_>) -> emu_core::Run<()> + Send>;

/// Gives every CPU its idle task; CPU 0 boots and does `first`.
pub(crate) fn boot_cpus(engine: &mut Engine, linux: &Arc<Linux>, first: Boot) {
    let mut first = Some(first);
    for cpu in 0..linux.cpus {
        let (linux, first) = (linux.clone(), first.take());
        let id = Arc::new(std::sync::OnceLock::new());
        let own = id.clone();
        let context = engine.start_cpu(
            cpu,
            Box::new(move |cx| {
                if cpu == 0 {
                    linux.boot(cx)?;
                    for other in 1..linux.cpus {
                        cx.send_ipi(CpuId(other))?;
                    }
                } else {
                    // Held until the boot CPU kicks it.
                    cx.wait_for_interrupt()?;
                }
                linux.idle_cpu(cx, own.get().copied().unwrap_or(0), first)
            }),
        );
        let _ = id.set(context.get());
    }
}

impl Linux {
    /// A CPU from its first instruction: set up, first work if it is the boot CPU, then idle.
    fn idle_cpu(
        self: &Arc<Self>,
        cx: &mut emu_core::Ctx<'_>,
        context: u32,
        first: Option<impl FnOnce(&Arc<Linux>, &mut emu_core::Ctx<'_>) -> emu_core::Run<()>>,
    ) -> emu_core::Run<ContextEnd> {
        self.setup_cpu(cx)?;
        self.become_idle_task(cx, context)?;
        self.come_online(cx, first.is_some())?;
        if let Some(first) = first {
            if let Some(monitor) = &self.monitor {
                monitor.with(Monitor::boot_done);
            }
            first(self, cx)?;
        }
        self.idle_loop(cx)
    }
}

fn collect(
    config: &RunConfig,
    scenario: String,
    linux: &Linux,
    work: Work,
    end: &RunEnd,
    schedule: &Schedule,
) -> Result<RunReport, RunError> {
    let mut report = RunReport {
        schema: RUN_SCHEMA.to_owned(),
        scenario,
        policy: linux.policy.name().to_owned(),
        kernel: linux.layout.version.name().to_owned(),
        pages: linux.layout.pages.name().to_owned(),
        backend: linux.backend.name().to_owned(),
        machine: linux.machine.clone(),
        htab_bits: linux.hpt.groups_log2(),
        cpus: linux.cpus,
        preempt: linux.preempt.name().to_owned(),
        batch_size: linux.batch_size,
        mode: config.mode.name().to_owned(),
        timing: config.timing.name().to_owned(),
        seed: config.seed,
        schedule: Some(schedule.to_string()).filter(|text| {
            text.len() <= SCHEDULE_CHARS_MAX && !config.mode.is_unordered(linux.cpus)
        }),
        counters: CounterValues {
            irqs_off_cycles_max: end.irqs_off_max.get(),
            ..linux.counters.values()
        },
        segments: Vec::new(),
        groups: None,
        reports: std::mem::take(&mut *linux.reports.lock()),
        reports_suppressed: linux.reports_suppressed.load(Ordering::Relaxed),
        checked: linux.monitor.is_some(),
        entries_queued: None,
        entries_flushed: None,
        violations: Vec::new(),
        accounting: None,
        oops: None,
        cycles: cycles(end),
        timeline: timeline(linux, end),
        longest_spans: linux.spans.lock().clone(),
        latency: linux
            .latencies
            .as_ref()
            .map(Latencies::values)
            .unwrap_or_default(),
        trace: None,
        kernel_log: linux.log.lock().lines(crate::printk::Timestamps::Off),
    };
    if let Some(monitor) = &linux.monitor {
        monitor.with(|monitor| {
            report.violations = monitor.violations();
            report.counters.flushes_repeated = monitor.flushes_repeated();
            report.entries_queued = Some(monitor.queued());
            report.entries_flushed = Some(monitor.flushed());
        });
    }
    if let Work::Trace {
        importer,
        replayer: Some(replayer),
    } = work
    {
        let results = replayer.results();
        if let Some(error) = results.error {
            return Err(error.into());
        }
        report.segments = results.segments;
        report.groups = results.groups;
        let mut trace = TraceReport::of_survey(importer.survey());
        trace.operations = results.operations;
        trace.anomalies = results.anomalies;
        trace.compare(&report.counters);
        report.trace = Some(trace);
    }
    Ok(report)
}

/// What was drawn.
fn timeline(linux: &Linux, end: &RunEnd) -> Option<Timeline> {
    let mut timeline = std::mem::take(&mut *linux.timeline.as_ref()?.lock());
    let clocks: Vec<u64> = end.cpus.iter().map(|cpu| cpu.clock.get()).collect();
    timeline.finish(&clocks);
    Some(timeline)
}

fn cycles(end: &RunEnd) -> CycleReport {
    let mut stack = CycleStack::default();
    for cpu in &end.cpus {
        stack.merge(&cpu.stack);
    }
    let parts: Vec<_> = end.cpus.iter().map(kernel_path::parts).collect();
    CycleReport {
        total: end.cpus.iter().map(|cpu| cpu.clock.get()).sum(),
        per_cpu: end.cpus.iter().map(|cpu| cpu.clock.get()).collect(),
        stack: Category::ALL
            .into_iter()
            .map(|category| (category.name().to_owned(), stack.get(category).get()))
            .collect(),
        parts: kernel_path::sum(&parts),
        paths: kernel_path::paths(&end.cpus),
        parts_per_cpu: parts,
    }
}

/// Reads a capture and says what is in it, without running it.
///
/// # Errors
/// A file that is not a readable capture.
pub fn survey(path: &Path) -> Result<Survey, crate::trace::TraceError> {
    Ok(Importer::open(path)?.survey().clone())
}
