//! What `emu hpt walk` tells: one translation, step by step.

use super::{SCHEMA, described, words};
use emu_mmu::{
    Access, AccessState, EntryVerdict, Explanation, GroupExplained, Hpte, PageSize, RcStep,
    SegmentSize, SlbEntry, allowed,
};
use serde::Serialize;

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
