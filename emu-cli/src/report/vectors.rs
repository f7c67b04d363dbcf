//! What `emu vectors` found, as text and JSON.

use super::layout::printable;
use emu_mmu::vectors::Vector;
use serde::Serialize;

/// Version of the JSON of `emu vectors --json`.
const SCHEMA: &str = "ppc-mmu-emu/vectors/1";
/// Failed vectors told in full.
const SHOWN: usize = 10;

/// How a vector came out, its differences as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// As recorded.
    Passed,
    /// The recording departs from the architecture.
    Deviates(Vec<String>),
    /// Not as recorded.
    Failed(Vec<String>),
}

/// A vector that is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    id: u64,
    category: String,
    cpu: String,
    /// What the file says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
    differences: Vec<String>,
}

/// The counts, and the vectors that are named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tally {
    schema: &'static str,
    /// Vectors as recorded.
    pub passed: u64,
    /// Vectors not as recorded.
    pub failed: u64,
    /// Vectors whose recording departs from the architecture.
    pub deviations: u64,
    failures: Vec<Named>,
    deviating: Vec<Named>,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            schema: SCHEMA,
            passed: 0,
            failed: 0,
            deviations: 0,
            failures: Vec::new(),
            deviating: Vec::new(),
        }
    }
}

impl Tally {
    /// Counts one vector.
    pub fn add(&mut self, vector: &Vector, judged: Judged) {
        let named = |differences| Named {
            id: vector.id,
            category: vector.cat.clone(),
            cpu: vector.cpu.to_string(),
            remark: vector
                .qemu_deviates
                .clone()
                .or_else(|| vector.undef.clone()),
            differences,
        };
        match judged {
            Judged::Passed => self.passed += 1,
            Judged::Deviates(differences) => {
                self.deviations += 1;
                self.deviating.push(named(differences));
            }
            Judged::Failed(differences) => {
                self.failed += 1;
                if self.failures.len() < SHOWN {
                    self.failures.push(named(differences));
                }
            }
        }
    }

    /// All vectors.
    pub fn total(&self) -> u64 {
        self.passed + self.failed + self.deviations
    }
}

/// The report for people: the first failures, the deviations if asked for, the counts.
pub fn text(tally: &Tally, list_deviations: bool) -> String {
    let mut text = String::new();
    for failure in &tally.failures {
        text.push_str(&entry("failed", failure));
    }
    let more = tally.failed - tally.failures.len() as u64;
    if more > 0 {
        text.push_str(&format!("and {more} more failed\n"));
    }
    if list_deviations {
        for deviation in &tally.deviating {
            text.push_str(&entry("deviates", deviation));
        }
    }
    text + &format!(
        "{} passed, {} failed, {} deviations\n",
        tally.passed, tally.failed, tally.deviations
    )
}

fn entry(how: &str, named: &Named) -> String {
    let Named {
        id,
        category,
        cpu,
        remark,
        differences,
    } = named;
    let mut text = printable(&format!("{how}: {id} {category} {cpu}"));
    if let Some(remark) = remark {
        text.push_str(&printable(&format!(": {remark}")));
    }
    text.push('\n');
    for difference in differences {
        text.push_str(&printable(&format!("    {difference}")));
        text.push('\n');
    }
    text
}
