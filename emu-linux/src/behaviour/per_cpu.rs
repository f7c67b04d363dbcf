//! debug_smp_processor_id: its conditions and its rate limit.

use super::{BOTH, Bench};
use crate::config::KernelVersion;
use crate::memmap::{field, global, task};

#[test]
fn each_condition_alone_keeps_it_quiet() {
    for version in BOTH {
        let linux = Bench::new("mmotm", version).run(|linux, cx| {
            let reports = || linux.reports.lock().len();
            linux.preempt_disable(cx)?;
            linux.smp_processor_id(cx, "test")?;
            linux.preempt_enable(cx)?;
            assert_eq!(reports(), 0, "preempt_count");

            let enabled = linux.local_irq_save(cx)?;
            linux.smp_processor_id(cx, "test")?;
            linux.local_irq_restore(cx, enabled)?;
            assert_eq!(reports(), 0, "interrupts off");

            let allowed = field(linux.current(cx), task::CPUS_ALLOWED);
            cx.store_u64(allowed, 1, "test")?;
            linux.smp_processor_id(cx, "test")?;
            cx.store_u64(allowed, 3, "test")?;
            assert_eq!(reports(), 0, "bound to this CPU");

            cx.store_u64(global::SYSTEM_STATE, 0, "test")?;
            linux.smp_processor_id(cx, "test")?;
            cx.store_u64(global::SYSTEM_STATE, 1, "test")?;
            assert_eq!(reports(), 0, "booting");

            linux.smp_processor_id(cx, "test")?;
            assert_eq!(reports(), 1, "none of them");
            assert_eq!(linux.preempt_count(cx)?, 0, "the report is balanced");
            Ok(())
        });
        assert_eq!(linux.broken(), ["unsafe-per-cpu"]);
    }
}

#[test]
fn ten_messages_in_five_seconds_and_then_the_suppressed_count() {
    let linux = Bench::new("mmotm", KernelVersion::V6_1).run(|linux, cx| {
        for _ in 0..14 {
            linux.smp_processor_id(cx, "test")?;
        }
        assert_eq!(linux.reports.lock().len(), 10);
        let six_seconds_of_instructions = 6_000_000 * cx.machine().costs().frequency_mhz * 2;
        cx.retire(six_seconds_of_instructions)?;
        linux.smp_processor_id(cx, "test").map(|_| ())
    });
    assert_eq!(linux.reports.lock().len(), 11);
    let log = linux.log.lock().lines(crate::printk::Timestamps::Off);
    let said = "check_preemption_disabled: 4 callbacks suppressed";
    assert_eq!(
        log.iter().filter(|line| line.as_str() == said).count(),
        1,
        "{log:#?}"
    );
}
