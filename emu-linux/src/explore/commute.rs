//! Which departures come to the same.
//!
//! Owns this rule: to depart before a stretch of a task's steps or after it is the same as long as nothing of
//! what happens in between concerns that stretch (the idea of sleep sets: P. Godefroid, "Partial-Order Methods
//! for the Verification of Concurrent Systems", LNCS 1032, 1996, section 5). Both runs have the same number of
//! departures, so a bound on them leaves out neither or both. Refuses to know what a departure is.

use super::step::StepRecord;
use crate::key_map::KeyMap;
use emu_core::CpuId;

/// What a stretch of one task's steps touched.
pub(super) struct Stretch {
    task: u64,
    cpu: CpuId,
    depth: u32,
    interrupted: u64,
    /// By doubleword: whether it was stored to.
    memory: KeyMap<bool>,
    /// More than is known of.
    more: bool,
    /// The table, a TLB, or what they translate.
    pub mmu: bool,
}

impl Stretch {
    /// `None` if the steps are not by one task on one CPU, which goes on from the last as from the first.
    pub fn of(steps: &[StepRecord], next: &StepRecord) -> Option<Self> {
        let first = steps.first()?;
        let mut stretch = Stretch {
            task: first.task,
            cpu: first.cpu,
            depth: first.depth,
            interrupted: first.interrupted,
            memory: KeyMap::default(),
            more: false,
            mmu: false,
        };
        if next.depth != first.depth || next.interrupted != first.interrupted {
            return None;
        }
        for step in steps.iter().chain([next]) {
            if (step.task, step.cpu) != (first.task, first.cpu) {
                return None;
            }
        }
        // That the task may look its CPU's number up decides nothing: where it goes on elsewhere, that counts as
        // concerning it.
        for step in steps {
            stretch.mmu |= step.touches.mmu;
            stretch.more |= step.touches.more;
            for (ra, store) in step.touches.memory() {
                *stretch.memory.entry(ra).or_default() |= store;
            }
        }
        Some(stretch)
    }

    /// The first step that concerns the stretch, of those `after` the departure before it; `None` if its task
    /// goes on before any does.
    pub fn concerned_by(&self, after: &[StepRecord]) -> Option<u64> {
        for step in after {
            let goes_on = step.task == self.task && step.depth <= self.depth;
            if goes_on {
                return (step.cpu != self.cpu).then_some(step.step);
            }
            let bit = 1 << self.cpu.0;
            let interrupted = (step.interrupted ^ self.interrupted) & step.interrupted & bit != 0;
            // What the task itself does in an interrupt tells of it.
            if interrupted && step.cpu != self.cpu || self.conflicts(step) {
                return Some(step.step);
            }
        }
        after.last().map(|step| step.step)
    }

    fn conflicts(&self, step: &StepRecord) -> bool {
        let touches = &step.touches;
        let mut memory = touches.memory();
        let more = self.more || touches.more;
        more || touches.mmu && self.mmu
            || memory.any(|(ra, store)| {
                let stored = self.memory.get(&ra);
                stored.is_some_and(|&stored| stored || store)
            })
    }
}
