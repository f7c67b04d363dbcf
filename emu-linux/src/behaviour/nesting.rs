//! The counters of 7.0: sections nest, and can be paused.

use super::Bench;
use crate::config::KernelVersion;
use crate::lazy_mmu::policy::Mainline70;
use crate::mm::Mm;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn an_inner_leave_flushes_a_pause_stops_queueing_and_the_last_leave_ends() {
    let linux = Bench::new("mainline-7.0", KernelVersion::V6_1).run(|linux, cx| {
        let ea = linux.vmalloc(cx, 4 * linux.page_bytes())?.unwrap();
        for page in 0..4 {
            linux.touch(cx, ea + page * linux.page_bytes(), true)?;
        }
        let clear = |cx: &mut emu_core::Ctx<'_>, page: u64| {
            let ea = ea + page * linux.page_bytes();
            let (ptep, _) = linux.pte_of(cx, ea)?;
            linux.pte_clear(cx, Mm::INIT, ea, ptep).map(|_| ())
        };
        let flushed = || {
            let counters = &linux.counters;
            let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
            (
                load(&counters.batched_entries),
                load(&counters.single_flushes),
            )
        };
        linux.lazy_mmu_enter(cx, Mm::INIT)?;
        linux.lazy_mmu_enter(cx, Mm::INIT)?;
        assert_eq!(linux.preempt_count(cx)?, 1, "the hook ran once");
        clear(cx, 0)?;
        assert_eq!(flushed(), (0, 0));
        linux.lazy_mmu_leave(cx, Mm::INIT)?;
        assert_eq!(flushed(), (1, 0), "the inner leave flushes");
        clear(cx, 1)?;
        Mainline70.pause(linux, cx)?;
        assert_eq!(flushed(), (2, 0), "a pause flushes");
        assert_eq!(linux.preempt_count(cx)?, 0);
        clear(cx, 2)?;
        assert_eq!(flushed(), (2, 1), "while paused nothing is queued");
        linux.lazy_mmu_enter(cx, Mm::INIT)?;
        linux.lazy_mmu_leave(cx, Mm::INIT)?;
        Mainline70.resume(linux, cx)?;
        assert_eq!(linux.preempt_count(cx)?, 1);
        clear(cx, 3)?;
        linux.lazy_mmu_leave(cx, Mm::INIT)?;
        assert_eq!(flushed(), (3, 1));
        assert_eq!(linux.preempt_count(cx)?, 0);
        linux.vfree(cx, ea).map(|_| ())
    });
    assert_eq!(linux.broken(), Vec::<String>::new());
}
