//! What `emu hpt` found, as text and JSON. Numbers of the architecture are hexadecimal in both.

mod walk;

use super::layout::{count, percent};
use anyhow::Result;
use emu_mmu::{Duplicate, Health, Hpt, Hpte, HpteIndex};
use serde::Serialize;
pub use walk::{Walked, walked};

/// Version of the JSON of `emu hpt`.
const SCHEMA: &str = "ppc-mmu-emu/hpt/1";

/// Figures of a table.
#[derive(Debug, Serialize)]
pub struct Stat {
    schema: &'static str,
    source: String,
    groups: u64,
    bytes: u64,
    valid: u64,
    secondary: u64,
    bolted: u64,
    referenced: u64,
    changed: u64,
    locked: u64,
    groups_by_valid: [u64; 9],
}

impl Stat {
    /// Of a table read from `source`.
    pub fn new(source: &str, hpt: &Hpt, health: &Health) -> Stat {
        Stat {
            schema: SCHEMA,
            source: source.to_owned(),
            groups: hpt.groups(),
            bytes: hpt.size_bytes(),
            valid: health.valid,
            secondary: health.secondary,
            bolted: health.bolted,
            referenced: health.referenced,
            changed: health.changed,
            locked: health.locked,
            groups_by_valid: health.groups_by_valid,
        }
    }
}

/// The figures for people.
pub fn stat(stat: &Stat) -> String {
    let of_entries = |n| percent(n, stat.groups * 8);
    let of_valid = |n| percent(n, stat.valid);
    let mut text = format!(
        "{}: {}, {} bytes\n",
        stat.source,
        count(stat.groups, "group", "groups"),
        stat.bytes
    );
    text += &format!(
        "valid       {} ({}% of the table)\n",
        stat.valid,
        of_entries(stat.valid)
    );
    for (name, n) in [
        ("secondary ", stat.secondary),
        ("bolted    ", stat.bolted),
        ("referenced", stat.referenced),
        ("changed   ", stat.changed),
    ] {
        text += &format!("{name}  {n} ({}% of those)\n", of_valid(n));
    }
    text += &format!("locked      {}\n", stat.locked);
    text += "groups by valid entries:\n";
    for (n, groups) in stat.groups_by_valid.iter().enumerate() {
        text += &format!("  {n}: {groups} ({}%)\n", percent(*groups, stat.groups));
    }
    text
}

/// Pages with two entries.
#[derive(Debug, Serialize)]
pub struct Checked {
    schema: &'static str,
    valid: u64,
    duplicates: Vec<Pair>,
}

#[derive(Debug, Serialize)]
struct Pair {
    vpn: String,
    first: u64,
    second: u64,
}

impl Checked {
    /// What a scan of a table with `valid` entries found.
    pub fn new(valid: u64, found: &[Duplicate]) -> Checked {
        let pair = |d: &Duplicate| Pair {
            vpn: format!("{:#x}", d.vpn),
            first: d.first.0,
            second: d.second.0,
        };
        Checked {
            schema: SCHEMA,
            valid,
            duplicates: found.iter().map(pair).collect(),
        }
    }
}

/// The pages for people.
pub fn checked(checked: &Checked) -> String {
    let mut text = String::new();
    for Pair { vpn, first, second } in &checked.duplicates {
        text += &format!("virtual page {vpn} has two entries: {first} and {second}\n");
    }
    let pages = checked.duplicates.len() as u64;
    text + &format!(
        "{}, {} with two\n",
        count(checked.valid, "valid entry", "valid entries"),
        count(pages, "page", "pages")
    )
}

#[derive(Serialize)]
struct Entry {
    index: u64,
    dw0: String,
    dw1: String,
}

/// One line for one entry.
///
/// # Errors
/// Never: the JSON is of strings and numbers.
pub fn entry(index: HpteIndex, hpte: Hpte, json: bool) -> Result<String> {
    let (dw0, dw1) = words(hpte);
    let index = index.0;
    if json {
        return Ok(serde_json::to_string(&Entry { index, dw0, dw1 })?);
    }
    Ok(format!("{index:>10} {dw0} {dw1} {}", described(hpte)))
}

fn words(hpte: Hpte) -> (String, String) {
    (format!("{:#018x}", hpte.v.0), format!("{:#018x}", hpte.r.0))
}

/// The flags of an entry, in the architecture's letters.
fn described(hpte: Hpte) -> String {
    let (v, r) = (hpte.v, hpte.r);
    let mut text = format!("AVPN {:#x}", v.avpn());
    for (set, name) in [
        (v.is_large(), "L"),
        (v.is_secondary(), "H"),
        (v.is_bolted(), "bolted"),
        (v.is_locked(), "locked"),
        (r.r(), "R"),
        (r.c(), "C"),
        (r.n(), "N"),
        (r.g(), "G"),
    ] {
        if set {
            text += " ";
            text += name;
        }
    }
    text + &format!(" pp {:03b}", r.pp())
}
