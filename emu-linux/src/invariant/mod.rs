//! Invariants of the Linux side, checked while a run goes on.
//!
//! Owns the rules (one file each), the history that leads to a violation, and [`Monitor`], which
//! feeds both. Each rule decides from events alone and shares no code with what it checks. Refuses
//! to stop a run, to change it, or to guess: a broken rule is counted, and told in full the first
//! time.
//!
//! All the rules are exact with both engines, because events arrive in the order they took place. The
//! deterministic engine has one host thread. With a host thread for each CPU a checked run takes
//! turns: what one CPU does between two of its stops, and what the kernel model tells meanwhile, is told
//! before another CPU goes on (`emu_core::Engine::run_threads`). Each rule says what it would be without.

#[macro_use]
mod mark;
mod batch_escape;
mod duplicate_hpte;
mod history;
mod log;
mod lost_flush;
mod page;
mod served;
mod shared;
mod stale_translation;
mod stuck_lock;
mod unbalanced_preempt;
mod unsafe_per_cpu;

use crate::layout::{Layout, PteBits};
use crate::report::ViolationReport;
use crate::tracepoint::{Moment, Tracepoint};
use batch_escape::BatchEscape;
use duplicate_hpte::DuplicateHpte;
use emu_core::{CpuId, Cycles, Event, Interest};
use emu_mmu::Ra;
use history::Happened;
use log::Log;
use lost_flush::LostFlush;
pub(crate) use mark::MonitorMark;
use page::{Flushing, Part};
use served::Served;
pub use shared::SharedMonitor;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use stuck_lock::StuckLock;
use unbalanced_preempt::UnbalancedPreempt;

/// The names of the rules that [`Monitor`] checks, in the order of [`Monitor::violations`].
pub const NAMES: [&str; 7] = [
    batch_escape::NAME,
    duplicate_hpte::NAME,
    lost_flush::NAME,
    stale_translation::NAME,
    stuck_lock::NAME,
    unbalanced_preempt::NAME,
    unsafe_per_cpu::NAME,
];

/// What a rule asks and why it matters, in three sentences; `None` if `kind` is not one of
/// [`NAMES`].
pub fn explain(kind: &str) -> Option<&'static str> {
    match kind {
        batch_escape::NAME => Some(batch_escape::EXPLANATION),
        duplicate_hpte::NAME => Some(duplicate_hpte::EXPLANATION),
        lost_flush::NAME => Some(lost_flush::EXPLANATION),
        stale_translation::NAME => Some(stale_translation::EXPLANATION),
        stuck_lock::NAME => Some(stuck_lock::EXPLANATION),
        unbalanced_preempt::NAME => Some(unbalanced_preempt::EXPLANATION),
        unsafe_per_cpu::NAME => Some(unsafe_per_cpu::EXPLANATION),
        _ => None,
    }
}

/// Watches a run and keeps what broke.
///
/// Memory is bounded by what is pending or alive (queued entries, held locks, tasks, the valid
/// entries of the table), never by the length of the run.
#[derive(Clone, Debug)]
pub struct Monitor {
    hpt_base: Ra,
    /// The PTE bits of the kernel that runs.
    pte: PteBits,
    /// Bytes of a table of PTEs, and of the PTEs in it: slot records may follow them.
    table_bytes: u64,
    pte_bytes: u64,
    batch_escape: BatchEscape,
    duplicate_hpte: DuplicateHpte,
    flushing: Flushing,
    served: Served,
    stuck_lock: StuckLock,
    lost_flush: LostFlush,
    unbalanced_preempt: UnbalancedPreempt,
    /// Who runs on each CPU, from the last tracepoint there: hardware events name no task.
    running: Vec<Running>,
    log: Log,
    /// Tracepoints so far that tell of a page, its PTE or its flush: what others do can matter for them.
    told: u64,
    /// Changes whenever `told` or what broke does, to be looked at without a lock.
    news: Arc<AtomicU64>,
}

/// Whether a tracepoint tells of what several tasks may be concerned with.
fn tells_of_a_page(tp: &Tracepoint) -> bool {
    use Tracepoint as Tp;
    matches!(
        tp,
        Tp::Queued { .. }
            | Tp::BatchFlush { .. }
            | Tp::SingleFlush { .. }
            | Tp::NothingToRemove { .. }
            | Tp::PteCleared { .. }
            | Tp::PteSet { .. }
            | Tp::PageAllocated { .. }
            | Tp::PageFreed { .. }
            | Tp::StaleData { .. }
    )
}

/// The task on a CPU.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    task: u64,
    pid: u32,
}

impl Monitor {
    /// The hardware events that [`Monitor::hardware`] must be given.
    pub const INTEREST: Interest = Interest::TABLE_STORES
        .and(Interest::INVALIDATIONS)
        .and(Interest::WATCHED_STORES)
        .and(Interest::TRANSLATIONS);

    /// Addresses whose translations it does not need: the linear map of both kernels, which is
    /// bolted. vmalloc lies behind it or in another region.
    pub const QUIET: Range<u64> = 0xc000_0000_0000_0000..0xc000_0100_0000_0000;

    /// A monitor of a run whose hash table lies at `hpt_base` and has 2^`groups_log2` groups.
    pub fn new(hpt_base: Ra, groups_log2: u8) -> Self {
        Monitor {
            hpt_base,
            pte: PteBits::V2_6_38,
            table_bytes: 4096,
            pte_bytes: 4096,
            batch_escape: BatchEscape::default(),
            flushing: Flushing::default(),
            served: Served::default(),
            stuck_lock: StuckLock::default(),
            duplicate_hpte: DuplicateHpte::new(hpt_base, groups_log2),
            lost_flush: LostFlush::default(),
            unbalanced_preempt: UnbalancedPreempt::default(),
            running: Vec::new(),
            log: Log::default(),
            told: 0,
            news: Arc::default(),
        }
    }

    /// Says what page tables look like; until then they are those of 2.6.38 with 4K pages.
    pub fn page_tables(&mut self, layout: &Layout) {
        self.pte = layout.pte;
        self.table_bytes = layout.table_bytes(0);
        self.pte_bytes = 8 << layout.index_bits[0];
        self.served.frame_bytes(layout.page_bytes());
    }

    /// Forgets the events so far, but not what they mean: boot is nobody's history.
    pub fn boot_done(&mut self) {
        self.log.history.clear();
    }

    /// Keeps a history of what happened for the account of a violation, as it does from the start, or none:
    /// an exploration asks only what broke.
    pub(crate) fn keep_history(&mut self, keep: bool) {
        self.log.brief = !keep;
        if !keep {
            self.log.history.clear();
        }
    }

    /// Names the task at address `task`. An address that is used again takes the newer name.
    pub fn name_task(&mut self, task: u64, comm: &str, pid: u32) {
        self.log.name(task, comm, pid);
    }

    /// The kernel model did something.
    pub fn tracepoint(&mut self, at: Moment, tp: Tracepoint) {
        let Monitor {
            lost_flush,
            unbalanced_preempt,
            running,
            log,
            ..
        } = self;
        if !matches!(
            tp,
            Tracepoint::PageAllocated { .. } | Tracepoint::HashFaultReturn { .. }
        ) {
            log.happened(at, Happened::Linux(tp));
        }
        self.told += u64::from(tells_of_a_page(&tp));
        self.flushing.tracepoint(at.task, &tp);
        if let Tracepoint::NothingToRemove { vpn, segment, .. } = tp
            && self.flushing.invalidate(at.task) == Part::Batch
        {
            self.batch_escape.flushed((vpn, segment));
        }
        if let Some(escape) = self.batch_escape.tracepoint(at, &tp, &self.pte) {
            log.broken(batch_escape::NAME, at, &escape);
        }
        self.served.tracepoint(&tp);
        self.stuck_lock.tracepoint(at, &tp, &mut |stuck| {
            log.broken(stuck_lock::NAME, at, &stuck);
        });
        if let Some(lookup) = unsafe_per_cpu::check(&tp) {
            log.broken(unsafe_per_cpu::NAME, at, &lookup);
        }
        if let Some(stale) = stale_translation::check(&tp) {
            log.broken(stale_translation::NAME, at, &stale);
        }
        if let Some(unbalanced) = unbalanced_preempt.tracepoint(at.task, &tp) {
            log.broken(unbalanced_preempt::NAME, at, &unbalanced);
        }
        lost_flush.tracepoint(at, &tp, &mut |lost| log.broken(lost_flush::NAME, at, &lost));
        let now_running = match tp {
            Tracepoint::SwitchTo { next, next_pid, .. } => {
                log.switched_from(at.task);
                Running {
                    task: next,
                    pid: next_pid,
                }
            }
            Tracepoint::TaskExit { .. } => {
                log.exits(at.task);
                Running {
                    task: at.task,
                    pid: at.pid,
                }
            }
            _ => Running {
                task: at.task,
                pid: at.pid,
            },
        };
        let cpu = at.cpu.index();
        if cpu >= running.len() {
            running.resize(cpu + 1, Running::default());
        }
        running[cpu] = now_running;
        self.tell_news();
    }

    fn tell_news(&self) {
        let news = self.told + self.broken_count() as u64;
        self.news.store(news, Ordering::Relaxed);
    }

    /// The hardware did something; needs the events of [`Monitor::INTEREST`], ignores others.
    pub fn hardware(&mut self, cpu: CpuId, now: Cycles, event: Event) {
        let Running { task, pid } = self.running.get(cpu.index()).copied().unwrap_or_default();
        let at = Moment {
            cpu,
            now,
            task,
            pid,
        };
        match event {
            Event::TableStore { .. } => self.table_store(at, event),
            Event::Invalidate { operand, .. } => {
                self.log.happened(at, Happened::Hardware(event));
                self.lost_flush.invalidate(at.task, &operand);
                let part = self.flushing.invalidate(at.task);
                if part == Part::Batch {
                    self.batch_escape.flushed((operand.vpn, operand.segment));
                }
                if part != Part::None {
                    self.served.flushed(cpu, &operand);
                }
            }
            Event::Ptesync => self.served.ptesync(cpu),
            Event::WatchedStore { ra, .. } if ra.get() % self.table_bytes >= self.pte_bytes => {}
            Event::WatchedStore { ra, old, new, step } => {
                self.stuck_lock
                    .pte_store(at, ra, (old, new), self.pte.busy, step);
                if let Some(escape) = self.batch_escape.pte_store(ra, old, new, &self.pte) {
                    self.log.broken(batch_escape::NAME, at, &escape);
                }
            }
            Event::Translated {
                ea,
                page,
                ra,
                store,
            } => {
                if let Some(stale) = self.served.access(ea, page, ra, store) {
                    self.log.broken(stale_translation::NAME, at, &stale);
                }
            }
            Event::Switch
            | Event::Interrupt
            | Event::Access { .. }
            | Event::CpuNumber { .. }
            | Event::Barrier { .. }
            | Event::Spin { .. } => {}
        }
        self.tell_news();
    }

    fn table_store(&mut self, at: Moment, event: Event) {
        let Event::TableStore { ra, old, new, step } = event else {
            return;
        };
        if history::is_news(ra, old, new) {
            self.log.happened(at, Happened::Hardware(event));
        }
        let duplicate = self.duplicate_hpte.table_store(ra, old, new);
        if let Some(duplicate) = duplicate {
            self.log.broken(duplicate_hpte::NAME, at, &duplicate);
        }
        self.stuck_lock.table_store(at, ra, old, new, step);
        self.served.table_store(ra, new);
        if let Some(page) = page::born(self.hpt_base, ra, old, new) {
            if let Some(escape) = self.batch_escape.born(ra, page, duplicate.is_some()) {
                self.log.broken(batch_escape::NAME, at, &escape);
            }
            self.served.born(ra, page);
        }
    }

    /// The run did not end of itself: what its tasks hold they may still have given back.
    pub fn cut_short(&mut self) {
        self.stuck_lock.cut_short();
    }

    /// The run is over: what is still pending now will never be done.
    pub fn end_of_run(&mut self, at: Moment) {
        let Monitor {
            lost_flush,
            stuck_lock,
            log,
            ..
        } = self;
        stuck_lock.end_of_run(&mut |stuck| log.broken(stuck_lock::NAME, at, &stuck));
        lost_flush.end_of_run(&mut |lost| log.broken(lost_flush::NAME, at, &lost));
    }

    /// How many tracepoints told of a page, its PTE or its flush.
    pub(crate) fn told(&self) -> u64 {
        self.told
    }

    /// What changes whenever [`Monitor::told`] or [`Monitor::broken`] does, while the run goes on.
    pub(crate) fn news(&self) -> Arc<AtomicU64> {
        self.news.clone()
    }

    /// How many rules broke.
    pub fn broken_count(&self) -> usize {
        self.log.violations.len()
    }

    /// Names of the rules that broke, in the order of [`NAMES`].
    pub fn broken(&self) -> Vec<&'static str> {
        let broke = |name: &&'static str| self.log.violations.contains_key(*name);
        NAMES.iter().copied().filter(broke).collect()
    }

    /// What broke, one report for each rule that did, in the order of [`NAMES`].
    pub fn violations(&self) -> Vec<ViolationReport> {
        NAMES
            .iter()
            .filter_map(|name| self.log.violations.get(name).cloned())
            .collect()
    }

    /// Invalidations within a batch flush for pages already flushed and not queued again since.
    /// Exact as long as no more than 4096 pages were flushed in between.
    pub fn flushes_repeated(&self) -> u64 {
        self.lost_flush.repeated()
    }

    /// Entries queued so far.
    pub fn queued(&self) -> u64 {
        self.lost_flush.queued()
    }

    /// Queued entries whose page the hardware was seen to invalidate afterwards.
    pub fn flushed(&self) -> u64 {
        self.lost_flush.flushed()
    }
}

#[cfg(test)]
mod tests;
