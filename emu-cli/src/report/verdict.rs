//! One paragraph on one run, made of that run's numbers.
//!
//! Owns the sentences. It judges nothing: what is broken, how often and at what cost is the run's.

use super::layout::{count, grouped, percent, ratio, times};
use emu_linux::RunReport;

/// What happened in `run`; `cheapest` is the run it is measured by. `checked`
/// says whether the invariants were.
pub fn verdict(run: &RunReport, cheapest: &RunReport, checked: bool) -> String {
    let parts = [
        format!("{} and {}", rules(run, checked), reports(run)),
        run.oops
            .as_ref()
            .map(|oops| format!("dies of it ({oops})"))
            .unwrap_or_default(),
        flushes(run),
        scheduling(run),
        cost(run, cheapest),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{}: {}.", run.policy, parts.join("; "))
}

fn rules(run: &RunReport, checked: bool) -> String {
    if !checked {
        return "was not checked".to_owned();
    }
    if run.violations.is_empty() {
        return "breaks no rule".to_owned();
    }
    let broken = run.violations.iter().map(|violation| {
        let first = &violation.first;
        format!(
            "{} {} (first on CPU {} at cycle {} by {}/{}: {})",
            violation.kind,
            times(violation.count),
            first.cpu,
            grouped(first.cycle),
            first.comm,
            first.pid,
            first.message.trim_end_matches('.'),
        )
    });
    format!("breaks {}", broken.collect::<Vec<_>>().join(", "))
}

fn reports(run: &RunReport) -> String {
    let printed = match run.reports.len() as u64 {
        0 => "prints no report".to_owned(),
        n => format!("prints {}", count(n, "report", "reports")),
    };
    match run.reports_suppressed {
        0 => printed,
        n => format!("{printed} (the rate limit keeps back {} more)", grouped(n)),
    }
}

fn flushes(run: &RunReport) -> String {
    let counters = &run.counters;
    let (batched, single) = (counters.batched_entries, counters.single_flushes);
    let mut flushed = Vec::new();
    if counters.batch_flushes > 0 {
        let largest = counters
            .batch_sizes
            .keys()
            .next_back()
            .copied()
            .unwrap_or_default();
        let of = if counters.batch_flushes > 1 {
            format!(" (largest {})", grouped(largest))
        } else {
            String::new()
        };
        let batches = count(counters.batch_flushes, "batch", "batches");
        flushed.push(format!(
            "{} in {batches}{of}",
            count(batched, "page", "pages")
        ));
    }
    if single > 0 {
        flushed.push(format!("{} one by one", count(single, "page", "pages")));
    }
    if flushed.is_empty() {
        return "flushes nothing".to_owned();
    }
    let sequences = counters.batch_flushes + single;
    let mut text = format!(
        "flushes {}: {} tlbie under {}",
        flushed.join(" and "),
        grouped(counters.tlbie),
        count(sequences, "barrier sequence", "barrier sequences"),
    );
    if counters.tlbiel > 0 {
        text.push_str(&format!(", {} tlbiel", grouped(counters.tlbiel)));
    }
    if counters.flushes_repeated > 0 {
        let again = count(counters.flushes_repeated, "page", "pages");
        text.push_str(&format!(", {again} flushed more than once"));
    }
    text
}

fn scheduling(run: &RunReport) -> String {
    let counters = &run.counters;
    let mut text = match counters.preempt_off_cycles_max {
        0 => "preemption is never off".to_owned(),
        n => format!("preemption is off at most {}", count(n, "cycle", "cycles")),
    };
    if counters.irqs_off_cycles_max > 0 {
        let cycles = count(counters.irqs_off_cycles_max, "cycle", "cycles");
        text.push_str(&format!(", interrupts are off at most {cycles}"));
    }
    if counters.preemptions > 0 {
        text.push_str(&format!(
            ", tasks are preempted {}",
            times(counters.preemptions)
        ));
    }
    if counters.migrations > 0 {
        text.push_str(&format!(", migrate {}", times(counters.migrations)));
    }
    text
}

fn cost(run: &RunReport, cheapest: &RunReport) -> String {
    let (total, least) = (run.cycles.total, cheapest.cycles.total);
    let spent = |name| run.cycles.stack.get(name).copied().unwrap_or_default();
    let tlbie: u64 = spent("tlbie") + spent("tlbie_wait");
    let share = match tlbie {
        0 => String::new(),
        _ => format!(", {}% of them for tlbie", percent(tlbie, total)),
    };
    let beside = if run.policy == cheapest.policy {
        String::new()
    } else if total == least {
        format!(", as many as {}", cheapest.policy)
    } else {
        match ratio(total, least).as_str() {
            "1.00" if total > least => {
                format!(", {} more than {}", grouped(total - least), cheapest.policy)
            }
            times => format!(", {times} times those of {}", cheapest.policy),
        }
    };
    format!("takes {}{share}{beside}", count(total, "cycle", "cycles"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_broken_run_says_what_broke_first_and_how_often() {
        let (run, other) = (sample::broken(), sample::clean());
        let text = verdict(&run, &other, true);
        for part in [
            "mmotm: breaks unsafe-per-cpu 6 times (first on CPU 0 at cycle 12,345 by swapon/3457: ",
            "prints 1 report (the rate limit keeps back 5 more)",
            "flushes 96 pages in 1 batch: 96 tlbie under 1 barrier sequence",
            "2 pages flushed more than once",
            "preemption is off at most 1,500 cycles, interrupts are off at most 700 cycles",
            "1.50 times those of mainline-6.1",
        ] {
            assert!(text.contains(part), "`{part}` not in {text}");
        }
    }

    #[test]
    fn every_number_comes_from_the_run() {
        let base = sample::clean();
        let before = verdict(&base, &base, true);
        assert!(before.contains("breaks no rule and prints no report"));
        assert!(
            before.contains("cycles, 50.0% of them for tlbie."),
            "{before}"
        );
        let changes: [fn(&mut RunReport); 10] = [
            |run| run.counters.batched_entries += 1,
            |run| run.counters.batch_flushes += 1,
            |run| run.counters.single_flushes += 1,
            |run| run.counters.tlbie += 1,
            |run| run.counters.preempt_off_cycles_max += 1,
            |run| run.counters.irqs_off_cycles_max += 1,
            |run| run.counters.flushes_repeated += 1,
            |run| run.counters.preemptions += 1,
            |run| run.reports_suppressed += 1,
            |run| run.cycles.total += 1,
        ];
        for (i, change) in changes.into_iter().enumerate() {
            let mut run = base.clone();
            change(&mut run);
            assert_ne!(verdict(&run, &base, true), before, "change {i}");
        }
    }

    #[test]
    fn cycles_are_set_beside_the_cheapest() {
        let base = sample::clean();
        let mut run = base.clone();
        run.policy = "other".to_owned();
        for (total, words) in [
            (
                10_000,
                "10,000 cycles, 50.0% of them for tlbie, as many as mainline-6.1",
            ),
            (10_001, ", 1 more than mainline-6.1"),
            (5_000, ", 0.50 times those of mainline-6.1"),
            (12_345, ", 1.23 times those of mainline-6.1"),
        ] {
            run.cycles.total = total;
            let text = verdict(&run, &base, true);
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn an_unchecked_run_is_not_called_clean() {
        let run = sample::clean();
        let text = verdict(&run, &run, false);
        assert!(text.contains("was not checked") && !text.contains("breaks"));
    }

    #[test]
    fn a_kernel_that_died_is_not_called_alive() {
        let mut run = sample::broken();
        run.oops = Some("bad access".to_owned());
        assert!(verdict(&run, &run, true).contains("; dies of it (bad access); flushes"));
    }

    #[test]
    fn a_run_without_flushes_says_so() {
        let mut run = sample::clean();
        run.counters = Default::default();
        let text = verdict(&run, &sample::clean(), true);
        assert!(text.contains("flushes nothing; preemption is never off"));
    }
}
