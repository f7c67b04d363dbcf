//! Moments of a run that a stage returns to.
//!
//! Owns what stands in them and how long they are remembered. Refuses to know what for.

use super::Stage;
use crate::invariant::MonitorMark;
use crate::kept::KeptValues;
use emu_core::explore::{ArenaError, Mark};

/// A moment of a run: the machine's, the checkers', the kernel model's own.
pub(super) struct Moment {
    /// How many there were with it.
    made: u64,
    machine: Mark,
    monitor: MonitorMark,
    kept: KeptValues,
}

/// A moment that a stage remembers, or remembered: its place, and which of those that had it.
#[derive(Clone, Copy, Debug)]
pub(in crate::explore) struct MomentId(usize, u64);

impl Stage {
    /// Runs begin from now on in a moment, if it is remembered still; else where all begin. Those later than it are
    /// forgotten.
    pub fn begin_in(&mut self, moment: Option<MomentId>) {
        let remembered = moment.filter(|&MomentId(number, made)| {
            let there = self.moments[..self.depth].get(number);
            there.is_some_and(|there| there.made == made) && !self.arena.knows_too_much()
        });
        self.depth = remembered.map_or(0, |MomentId(number, _)| number + 1);
    }

    /// Brings everything back to where runs begin now.
    pub(super) fn begin_again(&mut self) -> Result<(), ArenaError> {
        match self.depth {
            0 => self.begin(),
            _ => self.return_to_parting(),
        }
    }

    /// Remembers this moment.
    pub(super) fn part(&mut self) -> Result<MomentId, ArenaError> {
        if self.moments.len() == self.depth {
            self.moments.push(Moment {
                machine: Mark::default(),
                monitor: MonitorMark::new(),
                kept: self.kept,
                made: 0,
            });
        }
        self.made += 1;
        let moment = &mut self.moments[self.depth];
        self.arena.mark(&mut moment.machine)?;
        self.monitor
            .with(|monitor| monitor.mark(&mut moment.monitor));
        moment.kept = self.linux.kept.values();
        moment.made = self.made;
        self.depth += 1;
        Ok(MomentId(self.depth - 1, self.made))
    }

    /// Returns to the last moment that is remembered.
    pub(super) fn return_to_parting(&mut self) -> Result<(), ArenaError> {
        let Some(moment) = self.moments[..self.depth].last() else {
            return Ok(());
        };
        self.arena.return_to(&moment.machine)?;
        self.monitor
            .with(|monitor| monitor.return_to(&moment.monitor));
        self.linux.kept.set(&moment.kept);
        Ok(())
    }

    /// Returns to the last moment that is remembered, which is this one, and forgets it.
    pub(super) fn return_for_good(
        &mut self,
        MomentId(number, _): MomentId,
    ) -> Result<(), ArenaError> {
        self.depth = number;
        let Some(moment) = self.moments.get_mut(number) else {
            return Ok(());
        };
        self.arena.return_for_good(&mut moment.machine)?;
        (self.monitor).with(|monitor| monitor.return_for_good(&mut moment.monitor));
        self.linux.kept.set(&moment.kept);
        Ok(())
    }
}
