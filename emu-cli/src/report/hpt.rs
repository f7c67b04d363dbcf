//! What `emu hpt` found, as text and JSON. Numbers of the architecture are hexadecimal in both.

use super::layout::{count, percent};
use anyhow::Result;
use emu_mmu::{
    Access, AccessState, Duplicate, EntryVerdict, Explanation, GroupExplained, Health, Hpt, Hpte,
    HpteIndex, PageSize, RcStep, SegmentSize, SlbEntry, allowed,
};
use serde::Serialize;

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

/// A translation, told.
#[derive(Debug, Serialize)]
pub struct Walked {
    schema: &'static str,
    ea: String,
    access: &'static str,
    problem_state: bool,
    segments: Vec<Segment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<Search>,
    key: u8,
    stored: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    real_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Told>,
}

#[derive(Debug, Serialize)]
struct Told {
    vector: String,
    text: String,
}

#[derive(Debug, Serialize)]
struct Segment {
    slot: usize,
    esid: String,
    vsid: String,
    size: &'static str,
    page: &'static str,
    ks: u8,
    kp: u8,
    no_execute: bool,
}

#[derive(Debug, Serialize)]
struct Search {
    vpn: String,
    base_page: &'static str,
    hash: String,
    want: String,
    groups: Vec<Group>,
}

/// What the storage key and pp of an entry allow.
fn rights(hpte: Hpte, key: bool) -> &'static str {
    let may = |access| allowed(hpte.r.pp(), key, access);
    match (may(Access::Load), may(Access::Store)) {
        (true, true) => "read and write",
        (true, false) => "read only",
        _ => "no access",
    }
}

#[derive(Debug, Serialize)]
struct Group {
    number: String,
    hash: &'static str,
    real_address: String,
    entries: Vec<Judged>,
}

#[derive(Debug, Serialize)]
struct Judged {
    slot: usize,
    dw0: String,
    dw1: String,
    verdict: String,
    matches: bool,
    entry: String,
    /// What key and pp allow.
    rights: &'static str,
}

const fn page(size: PageSize) -> &'static str {
    match size {
        PageSize::P4K => "4 KB",
        PageSize::P64K => "64 KB",
        PageSize::P16M => "16 MB",
        PageSize::P16G => "16 GB",
    }
}

fn segment((slot, e): &(usize, SlbEntry)) -> Segment {
    Segment {
        slot: *slot,
        esid: format!("{:#x}", e.esid),
        vsid: format!("{:#x}", e.vsid),
        size: match e.segment {
            SegmentSize::S256M => "256 MB",
            SegmentSize::S1T => "1 TB",
        },
        page: page(e.page),
        ks: e.ks.into(),
        kp: e.kp.into(),
        no_execute: e.n,
    }
}

fn verdict(verdict: EntryVerdict) -> String {
    match verdict {
        EntryVerdict::Invalid => "free (V=0)".to_owned(),
        EntryVerdict::OtherHash => "H is that of the other hash".to_owned(),
        EntryVerdict::OtherSegmentSize => "another segment size (B)".to_owned(),
        EntryVerdict::OtherPage => "another page (AVPN)".to_owned(),
        EntryVerdict::OtherPageSize => "L and LP are not for this base page".to_owned(),
        EntryVerdict::Matches(size) => format!("matches, a page of {}", page(size)),
        EntryVerdict::MatchesToo(size) => {
            format!(
                "matches too, a page of {}: two entries for one page",
                page(size)
            )
        }
    }
}

impl Walked {
    /// An explanation, told.
    pub fn new(told: &Explanation, access: Access, state: AccessState) -> Walked {
        let search = told.search.as_ref().map(|s| Search {
            vpn: format!("{:#x}", s.vpn),
            base_page: page(s.base),
            hash: format!("{:#x}", s.hash),
            want: format!("{:#018x}", s.want.0),
            groups: s.groups.iter().map(|g| group(g, told.key)).collect(),
        });
        Walked {
            schema: SCHEMA,
            ea: format!("{:#x}", told.ea),
            access: match access {
                Access::Load => "load",
                Access::Store => "store",
                Access::Fetch => "fetch",
            },
            problem_state: state.pr,
            segments: told.segments.iter().map(segment).collect(),
            search,
            key: told.key.into(),
            stored: told.stored.iter().map(stored).collect(),
            real_address: told.result.ok().map(|ra| format!("{ra:#x}")),
            fault: told.result.err().map(|fault| Told {
                vector: format!("{:#x}", fault.vector()),
                text: fault.to_string(),
            }),
        }
    }
}

fn group(group: &GroupExplained, key: bool) -> Group {
    let judged = |(slot, (hpte, v)): (usize, &(Hpte, EntryVerdict))| {
        let (dw0, dw1) = words(*hpte);
        Judged {
            slot,
            dw0,
            dw1,
            verdict: verdict(*v),
            matches: matches!(v, EntryVerdict::Matches(_)),
            entry: described(*hpte),
            rights: rights(*hpte, key),
        }
    };
    Group {
        number: format!("{:#x}", group.group.0),
        hash: if group.secondary {
            "secondary"
        } else {
            "primary"
        },
        real_address: format!("{:#x}", group.ra),
        entries: group.entries.iter().enumerate().map(judged).collect(),
    }
}

fn stored(step: &RcStep) -> String {
    match step {
        RcStep::R(ra) => format!("R of the entry at {ra:#x}"),
        RcStep::C(ra) => format!("C of the entry at {ra:#x}"),
    }
}

/// The steps for people.
pub fn walked(walk: &Walked) -> String {
    let state = if walk.problem_state {
        "problem"
    } else {
        "privileged"
    };
    let mut text = format!("{} of {} in {state} state\n", walk.access, walk.ea);
    for (i, s) in walk.segments.iter().enumerate() {
        let Segment {
            slot,
            esid,
            vsid,
            size,
            page,
            ks,
            kp,
            no_execute,
        } = s;
        let n = u8::from(*no_execute);
        text += &format!(
            "SLB {slot}: ESID {esid} of {size}, VSID {vsid}, pages of {page}, Ks {ks}, Kp {kp}, N {n}\n"
        );
        if i > 0 {
            text += "    it covers the address too: a multihit; the lowest slot is used\n";
        }
    }
    if walk.segments.is_empty() {
        text += "SLB: no entry covers it\n";
    }
    if let Some(search) = &walk.search {
        let Search {
            vpn,
            base_page,
            hash,
            want,
            groups,
        } = search;
        text += &format!("virtual page {vpn}, base page {base_page}, hash {hash}\n");
        text += &format!("looking for {want}\n");
        for g in groups {
            text += &format!("{} group {} at {}:\n", g.hash, g.number, g.real_address);
            for e in &g.entries {
                text += &format!("  {}: {} {} {}\n", e.slot, e.dw0, e.dw1, e.verdict);
            }
        }
        let hit = groups.iter().flat_map(|g| &g.entries).find(|e| e.matches);
        if let Some(hit) = hit {
            text += &format!("the entry: {}\n", hit.entry);
            text += &format!("storage key {} and pp: {}\n", walk.key, hit.rights);
        }
    }
    for what in &walk.stored {
        text += &format!("the walker stores {what}\n");
    }
    match (&walk.real_address, &walk.fault) {
        (Some(ra), _) => text += &format!("real address {ra}\n"),
        (
            None,
            Some(Told {
                vector,
                text: fault,
            }),
        ) => text += &format!("{fault}: vector {vector}\n"),
        (None, None) => {}
    }
    text
}
