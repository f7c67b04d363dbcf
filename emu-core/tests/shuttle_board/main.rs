//! The protocols of the threaded engine under shuttle: the very source of the board and of the hand-over,
//! with shuttle's words of synchronisation, in thousands of random schedules. A model of an order is also
//! run with that order broken, and some schedule must then fail.

mod sync;

#[allow(dead_code, reason = "a model uses a part of it")]
#[path = "../../src/board.rs"]
mod board;
#[allow(dead_code, reason = "a model uses a part of it")]
#[path = "../../src/handover.rs"]
mod handover;

use board::{ASIDE, Board, Turn};
use handover::{Handover, Taken};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

const SCHEDULES: usize = 1000;

fn breaks(model: impl Fn() + Send + Sync + 'static) -> bool {
    let run = AssertUnwindSafe(|| shuttle::check_random(model, SCHEDULES));
    catch_unwind(run).is_err()
}

/// Runs a closure on one thread for each CPU.
fn on_each(cpus: usize, work: impl Fn(usize) + Clone + Send + 'static) {
    let threads: Vec<_> = (0..cpus)
        .map(|cpu| {
            let work = work.clone();
            thread::spawn(move || work(cpu))
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}

/// A translation that CPU 0 takes away while CPU 1 uses it, from its cache if it has it there.
fn completion(waits: bool) {
    const OLD: u64 = 1;
    let board = Arc::new(Board::<()>::new(2));
    board.open([(0, 0), (1, 0)]);
    let entry = Arc::new(AtomicU64::new(OLD));
    let freed = Arc::new(AtomicU64::new(0));
    on_each(2, move |cpu| {
        if cpu == 0 {
            entry.store(0, Ordering::SeqCst);
            board.post(0, &());
            if waits {
                board.complete(0);
            }
            freed.store(1, Ordering::SeqCst);
            return;
        }
        let mut cached = None;
        for _ in 0..3 {
            board.begin(1);
            board.take_letters(1, |()| cached = None);
            let frame = *cached.get_or_insert_with(|| entry.load(Ordering::SeqCst));
            if frame == OLD {
                assert_eq!(freed.load(Ordering::SeqCst), 0, "reaches a freed frame");
            }
            board.end(1);
        }
    });
}

#[test]
fn what_was_posted_is_done_when_completion_returns() {
    shuttle::check_random(|| completion(true), SCHEDULES);
}

#[test]
fn without_completion_some_schedule_reaches_a_freed_frame() {
    assert!(breaks(|| completion(false)));
}

#[test]
fn cpus_that_complete_at_once_do_not_wait_for_each_other() {
    let model = || {
        let board = Arc::new(Board::<()>::new(3));
        on_each(3, move |cpu| {
            for _ in 0..2 {
                board.begin(cpu);
                board.take_letters(cpu, |()| ());
                board.post(cpu, &());
                board.end(cpu);
                board.complete(cpu);
            }
        });
    };
    shuttle::check_random(model, SCHEDULES);
}

/// Three CPUs of different speed hold their clocks together; one sleeps till the first wakes it. No
/// schedule hangs, and none lets a CPU run ahead.
#[test]
fn clocks_stay_together_and_nobody_sleeps_for_ever() {
    const QUANTUM: u64 = 3;
    let model = || {
        let board = Arc::new(Board::<()>::new(3));
        board.open([(0, 0), (1, 0), (2, 0)]);
        let real: Arc<Vec<AtomicU64>> = Arc::new((0..2).map(|_| AtomicU64::new(0)).collect());
        on_each(3, move |cpu| {
            let (mut clock, mut idle) = (0, cpu == 2);
            for step in 0..4u64 {
                let ready = |interrupt: Option<u64>| {
                    if let Some(at) = interrupt {
                        clock = at.max(clock);
                        idle = false;
                    }
                    (if idle { ASIDE } else { clock }, idle)
                };
                let turn = board.turn(cpu, QUANTUM, None, ready, || ());
                let Turn::Run(allowed) = turn else {
                    panic!("{turn:?}");
                };
                clock += allowed.min(1 + cpu as u64);
                if let Some(mine) = real.get(cpu) {
                    mine.store(clock, Ordering::SeqCst);
                }
                for theirs in real.iter() {
                    let theirs = theirs.load(Ordering::SeqCst);
                    assert!(clock <= theirs + QUANTUM, "{clock} and {theirs}");
                }
                if (cpu, step) == (0, 1) {
                    assert!(board.send_interrupt(2, clock));
                }
            }
            if let Some(mine) = real.get(cpu) {
                mine.store(1000, Ordering::SeqCst);
            }
            board.stand_aside(cpu);
        });
    };
    shuttle::check_random(model, SCHEDULES);
}

#[test]
fn a_deadlock_is_told_when_nobody_is_left_and_not_before() {
    let model = || {
        let board = Arc::new(Board::<()>::new(2));
        board.open([(0, 0), (1, 0)]);
        let woken = Arc::new(AtomicU64::new(0));
        on_each(2, move |cpu| {
            if cpu == 0 {
                board.send_interrupt(1, 5);
            }
            loop {
                let mut got = false;
                let ready = |interrupt: Option<u64>| {
                    got |= interrupt.is_some();
                    (if got { 5 } else { ASIDE }, !got)
                };
                match board.turn(cpu, 10, None, ready, || ()) {
                    Turn::Run(_) => {
                        woken.fetch_add(1, Ordering::SeqCst);
                    }
                    Turn::Deadlock => {
                        assert_eq!(woken.load(Ordering::SeqCst), 1, "the interrupt came first");
                        board.close();
                        return;
                    }
                    Turn::Closed => return,
                }
            }
        });
    };
    shuttle::check_random(model, SCHEDULES);
}

/// Two CPUs pass one context to and fro: each marks it while it has it.
fn hand_over(off_first: bool) {
    let board = Arc::new(Board::<()>::new(2));
    board.open([(0, 0), (1, 0)]);
    let contexts = Arc::new(Handover::new(vec![Some(())]));
    let on_cpus = Arc::new(AtomicU64::new(0));
    on_each(2, move |cpu| {
        for _ in 0..2 {
            loop {
                let adopt = |_: &mut Vec<Option<()>>| Ok::<(), ()>(());
                match contexts.take(0, cpu, &board, adopt).unwrap() {
                    Taken::Context(()) => break,
                    Taken::Elsewhere { alone } => {
                        assert!(!alone, "the other one has it");
                        board.sleep(cpu, ASIDE, None);
                    }
                    Taken::Nowhere => panic!("lost"),
                }
            }
            assert_eq!(on_cpus.fetch_add(1, Ordering::SeqCst), 0, "on two CPUs");
            if !off_first {
                contexts.give_back(0, Some(()), 7, &board);
            }
            thread::yield_now();
            on_cpus.fetch_sub(1, Ordering::SeqCst);
            if off_first {
                contexts.give_back(0, Some(()), 7, &board);
            }
        }
    });
}

#[test]
fn a_context_is_on_one_cpu_at_a_time_and_nobody_waits_for_ever() {
    shuttle::check_random(|| hand_over(true), SCHEDULES);
}

#[test]
fn one_given_back_before_it_is_off_its_cpu_is_on_two_in_some_schedule() {
    assert!(breaks(|| hand_over(false)));
}
