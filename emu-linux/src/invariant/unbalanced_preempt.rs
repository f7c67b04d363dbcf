//! `unbalanced-preempt`: preempt count and locks are balanced at task exit, and never held across a
//! sleep.
//!
//! The rule. When a task exits, its preempt_count is 0 and it holds no spinlock. When a task calls
//! schedule() of its own will in order to sleep, the same is true: nobody could take the lock until
//! it wakes, and the kernel says "BUG: scheduling while atomic" (Linux 2.6.38 kernel/sched.c,
//! `__schedule_bug`). A task that only yields, or that is preempted, is not judged.
//!
//! Who holds a lock. The task that took it last, until anybody releases it. A lock may be released
//! by another task than took it: the run-queue lock is taken by the task that calls schedule() and
//! released by the one that runs next (Linux 2.6.38 kernel/sched.c, `finish_lock_switch`). So a
//! release ends the holding whoever does it, and a release of a lock that nobody was seen to take
//! is no event. Between the two the first task does not run, so it can neither exit nor sleep with
//! the lock on its account. A sleep with both a count and a lock is one violation; locks held at
//! exit are then forgotten.
//!
//! Owns the list of held locks. Refuses to check lock order or recursion.
//!
//! On threads: exact, with turns or without: count and locks are judged by their own task.

use super::mark::hash_of_set;
use crate::tracepoint::Tracepoint;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Name of the rule.
pub(super) const NAME: &str = "unbalanced-preempt";

/// The rule for a reader.
pub(super) const EXPLANATION: &str = "\
    A task's preempt_count is 0 and it holds no spinlock when it exits and whenever it goes to \
    sleep of its own will. A count that leaked, such as from an error path between \
    preempt_disable and preempt_enable, keeps the task from ever being preempted again, silences \
    later checks, and ends in \"BUG: scheduling while atomic\"; a lock held across a sleep may \
    never be given back. The rule is judged at exit and at each sleep, and each such event \
    counts once.";

/// A lock and the task that took it.
#[derive(Clone, Copy, Debug)]
struct Held {
    lock: u64,
    task: u64,
}

/// When the rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Exit,
    Sleep,
}

/// A task that exits or sleeps with something held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unbalanced {
    when: When,
    preempt_count: u32,
    locks: usize,
    /// The one taken first, if any.
    lock_first: u64,
}

impl fmt::Display for Unbalanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match self.when {
            When::Exit => "exits",
            When::Sleep => "goes to sleep",
        };
        write!(
            f,
            "the task {when} with preempt_count {:#x}",
            self.preempt_count
        )?;
        match self.locks {
            0 => Ok(()),
            1 => write!(f, " and the lock at {:#x} held", self.lock_first),
            n => write!(
                f,
                " and {n} locks held, first the one at {:#x}",
                self.lock_first
            ),
        }
    }
}

/// The rule's state: the locks held now, in the order they were taken. There are few at any time,
/// so a scan is cheaper than a map.
#[derive(Debug, Default)]
pub(super) struct UnbalancedPreempt {
    held: Vec<Held>,
}

cloned_by_field!(UnbalancedPreempt { held });

impl UnbalancedPreempt {
    /// What decides what may break.
    pub fn hash_state(&self, to: &mut impl Hasher) {
        hash_of_set(self.held.iter().map(|held| (held.lock, held.task))).hash(to);
    }

    /// An event of `task`; the violation, if it is one.
    #[inline]
    pub fn tracepoint(&mut self, task: u64, tp: &Tracepoint) -> Option<Unbalanced> {
        match *tp {
            Tracepoint::LockAcquired { lock } => {
                self.release(lock);
                self.held.push(Held { lock, task });
                None
            }
            Tracepoint::LockReleased { lock } => {
                self.release(lock);
                None
            }
            Tracepoint::VoluntarySchedule {
                preempt_count,
                sleeps: true,
            } => self.judge(When::Sleep, task, preempt_count),
            Tracepoint::TaskExit { preempt_count } => {
                let unbalanced = self.judge(When::Exit, task, preempt_count);
                if unbalanced.is_some() {
                    self.held.retain(|held| held.task != task);
                }
                unbalanced
            }
            _ => None,
        }
    }

    fn release(&mut self, lock: u64) {
        if let Some(at) = self.held.iter().rposition(|held| held.lock == lock) {
            self.held.remove(at);
        }
    }

    fn judge(&self, when: When, task: u64, preempt_count: u32) -> Option<Unbalanced> {
        let mut own = self.held.iter().filter(|held| held.task == task);
        let lock_first = own.next().map(|held| held.lock);
        if preempt_count == 0 && lock_first.is_none() {
            return None;
        }
        let locks = lock_first.map_or(0, |_| 1 + own.count());
        Some(Unbalanced {
            when,
            preempt_count,
            locks,
            lock_first: lock_first.unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Tracepoint::{LockAcquired, LockReleased, TaskExit, VoluntarySchedule};

    const A: u64 = 0xc000_0000_0100_0000;
    const B: u64 = 0xc000_0000_0200_0000;
    const SLEEP: Tracepoint = VoluntarySchedule {
        preempt_count: 0,
        sleeps: true,
    };
    const EXIT: Tracepoint = TaskExit { preempt_count: 0 };

    fn run(events: &[(u64, Tracepoint)]) -> Vec<String> {
        let mut rule = UnbalancedPreempt::default();
        let found = events
            .iter()
            .filter_map(|(task, tp)| rule.tracepoint(*task, tp));
        found.map(|unbalanced| unbalanced.to_string()).collect()
    }

    #[test]
    fn fires_on_a_count_at_exit_and_at_a_sleep() {
        let exit = run(&[(A, TaskExit { preempt_count: 1 })]);
        assert_eq!(exit, ["the task exits with preempt_count 0x1"]);
        let sleep = run(&[(
            A,
            VoluntarySchedule {
                preempt_count: 2,
                sleeps: true,
            },
        )]);
        assert_eq!(sleep, ["the task goes to sleep with preempt_count 0x2"]);
    }

    #[test]
    fn a_balanced_exit_a_balanced_sleep_and_a_yield_are_silent() {
        let yields = VoluntarySchedule {
            preempt_count: 1,
            sleeps: false,
        };
        assert!(run(&[(A, SLEEP), (A, yields), (A, EXIT)]).is_empty());
    }

    #[test]
    fn fires_on_locks_held_by_the_task_itself() {
        let events = [
            (A, LockAcquired { lock: 0x10 }),
            (A, LockAcquired { lock: 0x20 }),
            (A, SLEEP),
        ];
        assert_eq!(
            run(&events),
            [
                "the task goes to sleep with preempt_count 0x0 and 2 locks held, first the one at 0x10"
            ]
        );
        let exit = [(A, LockAcquired { lock: 0x10 }), (A, EXIT), (A, EXIT)];
        assert_eq!(
            run(&exit),
            ["the task exits with preempt_count 0x0 and the lock at 0x10 held"],
            "told once: the lock is forgotten with the task"
        );
    }

    #[test]
    fn a_released_lock_and_the_lock_of_another_task_are_silent() {
        let released = [
            (A, LockAcquired { lock: 0x10 }),
            (A, LockReleased { lock: 0x10 }),
        ];
        assert!(run(&[released[0], released[1], (A, SLEEP), (A, EXIT)]).is_empty());
        assert!(run(&[(B, LockAcquired { lock: 0x10 }), (A, SLEEP), (A, EXIT)]).is_empty());
    }

    #[test]
    fn a_run_queue_lock_handed_over_a_switch_is_on_nobodys_account() {
        const RQ: u64 = 0x99;
        let events = [
            (A, SLEEP),
            (A, LockAcquired { lock: RQ }),
            (B, LockReleased { lock: RQ }), // B came out of the switch
            (B, SLEEP),
            (B, LockAcquired { lock: RQ }),
            (A, LockReleased { lock: RQ }),
            (A, EXIT),
            (A, LockAcquired { lock: RQ }), // A's last switch, released by B
            (B, LockReleased { lock: RQ }),
            (B, EXIT),
        ];
        assert!(run(&events).is_empty());
    }

    #[test]
    fn a_release_never_seen_taken_is_no_event() {
        assert!(run(&[(A, LockReleased { lock: 0x10 }), (A, EXIT)]).is_empty());
    }

    #[test]
    fn memory_is_that_of_the_locks_held() {
        let mut rule = UnbalancedPreempt::default();
        for i in 0..10_000 {
            rule.tracepoint(A, &LockAcquired { lock: i });
            rule.tracepoint(A, &LockReleased { lock: i });
        }
        assert!(rule.held.capacity() < 16);
    }
}
