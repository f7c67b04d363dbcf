//! The hash-fault path.

use super::{BOTH, Bench};
use crate::config::KernelVersion;
use crate::hash_fault::HashResult;
use crate::mm::Mm;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn a_page_set_again_before_its_deferred_flush_gets_two_hptes() {
    for version in BOTH {
        let linux = Bench::new("no-kernel-batch", version).run(|linux, cx| {
            let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            linux.touch(cx, ea, true)?;
            let (ptep, pte) = linux.pte_of(cx, ea)?;
            linux.preempt_disable(cx)?;
            crate::lazy_mmu::set_active(linux, cx)?;
            linux.pte_clear(cx, Mm::INIT, ea, ptep)?;
            linux.set_pte_at(cx, ptep, pte)?;
            // As hash_preload would: the PTE has forgotten its slot, so a second entry goes in.
            linux.hash_page(cx, Mm::INIT, ea, true, true)?;
            crate::lazy_mmu::flush_and_clear_active(linux, cx)?;
            linux.preempt_enable(cx)
        });
        assert_eq!(
            linux.broken(),
            ["batch-escape", "duplicate-hpte", "lost-flush"],
            "{version:?}"
        );
    }
}

#[test]
fn a_page_set_again_after_its_flush_has_one_hpte() {
    for version in BOTH {
        let linux = Bench::new("no-kernel-batch", version).run(|linux, cx| {
            let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            linux.touch(cx, ea, true)?;
            let (ptep, pte) = linux.pte_of(cx, ea)?;
            linux.pte_clear(cx, Mm::INIT, ea, ptep)?;
            linux.set_pte_at(cx, ptep, pte)?;
            linux.hash_page(cx, Mm::INIT, ea, true, true)?;
            linux.vfree(cx, ea).map(|_| ())
        });
        assert_eq!(linux.broken(), Vec::<String>::new(), "{version:?}");
    }
}

#[test]
fn a_busy_pte_without_the_access_is_a_page_fault_in_2_6_38_and_a_retry_in_6_1() {
    for (version, expected) in [
        (KernelVersion::V2_6_38, HashResult::PageFault),
        (KernelVersion::V6_1, HashResult::Retry),
    ] {
        Bench::new("mmotm", version).run(move |linux, cx| {
            let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            let (ptep, pte) = linux.pte_of(cx, ea)?;
            let bits = linux.layout.pte;
            // The pre-check of hash_page reads the PTE before it is claimed, so the write permission
            // must go between the two: ask for the claim alone.
            let busy = (pte | bits.busy) & !bits.write;
            cx.store_u64(ptep, busy, "test")?;
            let access = linux.layout.access_bits(false, true);
            assert_eq!(linux.answer_of_claim(cx, ptep, access)?, Some(expected));
            cx.store_u64(ptep, pte | bits.busy, "test")?;
            assert_eq!(
                linux.answer_of_claim(cx, ptep, access)?,
                Some(HashResult::Retry)
            );
            cx.store_u64(ptep, pte, "test")?;
            assert_eq!(linux.answer_of_claim(cx, ptep, access)?, None, "claimed");
            cx.store_u64(ptep, pte, "test")
        });
    }
}

#[test]
fn a_hashed_pte_whose_hpte_is_there_is_updated_in_place() {
    for (version, tlbies) in [(KernelVersion::V2_6_38, 1), (KernelVersion::V6_1, 0)] {
        let linux = Bench::new("no-kernel-batch", version).run(|linux, cx| {
            let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            linux.touch(cx, ea, true)?;
            linux.hash_page(cx, Mm::INIT, ea, true, true).map(|_| ())
        });
        assert_eq!(linux.counters.hpte_inserts.load(Relaxed), 1, "{version:?}");
        // 2.6.38 invalidates the TLB even though the hardware had found no entry.
        assert_eq!(linux.counters.tlbie.load(Relaxed), tlbies, "{version:?}");
        assert_eq!(linux.broken(), Vec::<String>::new());
    }
}

#[test]
fn a_hashed_pte_whose_hpte_was_evicted_is_inserted_again() {
    let linux = Bench::new("no-kernel-batch", KernelVersion::V2_6_38).run(|linux, cx| {
        let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
        linux.touch(cx, ea, true)?;
        let hash = linux
            .kernel_page(ea)
            .vpn
            .hash(linux.segment, emu_mmu::PageSize::P4K);
        assert!(linux.native_hpte_remove(cx, linux.hpt.primary(hash))?);
        linux.hash_page(cx, Mm::INIT, ea, true, true).map(|_| ())
    });
    assert_eq!(linux.counters.hpte_inserts.load(Relaxed), 2);
    assert_eq!(linux.broken(), Vec::<String>::new());
}

#[test]
fn full_groups_go_to_the_secondary_and_then_evict() {
    for version in BOTH {
        let mut bench = Bench::new("mainline-6.16-fixed", version);
        bench.config.htab_bits = Some(11);
        let linux = bench.run(|linux, cx| {
            let pages = 20_000;
            let ea = linux.vmalloc(cx, pages * linux.page_bytes())?.unwrap();
            let mut secondary = 0;
            for page in 0..pages {
                linux.touch(cx, ea + page * linux.page_bytes(), true)?;
                let (_, pte) = linux.pte_of(cx, ea + page * linux.page_bytes())?;
                secondary += u64::from(pte & linux.layout.pte.second != 0);
            }
            assert!(
                secondary > 100,
                "{secondary} pages in their secondary group"
            );
            linux.vfree(cx, ea).map(|_| ())
        });
        // The table holds 16384 entries, some of them bolted.
        assert!(linux.counters.hpte_evictions.load(Relaxed) >= 20_000 - 16_384);
        // Flushes of evicted pages miss in the table and invalidate the TLB all the same.
        let queued = linux.counters.need_flush.load(Relaxed);
        let tlbies = linux.counters.tlbie.load(Relaxed);
        let faults_again = linux.counters.hash_faults.load(Relaxed) - queued;
        let updates = if version == KernelVersion::V2_6_38 {
            faults_again
        } else {
            0
        };
        assert_eq!(tlbies, queued + updates, "{version:?}");
        assert!(linux.counters.hpte_invalidations.load(Relaxed) < queued);
        assert_eq!(linux.broken(), Vec::<String>::new(), "{version:?}");
    }
}

#[test]
fn reading_an_unmapped_page_is_an_oops() {
    let caught = Bench::new("mmotm", KernelVersion::V6_1).run(|linux, cx| {
        let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
        linux.vfree(cx, ea)?;
        let outcome = cx.load_u64(ea, "test");
        assert!(
            matches!(outcome, Err(emu_core::Exception::Fault(_))),
            "{outcome:?}"
        );
        Ok(())
    });
    assert_eq!(caught.counters.hpte_inserts.load(Relaxed), 0);
}

#[test]
fn the_tlb_outlives_a_cleared_hpte_until_the_tlbie() {
    Bench::new("mmotm", KernelVersion::V2_6_38).run(|linux, cx| {
        let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
        linux.touch(cx, ea, true)?;
        let hash = linux
            .kernel_page(ea)
            .vpn
            .hash(linux.segment, emu_mmu::PageSize::P4K);
        assert!(linux.native_hpte_remove(cx, linux.hpt.primary(hash))?);
        let faults = linux.counters.hash_faults.load(Relaxed);
        linux.touch(cx, ea, true)?;
        assert_eq!(
            linux.counters.hash_faults.load(Relaxed),
            faults,
            "served by the ERAT"
        );
        linux.tlbie(cx, &[linux.kernel_page(ea)], false)?;
        linux.touch(cx, ea, true)?;
        assert_eq!(linux.counters.hash_faults.load(Relaxed), faults + 1);
        Ok(())
    });
}
