//! `emu exec`: a program in machine code.

use super::{EXIT_ERROR, EXIT_VIOLATION};
use crate::args::ExecArgs;
use crate::exec::{Guest, Image, Sink, listen};
use crate::output::{Place, deliver};
use crate::report::exec::{ExecReport, text};
use crate::report::json;
use anyhow::{Context, Result, bail};
use emu_linux::Mode;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Runs it and reports. The exit code is 0 or 1 as the guest halted with, and 2 for anything else.
pub fn exec(args: &ExecArgs) -> Result<u8> {
    let place = match &args.output.output {
        Some(path) => Place::check(path)?,
        None => Place::Stdout,
    };
    let name = || format!("`{}`", args.image.display());
    let data = fs::read(&args.image).with_context(|| format!("cannot read {}", name()))?;
    let image = Image::parse(&data).with_context(name)?;
    if args.gdb.is_some() && args.mode == Some(Mode::Threads) {
        bail!(
            "`--gdb` stops all CPUs at once, which `--mode threads` cannot; leave one of them out"
        );
    }
    let listener = args.gdb.as_deref().map(listen).transpose()?;
    let printed = Arc::new(Mutex::new(Vec::new()));
    let console: Sink = match args.output.json {
        true => printed.clone(),
        false => Arc::new(Mutex::new(io::stdout())),
    };
    let trace = args.trace.as_deref().map(sink).transpose()?;
    let mut guest = Guest::new(args, &image, Some(console), trace.clone())?;
    let ran = match &listener {
        Some(listener) => guest.debug(listener),
        None => guest.run(),
    };
    // What the trace has is wanted most when the guest went wrong.
    if let Some(Ok(mut trace)) = trace.as_ref().map(|trace| trace.lock()) {
        trace.flush().context("cannot write the trace")?;
    }
    let end = ran?;
    let console = printed
        .lock()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let console = console.ok().filter(|_| args.output.json);
    let report = ExecReport::new(&guest, &end, console);
    let told = if args.output.json {
        json::pretty(&report)?
    } else {
        text(&report)
    };
    deliver(&[(&place, &told)])?;
    Ok(match report.exit() {
        Some(0) => 0,
        Some(1) => EXIT_VIOLATION,
        _ => EXIT_ERROR,
    })
}

fn sink(path: &Path) -> Result<Sink> {
    if path == Path::new("-") {
        return Ok(Arc::new(Mutex::new(io::stdout())));
    }
    let file = File::create(path).with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(Arc::new(Mutex::new(BufWriter::new(file))))
}
