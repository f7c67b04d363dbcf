//! `unsafe-per-cpu`: no per-CPU access while preemptible.
//!
//! The rule. A task that asks which CPU it runs on, to find that CPU's copy of a variable, must not
//! be movable to another CPU or replaced on this one between asking and using. That holds if its
//! preempt_count is not 0, or interrupts are disabled, or it may run on this CPU only, or the
//! system is not yet (or no longer) running: the conditions of debug_smp_processor_id() (Linux
//! 2.6.38 lib/smp_processor_id.c). A lookup with none of these is a violation. Every one counts,
//! also those whose report the kernel's rate limit swallows.
//!
//! Owns that test. Refuses to judge whether the pointer was then used for anything.
//!
//! On threads: exact, with turns or without: each look-up is judged alone.

use crate::tracepoint::Tracepoint;
use std::fmt;

/// Name of the rule.
pub(super) const NAME: &str = "unsafe-per-cpu";

/// The rule for a reader.
pub(super) const EXPLANATION: &str = "\
    Code that looks up its CPU's copy of a variable must not be preemptible: preempt_count is \
    not 0, interrupts are disabled, the task is bound to this CPU, or the system is still \
    booting. Otherwise the task may be moved or another may run between the lookup and the use, \
    and the pointer then names another CPU's data or data another task is changing. It is the \
    kernel's \"BUG: using smp_processor_id() in preemptible code\", counted without its rate \
    limit.";

/// A lookup by a preemptible task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnsafeLookup {
    function: &'static str,
}

impl fmt::Display for UnsafeLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} looked up its per-CPU area while preemptible",
            self.function
        )
    }
}

/// The violation in this event, if it is one.
#[inline]
pub(super) fn check(tp: &Tracepoint) -> Option<UnsafeLookup> {
    match *tp {
        Tracepoint::PerCpuLookup {
            function,
            preempt_count: 0,
            interrupts_enabled: true,
            pinned: false,
            running: true,
        } => Some(UnsafeLookup { function }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(
        preempt_count: u32,
        interrupts_enabled: bool,
        pinned: bool,
        running: bool,
    ) -> Tracepoint {
        let function = "arch_enter_lazy_mmu_mode";
        Tracepoint::PerCpuLookup {
            function,
            preempt_count,
            interrupts_enabled,
            pinned,
            running,
        }
    }

    #[test]
    fn fires_on_a_preemptible_lookup() {
        let found = check(&lookup(0, true, false, true)).unwrap();
        assert_eq!(
            found.to_string(),
            "arch_enter_lazy_mmu_mode looked up its per-CPU area while preemptible"
        );
    }

    #[test]
    fn each_of_the_four_conditions_is_enough_alone() {
        assert_eq!(check(&lookup(1, true, false, true)), None);
        assert_eq!(check(&lookup(0x1_0000, true, false, true)), None);
        assert_eq!(check(&lookup(0, false, false, true)), None);
        assert_eq!(check(&lookup(0, true, true, true)), None);
        assert_eq!(check(&lookup(0, true, false, false)), None);
    }

    #[test]
    fn other_events_are_not_lookups() {
        assert_eq!(check(&Tracepoint::LazyEnter), None);
        assert_eq!(check(&Tracepoint::TaskExit { preempt_count: 0 }), None);
    }
}
