//! The interleavings of a few tasks, searched for what breaks an invariant.
//!
//! Owns the scenarios (`scenario`, `op`, `program`), the stage on which they are run over and over (`stage`), what
//! steps touch (`record`, `step`), and the search (`search`). Refuses verdicts of its own: what is broken the checkers
//! of [`crate::invariant`] say.

mod commute;
#[cfg(test)]
mod mutation_tests;
mod op;
mod program;
mod record;
mod replay;
mod result;
mod scenario;
#[cfg(test)]
mod script_tests;
mod search;
mod set_up;
mod shared;
mod stage;
mod step;
#[cfg(test)]
mod timing_tests;
#[cfg(test)]
mod walk_tests;

pub use op::{Op, OpError};
pub use replay::{ReplayError, ReplayStep, Replayed, replay, replay_of};
pub use result::{Bounds, Cell, Found, Part, SoFar, Strategy};
pub use scenario::{ExploreScenario, ExploreScenarioError, ExploreTask, explore_scenarios};
pub use search::{explore, explore_part};
pub use stage::ExploreError;
