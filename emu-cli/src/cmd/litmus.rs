//! `emu litmus`: every interleaving of small tests, and whether their claims hold.

use super::EXIT_VIOLATION;
use crate::args::LitmusArgs;
use crate::output::{Place, deliver};
use crate::report::{json, litmus as report};
use anyhow::{Context, Result, anyhow, bail};
use emu_linux::litmus::{Litmus, Outcome};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Bytes of the longest test: it has at most a few dozen steps.
const BYTES_MAX: u64 = 1 << 20;

/// Runs tests; 1 if a claim does not hold.
pub fn litmus(args: &LitmusArgs) -> Result<u8> {
    let place = match &args.output.output {
        Some(path) => Place::check(path)?,
        None => Place::Stdout,
    };
    let mut files = Vec::new();
    for path in &args.paths {
        files.extend(tests(path)?);
    }
    // What is wrong with any of them is told before the first is run.
    let read = files.iter().map(|path| read(path));
    let tests = read.collect::<Result<Vec<Litmus>>>()?;
    let ran = tests.iter().map(|test| {
        let outcome = test.run();
        outcome.with_context(|| format!("test `{}`", test.name()))
    });
    let outcomes = ran.collect::<Result<Vec<Outcome>>>()?;
    let text = match args.output.json {
        true => json::pretty(&report::Document::new(&outcomes))?,
        false => report::text(&outcomes),
    };
    deliver(&[(&place, &text)])?;
    let hold = outcomes.iter().all(Outcome::holds);
    Ok(if hold { 0 } else { EXIT_VIOLATION })
}

/// The file, or the tests of a directory.
fn tests(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let cannot = || format!("cannot read `{}`", path.display());
    let mut files = Vec::new();
    for entry in path.read_dir().with_context(cannot)? {
        let file = entry.with_context(cannot)?.path();
        if file.extension() == Some(OsStr::new("hlit")) {
            files.push(file);
        }
    }
    if files.is_empty() {
        bail!(
            "`{}` holds no tests: their names end in .hlit",
            path.display()
        );
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Litmus> {
    let name = path.display();
    let cannot = || format!("cannot read `{name}`");
    let bytes = path.metadata().with_context(cannot)?.len();
    if bytes > BYTES_MAX {
        bail!("`{name}` has {bytes} bytes: no test is that long");
    }
    let text = std::fs::read_to_string(path).with_context(cannot)?;
    Litmus::parse(&text).map_err(|error| anyhow!("{name}:{error}"))
}
