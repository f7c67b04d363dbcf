//! Where the cycles of a run went, as text: by part of the kernel's work, the longest spans, latencies.

use super::layout::{grouped, indented, percent, table, wrap};
use emu_linux::RunReport;
use emu_linux::latency::Latency;
use emu_linux::report::CycleReport;
use emu_linux::span::LongestSpans;
use std::collections::BTreeMap;

/// The sections, with an empty line between them.
pub fn text(report: &RunReport) -> String {
    let sections = [
        cycles(&report.cycles),
        paths(&report.cycles),
        spans(&report.longest_spans),
        latency(&report.latency),
    ];
    let sections = sections.into_iter().filter(|text| !text.is_empty());
    sections.collect::<Vec<_>>().join("\n")
}

fn cycles(cycles: &CycleReport) -> String {
    let mut text = format!("cycles: {}\n", grouped(cycles.total));
    let clocks = cycles.per_cpu.iter().enumerate();
    let clocks: Vec<String> = clocks
        .map(|(cpu, n)| format!("{cpu}: {}", grouped(*n)))
        .collect();
    text.push_str(&wrap(&clocks.join(", "), "  CPU ", "      "));
    let mut stack: Vec<(&String, u64)> = cycles.parts.iter().map(|(name, n)| (name, *n)).collect();
    stack.retain(|&(_, n)| n > 0);
    // Stable: equal ones stay in the order of their names.
    stack.sort_by_key(|&(_, n)| std::cmp::Reverse(n));
    let rows = stack.into_iter().map(|(name, n)| {
        vec![
            name.replace('_', " "),
            grouped(n),
            format!("{}%", percent(n, cycles.total)),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if !rows.is_empty() {
        text.push_str(&indented(&table(&[], rows, "lr")));
    }
    text
}

/// Parts of a kernel path that are named.
const PARTS_NAMED: usize = 3;

/// The kernel paths, and what each spent most on.
fn paths(cycles: &CycleReport) -> String {
    let mut paths: Vec<_> = cycles.paths.iter().collect();
    // Stable: equal ones stay in the order of their names.
    paths.sort_by_key(|(_, parts)| std::cmp::Reverse(parts.values().sum::<u64>()));
    let rows = paths.into_iter().map(|(name, parts)| {
        let all = parts.values().sum::<u64>();
        let mut parts: Vec<_> = parts.iter().collect();
        parts.sort_by_key(|&(_, &n)| std::cmp::Reverse(n));
        let most = parts.into_iter().take(PARTS_NAMED);
        let most =
            most.map(|(part, &n)| format!("{} {}%", part.replace('_', " "), percent(n, all)));
        vec![
            name.replace('_', " "),
            grouped(all),
            format!("{}%", percent(all, cycles.total)),
            most.collect::<Vec<_>>().join(", "),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let head = ["kernel path", "cycles", "", "of them"];
    table(&head, rows, "lrrl")
}

/// Where the longest spans were.
fn spans(spans: &LongestSpans) -> String {
    let kinds = [
        ("preempt-off", &spans.preempt_off),
        ("irqs-off", &spans.irqs_off),
    ];
    let mut text = String::new();
    for (kind, span) in kinds {
        let Some(span) = span else { continue };
        let began = match span.began_in.as_str() {
            "" => String::new(),
            function => format!(" in {function}"),
        };
        let told = format!(
            "{} cycles on CPU {} from cycle {}{began}, to its end by {}/{} in:",
            grouped(span.cycles),
            span.cpu,
            grouped(span.began),
            span.comm,
            span.pid,
        );
        text.push_str(&wrap(&told, &format!("longest {kind}: "), "  "));
        match span.chain.is_empty() {
            true => text.push_str("    no function of the model\n"),
            false => text.extend(span.chain.iter().map(|frame| format!("    {frame}\n"))),
        }
    }
    text
}

/// How long operations took.
fn latency(latency: &BTreeMap<String, Latency>) -> String {
    if latency.is_empty() {
        return String::new();
    }
    let rows = latency.iter().map(|(name, told)| {
        let figures = [told.count, told.min, told.p50, told.p90, told.p99, told.max];
        let figures = figures.into_iter().map(grouped);
        std::iter::once(name.clone()).chain(figures).collect()
    });
    let head = [
        "latency, cycles",
        "count",
        "least",
        "50 %",
        "90 %",
        "99 %",
        "most",
    ];
    table(&head, rows, "lr")
}
