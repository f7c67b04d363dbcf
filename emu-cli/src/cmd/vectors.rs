//! `emu vectors`: recorded machine states against the MMU.

use super::EXIT_VIOLATION;
use crate::args::{Undefined, VectorsArgs};
use crate::output::{Place, deliver};
use crate::progress::Bar;
use crate::report::json;
use crate::report::vectors::{Judged, Tally, text};
use anyhow::{Context, Result, bail};
use emu_linux::Progress;
use emu_mmu::Choices;
use emu_mmu::vectors::{Runner, Vector, Verdict};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// A longer line is no vector.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Vectors between two looks at the bar.
const BAR_STEP: u64 = 256;

/// Runs a file; 1 if a vector failed.
pub fn vectors(args: &VectorsArgs) -> Result<u8> {
    let place = match &args.output.output {
        Some(path) => Place::check(path)?,
        None => Place::Stdout,
    };
    let choices = match args.undefined {
        Undefined::QemuLike => Choices::QEMU,
        Undefined::Plain => Choices::default(),
    };
    let tally = run(&args.file, choices)?;
    let report = if args.output.json {
        json::pretty(&tally)?
    } else {
        text(&tally, args.list_deviations)
    };
    deliver(&[(&place, &report)])?;
    Ok(if tally.failed == 0 { 0 } else { EXIT_VIOLATION })
}

fn run(path: &Path, choices: Choices) -> Result<Tally> {
    let name = match path.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => format!("`{}`", path.display()),
    };
    let mut lines = open(path).with_context(|| format!("cannot read {name}"))?;
    let mut runner = Runner::with_choices(choices)?;
    let mut tally = Tally::default();
    let mut bar = Bar::new("vectors".to_owned());
    let mut line = String::new();
    for number in 1u64.. {
        line.clear();
        let read = lines
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_line(&mut line)
            .with_context(|| format!("cannot read {name}, line {number}"))?;
        if read as u64 == LINE_BYTES_MAX {
            bail!("{name}, line {number}: longer than {LINE_BYTES_MAX} bytes, so no vector");
        }
        if read == 0 {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let vector = Vector::parse(&line).with_context(|| format!("{name}, line {number}"))?;
        tally.add(&vector, judged(&mut runner, &vector));
        if number.is_multiple_of(BAR_STEP) {
            bar.update(Progress {
                done: number,
                total: None,
            });
        }
    }
    if tally.total() == 0 {
        bail!("{name} holds no vectors: it needs one JSON object a line");
    }
    Ok(tally)
}

fn judged(runner: &mut Runner, vector: &Vector) -> Judged {
    match runner.run(vector) {
        Ok(Verdict::Passed) => Judged::Passed,
        Ok(Verdict::Deviates(ours)) => {
            Judged::Deviates(ours.iter().map(ToString::to_string).collect())
        }
        Ok(Verdict::Failed(ours)) => Judged::Failed(ours.iter().map(ToString::to_string).collect()),
        Err(error) => Judged::Failed(vec![error.to_string()]),
    }
}

fn open(path: &Path) -> std::io::Result<Box<dyn BufRead>> {
    let bytes: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(File::open(path)?),
    };
    let mut file = BufReader::new(bytes);
    let gzip = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzip {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}
