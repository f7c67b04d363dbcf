//! The way of global invalidations: a bus that takes one after the other, and at each CPU a queue.
//!
//! Owns how long a tlbie waits for the bus, and a tlbsync for the slowest receiver. Both are buckets that
//! run empty with time. CPUs may be some cycles ahead of each other, so a moment before the last one seen
//! counts as that one. Refuses what is invalidated: the MMU does that.

use super::CostTable;
use parking_lot::Mutex;

/// Work that one server still has to do.
#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    backlog: u64,
    seen: u64,
}

impl Queue {
    /// What is still to do at this moment.
    fn backlog_at(&mut self, now: u64) -> u64 {
        self.backlog = self.backlog.saturating_sub(now.saturating_sub(self.seen));
        self.seen = self.seen.max(now);
        self.backlog
    }
}

#[derive(Debug)]
struct Queues {
    bus: Queue,
    receivers: Vec<Queue>,
}

/// The bus and its receivers.
#[derive(Debug)]
pub(crate) struct InvalidationBus(Mutex<Queues>);

impl InvalidationBus {
    /// Idle, with a receiver for each CPU.
    pub fn new(cpus: u16) -> Self {
        InvalidationBus(Mutex::new(Queues {
            bus: Queue::default(),
            receivers: vec![Queue::default(); usize::from(cpus)],
        }))
    }

    /// A tlbie of CPU `from` comes at `now`: cycles until the bus takes it.
    pub fn issue(&self, from: usize, now: u64, costs: &CostTable) -> u64 {
        let queues = &mut *self.0.lock();
        let wait = queues.bus.backlog_at(now);
        queues.bus.backlog += costs.tlbie_bus;
        for (cpu, queue) in queues.receivers.iter_mut().enumerate() {
            if cpu != from {
                queue.backlog_at(now + wait);
                queue.backlog += costs.tlbie_received;
            }
        }
        wait
    }

    /// Cycles from `now` until every CPU but `from` has done what was sent so far.
    pub fn completion(&self, from: usize, now: u64) -> u64 {
        let queues = &mut *self.0.lock();
        let others = queues.receivers.iter_mut().enumerate();
        others
            .filter(|(cpu, _)| *cpu != from)
            .map(|(_, queue)| queue.backlog_at(now))
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timing::MachineProfile;

    fn costs() -> CostTable {
        let mut power8 = MachineProfile::builtin("power8").unwrap();
        power8.set("tlb.tlbie_bus=60").unwrap();
        power8.set("tlb.tlbie_received=30").unwrap();
        power8.costs()
    }

    #[test]
    fn one_cpu_alone_waits_for_nobody() {
        let (bus, costs) = (InvalidationBus::new(1), costs());
        for now in [0, 60, 120] {
            assert_eq!(bus.issue(0, now, &costs), 0);
        }
        assert_eq!(bus.completion(0, 121), 0);
    }

    #[test]
    fn two_at_the_same_moment_go_one_after_the_other() {
        let (bus, costs) = (InvalidationBus::new(3), costs());
        assert_eq!(bus.issue(0, 1000, &costs), 0);
        assert_eq!(bus.issue(1, 1000, &costs), 60);
        assert_eq!(bus.issue(2, 990, &costs), 120, "a CPU that is behind");
        assert_eq!(bus.issue(0, 5000, &costs), 0, "all done long ago");
    }

    #[test]
    fn a_tlbsync_waits_for_the_slowest_receiver() {
        let (bus, mut costs) = (InvalidationBus::new(2), costs());
        costs.tlbie_received = 100;
        for now in [0, 60, 120] {
            bus.issue(0, now, &costs);
        }
        // Three of 100 from 0 on, seen at 200.
        assert_eq!(bus.completion(0, 200), 100);
        assert_eq!(bus.completion(1, 200), 0, "its own are no wait");
        assert_eq!(bus.completion(0, 300), 0);
    }
}
