//! What all CPUs of a machine share: guest memory, the hash table's place, costs, mailboxes.
//!
//! Owns the shared hardware. Refuses per-CPU state and anything of the guest's.

use crate::Cycles;
use crate::board::Board;
use crate::cpu::{Cpu, CpuId};
use crate::engine::EngineError;
use crate::exception::Vectors;
use crate::guest::{ContextId, Newborn};
use crate::interp::Code;
use crate::probe::{Event, Interest, Observer};
use crate::scheduler::{Choice, Options, Scheduler};
use crate::timing::{CostTable, InvalidationBus, SharedCaches};
use emu_mmu::{Ea, GuestMemory, Hpt, MemoryError, MmuGeometry, Ra, TlbInvalidate};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The shape of a machine.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// Number of CPUs, 1 to 64.
    pub cpus: u16,
    /// Guest memory in bytes, a multiple of the host page size.
    pub memory_bytes: u64,
    /// Where the hash table lies and how large it is.
    pub hpt: Hpt,
    /// Sizes of each CPU's SLB, ERATs and TLB.
    pub geometry: MmuGeometry,
    /// What each step costs.
    pub costs: CostTable,
    /// Most cycles that one CPU may run ahead of another.
    pub quantum: Cycles,
}

impl MachineConfig {
    /// Most CPUs a machine may have.
    pub const CPUS_MAX: u16 = 64;

    /// One CPU, 16 MiB, the smallest hash table at 8 MiB, one cycle a step: for examples and tests.
    ///
    /// # Panics
    /// Never: its figures are constants that a test checks.
    pub fn small_test() -> Self {
        MachineConfig {
            cpus: 1,
            memory_bytes: 16 << 20,
            hpt: Hpt::new(emu_mmu::Ra::new(8 << 20), 11).expect("a legal table"),
            geometry: MmuGeometry::PPC970,
            costs: CostTable::functional(),
            quantum: Cycles::new(1000),
        }
    }
}

/// Bytes of a page that is watched as a whole.
const WATCH_PAGE_BYTES: u64 = 4096;

/// What all CPUs share.
pub struct Machine {
    pub(crate) memory: GuestMemory,
    pub(crate) hpt: Hpt,
    pub(crate) costs: CostTable,
    /// Unless there is no timing.
    pub(crate) caches: Option<SharedCaches>,
    pub(crate) bus: InvalidationBus,
    pub(crate) cpus: u16,
    pub(crate) vectors: OnceLock<Arc<dyn Vectors>>,
    pub(crate) board: Board<TlbInvalidate>,
    /// Each CPU has a host thread now.
    pub(crate) threads: AtomicBool,
    /// An exploration lets invalidations come late.
    pub(crate) late: AtomicBool,
    pub(crate) newborn: Mutex<Vec<(ContextId, Newborn)>>,
    code: OnceLock<Code>,
    pub(crate) contexts_free: Mutex<Vec<ContextId>>,
    pub(crate) contexts_count: AtomicU32,
    pub(crate) scheduler: Mutex<Box<dyn Scheduler>>,
    /// The scheduler need not be asked.
    follows_clocks: bool,
    pub(crate) stop: AtomicBool,
    irqs_off_max: AtomicU64,
    observer: OnceLock<Mutex<Box<dyn Observer>>>,
    interest: AtomicU32,
    quiet: std::ops::Range<u64>,
    /// A bit for each 4K page of memory; empty if nobody wants its stores.
    watched: Vec<AtomicU64>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("cpus", &self.cpus)
            .field("hpt", &self.hpt)
            .finish()
    }
}

impl Machine {
    pub(crate) fn new(
        config: MachineConfig,
        scheduler: Box<dyn Scheduler>,
        observer: Option<Box<dyn Observer>>,
    ) -> Result<Self, EngineError> {
        if config.cpus == 0 || config.cpus > MachineConfig::CPUS_MAX {
            return Err(EngineError::CpuCount(config.cpus));
        }
        let end = config.hpt.base().get() + config.hpt.size_bytes();
        if end > config.memory_bytes {
            return Err(EngineError::TableOutsideMemory {
                end,
                memory: config.memory_bytes,
            });
        }
        let interest = observer.as_ref().map_or(Interest::NONE, |o| o.interest());
        let quiet = observer.as_ref().map_or(0..0, |o| o.quiet_addresses());
        let watched = match interest.contains(Interest::WATCHED_STORES) {
            true => config.memory_bytes.div_ceil(WATCH_PAGE_BYTES * 64),
            false => 0,
        };
        let cell = OnceLock::new();
        if let Some(observer) = observer {
            let _ = cell.set(Mutex::new(observer));
        }
        Ok(Machine {
            memory: GuestMemory::new(config.memory_bytes)?,
            hpt: config.hpt,
            caches: (config.costs.has_caches())
                .then(|| SharedCaches::new(&config.costs, config.cpus, config.memory_bytes))
                .transpose()?,
            bus: InvalidationBus::new(config.cpus),
            costs: config.costs,
            cpus: config.cpus,
            vectors: OnceLock::new(),
            board: Board::new(usize::from(config.cpus)),
            threads: AtomicBool::new(false),
            late: AtomicBool::new(false),
            newborn: Mutex::new(Vec::new()),
            code: OnceLock::new(),
            contexts_free: Mutex::new(Vec::new()),
            contexts_count: AtomicU32::new(0),
            follows_clocks: scheduler.follows_clocks(),
            scheduler: Mutex::new(scheduler),
            stop: AtomicBool::new(false),
            irqs_off_max: AtomicU64::new(0),
            observer: cell,
            interest: AtomicU32::new(interest.bits()),
            quiet,
            watched: (0..watched).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// Guest memory. Guest code reaches it by the verbs of [`crate::Ctx`]; this is for set-up before a
    /// run and for reading results after one.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// The hash table's place and size.
    pub fn hpt(&self) -> &Hpt {
        &self.hpt
    }

    /// The costs of this machine.
    pub fn costs(&self) -> &CostTable {
        &self.costs
    }

    /// Number of CPUs.
    pub fn cpus(&self) -> u16 {
        self.cpus
    }

    /// Installs the guest's interrupt vectors. Later calls are ignored: a machine boots once.
    pub fn set_vectors(&self, vectors: Arc<dyn Vectors>) {
        let _ = self.vectors.set(vectors);
    }

    /// Asks the engine to end the run; guest code unwinds at its next verb that attends to the engine.
    pub fn request_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.board.ring();
    }

    /// Longest span with external interrupts disabled on any CPU, exceptions that disable them and
    /// hypervisor calls included, idle excluded; since the run began or [`Machine::forget_irqs_off`].
    pub fn irqs_off_max(&self) -> Cycles {
        Cycles::new(self.irqs_off_max.load(Ordering::Relaxed))
    }

    /// Forgets the spans so far: they were preparation.
    pub fn forget_irqs_off(&self) {
        self.irqs_off_max.store(0, Ordering::Relaxed);
    }

    /// Notes a span; true if none was longer.
    #[inline]
    pub(crate) fn note_irqs_off(&self, span: Cycles) -> bool {
        // A plain load: nearly every span is short.
        span.get() > self.irqs_off_max.load(Ordering::Relaxed)
            && self.irqs_off_max.fetch_max(span.get(), Ordering::Relaxed) < span.get()
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Stores `new` over `old`; false if something else stands there. On one host thread nobody can come
    /// between, and the host's locked instruction is spared.
    #[inline]
    pub(crate) fn replace_u64(&self, ra: Ra, old: u64, new: u64) -> Result<bool, MemoryError> {
        if self.runs_threads() {
            return Ok(self.memory.compare_exchange_u64(ra, old, new)?.is_ok());
        }
        let same = self.memory.load_u64(ra)? == old;
        if same {
            self.memory.store_u64(ra, new)?;
        }
        Ok(same)
    }

    /// True if each CPU has a host thread now.
    #[inline(always)]
    pub(crate) fn runs_threads(&self) -> bool {
        self.threads.load(Ordering::Relaxed)
    }

    pub(crate) fn choose(&self, kind: Choice, options: Options) -> u64 {
        if self.follows_clocks {
            return options.clocked;
        }
        self.scheduler.lock().choose(kind, options)
    }

    /// What the observer hears from each CPU's next budget on. Watched stores only if it asked for them before
    /// the run.
    pub fn set_interest(&self, interest: Interest) {
        self.interest.store(interest.bits(), Ordering::Relaxed);
    }

    /// True if an observer wants anything at all.
    #[inline(always)]
    pub(crate) fn is_observed(&self) -> bool {
        self.interest.load(Ordering::Relaxed) != 0
    }

    /// True if the observer may want a load or store at `ea`, but for what a store does at a place it asks
    /// for ([`Machine::hears_store`]).
    #[inline(always)]
    pub(crate) fn hears_access(&self, ea: Ea) -> bool {
        let interest = Interest::from_bits(self.interest.load(Ordering::Relaxed));
        interest.contains(Interest::ACCESSES)
            || interest.contains(Interest::TRANSLATIONS) && !self.quiet.contains(&ea.get())
    }

    /// True if the observer may want the store of a doubleword at `ra`.
    #[inline(always)]
    pub(crate) fn hears_store(&self, ra: Ra) -> bool {
        self.is_observed() && (self.hpt.contains(ra) || self.watches(ra))
    }

    #[inline(always)]
    pub(crate) fn wants(&self, interest: Interest) -> bool {
        Interest::from_bits(self.interest.load(Ordering::Relaxed)).contains(interest)
    }

    /// Watches the 4K page at a real address, or no longer: the observer hears of each doubleword
    /// stored there, if it asked for [`Interest::WATCHED_STORES`]. Nothing else changes.
    pub fn watch_page(&self, ra: Ra, watch: bool) {
        let page = ra.get() / WATCH_PAGE_BYTES;
        if let Some(word) = self.watched.get((page / 64) as usize) {
            let bit = 1 << (page % 64);
            match watch {
                true => word.fetch_or(bit, Ordering::Relaxed),
                false => word.fetch_and(!bit, Ordering::Relaxed),
            };
        }
    }

    /// True if the page of `ra` is watched.
    #[inline]
    pub(crate) fn watches(&self, ra: Ra) -> bool {
        let page = ra.get() / WATCH_PAGE_BYTES;
        self.watched
            .get((page / 64) as usize)
            .is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (page % 64)) != 0)
    }

    /// True if the observer wants the translation of `ea`.
    #[inline(always)]
    pub(crate) fn wants_translation(&self, ea: Ea) -> bool {
        self.wants(Interest::TRANSLATIONS) && !self.quiet.contains(&ea.get())
    }

    /// True if the observer might ever want the translation of `ea`.
    pub(crate) fn may_want_translation(&self, ea: Ea) -> bool {
        !self.quiet.contains(&ea.get())
    }

    pub(crate) fn observe(&self, cpu: CpuId, now: Cycles, event: Event) {
        if let Some(observer) = self.observer.get() {
            observer.lock().observe(cpu, now, event);
        }
    }

    /// Sends an inter-processor interrupt; false if that CPU is not there.
    pub(crate) fn send_ipi(&self, cpu: &mut Cpu, to: u64) -> bool {
        let at = cpu.clock + Cycles::new(self.costs.ipi);
        let sent = to < u64::from(self.cpus) && self.board.send_interrupt(to as usize, at.get());
        if sent {
            // The receiver may have been waiting with nothing due, so this CPU's budget took no account
            // of it.
            cpu.budget_end = cpu.budget_end.min(at);
            cpu.set_deadline();
        }
        sent
    }

    /// Instructions that interpreters decoded.
    pub(crate) fn code(&self) -> &Code {
        self.code.get_or_init(|| Code::new(self.memory.len()))
    }

    /// Puts instruction or data words into guest memory, big-endian, and forgets what was decoded from
    /// there.
    ///
    /// # Errors
    /// An address outside memory or not aligned to a word.
    pub fn load_words(&self, at: Ra, words: &[u32]) -> Result<(), MemoryError> {
        for (i, &word) in words.iter().enumerate() {
            let ra = Ra::new(at.get() + 4 * i as u64);
            self.memory.store_u32(ra, word)?;
            self.code().written(ra, 4);
        }
        Ok(())
    }

    /// Tells the observer, if it wants events of this class.
    #[inline(always)]
    pub(crate) fn note(&self, cpu: &Cpu, class: Interest, event: impl FnOnce() -> Event) {
        if self.wants(class) {
            self.observe(cpu.id, cpu.clock, event());
        }
    }

    pub(crate) fn new_context_id(&self) -> ContextId {
        self.contexts_free.lock().pop().unwrap_or_else(|| {
            ContextId::from_index(self.contexts_count.fetch_add(1, Ordering::Relaxed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_machine_is_legal() {
        let config = MachineConfig::small_test();
        assert!(config.hpt.base().get() + config.hpt.size_bytes() <= config.memory_bytes);
    }
}
