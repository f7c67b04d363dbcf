//! `emu bench`: host-time measurements.

use crate::args::{
    BenchExecArgs, BenchExploreArgs, BenchFlushArgs, BenchHptArgs, BenchReplayArgs,
    BenchTranslateArgs, BenchVerb, OutputArgs,
};
use crate::bench::curves::{Axis, Curve};
use crate::bench::{curves, exec, explore, flush, host, hpt, replay, translate};
use crate::output::{Place, deliver};
use crate::progress::Bar;
use crate::report::{bench as report, json};
use anyhow::{Result, bail};
use emu_linux::Progress;

/// Measures and reports; always 0 when it finishes.
pub fn bench(verb: &BenchVerb) -> Result<u8> {
    match verb {
        BenchVerb::Hpt(args) => bench_hpt(args),
        BenchVerb::Flush(args) => bench_flush(args),
        BenchVerb::Translate(args) => bench_translate(args),
        BenchVerb::Exec(args) => bench_exec(args),
        BenchVerb::Replay(args) => bench_replay(args),
        BenchVerb::Explore(args) => bench_explore(args),
    }
}

fn place(output: &OutputArgs) -> Result<Place> {
    match &output.output {
        Some(path) => Place::check(path),
        None => Ok(Place::Stdout),
    }
}

fn bench_exec(args: &BenchExecArgs) -> Result<u8> {
    let place = place(&args.output)?;
    let report = stepped("bench exec", |step| exec::measure(args.rounds.into(), step))?;
    let text = match args.output.json {
        true => json::pretty(&report)?,
        false => report::exec(&report),
    };
    deliver(&[(&place, &text)])?;
    Ok(0)
}

fn bench_replay(args: &BenchReplayArgs) -> Result<u8> {
    place(&args.output)?;
    let picture = args.svg.as_deref().map(Place::check).transpose()?;
    if picture.is_some() && args.live_max < replay::LIVE_MIN {
        bail!("`--svg` draws the curve; `--live-max` leaves it out");
    }
    let options = replay::Options {
        rounds: args.rounds.into(),
        operations: args.operations,
        live_max: args.live_max,
    };
    let report = stepped("bench replay", |step| replay::measure(options, step))?;
    let text = match args.output.json {
        true => json::pretty(&report)?,
        false => report::replay(&report),
    };
    let drawn = (
        "Random loads by live mappings",
        Axis::Count("live mappings"),
    );
    hand_over(
        &args.output,
        picture,
        &text,
        (drawn.0, drawn.1, &report.drawn()),
    )
}

fn bench_explore(args: &BenchExploreArgs) -> Result<u8> {
    let place = place(&args.output)?;
    let options = explore::Options {
        rounds: args.rounds.into(),
        scenario: args.scenario.clone(),
        policy: args.policy.clone(),
        bound: args.bound.into(),
    };
    let report = stepped("bench explore", |step| explore::measure(&options, step))?;
    let text = match args.output.json {
        true => json::pretty(&report)?,
        false => report::explore(&report),
    };
    deliver(&[(&place, &text)])?;
    Ok(0)
}

/// A bar over measured steps.
fn stepped<T>(
    name: &str,
    measure: impl FnOnce(&mut dyn FnMut(u64, u64)) -> Result<T>,
) -> Result<T> {
    let mut bar = Bar::new(name.to_owned());
    measure(&mut |done, total| {
        bar.update(Progress {
            done,
            total: Some(total),
        });
    })
}

/// A report and, if asked for, its picture: both or neither.
fn hand_over(
    output: &OutputArgs,
    picture: Option<Place>,
    text: &str,
    (title, axis, curves): (&str, Axis, &[Curve]),
) -> Result<u8> {
    let place = place(output)?;
    let svg = picture
        .as_ref()
        .map(|_| curves::svg(title, axis, curves))
        .transpose()?;
    let mut outputs = vec![(&place, text)];
    if let (Some(place), Some(svg)) = (&picture, &svg) {
        outputs.push((place, svg));
    }
    deliver(&outputs)?;
    Ok(0)
}

fn bench_hpt(args: &BenchHptArgs) -> Result<u8> {
    place(&args.output)?;
    let picture = args.svg.as_deref().map(Place::check).transpose()?;
    host::with_huge_malloc();
    let options = hpt::Options {
        rounds: args.rounds.into(),
        groups_log2_max: groups_log2(args.table_mib_max),
        curves: picture.is_some(),
    };
    let report = stepped("bench hpt", |step| hpt::measure(options, step))?;
    let text = match args.output.json {
        true => json::pretty(&report)?,
        false => report::hpt(&report),
    };
    let drawn = ("Hash-table operations by table size", Axis::TableBytes);
    hand_over(
        &args.output,
        picture,
        &text,
        (drawn.0, drawn.1, &report.curves),
    )
}

fn bench_flush(args: &BenchFlushArgs) -> Result<u8> {
    place(&args.output)?;
    let picture = args.svg.as_deref().map(Place::check).transpose()?;
    let options = flush::Options {
        rounds: args.rounds.into(),
        groups_log2: groups_log2(args.table_mib),
    };
    let report = stepped("bench flush", |step| flush::measure(options, step))?;
    let text = match args.output.json {
        true => json::pretty(&report)?,
        false => report::flush(&report),
    };
    let axis = Axis::Count("entries of a flush");
    let drawn = ("Flushed entries by the size of a flush", axis);
    hand_over(
        &args.output,
        picture,
        &text,
        (drawn.0, drawn.1, &report.curves),
    )
}

fn bench_translate(args: &BenchTranslateArgs) -> Result<u8> {
    place(&args.output)?;
    let picture = args.svg.as_deref().map(Place::check).transpose()?;
    let options = translate::Options {
        rounds: args.rounds.into(),
        translations: args.translations,
    };
    let report = stepped("bench translate", |step| translate::measure(options, step))?;
    let text = match args.output.json {
        true => json::pretty(&report)?,
        false => report::translate(&report),
    };
    let drawn = ("Translations by pages in use", Axis::Count("pages in use"));
    hand_over(
        &args.output,
        picture,
        &text,
        (drawn.0, drawn.1, &report.curves),
    )
}

/// log2 of the groups of a table of so many MiB.
fn groups_log2(mib: u64) -> u8 {
    (mib << 20 >> 7).ilog2() as u8
}
