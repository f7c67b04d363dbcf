//! `emu hpt`.

use super::{emu, printed, refused};
use emu_mmu::{Ea, GuestMemory, Hpt, Hpte, HpteR, HpteV, PageSize, Ra, SegmentSize, Vpn, Vsid};
use std::fs;
use std::path::Path;

const EA: Ea = Ea::new(0xd000_0000_0010_0123);
const VSID: Vsid = Vsid::new(0xeb71b0);
/// RS and RB of its segment: 1 TB, Kp, 4 KB pages, slot 1.
const SLB: &str = "0x4000eb71b0000400,0xd000000008000001";

/// An image of 2^13 groups that maps one page, twice if `twice`.
fn image(folder: &Path, twice: bool) -> String {
    let (memory, hpt) = (
        GuestMemory::new(1 << 20).unwrap(),
        Hpt::new(Ra::new(0), 13).unwrap(),
    );
    let (segment, page) = (SegmentSize::S1T, PageSize::P4K);
    let vpn = Vpn::from_ea(VSID, EA, segment);
    let hash = vpn.hash(segment, page);
    let v = HpteV::new(vpn, segment, page).with_valid();
    let r = HpteR::new(Ra::new(0x234_5000), page, page).with_flags(0x114);
    hpt.put(&memory, hpt.primary(hash).slot(2).0, Hpte { v, r })
        .unwrap();
    if twice {
        let v = v.with_secondary();
        hpt.put(&memory, hpt.secondary(hash).slot(0).0, Hpte { v, r })
            .unwrap();
    }
    let mut bytes = Vec::new();
    for entry in hpt.entries(&memory) {
        let (_, hpte) = entry.unwrap();
        bytes.extend(hpte.v.0.to_be_bytes());
        bytes.extend(hpte.r.0.to_be_bytes());
    }
    let path = folder.join("image");
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_image_goes_through_a_stream_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(folder.path(), true);
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (stream, back) = (at("stream"), at("back"));
    let (code, said) = printed(&["hpt", "dump", &image, "--stream", &stream]);
    assert_eq!(code, 0);
    assert!(said.contains("2 valid entries"), "{said}");
    assert_eq!(printed(&["hpt", "load", &stream, "-o", &back]).0, 0);
    assert_eq!(fs::read(&image).unwrap(), fs::read(&back).unwrap());
    for file in [&image, &stream] {
        let (_, stat) = printed(&["hpt", "stat", file, "--json"]);
        let stat: serde_json::Value = serde_json::from_str(&stat).unwrap();
        assert_eq!(stat["groups"], 8192);
        assert_eq!((&stat["valid"], &stat["secondary"]), (&2.into(), &1.into()));
        let (_, entries) = printed(&["hpt", "dump", file]);
        assert_eq!(entries.lines().count(), 2, "{entries}");
    }
    let (_, bolted) = printed(&["hpt", "dump", &image, "--bolted"]);
    assert_eq!(bolted, "");
}

#[test]
fn check_finds_the_page_with_two_entries() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = printed(&["hpt", "check", &image(folder.path(), true)]);
    assert_eq!(code, 1);
    assert!(
        said.contains("virtual page 0xeb71b00000100 has two entries"),
        "{said}"
    );
    let (code, said) = printed(&["hpt", "check", &image(folder.path(), false)]);
    assert_eq!((code, &*said), (0, "1 valid entry, 0 pages with two\n"));
}

#[test]
fn walk_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(folder.path(), false);
    let walk = |words: &[&str]| {
        let base = ["hpt", "walk", &image, "--slb", SLB, "--ea"];
        let words: Vec<&str> = base.iter().chain(words).copied().collect();
        let (code, said) = printed(&words);
        assert_eq!(code, 0);
        said
    };
    let said = walk(&["0xd000000000100123"]);
    for word in [
        "SLB 1: ESID 0xd00000 of 1 TB, VSID 0xeb71b0",
        "hash 0x6360eb70b0",
        "primary group 0x10b0",
        "2: 0x4000eb71b0000001 0x0000000002345114 matches, a page of 4 KB",
        "0: 0x0000000000000000 0x0000000000000000 free",
        "real address 0x2345123",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let said = walk(&["0xd000000000100123", "--access", "store"]);
    assert!(
        said.contains("the walker stores C of the entry at 0x85820"),
        "{said}"
    );
    let said = walk(&["0xd000000000100123", "--problem-state"]);
    assert!(
        said.contains("storage key 1 and pp: no access") && said.contains("vector 0x300"),
        "{said}"
    );
    let said = walk(&["0xd000000000101123"]);
    assert!(
        said.contains("secondary group") && said.contains("0x40000000"),
        "{said}"
    );
    let said = walk(&["0x1000", "--access", "fetch"]);
    assert!(
        said.contains("no entry covers it") && said.contains("0x480"),
        "{said}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&walk(&["0xd000000000100123", "--json"])).unwrap();
    assert_eq!(json["real_address"], "0x2345123");
    assert_eq!(json["search"]["groups"][0]["entries"][2]["matches"], true);
}

#[test]
fn files_and_operands_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(folder.path(), false);
    let short = folder.path().join("short");
    fs::write(&short, [1; 100]).unwrap();
    let short = short.to_str().unwrap();
    assert!(refused(&["hpt", "stat", short]).contains("neither a stream"));
    assert!(refused(&["hpt", "stat", "absent"]).contains("absent"));
    assert!(refused(&["hpt", "stat", &image, "--htab-bits", "12"]).contains("2^13 groups"));
    let walk = |slb: &str, ea: &str| refused(&["hpt", "walk", &image, "--slb", slb, "--ea", ea]);
    assert!(walk("0x1", "0x0").contains("comma"));
    assert!(walk(SLB, "0xg").contains("hexadecimal"));
    assert!(walk("0x8000000000000000,0x8000000", "0x0").contains("segment size"));
    let old = [
        "hpt", "walk", &image, "--slb", SLB, "--ea", "0x0", "--cpu", "970",
    ];
    assert!(refused(&old).contains("segment size"));
}

#[test]
fn a_file_that_is_no_table_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let refused_of = |bytes: &[u8], flags: &[&str]| {
        let file = folder.path().join("file");
        fs::write(&file, bytes).unwrap();
        refused(&[&["hpt", "stat", file.to_str().unwrap()], flags].concat())
    };
    assert!(refused(&["hpt", "stat", folder.path().to_str().unwrap()]).contains("a directory"));
    assert!(refused_of(&[], &[]).contains("it is empty"));
    // One valid entry at 0, and free ones to the end of a table of 2^11 groups.
    let mut stream = vec![0, 0, 0, 0, 1, 0, 0xff, 0x3f];
    stream.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0x90]);
    let said = refused_of(&stream[..20], &[]);
    assert!(said.contains("little-endian headers: the stream ends inside the record at byte 0"));
    let said = refused_of(&stream, &["--header-order", "big"]);
    assert!(
        said.contains("big-endian headers") && !said.contains("little-endian"),
        "{said}"
    );
    stream[6] = 0;
    assert!(
        refused_of(&stream, &[]).contains("it covers 16129 entries"),
        "short of a table"
    );
    stream[0] = 1;
    assert!(refused_of(&stream, &[]).contains("leave gaps"));
    stream[7] = 0x7f;
    let said = refused_of(&stream, &["--htab-bits", "11"]);
    assert!(said.contains("2^11 groups have 16384"), "{said}");
    assert!(refused_of(&[0; 100], &[]).contains("covers no entry"));
}

#[test]
fn a_table_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(folder.path(), false);
    let from_file = printed(&["hpt", "stat", &image]);
    let bytes = fs::read(&image).unwrap();
    let output = emu(&["hpt", "stat", "-"])
        .write_stdin(bytes)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), from_file.1);
    let output = emu(&["hpt", "stat", "-"])
        .write_stdin([1; 9])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("standard input: it is neither"), "{said}");
}
