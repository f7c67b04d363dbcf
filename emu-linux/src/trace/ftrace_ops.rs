//! The second pass over ftrace text: its records become operations.
//!
//! Owns the order of the operations and the wait of a touch for its insert record. Memory is in
//! proportion to the live areas. It refuses captures that would need more.

use super::areas::{AREAS_MAX, Areas, Step};
use super::recorded::FaultInserts;
use super::survey::Plan;
use super::synthesis::Synthesis;
use super::{Event, Op, Reader, Record, Survey, TraceError, TraceOp, Unexplained};
use std::collections::{BTreeMap, VecDeque};

/// Operations that may wait for a touch's insert record before it is given up.
const QUEUE_MAX: usize = 4096;

/// The operations of ftrace text. It ends after the first error.
#[derive(Debug)]
pub(crate) struct FtraceOps {
    reader: Reader,
    areas: Areas,
    synthesis: Option<Synthesis>,
    steps: Vec<Step>,
    queue: Queue,
    unexplained: Unexplained,
    done: bool,
}

impl FtraceOps {
    /// The operations of what `reader` reads, as its `survey` explains them.
    pub fn new(reader: Reader, survey: &Survey, plan: &Plan) -> FtraceOps {
        let mut areas = Areas::new(plan.page_bytes, plan.unguarded.clone());
        for area in &survey.pre_existing {
            areas.add_live(area.start, area.end, area.start + area.size_bytes);
        }
        let synthesis = survey.synthesised.then(|| Synthesis::new(plan.page_bytes));
        FtraceOps {
            reader,
            areas,
            synthesis,
            steps: Vec::new(),
            queue: Queue::default(),
            unexplained: Unexplained::default(),
            done: false,
        }
    }

    /// Touches and frees left out so far because no area explains them. This is what was really
    /// left out; the survey's count is an estimate where old and new areas overlap.
    pub fn unexplained(&self) -> Unexplained {
        self.unexplained
    }

    fn record(&mut self, record: &Record) {
        self.queue.compare(record);
        let synthesise = self
            .synthesis
            .as_mut()
            .filter(|_| !matches!(record.event, Event::Mark(_)));
        if let Some(synthesis) = synthesise {
            let mut ops = Vec::new();
            synthesis.record(record, &mut ops);
            ops.into_iter().for_each(|op| self.queue.push(op));
            return;
        }
        self.areas.record(record, &mut self.steps);
        for step in self.steps.drain(..) {
            let op = match step {
                Step::Op(op) => op,
                Step::UnknownTouch(_) => {
                    self.unexplained.touches += 1;
                    continue;
                }
                Step::UnknownFree(_) => {
                    self.unexplained.frees += 1;
                    continue;
                }
            };
            self.queue.push(TraceOp {
                line: record.line,
                task: record.task,
                cpu: record.cpu,
                op,
            });
        }
    }

    fn finish(&mut self) {
        self.done = true;
        if let Some(synthesis) = &mut self.synthesis {
            let mut ops = Vec::new();
            synthesis.finish(&mut ops);
            ops.into_iter().for_each(|op| self.queue.push(op));
        }
        self.queue.waiting.clear();
    }

    fn too_much(&mut self, line: u64) -> TraceError {
        self.done = true;
        self.queue = Queue::default();
        let (name, what) = (
            self.reader.name().to_string(),
            "areas and pages to keep track of",
        );
        TraceError::Limit {
            name,
            line,
            what,
            max: AREAS_MAX,
        }
    }
}

impl Iterator for FtraceOps {
    type Item = Result<TraceOp, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(op) = self.queue.pop() {
                return Some(Ok(op));
            }
            if self.done {
                return None;
            }
            match self.reader.next_record() {
                Ok(Some(record)) => {
                    self.record(&record);
                    let held = self.areas.len() + self.synthesis.as_ref().map_or(0, Synthesis::len);
                    if held > 2 * AREAS_MAX {
                        return Some(Err(self.too_much(record.line)));
                    }
                }
                Ok(None) => self.finish(),
                Err(error) => {
                    self.done = true;
                    self.queue = Queue::default();
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Operations in order, held back while a touch waits for the insert record to compare with.
#[derive(Debug, Default)]
struct Queue {
    ops: VecDeque<TraceOp>,
    /// Number of the first operation in `ops`.
    first: u64,
    inserts: FaultInserts,
    /// CPU -> number of the touch that waits there.
    waiting: BTreeMap<u16, u64>,
}

impl Queue {
    /// Takes the insert record of a waiting touch, or learns that there is none.
    fn compare(&mut self, record: &Record) {
        let Some(inserted) = self.inserts.record(record) else {
            return;
        };
        let Some(number) = self.waiting.remove(&record.cpu) else {
            return;
        };
        let op = self
            .ops
            .get_mut((number - self.first) as usize)
            .map(|op| &mut op.op);
        if let (true, Event::Hpins { group, vpn, .. }) = (inserted, &record.event)
            && let Some(Op::Touch {
                recorded_group,
                recorded_vpn,
                ..
            }) = op
        {
            // the kernel counts a group in entries: 8 each
            *recorded_group = Some(group / 8);
            *recorded_vpn = Some(*vpn);
        }
    }

    fn push(&mut self, op: TraceOp) {
        if self.ops.len() >= QUEUE_MAX {
            self.waiting.clear();
        }
        let recorded = matches!(op.op, Op::Touch { .. });
        if recorded && self.inserts.waits(op.cpu, op.line) {
            self.waiting
                .insert(op.cpu, self.first + self.ops.len() as u64);
        }
        self.ops.push_back(op);
    }

    fn pop(&mut self) -> Option<TraceOp> {
        if self.waiting.values().any(|&number| number == self.first) {
            return None;
        }
        let op = self.ops.pop_front()?;
        self.first += 1;
        Some(op)
    }
}
