//! Kernels with 64K pages: one 64K HPTE for a page, or one for each 4K piece that was touched.

use super::{BOTH, Bench};
use crate::config::{Backend, KernelVersion, Pages};
use crate::hash_native::LinearTable;
use crate::kernel::Linux;
use crate::layout::{PIECE_BYTES, RealPte};
use crate::mm::{Mm, VirtualPage};
use emu_core::{Ctx, Run};
use emu_mmu::hcall::Hcall;
use emu_mmu::{Ea, HpteIndex, HpteR, HpteV, PageSize, Ra, Vpn};
use std::sync::atomic::Ordering::Relaxed;

const SIZES: [PageSize; 2] = [PageSize::P64K, PageSize::P4K];

fn bench(policy: &str, version: KernelVersion, hpte_page: PageSize) -> Bench {
    let mut bench = Bench::new(policy, version);
    bench.config.pages = Some(Pages::K64);
    bench.hpte_page = Some(hpte_page);
    bench
}

/// Address of a piece.
fn piece(ea: Ea, piece: u64) -> Ea {
    ea + piece * PIECE_BYTES
}

/// The PTE of an address with its slots.
fn real_pte_of(linux: &Linux, cx: &mut Ctx<'_>, ea: Ea) -> Run<RealPte> {
    let (ptep, pte) = linux.pte_of(cx, ea)?;
    linux.real_pte(cx, ptep, pte)
}

/// Where the table has an address, as a page of a size.
fn find(linux: &Linux, cx: &mut Ctx<'_>, ea: Ea, size: PageSize) -> Run<Option<HpteIndex>> {
    let page = linux.kernel_page(ea);
    let vpn = Vpn::from_ea(linux.layout.kernel_vsid(ea, page.segment), ea, page.segment);
    let vpn = vpn.align_down(size);
    linux
        .hpt
        .find(&mut LinearTable(cx), vpn, page.segment, size)
}

/// The pieces that a PTE records.
fn pieces(linux: &Linux, rpte: RealPte) -> Vec<u64> {
    let size = linux.layout.hpte_size(rpte.pte);
    let pieces = linux.layout.hashed_pieces(rpte, size);
    pieces.map(|(piece, _)| piece).collect()
}

#[test]
fn a_64k_page_has_one_hpte_and_its_slot_is_where_the_kernel_keeps_it() {
    for version in BOTH {
        let linux = bench("mainline-6.1", version, PageSize::P64K).run(move |linux, cx| {
            let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            for n in [3, 0, 15] {
                linux.touch(cx, piece(ea, n), true)?;
            }
            let slot = find(linux, cx, ea, PageSize::P64K)?.unwrap();
            let rpte = real_pte_of(linux, cx, ea)?;
            match version {
                // The first of the sixteen bits, and the slot in the PTE.
                KernelVersion::V2_6_38 => {
                    assert_eq!(rpte.pte & 0x0fff_0000, 0x0800_0000);
                    assert_eq!((rpte.pte >> 12) & 0xf, u64::from(slot.slot()));
                }
                // One more than the slot, in the second half of the table.
                KernelVersion::V6_1 => assert_eq!(rpte.hidx, u64::from(slot.slot()) + 1),
            }
            let page = linux.kernel_page(ea);
            let recorded: Vec<_> = linux.recorded_slots(page, rpte).collect();
            assert_eq!(recorded, [(page, slot)]);
            assert!(linux.vfree(cx, ea)?);
            assert_eq!(find(linux, cx, ea, PageSize::P64K)?, None);
            Ok(())
        });
        assert_eq!(linux.counters.hpte_inserts.load(Relaxed), 1, "{version:?}");
        assert_eq!(linux.counters.tlbie.load(Relaxed), 1, "{version:?}");
        assert_eq!(linux.broken(), Vec::<String>::new(), "{version:?}");
    }
}

#[test]
fn each_touched_piece_has_an_hpte_and_only_those_are_flushed() {
    for version in BOTH {
        let linux = bench("mainline-6.1", version, PageSize::P4K).run(|linux, cx| {
            let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            for n in [9, 0, 15, 9] {
                linux.touch(cx, piece(ea, n), true)?;
            }
            let rpte = real_pte_of(linux, cx, ea)?;
            assert_ne!(rpte.pte & linux.layout.pte.combo, 0);
            assert_eq!(pieces(linux, rpte), [0, 9, 15]);
            let page = linux.kernel_page(ea);
            for (page, index) in linux.recorded_slots(page, rpte) {
                let n = page.vpn.get() % 16;
                assert_eq!(find(linux, cx, piece(ea, n), PageSize::P4K)?, Some(index));
            }
            linux.vfree(cx, ea).map(|_| ())
        });
        assert_eq!(linux.counters.hpte_inserts.load(Relaxed), 3, "{version:?}");
        let flushes = (&linux.counters.single_flushes, &linux.counters.tlbie);
        assert_eq!((flushes.0.load(Relaxed), flushes.1.load(Relaxed)), (1, 3));
        assert_eq!(linux.broken(), Vec::<String>::new(), "{version:?}");
    }
}

#[test]
fn the_first_piece_of_a_page_flushes_its_64k_hpte() {
    for version in BOTH {
        let linux = bench("mainline-6.1", version, PageSize::P4K).run(|linux, cx| {
            let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            let (ptep, _) = linux.pte_of(cx, ea)?;
            linux.hash_as(cx, ea, ptep, PageSize::P64K)?;
            assert!(find(linux, cx, ea, PageSize::P64K)?.is_some());
            assert_eq!(
                linux.layout.hpte_size(linux.pte_of(cx, ea)?.1),
                PageSize::P64K
            );
            linux.touch(cx, piece(ea, 5), true)?;
            assert_eq!(find(linux, cx, ea, PageSize::P64K)?, None);
            assert!(find(linux, cx, piece(ea, 5), PageSize::P4K)?.is_some());
            let rpte = real_pte_of(linux, cx, ea)?;
            assert_eq!(pieces(linux, rpte), [5]);
            Ok(())
        });
        assert_eq!(linux.counters.tlbie.load(Relaxed), 1, "{version:?}");
        assert_eq!(linux.broken(), Vec::<String>::new(), "{version:?}");
    }
}

#[test]
fn a_batch_flushes_each_hashed_piece_of_its_entries() {
    for (version, backend) in BOTH.into_iter().flat_map(|v| Backend::ALL.map(|b| (v, b))) {
        for size in SIZES {
            let mut bench = bench("hugh-preempt-fixed", version, size);
            bench.config.backend = backend;
            let linux = bench.run(|linux, cx| {
                let ea = linux.vmalloc(cx, 10 * linux.page_bytes())?.unwrap();
                for n in 0..10 {
                    let page = ea + n * linux.page_bytes();
                    linux.touch(cx, piece(page, n), true)?;
                    linux.touch(cx, piece(page, 15), true)?;
                }
                linux.vfree(cx, ea).map(|_| ())
            });
            let hptes = if size == PageSize::P4K { 20 } else { 10 };
            let counters = linux.counters.values();
            assert_eq!(
                counters.batch_sizes.into_iter().collect::<Vec<_>>(),
                [(10, 1)]
            );
            assert_eq!(
                counters.hpte_invalidations, hptes,
                "{version:?} {backend:?}"
            );
            let (tlbie, bulk) = match backend {
                Backend::Native => (hptes, 0),
                Backend::Lpar => (0, hptes.div_ceil(4)),
            };
            assert_eq!(counters.tlbie, tlbie, "{version:?} {backend:?} {size:?}");
            let calls = linux.counters.hcalls[Hcall::BulkRemove as usize].load(Relaxed);
            assert_eq!(calls, bulk, "{version:?} {backend:?} {size:?}");
            assert_eq!(linux.broken(), Vec::<String>::new());
        }
    }
}

#[test]
fn another_page_size_flushes_the_batch_first() {
    for version in BOTH {
        let linux = bench("hugh-preempt-fixed", version, PageSize::P4K).run(|linux, cx| {
            let ea = linux.vmalloc(cx, 4 * linux.page_bytes())?.unwrap();
            for n in 0..4 {
                let page = ea + n * linux.page_bytes();
                let (ptep, _) = linux.pte_of(cx, page)?;
                linux.hash_as(cx, page, ptep, SIZES[n as usize / 2])?;
            }
            linux.vfree(cx, ea).map(|_| ())
        });
        let sizes: Vec<_> = linux.counters.values().batch_sizes.into_iter().collect();
        assert_eq!(sizes, [(2, 2)], "{version:?}");
        assert_eq!(linux.broken(), Vec::<String>::new());
    }
}

#[test]
fn a_pte_set_again_before_its_deferred_flush_gets_two_hptes_here_too() {
    for (version, size) in BOTH.into_iter().flat_map(|v| SIZES.map(|s| (v, s))) {
        let linux = bench("no-kernel-batch", version, size).run(|linux, cx| {
            let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            linux.touch(cx, piece(ea, 2), true)?;
            let (ptep, pte) = linux.pte_of(cx, ea)?;
            linux.preempt_disable(cx)?;
            crate::lazy_mmu::set_active(linux, cx)?;
            linux.pte_clear(cx, Mm::INIT, ea, ptep)?;
            linux.set_pte_at(cx, ptep, pte)?;
            linux.hash_page(cx, Mm::INIT, piece(ea, 2), true, true)?;
            crate::lazy_mmu::flush_and_clear_active(linux, cx)?;
            linux.preempt_enable(cx)
        });
        let broken = linux.broken();
        assert_eq!(
            broken,
            ["batch-escape", "duplicate-hpte", "lost-flush"],
            "{version:?} {size:?}"
        );
    }
}

/// Fills the primary group of a page, and the first seven slots of its secondary group.
fn leave_the_last_slot(linux: &Linux, cx: &mut Ctx<'_>, page: VirtualPage) -> Run<()> {
    let hash = page.vpn.hash(page.segment, page.size);
    let groups = [linux.hpt.primary(hash), linux.hpt.secondary(hash)];
    for n in 0..15 {
        let other = Vpn::new(0x77_0000_0000 + n * 0x10_0000);
        let v = HpteV::new(other, page.segment, PageSize::P4K);
        let r = HpteR::new(Ra::new(0), PageSize::P4K, PageSize::P4K);
        let group = groups[n as usize / 8];
        linux.hpt.insert(&mut LinearTable(cx), group, v, r, false)?;
    }
    Ok(())
}

#[test]
fn the_last_slot_of_the_secondary_group_cannot_be_recorded_plus_one() {
    for (version, size) in BOTH.into_iter().flat_map(|v| SIZES.map(|s| (v, s))) {
        let linux = bench("mainline-6.1", version, size).run(move |linux, cx| {
            let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            let page = linux.kernel_page(ea);
            leave_the_last_slot(linux, cx, page)?;
            linux.touch(cx, ea, true)?;
            let index = find(linux, cx, ea, size)?.unwrap();
            let hash = page.vpn.hash(page.segment, size);
            let (primary, secondary) = (linux.hpt.primary(hash), linux.hpt.secondary(hash));
            match version {
                KernelVersion::V2_6_38 => assert_eq!(index, secondary.slot(7)),
                KernelVersion::V6_1 => assert_eq!(index.group(), primary),
            }
            let rpte = real_pte_of(linux, cx, ea)?;
            assert_eq!(linux.recorded_slots(page, rpte).next(), Some((page, index)));
            linux.vfree(cx, ea).map(|_| ())
        });
        let evicted = u64::from(version == KernelVersion::V6_1);
        assert_eq!(linux.counters.hpte_evictions.load(Relaxed), evicted);
        assert_eq!(linux.broken(), Vec::<String>::new(), "{version:?} {size:?}");
    }
}
