//! Replay of a capture: each recorded task does its recorded operations, in file order, on its recorded
//! CPU.
//!
//! Owns the hand-over of the turn from task to task, by the modelled kernel's own sleep and wake-up. It
//! uses allocations, frees, touches and marks only; what the capture says about flushes and inserts is
//! compared, never executed. Refuses to die of a capture that does not add up: what does not fit the
//! state is counted as an anomaly and left out.

use super::Meter;
use crate::kernel::Linux;
use crate::report::{CounterValues, GroupComparison, Segment};
use crate::task::TaskSpec;
use crate::trace::{Op, Ops, PreExisting, TaskId, TraceError, TraceOp};
use emu_core::{CpuId, Ctx, Run};
use emu_mmu::Ea;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Tasks made for a replay at most; operations of further ones are done by whoever runs.
const TASKS_MAX: usize = 4096;

/// The state of a replay, shared by its tasks. Only the task whose turn it is moves it on.
#[derive(Debug)]
pub(crate) struct Replayer {
    state: Mutex<State>,
    meter: Arc<Meter>,
    pre_existing: Vec<PreExisting>,
}

#[derive(Debug)]
struct State {
    ops: Ops,
    next: Option<TraceOp>,
    tasks: HashMap<u32, Ea>,
    open: Vec<OpenSegment>,
    results: ReplayResults,
}

#[derive(Debug)]
struct OpenSegment {
    name: String,
    at_begin: CounterValues,
    batches_at_begin: usize,
}

/// What a replay found.
#[derive(Debug, Default)]
pub(crate) struct ReplayResults {
    pub operations: u64,
    pub segments: Vec<Segment>,
    pub groups: Option<GroupComparison>,
    pub anomalies: BTreeMap<String, u64>,
    pub error: Option<TraceError>,
}

enum Turn {
    Mine(CpuId),
    Other(TaskId, CpuId),
    Done,
}

impl Replayer {
    /// A replay of `ops` over areas that existed before.
    pub(crate) fn new(ops: Ops, pre_existing: Vec<PreExisting>, meter: Arc<Meter>) -> Arc<Self> {
        let mut state = State {
            ops,
            next: None,
            tasks: HashMap::new(),
            open: Vec::new(),
            results: ReplayResults::default(),
        };
        state.read_next();
        Arc::new(Replayer {
            state: Mutex::new(state),
            meter,
            pre_existing,
        })
    }

    /// Starts the first task. It maps what existed before the capture began.
    pub(crate) fn start(self: &Arc<Self>, linux: &Arc<Linux>, cx: &mut Ctx<'_>) -> Run<()> {
        let first = self
            .state
            .lock()
            .next
            .as_ref()
            .map(|op| (op.task, CpuId(op.cpu)));
        let (comm, pid, cpu) = match first {
            Some((id, cpu)) => (name_of(&id), id.pid, cpu),
            None => ("replay".to_owned(), 1, CpuId(0)),
        };
        self.spawn(linux, cx, comm, pid, cpu, true).map(|_| ())
    }

    /// What it found; for after the run.
    pub(crate) fn results(&self) -> ReplayResults {
        std::mem::take(&mut self.state.lock().results)
    }

    fn spawn(
        self: &Arc<Self>,
        linux: &Arc<Linux>,
        cx: &mut Ctx<'_>,
        comm: String,
        pid: u32,
        cpu: CpuId,
        first: bool,
    ) -> Run<bool> {
        let replayer = self.clone();
        let cpu = CpuId(cpu.0.min(linux.cpus - 1));
        let spec = TaskSpec {
            comm,
            pid: Some(pid),
            stack: None,
            cpus_allowed: linux.allowed(cpu),
            cpu,
            mm: None,
            body: Box::new(move |linux, cx| {
                if first {
                    replayer.map_pre_existing(linux, cx)?;
                }
                replayer.task(linux, cx, pid)
            }),
        };
        match linux.spawn_task(cx, spec)? {
            Ok(address) => {
                self.state.lock().tasks.insert(pid, address);
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }

    fn map_pre_existing(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        for area in &self.pre_existing {
            let (start, end) = (Ea::new(area.start), Ea::new(area.end));
            if linux.vmalloc_at(cx, start, end, area.size_bytes)?.is_err() {
                self.anomaly("area from before the capture could not be mapped");
            }
        }
        linux.reset_counters(cx);
        Ok(())
    }

    fn anomaly(&self, reason: &str) {
        *self
            .state
            .lock()
            .results
            .anomalies
            .entry(reason.to_owned())
            .or_default() += 1;
    }

    /// A task of the capture: does its operations when it is its turn, sleeps otherwise.
    fn task(self: &Arc<Self>, linux: &Arc<Linux>, cx: &mut Ctx<'_>, pid: u32) -> Run<()> {
        loop {
            match self.turn(pid) {
                Turn::Done => return self.wake_everybody(linux, cx),
                Turn::Mine(cpu) if linux.may_move_to(cx, cpu) => {
                    linux.migrate_current(cx, cpu)?;
                }
                Turn::Mine(_) => self.step(linux, cx)?,
                Turn::Other(id, cpu) => {
                    if self.hand_over(linux, cx, id, cpu)? {
                        linux.sleep_unless(cx, |_| self.wanted(pid))?;
                    } else {
                        self.anomaly("task that could not be made; done by another");
                        self.step(linux, cx)?;
                    }
                }
            }
        }
    }

    fn turn(&self, pid: u32) -> Turn {
        match &self.state.lock().next {
            None => Turn::Done,
            Some(op) if op.task.pid == pid => Turn::Mine(CpuId(op.cpu)),
            Some(op) => Turn::Other(op.task, CpuId(op.cpu)),
        }
    }

    fn wanted(&self, pid: u32) -> bool {
        self.state
            .lock()
            .next
            .as_ref()
            .is_none_or(|op| op.task.pid == pid)
    }

    /// Wakes the task whose turn it is, or makes it. False if there is no room for it.
    fn hand_over(
        self: &Arc<Self>,
        linux: &Arc<Linux>,
        cx: &mut Ctx<'_>,
        id: TaskId,
        cpu: CpuId,
    ) -> Run<bool> {
        let (known, room) = {
            let state = self.state.lock();
            (
                state.tasks.get(&id.pid).copied(),
                state.tasks.len() < TASKS_MAX,
            )
        };
        match known {
            Some(address) => {
                linux.wake_up_on(cx, address, Some(cpu))?;
                Ok(true)
            }
            None if room => self.spawn(linux, cx, name_of(&id), id.pid, cpu, false),
            None => Ok(false),
        }
    }

    fn wake_everybody(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        let mut sleepers: Vec<Ea> = self
            .state
            .lock()
            .tasks
            .drain()
            .map(|(_, address)| address)
            .collect();
        sleepers.sort();
        let own = Ea::new(cx.local());
        for sleeper in sleepers {
            if sleeper != own {
                linux.wake_up(cx, sleeper)?;
            }
        }
        Ok(())
    }

    /// Does the operation whose turn it is.
    fn step(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        let Some(op) = self.state.lock().next.take() else {
            return Ok(());
        };
        match &op.op {
            Op::Map {
                start,
                end,
                size_bytes,
                ..
            } => {
                let (start, end) = (Ea::new(*start), Ea::new(*end));
                if let Err(errno) = linux.vmalloc_at(cx, start, end, *size_bytes)? {
                    self.anomaly(&format!("area not mapped: {errno:?}"));
                }
            }
            Op::Unmap { addr } => {
                if !linux.vfree(cx, Ea::new(*addr))? {
                    self.anomaly("free of an area that is not there");
                }
            }
            Op::Touch {
                addr,
                write,
                recorded_group,
                ..
            } => {
                let ea = Ea::new(*addr);
                if linux.is_mapped(cx, ea) {
                    linux.touch(cx, ea, *write)?;
                    self.compare_group(linux, ea, *recorded_group);
                } else {
                    self.anomaly("touch of an address that is not mapped");
                }
            }
            Op::Begin(name) => self.begin_segment(linux, cx, name),
            Op::End(name) => self.end_segment(linux, cx, name),
        }
        self.meter.step();
        let mut state = self.state.lock();
        state.results.operations += 1;
        state.read_next();
        Ok(())
    }

    fn compare_group(&self, linux: &Linux, ea: Ea, recorded: Option<u64>) {
        let Some(recorded) = recorded else { return };
        let page = linux.kernel_page(ea);
        let hash = page.vpn.hash(page.segment, page.size);
        let mut state = self.state.lock();
        let groups = state.results.groups.get_or_insert_default();
        if linux.hpt.primary(hash).0 == recorded {
            groups.matched += 1;
        } else {
            groups.mismatched += 1;
        }
    }

    fn begin_segment(&self, linux: &Linux, cx: &Ctx<'_>, name: &str) {
        let mut batches = linux.open_batches.lock();
        let batches_at_begin = batches.get_or_insert_default().len();
        self.state.lock().open.push(OpenSegment {
            name: name.to_owned(),
            at_begin: linux.counter_values(cx.machine()),
            batches_at_begin,
        });
    }

    fn end_segment(&self, linux: &Linux, cx: &Ctx<'_>, name: &str) {
        let mut state = self.state.lock();
        let Some(at) = state.open.iter().rposition(|open| open.name == name) else {
            *state
                .results
                .anomalies
                .entry("end of a segment without its begin".into())
                .or_default() += 1;
            return;
        };
        let open = state.open.remove(at);
        let mut batches = linux.open_batches.lock();
        let all = batches.get_or_insert_default();
        let segment = Segment {
            name: open.name,
            counters: linux.counter_values(cx.machine()).since(&open.at_begin),
            batches: all
                .get(open.batches_at_begin..)
                .unwrap_or_default()
                .to_vec(),
        };
        if state.open.is_empty() {
            *batches = None;
        }
        state.results.segments.push(segment);
    }
}

impl State {
    fn read_next(&mut self) {
        self.next = match self.ops.next() {
            Some(Ok(op)) => Some(op),
            Some(Err(error)) => {
                self.results.error = Some(error);
                None
            }
            None => None,
        };
    }
}

fn name_of(id: &TaskId) -> String {
    String::from_utf8_lossy(id.comm.as_bytes()).into_owned()
}
