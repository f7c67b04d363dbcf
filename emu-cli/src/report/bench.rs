//! Measurements as text for people.

use crate::bench::curves::size;
use crate::bench::host::Host;
use crate::bench::{Spread, exec, explore, flush, hpt, replay, translate};
use std::collections::BTreeMap;
use std::fmt::Write;

/// `emu bench hpt`.
pub fn hpt(report: &hpt::Report) -> String {
    let host = &report.host;
    let mut text = format!(
        "{} with {} CPUs, {} compare; tables of {} and 16 MiB, half full; {} rounds\n",
        host.cpu,
        host.cpus,
        host.backend,
        size(report.table_bytes),
        report.rounds,
    );
    huge_pages(&mut text, host);
    figures(&mut text, &report.figures);
    text
}

/// `emu bench flush`.
pub fn flush(report: &flush::Report) -> String {
    let mut text = format!(
        "{} with {} CPUs; a table of {}, half full; {} rounds\n",
        report.host.cpu,
        report.host.cpus,
        size(report.table_bytes),
        report.rounds,
    );
    huge_pages(&mut text, &report.host);
    figures(&mut text, &report.figures);
    text
}

/// `emu bench translate`.
pub fn translate(report: &translate::Report) -> String {
    let mut text = format!(
        "{} with {} CPUs; the translation structures of POWER8, pages of 4 KiB; {} rounds\n",
        report.host.cpu, report.host.cpus, report.rounds,
    );
    figures(&mut text, &report.figures);
    text
}

fn huge_pages(text: &mut String, host: &Host) {
    let _ = match host.huge_page_share {
        Some(share) => writeln!(
            text,
            "{:.0} % of the table lies in huge pages",
            share * 100.0
        ),
        None => writeln!(
            text,
            "whether the table lies in huge pages the host does not tell"
        ),
    };
}

fn figures(text: &mut String, figures: &BTreeMap<String, Spread>) {
    let _ = writeln!(
        text,
        "\n{:<34} {:>9} {:>9} {:>9}",
        "", "median", "least", "most"
    );
    for (name, spread) in figures {
        let _ = writeln!(
            text,
            "{name:<34} {:>9.2} {:>9.2} {:>9.2}",
            spread.median, spread.min, spread.max
        );
    }
    text.push_str(
        "\nA name with _vs_ is a ratio taken within one round; _mps is millions a second.\n",
    );
}

/// `emu bench exec`.
pub fn exec(report: &exec::Report) -> String {
    let mut text = format!(
        "{}: {} instructions, {} rounds\n",
        report.host.cpu,
        super::layout::grouped(report.instructions),
        report.rounds,
    );
    figures(&mut text, &report.figures);
    if !report.qemu {
        text.push_str("qemu-ppc64 is not installed, so there is nothing beside it.\n");
    }
    text
}

/// `emu bench replay`.
pub fn replay(report: &replay::Report) -> String {
    let mut text = format!(
        "{} with {} CPUs; {} under {}, {} operations a run, {} rounds\n\n",
        report.host.cpu,
        report.host.cpus,
        report.scenario,
        report.policy,
        report.operations,
        report.rounds,
    );
    let _ = writeln!(
        text,
        "{:<24} {:>10} {:>10} {:>10}",
        "operations a second", "median", "least", "most"
    );
    let rates = &report.ops_per_second;
    for (name, spread) in rates.named() {
        let _ = writeln!(
            text,
            "{name:<24} {:>10.0} {:>10.0} {:>10.0}",
            spread.median, spread.min, spread.max
        );
    }
    if !report.curve.is_empty() {
        let _ = writeln!(
            text,
            "\n{:>13} {:>12} {:>12} {:>12} {:>8} {:>6}",
            "live mappings", "mapped/s", "loads/s", "limit/s", "ratio", "bytes"
        );
    }
    for point in &report.curve {
        let _ = writeln!(
            text,
            "{:>13} {:>12} {:>12.0} {:>12.0} {:>8.4} {:>6}",
            point.live_mappings,
            whole(point.mapped_per_second),
            point.ops_per_second,
            point.limit_per_second,
            point.ratio,
            whole(point.bytes_per_mapping),
        );
    }
    text
}

/// `emu bench explore`.
pub fn explore(report: &explore::Report) -> String {
    let mut text = format!(
        "{} with {} CPUs; {} under {} on one CPU, {} departures; {} rounds\n\n",
        report.host.cpu,
        report.host.cpus,
        report.scenario,
        report.policy,
        report.bound,
        report.rounds,
    );
    let _ = writeln!(
        text,
        "{:<24} {:>10} {:>10} {:>10}",
        "a second, on one core", "median", "least", "most"
    );
    for (name, spread) in [
        ("schedules", report.schedules_per_second),
        ("steps", report.steps_per_second),
    ] {
        let _ = writeln!(
            text,
            "{name:<24} {:>10.0} {:>10.0} {:>10.0}",
            spread.median, spread.min, spread.max
        );
    }
    let _ = writeln!(
        text,
        "\n{} schedules; the set-up of the machine before them takes {:.1} ms.\n\
         With {} departures {} schedules stand for {} of the search that leaves nothing out: one for {:.1}.",
        report.schedules,
        report.set_up_ms.median,
        report.plain_bound,
        report.schedules_reduced,
        report.schedules_plain,
        report.plain_per_schedule
    );
    text
}

fn whole(figure: Option<f64>) -> String {
    figure.map_or("-".to_owned(), |figure| format!("{figure:.0}"))
}
