//! Memory as a step reaches it: real addresses, each access a verb of its own.
//!
//! Owns what is kept of a step that is under way: a hash of what it has seen, so that two tasks that stand
//! at the same place with the same hash go on alike; and what it waits for. That lies in guest memory, beside
//! no verb, so that it is brought back with the rest. Refuses to know what the step is.

use super::place::{OfTask, of_task};
use emu_core::{Ctx, Exception, Run, Step};
use emu_mmu::{Barrier, Ra, TableAccess, TlbInvalidate};

/// The context of a task and what is kept of it.
pub(super) struct Tracked<'a, 'y> {
    pub cx: &'a mut Ctx<'y>,
    pub task: usize,
    /// The last doubleword loaded, what it held, and the hash before.
    last: (Ra, u64, u64),
}

/// Adds one thing seen to a hash (splitmix64, Steele, Lea and Flood).
fn mixed(seen: u64, value: u64) -> u64 {
    let mut z = (seen ^ value).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl<'a, 'y> Tracked<'a, 'y> {
    pub fn new(cx: &'a mut Ctx<'y>, task: usize) -> Self {
        Tracked {
            cx,
            task,
            last: (Ra::new(0), 0, 0),
        }
    }

    /// A doubleword of the task's own, beside any verb.
    pub fn own(&self, what: OfTask) -> Run<u64> {
        let at = of_task(self.task, what);
        Ok(self.cx.machine().memory().load_u64(at)?)
    }

    pub fn set_own(&self, what: OfTask, value: u64) -> Run<()> {
        let at = of_task(self.task, what);
        Ok(self.cx.machine().memory().store_u64(at, value)?)
    }

    /// Keeps what a verb saw or did.
    pub fn note(&self, value: u64) -> Run<()> {
        self.set_own(OfTask::Seen, mixed(self.own(OfTask::Seen)?, value))
    }

    /// ldarx.
    pub fn reserve(&mut self, ra: Ra, step: Step) -> Run<u64> {
        let seen = self.own(OfTask::Seen)?;
        let value = self.cx.load_reserve_real(ra, step)?;
        self.set_own(OfTask::WaitsFor, 0)?;
        self.last = (ra, value, seen);
        self.note(value)?;
        Ok(value)
    }

    /// stdcx.
    pub fn conditional(&mut self, ra: Ra, value: u64, step: Step) -> Run<bool> {
        let stored = self.cx.store_conditional_real(ra, value, step)?;
        self.note(u64::from(stored) + 1)?;
        Ok(stored)
    }
}

impl TableAccess for Tracked<'_, '_> {
    type Error = Exception;

    fn load(&mut self, ra: Ra, step: Step) -> Run<u64> {
        let seen = self.own(OfTask::Seen)?;
        let value = self.cx.load_real_u64(ra, step)?;
        self.set_own(OfTask::WaitsFor, 0)?;
        self.last = (ra, value, seen);
        self.note(value)?;
        Ok(value)
    }

    fn store(&mut self, ra: Ra, value: u64, step: Step) -> Run<()> {
        self.cx.store_real_u64(ra, value, step)?;
        self.note(3)
    }

    fn compare_exchange(&mut self, ra: Ra, old: u64, new: u64, step: Step) -> Run<bool> {
        Ok(self.reserve(ra, step)? == old && self.conditional(ra, new, step)?)
    }

    fn barrier(&mut self, barrier: Barrier, step: Step) -> Run<()> {
        self.cx.barrier(barrier, step)?;
        self.note(4)
    }

    fn tlb_invalidate(&mut self, operand: TlbInvalidate, step: Step) -> Run<()> {
        self.cx.tlb_invalidate(operand, step)?;
        self.note(5)
    }

    /// Waits until the doubleword it loaded last is another: then it loads it again, as if for the first time.
    fn spin(&mut self, step: Step) -> Run<()> {
        let (ra, value, seen) = self.last;
        self.set_own(OfTask::WaitsFor, ra.get())?;
        self.set_own(OfTask::WaitedFor, value)?;
        self.set_own(OfTask::Seen, seen)?;
        self.cx.spin(step)
    }
}
