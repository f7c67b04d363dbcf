//! Guest code that breaks an invariant, and guest code that does nearly the same and is right.

use super::{BOTH, Bench};
use crate::kernel::Linux;
use crate::layout::va;
use crate::memmap::{batch, field, pcpu, percpu};
use crate::mm::Mm;
use crate::tracepoint::Tracepoint;
use emu_core::{Ctx, Run};
use emu_mmu::Ea;

/// One page of vmalloc memory that was hashed.
fn hashed_page(linux: &Linux, cx: &mut Ctx<'_>) -> Run<Ea> {
    let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
    linux.touch(cx, ea, true)?;
    Ok(ea)
}

#[test]
fn busy_that_is_left_set_is_stuck_and_busy_given_back_is_not() {
    for version in BOTH {
        for (left, broken) in [(true, vec!["stuck-lock"]), (false, vec![])] {
            let linux = Bench::new("no-kernel-batch", version).run(move |linux, cx| {
                let ea = hashed_page(linux, cx)?;
                let (ptep, pte) = linux.pte_of(cx, ea)?;
                let busy = linux.layout.pte.busy;
                cx.store_u64(ptep, pte | busy, "test: claim")?;
                if !left {
                    cx.store_u64(ptep, pte, "test: drop")?;
                }
                Ok(())
            });
            assert_eq!(linux.broken(), broken, "{version:?}");
            let monitor = linux.monitor.as_ref().unwrap();
            if let Some(stuck) = monitor.with(|monitor| monitor.violations()).first() {
                let told = &stuck.first.message;
                assert!(told.starts_with("the BUSY bit of the PTE at 0x"), "{told}");
            }
        }
    }
}

#[test]
fn an_hpte_lock_that_is_left_set_is_stuck_and_one_given_back_is_not() {
    for version in BOTH {
        for (left, broken) in [(true, vec!["stuck-lock"]), (false, vec![])] {
            let linux = Bench::new("no-kernel-batch", version).run(move |linux, cx| {
                // The last entry of the table is in nobody's use.
                let at = va(linux.hpt.base() + (linux.hpt.size_bytes() - 16));
                assert_eq!(cx.load_u64(at, "test")?, 0);
                cx.store_u64(at, 8, "test: lock")?;
                if !left {
                    cx.store_u64(at, 0, "test: unlock")?;
                }
                Ok(())
            });
            assert_eq!(linux.broken(), broken, "{version:?}");
        }
    }
}

/// Clears a page's PTE in a section and sets it again, before or after the section ends.
fn set_again(linux: &Linux, cx: &mut Ctx<'_>, early: bool, touch: bool) -> Run<()> {
    let ea = hashed_page(linux, cx)?;
    let (ptep, pte) = linux.pte_of(cx, ea)?;
    linux.preempt_disable(cx)?;
    linux.lazy_mmu_enter(cx, Mm::INIT)?;
    linux.pte_clear(cx, Mm::INIT, ea, ptep)?;
    if early {
        linux.set_pte_at(cx, ptep, pte)?;
        if touch {
            // Until now the old translation answers; another page table walk would find the new one.
            let page = linux.virtual_page(cx, Mm::INIT, ea)?;
            linux.tlbie(cx, &[page], false)?;
            linux.hash_page(cx, Mm::INIT, ea, true, true)?;
        }
    }
    linux.lazy_mmu_leave(cx, Mm::INIT)?;
    linux.preempt_enable(cx)?;
    if !early {
        linux.set_pte_at(cx, ptep, pte)?;
        linux.touch(cx, ea, true)?;
    }
    Ok(())
}

#[test]
fn a_pte_set_again_while_its_entry_waits_escapes() {
    for version in BOTH {
        let linux = Bench::new("hugh-preempt-fixed", version)
            .run(|linux, cx| set_again(linux, cx, true, false));
        assert_eq!(
            linux.broken(),
            ["batch-escape", "lost-flush"],
            "{version:?}"
        );
    }
}

#[test]
fn a_page_hashed_while_its_entry_waits_escapes_twice() {
    for version in BOTH {
        let linux = Bench::new("hugh-preempt-fixed", version)
            .run(|linux, cx| set_again(linux, cx, true, true));
        assert!(linux.times_broken("batch-escape") >= 2, "{version:?}");
        assert!(linux.times_broken("duplicate-hpte") == 1, "{version:?}");
    }
}

#[test]
fn a_pte_set_again_after_the_flush_is_right() {
    for version in BOTH {
        let linux = Bench::new("hugh-preempt-fixed", version)
            .run(|linux, cx| set_again(linux, cx, false, false));
        assert_eq!(linux.broken(), [""; 0], "{version:?}");
    }
}

#[test]
fn a_write_protection_that_keeps_the_slot_does_not_escape() {
    for version in BOTH {
        let linux = Bench::new("hugh-preempt-fixed", version).run(|linux, cx| {
            let ea = hashed_page(linux, cx)?;
            let (ptep, _) = linux.pte_of(cx, ea)?;
            let write = linux.layout.pte.write;
            linux.preempt_disable(cx)?;
            linux.lazy_mmu_enter(cx, Mm::INIT)?;
            linux.pte_update(cx, Mm::INIT, ea, ptep, write)?;
            let (_, pte) = linux.pte_of(cx, ea)?;
            cx.store_u64(ptep, pte | linux.layout.pte.dirty, "test: same slot")?;
            linux.lazy_mmu_leave(cx, Mm::INIT)?;
            linux.preempt_enable(cx)
        });
        assert_eq!(linux.broken(), [""; 0], "{version:?}");
    }
}

#[test]
fn an_access_through_a_translation_whose_flush_forgot_its_entry_is_stale() {
    for version in BOTH {
        for (wrong_slot, broken) in [(true, vec!["stale-translation"]), (false, vec![])] {
            let linux = Bench::new("hugh-preempt-fixed", version).run(move |linux, cx| {
                let ea = hashed_page(linux, cx)?;
                let (ptep, pte) = linux.pte_of(cx, ea)?;
                linux.preempt_disable(cx)?;
                linux.lazy_mmu_enter(cx, Mm::INIT)?;
                linux.pte_clear(cx, Mm::INIT, ea, ptep)?;
                if wrong_slot {
                    // The batch forgets where the entry is: the flush takes out nothing.
                    let queued = field(
                        percpu(0),
                        pcpu::tlb_batch(192) + batch::pte(linux.layout.pages, 0),
                    );
                    let hidx = linux.layout.pte.hidx(pte) ^ 1;
                    let other = linux.layout.pte.hidx_bits(hidx);
                    cx.store_u64(queued, other, "test: wrong slot")?;
                }
                linux.lazy_mmu_leave(cx, Mm::INIT)?;
                linux.preempt_enable(cx)?;
                if wrong_slot {
                    cx.load_u64(ea, "test: stale load")?;
                } else {
                    linux.set_pte_at(cx, ptep, pte)?;
                    cx.load_u64(ea, "test: fresh load")?;
                }
                Ok(())
            });
            assert_eq!(linux.broken(), broken, "{version:?}");
        }
    }
}

#[test]
fn an_access_to_a_page_whose_frame_was_freed_is_stale() {
    for version in BOTH {
        for (freed, broken) in [(true, vec!["stale-translation"]), (false, vec![])] {
            let linux = Bench::new("no-kernel-batch", version).run(move |linux, cx| {
                let ea = hashed_page(linux, cx)?;
                let (_, pte) = linux.pte_of(cx, ea)?;
                if freed {
                    let frame = linux.layout.pte.frame(pte);
                    let freed = Tracepoint::PageFreed { frame: frame.get() };
                    linux.trace(cx, freed);
                }
                cx.load_u64(ea, "test: load")?;
                Ok(())
            });
            assert_eq!(linux.broken(), broken, "{version:?}");
        }
    }
}
