//! Areas: placement, guard pages, the nested page array, lazy purge and address reuse.

use super::{BOTH, Bench};
use crate::config::KernelVersion;
use crate::kernel::Errno;
use crate::memmap::global;
use emu_mmu::Ea;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn neighbours_are_a_guard_page_apart_and_one_more_in_2_6_38() {
    for (version, distance) in [(KernelVersion::V2_6_38, 5), (KernelVersion::V6_1, 4)] {
        Bench::new("no-kernel-batch", version).run(move |linux, cx| {
            let first = linux.vmalloc(cx, 3 * linux.page_bytes())?.unwrap();
            let second = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            assert_eq!(first.get(), linux.layout.vmalloc_start);
            assert_eq!(
                second.get() - first.get(),
                distance * linux.page_bytes(),
                "{version:?}"
            );
            Ok(())
        });
    }
}

#[test]
fn an_address_is_used_again_only_after_a_purge() {
    for version in BOTH {
        Bench::new("mainline-6.1", version).run(|linux, cx| {
            let first = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            let kept = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            linux.vfree(cx, first)?;
            let next = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            assert!(next > kept);
            linux.purge_vmap_areas(cx)?;
            assert_eq!(linux.vmalloc(cx, linux.page_bytes())?.unwrap(), first);
            // A hole that is too small is passed over.
            linux.vfree(cx, kept)?;
            linux.purge_vmap_areas(cx)?;
            assert!(linux.vmalloc(cx, 3 * linux.page_bytes())?.unwrap() > next);
            assert_eq!(linux.vmalloc(cx, linux.page_bytes())?.unwrap(), kept);
            Ok(())
        });
    }
}

#[test]
fn lazily_freed_pages_are_purged_above_the_limit() {
    Bench::new("mainline-6.1", KernelVersion::V2_6_38).run(|linux, cx| {
        assert_eq!(linux.lazy_max_pages(), 8192);
        let first = linux.vmalloc(cx, 4000 * linux.page_bytes())?.unwrap();
        let second = linux.vmalloc(cx, 4000 * linux.page_bytes())?.unwrap();
        linux.vfree(cx, first)?;
        linux.vfree(cx, second)?;
        // Each brought an area of 8 pages for its page array: 4001 + 9 pages twice.
        assert_eq!(cx.load_u64(global::VMAP_LAZY_NR, "test")?, 8020);
        let third = linux.vmalloc(cx, 300 * linux.page_bytes())?.unwrap();
        linux.vfree(cx, third)?;
        assert_eq!(cx.load_u64(global::VMAP_LAZY_NR, "test")?, 0);
        assert_eq!(linux.vmalloc(cx, linux.page_bytes())?.unwrap(), first);
        Ok(())
    });
}

#[test]
fn more_than_512_pages_take_a_nested_vmalloc_for_their_array() {
    for (pages, areas) in [(512, 1), (513, 2)] {
        let linux = Bench::new("mainline-6.16-fixed", KernelVersion::V6_1).run(move |linux, cx| {
            let ea = linux.vmalloc(cx, pages * linux.page_bytes())?.unwrap();
            assert!(linux.vfree(cx, ea)?);
            assert!(!linux.vfree(cx, ea)?, "freed twice");
            Ok(())
        });
        assert_eq!(linux.counters.vmalloc.load(Relaxed), areas, "{pages} pages");
        assert_eq!(linux.counters.vfree.load(Relaxed), areas, "{pages} pages");
    }
}

#[test]
fn every_page_comes_back_whatever_table_allocation_fails() {
    for policy in [
        "mmotm",
        "hugh-preempt-fixed",
        "mainline-6.1",
        "mainline-6.16-fixed",
    ] {
        for nth in 1..=3 {
            let mut bench = Bench::new(policy, KernelVersion::V2_6_38);
            bench.config.fail_alloc = Some(nth);
            let linux = bench.run(move |linux, cx| {
                assert_eq!(
                    linux.vmalloc(cx, 700 * linux.page_bytes())?,
                    Err(Errno::NoMemory),
                    "{policy}"
                );
                let ea = linux.vmalloc(cx, 700 * linux.page_bytes())?.unwrap();
                linux.touch(cx, ea + 699 * linux.page_bytes(), true)?;
                linux.vfree(cx, ea).map(|_| ())
            });
            let broken = linux.broken();
            assert!(
                broken.iter().all(|kind| kind == "unsafe-per-cpu"),
                "{policy}: {broken:?}"
            );
            let counters = linux.counters.values();
            assert_eq!(counters.ptes_set, counters.ptes_cleared, "{policy} {nth}");
        }
    }
}

#[test]
fn a_recorded_area_needs_its_place_free_and_inside_the_vmalloc_area() {
    Bench::new("mainline-6.1", KernelVersion::V6_1).run(|linux, cx| {
        let base = linux.layout.vmalloc_start;
        let at = |page: u64| Ea::new(base + page * linux.page_bytes());
        assert_eq!(
            linux.vmalloc_at(cx, at(10), at(13), 2 * linux.page_bytes())?,
            Ok(at(10))
        );
        assert_eq!(
            linux.vmalloc_at(cx, at(12), at(14), linux.page_bytes())?,
            Err(Errno::Busy)
        );
        assert_eq!(
            linux.vmalloc_at(cx, at(4), at(10), 5 * linux.page_bytes())?,
            Ok(at(4))
        );
        linux.vfree(cx, at(10))?;
        assert_eq!(
            linux.vmalloc_at(cx, at(12), at(14), linux.page_bytes())?,
            Ok(at(12)),
            "after a purge"
        );
        for (start, end, bytes) in [
            (Ea::new(base + 1), at(30), linux.page_bytes()),
            (at(20), at(21), 2 * linux.page_bytes()),
            (at(20), at(22), 0),
            (Ea::new(0x1000), Ea::new(0x3000), linux.page_bytes()),
            (at(20), Ea::new(!0xfff), linux.page_bytes()),
        ] {
            assert_eq!(
                linux.vmalloc_at(cx, start, end, bytes)?,
                Err(Errno::Invalid)
            );
        }
        Ok(())
    });
}

#[test]
fn an_aligned_area_leaves_a_hole_that_the_next_one_takes() {
    for version in BOTH {
        Bench::new("mainline-6.1", version).run(|linux, cx| {
            let first = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            let aligned = linux
                .vmalloc_aligned(cx, linux.page_bytes(), 1 << 20)?
                .unwrap();
            assert_eq!(aligned.get(), linux.layout.vmalloc_start + (1 << 20));
            let second = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            assert!(first < second && second < aligned);
            let next = linux
                .vmalloc_aligned(cx, linux.page_bytes(), 1 << 20)?
                .unwrap();
            assert_eq!(next.get(), linux.layout.vmalloc_start + (2 << 20));
            Ok(())
        });
    }
}

#[test]
fn an_alignment_that_nothing_meets_is_refused() {
    Bench::new("mainline-6.1", KernelVersion::V6_1).run(|linux, cx| {
        for shift in 41..64 {
            let refused = linux.vmalloc_aligned(cx, linux.page_bytes(), 1 << shift)?;
            assert_eq!(refused, Err(Errno::Busy), "{shift}");
        }
        for align in [0, 3, linux.page_bytes() + 1] {
            let refused = linux.vmalloc_aligned(cx, linux.page_bytes(), align)?;
            assert_eq!(refused, Err(Errno::Invalid), "{align}");
        }
        let small = linux.vmalloc_aligned(cx, linux.page_bytes(), 8)?.unwrap();
        assert_eq!(small.get(), linux.layout.vmalloc_start);
        Ok(())
    });
}
