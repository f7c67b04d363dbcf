//! `emu probe`: what the model itself is like.
//!
//! Owns experiments on the timing model. Refuses to judge a policy: that is `emu compare`'s and
//! `emu sweep`'s.

pub mod headline;
pub mod latency;
pub mod sensitivity;
