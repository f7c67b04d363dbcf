//! `emu bench`: host-time measurements.

use crate::args::{BenchHptArgs, BenchReplayArgs, BenchVerb, OutputArgs};
use crate::bench::{curves, host, hpt, replay};
use crate::output::{Place, deliver};
use crate::progress::Bar;
use crate::report::{bench as report, json};
use anyhow::Result;
use emu_linux::Progress;

/// Measures and reports; always 0 when it finishes.
pub fn bench(verb: &BenchVerb) -> Result<u8> {
    match verb {
        BenchVerb::Hpt(args) => bench_hpt(args),
        BenchVerb::Replay(args) => bench_replay(args),
    }
}

fn place(output: &OutputArgs) -> Result<Place> {
    match &output.output {
        Some(path) => Place::check(path),
        None => Ok(Place::Stdout),
    }
}

fn bench_replay(args: &BenchReplayArgs) -> Result<u8> {
    let place = place(&args.output)?;
    let options = replay::Options {
        rounds: args.rounds.into(),
        operations: args.operations,
    };
    let mut bar = Bar::new("bench replay".to_owned());
    let report = replay::measure(options, &mut |done, total| {
        bar.update(Progress {
            done,
            total: Some(total),
        });
    })?;
    drop(bar);
    let text = match args.output.json {
        true => json::pretty(&report)?,
        false => report::replay(&report),
    };
    deliver(&[(&place, &text)])?;
    Ok(0)
}

fn bench_hpt(args: &BenchHptArgs) -> Result<u8> {
    let place = place(&args.output)?;
    let picture = args.svg.as_deref().map(Place::check).transpose()?;
    host::with_huge_malloc();
    let options = hpt::Options {
        rounds: args.rounds.into(),
        groups_log2_max: (args.table_mib_max << 20 >> 7).ilog2() as u8,
        curves: picture.is_some(),
    };
    let mut bar = Bar::new("bench hpt".to_owned());
    let report = hpt::measure(options, &mut |done, total| {
        bar.update(Progress {
            done,
            total: Some(total),
        });
    })?;
    drop(bar);
    let text = match args.output.json {
        true => json::pretty(&report)?,
        false => report::hpt(&report),
    };
    let svg = picture
        .as_ref()
        .map(|_| curves::svg("Hash-table operations by table size", &report.curves))
        .transpose()?;
    let mut outputs = vec![(&place, text.as_str())];
    if let (Some(place), Some(svg)) = (&picture, &svg) {
        outputs.push((place, svg));
    }
    deliver(&outputs)?;
    Ok(0)
}
