//! What is run: the name of a built-in scenario, or a file.
//!
//! Owns the ways to name it. A file that ends in `.toml` is a scenario, any other a capture.

use crate::output::Place;
use anyhow::{Context, Result, bail};
use emu_linux::{RunError, Scenario, Settings, Source, nearest, scenarios};
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest TOML file that is read, in bytes.
const TOML_BYTES_MAX: u64 = 64 << 10;

/// A source that was named, and its file if it is one.
#[derive(Debug)]
pub struct Named {
    /// What is run.
    pub source: Source,
    path: Option<PathBuf>,
}

impl Named {
    /// A scenario if it is the name of one, else a file.
    ///
    /// # Errors
    /// Neither, or a scenario's file with something wrong in it.
    pub fn new(typed: &OsStr) -> Result<Named> {
        if let Some(name) = typed.to_str()
            && scenarios().iter().any(|scenario| scenario.name == name)
        {
            return Ok(Named {
                source: Source::Scenario(name.to_owned()),
                path: None,
            });
        }
        let path = PathBuf::from(typed);
        if names_nothing(&path)? {
            return Err(no_scenario(&typed.to_string_lossy()).into());
        }
        if path.is_dir() {
            bail!(
                "`{}` is a directory; name a capture or a scenario in it",
                path.display()
            );
        }
        let source = if path.extension().is_some_and(|end| end == "toml") {
            let parsed = Scenario::parse(&scenario_text(&path)?);
            let scenario = parsed.with_context(|| format!("scenario `{}`", path.display()))?;
            Source::File(Box::new(scenario))
        } else {
            Source::Trace(path.clone())
        };
        Ok(Named {
            source,
            path: Some(path),
        })
    }

    /// The settings that a scenario's file has; none for anything else.
    pub fn settings(&self) -> Settings {
        match &self.source {
            Source::File(scenario) => scenario.settings().clone(),
            _ => Settings::default(),
        }
    }

    /// The policy that a scenario's file names.
    pub fn policy(&self) -> Option<&str> {
        match &self.source {
            Source::File(scenario) => scenario.policy(),
            _ => None,
        }
    }

    /// Refuses an output that would take the place of what is run.
    ///
    /// # Errors
    /// If it is the same file.
    pub fn refuse_to_overwrite(&self, place: &Place) -> Result<()> {
        if let (Some(path), Some(own)) = (place.path(), &self.path)
            && std::fs::canonicalize(own).is_ok_and(|own| own == path)
        {
            let what = match self.source {
                Source::Trace(_) => "capture",
                _ => "scenario",
            };
            bail!("`{}` is the {what} itself; write elsewhere", path.display());
        }
        Ok(())
    }
}

/// There is no scenario of that name.
pub fn no_scenario(name: &str) -> RunError {
    let scenarios = scenarios();
    let names = || scenarios.iter().map(|scenario| scenario.name);
    RunError::NoScenario {
        name: name.to_owned(),
        nearest: nearest(name, names()),
        known: names().collect::<Vec<_>>().join(", "),
    }
}

/// The text of a scenario's file.
///
/// # Errors
/// A file that cannot be read, is too long or is not text.
pub fn scenario_text(path: &Path) -> Result<String> {
    toml_text("scenario", path)
}

/// The text of a TOML file that holds a `what`.
///
/// # Errors
/// A file that cannot be read, is too long or is not text.
pub fn toml_text(what: &str, path: &Path) -> Result<String> {
    let told = || format!("{what} `{}`", path.display());
    let file = std::fs::File::open(path).with_context(told)?;
    let mut text = String::new();
    let read = file.take(TOML_BYTES_MAX + 1).read_to_string(&mut text);
    if read.with_context(told)? as u64 > TOML_BYTES_MAX {
        bail!("{} is longer than {TOML_BYTES_MAX} bytes", told());
    }
    Ok(text)
}

fn names_nothing(path: &Path) -> Result<bool> {
    if path.as_os_str().is_empty() {
        return Ok(true);
    }
    let exists = path
        .try_exists()
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(!exists)
}
