use super::*;
use emu_mmu::{SegmentSize, Vpn};

const PAGE: Page = (Vpn::new(0xf_09b8_9af5_0100), SegmentSize::S256M);
const EA: Ea = Ea::new(0xd000_0000_0010_0008);
const OLD: Ra = Ra::new(0x5008);
const NEW: Ra = Ra::new(0x6008);
const HPTE: Ra = Ra::new(0x40d_fa80);

fn begun() -> Served {
    let mut rule = Served::default();
    rule.tracepoint(&Tracepoint::SingleFlush {
        vpn: PAGE.0,
        segment: PAGE.1,
        size: PageSize::P4K,
        frame: 0x5000,
    });
    rule
}

fn tlbie(rule: &mut Served) {
    let operand = TlbInvalidate {
        vpn: PAGE.0,
        segment: PAGE.1,
        base: PageSize::P4K,
        actual: PageSize::P4K,
        local: false,
    };
    rule.flushed(CpuId(1), &operand);
}

#[test]
fn the_old_translation_is_dead_after_the_ptesync_of_the_cpu_that_flushed() {
    let mut rule = begun();
    tlbie(&mut rule);
    assert_eq!(rule.access(EA, Some(PAGE), OLD, false), None, "under way");
    rule.ptesync(CpuId(0));
    assert_eq!(
        rule.access(EA, Some(PAGE), OLD, false),
        None,
        "another CPU's"
    );
    rule.ptesync(CpuId(1));
    let stale = rule.access(EA, Some(PAGE), OLD, false).unwrap().to_string();
    assert!(stale.ends_with("whose flush is complete"), "{stale}");
    let next = (PAGE.0.wrapping_add(1), PAGE.1);
    assert_eq!(rule.access(EA + 4096, Some(next), NEW, false), None);
}

#[test]
fn a_new_entry_brings_a_new_translation_and_not_the_old_one_back() {
    for before in [false, true] {
        let mut rule = begun();
        tlbie(&mut rule);
        if !before {
            rule.ptesync(CpuId(1));
        }
        rule.table_store(HPTE + 8, 0x6194);
        rule.born(HPTE, PAGE);
        rule.ptesync(CpuId(1));
        assert_eq!(rule.access(EA, Some(PAGE), NEW, false), None);
        assert!(rule.access(EA, Some(PAGE), OLD, false).is_some());
    }
}

/// A page whose flush is complete, and which is hashed again with the same frame.
fn hashed_again(r: u64) -> Served {
    let mut rule = begun();
    tlbie(&mut rule);
    rule.ptesync(CpuId(1));
    rule.table_store(HPTE + 8, r);
    rule.born(HPTE, PAGE);
    rule
}

#[test]
fn a_store_that_the_new_entry_denies_was_served_by_the_old_one() {
    // Read-only to the kernel (PP 0b110 of 6.1), and read-write.
    let (narrow, wide) = (0x5190 | 2 | HPTE_R_PP0, 0x5194);
    let rule = hashed_again(narrow);
    let stale = rule.access(EA, Some(PAGE), OLD, true).unwrap().to_string();
    assert!(stale.ends_with("whose flush is complete"), "{stale}");
    assert_eq!(rule.access(EA, Some(PAGE), OLD, false), None, "a load");
    let rule = hashed_again(wide);
    assert_eq!(rule.access(EA, Some(PAGE), OLD, true), None);
}

#[test]
fn a_store_before_the_flush_of_a_narrowed_protection_is_complete_is_not_judged() {
    let mut rule = begun();
    tlbie(&mut rule);
    rule.table_store(HPTE + 8, 0x5193);
    rule.born(HPTE, PAGE);
    assert_eq!(rule.access(EA, Some(PAGE), OLD, true), None);
    rule.ptesync(CpuId(1));
    assert!(rule.access(EA, Some(PAGE), OLD, true).is_some());
}

#[test]
fn a_protection_widened_in_place_permits_from_its_store_on() {
    let mut rule = hashed_again(0x5193);
    assert!(rule.access(EA, Some(PAGE), OLD, true).is_some());
    rule.table_store(HPTE + 8, 0x5192);
    assert_eq!(rule.access(EA, Some(PAGE), OLD, true), None);
    // The slot is another page's now: what is stored there says nothing of this one.
    rule.table_store(HPTE, 0);
    rule.table_store(HPTE + 8, 0x7193);
    assert_eq!(rule.access(EA, Some(PAGE), OLD, true), None);
    assert!(rule.by_hpte.is_empty());
}

#[test]
fn pp_denies_by_the_key_of_the_address() {
    let user = Ea::new(0x1000_0008);
    for (r, to_user, to_kernel) in [
        (0x5190, true, false),
        (0x5191, true, false),
        (0x5192, false, false),
        (0x5193, true, true),
        (HPTE_R_PP0 | 0x5192, true, true),
    ] {
        let rule = hashed_again(r);
        let denied = |ea| rule.access(ea, Some(PAGE), OLD, true).is_some();
        assert_eq!((denied(user), denied(EA)), (to_user, to_kernel), "{r:#x}");
    }
}

#[test]
fn no_access_reaches_a_freed_frame_until_it_is_allocated() {
    let mut rule = Served::default();
    rule.tracepoint(&Tracepoint::PageFreed { frame: 0x5000 });
    assert!(matches!(
        rule.access(EA, None, OLD, false),
        Some(Stale::Freed { .. })
    ));
    assert_eq!(rule.access(EA, None, NEW, false), None);
    rule.tracepoint(&Tracepoint::PageAllocated { frame: 0x5000 });
    assert_eq!(rule.access(EA, None, OLD, false), None);
}
