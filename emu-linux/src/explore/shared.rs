//! Which doublewords several tasks, or several CPUs, touch: what a search finds on its way.

use super::record::StepRecord;
use crate::key_map::KeyMap;
use crate::memmap;
use emu_core::CpuId;

/// Who touched a doubleword.
struct Touched {
    task: u64,
    cpu: CpuId,
    several_tasks: bool,
    several_cpus: bool,
    stored: bool,
}

impl Touched {
    /// Several tasks, and several CPUs, that can tell. Any task may be on any CPU; what lies in the area of a
    /// CPU is for others only once another was seen there.
    fn by_several(&self, ra: u64) -> (bool, bool) {
        let task = self.several_tasks && self.stored;
        let cpu = self.several_cpus && self.stored;
        (task, cpu || task && !memmap::is_percpu(ra))
    }
}

/// Who touched which doubleword.
#[derive(Default)]
pub(super) struct Shared {
    touched: KeyMap<Touched>,
    /// More turned out to be shared.
    pub grown: bool,
}

impl Shared {
    /// Learns from a run.
    pub fn learn(&mut self, steps: &[StepRecord]) {
        for step in steps {
            for (ra, store) in step.touches.memory() {
                let of = self.touched.entry(ra).or_insert(Touched {
                    task: step.task,
                    cpu: step.cpu,
                    several_tasks: false,
                    several_cpus: false,
                    stored: false,
                });
                let was = of.by_several(ra);
                of.several_tasks |= of.task != step.task;
                of.several_cpus |= of.cpu != step.cpu;
                of.stored |= store;
                self.grown |= was != of.by_several(ra);
            }
        }
    }

    /// Whether another task on this CPU, and whether another CPU, could tell when the step is made.
    pub fn is_visible(&self, step: &StepRecord, cpus: u16) -> (bool, bool) {
        let touches = &step.touches;
        let everybody = touches.mmu || touches.more;
        let mut to = (everybody || touches.cpu_number && cpus > 1, everybody);
        for (ra, _) in touches.memory() {
            let of = self.touched.get(&ra);
            let (task, cpu) = of.map_or((false, false), |of| of.by_several(ra));
            to = (to.0 || task, to.1 || cpu);
        }
        to
    }
}
