//! What a replay says about its trace: what was recorded in it, and where the replay differs.

use super::CounterValues;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a replay says about its trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TraceReport {
    /// Operations replayed.
    pub operations: u64,
    /// Lines that could not be read as records.
    pub malformed_lines: u64,
    /// Line numbers and reasons of the first few of them.
    pub malformed_first: Vec<String>,
    /// Operations that did not fit the state (such as a free of nothing), by reason.
    pub anomalies: BTreeMap<String, u64>,
    /// What the trace lacks or what was made up for it, in words.
    pub notes: Vec<String>,
    /// Counts recorded in the trace itself, where it has them: name -> recorded.
    pub recorded: BTreeMap<String, u64>,
    /// Names in `recorded` whose replayed count differs: name -> (recorded, replayed).
    pub differences: BTreeMap<String, (u64, u64)>,
}

impl TraceReport {
    /// What the survey of a capture says.
    pub fn of_survey(survey: &crate::trace::Survey) -> Self {
        let whole = &survey.recorded.whole;
        let mut recorded = BTreeMap::new();
        if survey.has_touches {
            recorded.insert("hash_faults".to_owned(), whole.kfault);
        }
        if survey.has_need_records {
            recorded.insert("need_flush".to_owned(), whole.kneed);
            recorded.insert("batch_flushes".to_owned(), whole.nkbatches);
            recorded.insert("batched_entries".to_owned(), whole.kbatched);
            recorded.insert("single_flushes".to_owned(), whole.kflush_page);
        }
        TraceReport {
            malformed_lines: survey.malformed.lines,
            malformed_first: survey
                .malformed
                .first
                .iter()
                .map(|bad| format!("line {}: {}", bad.line, bad.reason))
                .collect(),
            notes: survey.warnings().iter().map(ToString::to_string).collect(),
            recorded,
            ..TraceReport::default()
        }
    }

    /// Notes where the replayed counters differ from the recorded ones.
    pub fn compare(&mut self, counters: &CounterValues) {
        let replayed = [
            ("hash_faults", counters.hash_faults),
            ("need_flush", counters.need_flush),
            ("batch_flushes", counters.batch_flushes),
            ("batched_entries", counters.batched_entries),
            ("single_flushes", counters.single_flushes),
        ];
        for (name, replayed) in replayed {
            if let Some(&recorded) = self.recorded.get(name)
                && recorded != replayed
            {
                self.differences
                    .insert(name.to_owned(), (recorded, replayed));
            }
        }
    }
}
