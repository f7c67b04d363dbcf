//! JSON for programs: the library's own types, one document, a newline at its end.

use anyhow::{Context, Result};
use serde::Serialize;

/// `value` as indented JSON.
///
/// # Errors
/// Never for the library's reports, whose keys are all strings or numbers.
pub fn pretty<T: Serialize>(value: &T) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value).context("cannot write the JSON")?;
    text.push('\n');
    Ok(text)
}
