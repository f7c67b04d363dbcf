//! What happened when, for a picture: CPUs, tasks, batches, tlbie and locks as tracks of slices.
//!
//! Owns what becomes a slice, and the Chrome trace format that Perfetto and chrome://tracing read
//! ("Trace Event Format", complete events, counters and metadata). Times are cycles of the CPU that something
//! happened on; clocks of two CPUs may be some cycles apart. Refuses more than [`EVENTS_MAX`] events: later ones
//! are counted and left out.

use crate::kernel::Linux;
use crate::latency::Operation;
use crate::leaks::lock_name;
use crate::tracepoint::{Moment, Tracepoint};
use emu_core::{Ctx, Cycles};
use emu_mmu::Ea;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// Most events that are kept.
pub const EVENTS_MAX: usize = 500_000;

/// A row of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Track {
    /// A CPU: the task that runs there.
    Cpu(u16),
    /// A task by its process id: its operations and lazy sections.
    Task(u32),
    /// The flush batch of a CPU: from the first entry to the flush.
    Batch(u16),
    /// The tlbie sequences that a CPU makes.
    Tlbie(u16),
    /// A spinlock by its address: who holds it.
    Lock(u64),
}

/// Something that went on for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Its row.
    pub track: Track,
    /// What it is.
    pub name: String,
    /// When it began.
    pub began: u64,
    /// How long it was, in cycles.
    pub cycles: u64,
}

/// Entries of a CPU's batch from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filling {
    /// The CPU whose batch it is.
    pub cpu: u16,
    /// When.
    pub at: u64,
    /// Entries.
    pub entries: u64,
}

/// The slices of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Clock frequency of the CPUs, in megahertz.
    pub frequency_mhz: u64,
    /// Slices in the order of their ends.
    pub slices: Vec<Slice>,
    /// Entries of the batches.
    pub fillings: Vec<Filling>,
    /// Events that there was no room for.
    pub dropped: u64,
    /// Names of the tasks.
    tasks: BTreeMap<u32, String>,
    running: HashMap<u16, (u64, String)>,
    sections: HashMap<u64, u64>,
    batches: HashMap<u16, (u64, u64)>,
    locks: HashMap<u64, (u64, String)>,
}

impl Timeline {
    pub(crate) fn new(frequency_mhz: u64) -> Self {
        Timeline {
            frequency_mhz,
            ..Timeline::default()
        }
    }

    fn has_room(&mut self) -> bool {
        let room = self.slices.len() + self.fillings.len() < EVENTS_MAX;
        self.dropped += u64::from(!room);
        room
    }

    fn slice(&mut self, track: Track, name: String, began: u64, end: u64) {
        if self.has_room() {
            self.slices.push(Slice {
                track,
                name,
                began,
                cycles: end.saturating_sub(began),
            });
        }
    }

    fn filling(&mut self, cpu: u16, at: u64, entries: u64) {
        if self.has_room() {
            self.fillings.push(Filling { cpu, at, entries });
        }
    }

    /// `names` are those of the running task and of the task that is switched to.
    fn tracepoint(&mut self, moment: Moment, names: (String, String), tracepoint: Tracepoint) {
        let (now, cpu, (name, next)) = (moment.now.get(), moment.cpu.0, names);
        match tracepoint {
            Tracepoint::SwitchTo { next_pid, .. } => {
                let (began, ran) = self.running.remove(&cpu).unwrap_or((0, name));
                self.slice(Track::Cpu(cpu), ran, began, now);
                self.tasks.entry(next_pid).or_insert_with(|| next.clone());
                self.running.insert(cpu, (now, next));
            }
            Tracepoint::LazyEnter => {
                self.sections.entry(moment.task).or_insert(now);
            }
            Tracepoint::LazyLeave => {
                if let Some(began) = self.sections.remove(&moment.task) {
                    self.slice(
                        Track::Task(moment.pid),
                        "lazy section".to_owned(),
                        began,
                        now,
                    );
                }
            }
            Tracepoint::Queued { .. } => {
                let batch = self.batches.entry(cpu).or_insert((now, 0));
                batch.1 += 1;
                let entries = batch.1;
                self.filling(cpu, now, entries);
            }
            Tracepoint::BatchFlush {
                entries, batch_cpu, ..
            } => {
                let (began, _) = self.batches.remove(&batch_cpu).unwrap_or((now, 0));
                let name = format!("{entries} entries");
                self.slice(Track::Batch(batch_cpu), name, began, now);
                self.filling(batch_cpu, now, 0);
            }
            Tracepoint::LockAcquired { lock } => {
                self.locks.insert(lock, (now, name));
            }
            Tracepoint::LockReleased { lock } => {
                if let Some((began, holder)) = self.locks.remove(&lock) {
                    self.slice(Track::Lock(lock), holder, began, now);
                }
            }
            _ => {}
        }
    }

    /// The run ends: tasks that run do so to the end.
    pub(crate) fn finish(&mut self, clocks: &[u64]) {
        for (cpu, &clock) in clocks.iter().enumerate() {
            let cpu = cpu as u16;
            if let Some((began, name)) = self.running.remove(&cpu) {
                self.slice(Track::Cpu(cpu), name, began, clock);
            }
        }
    }

    /// As a Chrome trace: one JSON document, times in microseconds of the emulated machine.
    pub fn chrome_json(&self) -> String {
        let mut events = vec![
            metadata("process_name", 1, None, "CPUs"),
            metadata("process_name", 2, None, "tasks"),
            metadata("process_name", 3, None, "batches"),
            metadata("process_name", 4, None, "tlbie"),
            metadata("process_name", 5, None, "locks"),
        ];
        let mut slices: Vec<&Slice> = self.slices.iter().collect();
        // What contains another comes first.
        slices.sort_by_key(|slice| (slice.began, Reverse(slice.cycles)));
        let mut tracks: Vec<Track> = slices.iter().map(|slice| slice.track).collect();
        tracks.sort_unstable();
        tracks.dedup();
        let mut rows = HashMap::new();
        for track in tracks {
            let (pid, tid) = (track.process(), rows.len() + 1);
            rows.insert(track, tid);
            events.push(metadata("thread_name", pid, Some(tid), &self.name(track)));
        }
        for slice in slices {
            events.push(format!(
                r#"{{"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"name":{}}}"#,
                slice.track.process(),
                rows.get(&slice.track).copied().unwrap_or(0),
                self.micros(slice.began),
                self.micros(slice.cycles),
                quoted(&slice.name),
            ));
        }
        for filling in &self.fillings {
            events.push(format!(
                r#"{{"ph":"C","pid":3,"ts":{},"name":"entries of CPU {}","args":{{"entries":{}}}}}"#,
                self.micros(filling.at),
                filling.cpu,
                filling.entries,
            ));
        }
        format!(
            "{{\"displayTimeUnit\":\"ns\",\"otherData\":{{\"frequency_mhz\":{},\"dropped\":{}}},\
             \"traceEvents\":[\n{}\n]}}\n",
            self.frequency_mhz,
            self.dropped,
            events.join(",\n")
        )
    }

    fn micros(&self, cycles: u64) -> f64 {
        cycles as f64 / self.frequency_mhz.max(1) as f64
    }

    fn name(&self, track: Track) -> String {
        match track {
            Track::Cpu(cpu) | Track::Batch(cpu) | Track::Tlbie(cpu) => format!("CPU {cpu}"),
            Track::Task(pid) => {
                let comm = self.tasks.get(&pid).map_or("", String::as_str);
                format!("{comm}/{pid}")
            }
            Track::Lock(lock) => lock_name(Ea::new(lock)),
        }
    }
}

impl Track {
    const fn process(self) -> u64 {
        match self {
            Track::Cpu(_) => 1,
            Track::Task(_) => 2,
            Track::Batch(_) => 3,
            Track::Tlbie(_) => 4,
            Track::Lock(_) => 5,
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn metadata(kind: &str, pid: u64, tid: Option<usize>, name: &str) -> String {
    let tid = tid.map(|tid| format!("\"tid\":{tid},")).unwrap_or_default();
    let name = quoted(name);
    format!(r#"{{"ph":"M","pid":{pid},{tid}"name":"{kind}","args":{{"name":{name}}}}}"#)
}

impl Linux {
    /// Draws a tracepoint.
    #[cold]
    pub(crate) fn draw(&self, cx: &Ctx<'_>, tracepoint: Tracepoint) {
        let Some(timeline) = &self.timeline else {
            return;
        };
        let next = match tracepoint {
            Tracepoint::SwitchTo { next, .. } => self.comm_of(cx, next),
            _ => String::new(),
        };
        let names = (self.comm_of(cx, cx.local()), next);
        timeline
            .lock()
            .tracepoint(self.moment(cx), names, tracepoint);
    }

    /// Draws an operation that ends here.
    #[cold]
    pub(crate) fn draw_operation(&self, cx: &Ctx<'_>, operation: Operation, began: Cycles) {
        let Some(timeline) = &self.timeline else {
            return;
        };
        let moment = self.moment(cx);
        let track = match operation {
            Operation::Tlbie => Track::Tlbie(moment.cpu.0),
            _ => Track::Task(moment.pid),
        };
        let name = operation.name().to_owned();
        timeline
            .lock()
            .slice(track, name, began.get(), moment.now.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_timeline_counts_what_it_leaves_out() {
        let mut timeline = Timeline::new(1000);
        for at in 0..EVENTS_MAX as u64 + 7 {
            timeline.slice(Track::Cpu(0), "x".to_owned(), at, at + 1);
        }
        assert_eq!((timeline.slices.len(), timeline.dropped), (EVENTS_MAX, 7));
    }

    #[test]
    fn the_document_is_json_and_names_its_tracks() {
        let mut timeline = Timeline::new(2000);
        timeline.slice(Track::Cpu(3), "a \"name\"".to_owned(), 2000, 5000);
        timeline.filling(3, 2500, 1);
        let json: serde_json::Value = serde_json::from_str(&timeline.chrome_json()).unwrap();
        let events = json["traceEvents"].as_array().unwrap();
        let slice = events.iter().find(|event| event["ph"] == "X").unwrap();
        let micros = ["ts", "dur"].map(|key| slice[key].as_f64());
        assert_eq!(micros, [Some(1.0), Some(1.5)]);
        assert_eq!(slice["name"], "a \"name\"");
        let row = events.iter().find(|event| event["name"] == "thread_name");
        assert_eq!(row.unwrap()["args"]["name"], "CPU 3");
    }
}
