use super::*;
use emu_core::CpuId;

fn at(now: u64, task: u64) -> Moment {
    Moment {
        cpu: CpuId(0),
        now: Cycles::new(now),
        task,
        pid: task as u32,
    }
}

fn linux(tp: Tracepoint) -> Happened {
    Happened::Linux(tp)
}

#[test]
fn keeps_the_last_lines_oldest_first() {
    let mut history = History::default();
    for now in 0..100 {
        history.push(at(now, 1), linux(Tracepoint::LazyEnter));
    }
    let lines = history.render();
    assert_eq!(lines.len(), LINES);
    assert_eq!(lines[0], "cycle 68 cpu 0 pid 1: enter lazy MMU mode");
    assert_eq!(lines[31], "cycle 99 cpu 0 pid 1: enter lazy MMU mode");
}

#[test]
fn an_unmap_of_many_pages_is_a_few_lines() {
    let mut history = History::default();
    history.push(at(0, 1), linux(Tracepoint::LazyEnter));
    for i in 0..192 {
        history.push(at(10 + i, 1), linux(Tracepoint::PteCleared { pte: i * 8 }));
        history.push(
            at(10 + i, 1),
            linux(Tracepoint::PageFreed { frame: i << 12 }),
        );
    }
    assert_eq!(
        history.render(),
        [
            "cycle 0 cpu 0 pid 1: enter lazy MMU mode",
            "cycle 201 cpu 0 pid 1: clear PTE 0x5f8 (last of 192 since cycle 10)",
            "cycle 201 cpu 0 pid 1: free frame 0xbf000 (last of 192 since cycle 10)",
        ]
    );
}

#[test]
fn a_set_pte_keeps_its_place() {
    let clear = linux(Tracepoint::PteCleared { pte: 0 });
    let set = linux(Tracepoint::PteSet { pte: 0, frame: 0 });
    let mut history = History::default();
    for (now, what) in [clear, set, set, clear, set, clear].into_iter().enumerate() {
        history.push(at(now as u64, 1), what);
    }
    let told: Vec<_> = history
        .render()
        .iter()
        .map(|line| line[21..30].to_owned())
        .collect();
    assert_eq!(
        told,
        [
            "clear PTE",
            "set PTE 0",
            "clear PTE",
            "set PTE 0",
            "clear PTE"
        ]
    );
}

#[test]
fn no_run_reaches_across_another_task_or_a_mark() {
    let mut history = History::default();
    let free = linux(Tracepoint::PageFreed { frame: 0 });
    history.push(at(1, 1), free);
    history.push(at(2, 2), free);
    history.push(at(3, 1), free);
    history.push(at(4, 1), linux(Tracepoint::LazyLeave));
    history.push(at(5, 1), free);
    assert_eq!(history.render().len(), 5);
}

#[test]
fn lock_bits_and_second_doublewords_are_no_news() {
    assert!(is_news(Ra::new(0x100), 0x8, 0x5001));
    assert!(is_news(Ra::new(0x100), 0x5009, 0));
    assert!(!is_news(Ra::new(0x100), 0x5001, 0x5009));
    assert!(!is_news(Ra::new(0x108), 0, 1));
}
