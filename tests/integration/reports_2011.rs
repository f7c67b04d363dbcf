//! The six reports of March 2011 ("mmotm threatens ppc preemption again"): order, tasks, callers,
//! chains, stack and return addresses, and what makes them go.

use crate::support::{kinds, policy_names, scenario};
use ppc_mmu_emu::linux::{RunConfig, RunError, RunReport, Source, run};

/// The log of the run, line by line.
const LOG: &str = include_str!("../data/swapon-swapoff-mmotm.log");

/// Worked out from the call traces of the report: symbol, first address (program counter minus
/// offset), size, and frame (distance from its stack pointer to the next one), in bytes.
const SYMBOLS: [(&str, u64, u64, u64); 15] = [
    (".show_stack", 0xc000_0000_0000_f320, 0x16c, 0xb0),
    (".flush_hash_range", 0xc000_0000_0002_c324, 0xc8, 0x90),
    (
        ".native_flush_hash_range",
        0xc000_0000_0002_e28c,
        0x384,
        0xb0,
    ),
    (".__flush_tlb_pending", 0xc000_0000_0002_ef9c, 0xb4, 0x80),
    (".apply_to_pte_range", 0xc000_0000_000d_e674, 0x1f0, 0xc0),
    (".apply_to_pud_range", 0xc000_0000_000d_e864, 0x188, 0xd0),
    (
        ".apply_to_page_range_batch",
        0xc000_0000_000d_e9ec,
        0xe8,
        0xc0,
    ),
    (".remove_vm_area", 0xc000_0000_000e_b048, 0xd4, 0x90),
    (".map_vm_area", 0xc000_0000_000e_b270, 0x94, 0xa0),
    (".__vunmap", 0xc000_0000_000e_c058, 0x104, 0x90),
    (".__vmalloc_area_node", 0xc000_0000_000e_c224, 0x190, 0xb0),
    (".SyS_swapon", 0xc000_0000_000f_14c8, 0x704, 0xe0),
    (".SyS_swapoff", 0xc000_0000_000f_2e24, 0x5e8, 0xd0),
    (
        ".debug_smp_processor_id",
        0xc000_0000_0022_df40,
        0x11c,
        0x90,
    ),
    // The one address that is an estimate: the traces print it for the last line only.
    ("syscall_exit", 0xc000_0000_0000_75a8, 0x40, 0),
];

/// Innermost two lines of every report.
const REPORTING: [(&str, u64); 2] = [(".show_stack", 0x6c), (".debug_smp_processor_id", 0xe4)];
/// From the leaf outwards, at swapon.
const MAP: [(&str, u64); 6] = [
    (".apply_to_pud_range", 0x124),
    (".apply_to_page_range_batch", 0xa4),
    (".map_vm_area", 0x50),
    (".__vmalloc_area_node", 0x144),
    (".SyS_swapon", 0x270),
    ("syscall_exit", 0),
];
/// From the leaf outwards, at swapoff.
const UNMAP: [(&str, u64); 6] = [
    (".apply_to_pud_range", 0x124),
    (".apply_to_page_range_batch", 0xa4),
    (".remove_vm_area", 0x90),
    (".__vunmap", 0x50),
    (".SyS_swapoff", 0x4d8),
    ("syscall_exit", 0),
];
const SWAPON: (&str, u32) = ("swapon", 3230);
const SWAPOFF: (&str, u32) = ("swapoff", 3231);
/// What the kernel says between the second report and the third.
const ADDING: &str = "Adding 1572860k swap on /dev/sdb4.  Priority:-1 extents:1 across:1572860k SS";

/// One report: who, the innermost stack pointer, the functions that only it has (the caller first),
/// and the rest of its chain.
struct Expected {
    task: (&'static str, u32),
    sp: u64,
    own: &'static [(&'static str, u64)],
    rest: &'static [(&'static str, u64)],
}

const ENTER: &[(&str, u64)] = &[(".apply_to_pte_range", 0x118)];
const LEAVE: &[(&str, u64)] = &[(".apply_to_pte_range", 0x168)];
const PENDING: &[(&str, u64)] = &[
    (".__flush_tlb_pending", 0x20),
    (".apply_to_pte_range", 0x188),
];
const RANGE: &[(&str, u64)] = &[
    (".native_flush_hash_range", 0x3c),
    (".flush_hash_range", 0x4c),
    (".__flush_tlb_pending", 0x90),
    (".apply_to_pte_range", 0x188),
];

const EXPECTED: [Expected; 6] = [
    Expected {
        task: SWAPON,
        sp: 0xc000_0000_29c3_b870,
        own: ENTER,
        rest: &MAP,
    },
    Expected {
        task: SWAPON,
        sp: 0xc000_0000_29c3_b870,
        own: LEAVE,
        rest: &MAP,
    },
    Expected {
        task: SWAPOFF,
        sp: 0xc000_0000_260d_38b0,
        own: ENTER,
        rest: &UNMAP,
    },
    Expected {
        task: SWAPOFF,
        sp: 0xc000_0000_260d_38b0,
        own: LEAVE,
        rest: &UNMAP,
    },
    Expected {
        task: SWAPOFF,
        sp: 0xc000_0000_260d_3830,
        own: PENDING,
        rest: &UNMAP,
    },
    Expected {
        task: SWAPOFF,
        sp: 0xc000_0000_260d_36f0,
        own: RANGE,
        rest: &UNMAP,
    },
];

impl Expected {
    fn message(&self) -> String {
        let (comm, pid) = self.task;
        format!("BUG: using smp_processor_id() in preemptible [00000000] code: {comm}/{pid}")
    }

    /// The functions, innermost first, as `symbol+offset/size`, each with its stack pointer and its
    /// return address.
    fn frames(&self) -> Vec<(u64, u64, String)> {
        let mut sp = self.sp;
        let chain = REPORTING.iter().chain(self.own).chain(self.rest);
        let frames: Vec<_> = chain
            .map(|&(name, offset)| {
                let known = SYMBOLS.iter().find(|known| known.0 == name);
                let &(_, base, size, frame) = known.expect("a symbol of the table");
                let at = sp;
                sp += frame;
                (at, base + offset, format!("{name}+{offset:#x}/{size:#x}"))
            })
            .collect();
        let (last, ..) = frames[frames.len() - 1];
        assert_eq!(
            last & 0x3fff,
            0x3e30,
            "the frames must add up to the system call's"
        );
        frames
    }

    fn caller(&self) -> String {
        self.frames()[REPORTING.len()].2.clone()
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            self.message(),
            format!("caller is {}", self.caller()),
            "Call Trace:".to_owned(),
        ];
        for (i, (sp, ip, text)) in self.frames().into_iter().enumerate() {
            let unreliable = if i == 0 { " (unreliable)" } else { "" };
            lines.push(format!("[{sp:016x}] [{ip:016x}] {text}{unreliable}"));
        }
        lines
    }
}

/// The whole log, from the table.
fn log() -> Vec<String> {
    let (at_swapon, at_swapoff) = EXPECTED.split_at(2);
    let mut lines: Vec<String> = at_swapon.iter().flat_map(Expected::lines).collect();
    lines.push(ADDING.to_owned());
    lines.extend(at_swapoff.iter().flat_map(Expected::lines));
    lines
}

fn swapon_swapoff(config: &RunConfig) -> RunReport {
    scenario("swapon-swapoff", config)
}

/// Number of reports that a task made.
fn reports_of(report: &RunReport, comm: &str) -> usize {
    report.reports.iter().filter(|r| r.comm == comm).count()
}

#[test]
fn the_six_reports_are_those_of_the_mail() {
    let report = swapon_swapoff(&RunConfig::new("mmotm"));
    assert_eq!(report.reports.len(), EXPECTED.len());
    for (ours, expected) in report.reports.iter().zip(&EXPECTED) {
        assert_eq!((ours.comm.as_str(), ours.pid), expected.task);
        assert_eq!(ours.message, expected.message());
        assert_eq!(ours.caller, expected.caller());
        let mut chain: Vec<String> = expected.frames().into_iter().map(|f| f.2).collect();
        chain[0].push_str(" (unreliable)");
        assert_eq!(ours.chain, chain);
    }
    assert_eq!((report.kernel.as_str(), report.cpus), ("2.6.38", 1));
    assert_eq!(report.reports_suppressed, 0);
    assert_eq!(kinds(&report), ["unsafe-per-cpu"]);
    assert_eq!(report.violations[0].count, 6);
    assert_eq!(
        (report.counters.ptes_set, report.counters.ptes_cleared),
        (96, 96)
    );
    assert_eq!(report.counters.batch_sizes, [(96, 1)].into());
}

#[test]
fn the_kernel_log_is_that_of_the_mail_line_by_line() {
    let golden: Vec<&str> = LOG.lines().collect();
    assert_eq!(golden, log(), "the file is not what the table says");
    let report = swapon_swapoff(&RunConfig::new("mmotm"));
    for (i, (ours, expected)) in report.kernel_log.iter().zip(&golden).enumerate() {
        assert_eq!(ours, expected, "line {}", i + 1);
    }
    assert_eq!(report.kernel_log.len(), golden.len());
}

#[test]
fn touched_pages_decide_how_many_reports_swapoff_makes() {
    for (touch, expected) in [(0, 2), (1, 3), (2, 4), (3, 4), (96, 4)] {
        let config = RunConfig {
            touch: Some(touch),
            ..RunConfig::new("mmotm")
        };
        let report = swapon_swapoff(&config);
        assert_eq!(reports_of(&report, "swapon"), 2, "touch {touch}");
        assert_eq!(reports_of(&report, "swapoff"), expected, "touch {touch}");
        assert_eq!(report.counters.need_flush, touch, "touch {touch}");
        let callers: Vec<&str> = report.reports.iter().map(|r| r.caller.as_str()).collect();
        let all: Vec<String> = EXPECTED.iter().map(Expected::caller).collect();
        assert_eq!(callers, all[..2 + expected], "touch {touch}");
    }
}

#[test]
fn a_pinned_task_makes_none() {
    for cpus in [1, 2] {
        let config = RunConfig {
            pin: true,
            cpus: Some(cpus),
            ..RunConfig::new("mmotm")
        };
        let report = swapon_swapoff(&config);
        assert_eq!(report.reports, []);
        assert_eq!(report.kernel_log, [ADDING]);
        assert_eq!(
            report.counters.batch_sizes,
            [(96, 1)].into(),
            "it batches all the same"
        );
    }
}

/// Policies whose hooks look up this CPU's batch while preemptible, as mmotm's do.
const PLAIN_HOOKS: [&str; 4] = ["mmotm", "switch-flush", "rt", "no-power-batch-naive"];

#[test]
fn every_policy_with_other_hooks_makes_none() {
    for policy in policy_names()
        .into_iter()
        .filter(|policy| !PLAIN_HOOKS.contains(policy))
    {
        let report = swapon_swapoff(&RunConfig::new(policy));
        assert_eq!(report.reports, [], "{policy}");
        assert_eq!(kinds(&report), [""; 0], "{policy}");
        assert_eq!(report.kernel_log, [ADDING], "{policy}");
        assert_eq!(report.counters.hpte_invalidations, 96, "{policy}");
    }
}

/// Allocations of swapon: the area, its page array, 96 pages, a table of each level.
const ALLOCATIONS: usize = 2 + 96 + 3;

/// Runs with the n-th allocation failing, for every n that the run comes to.
fn with_failing_allocations(policy: &str) -> Vec<RunReport> {
    let source = Source::Scenario("swapon-swapoff".to_owned());
    let mut reports = Vec::new();
    for n in 1.. {
        let config = RunConfig {
            fail_alloc: Some(n),
            ..RunConfig::new(policy)
        };
        match run(&source, &config, &mut |_| ()) {
            Ok(report) => {
                assert_eq!(
                    report.counters.vmalloc, 0,
                    "{policy}: allocation {n} failed"
                );
                reports.push(report);
            }
            // The run has no n-th allocation.
            Err(RunError::Value { .. }) => break,
            Err(error) => panic!("{policy}, allocation {n}: {error}"),
        }
    }
    assert_eq!(reports.len(), ALLOCATIONS, "{policy}");
    reports
}

#[test]
fn a_failing_allocation_leaks_a_preempt_count_as_posted() {
    let reports = with_failing_allocations("hugh-preempt");
    let leaking: Vec<_> = reports
        .iter()
        .map(|r| kinds(r).contains(&"unbalanced-preempt"))
        .collect();
    let at: Vec<usize> = (0..ALLOCATIONS).filter(|&n| leaking[n]).collect();
    assert_eq!(
        at,
        [ALLOCATIONS - 1],
        "only the last level is allocated with it"
    );
    let leaked = &reports[ALLOCATIONS - 1];
    // Unmapping allocates the table that was missing, with the count that leaked.
    assert!(
        leaked.reports[0]
            .message
            .starts_with("BUG: sleeping function called")
    );
    assert_eq!(
        leaked.reports[1].message,
        "BUG: scheduling while atomic: swapon/3230/0x00000001"
    );
}

#[test]
fn a_failing_allocation_leaks_nothing_where_the_test_comes_first() {
    for policy in policy_names() {
        if policy == "hugh-preempt" {
            continue;
        }
        for report in with_failing_allocations(policy) {
            let broken = kinds(&report);
            assert!(!broken.contains(&"unbalanced-preempt"), "{policy}");
            if !PLAIN_HOOKS.contains(&policy) {
                assert_eq!(broken, [""; 0], "{policy}");
                assert_eq!(report.reports, [], "{policy}");
            }
        }
    }
}
