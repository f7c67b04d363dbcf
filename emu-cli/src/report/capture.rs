//! `emu trace info` as text.

use super::layout::{count, grouped, indented, printable, table, wrap};
use emu_linux::trace::{Backend, Counts, Format, Survey, emut};

/// Tasks and segments named one by one.
const NAMES_MAX: usize = 16;
/// Possible sizes of the hash table named one by one; more of them say nothing.
const HTAB_SIZES_MAX: usize = 3;

/// What the capture holds, what is odd about it, and what it counted.
pub fn text(survey: &Survey, format: Format) -> String {
    // A made-up workload recorded nothing.
    let told = format == Format::Ftrace || survey.recorded.whole != Counts::default();
    let sections = [
        holds(survey, format),
        warnings(survey),
        events(survey),
        if told {
            recorded(survey)
        } else {
            Default::default()
        },
    ];
    let sections: Vec<String> = sections
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    printable(&sections.join("\n"))
}

fn holds(survey: &Survey, format: Format) -> String {
    let form = match format {
        Format::Ftrace => String::new(),
        Format::Emut => format!(".emut version {}: ", emut::VERSION),
    };
    let mut text = format!(
        "{}\n{form}{} in {}, {}, {}\n",
        survey.name,
        count(survey.records, "record", "records"),
        count(survey.lines, "line", "lines"),
        count(survey.tasks.len() as u64, "task", "tasks"),
        count(survey.cpus.len() as u64, "CPU", "CPUs"),
    );
    let mut about = Vec::new();
    if let Some(bytes) = survey.page_bytes {
        about.push(format!("{}k pages", bytes / 1024));
    }
    match survey.kernel_hint.backend {
        Some(Backend::Native) => about.push("native hash table".to_owned()),
        Some(Backend::Lpar) => about.push("hash table behind hypercalls".to_owned()),
        None => {}
    }
    let sizes: Vec<String> = survey
        .kernel_hint
        .htab_bits
        .iter()
        .map(|bits| format!("2^{bits}"))
        .collect();
    if (1..=HTAB_SIZES_MAX).contains(&sizes.len()) {
        about.push(format!("{} groups", sizes.join(" or ")));
    }
    if let Some(release) = survey.kernel_hint.release_min {
        about.push(format!("kernel {release} or later"));
    }
    let existing = survey.pre_existing.len() as u64;
    if existing > 0 {
        about.push(format!(
            "{} older than the capture",
            count(existing, "area", "areas")
        ));
    }
    if !about.is_empty() {
        text.push_str(&format!("{}\n", about.join(", ")));
    }
    let tasks = survey
        .tasks
        .iter()
        .map(|task| format!("{}/{}", task.comm, task.pid));
    text.push_str(&wrap(&names(tasks), "tasks: ", "  "));
    if !survey.segments.is_empty() {
        text.push_str(&wrap(
            &names(survey.segments.iter().cloned()),
            "segments: ",
            "  ",
        ));
    }
    text
}

/// The first names with commas between them, and how many more there are.
fn names(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(NAMES_MAX);
    let mut text = all.take(NAMES_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {} more", grouped(more as u64)));
    }
    text
}

fn warnings(survey: &Survey) -> String {
    let warnings = survey.warnings();
    warnings
        .iter()
        .map(|warning| wrap(&warning.to_string(), "warning: ", "  "))
        .collect()
}

fn events(survey: &Survey) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (name, n) in &survey.events {
        rows.push(vec![(*name).to_owned(), grouped(*n), String::new()]);
    }
    for (name, n) in &survey.unknown_events {
        rows.push(vec![name.clone(), grouped(*n), "skipped".to_owned()]);
    }
    if survey.unknown_events_others > 0 {
        let others = grouped(survey.unknown_events_others);
        rows.push(vec!["(others)".to_owned(), others, "skipped".to_owned()]);
    }
    table(&["event", "records", ""], rows, "lrl")
}

fn recorded(survey: &Survey) -> String {
    let recorded = &survey.recorded;
    let row = |name: &str, counts: &Counts| {
        let numbers = [
            counts.valloc,
            counts.vfree,
            counts.kfault,
            counts.kinsert,
            counts.kneed,
            counts.nkbatches,
            counts.kbatched,
            counts.kflush_page,
            counts.tlbie,
        ];
        let mut row = vec![name.to_owned()];
        row.extend(numbers.map(grouped));
        row
    };
    let mut rows = vec![row("whole file", &recorded.whole)];
    rows.extend(
        recorded
            .segments
            .iter()
            .map(|segment| row(&segment.name, &segment.counts)),
    );
    let head = [
        "recorded",
        "vmalloc",
        "vfree",
        "faults",
        "inserts",
        "need_flush",
        "batches",
        "in batches",
        "single",
        "tlbie",
    ];
    let mut text = table(&head, rows, "lr");
    if !recorded.whole.hcalls.is_empty() {
        let calls = recorded
            .whole
            .hcalls
            .iter()
            .map(|(opcode, n)| vec![format!("H_CALL {opcode:#x}"), grouped(*n)]);
        text.push_str(&format!(
            "\nhypervisor calls\n{}",
            indented(&table(&[], calls, "lr"))
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_linux::trace::Importer;

    const CAPTURE: &str = "# tracer: nop\n#\n\
        # entries-in-buffer/entries-written: 3/9   #P:1\n#\n\
        cc1-7  [000] .....  1.000001: tracing_mark_write: begin one\n\
        cc1-7  [000] .....  1.000002: vfree: (vfree+0x0/0x10) addr=0xc0003d0000010000\n\
        cc1-7  [000] .....  1.000003: strange: x=1\n";

    #[test]
    fn a_capture_is_told_with_its_warnings() {
        let importer = Importer::from_bytes("c.txt", CAPTURE.as_bytes()).unwrap();
        let text = text(importer.survey(), importer.format());
        for part in [
            "c.txt\n2 records in 7 lines, 1 task, 1 CPU\n",
            "tasks: cc1/7\n",
            "segments: one\n",
            "warning: the ring buffer overran: 9 entries written, 3 kept",
            "strange",
            "skipped",
            "whole file",
        ] {
            assert!(text.contains(part), "`{part}` not in\n{text}");
        }
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let text = names((0..20).map(|n| n.to_string()));
        assert!(text.ends_with("15 and 4 more"));
    }
}
