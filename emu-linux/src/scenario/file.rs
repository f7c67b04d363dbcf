//! From a scenario's text to a [`Scenario`].
//!
//! Owns the keys, their values and the words of every refusal. A pure function of the text: it stops at
//! nothing, so that all that is wrong is told at once. Each key but the first four is the flag of the
//! same name.

use super::error::{ScenarioError, ScenarioErrors};
use super::{Scenario, Settings};
use crate::config::{
    Backend, FirmwareFeature, KernelVersion, Pages, Preempt, ScheduleChoice, nearest,
};
use crate::disturbance::{TIMER_PERIOD_MAX, TIMER_PERIOD_MIN};
use crate::lazy_mmu::policy::policies;
use crate::memmap::batch::ENTRIES_MAX;
use crate::mode::Mode;
use crate::timing::Timing;
use crate::workload::{self, Workload};
use emu_core::MachineProfile;
use std::ops::{Range, RangeInclusive};
use toml::de::{DeTable, DeValue};

/// Keys of the text.
const KEYS: &[&str] = &[
    "name",
    "summary",
    "workload",
    "policy",
    "kernel",
    "pages",
    "hpte-pages",
    "machine",
    "backend",
    "firmware-feature",
    "preempt",
    "cpus",
    "batch-size",
    "htab-bits",
    "seed",
    "schedule",
    "mode",
    "timing",
    "pin",
    "touch",
    "operations",
    "disturbances",
];
/// Keys without which there is no scenario.
const NEEDED: [&str; 3] = ["name", "summary", "workload"];
/// Keys of the table of disturbances.
const DISTURBANCES: &[&str] = &["timer-period", "migrate-every", "fail-alloc", "fail-map"];
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 40;
/// Longest summary, in bytes.
const SUMMARY_BYTES_MAX: usize = 500;
/// Most characters of a value that a message repeats.
const EXCERPT_CHARS: usize = 40;

/// A value and where it stands.
struct Entry<'a> {
    key: &'a str,
    value: &'a DeValue<'a>,
    key_at: usize,
    span: Range<usize>,
}

/// What was understood so far, and what was not.
#[derive(Default)]
struct Reader<'t> {
    text: &'t str,
    errors: Vec<ScenarioError>,
    name: Option<String>,
    summary: Option<String>,
    workload: Option<&'static Workload>,
    policy: Option<String>,
    settings: Settings,
    /// Where the keys stand that a workload may have no use for.
    touch_at: usize,
    operations_at: usize,
}

pub(super) fn parse(text: &str) -> Result<Scenario, ScenarioErrors> {
    let mut reader = Reader {
        text,
        ..Reader::default()
    };
    let (table, broken) = DeTable::parse_recoverable(text);
    for error in &broken {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().replace('\n', " ");
        reader.refuse(at, format!("not TOML: {message}"));
    }
    // What stands on a line that cannot be read says nothing, and keys may be lost with it.
    let mut unread = std::mem::take(&mut reader.errors);
    reader.table(table.get_ref(), KEYS, Reader::key);
    reader
        .errors
        .retain(|error| unread.iter().all(|other| other.line != error.line));
    reader.errors.append(&mut unread);
    if broken.is_empty() {
        reader.missing(table.get_ref());
    }
    reader.finish()
}

impl<'t> Reader<'t> {
    fn refuse(&mut self, at: usize, message: String) {
        let error = ScenarioError::at(self.text, at, message);
        self.errors.push(error);
    }

    /// Hands each key of a table that is in `known` to `read`.
    fn table(&mut self, table: &DeTable<'_>, known: &[&str], read: fn(&mut Self, &Entry<'_>)) {
        for (key, value) in table {
            let entry = Entry {
                key: key.get_ref(),
                value: value.get_ref(),
                key_at: key.span().start,
                span: value.span(),
            };
            if known.contains(&entry.key) {
                read(self, &entry);
            } else {
                let hint = hint(nearest(entry.key, known.iter().copied()));
                let known = known.join(", ");
                let key = excerpt(entry.key);
                self.refuse(
                    entry.key_at,
                    format!("no key `{key}`{hint}; the keys are {known}"),
                );
            }
        }
    }

    fn key(&mut self, entry: &Entry<'_>) {
        match entry.key {
            "name" => self.name = self.checked(entry, check_name),
            "summary" => self.summary = self.checked(entry, check_summary),
            "workload" => self.workload = self.workload(entry),
            "policy" => self.policy = self.policy(entry),
            "kernel" => {
                let all = KernelVersion::ALL.map(|kernel| (kernel.name(), kernel));
                self.settings.kernel = self.choice(entry, &all);
            }
            "pages" => self.settings.pages = self.pages(entry),
            "hpte-pages" => self.settings.hpte_pages = self.pages(entry),
            "machine" => {
                let name = self.choice(entry, &MachineProfile::NAMES.map(|name| (name, name)));
                self.settings.machine = name.and_then(|name| MachineProfile::builtin(name).ok());
            }
            "backend" => {
                self.settings.backend = self.choice(entry, &Backend::ALL.map(|b| (b.name(), b)))
            }
            "firmware-feature" => {
                let all = FirmwareFeature::ALL.map(|feature| (feature.name(), feature));
                self.settings.firmware_feature = self.choice(entry, &all);
            }
            "preempt" => {
                self.settings.preempt = self.choice(entry, &Preempt::ALL.map(|p| (p.name(), p)))
            }
            "cpus" => self.settings.cpus = self.number(entry, 1..=64).map(|n| n as u16),
            "batch-size" => self.settings.batch_size = self.number(entry, 1..=ENTRIES_MAX),
            "htab-bits" => self.settings.htab_bits = self.number(entry, 11..=28).map(|n| n as u8),
            "seed" => self.settings.seed = self.number(entry, 0..=u64::MAX),
            "schedule" => self.settings.schedule = self.schedule(entry),
            "mode" => self.settings.mode = self.choice(entry, &Mode::ALL.map(|m| (m.name(), m))),
            "timing" => {
                self.settings.timing = self.choice(entry, &Timing::ALL.map(|t| (t.name(), t)))
            }
            "pin" => self.settings.pin = self.flag(entry),
            "touch" => {
                self.touch_at = entry.span.start;
                self.settings.touch = self.number(entry, 0..=u64::MAX);
            }
            "operations" => {
                self.operations_at = entry.span.start;
                self.settings.operations = self.number(entry, 1..=u64::MAX);
            }
            _ => match entry.value.as_table() {
                Some(table) => self.table(table, DISTURBANCES, Reader::disturbance),
                None => self.wrong(entry, "write a table, [disturbances]"),
            },
        }
    }

    fn disturbance(&mut self, entry: &Entry<'_>) {
        let range = match entry.key {
            "timer-period" => TIMER_PERIOD_MIN..=TIMER_PERIOD_MAX,
            _ => 1..=u64::MAX,
        };
        let nth = self.number(entry, range);
        match entry.key {
            "timer-period" => self.settings.timer_period = nth,
            "migrate-every" => self.settings.migrate_every = nth,
            "fail-alloc" => self.settings.fail_alloc = nth,
            _ => self.settings.fail_map = nth,
        }
    }

    /// `KEY is VALUE: RIGHT`.
    fn wrong(&mut self, entry: &Entry<'_>, right: &str) {
        let written = self.text.get(entry.span.clone()).unwrap_or_default();
        let message = format!("`{}` is {}: {right}", entry.key, excerpt(written));
        self.refuse(entry.span.start, message);
    }

    fn string<'e>(&mut self, entry: &'e Entry<'_>, right: &str) -> Option<&'e str> {
        let text = entry.value.as_str();
        if text.is_none() {
            self.wrong(entry, right);
        }
        text
    }

    fn checked(
        &mut self,
        entry: &Entry<'_>,
        check: fn(&str) -> Result<(), String>,
    ) -> Option<String> {
        let text = self.string(entry, "write it in quotes")?;
        match check(text) {
            Ok(()) => Some(text.to_owned()),
            Err(right) => {
                self.wrong(entry, &right);
                None
            }
        }
    }

    fn choice<T: Copy>(&mut self, entry: &Entry<'_>, all: &[(&str, T)]) -> Option<T> {
        let names: Vec<String> = all.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let right = format!("write {}", names.join(" or "));
        let text = self.string(entry, &right)?;
        let found = all.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            self.wrong(entry, &right);
        }
        found.map(|(_, value)| *value)
    }

    fn workload(&mut self, entry: &Entry<'_>) -> Option<&'static Workload> {
        let names = || workload::workloads().iter().map(|workload| workload.name);
        let known = names().collect::<Vec<_>>().join(", ");
        let right = format!("write the name of a workload in quotes; they are {known}");
        let name = self.string(entry, &right)?;
        let found = workload::workload(name);
        if found.is_none() {
            let hint = hint(nearest(name, names()));
            let message = format!("no workload `{}`{hint}; they are {known}", excerpt(name));
            self.refuse(entry.span.start, message);
        }
        found
    }

    fn policy(&mut self, entry: &Entry<'_>) -> Option<String> {
        let right = "write the name of a policy in quotes; `emu policy list` names them all";
        let name = self.string(entry, right)?;
        let policies = policies();
        if policies.iter().any(|policy| policy.name == name) {
            return Some(name.to_owned());
        }
        let hint = hint(nearest(name, policies.iter().map(|policy| policy.name)));
        let message = format!(
            "no policy `{}`{hint}; `emu policy list` names them all",
            excerpt(name)
        );
        self.refuse(entry.span.start, message);
        None
    }

    fn schedule(&mut self, entry: &Entry<'_>) -> Option<ScheduleChoice> {
        let right = "write \"clocked\", \"random\" or the schedule of an earlier run in quotes";
        match self.string(entry, right)?.parse() {
            Ok(schedule) => Some(schedule),
            Err(refused) => {
                self.wrong(entry, &excerpt_of(&refused, 200));
                None
            }
        }
    }

    fn pages(&mut self, entry: &Entry<'_>) -> Option<Pages> {
        self.choice(entry, &Pages::ALL.map(|pages| (pages.name(), pages)))
    }

    fn flag(&mut self, entry: &Entry<'_>) -> Option<bool> {
        let flag = entry.value.as_bool();
        if flag.is_none() {
            self.wrong(entry, "write true or false");
        }
        flag
    }

    fn number(&mut self, entry: &Entry<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        let number = entry
            .value
            .as_integer()
            .and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok())
            .filter(|number| range.contains(number));
        if number.is_none() {
            let right = match (*range.start(), *range.end()) {
                (0, u64::MAX) => "write a whole number, 0 or more".to_owned(),
                (least, u64::MAX) => format!("write a whole number, {least} or more"),
                (least, most) => format!("write a whole number from {least} to {most}"),
            };
            self.wrong(entry, &right);
        }
        number
    }

    fn missing(&mut self, table: &DeTable<'_>) {
        for key in NEEDED {
            if !table.keys().any(|there| there.get_ref() == key) {
                let example = match key {
                    "workload" => workload::workloads()
                        .first()
                        .map_or("...", |workload| workload.name),
                    _ => "...",
                };
                self.refuse(
                    0,
                    format!("`{key}` is missing: write {key} = \"{example}\""),
                );
            }
        }
    }

    fn finish(mut self) -> Result<Scenario, ScenarioErrors> {
        let Settings {
            touch,
            operations,
            pages,
            ..
        } = self.settings;
        let unfit = self.workload.map_or([None, None], |workload| {
            [
                (
                    "touch",
                    self.touch_at,
                    touch,
                    workload.accepts_touch(touch, pages.unwrap_or_default()),
                ),
                (
                    "operations",
                    self.operations_at,
                    operations,
                    workload.accepts_operations(operations),
                ),
            ]
            .map(|(key, at, value, accepted)| Some((key, at, value?, accepted.err()?)))
        });
        for (key, at, value, right) in unfit.into_iter().flatten() {
            self.refuse(at, format!("`{key}` is {value}: {right}"));
        }
        if let Some(errors) = ScenarioErrors::of(self.errors) {
            return Err(errors);
        }
        match (self.name, self.summary, self.workload) {
            (Some(name), Some(summary), Some(workload)) => Ok(Scenario {
                name,
                summary,
                workload: workload.name,
                policy: self.policy,
                settings: self.settings,
                text: self.text.to_owned(),
            }),
            // Whatever is not there was told above.
            _ => Err(ScenarioErrors::default()),
        }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "write 1 to {NAME_BYTES_MAX} lower-case letters, digits, dots, hyphens and underscores"
    ))
}

fn check_summary(summary: &str) -> Result<(), String> {
    let printable = !summary.chars().any(char::is_control);
    if !summary.trim().is_empty() && summary.len() <= SUMMARY_BYTES_MAX && printable {
        return Ok(());
    }
    Err(format!(
        "write a sentence or two without line breaks, at most {SUMMARY_BYTES_MAX} bytes"
    ))
}

fn hint(nearest: Option<String>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

/// The beginning of what was written, on one line.
fn excerpt(written: &str) -> String {
    excerpt_of(written, EXCERPT_CHARS)
}

fn excerpt_of(written: &str, chars: usize) -> String {
    let mut short: String = written
        .chars()
        .take(chars)
        .flat_map(|c| match c {
            '"' | '\'' | '\\' => vec![c],
            _ => c.escape_debug().collect(),
        })
        .collect();
    if written.chars().nth(chars).is_some() {
        short.push('…');
    }
    short
}
