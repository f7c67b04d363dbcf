//! `emu run` as text.
//!
//! Owns the order and wording of the sections. A section without content is left out.

use super::accounts;
use super::layout::{count, grouped, indented, printable, table, times, wrap};
use emu_linux::leaks::Accounting;
use emu_linux::report::{
    BATCH_ENTRIES, CounterValues, RunReport, Segment, TraceReport, ViolationReport,
};

/// Longest schedule that is printed in full, in characters.
const SCHEDULE_CHARS_MAX: usize = 240;
/// Batch sizes of a segment that are printed one by one.
const SEGMENT_BATCHES_MAX: usize = 8;

/// A counter's label and value.
type Line = (String, String);

/// The whole report; `checked` says whether the invariants were.
pub fn run(report: &RunReport, checked: bool) -> String {
    let sections = [
        title(report, &format!("policy {}", report.policy)) + &schedule(report),
        counters(&report.counters),
        batches(&report.counters),
        segments(&report.segments),
        reports(report),
        violations(&report.violations, checked),
        report
            .accounting
            .as_ref()
            .map(accounting)
            .unwrap_or_default(),
        report
            .oops
            .as_ref()
            .map(|oops| wrap(oops, "the kernel died: ", "  "))
            .unwrap_or_default(),
        accounts::text(report),
        groups(report),
        report.trace.as_ref().map(trace).unwrap_or_default(),
    ];
    let sections: Vec<String> = sections
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    printable(&sections.join("\n"))
}

/// What was run: two lines. `what` stands behind the scenario.
pub fn title(report: &RunReport, what: &str) -> String {
    let cpus = count(report.cpus.into(), "CPU", "CPUs");
    let preempt = match report.preempt.as_str() {
        "full" => String::new(),
        other => format!("  preempt {other}"),
    };
    let mode = match report.mode.as_str() {
        "deterministic" => String::new(),
        other => format!("  mode {other}"),
    };
    let timing = match report.timing.as_str() {
        "cycle" => String::new(),
        other => format!("  timing {other}"),
    };
    let batch = match report.batch_size {
        BATCH_ENTRIES => String::new(),
        other => format!(", {}", count(other, "entry a batch", "entries a batch")),
    };
    format!(
        "{}  {what}  kernel {}  machine {}  {cpus}{preempt}{mode}{timing}  seed {}\n\
         {} pages, {} hash table of 2^{} groups{batch}\n",
        report.scenario,
        report.kernel,
        report.machine,
        report.seed,
        report.pages,
        report.backend,
        report.htab_bits,
    )
}

fn schedule(report: &RunReport) -> String {
    match &report.schedule {
        Some(text) if text.len() <= SCHEDULE_CHARS_MAX => format!("schedule {text}\n"),
        Some(text) => {
            format!(
                "schedule of {} characters (see --json)\n",
                grouped(text.len() as u64)
            )
        }
        None if report.mode == "threads" => {
            "no schedule: the host chose, and no other run need be like this one\n".to_owned()
        }
        None => "schedule too long to keep; the seed repeats it\n".to_owned(),
    }
}

fn counters(values: &CounterValues) -> String {
    let line = |label: &str, value: u64| (label.to_owned(), grouped(value));
    let mapping = vec![
        line("areas mapped", values.vmalloc),
        line("areas unmapped", values.vfree),
        line("PTEs set", values.ptes_set),
        line("PTEs cleared", values.ptes_cleared),
    ];
    let faults = vec![
        line("hash faults", values.hash_faults),
        line("HPTEs inserted", values.hpte_inserts),
        line("HPTEs evicted", values.hpte_evictions),
        line("HPTEs invalidated", values.hpte_invalidations),
    ];
    let flushes = vec![
        line("hpte_need_flush", values.need_flush),
        line("batches flushed", values.batch_flushes),
        line("entries in batches", values.batched_entries),
        line("single pages flushed", values.single_flushes),
        line("entries flushed again", values.flushes_repeated),
        line("tlbie", values.tlbie),
        line("tlbiel", values.tlbiel),
    ];
    let tasks = vec![
        line("context switches", values.context_switches),
        line("preemptions", values.preemptions),
        line("migrations", values.migrations),
        line("longest preempt-off, cycles", values.preempt_off_cycles_max),
        line("longest irqs-off, cycles", values.irqs_off_cycles_max),
    ];
    let mut rows = beside(("mapping", mapping), ("hash faults", faults));
    rows.push(vec![String::new(); 4]);
    rows.extend(beside(("flushes", flushes), ("tasks", tasks)));
    if !values.hcalls.is_empty() {
        let calls = values
            .hcalls
            .iter()
            .map(|(name, &n)| (name.clone(), grouped(n)))
            .collect();
        rows.push(vec![String::new(); 4]);
        rows.extend(beside(("hypervisor calls", calls), ("", Vec::new())));
    }
    table(&[], rows, "lrlr")
}

/// Two groups of counters side by side, each under its name.
fn beside(left: (&str, Vec<Line>), right: (&str, Vec<Line>)) -> Vec<Vec<String>> {
    let mut rows = vec![vec![
        left.0.to_owned(),
        String::new(),
        right.0.to_owned(),
        String::new(),
    ]];
    for i in 0..left.1.len().max(right.1.len()) {
        let cells = |group: &[Line]| match group.get(i) {
            Some((label, value)) => [format!("  {label}"), value.clone()],
            None => [String::new(), String::new()],
        };
        rows.push([cells(&left.1), cells(&right.1)].concat());
    }
    rows
}

fn batches(values: &CounterValues) -> String {
    if values.batch_sizes.is_empty() {
        return String::new();
    }
    let sizes = values
        .batch_sizes
        .iter()
        .map(|(size, n)| format!("{size}×{}", grouped(*n)));
    let sizes = sizes.collect::<Vec<_>>().join(", ");
    let head = "batches flushed, entries × how many\n";
    format!("{head}{}", wrap(&sizes, "  ", "  "))
}

fn segments(segments: &[Segment]) -> String {
    if segments.is_empty() {
        return String::new();
    }
    let rows = segments.iter().map(|segment| {
        let counters = &segment.counters;
        let numbers = [
            counters.hpte_inserts,
            counters.need_flush,
            counters.batch_flushes,
            counters.single_flushes,
            counters.tlbie,
        ];
        let mut row = vec![segment.name.clone(), sizes(&segment.batches)];
        row.extend(numbers.map(grouped));
        row
    });
    let head = [
        "segment",
        "batch sizes",
        "inserted",
        "need_flush",
        "batches",
        "single",
        "tlbie",
    ];
    table(&head, rows, "llr")
}

/// Sizes in order; equal neighbours as `size×n`.
fn sizes(batches: &[u64]) -> String {
    let mut words = Vec::new();
    for run in batches
        .chunk_by(|a, b| a == b)
        .take(SEGMENT_BATCHES_MAX + 1)
    {
        words.push(match run {
            [size] => size.to_string(),
            _ => format!("{}×{}", run[0], grouped(run.len() as u64)),
        });
    }
    if words.len() > SEGMENT_BATCHES_MAX {
        words[SEGMENT_BATCHES_MAX] = "...".to_owned();
    }
    words.join(" ")
}

fn reports(report: &RunReport) -> String {
    let held = match report.reports_suppressed {
        0 => String::new(),
        n => format!(" ({} more kept back by the rate limit)", grouped(n)),
    };
    let mut text = format!(
        "reports of the kernel: {}{held}\n",
        grouped(report.reports.len() as u64)
    );
    // Each message once, in the order they came, with its callers below it.
    let mut messages: Vec<(&str, Vec<(&str, u64)>)> = Vec::new();
    for one in &report.reports {
        let at = messages
            .iter()
            .position(|(message, _)| *message == one.message);
        let at = at.unwrap_or_else(|| {
            messages.push((&one.message, Vec::new()));
            messages.len() - 1
        });
        let callers = &mut messages[at].1;
        match callers.iter_mut().find(|(caller, _)| *caller == one.caller) {
            Some((_, n)) => *n += 1,
            None => callers.push((&one.caller, 1)),
        }
    }
    for (message, callers) in messages {
        text.push_str(&format!("  {message}\n"));
        let rows = callers
            .into_iter()
            .map(|(caller, n)| vec![format!("  caller {caller}"), times(n)]);
        text.push_str(&indented(&table(&[], rows, "lr")));
    }
    text
}

fn violations(violations: &[ViolationReport], checked: bool) -> String {
    if !checked {
        return "violations: not checked\n".to_owned();
    }
    if violations.is_empty() {
        return "violations: none\n".to_owned();
    }
    let mut text = format!(
        "violations: {}\n",
        count(violations.len() as u64, "rule", "rules")
    );
    for violation in violations {
        let first = &violation.first;
        text.push_str(&format!(
            "  {} broken {}; first on CPU {} at cycle {} by {}/{}:\n",
            violation.kind,
            times(violation.count),
            first.cpu,
            grouped(first.cycle),
            first.comm,
            first.pid,
        ));
        text.push_str(&wrap(&first.message, "    ", "    "));
        if !first.history.is_empty() {
            text.push_str("    before it, oldest first:\n");
        }
        for event in &first.history {
            text.push_str(&format!("      {event}\n"));
        }
    }
    text
}

/// What failed, and what was not given back.
fn accounting(found: &Accounting) -> String {
    let mut text = String::new();
    if let Some(failed) = &found.failed {
        text.push_str(&format!(
            "failed: {} for {} in {}/{}\n",
            failed.kind, failed.function, failed.comm, failed.pid
        ));
    }
    if found.leaks.is_empty() {
        return text + "leaks: none\n";
    }
    text.push_str("leaks:\n");
    for leak in &found.leaks {
        text.push_str(&wrap(&leak.to_string(), "  ", "    "));
    }
    text
}

fn groups(report: &RunReport) -> String {
    report.groups.map_or_else(String::new, |groups| {
        let inserts = groups.matched + groups.mismatched;
        format!(
            "hash groups: {} of {} inserts are in the recorded group, {} in another\n",
            grouped(groups.matched),
            grouped(inserts),
            grouped(groups.mismatched)
        )
    })
}

fn trace(trace: &TraceReport) -> String {
    let mut text = format!(
        "trace: {}",
        count(trace.operations, "operation", "operations")
    );
    if trace.malformed_lines > 0 {
        text.push_str(&format!(
            ", {}",
            count(trace.malformed_lines, "bad line", "bad lines")
        ));
    }
    text.push('\n');
    for line in &trace.malformed_first {
        text.push_str(&wrap(line, "  ", "    "));
    }
    for (reason, n) in &trace.anomalies {
        text.push_str(&wrap(&format!("{reason}: {}", grouped(*n)), "  ", "    "));
    }
    for note in &trace.notes {
        text.push_str(&wrap(note, "  note: ", "    "));
    }
    if trace.recorded.is_empty() {
        return text;
    }
    let same = trace
        .recorded
        .keys()
        .filter(|name| !trace.differences.contains_key(*name))
        .count();
    text.push_str(&format!(
        "  of {}, {same} {} replayed the same\n",
        count(
            trace.recorded.len() as u64,
            "recorded count",
            "recorded counts"
        ),
        if same == 1 { "is" } else { "are" },
    ));
    if !trace.differences.is_empty() {
        let rows = trace
            .differences
            .iter()
            .map(|(name, (recorded, replayed))| {
                vec![name.clone(), grouped(*recorded), grouped(*replayed)]
            });
        text.push_str(&indented(&table(
            &["differs", "recorded", "replayed"],
            rows,
            "lr",
        )));
    }
    text
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
