use super::*;
use crate::addr::{Ra, SegmentSize};
use crate::hpt::Direct;
use crate::memory::{GuestMemory, MemoryError};

pub(super) const P4K: PageSize = PageSize::P4K;
pub(super) const S1T: SegmentSize = SegmentSize::S1T;
/// The guest's memory, below the table.
pub(super) const GUEST_BYTES: u64 = 1 << 18;

pub(super) fn hypervisor() -> (GuestMemory, Hypervisor) {
    let memory = GuestMemory::new(1 << 20).expect("memory");
    let hpt = Hpt::new(Ra::new(1 << 18), 11).expect("table");
    (memory, Hypervisor::new(hpt, GUEST_BYTES))
}

pub(super) fn r(page: u64) -> HpteR {
    HpteR::new(Ra::new(page << 12), P4K, P4K).with_flags(0x194)
}

pub(super) fn v(vpn: u64) -> HpteV {
    HpteV::new(Vpn::new(vpn), S1T, P4K)
}

/// The primary slot `n` of a page.
pub(super) fn at(hv: &Hypervisor, vpn: u64, n: u8) -> HpteIndex {
    hv.hpt.primary(Vpn::new(vpn).hash(S1T, P4K)).slot(n)
}

/// Runs calls, and gives the pages invalidated.
pub(super) fn with<T>(
    memory: &GuestMemory,
    calls: impl FnOnce(&mut Direct<'_>) -> Result<T, MemoryError>,
) -> (T, Vec<u64>) {
    let mut gone = Vec::new();
    let mut tlb = |operand: TlbInvalidate| gone.push(operand.vpn.get());
    let result = calls(&mut Direct::new(memory, &mut tlb)).expect("memory");
    (result, gone)
}

#[test]
fn opcodes_and_codes() {
    let opcodes = Hcall::ALL.map(Hcall::opcode);
    assert_eq!(
        opcodes,
        [
            0x04, 0x08, 0x0c, 0x10, 0x14, 0x18, 0x2c, 0x124, 0x328, 0x36c, 0x370
        ]
    );
    assert_eq!(Hcall::from_opcode(0x18), Some(Hcall::Protect));
    assert_eq!(Hcall::from_opcode(0x19), None);
    assert!(Hcall::ALL.iter().enumerate().all(|(i, h)| *h as usize == i));
    use HcallError as E;
    let errors = [
        (E::Busy, 1, "H_BUSY"),
        (E::Closed, 2, "H_CLOSED"),
        (E::LongBusy, 9900, "H_LONG_BUSY_ORDER_1_MSEC"),
        (E::Function, -2, "H_FUNCTION"),
        (E::Parameter, -4, "H_PARAMETER"),
        (E::PtegFull, -6, "H_PTEG_FULL"),
        (E::NotFound, -7, "H_NOT_FOUND"),
        (E::NoMemory, -9, "H_NO_MEM"),
        (E::Resource, -16, "H_RESOURCE"),
    ];
    for (error, code, name) in errors {
        assert_eq!((error.code(), error.to_string().as_str()), (code, name));
    }
    assert_eq!(
        [BlockStatus::Success.code(), BlockStatus::Partial.code()],
        [0, 5]
    );
}

#[test]
fn enter_takes_the_first_free_slot_or_the_exact_one() {
    let (memory, hv) = hypervisor();
    let ((), gone) = with(&memory, |a| {
        assert_eq!(
            hv.enter(a, H_EXACT, HpteIndex(0x81), v(1), r(1))?,
            Ok(HpteIndex(0x81))
        );
        assert_eq!(
            hv.enter(a, H_EXACT, HpteIndex(0x81), v(2), r(2))?,
            Err(HcallError::PtegFull)
        );
        for slot in [0, 2, 3, 4, 5, 6, 7] {
            let put = hv.enter(a, 0, HpteIndex(0x86), v(0x10), r(3))?;
            assert_eq!(put, Ok(HpteIndex(0x80 + slot)));
        }
        assert_eq!(
            hv.enter(a, 0, HpteIndex(0x80), v(3), r(3))?,
            Err(HcallError::PtegFull)
        );
        Ok(())
    });
    assert!(gone.is_empty(), "nothing was there to invalidate");
}

#[test]
fn enter_sets_v_and_keeps_the_hypervisors_bits() {
    let (memory, hv) = hypervisor();
    let sent = HpteV(v(0x123).0 | 0x7a);
    let (read, _) = with(&memory, |a| {
        let index = hv.enter(a, 0, HpteIndex(8), sent, r(5))?.expect("entered");
        hv.read(a, 0, index)
    });
    let read = read.expect("an entry");
    assert_eq!(
        read,
        [Hpte {
            v: HpteV(v(0x123).0 | 0x1b),
            r: r(5)
        }]
    );
}

#[test]
fn operands_that_are_none_are_refused() {
    let (memory, hv) = hypervisor();
    let past = HpteIndex(8 << 11);
    let device = HpteR(r(GUEST_BYTES >> 12).0 | HpteR::I | HpteR::G);
    let wrong_lp = HpteV(v(1).0 | HpteV::LARGE);
    let wrong_b = HpteV(v(1).0 | HpteV::B_MASK);
    let big = HpteV::new(Vpn::new(0), S1T, PageSize::P16M);
    let beyond = HpteR::new(Ra::new(0), PageSize::P16M, PageSize::P16M);
    with(&memory, |a| {
        for (flags, index, v, r) in [
            (H_COPY_PAGE, HpteIndex(0), v(1), r(1)),
            (0, past, v(1), r(1)),
            (0, HpteIndex(0), v(1), r(GUEST_BYTES >> 12)),
            (0, HpteIndex(0), wrong_lp, HpteR(0xff << 12)),
            (0, HpteIndex(0), wrong_b, r(1)),
            (0, HpteIndex(0), big, beyond),
        ] {
            assert_eq!(
                hv.enter(a, flags, index, v, r)?,
                Err(HcallError::Parameter),
                "{v:?}"
            );
        }
        assert!(
            hv.enter(a, 0, HpteIndex(0), v(1), device)?.is_ok(),
            "a device is no memory"
        );
        assert_eq!(
            hv.remove(a, H_EXACT, HpteIndex(0), 0)?,
            Err(HcallError::Parameter)
        );
        assert_eq!(hv.remove(a, 0, past, 0)?, Err(HcallError::Parameter));
        assert_eq!(
            hv.protect(a, H_ANDCOND, HpteIndex(0), 0)?,
            Err(HcallError::Parameter)
        );
        assert_eq!(hv.protect(a, 0, past, 0)?, Err(HcallError::Parameter));
        assert_eq!(
            hv.read(a, H_AVPN, HpteIndex(0))?,
            Err(HcallError::Parameter)
        );
        assert_eq!(hv.read(a, 0, past)?, Err(HcallError::Parameter));
        Ok(())
    });
    assert_eq!(hv.hpt.count_valid(&memory), Ok(1), "the device");
}

#[test]
fn remove_under_each_condition() {
    let (memory, hv) = hypervisor();
    let (first, bolted) = (at(&hv, 0x77_1234, 0), at(&hv, 0x77_1234, 1));
    let ((), gone) = with(&memory, |a| {
        let both = [v(0x77_1234), v(0x77_1234).with_bolted()];
        for v in both {
            assert!(hv.enter(a, 0, first, v, r(9))?.is_ok());
        }
        let not_found = Err(HcallError::NotFound);
        assert_eq!(hv.remove(a, H_AVPN, first, v(0x99_0000).0)?, not_found);
        assert_eq!(hv.remove(a, H_ANDCOND, bolted, HpteV::BOLTED)?, not_found);
        let got = hv.remove(a, H_AVPN, first, v(0x77_1234).0)?;
        assert_eq!(
            got,
            Ok(Hpte {
                v: v(0x77_1234).with_valid(),
                r: r(9)
            })
        );
        assert_eq!(hv.remove(a, 0, first, 0)?, not_found, "gone");
        assert!(hv.enter(a, 0, first, v(0x77_1234), r(9))?.is_ok());
        assert!(hv.remove(a, H_ANDCOND, first, HpteV::BOLTED)?.is_ok());
        assert!(hv.remove(a, 0, bolted, 0)?.is_ok(), "no condition");
        Ok(())
    });
    assert_eq!(
        gone, [0x77_1234; 3],
        "the whole page number, from the group"
    );
}

#[test]
fn remove_returns_what_hardware_wrote() {
    let (memory, hv) = hypervisor();
    let index = at(&hv, 5, 0);
    let ra = hv.hpt.hpte_ra(index) + 8;
    with(&memory, |a| {
        hv.enter(a, 0, index, v(5), HpteR(r(1).0 & !0x180))
            .map(drop)
    });
    // Hardware sets C while the invalidation is under way.
    let mut tlb = |_| memory.store_u64(ra, r(1).0 & !0x100).expect("memory");
    let got = hv
        .remove(&mut Direct::new(&memory, &mut tlb), 0, index, 0)
        .expect("memory");
    assert_eq!(got.map(|e| (e.r.r(), e.r.c())), Ok((false, true)));
}

#[test]
fn protect_changes_pp_n_and_key_only() {
    let (memory, hv) = hypervisor();
    let index = at(&hv, 0x456, 0);
    let (read, gone) = with(&memory, |a| {
        assert_eq!(
            hv.protect(a, 0, index, 0)?,
            Err(HcallError::NotFound),
            "nothing there"
        );
        let entered = HpteV(v(0x456).0).with_bolted();
        assert!(hv.enter(a, 0, index, entered, r(3))?.is_ok());
        let other = hv.protect(a, H_AVPN | 2, index, v(0x99_0000).0)?;
        assert_eq!(other, Err(HcallError::NotFound));
        let flags = H_AVPN | 0x100 | 0x3000 | 0xe00 | 0x3;
        assert_eq!(hv.protect(a, flags, index, v(0x456).0)?, Ok(()));
        hv.read(a, 0, index)
    });
    let entry = read.expect("an entry")[0];
    assert_eq!(entry.v, v(0x456).with_bolted().with_valid());
    assert_eq!((entry.r.pp(), entry.r.key(), entry.r.n()), (7, 31, false));
    assert_eq!((entry.r.ra(P4K), entry.r.wimg()), (Ra::new(3 << 12), 2));
    assert!(entry.r.r() && entry.r.c());
    assert_eq!(gone, [0x456]);
}

#[test]
fn read_gives_one_or_four() {
    let (memory, hv) = hypervisor();
    with(&memory, |a| {
        assert!(hv.enter(a, H_EXACT, HpteIndex(6), v(1), r(6))?.is_ok());
        let one = hv.read(a, 0, HpteIndex(6))?.expect("one");
        let four = hv.read(a, H_READ_4, HpteIndex(7))?.expect("four");
        assert_eq!((one.len(), four.len(), one[0]), (1, 4, four[2]));
        assert!(four[2].v.is_valid() && four[2].r == r(6) && !four[3].v.is_valid());
        Ok(())
    });
}

#[test]
fn bulk_words() {
    let (memory, hv) = hypervisor();
    let (page, r_only) = (v(0x321), HpteR(r(2).0 & !HpteR::C));
    let index = at(&hv, 0x321, 0);
    let ask = bulk_request(index, page.with_valid());
    assert_eq!(ask, [0x4200_0000_0000_0000 | index.0, page.0]);
    let answer = |code: u64| code | 0x0200_0000_0000_0000 | index.0;
    let ((), gone) = with(&memory, |a| {
        assert!(hv.enter(a, 0, index, page, r_only)?.is_ok());
        let mut words = [ask[0], ask[1], ask[0], ask[1], HBR_END, 7, ask[0], ask[1]];
        assert_eq!(hv.bulk_remove(a, &mut words)?, Ok(()));
        // R but not C; the second time the entry is gone, although its lock was this call's own.
        assert_eq!(words[0], answer(0x8800_0000_0000_0000));
        assert_eq!(words[2], answer(0x9000_0000_0000_0000));
        assert_eq!(words[4..], [HBR_END, 7, ask[0], ask[1]], "after the end");
        Ok(())
    });
    assert_eq!(gone, [0x321]);
}

#[test]
fn bulk_conditions_and_wrong_words() {
    let (memory, hv) = hypervisor();
    let index = at(&hv, 0x321, 0);
    with(&memory, |a| {
        for wrong in [
            0,
            HBR_RESPONSE | index.0,
            HBR_REQUEST | HBR_AVPN | HBR_ANDCOND | index.0,
            HBR_REQUEST | HBR_NOT_FOUND | index.0,
            HBR_REQUEST | (8 << 11),
        ] {
            assert!(hv.enter(a, 0, index, v(0x321).with_bolted(), r(2))?.is_ok());
            let kept = [HBR_REQUEST | HBR_ANDCOND | index.0, HpteV::BOLTED];
            let gone = [HBR_REQUEST | index.0, 0];
            let mut words = [
                kept[0], kept[1], gone[0], gone[1], wrong, 0, gone[0], gone[1],
            ];
            assert_eq!(
                hv.bulk_remove(a, &mut words)?,
                Err(HcallError::Parameter),
                "{wrong:#x}"
            );
            assert_eq!(
                words[0] & 0xf000_0000_0000_0000,
                HBR_RESPONSE | HBR_NOT_FOUND
            );
            assert_eq!(words[2], HBR_RESPONSE | HBR_R | HBR_C | index.0);
            assert_eq!(
                words[4] & 0xf000_0000_0000_0000,
                HBR_RESPONSE | HBR_PARAMETER
            );
            assert_eq!(words[6..], gone, "not looked at");
        }
        Ok(())
    });
}

#[test]
fn block_of_eight() {
    let (memory, hv) = hypervisor();
    let first = 0x654_3210;
    let pages = first..first + 8;
    let mut words: [u64; 8] = [0; 8];
    let ((), gone) = with(&memory, |a| {
        for (vpn, word) in pages.clone().zip(&mut words) {
            let index = hv
                .enter(a, 0, at(&hv, vpn, 0), v(vpn), r(vpn & 7))?
                .expect("room");
            *word = block_request(index);
        }
        assert_eq!(words[0] >> 56, 0x41);
        let absent = at(&hv, first + 1, 3);
        words[5] = block_request(absent);
        assert_eq!(
            hv.block_remove(a, v(first), &mut words)?,
            Ok(BlockStatus::Success)
        );
        Ok(())
    });
    let codes = words.map(|word| word & HBLKR_CTRL_MASK);
    let (ok, absent) = (HBLKR_SUCCESS, HBLKR_NOT_FOUND);
    assert_eq!(codes, [ok, ok, ok, ok, ok, absent, ok, ok]);
    assert_eq!(gone, [0, 1, 2, 3, 4, 6, 7].map(|n| first + n));
}

#[test]
fn block_that_is_none_busy_entries_and_wrong_words() {
    let ((memory, hv), block) = (hypervisor(), 0x654_3210);
    let put = |a: &mut Direct<'_>, vpn| hv.enter(a, 0, at(&hv, vpn, 0), v(vpn), r(1));
    with(&memory, |a| {
        let here = put(a, block)?.expect("room");
        let next = put(a, block + 8)?.expect("room");
        let [ask, beyond] = [here, next].map(block_request);
        let mut words = [ask, ask, beyond, ask, ask, ask, ask, ask];
        // Asked twice in one call: its lock is taken. Then a page of the next block.
        assert_eq!(
            hv.block_remove(a, v(block), &mut words)?,
            Err(HcallError::Parameter)
        );
        assert_eq!(
            words[..4],
            [HBLKR_SUCCESS | here.0, HBLKR_BUSY | here.0, beyond, ask]
        );
        let mut end = [ask, HBR_END, 0, 0, 0, 0, 0, 0];
        let mut busy = [beyond, beyond, HBR_END, 0, 0, 0, 0, 0];
        assert_eq!(
            hv.block_remove(a, v(block), &mut end)?,
            Ok(BlockStatus::Success)
        );
        assert_eq!(end[0], HBLKR_NOT_FOUND | here.0);
        assert_eq!(
            hv.block_remove(a, v(block), &mut busy)?,
            Ok(BlockStatus::Partial)
        );
        for wrong in [0, HBR_REQUEST | here.0, block_request(HpteIndex(8 << 11))] {
            let refused = hv.block_remove(a, v(block), &mut [wrong; 8])?;
            assert_eq!(refused, Err(HcallError::Parameter), "{wrong:#x}");
        }
        Ok(())
    });
    assert_eq!(hv.hpt.count_valid(&memory), Ok(0));
}
