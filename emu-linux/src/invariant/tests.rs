use super::*;
use emu_mmu::{PageSize, SegmentSize, TlbInvalidate, Vpn};

const BASE: Ra = Ra::new(0x400_0000);
const A: u64 = 0xa000;
const B: u64 = 0xb000;
/// V of EA 0xd000000000100000 in Linux 2.6.38, and its primary group among 2^15.
const V: u64 = 0x0000_f09b_89af_5001;
const GROUP_RA: u64 = 0x400_0000 + 0x1bf5 * 128;

fn at(now: u64, task: u64) -> Moment {
    Moment {
        cpu: CpuId(0),
        now: Cycles::new(now),
        task,
        pid: (task >> 12) as u32,
    }
}

fn monitor() -> Monitor {
    let mut monitor = Monitor::new(BASE, 15);
    monitor.name_task(A, "swapoff", 10);
    monitor.name_task(B, "cat", 11);
    monitor
}

fn queued(n: u64) -> Tracepoint {
    let (vpn, segment) = (Vpn::new(n), SegmentSize::S256M);
    Tracepoint::Queued {
        vpn,
        segment,
        size: PageSize::P4K,
        slot: 0,
        pte: n * 8,
        frame: n << 12,
    }
}

fn tlbie(n: u64) -> Event {
    let (vpn, segment, page) = (Vpn::new(n), SegmentSize::S256M, PageSize::P4K);
    let operand = TlbInvalidate {
        vpn,
        segment,
        base: page,
        actual: page,
        local: false,
    };
    Event::Invalidate {
        operand,
        step: "tlbie: tlbie",
    }
}

fn store(ra: u64, old: u64, new: u64) -> Event {
    Event::TableStore {
        ra: Ra::new(ra),
        old,
        new,
        step: "native_hpte_insert: store V",
    }
}

fn lookup() -> Tracepoint {
    Tracepoint::PerCpuLookup {
        function: "arch_enter_lazy_mmu_mode",
        preempt_count: 0,
        interrupts_enabled: true,
        pinned: false,
        running: true,
    }
}

/// Two tasks on one CPU: A is preempted in its section, B's page is queued, set and hashed again.
fn bystander(monitor: &mut Monitor) {
    monitor.tracepoint(at(1, A), lookup());
    monitor.tracepoint(at(2, A), Tracepoint::LazyEnter);
    let (next, next_pid, preempted) = (B, 11, true);
    monitor.tracepoint(
        at(3, A),
        Tracepoint::SwitchTo {
            next,
            next_pid,
            preempted,
        },
    );
    monitor.hardware(CpuId(0), Cycles::new(4), store(GROUP_RA, 0x8, V));
    monitor.tracepoint(at(5, B), queued(7));
    monitor.tracepoint(
        at(6, B),
        Tracepoint::PteSet {
            pte: 7 * 8,
            frame: 0x9000,
        },
    );
    monitor.hardware(CpuId(0), Cycles::new(7), store(GROUP_RA + 16, 0x8, V));
}

#[test]
fn a_broken_run_is_told_by_kind_in_the_order_of_the_names() {
    let mut monitor = monitor();
    bystander(&mut monitor);
    monitor.tracepoint(at(8, B), lookup());
    monitor.tracepoint(
        at(8, B),
        Tracepoint::StaleData {
            ea: 0x1000_0008,
            expected: 1,
            found: 2,
        },
    );
    let (ra, step) = (Ra::new(7 * 8), "set_pte_at: store");
    let (old, new) = (0, 0x301);
    let set = Event::WatchedStore { ra, old, new, step };
    monitor.hardware(CpuId(0), Cycles::new(8), set);
    monitor.hardware(CpuId(0), Cycles::new(8), store(GROUP_RA + 32, 0, 8));
    monitor.tracepoint(at(9, B), Tracepoint::TaskExit { preempt_count: 1 });
    let found = monitor.violations();
    let kinds: Vec<_> = found.iter().map(|v| (v.kind.as_str(), v.count)).collect();
    let counts = [1, 1, 1, 1, 1, 1, 2];
    assert_eq!(kinds, NAMES.into_iter().zip(counts).collect::<Vec<_>>());

    let duplicate = &found[1].first;
    assert_eq!(
        (
            duplicate.comm.as_str(),
            duplicate.pid,
            duplicate.cpu,
            duplicate.cycle
        ),
        ("cat", 11, 0, 7)
    );
    assert_eq!(
        duplicate.history,
        [
            "cycle 1 cpu 0 pid 10: arch_enter_lazy_mmu_mode looks up its per-CPU area, preempt_count 0x0, interrupts on",
            "cycle 2 cpu 0 pid 10: enter lazy MMU mode",
            "cycle 3 cpu 0 pid 10: switch to pid 11 (task 0xb000), preempted",
            "cycle 4 cpu 0 pid 11: HPTE at 0x40dfa80 becomes valid [native_hpte_insert: store V]",
            "cycle 5 cpu 0 pid 11: queue vpn 0x7 (256M, slot 0) of PTE 0x38, frame 0x7000",
            "cycle 6 cpu 0 pid 11: set PTE 0x38 to frame 0x9000",
            "cycle 7 cpu 0 pid 11: HPTE at 0x40dfa90 becomes valid [native_hpte_insert: store V]",
        ]
    );
    assert_eq!(
        found[6].first.comm, "swapoff",
        "the first one, not the last"
    );
}

#[test]
fn a_sound_run_breaks_nothing() {
    let mut monitor = monitor();
    monitor.tracepoint(at(1, A), Tracepoint::LazyEnter);
    monitor.hardware(CpuId(0), Cycles::new(2), store(GROUP_RA, 0x8, V));
    monitor.tracepoint(at(3, A), queued(7));
    monitor.hardware(CpuId(0), Cycles::new(4), store(GROUP_RA, V, 0));
    monitor.tracepoint(
        at(5, A),
        Tracepoint::BatchFlush {
            entries: 1,
            pieces: 1,
            batch_cpu: 0,
        },
    );
    monitor.hardware(CpuId(0), Cycles::new(6), tlbie(7));
    monitor.tracepoint(at(7, A), Tracepoint::LazyLeave);
    monitor.tracepoint(at(8, A), Tracepoint::PageFreed { frame: 0x7000 });
    monitor.hardware(CpuId(0), Cycles::new(9), store(GROUP_RA + 16, 0x8, V));
    monitor.tracepoint(at(10, A), Tracepoint::TaskExit { preempt_count: 0 });
    monitor.end_of_run(at(11, A));
    assert_eq!(monitor.violations(), []);
    assert_eq!(
        (
            monitor.queued(),
            monitor.flushed(),
            monitor.flushes_repeated()
        ),
        (1, 1, 0)
    );
}

#[test]
fn an_invalidation_is_its_cpus_running_task() {
    // B's batch flush goes on after the switch away from A, whose batch flush is under way too.
    let mut monitor = monitor();
    monitor.tracepoint(at(1, A), queued(7));
    monitor.hardware(CpuId(0), Cycles::new(2), tlbie(7));
    monitor.tracepoint(
        at(3, A),
        Tracepoint::BatchFlush {
            entries: 1,
            pieces: 1,
            batch_cpu: 0,
        },
    );
    let (next, next_pid, preempted) = (B, 11, true);
    monitor.tracepoint(
        at(4, A),
        Tracepoint::SwitchTo {
            next,
            next_pid,
            preempted,
        },
    );
    monitor.hardware(CpuId(0), Cycles::new(5), tlbie(7));
    assert_eq!(monitor.flushes_repeated(), 0, "B is in no batch flush");
    monitor.tracepoint(at(6, A), Tracepoint::LazyEnter);
    monitor.hardware(CpuId(0), Cycles::new(7), tlbie(7));
    assert_eq!(monitor.flushes_repeated(), 1);
}

#[test]
fn the_end_of_the_run_is_a_deadline() {
    let mut monitor = monitor();
    monitor.tracepoint(at(1, A), queued(7));
    assert_eq!(monitor.violations(), []);
    monitor.end_of_run(at(2, A));
    monitor.end_of_run(at(3, A));
    let found = monitor.violations();
    assert_eq!(
        (found.len(), found[0].count, found[0].first.cycle),
        (1, 1, 2)
    );
}

#[test]
fn names_live_as_long_as_their_tasks() {
    let mut monitor = monitor();
    for i in 0..1000 {
        let task = 0x10_0000 + i * 0x1000;
        monitor.name_task(task, "kworker", i as u32);
        monitor.tracepoint(at(i, task), Tracepoint::TaskExit { preempt_count: 0 });
        let (next, next_pid, preempted) = (A, 10, false);
        monitor.tracepoint(
            at(i, task),
            Tracepoint::SwitchTo {
                next,
                next_pid,
                preempted,
            },
        );
    }
    assert_eq!(monitor.log.names.len(), 2);
    // Nobody named this one.
    monitor.tracepoint(at(2000, 0x99_9000), lookup());
    let first = &monitor.violations()[0].first;
    assert_eq!((first.comm.as_str(), first.pid), (log::COMM_UNKNOWN, 0x999));
}

#[test]
fn every_rule_is_explained_in_three_sentences_and_the_names_are_sorted() {
    for name in NAMES {
        let text = explain(name).unwrap();
        let sentences = text.matches(". ").count() + usize::from(text.ends_with(['.', '"']));
        assert!(sentences >= 3, "{name}: {text}");
        assert!(!text.contains("  "), "{name}");
    }
    assert_eq!(explain("no-such-rule"), None);
    assert!(NAMES.is_sorted());
}

#[test]
fn a_monitor_can_be_sent_to_another_thread() {
    fn send<T: Send>(_: &T) {}
    send(&monitor());
}
