//! How a run on threads ends: a panic, an error, a request, a deadlock.

use super::*;
use std::time::{Duration, Instant};

#[test]
fn a_panic_on_one_cpu_ends_the_run_and_names_it() {
    let mut engine = engine(4);
    for cpu in 0..4 {
        engine.start_cpu(
            cpu,
            Box::new(move |cx| {
                for i in 0.. {
                    cx.spin("round")?;
                    assert!(cpu != 2 || i < 1000, "list is broken");
                    if cpu == 3 {
                        cx.wait_for_interrupt()?;
                    }
                }
                Ok(ContextEnd::Halt)
            }),
        );
    }
    let error = engine.run_threads().unwrap_err();
    assert_eq!(error.to_string(), "CPU 2 panicked: list is broken");
    assert_eq!(engine.snapshot().cpus.len(), 3, "the others are whole");
}

#[test]
fn an_error_of_guest_code_ends_the_run_with_its_cpu() {
    let mut engine = engine(3);
    for cpu in 0..3 {
        engine.start_cpu(
            cpu,
            Box::new(move |cx| {
                loop {
                    cx.spin("round")?;
                    if cpu == 1 && cx.now() > Cycles::new(50_000) {
                        return Err(Exception::Corrupt("list"));
                    }
                }
            }),
        );
    }
    let error = engine.run_threads().unwrap_err();
    assert_eq!(
        error.to_string(),
        "guest code on CPU 1 ended: guest state is corrupt: list"
    );
}

#[test]
fn a_request_to_stop_is_heard_by_cpus_that_run_and_by_cpus_that_sleep() {
    let mut engine = engine(4);
    for cpu in 0..4 {
        engine.start_cpu(
            cpu,
            Box::new(move |cx| {
                loop {
                    cx.spin("round")?;
                    if cpu % 2 == 1 {
                        cx.wait_for_interrupt()?;
                    }
                }
            }),
        );
    }
    let machine = engine.machine().clone();
    let asked = Arc::new(Mutex::new(Instant::now()));
    let own = asked.clone();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        *own.lock() = Instant::now();
        machine.request_stop();
    });
    let end = engine.run_threads().unwrap();
    assert!(end.stopped);
    stopper.join().unwrap();
    assert!(asked.lock().elapsed() < Duration::from_secs(2));
}

#[test]
fn everybody_asleep_or_waiting_for_a_context_is_a_deadlock() {
    let mut engine = engine(3);
    for cpu in 0..3 {
        engine.start_cpu(
            cpu,
            Box::new(move |cx| {
                cx.retire(1000 * u64::from(cpu))?;
                if cpu == 1 {
                    // CPU 0 never gives it up.
                    cx.switch_to(ContextId::from_index(0))?;
                }
                cx.wait_for_interrupt()?;
                Ok(ContextEnd::Halt)
            }),
        );
    }
    assert!(matches!(engine.run_threads(), Err(EngineError::Deadlock)));
}

#[test]
fn a_switch_to_nowhere_ends_the_run_with_an_error() {
    let mut engine = engine(2);
    for cpu in 0..2 {
        engine.start_cpu(
            cpu,
            Box::new(move |cx| {
                cx.retire(100)?;
                Ok(ContextEnd::SwitchTo(ContextId::from_index(77)))
            }),
        );
    }
    let error = engine.run_threads().unwrap_err();
    assert!(matches!(error, EngineError::NoContext { context: 77, .. }));
}
