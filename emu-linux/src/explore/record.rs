//! What each step of a recorded run did: where, and whether somebody else could tell.

use super::step::{StepRecord, Touches};
use crate::config::Preempt;
use crate::invariant::{Monitor, SharedMonitor};
use crate::kernel::Linux;
use crate::layout::pa;
use crate::memmap::{field, pcpu, percpu, task};
use emu_core::explore::{StepView, Watch};
use emu_core::{CpuId, Cycles, Event, Interest, Observer};
use emu_mmu::{Ea, GuestMemory, Hpt};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Vectors that are kept for their room.
const SPARE_MAX: usize = 32;

/// Tasks that wait for their turn on a CPU.
fn waiting_on(memory: &GuestMemory, cpu: u16) -> u64 {
    let at = field(percpu(cpu), pcpu::RQ_WAITING);
    memory.load_u64(pa(at)).unwrap_or(0)
}

/// CPUs that wait, a bit each, and would find a task to pull.
fn could_pull(memory: &GuestMemory, waiting: u64, cpus: u16) -> u64 {
    let most = (0..cpus).map(|cpu| waiting_on(memory, cpu)).max();
    let pulls = |cpu: &u16| waiting >> cpu & 1 == 1 && Some(waiting_on(memory, *cpu)) < most;
    (0..cpus).filter(pulls).map(|cpu| 1 << cpu).sum()
}

/// Listens to the machine for the checkers and, in a recorded run, for the steps.
pub(super) struct Recorder {
    monitor: Arc<SharedMonitor>,
    hpt: Hpt,
    steps: Vec<StepRecord>,
    /// Room for the steps of other runs.
    spare: Vec<Vec<StepRecord>>,
    /// Index of the last step of each CPU.
    last: Vec<usize>,
    /// What the monitor had been told of pages before the last step.
    told: u64,
    /// Changes with what the monitor was told and what broke.
    news: Arc<AtomicU64>,
    /// What it was before the last step.
    heard: u64,
    /// What has broken so far, and at which step.
    broke_at: Vec<(&'static str, u64)>,
    /// Pages of 4K outside the linear map that were accessed.
    pages: BTreeSet<u64>,
    /// A ptesync changes the TLBs of other CPUs: invalidations come late.
    pub late: bool,
    /// Each step is told with a hash of the state before it.
    pub hashes_states: bool,
}

impl Recorder {
    /// Guest memory, the CPUs, the checkers, what the kernel model keeps beside memory, and all that each task's
    /// verbs returned.
    fn state_hash(&self, linux: &Linux, view: &StepView<'_>) -> u64 {
        let mut to = DefaultHasher::new();
        view.machine().memory().journal_hash().hash(&mut to);
        (view.cpu(), view.hardware_hash()).hash(&mut to);
        match view.contexts_hash() {
            Some(hash) => hash.hash(&mut to),
            // Like no other.
            None => (self.steps.len(), std::ptr::from_ref(self).addr()).hash(&mut to),
        }
        self.monitor
            .with(|monitor| monitor.state_hash())
            .hash(&mut to);
        linux.kept.values().hash_state(&mut to);
        to.finish()
    }

    pub fn new(monitor: Arc<SharedMonitor>, hpt: Hpt) -> Self {
        let news = monitor.with(|monitor| monitor.news());
        Recorder {
            monitor,
            hpt,
            steps: Vec::new(),
            spare: Vec::new(),
            last: Vec::new(),
            told: 0,
            news,
            heard: 0,
            broke_at: Vec::new(),
            pages: BTreeSet::new(),
            late: false,
            hashes_states: false,
        }
    }

    /// Addresses of the pages that were accessed in this run and those before.
    pub fn pages(&self) -> impl Iterator<Item = Ea> {
        self.pages.iter().map(|page| Ea::new(page << 12))
    }

    /// A recorded run begins.
    pub fn begin(&mut self) {
        self.steps.clear();
        self.last.clear();
        self.broke_at.clear();
        self.told = self.monitor.with(|monitor| monitor.told());
        self.heard = self.news.load(Ordering::Relaxed);
    }

    /// A recorded run begins in the midst, before the last step of `before`: with the steps of a run that parts
    /// from it there, and what that one broke.
    pub fn begin_after(&mut self, before: &[StepRecord], broke_at: &[(&'static str, u64)]) {
        self.begin();
        self.steps.extend_from_slice(before);
        if let Some(step) = self.steps.last_mut() {
            (step.label, step.touches) = (None, Touches::default());
        }
        for (index, step) in self.steps.iter().enumerate() {
            let cpu = step.cpu.index();
            self.last.resize(self.last.len().max(cpu + 1), usize::MAX);
            self.last[cpu] = index;
        }
        let broken = self.monitor.with(|monitor| monitor.broken());
        let so_far = broke_at.iter().filter(|(kind, _)| broken.contains(kind));
        self.broke_at.extend(so_far);
    }

    /// The steps of the run, and what broke at which.
    pub fn take(&mut self) -> (Vec<StepRecord>, Vec<(&'static str, u64)>) {
        self.note_checked();
        let room = self.spare.pop().unwrap_or_default();
        (
            std::mem::replace(&mut self.steps, room),
            std::mem::take(&mut self.broke_at),
        )
    }

    /// Takes room that nobody needs any more.
    pub fn give_back(&mut self, steps: Vec<StepRecord>) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(steps);
        }
    }

    /// What the checkers were told with the step before, and what broke.
    #[inline]
    fn note_checked(&mut self) {
        let news = self.news.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.heard, news) != news {
            self.note_news();
        }
    }

    #[cold]
    fn note_news(&mut self) {
        let (told, broken) =
            (self.monitor).with(|monitor| (monitor.told(), monitor.broken_count()));
        if std::mem::replace(&mut self.told, told) != told
            && let Some(step) = self.steps.last_mut()
        {
            step.touches.mmu = true;
        }
        if broken == self.broke_at.len() {
            return;
        }
        let step = self.steps.last().map_or(0, |step| step.step);
        for kind in self.monitor.with(|monitor| monitor.broken()) {
            if self.broke_at.iter().all(|(known, _)| *known != kind) {
                self.broke_at.push((kind, step));
            }
        }
    }

    /// A step is about to be made.
    pub fn step(&mut self, linux: &Linux, view: &StepView<'_>) {
        self.note_checked();
        let cpu = view.cpu().index();
        if cpu >= self.last.len() {
            self.last.resize(cpu + 1, usize::MAX);
        }
        self.last[cpu] = self.steps.len();
        let memory = view.machine().memory();
        let load = |at: Ea| memory.load_u64(pa(at)).unwrap_or(0);
        let may_switch = || {
            let count = field(Ea::new(view.local()), task::PREEMPT_COUNT);
            linux.preempt == Preempt::None || load(count) == 0
        };
        let others_wait = || waiting_on(memory, view.cpu().0) > 0;
        self.steps.push(StepRecord {
            step: view.step(),
            cpu: view.cpu(),
            task: view.local(),
            depth: view.depth(),
            interrupted: view.interrupted(),
            label: None,
            touches: Touches::default(),
            preemptible: view.interrupts_enabled() && others_wait() && may_switch(),
            ready: view.ready(),
            could_pull: match view.waiting() {
                0 => 0,
                waiting => could_pull(memory, waiting, linux.cpus),
            },
            state: match self.hashes_states {
                true => self.state_hash(linux, view),
                false => memory.journal_hash(),
            },
        });
    }

    /// What a step does.
    #[inline]
    fn note(&mut self, cpu: CpuId, event: &Event) {
        let last = self.last.get(cpu.index());
        let Some(step) = last.and_then(|&last| self.steps.get_mut(last)) else {
            return;
        };
        match *event {
            Event::Access {
                ra,
                store,
                step: label,
            } => {
                step.label = Some(label);
                step.touches.add(ra, store);
                step.touches.mmu |= store && self.hpt.contains(ra);
            }
            Event::CpuNumber { step: label } => {
                step.label = Some(label);
                step.touches.cpu_number = true;
            }
            Event::Invalidate { step: label, .. } => {
                step.label = Some(label);
                step.touches.mmu = true;
            }
            Event::Barrier { step: label, .. } | Event::Spin { step: label } => {
                step.label = Some(label);
            }
            Event::Translated { ea, .. } => {
                self.pages.insert(ea.get() >> 12);
                step.touches.mmu = true;
            }
            Event::Ptesync => step.touches.mmu |= self.late,
            Event::Interrupt
            | Event::Switch
            | Event::TableStore { .. }
            | Event::WatchedStore { .. } => {}
        }
    }
}

/// What the machine told while a run was recorded, until the recorder takes it: it is told in the midst of a step.
#[derive(Default)]
pub(super) struct Heard {
    /// A run is recorded now.
    records: AtomicBool,
    any: AtomicBool,
    events: Mutex<Vec<(CpuId, Event)>>,
}

/// The recorder as the machine knows it.
pub(super) struct Listener {
    pub heard: Arc<Heard>,
    pub monitor: Arc<SharedMonitor>,
}

impl Observer for Listener {
    fn interest(&self) -> Interest {
        Monitor::INTEREST
    }

    fn quiet_addresses(&self) -> Range<u64> {
        Monitor::QUIET
    }

    fn observe(&mut self, cpu: CpuId, now: Cycles, event: Event) {
        if self.heard.records.load(Ordering::Relaxed) {
            self.heard.events.lock().push((cpu, event));
            self.heard.any.store(true, Ordering::Relaxed);
        }
        self.monitor
            .with(|monitor| monitor.hardware(cpu, now, event));
    }
}

/// Records a run that is watched.
pub(super) struct Recording<'a> {
    recorder: &'a mut Recorder,
    heard: &'a Heard,
    linux: &'a Linux,
}

impl<'a> Recording<'a> {
    pub fn new(recorder: &'a mut Recorder, heard: &'a Heard, linux: &'a Linux) -> Self {
        heard.events.lock().clear();
        heard.records.store(true, Ordering::Relaxed);
        Recording {
            recorder,
            heard,
            linux,
        }
    }

    /// The last step is over.
    #[inline]
    fn take_heard(&mut self) {
        if self.heard.any.load(Ordering::Relaxed) {
            self.take_all();
        }
    }

    #[cold]
    #[inline(never)]
    fn take_all(&mut self) {
        self.heard.any.store(false, Ordering::Relaxed);
        for (cpu, event) in self.heard.events.lock().drain(..) {
            self.recorder.note(cpu, &event);
        }
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.take_heard();
        self.heard.records.store(false, Ordering::Relaxed);
    }
}

impl Watch for Recording<'_> {
    fn step(&mut self, view: StepView<'_>) {
        self.take_heard();
        self.recorder.step(self.linux, &view);
    }

    fn hears_accesses(&self) -> bool {
        true
    }

    fn access(&mut self, cpu: CpuId, event: Event) {
        self.recorder.note(cpu, &event);
    }
}
