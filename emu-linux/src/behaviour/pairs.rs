//! Each rule in a pair: guest code that breaks it, and guest code that does nearly the same and does not.
//! Here those of one step each; `crimes` has the rules about stores and accesses.

use super::{BOTH, Bench};
use crate::config::{Backend, KernelVersion, Pages, RunConfig};
use crate::kernel::Linux;
use crate::memmap::{batch, field, global, pcpu, percpu};
use crate::mm::Mm;
use crate::set_memory::SetMemory;
use emu_core::{Ctx, Run};
use emu_mmu::Ea;

const NOTHING: [&str; 0] = [];

fn hashed_page(linux: &Linux, cx: &mut Ctx<'_>) -> Run<Ea> {
    let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
    linux.touch(cx, ea, true)?;
    Ok(ea)
}

/// Runs the two halves of a pair under both kernels: what breaks `rule`, and its neighbour.
fn pair(
    policy: &str,
    rule: &str,
    body: impl Fn(bool, &Linux, &mut Ctx<'_>) -> Run<()> + Copy + Send + 'static,
) {
    for version in BOTH {
        let broken = Bench::new(policy, version).run(move |linux, cx| body(true, linux, cx));
        assert_eq!(broken.broken(), [rule], "{version:?}");
        let right = Bench::new(policy, version).run(move |linux, cx| body(false, linux, cx));
        assert_eq!(right.broken(), NOTHING, "{version:?}");
    }
}

/// set_pte_at on a PTE that was not cleared drops its slot (Linux 56eecdb912b5 says never to do that).
#[test]
fn a_pte_that_forgets_its_slot_is_hashed_twice_and_one_that_was_cleared_is_not() {
    pair("no-kernel-batch", "duplicate-hpte", |forget, linux, cx| {
        let ea = hashed_page(linux, cx)?;
        let (ptep, pte) = linux.pte_of(cx, ea)?;
        if !forget {
            linux.pte_clear(cx, Mm::INIT, ea, ptep)?;
        }
        linux.set_pte_at(cx, ptep, pte)?;
        linux.hash_page(cx, Mm::INIT, ea, true, true).map(|_| ())
    });
}

/// Somebody else's "index = 0" between the queueing and the leave (interleaving with a stale batch pointer).
#[test]
fn a_batch_whose_index_is_reset_loses_its_flush_and_one_left_alone_does_not() {
    pair("hugh-preempt-fixed", "lost-flush", |reset, linux, cx| {
        let ea = hashed_page(linux, cx)?;
        let (ptep, _) = linux.pte_of(cx, ea)?;
        linux.preempt_disable(cx)?;
        linux.lazy_mmu_enter(cx, Mm::INIT)?;
        linux.pte_clear(cx, Mm::INIT, ea, ptep)?;
        if reset {
            let index = field(percpu(0), pcpu::tlb_batch(192) + batch::INDEX);
            cx.store_u64(index, 0, "test: remote index = 0")?;
        }
        linux.lazy_mmu_leave(cx, Mm::INIT)?;
        linux.preempt_enable(cx)
    });
}

#[test]
fn a_count_that_leaks_is_unbalanced_at_exit_and_one_given_back_is_not() {
    pair("mmotm", "unbalanced-preempt", |leaks, linux, cx| {
        linux.preempt_disable(cx)?;
        if !leaks {
            linux.preempt_enable(cx)?;
        }
        Ok(())
    });
}

#[test]
fn a_lock_held_at_exit_is_unbalanced_whatever_the_count_says() {
    pair("mmotm", "unbalanced-preempt", |held, linux, cx| {
        linux.spin_lock(cx, Mm::INIT.page_table_lock())?;
        if held {
            linux.preempt_enable_no_resched(cx)
        } else {
            linux.spin_unlock(cx, Mm::INIT.page_table_lock())
        }
    });
}

#[test]
fn a_sleep_under_a_lock_is_unbalanced_and_one_after_it_is_not() {
    pair("mmotm", "unbalanced-preempt", |under, linux, cx| {
        let sleep = |cx: &mut Ctx<'_>| {
            let here = cx.cpu_id();
            linux.migrate_current(cx, here)
        };
        linux.spin_lock(cx, Mm::INIT.page_table_lock())?;
        if under {
            sleep(cx)?;
        }
        linux.spin_unlock(cx, Mm::INIT.page_table_lock())?;
        sleep(cx)
    });
}

/// A task that is preempted, or that yields, under a lock does not sleep.
#[test]
fn a_yield_under_a_count_is_not_a_sleep() {
    for version in BOTH {
        let linux = Bench::new("mmotm", version).run(|linux, cx| {
            linux.preempt_disable(cx)?;
            linux.yield_once(cx)?;
            linux.preempt_enable(cx)
        });
        assert_eq!(linux.broken(), NOTHING, "{version:?}");
        let reports = linux.reports.lock();
        assert!(
            reports[0]
                .message
                .starts_with("BUG: scheduling while atomic")
        );
    }
}

#[test]
fn a_look_at_this_cpus_batch_is_unsafe_while_preemptible_and_safe_with_preemption_off() {
    pair("mmotm", "unsafe-per-cpu", |preemptible, linux, cx| {
        if !preemptible {
            linux.preempt_disable(cx)?;
        }
        linux.this_cpu_batch(cx, "test")?;
        if !preemptible {
            linux.preempt_enable(cx)?;
        }
        Ok(())
    });
}

/// change_page_attr of 5.14 to 5.16 reads the PTE, then replaces it: a hash fault in between is forgotten.
#[test]
fn a_pte_replaced_by_what_was_read_before_it_was_hashed_escapes_and_one_read_after_does_not() {
    pair("hugh-preempt-fixed", "batch-escape", |race, linux, cx| {
        let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
        if !race {
            linux.touch(cx, ea, true)?;
        }
        linux.preempt_disable(cx)?;
        linux.lazy_mmu_enter(cx, Mm::INIT)?;
        let (ptep, read) = linux.pte_of(cx, ea)?;
        if race {
            linux.touch(cx, ea, true)?;
        }
        let exec = linux.layout.pte.exec;
        linux.pte_clear_and_set(cx, Mm::INIT, (ea, ptep), u64::MAX, read | exec)?;
        linux.lazy_mmu_leave(cx, Mm::INIT)?;
        linux.preempt_enable(cx)
    });
}

/// What the kernel's rate limit keeps back breaks the rule all the same.
#[test]
fn an_unsafe_look_counts_whether_or_not_it_is_reported() {
    for version in BOTH {
        let linux = Bench::new("mmotm", version).run(|linux, cx| {
            for _ in 0..25 {
                linux.smp_processor_id(cx, "test")?;
            }
            assert_eq!(cx.load_u64(global::SYSTEM_STATE, "test")?, 1);
            Ok(())
        });
        assert_eq!(linux.reports.lock().len(), 10);
        assert_eq!(linux.times_broken("unsafe-per-cpu"), 25);
    }
}

/// The first section's flush took the entry out; the PTE still names its slot, so the second queues it again
/// and the hypervisor finds nothing there.
#[test]
fn a_page_changed_twice_without_a_touch_between_loses_no_flush_under_a_hypervisor() {
    for version in BOTH {
        for pages in [Pages::K4, Pages::K64] {
            for many in [1, 5] {
                let mut bench = Bench::new("mainline-6.1", version);
                bench.config = RunConfig {
                    backend: Backend::Lpar,
                    pages: Some(pages),
                    ..bench.config
                };
                let linux = bench.run(move |linux, cx| {
                    let bytes = linux.page_bytes();
                    let start = linux.vmalloc(cx, many * bytes)?.unwrap();
                    for page in 0..many {
                        linux.touch(cx, start + page * bytes, true)?;
                    }
                    for action in [SetMemory::ReadOnly, SetMemory::ReadWrite] {
                        let done = linux.set_memory(cx, start, many, action)?;
                        assert_eq!(done, Ok(()));
                    }
                    linux.vfree(cx, start).map(|_| ())
                });
                assert_eq!(linux.broken(), NOTHING, "{version:?} {pages:?} {many}");
                let monitor = linux.monitor.as_ref().unwrap();
                let queued = monitor.with(|monitor| monitor.queued());
                let removed = linux.counters.values().hpte_invalidations;
                assert_eq!((queued, removed), (2 * many, many), "{version:?}");
            }
        }
    }
}

/// A page whose protection was narrowed is hashed again beside an entry that the flush missed.
#[test]
fn a_store_through_an_entry_wider_than_the_pte_is_stale_and_a_load_is_not() {
    for (store, read_only, rules) in [
        (true, true, vec!["duplicate-hpte", "stale-translation"]),
        (false, true, vec!["duplicate-hpte"]),
        (true, false, vec!["duplicate-hpte"]),
    ] {
        // 2.6.38 has no read-only kernel pages.
        let linux = Bench::new("no-kernel-batch", KernelVersion::V6_1).run(move |linux, cx| {
            let ea = hashed_page(linux, cx)?;
            let (ptep, pte) = linux.pte_of(cx, ea)?;
            let bits = linux.layout.pte;
            // The flush looks in another slot of the group.
            let elsewhere = bits.hidx_bits(bits.hidx(pte) ^ 1);
            let forged = (pte & !bits.hpteflags()) | bits.hashpte | elsewhere;
            cx.store_u64(ptep, forged, "test: wrong slot")?;
            linux.pte_clear(cx, Mm::INIT, ea, ptep)?;
            let narrowed = if read_only { pte & !bits.write } else { pte };
            linux.set_pte_at(cx, ptep, narrowed)?;
            linux.hash_page(cx, Mm::INIT, ea, false, true)?;
            linux.touch(cx, ea, store)
        });
        assert_eq!(linux.broken(), rules, "store {store} read-only {read_only}");
    }
}
