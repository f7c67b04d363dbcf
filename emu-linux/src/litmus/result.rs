//! What came of a test.

use super::test::Claim;
use serde::Serialize;
use std::collections::BTreeMap;

/// One way in which schedules of a test end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// Schedules that end so.
    pub schedules: u64,
    /// The condition holds.
    pub witness: bool,
    /// What the condition looks at, and what was there.
    pub seen: BTreeMap<String, String>,
}

/// What came of all schedules of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The test's name.
    pub name: String,
    /// What it claims of the condition.
    pub claim: Claim,
    /// The condition.
    pub condition: String,
    /// The different ends.
    pub states: Vec<Ended>,
    /// Schedules whose end fulfils the condition.
    pub positive: u64,
    /// Schedules whose end does not.
    pub negative: u64,
    /// Schedules that never end: tasks that wait for each other. In neither of the two.
    pub unfinished: u64,
    /// Runs made to know this: schedules that come to one state are followed once.
    pub runs: u64,
    /// CPUs of the machine.
    pub cpus: u16,
}

impl Outcome {
    /// Whether the claim holds.
    pub fn holds(&self) -> bool {
        match self.claim {
            Claim::Exists => self.positive > 0,
            Claim::Forbidden => self.positive == 0,
        }
    }
}
