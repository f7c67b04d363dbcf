//! The modelled kernel: its fixed configuration, and boot.
//!
//! Owns what never changes after boot and the sinks of reports. Refuses shared mutable state: that lies
//! in guest memory (`memmap`).

use crate::config::{Backend, KernelVersion, Pages, Preempt, RunConfig, RunError};
use crate::disturbance::Disturbances;
use crate::functions::{Func, FunctionCosts};
use crate::hash_lpar::block_remove_is_offered;
use crate::injection::FailedAllocation;
use crate::invariant::SharedMonitor;
use crate::kept::Kept;
use crate::latency::Latencies;
use crate::layout::{Layout, va};
use crate::lazy_mmu::LazyMmuPolicy;
use crate::leaks::Ledger;
use crate::machine::{hpte_page, machine_of};
use crate::memmap::{self, field, global, pcpu};
use crate::mm::Mm;
use crate::pgtable::TableLevel;
use crate::printk::{KernelLog, Ratelimit};
use crate::report::{CounterValues, Counters, KernelReport};
use crate::span::LongestSpans;
use crate::symbols::SymbolTable;
use crate::timeline::Timeline;
use crate::timing::Timing;
use crate::tracepoint::{Moment, Tracepoint};
use emu_core::{Beside, Ctx, Cycles, MachineConfig, Run};
use emu_mmu::{Ea, Esid, Hpt, HpteR, HpteV, PageSize, Ra, SegmentSize, Vsid};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An error of kernel code: a value, not the end of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    /// -ENOMEM.
    NoMemory,
    /// -EBUSY.
    Busy,
    /// -EINVAL.
    Invalid,
}

/// Result of a kernel function: the run goes on, with a value or an error number.
pub type Kernel<T> = Run<Result<T, Errno>>;

/// The modelled kernel.
pub struct Linux {
    pub(crate) layout: Layout,
    /// The levels of its page tables, the PTEs' first.
    pub(crate) levels: [TableLevel; 4],
    pub(crate) policy: Box<dyn LazyMmuPolicy>,
    /// Name of the machine.
    pub(crate) machine: String,
    lockless_tlbie: bool,
    pub(crate) segment: SegmentSize,
    /// The segment that the vmalloc area begins in.
    pub(crate) first_vmalloc_segment: (Esid, Vsid),
    /// Page size of the vmalloc and user segments (mmu_vmalloc_psize, mmu_virtual_psize).
    pub(crate) hpte_page: PageSize,
    pub(crate) hpt: Hpt,
    pub(crate) backend: Backend,
    /// The firmware has H_BLOCK_REMOVE.
    pub(crate) block_remove: bool,
    pub(crate) cpus: u16,
    pub(crate) functions: FunctionCosts,
    /// 1/HZ of a second, in cycles.
    pub(crate) tick_cycles: Cycles,
    /// Entries of a flush batch (PPC64_TLB_BATCH_NR).
    pub(crate) batch_size: u64,
    pub(crate) disturbances: Disturbances,
    pub(crate) counters: Counters,
    pub(crate) open_batches: Mutex<Option<Vec<u64>>>,
    pub(crate) monitor: Option<Arc<SharedMonitor>>,
    pub(crate) symbols: SymbolTable,
    pub(crate) log: Mutex<KernelLog>,
    /// What it asks again that lies beside guest memory.
    pub(crate) kept: Arc<Kept>,
    pub(crate) reports: Mutex<Vec<KernelReport>>,
    pub(crate) reports_suppressed: AtomicU64,
    pub(crate) spans: Mutex<LongestSpans>,
    /// Somebody hears of tracepoints.
    is_traced: bool,
    /// If it was asked for.
    pub(crate) timeline: Option<Mutex<Timeline>>,
    /// Unless steps take no time.
    pub(crate) latencies: Option<Latencies>,
    pub(crate) fail_alloc: Option<u64>,
    pub(crate) failed: Mutex<Option<FailedAllocation>>,
    pub(crate) ledger: Option<Mutex<Ledger>>,
    pub(crate) fail_map: Option<u64>,
    pub(crate) preempt: Preempt,
    /// All CPUs run on one host thread.
    one_thread: bool,
    pub(crate) pin: bool,
    pub(crate) tasks_move: bool,
    /// False where the CPU of each task is given from outside (a replay).
    pub(crate) balance: bool,
    /// A page is copied with one load and one store a line, where steps count more than time.
    pub(crate) copies_lines: bool,
    /// Reports are written out. Where only steps count they are not: the steps are the same.
    pub(crate) keeps_log: bool,
    /// A bug on purpose.
    #[cfg(test)]
    pub(crate) mutation: Option<crate::mutation::Mutation>,
}

impl std::fmt::Debug for Linux {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linux")
            .field("kernel", &self.layout.version.name())
            .field("policy", &self.policy.name())
            .field("cpus", &self.cpus)
            .finish()
    }
}

/// Entries of a flush batch: the kernel's own number unless told otherwise.
fn batch_size(config: &RunConfig) -> Result<u64, RunError> {
    let range = 1..=memmap::batch::ENTRIES_MAX;
    let size = config.batch_size.unwrap_or(memmap::batch::ENTRIES);
    match range.contains(&size) {
        true => Ok(size),
        false => Err(RunError::Value {
            what: "--batch-size",
            value: size.to_string(),
            right: format!("entries of a flush batch, 1 to {}", range.end()),
        }),
    }
}

/// Milliseconds between timer interrupts: HZ = 250.
const TICK_MICROS: u64 = 4_000;

impl Linux {
    /// A kernel for a machine of the shape that [`crate::machine::machine_config`] gives.
    ///
    /// # Errors
    /// A symbol table that is damaged, HPTEs of a size that there is not.
    pub fn new(
        config: &RunConfig,
        version: KernelVersion,
        pages: Pages,
        shape: &MachineConfig,
        policy: Box<dyn LazyMmuPolicy>,
        monitor: Option<Arc<SharedMonitor>>,
        balance: bool,
    ) -> Result<Self, RunError> {
        let (machine, costs) = (machine_of(config, version)?.name().to_owned(), &shape.costs);
        let accounts = config.leaks || config.fail_alloc.is_some() || config.fail_map.is_some();
        let layout = Layout::of(version, pages);
        let tick_cycles = shape.costs.micros(TICK_MICROS);
        let functions = FunctionCosts::new(&shape.costs)
            .map_err(|name| RunError::Symbols(format!("no instruction count for `{name}`")))?;
        if let Some(monitor) = &monitor {
            monitor.with(|monitor| monitor.page_tables(&layout));
        }
        let segment = match costs.segments_1t {
            0 => SegmentSize::S256M,
            _ => SegmentSize::S1T,
        };
        let first = Ea::new(layout.vmalloc_start);
        Ok(Linux {
            layout,
            first_vmalloc_segment: (first.esid(segment), layout.kernel_vsid(first, segment)),
            levels: [0, 1, 2, 3].map(|level| TableLevel::of(&layout, level)),
            policy,
            lockless_tlbie: costs.lockless_tlbie != 0,
            segment,
            hpte_page: hpte_page(config.hpte_pages, &machine, costs.pages_64k != 0, pages)?,
            machine,
            hpt: shape.hpt,
            backend: config.backend,
            block_remove: block_remove_is_offered(config, version)?,
            cpus: shape.cpus,
            functions,
            tick_cycles,
            batch_size: batch_size(config)?,
            disturbances: Disturbances::new(config, tick_cycles),
            counters: Counters::default(),
            open_batches: Mutex::new(None),
            is_traced: monitor.is_some() || config.timeline,
            monitor,
            symbols: SymbolTable::builtin(version).map_err(|e| RunError::Symbols(e.to_string()))?,
            log: Mutex::new(KernelLog::new(shape.costs.frequency_mhz)),
            kept: Arc::new(Kept::new(
                Ratelimit::printk(shape.costs.frequency_mhz).of_kernel(version),
                !config.mode.is_unordered(shape.cpus),
            )),
            reports: Mutex::new(Vec::new()),
            reports_suppressed: AtomicU64::new(0),
            spans: Mutex::default(),
            timeline: config
                .timeline
                .then(|| Mutex::new(Timeline::new(costs.frequency_mhz))),
            latencies: (config.timing == Timing::Cycle).then(Latencies::new),
            fail_alloc: config.fail_alloc,
            failed: Mutex::new(None),
            ledger: accounts.then(Mutex::default),
            fail_map: config.fail_map,
            preempt: config.preempt,
            one_thread: !config.mode.is_unordered(shape.cpus),
            pin: config.pin,
            tasks_move: config.migrate_every.is_some() || config.mode.is_unordered(shape.cpus),
            balance,
            copies_lines: false,
            keeps_log: true,
            #[cfg(test)]
            mutation: None,
        })
    }

    /// The layout of this kernel.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Bytes of a page of this kernel.
    #[inline]
    pub(crate) const fn page_bytes(&self) -> u64 {
        self.layout.page_bytes()
    }

    /// Other pieces of a page that a workload touches at random, so that pages hashed in pieces have several.
    pub(crate) fn more_pieces(&self) -> u64 {
        match (self.layout.pages, self.hpte_page) {
            (Pages::K64, PageSize::P4K) => 2,
            _ => 0,
        }
    }

    /// The live counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// True if the CPU may have several tlbies under way (CPU_FTR_LOCKLESS_TLBIE): POWER5 and later.
    pub fn lockless_tlbie(&self) -> bool {
        self.lockless_tlbie
    }

    /// Adds to a counter. On one host thread nobody can come between, and the host's locked instruction is
    /// spared.
    #[inline]
    pub(crate) fn add(&self, counter: &AtomicU64, n: u64) {
        match self.one_thread {
            true => counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed),
            false => drop(counter.fetch_add(n, Ordering::Relaxed)),
        }
    }

    /// Adds one to a counter.
    #[inline]
    pub(crate) fn count(&self, counter: &AtomicU64) {
        self.add(counter, 1);
    }

    /// Executes the straight-line part of a function.
    #[inline(always)]
    pub(crate) fn work(&self, cx: &mut Ctx<'_>, function: Func) -> Run<()> {
        cx.retire_lump(self.functions.lump(function))
    }

    /// Whether anybody hears of tracepoints.
    #[inline]
    pub(crate) const fn is_traced(&self) -> bool {
        self.is_traced
    }

    /// Tells the checkers what happened.
    #[inline]
    pub(crate) fn trace(&self, cx: &Ctx<'_>, tracepoint: Tracepoint) {
        if self.is_traced {
            self.trace_told(cx, tracepoint);
        }
    }

    #[inline(never)]
    fn trace_told(&self, cx: &Ctx<'_>, tracepoint: Tracepoint) {
        if let Some(monitor) = &self.monitor {
            cx.beside(monitor, move |monitor, at| {
                monitor.with(|monitor| monitor.tracepoint(moment_at(at), tracepoint));
                0
            });
        }
        if self.timeline.is_some() {
            self.draw(cx, tracepoint);
        }
    }

    pub(crate) fn moment(&self, cx: &Ctx<'_>) -> Moment {
        moment_at(Beside {
            machine: cx.machine(),
            cpu: cx.cpu_id(),
            now: cx.now(),
            local: cx.local(),
        })
    }

    /// Initial state of guest memory: allocators, lists, the bolted linear map, the CPUs' SLBs are set up
    /// by [`Linux::start_secondary`] on each CPU. Runs on CPU 0 before any task.
    ///
    /// # Errors
    /// The end of the run.
    pub(crate) fn boot(&self, cx: &mut Ctx<'_>) -> Run<()> {
        self.bolt_linear_map(cx)?;
        self.setup_cpu(cx)?;
        let stores = [
            (global::ZONE_NEXT, memmap::PAGES_START),
            (global::SLAB_NEXT, memmap::SLAB_START),
            (global::STACK_NEXT, memmap::STACKS_START),
            (global::SYSTEM_STATE, 1),
            (global::NEXT_PID, 1000),
            (global::NEXT_CONTEXT, self.layout.first_user_context),
            (
                Mm::INIT.cpumask(),
                if self.layout.init_mm_cpumask_full {
                    u64::MAX
                } else {
                    0
                },
            ),
        ];
        for (ea, value) in stores {
            cx.store_u64(ea, value, "boot")?;
        }
        Ok(())
    }

    /// htab_bolt_mapping over all of memory with 16M pages, real mode.
    fn bolt_linear_map(&self, cx: &mut Ctx<'_>) -> Run<()> {
        let end = match self.backend {
            Backend::Native => cx.machine().memory().len(),
            // The hypervisor's table is not the partition's memory.
            Backend::Lpar => self.hpt.base().get(),
        };
        let step = PageSize::P16M.bytes();
        let mut ra = 0;
        while ra < end {
            let ea = va(Ra::new(ra));
            let vpn = self.kernel_page(ea).vpn;
            let hash = vpn.hash(self.segment, PageSize::P16M);
            let v = HpteV::new(vpn, self.segment, PageSize::P16M)
                .with_bolted()
                .with_valid();
            let r = HpteR::new(Ra::new(ra), PageSize::P16M, PageSize::P16M).with_flags(0x194);
            let group = self.hpt.primary(hash);
            if self.bolt(cx, group, v, r)?.is_none() {
                return Err(emu_core::Exception::Corrupt(
                    "no room to bolt the linear map",
                ));
            }
            ra += step;
        }
        // As for inserts, what boot did is not counted.
        for calls in &self.counters.hcalls {
            calls.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Bolted SLB entries of the CPU this runs on (slb_initialize).
    pub(crate) fn setup_cpu(&self, cx: &mut Ctx<'_>) -> Run<()> {
        cx.slbia(0)?;
        self.slbmte_kernel(cx, va(Ra::new(0)), 0)?;
        if self.layout.vmalloc_segment_bolted {
            self.slbmte_kernel(cx, Ea::new(self.layout.vmalloc_start), 1)?;
        }
        let rr = field(
            memmap::percpu(cx.read_cpu_id("slb_initialize")?.0),
            pcpu::STAB_RR,
        );
        cx.store_u64(rr, 3, "slb_initialize: stab_rr")
    }

    /// Microseconds of guest time that `cycles` are.
    pub(crate) fn micros(&self, cycles: u64) -> u64 {
        let scaled = cycles.saturating_mul(TICK_MICROS);
        scaled.checked_div(self.tick_cycles.get()).unwrap_or(0)
    }

    /// Forgets what preparation counted.
    pub(crate) fn reset_counters(&self, cx: &Ctx<'_>) {
        self.counters.reset();
        *self.spans.lock() = LongestSpans::default();
        self.latencies.iter().for_each(Latencies::reset);
        cx.machine().forget_irqs_off();
    }

    /// The counters now, with what the machine counts for them.
    pub(crate) fn counter_values(&self, machine: &emu_core::Machine) -> CounterValues {
        CounterValues {
            irqs_off_cycles_max: machine.irqs_off_max().get(),
            ..self.counters.values()
        }
    }
}

/// Who does something at a place, and when; reads memory without a verb.
fn moment_at(at: Beside<'_>) -> Moment {
    let pid = crate::layout::pa(Ea::new(at.local + memmap::task::PID));
    Moment {
        cpu: at.cpu,
        now: at.now,
        task: at.local,
        pid: at.machine.memory().load_u64(pid).unwrap_or(0) as u32,
    }
}
