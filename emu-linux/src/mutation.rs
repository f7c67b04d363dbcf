//! Bugs put into the kernel model on purpose, so that tests can see the checkers catch them; and a repair, so that
//! they can see what it closes.
//!
//! Owns their names and the question whether one is in. Only this crate's tests can put one in: anywhere else
//! the answer is a constant.

use crate::kernel::Linux;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// The last entry of a batch is not flushed.
    SkipFlush,
    /// A hash fault leaves BUSY set in the PTE.
    ForgetUnlock,
    /// An HPTE is inserted twice.
    DoubleInsert,
    /// HPTEs are taken out, but no tlbie is issued.
    DropTlbie,
    /// The frames of unmapped pages are freed before the flush.
    FreeEarly,
    /// Preemption is not enabled again after the flush of a gather.
    ForgetEnable,
    /// A PTE that is cleared stays present; only the record of its slot goes.
    KeepPresent,
    /// The CPU's batch is looked up before preemption is disabled.
    LookUpEarly,
    /// Not a bug but its repair: no flush believes that an address space has run on this CPU only.
    NeverLocal,
}

impl Linux {
    /// True if a bug is in.
    #[cfg(test)]
    pub(crate) fn mutated(&self, by: Mutation) -> bool {
        self.mutation == Some(by)
    }

    /// True if a bug is in; none is.
    #[cfg(not(test))]
    #[inline(always)]
    pub(crate) const fn mutated(&self, _: Mutation) -> bool {
        false
    }
}
