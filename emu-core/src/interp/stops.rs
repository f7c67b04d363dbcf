//! Where a debugger wants a CPU to stop.
//!
//! Owns breakpoints and single steps of one CPU. Refuses to know who asks: `Debugger` does.

use super::Interpreter;
use crate::guest::{Outcome, Pause};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Why a CPU stopped for its debugger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It stands at a breakpoint, whose instruction is not executed yet.
    Breakpoint,
    /// It has made its step.
    Step,
}

/// What a debugger asks of a CPU.
#[derive(Debug, Default)]
pub(crate) struct Stops {
    /// Effective addresses, whatever the mode.
    pub breakpoints: Arc<BTreeSet<u64>>,
    /// Instructions until it stops, if it is to step.
    pub steps: Option<u64>,
    /// The breakpoint it stopped at last and has not left.
    told: Option<u64>,
    /// Why it stopped.
    pub stopped: Option<Stopped>,
}

impl Interpreter {
    /// An outcome if the CPU is to stop before the next instruction.
    #[cold]
    pub(super) fn stop_here(&mut self) -> Option<Outcome> {
        let pc = self.registers.cut(self.registers.pc);
        let stops = self.stops.as_mut()?;
        if stops.steps == Some(0) {
            stops.stopped = Some(Stopped::Step);
        } else if stops.steps.is_none() && stops.told != Some(pc) && stops.breakpoints.contains(&pc)
        {
            stops.told = Some(pc);
            stops.stopped = Some(Stopped::Breakpoint);
        } else {
            stops.told = None;
            stops.steps = stops.steps.map(|left| left - 1);
            return None;
        }
        Some(Outcome::Paused(Pause::Budget))
    }
}
