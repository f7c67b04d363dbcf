//! Litmus tests of the hash MMU: a few steps of a few tasks, and every way in which they end.
//!
//! Owns the format of the tests (`parse`), the guest that makes their steps on the real machine (`guest`,
//! `steps`), the search over all interleavings of these steps (`search`) and what can be seen at the end
//! (`observe`). Refuses verdicts of its own: a test claims, the search counts.
//!
//! One step between two choices is one verb of one CPU. Memory is sequentially consistent; a `tlbie` reaches
//! another CPU at any time up to the `ptesync` after the `tlbsync` that follows it.
//!
//! ```
//! use emu_linux::litmus::Litmus;
//!
//! let text = "HLIT two-loads { var x = 1; } P0 @ 0 | P1 @ 1 ; r = read x | write x 2 ; exists (P0:r = 2)";
//! let result = Litmus::parse(text).unwrap().run().unwrap();
//! assert_eq!((result.positive, result.negative), (1, 1));
//! assert!(result.holds());
//! ```

pub mod fuzzing;
mod guest;
mod hash_page;
mod lexer;
mod observe;
mod parse;
mod place;
mod result;
mod search;
mod stage;
mod steps;
mod test;
#[cfg(test)]
mod tests;
mod tracked;
mod watch;
mod words;

pub use result::{Ended, Outcome};
pub use search::LitmusRunError;
pub use test::{Claim, Litmus};

/// What is wrong with the text of a test.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct LitmusError {
    /// Line, from 1.
    pub line: usize,
    /// Character of the line, from 1.
    pub column: usize,
    /// What stands there and what would be right.
    pub message: String,
}
