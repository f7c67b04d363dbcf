//! Where a run is departed from: only where that can make a difference.
//!
//! Owns which places are alike, and from where on a second departure is tried. Refuses to run anything.

use super::Search;
use crate::explore::commute::Stretch;
use crate::explore::step::StepRecord;
use emu_core::CpuId;
use emu_core::explore::{Deviation, Turn};
use smallvec::SmallVec;

impl Search<'_> {
    /// Where the run can be departed from after a step, so that it makes a difference: places in the trace.
    pub(super) fn departures(&self, trace: &[StepRecord], from: u64) -> Vec<(usize, Turn)> {
        let mut found = Vec::new();
        // By CPU and kind of turn: one was found since the last visible step there.
        let mut tried: SmallVec<[(CpuId, Turn); 8]> = SmallVec::new();
        let end = trace.partition_point(|record| record.step <= from);
        let begin = self.last_visible(&trace[..end]);
        for (at, record) in trace.iter().enumerate().skip(begin) {
            for turn in record.turns().chain(self.walks()) {
                let by = match turn {
                    Turn::Walk(cpu, _) => cpu,
                    _ => record.cpu,
                };
                let first = !tried.contains(&(by, turn));
                if first {
                    tried.push((by, turn));
                }
                if record.step > from && (self.plain || first) {
                    found.push((at, turn));
                }
            }
            if tried.is_empty() {
                continue;
            }
            let table = record.touches.mmu;
            let (to_tasks, to_cpus) = self.shared.is_visible(record, self.cpus);
            tried.retain(|(cpu, turn)| {
                let visible = match turn {
                    // Alike on whichever CPU the step was, as long as no table changes.
                    Turn::Walk(..) => return !table,
                    Turn::Interrupt => to_tasks,
                    Turn::SwitchTo(_) => to_cpus,
                    // The task that is pulled goes on elsewhere, beside those that stay.
                    Turn::Wake(_) => to_tasks || to_cpus,
                    Turn::Receive(_) => to_cpus,
                };
                *cpu != record.cpu || !visible
            });
        }
        found
    }

    /// The last place of a trace behind which no place is alike to any up to there.
    pub(super) fn last_visible(&self, trace: &[StepRecord]) -> usize {
        if self.bounds.walks > 0 {
            return 0;
        }
        let visible = |record: &StepRecord| {
            let (to_tasks, to_cpus) = self.shared.is_visible(record, self.cpus);
            to_tasks && (to_cpus || self.cpus == 1)
        };
        trace.iter().rposition(visible).unwrap_or(0)
    }

    /// The walks that may come before any step.
    pub(super) fn walks(&self) -> impl Iterator<Item = Turn> {
        let cpus = if self.bounds.walks > 0 { self.cpus } else { 0 };
        let each = |cpu| self.pages.iter().map(move |&ea| Turn::Walk(CpuId(cpu), ea));
        (0..cpus).flat_map(each)
    }

    /// The step after which a run with one more departure, before step `at` of a trace, is departed from again,
    /// where the steps `after` its first own one are made; `None` if each such run comes to the same as one that departs at `end`, the next like it, instead.
    pub(super) fn next_from(
        &self,
        trace: &[StepRecord],
        (at, end): (usize, Option<usize>),
        Deviation { step, turn }: Deviation,
        after: &[StepRecord],
    ) -> Option<u64> {
        let stretch = end.and_then(|end| Stretch::of(&trace[at..end], &trace[end]));
        let stretch = stretch.filter(|stretch| {
            // What a walk finds depends on every change of the table before it.
            !(self.plain || self.bounds.walks > 0 && stretch.mmu)
        });
        match (turn, stretch) {
            // Nobody went on: something else may still happen before the same step.
            (Turn::Walk(..), _) => Some(step - 1),
            // Before that step, a departure is the same as one after the stretch.
            (_, Some(stretch)) => stretch.concerned_by(after),
            (_, None) => Some(step),
        }
    }
}
