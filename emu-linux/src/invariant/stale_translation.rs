//! `stale-translation`: after the ptesync that completes the flush of a PTE no access is served by its
//! old translation, and no access ever reaches a freed frame.
//!
//! Which translation served an access is judged in `served`. Here is the visible half of it: a task
//! that reads back something else than it stored was served by a translation that should have been gone
//! (or somebody else was, and wrote into its page).

use crate::tracepoint::Tracepoint;
use std::fmt;

/// Name of the rule.
pub(super) const NAME: &str = "stale-translation";

/// What the rule asks, and why.
pub(super) const EXPLANATION: &str = "After the flush of a page-table entry is complete, no access may be served \
by its old translation, and none may reach a frame that was freed. What served \
each access is compared with the flushes and the free frames, and what a task reads with what it stored. The page then belongs to somebody else, so memory is read and corrupted \
across processes without any fault, or a store succeeds that was forbidden.";

/// A read of something else than was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StaleRead {
    ea: u64,
    expected: u64,
    found: u64,
}

impl fmt::Display for StaleRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StaleRead {
            ea,
            expected,
            found,
        } = self;
        write!(
            f,
            "a load at {ea:#x} found {found:#x} where the task had stored {expected:#x}"
        )
    }
}

/// The read that a tracepoint tells of.
pub(super) fn check(tp: &Tracepoint) -> Option<StaleRead> {
    match *tp {
        Tracepoint::StaleData {
            ea,
            expected,
            found,
        } if expected != found => Some(StaleRead {
            ea,
            expected,
            found,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_a_difference_only() {
        let read = |expected, found| Tracepoint::StaleData {
            ea: 0x1000_0008,
            expected,
            found,
        };
        assert!(check(&read(1, 2)).is_some());
        assert!(check(&read(2, 2)).is_none());
        assert!(check(&Tracepoint::LazyEnter).is_none());
    }
}
