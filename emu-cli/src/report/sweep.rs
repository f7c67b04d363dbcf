//! `emu sweep` as text: a table for each machine.

use super::layout::{count, grouped, printable, table};
use crate::sweep::{Kind, Report, Series};
use std::collections::BTreeSet;

/// The whole sweep.
pub fn text(report: &Report) -> String {
    let mut text = head(report);
    for (machine, series) in report.series() {
        text.push_str(&format!(
            "\n{machine}: {} by {}\n",
            report.kind.figure(),
            report.kind.over()
        ));
        text.push_str(&match report.kind {
            Kind::Seed => seeds(report, &series),
            _ => grid(report, &series),
        });
    }
    text.push_str(match report.kind {
        Kind::Batch | Kind::Cpus | Kind::Scope => {
            "\nBusy cycles of all CPUs for each page that is mapped, touched and unmapped.\n"
        }
        Kind::PreemptOff => "\nIdle time excluded; `emu run` names where the longest span was.\n",
        Kind::Seed => {
            "\nCycles of all CPUs, idle ones too. broken: seeds in which a rule was broken.\n"
        }
    });
    printable(&text)
}

fn head(report: &Report) -> String {
    let mut head = report.scenario.to_owned();
    if let (Some(operations), Some(pages)) = (report.operations, report.pages) {
        let (areas, pages) = (
            count(operations, "time", "times"),
            count(pages, "page", "pages"),
        );
        head.push_str(&format!("  {areas} {pages}"));
    }
    head + "\n"
}

/// A row for each policy, a column for each value.
fn grid(report: &Report, series: &[Series<'_>]) -> String {
    let values: Vec<String> = report.values.iter().map(|&value| grouped(value)).collect();
    let head: Vec<&str> = std::iter::once("policy")
        .chain(values.iter().map(String::as_str))
        .collect();
    let rows = series.iter().map(|(name, points)| {
        let figures = points.iter().map(|point| match report.figure(point) {
            _ if point.died.is_some() => "died".to_owned(),
            Some(figure) => grouped(figure.round().max(0.0) as u64),
            None => "-".to_owned(),
        });
        std::iter::once(name.clone()).chain(figures).collect()
    });
    table(&head, rows, "lr")
}

/// A row for each policy: the spread over the seeds, and what broke in how many.
fn seeds(report: &Report, series: &[Series<'_>]) -> String {
    let rows = series.iter().map(|(name, points)| {
        let mut cycles: Vec<u64> = points.iter().map(|point| point.cycles).collect();
        cycles.sort_unstable();
        let broken = points.iter().filter(|point| !point.broken.is_empty());
        let rules: BTreeSet<&str> = points
            .iter()
            .flat_map(|point| point.broken.iter().map(String::as_str))
            .collect();
        let of = |index: usize| cycles.get(index).map_or("-".to_owned(), |&n| grouped(n));
        vec![
            name.clone(),
            of(0),
            of(cycles.len() / 2),
            of(cycles.len().saturating_sub(1)),
            format!("{} of {}", broken.count(), report.values.len()),
            rules.into_iter().collect::<Vec<_>>().join(", "),
        ]
    });
    table(
        &["policy", "least", "median", "most", "broken", "rules"],
        rows,
        "lrrrrl",
    )
}
