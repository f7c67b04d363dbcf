//! Measurements as text for people.

use crate::bench::curves::size;
use crate::bench::{hpt, replay};
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
    let _ = writeln!(
        text,
        "\n{:<34} {:>9} {:>9} {:>9}",
        "", "median", "least", "most"
    );
    for (name, spread) in &report.figures {
        let _ = writeln!(
            text,
            "{name:<34} {:>9.2} {:>9.2} {:>9.2}",
            spread.median, spread.min, spread.max
        );
    }
    text.push_str(
        "\nA name with _vs_ is a ratio taken within one round; _mps is millions a second.\n",
    );
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
    for (name, spread) in [("unchecked", rates.unchecked), ("checked", rates.checked)] {
        let _ = writeln!(
            text,
            "{name:<24} {:>10.0} {:>10.0} {:>10.0}",
            spread.median, spread.min, spread.max
        );
    }
    text
}
