//! Tests of the wording of the log and of the rate limiter.

use super::*;
use crate::symbols::SymbolTable;
use emu_core::Frame;

fn frames(functions: &[&'static str], site: &'static str) -> Vec<Frame> {
    let sites = functions.iter().skip(1).copied().chain([site]);
    functions
        .iter()
        .zip(sites)
        .map(|(&function, site)| Frame { function, site })
        .collect()
}

fn enter_at_swapon(allocator: &'static str) -> Vec<Frame> {
    let functions = [
        "sys_swapon",
        allocator,
        "__vmalloc_area_node",
        "map_vm_area",
        "vmap_page_range",
        "apply_to_page_range_batch",
        "apply_to_pud_range",
        "apply_to_pmd_range",
        "apply_to_pte_range",
    ];
    frames(&functions, "arch_enter_lazy_mmu_mode")
}

fn first_report(text: &str) -> Vec<&str> {
    let second = text.match_indices("BUG: ").nth(1).expect("six reports").0;
    text[..second].lines().collect()
}

#[test]
fn the_smp_processor_id_report_is_as_each_kernel_prints_it() {
    let table = SymbolTable::builtin(KernelVersion::V2_6_38).unwrap();
    let backtrace = table.backtrace(&enter_at_swapon("vmalloc"), 0xc000_0000_29c3_c000);
    let kernel = KernelVersion::V2_6_38;
    let lines = smp_processor_id_report(kernel, 0, "swapon", 3230, 0, &backtrace);
    assert_eq!(
        lines,
        first_report(include_str!("../../data/reports-2.6.38.txt"))
    );

    let kernel = KernelVersion::V6_1;
    let table = SymbolTable::builtin(kernel).unwrap();
    let backtrace = table.backtrace(&enter_at_swapon("vzalloc"), 0xc000_0000_012e_8000);
    let lines = smp_processor_id_report(kernel, 0, "swapon", 29, 0, &backtrace);
    assert_eq!(
        lines,
        first_report(include_str!("../../data/reports-6.1.txt"))
    );
}

#[test]
fn the_scheduling_while_atomic_report_names_task_and_count() {
    let kernel = KernelVersion::V2_6_38;
    let table = SymbolTable::builtin(kernel).unwrap();
    let stack = frames(&["sys_swapoff", "schedule"], "__schedule_bug");
    let backtrace = table.schedule_bug_backtrace(&stack, 0xc000_0000_260d_4000);
    let lines = scheduling_while_atomic_report(kernel, 1, "swapoff", 3231, 2, &backtrace);
    assert_eq!(
        lines[0],
        "BUG: scheduling while atomic: swapoff/3231/0x00000002"
    );
    assert_eq!(lines[1..3], ["Modules linked in:", "Call Trace:"]);
    assert_eq!(lines.len(), 3 + backtrace.lines.len());
    let long = "a-name-of-more-than-twenty-characters";
    let lines = scheduling_while_atomic_report(KernelVersion::V6_1, 3, long, 7, 2, &backtrace);
    assert_eq!(
        lines[2],
        "CPU: 3 PID: 7 Comm: a-name-of-more-than- Not tainted 6.1-ppc-mmu-emu #1 "
    );
}

#[test]
fn swapon_prints_one_line() {
    let mut area = SwapArea {
        kib: 1_572_860,
        device: "/dev/sdb4",
        priority: -1,
        extents: 1,
        across_kib: 1_572_860,
        solid_state: true,
    };
    assert_eq!(
        swapon_line(&area),
        "Adding 1572860k swap on /dev/sdb4.  Priority:-1 extents:1 across:1572860k SS"
    );
    area.solid_state = false;
    assert!(swapon_line(&area).ends_with("across:1572860k "));
}

#[test]
fn a_json_report_has_the_first_line_and_the_chain() {
    let table = SymbolTable::builtin(KernelVersion::V2_6_38).unwrap();
    let backtrace = table.backtrace(&enter_at_swapon("vmalloc"), 0xc000_0000_29c3_c000);
    let lines = smp_processor_id_report(KernelVersion::V2_6_38, 0, "swapon", 3230, 0, &backtrace);
    let report = KernelReport::new("swapon", 3230, &lines, &backtrace);
    assert_eq!(
        report.message,
        "BUG: using smp_processor_id() in preemptible [00000000] code: swapon/3230"
    );
    assert_eq!(report.caller, ".apply_to_pte_range+0x118/0x1f0");
    assert_eq!(report.chain.len(), 9);
    assert_eq!(report.chain[0], ".show_stack+0x6c/0x16c (unreliable)");
    assert_eq!(report.chain[8], "syscall_exit+0x0/0x40");
}

#[test]
fn lines_carry_time_and_level() {
    let mut log = KernelLog::new(2500);
    log.push(
        Cycles::new(2500 * 12_345_678 + 2499),
        Level::Info,
        "one\ntwo",
    );
    log.push_report(Cycles::new(0), Level::Err, &["three".to_owned()]);
    log.push(Cycles::new(2500), Level::Debug, "four");
    assert_eq!(log.lines(Timestamps::Off), ["one", "two", "three", "four"]);
    assert_eq!(
        log.lines(Timestamps::On),
        [
            "[   12.345678] one",
            "[   12.345678] two",
            "[    0.000000] three",
            "[    0.000001] four"
        ]
    );
    assert_eq!(
        log.console_lines(7, Timestamps::Off),
        ["one", "two", "three"]
    );
    assert_eq!(log.console_lines(4, Timestamps::Off), ["three"]);
    assert_eq!(log.records()[2].level, Level::Err);
    let mut still = KernelLog::new(0);
    still.push(Cycles::MAX, Level::Info, "x");
    assert_eq!(still.lines(Timestamps::On), ["[    0.000000] x"]);
}

fn allowed(limit: &mut Ratelimit, now_cycles: u64) -> bool {
    let verdict = limit.allow(now_cycles);
    assert_eq!(verdict.suppressed_before, None);
    verdict.allowed
}

#[test]
fn ten_messages_pass_in_five_seconds() {
    let mut limit = Ratelimit::printk(2);
    let (start, interval) = (77, 10_000_000);
    for i in 0..10 {
        assert!(allowed(&mut limit, start + i));
    }
    // The window is over only when more than the interval has passed.
    assert!(!allowed(&mut limit, start + 10));
    assert!(!allowed(&mut limit, start + interval));
    assert_eq!(limit.missed(), 2);
    let verdict = limit.allow(start + interval + 1);
    assert_eq!(
        verdict,
        RatelimitVerdict {
            allowed: true,
            suppressed_before: Some(2)
        }
    );
    assert_eq!(limit.missed(), 0);
    let line = suppressed_line(reporting_function(KernelVersion::V6_1), 27);
    assert_eq!(line, "check_preemption_disabled: 27 callbacks suppressed");
}

#[test]
fn the_window_after_starts_where_the_kernel_starts_it() {
    for (kernel, third) in [(KernelVersion::V2_6_38, false), (KernelVersion::V6_1, true)] {
        let mut limit = Ratelimit::new(100, 1).of_kernel(kernel);
        assert!(allowed(&mut limit, 0));
        assert!(allowed(&mut limit, 101));
        // 2.6.38 starts the window here, 50 later than 6.1, so it is not over at 202.
        assert!(!allowed(&mut limit, 151));
        let verdict = limit.allow(202);
        assert_eq!(verdict.allowed, third);
        assert_eq!(verdict.suppressed_before, third.then_some(1));
    }
}

#[test]
fn odd_limits_do_what_they_say() {
    let mut none = Ratelimit::new(0, 0);
    assert!((0..100).all(|now| allowed(&mut none, now)));
    let mut closed = Ratelimit::new(10, 0);
    assert!((0..10).all(|now| !allowed(&mut closed, now)));
    // Another CPU's clock may be behind the one that started the window.
    let mut limit = Ratelimit::new(10, 2);
    assert!(allowed(&mut limit, 1000));
    assert!(allowed(&mut limit, 0));
    assert!(!allowed(&mut limit, 1010));
    assert!(Ratelimit::printk(u64::MAX).allow(u64::MAX).allowed);
}
