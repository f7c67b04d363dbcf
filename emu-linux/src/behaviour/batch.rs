//! hpte_need_flush, the batch, and every reason for which it is flushed.

use super::{BOTH, Bench};
use crate::config::KernelVersion;
use crate::kernel::{Errno, Linux};
use crate::memmap::{batch, field, pcpu, percpu};
use crate::mm::Mm;
use emu_core::{Ctx, Run};
use emu_mmu::Ea;
use std::sync::atomic::Ordering::Relaxed;

/// Maps and touches `pages` pages, and clears their PTEs in one lazy section with preemption off;
/// `between` runs after half of them.
fn clear_in_section(
    linux: &Linux,
    cx: &mut Ctx<'_>,
    pages: u64,
    between: impl FnOnce(&mut Ctx<'_>) -> Run<()>,
) -> Run<()> {
    let ea = linux.vmalloc(cx, pages * linux.page_bytes())?.unwrap();
    for page in 0..pages {
        linux.touch(cx, ea + page * linux.page_bytes(), true)?;
    }
    linux.preempt_disable(cx)?;
    linux.lazy_mmu_enter(cx, Mm::INIT)?;
    let mut between = Some(between);
    for page in 0..pages {
        if page == pages / 2
            && let Some(between) = between.take()
        {
            between(cx)?;
        }
        let (ptep, _) = linux.pte_of(cx, ea + page * linux.page_bytes())?;
        linux.pte_clear(cx, Mm::INIT, ea + page * linux.page_bytes(), ptep)?;
    }
    linux.lazy_mmu_leave(cx, Mm::INIT)?;
    linux.preempt_enable(cx)
}

fn sizes(linux: &Linux) -> Vec<(u64, u64)> {
    linux.counters.values().batch_sizes.into_iter().collect()
}

#[test]
fn a_batch_goes_at_192_entries_and_at_leave() {
    for version in BOTH {
        let linux = Bench::new("hugh-preempt-fixed", version)
            .run(|linux, cx| clear_in_section(linux, cx, 200, |_| Ok(())));
        assert_eq!(sizes(&linux), [(8, 1), (192, 1)], "{version:?}");
        assert_eq!(linux.counters.tlbie.load(Relaxed), 200);
        assert_eq!(linux.broken(), Vec::<String>::new());
    }
}

#[test]
fn a_batch_goes_at_the_size_it_was_given() {
    let cases = [
        (1, vec![(1, 200)]),
        (32, vec![(8, 1), (32, 6)]),
        (512, vec![(200, 1)]),
    ];
    for (size, expected) in cases {
        for version in BOTH {
            let mut bench = Bench::new("hugh-preempt-fixed", version);
            bench.config.batch_size = Some(size);
            let linux = bench.run(|linux, cx| clear_in_section(linux, cx, 200, |_| Ok(())));
            assert_eq!(sizes(&linux), expected, "{version:?}");
            assert_eq!(linux.counters.tlbie.load(Relaxed), 200);
            assert_eq!(linux.broken(), Vec::<String>::new());
        }
    }
}

#[test]
fn another_owner_page_size_or_segment_size_flushes_first() {
    for offset in [batch::MM, batch::PSIZE, batch::SSIZE] {
        let linux =
            Bench::new("hugh-preempt-fixed", KernelVersion::V2_6_38).run(move |linux, cx| {
                clear_in_section(linux, cx, 10, |cx| {
                    let at = field(percpu(0), pcpu::tlb_batch(192) + offset);
                    let value = cx.load_u64(at, "test")?;
                    cx.store_u64(at, value ^ 8, "test")
                })
            });
        assert_eq!(sizes(&linux), [(5, 2)], "field at {offset}");
    }
}

#[test]
fn a_batch_of_one_takes_the_single_page_path() {
    let linux = Bench::new("hugh-preempt-fixed", KernelVersion::V2_6_38)
        .run(|linux, cx| clear_in_section(linux, cx, 1, |_| Ok(())));
    assert_eq!(sizes(&linux), [(1, 1)]);
    assert_eq!(
        linux.counters.single_flushes.load(Relaxed),
        0,
        "it is still a batch"
    );
}

#[test]
fn outside_a_section_each_page_goes_alone_and_local_only_where_the_kernel_tests() {
    for (version, local) in [(KernelVersion::V2_6_38, 0), (KernelVersion::V6_1, 1)] {
        let linux = Bench::new("no-kernel-batch", version).run(|linux, cx| {
            linux.set_init_mm_cpumask(cx, 1)?;
            let ea = linux.vmalloc(cx, linux.page_bytes())?.unwrap();
            linux.touch(cx, ea, true)?;
            linux.vfree(cx, ea).map(|_| ())
        });
        assert_eq!(linux.counters.single_flushes.load(Relaxed), 1);
        assert_eq!(linux.counters.tlbiel.load(Relaxed), local, "{version:?}");
        assert_eq!(linux.counters.tlbie.load(Relaxed), 1 - local, "{version:?}");
    }
}

#[test]
fn kernel_flushes_are_global_in_both_kernels() {
    for version in BOTH {
        let linux = Bench::new("mainline-6.1", version).run(|linux, cx| {
            let ea = linux.vmalloc(cx, 3 * linux.page_bytes())?.unwrap();
            linux.touch(cx, ea, true)?;
            linux.vfree(cx, ea).map(|_| ())
        });
        assert_eq!(linux.counters.tlbiel.load(Relaxed), 0, "{version:?}");
        assert_eq!(linux.counters.tlbie.load(Relaxed), 1, "{version:?}");
    }
}

#[test]
fn apply_to_page_range_calls_once_per_page_and_stops_at_an_error() {
    Bench::new("hugh-preempt-fixed", KernelVersion::V2_6_38).run(|linux, cx| {
        let start = Ea::new(linux.layout.vmalloc_start + 509 * linux.page_bytes());
        let end = start + 6 * linux.page_bytes();
        let mut seen = Vec::new();
        let result = linux.apply_to_page_range(cx, start, end, &mut |_, _, _, ea| {
            seen.push((ea.get() - start.get()) / linux.page_bytes());
            Ok(if seen.len() == 5 {
                Err(Errno::Invalid)
            } else {
                Ok(())
            })
        })?;
        assert_eq!(result, Err(Errno::Invalid));
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert!(
            linux.preemptible(cx)?,
            "the section was left on the error path"
        );
        let mut tables = Vec::new();
        let result = linux.apply_to_page_range_batch(cx, start, end, &mut |_, _, _, n, _| {
            tables.push(n);
            Ok(Ok(()))
        })?;
        assert_eq!(
            (result, tables),
            (Ok(()), vec![3, 3]),
            "one call per PTE table"
        );
        Ok(())
    });
}

#[test]
fn the_workaround_as_posted_leaks_a_preempt_count_when_a_table_is_missing() {
    for (policy, left) in [("hugh-preempt", 1), ("hugh-preempt-fixed", 0)] {
        let mut bench = Bench::new(policy, KernelVersion::V2_6_38);
        // Area, array, page, then the tables: the last one is the PTE table.
        bench.config.fail_alloc = Some(6);
        let linux = bench.run(move |linux, cx| {
            assert_eq!(linux.vmalloc(cx, linux.page_bytes())?, Err(Errno::NoMemory));
            assert_eq!(linux.preempt_count(cx)?, left);
            Ok(())
        });
        assert_eq!(
            linux.broken().contains(&"unbalanced-preempt".to_owned()),
            left > 0,
            "{policy}"
        );
    }
}
