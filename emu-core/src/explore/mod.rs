//! Running one short piece of guest code over and over, each time with another interleaving.
//!
//! Owns the way back to the start ([`Arena`]), where a run departs from the undisturbed one ([`Deviation`],
//! [`Plan`]), and what can be departed to at each step ([`StepView`]). Refuses to know what is looked for:
//! the search is its caller's.
//!
//! Time does not pass in an exploration. The unit is the *step*: one verb of one CPU. What follows a step
//! is determined by the plan alone: the CPU that runs goes on until it waits; an interrupt lands where the
//! plan says, and after so many steps without one ([`Limits::steps_between_ticks`]), as a timer would see to
//! it. Memory is sequentially consistent, and a CPU has done the `tlbie`s of
//! the others when it goes on, unless they may be late ([`Arena::with_late_invalidations`]).

mod arena;
mod late;
mod mark;
mod plan;
mod run;
mod view;

pub use arena::{Arena, Fresh};
pub use mark::Mark;
pub use plan::{Deviation, Plan, PlanError, Turn};
pub(crate) use view::Others;
pub use view::{ArenaEnd, ArenaError, Limits, StepView, Watch};
