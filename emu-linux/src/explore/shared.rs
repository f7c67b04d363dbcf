//! Which doublewords several tasks, or several CPUs, touch: what a search finds on its way.

use super::step::StepRecord;
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
    touched: Vec<Touched>,
    /// Each one's place, by its address.
    places: KeyMap<u32>,
    /// More turned out to be shared.
    pub grown: bool,
}

impl Shared {
    /// Learns from a run; its steps then know the places of what they touch.
    pub fn learn(&mut self, steps: &mut [StepRecord]) {
        for step in steps {
            let (task, cpu) = (step.task, step.cpu);
            for (ra, store, place) in step.touches.memory_mut() {
                *place = *self.places.entry(ra).or_insert_with(|| {
                    self.touched.push(Touched {
                        task,
                        cpu,
                        several_tasks: false,
                        several_cpus: false,
                        stored: false,
                    });
                    self.touched.len() as u32 - 1
                });
                let of = &mut self.touched[*place as usize];
                let was = of.by_several(ra);
                of.several_tasks |= of.task != task;
                of.several_cpus |= of.cpu != cpu;
                of.stored |= store;
                self.grown |= was != of.by_several(ra);
            }
        }
    }

    /// Whether another task on this CPU, and whether another CPU, could tell when the step is made, which was learnt.
    pub fn is_visible(&self, step: &StepRecord, cpus: u16) -> (bool, bool) {
        let touches = &step.touches;
        let everybody = touches.mmu || touches.more;
        let mut to = (everybody || touches.cpu_number && cpus > 1, everybody);
        for (ra, place) in touches.places() {
            let of = self.touched.get(place as usize);
            let (task, cpu) = of.map_or((false, false), |of| of.by_several(ra));
            to = (to.0 || task, to.1 || cpu);
        }
        to
    }
}
