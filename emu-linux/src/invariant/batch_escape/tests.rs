use super::*;
use emu_core::{CpuId, Cycles};
use emu_mmu::{PageSize, SegmentSize, Vpn};

const BITS: PteBits = PteBits::V2_6_38;
const PAGE: Page = (Vpn::new(0xf_09b8_9af5_0100), SegmentSize::S256M);
const SLOT: u64 = 0x1bf5 * 8 + 3;
const PTE: u64 = 0xc000_0000_0020_0008;
const PTE_RA: Ra = Ra::new(0x20_0008);
const HPTE: Ra = Ra::new(0x40d_fa80);

fn waiting() -> BatchEscape {
    let mut rule = BatchEscape::default();
    queue(&mut rule);
    rule
}

fn queue(rule: &mut BatchEscape) -> Option<Escape> {
    let at = Moment {
        cpu: CpuId(0),
        now: Cycles::new(5),
        task: 1,
        pid: 1,
    };
    rule.tracepoint(
        at,
        &Tracepoint::Queued {
            vpn: PAGE.0,
            segment: PAGE.1,
            size: PageSize::P4K,
            slot: SLOT,
            pte: PTE,
            frame: 0x5000,
        },
        &BITS,
    )
}

fn flush(rule: &mut BatchEscape) {
    rule.flushed(PAGE);
}

#[test]
fn a_present_value_without_the_slot_escapes() {
    let mut rule = waiting();
    let other_slot = BITS.present | BITS.hashpte | BITS.hidx_bits(2);
    assert!(rule.pte_store(PTE_RA, 0, other_slot, &BITS).is_some());
    let other_group = BITS.present | BITS.hashpte | BITS.hidx_bits(11);
    assert!(rule.pte_store(PTE_RA, 0, other_group, &BITS).is_some());
    let told = rule.pte_store(PTE_RA, 0, 0x301, &BITS).unwrap().to_string();
    assert!(
        told.ends_with("its PTE 0xc000000000200008 becomes 0x301, present without that slot"),
        "{told}"
    );
    let again = rule.pte_store(PTE_RA, 0x301, 0x381, &BITS);
    assert_eq!(again, None, "told when it was set");
}

#[test]
fn a_present_value_with_the_slot_another_pte_and_none_do_not() {
    let mut rule = waiting();
    let same = BITS.present | BITS.hashpte | BITS.hidx_bits(3);
    assert_eq!(rule.pte_store(PTE_RA, 0, same, &BITS), None);
    assert_eq!(rule.pte_store(PTE_RA, 0, 0, &BITS), None);
    assert_eq!(rule.pte_store(PTE_RA + 8, 0, 0x301, &BITS), None);
}

#[test]
fn hashing_the_page_while_its_pte_has_forgotten_the_slot_escapes_and_the_next_page_does_not() {
    let mut rule = waiting();
    let next = (PAGE.0.wrapping_add(1), PAGE.1);
    assert!(rule.pte_store(PTE_RA, 0, 0x301, &BITS).is_some());
    assert_eq!(rule.born(HPTE, next, true), None);
    assert!(rule.born(HPTE, PAGE, false).is_some());
}

#[test]
fn a_page_hashed_again_between_the_removal_of_its_entry_and_the_tlbie_does_not_escape() {
    // fork's write protection: the PTE keeps its slot, and a hash fault finds it empty.
    let mut rule = waiting();
    assert_eq!(rule.born(HPTE, PAGE, false), None);
    let (first, elsewhere) = (BITS.hidx_bits(3), BITS.hidx_bits(10));
    let with = |slot| BITS.present | BITS.hashpte | slot;
    let stored = rule.pte_store(PTE_RA, with(first) | BITS.busy, with(elsewhere), &BITS);
    assert_eq!(stored, None, "the slot of the entry there is");
    let bare = rule.pte_store(PTE_RA, with(elsewhere), BITS.present, &BITS);
    assert!(bare.is_some(), "no slot at all");
}

#[test]
fn a_pte_that_is_present_and_not_hashed_when_its_entry_is_queued_escapes() {
    for (left, escapes) in [
        (BITS.present, true),
        (BITS.present | BITS.hashpte, false),
        (0, false),
    ] {
        let mut rule = BatchEscape::default();
        let before = BITS.present | BITS.hashpte;
        assert_eq!(rule.pte_store(PTE_RA, before, left, &BITS), None);
        assert_eq!(queue(&mut rule).is_some(), escapes, "{left:#x}");
        assert_eq!(queue(&mut rule), None, "told once");
    }
}

#[test]
fn a_second_entry_beside_the_old_one_escapes_whatever_the_pte_says() {
    let mut rule = waiting();
    assert!(rule.born(HPTE, PAGE, true).is_some());
}

#[test]
fn after_its_flushes_the_page_is_free() {
    let mut rule = waiting();
    queue(&mut rule);
    flush(&mut rule);
    assert!(rule.born(HPTE, PAGE, true).is_some(), "queued twice");
    flush(&mut rule);
    assert_eq!(rule.born(HPTE, PAGE, true), None);
    assert_eq!(rule.pte_store(PTE_RA, 0, 0x301, &BITS), None);
    assert!(rule.waiting.is_empty() && rule.by_pte.is_empty());
}
