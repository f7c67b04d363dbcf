//! What is wrong with a scenario's text, and where.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ScenarioError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl ScenarioError {
    /// At a byte of `text`; any number will do.
    pub(super) fn at(text: &str, byte: usize, message: String) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ScenarioError {
            line: 1 + before.matches('\n').count(),
            column: 1 + before[line_start..].chars().count(),
            message,
        }
    }
}

/// Everything that is wrong with a text: at least one error, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScenarioErrors(Vec<ScenarioError>);

impl ScenarioErrors {
    /// Those found, sorted; `None` if there are none.
    pub(super) fn of(mut found: Vec<ScenarioError>) -> Option<Self> {
        found.sort_by_key(|error| (error.line, error.column));
        (!found.is_empty()).then_some(ScenarioErrors(found))
    }

    /// The errors.
    pub fn all(&self) -> &[ScenarioError] {
        &self.0
    }
}

impl fmt::Display for ScenarioErrors {
    /// The first, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut errors = self.0.iter();
        if let Some(first) = errors.next() {
            first.fmt(f)?;
        }
        match errors.len() {
            0 => Ok(()),
            n => write!(f, " (and {n} more: `emu scenario check` lists them)"),
        }
    }
}

impl std::error::Error for ScenarioErrors {}
