//! The calls that change R, C, pages and the table's size, calls by register, and the ISA 3.0 table.

use super::tests::{GUEST_BYTES, P4K, S1T, at, hypervisor, r, v, with};
use super::*;
use crate::addr::{GroupIndex, Ra, SegmentSize};
use crate::hpt::{Direct, Rehashed};
use crate::hpte::HpteFormat;
use crate::memory::GuestMemory;

const NONE: Result<HpteR, HcallError> = Err(HcallError::NotFound);

#[test]
fn clear_ref_and_clear_mod() {
    let (memory, hv) = hypervisor();
    let index = at(&hv, 0x456, 0);
    let rc = HpteR::R | HpteR::C;
    let ((), gone) = with(&memory, |a| {
        assert_eq!(hv.clear_ref(a, 0, index)?, NONE);
        assert_eq!(hv.clear_mod(a, 0, index)?, NONE);
        assert!(hv.enter(a, 0, index, v(0x456), r(3))?.is_ok());
        assert_eq!(hv.clear_ref(a, 0, index)?, Ok(r(3)));
        let entry = |a: &mut Direct<'_>| hv.read(a, 0, index).map(|e| e.expect("entry")[0]);
        let now = entry(a)?;
        assert_eq!((now.v, now.r.0 & rc), (v(0x456).with_valid(), HpteR::C));
        assert_eq!(hv.clear_mod(a, 0, index)?, Ok(now.r));
        let now = entry(a)?;
        assert_eq!((now.v, now.r.0), (v(0x456).with_valid(), r(3).0 & !rc));
        for wrong in [(H_AVPN, index), (0, HpteIndex(8 << 11))] {
            let refused = Err(HcallError::Parameter);
            assert_eq!(hv.clear_ref(a, wrong.0, wrong.1)?, refused);
            assert_eq!(hv.clear_mod(a, wrong.0, wrong.1)?, refused);
        }
        Ok(())
    });
    assert_eq!(gone, [0x456; 2]);
}

#[test]
fn clear_mod_sees_a_late_store_and_leaves_no_valid_entry_meanwhile() {
    let (memory, hv) = hypervisor();
    let index = at(&hv, 0x456, 0);
    let clean = HpteR(r(3).0 & !HpteR::C);
    with(&memory, |a| {
        hv.enter(a, 0, index, v(0x456), clean).map(drop)
    });
    let ra = hv.hpt.hpte_ra(index);
    let mut tlb = |_| {
        let dw0 = memory.load_u64(ra).expect("memory");
        assert!(!HpteV(dw0).is_valid());
        memory.store_u8(ra + 15, 0x94).expect("C");
    };
    let was = hv.clear_mod(&mut Direct::new(&memory, &mut tlb), 0, index);
    assert_eq!(
        was,
        Ok(Ok(r(3))),
        "C was set until the last TLB forgot the page"
    );
    let word = memory.load_u64(ra + 8).expect("memory");
    assert_eq!(word, clean.0);
}

#[test]
fn local_calls_use_tlbiel() {
    let (memory, hv) = hypervisor();
    let index = at(&hv, 0x456, 0);
    let mut local = Vec::new();
    let mut tlb = |operand: TlbInvalidate| local.push(operand.local);
    let a = &mut Direct::new(&memory, &mut tlb);
    for flags in [0, H_LOCAL] {
        assert!(
            hv.enter(a, 0, index, v(0x456), r(3))
                .expect("memory")
                .is_ok()
        );
        assert_eq!(hv.protect(a, flags | 2, index, 0), Ok(Ok(())));
        assert!(hv.remove(a, flags, index, 0).expect("memory").is_ok());
    }
    assert_eq!(local, [false, false, true, true]);
}

#[test]
fn pages_zeroed_and_copied() {
    let (memory, hv) = hypervisor();
    let word = |ra: u64| memory.load_u64(Ra::new(ra)).expect("memory");
    for at in [0x3000, 0x3ff8, 0x4000, 0x5000] {
        memory.store_u64(Ra::new(at), at).expect("memory");
    }
    with(&memory, |a| {
        let entered = hv.enter(a, H_ZERO_PAGE | H_COALESCE_CAND, HpteIndex(0), v(1), r(3))?;
        assert!(entered.is_ok());
        assert_eq!([0x3000, 0x3ff8, 0x4000].map(word), [0, 0, 0x4000]);
        let device = HpteR(r(5).0 | HpteR::I | HpteR::G);
        assert!(
            hv.enter(a, H_ZERO_PAGE, HpteIndex(8), v(1), device)?
                .is_ok()
        );
        assert_eq!(word(0x5000), 0x5000, "a device's page");
        let (three, four) = (Ra::new(0x3000), Ra::new(0x4000));
        assert_eq!(
            hv.page_init(a, H_COPY_PAGE | H_ICACHE_INVALIDATE, three, four)?,
            Ok(())
        );
        assert_eq!(word(0x3000), 0x4000);
        assert_eq!(hv.page_init(a, H_ICACHE_SYNCHRONIZE, four, four)?, Ok(()));
        assert_eq!(word(0x4000), 0x4000, "neither flag");
        assert_eq!(hv.page_init(a, H_ZERO_PAGE, four, Ra::new(7))?, Ok(()));
        assert_eq!(word(0x4000), 0);
        let last = Ra::new(GUEST_BYTES - 4096);
        assert_eq!(hv.page_init(a, H_ZERO_PAGE, last, four)?, Ok(()));
        for (flags, to, from) in [
            (H_EXACT, three, four),
            (0, Ra::new(0x3008), four),
            (0, Ra::new(GUEST_BYTES), four),
            (H_COPY_PAGE, three, Ra::new(GUEST_BYTES)),
            (H_COPY_PAGE, three, Ra::new(8)),
        ] {
            assert_eq!(
                hv.page_init(a, flags, to, from)?,
                Err(HcallError::Parameter)
            );
        }
        Ok(())
    });
    let tiny = Hypervisor::new(hv.hpt, 0);
    let (refused, _) = with(&memory, |a| tiny.page_init(a, 0, Ra::new(0), Ra::new(0)));
    assert_eq!(refused, Err(HcallError::Parameter));
}

/// A guest of 256 MB with its table at 256 MB and a place for the next one at 512 MB.
fn resizable() -> (GuestMemory, Hypervisor) {
    let memory = GuestMemory::new(1 << 30).expect("memory");
    let hpt = Hpt::new(Ra::new(1 << 28), 11).expect("table");
    (memory, Hypervisor::new(hpt, 1 << 28))
}

fn place(_bytes: u64) -> Option<Ra> {
    Some(Ra::new(1 << 29))
}

#[test]
fn resize_in_steps() {
    let (memory, mut hv) = resizable();
    let bolted = v(0x1234).with_bolted();
    with(&memory, |a| {
        assert!(hv.enter(a, 0, at(&hv, 0x1234, 0), bolted, r(3))?.is_ok());
        assert!(hv.enter(a, 0, at(&hv, 0x99, 0), v(0x99), r(4))?.is_ok());
        Ok(())
    });
    memory
        .store_u64(Ra::new((1 << 29) + (1 << 22) - 16), 1)
        .expect("left over");
    let old = *hv.hpt();
    assert_eq!(
        hv.resize_commit(&memory, 0, 22),
        Ok(Err(HcallError::Closed))
    );
    let busy = Ok(Err(HcallError::LongBusy));
    assert_eq!(hv.resize_prepare(&memory, 0, 22, place), busy);
    assert_eq!(hv.resize_commit(&memory, 0, 22), Ok(Err(HcallError::Busy)));
    assert_eq!(
        hv.resize_commit(&memory, 0, 21),
        Ok(Err(HcallError::Closed))
    );
    assert_eq!(
        hv.resize_prepare(&memory, 0, 22, |_| None),
        Ok(Ok(())),
        "has its place"
    );
    assert_eq!(
        hv.resize_commit(&memory, 1, 22),
        Ok(Err(HcallError::Parameter))
    );
    let done = hv.resize_commit(&memory, 0, 22);
    assert_eq!(
        done,
        Ok(Ok(Rehashed {
            moved: 1,
            secondary: 0,
            dropped: 1
        }))
    );
    assert_eq!(
        (hv.hpt().groups_log2(), hv.hpt().base()),
        (15, Ra::new(1 << 29))
    );
    assert_eq!(hv.hpt().count_valid(&memory), Ok(1));
    assert_eq!(
        old.count_valid(&memory),
        Ok(2),
        "the old table stays as it was"
    );
    let (found, _) = with(&memory, |a| hv.read(a, 0, at(&hv, 0x1234, 0)));
    assert_eq!(found.expect("entry")[0].v, bolted.with_valid());
}

#[test]
fn resize_refused_and_given_up() {
    let (memory, mut hv) = resizable();
    for (flags, shift) in [(1, 20), (0, 17), (0, 47), (0, u64::MAX)] {
        let refused = hv.resize_prepare(&memory, flags, shift, place);
        assert_eq!(refused, Ok(Err(HcallError::Parameter)));
    }
    // 256 MB are worth 2 MB of table, and twice that at most.
    assert_eq!(
        hv.resize_prepare(&memory, 0, 23, place),
        Ok(Err(HcallError::Resource))
    );
    let places = [None, Some(1 << 28), Some((1 << 29) + 4096), Some(1 << 30)];
    for place in places {
        let refused = hv.resize_prepare(&memory, 0, 20, |_| place.map(Ra::new));
        assert_eq!(refused, Ok(Err(HcallError::NoMemory)), "{place:?}");
    }
    assert_eq!(hv.resize_prepare(&memory, 0, 18, place), Ok(Ok(())));
    assert_eq!(hv.resize_prepare(&memory, 0, 0, place), Ok(Ok(())));
    assert_eq!(
        hv.resize_commit(&memory, 0, 18),
        Ok(Err(HcallError::Closed)),
        "given up"
    );
}

#[test]
fn resize_without_room_for_bolted_entries() {
    let (memory, mut hv) = resizable();
    let wide = Hpt::new(Ra::new(3 << 28), 15).expect("table");
    hv = Hypervisor::new(wide, hv.memory_bytes);
    with(&memory, |a| {
        // Twenty pages apart in 15 bits of the hash, together in 11.
        for n in 0..20 {
            let vpn = n << 11;
            let entered = hv.enter(a, 0, at(&hv, vpn, 0), v(vpn).with_bolted(), r(1))?;
            assert!(entered.is_ok());
        }
        Ok(())
    });
    assert_eq!(hv.resize_prepare(&memory, 0, 18, place), Ok(Ok(())));
    assert_eq!(
        hv.resize_commit(&memory, 0, 18),
        Ok(Err(HcallError::PtegFull))
    );
    assert_eq!(hv.hpt(), &wide);
    assert_eq!(
        hv.resize_commit(&memory, 0, 18),
        Ok(Err(HcallError::Closed))
    );
}

#[test]
fn every_call_by_register() {
    let (memory, hv) = hypervisor();
    let index = at(&hv, 0x456, 0).0;
    let (page, word) = (v(0x456), r(3).0);
    with(&memory, |a| {
        let mut call = |opcode, operands: &[u64]| {
            let mut r = [0xdead; 9];
            r[..operands.len()].copy_from_slice(operands);
            hv.dispatch(a, opcode, &mut r).map(|code| (code, r))
        };
        let (code, r) = call(0x08, &[0, index + 5, page.0, word])?;
        assert_eq!((code, r[0], r[4]), (0, index, 0xdead));
        let (code, r) = call(0x0c, &[0, index])?;
        assert_eq!((code, r[0], r[1], r[2]), (0, page.0 | 1, word, 0xdead));
        let (code, r) = call(0x0c, &[H_READ_4 | H_R_XLATE, index])?;
        assert_eq!((code, r[1], r[2], r[8]), (0, word, 0, 0xdead));
        assert_eq!(call(0x14, &[0, index])?.1[0], word);
        assert_eq!(call(0x10, &[0, index])?.1[0], word & !HpteR::R);
        assert_eq!(call(0x18, &[H_AVPN | 2, index, page.0])?.0, 0);
        assert_eq!(call(0x2c, &[H_ZERO_PAGE, 0x3000])?.0, 0);
        let (code, r) = call(0x04, &[0, index])?;
        let left = word & !(HpteR::R | HpteR::C) & !3 | 2;
        assert_eq!((code, r[0], r[1]), (0, page.0 | 1, left & !HpteR::N));
        assert_eq!(call(0x04, &[0, index])?.0, -7);
        let ask = bulk_request(HpteIndex(index), page);
        let (code, r) = call(0x124, &[ask[0], ask[1], HBR_END])?;
        assert_eq!((code, r[0] >> 56, r[2]), (0, 0x92, HBR_END));
        let (code, r) = call(0x328, &[page.0, block_request(HpteIndex(index)), HBR_END])?;
        assert_eq!((code, r[0], r[1]), (0, HBLKR_NOT_FOUND | index, HBR_END));
        for none in [0, 0x36c, 0x370, u64::MAX] {
            assert_eq!(call(none, &[])?.0, -2);
        }
        Ok(())
    });
}

/// The calls keep the ISA 2.x layout where the table has the other one.
#[test]
fn a_table_in_isa_3_0_layout() {
    let (memory, hv) = hypervisor();
    let isa3 = hv.hpt.with_format(HpteFormat::Isa3);
    let hv = Hypervisor::new(isa3, GUEST_BYTES);
    let index = at(&hv, 0x456, 0);
    let entered = v(0x456).with_bolted();
    let ((), gone) = with(&memory, |a| {
        assert!(hv.enter(a, 0, index, entered, r(3))?.is_ok());
        let ra = isa3.hpte_ra(index);
        let raw = (memory.load_u64(ra)?, memory.load_u64(ra + 8)?);
        let valid = entered.with_valid();
        let mut hpte = Hpte { v: valid, r: r(3) };
        assert_eq!(raw, HpteFormat::Isa3.encode(hpte));
        assert_ne!(raw.0, valid.0, "B is elsewhere");
        assert_eq!(hv.read(a, 0, index)?, Ok(vec![hpte]));
        assert_eq!(hv.protect(a, H_AVPN | 1, index, v(0x456).0)?, Ok(()));
        hpte.r = HpteR(hpte.r.0 & !7 | 1);
        assert_eq!(hv.clear_ref(a, 0, index)?, Ok(hpte.r));
        hpte.r.0 &= !HpteR::R;
        assert_eq!(hv.clear_mod(a, 0, index)?, Ok(hpte.r));
        hpte.r.0 &= !HpteR::C;
        assert_eq!(hv.remove(a, H_AVPN, index, v(0x456).0)?, Ok(hpte));
        assert!(hv.enter(a, 0, index, entered, r(3))?.is_ok());
        let mut words = [HBR_END; BLOCK_ENTRIES_MAX];
        words[0] = block_request(index);
        assert_eq!(
            hv.block_remove(a, v(0x456), &mut words)?,
            Ok(BlockStatus::Success)
        );
        assert_eq!(words[0], HBLKR_SUCCESS | index.0);
        Ok(())
    });
    assert_eq!(gone, [0x456; 5]);
}

#[test]
fn page_numbers_of_every_size_are_recovered() {
    let (_, hv) = hypervisor();
    let sizes = [
        (P4K, P4K),
        (P4K, PageSize::P64K),
        (PageSize::P64K, PageSize::P64K),
    ];
    let large = [
        (PageSize::P64K, PageSize::P16M),
        (PageSize::P16M, PageSize::P16M),
    ];
    for segment in [SegmentSize::S256M, S1T] {
        for (base, actual) in sizes.into_iter().chain(large) {
            let vpn = Vpn::new(0x7c_a37f_5168_b271).align_down(base);
            let hash = vpn.hash(segment, base);
            let v = HpteV::new(vpn, segment, base).with_valid();
            let v = if actual == P4K { v } else { v.with_large() };
            let r = HpteR::new(Ra::new(0), base, actual);
            let groups: [(GroupIndex, HpteV); 2] = [
                (hv.hpt.primary(hash), v),
                (hv.hpt.secondary(hash), v.with_secondary()),
            ];
            for (group, v) in groups {
                let got = hv
                    .page_in(group.slot(3), Hpte { v, r })
                    .expect("sizes exist");
                assert_eq!((got.vpn, got.base, got.actual), (vpn, base, actual));
            }
        }
    }
}
