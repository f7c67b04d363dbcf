//! The deterministic engine on small pieces of guest code.

use super::*;
use crate::exception::{Interrupt, Run, Vectors};
use crate::guest::ContextEnd;
use crate::scheduler::{Clocked, Random};
use crate::{Ctx, Event, Interest, OffSpan};
use emu_mmu::{Fault, Ra};
use parking_lot::Mutex;

const COUNTER: Ra = Ra::new(0x1000);
const DONE: Ra = Ra::new(0x2000);

/// Counts interrupts in guest memory and re-arms the decrementer.
struct Ticking;

impl Vectors for Ticking {
    fn storage(&self, _: &mut Ctx<'_>, fault: Fault) -> Run<()> {
        Err(Exception::Fault(fault))
    }

    fn interrupt(&self, cx: &mut Ctx<'_>, interrupt: Interrupt) -> Run<()> {
        let at = Ra::new(0x3000 + u64::from(interrupt == Interrupt::Ipi) * 8);
        let n = cx.load_real_u64(at, "count")?;
        cx.store_real_u64(at, n + 1, "count")?;
        if interrupt == Interrupt::Decrementer {
            cx.set_decrementer(Cycles::new(500))
        } else {
            Ok(())
        }
    }
}

fn machine(cpus: u16, scheduler: Box<dyn Scheduler>) -> Engine {
    let engine = Engine::new(
        MachineConfig {
            cpus,
            ..MachineConfig::small_test()
        },
        scheduler,
    );
    let engine = engine.unwrap();
    engine.machine().set_vectors(Arc::new(Ticking));
    engine
}

/// Each CPU adds 100 to a counter without a lock in real mode: load, then store.
fn racing_counters(cpus: u16, scheduler: Box<dyn Scheduler>) -> (u64, RunEnd) {
    let mut engine = machine(cpus, scheduler);
    for cpu in 0..cpus {
        engine.start_cpu(
            cpu,
            Box::new(move |cx| {
                for _ in 0..100 {
                    let n = cx.load_real_u64(COUNTER, "load")?;
                    cx.store_real_u64(COUNTER, n + 1, "store")?;
                }
                let done = cx.load_real_u64(DONE, "done")? + 1;
                cx.store_real_u64(DONE, done, "done")?;
                loop {
                    if cx.load_real_u64(DONE, "wait")? >= u64::from(cpus) {
                        return Ok(ContextEnd::Halt);
                    }
                    cx.spin("wait")?;
                }
            }),
        );
    }
    let end = engine.run().unwrap();
    (engine.machine().memory().load_u64(COUNTER).unwrap(), end)
}

#[test]
fn sixty_four_cpus_run_and_their_clocks_end_together() {
    let (count, end) = racing_counters(64, Box::new(Clocked::new()));
    assert!(count >= 100);
    assert_eq!(end.cpus.len(), 64);
    for cpu in &end.cpus {
        assert_eq!(cpu.clock, end.cpus[0].clock);
        assert_eq!(cpu.stack.total(), cpu.clock);
    }
}

#[test]
fn a_random_schedule_interleaves_and_repeats() {
    let run = |seed| racing_counters(2, Box::new(Random::new(seed, 0))).0;
    let counts: Vec<u64> = (0..20).map(run).collect();
    assert!(
        counts.iter().any(|&n| n < 200),
        "some update is lost: {counts:?}"
    );
    assert_eq!(counts, (0..20).map(run).collect::<Vec<_>>());
}

#[test]
fn sixty_five_cpus_are_refused() {
    let config = MachineConfig {
        cpus: 65,
        ..MachineConfig::small_test()
    };
    let refused = Engine::new(config, Box::new(Clocked::new()));
    assert!(matches!(refused, Err(EngineError::CpuCount(65))));
}

#[test]
fn the_decrementer_lands_where_interrupts_are_enabled_only() {
    let mut engine = machine(1, Box::new(Clocked::new()));
    engine.start_cpu(
        0,
        Box::new(|cx| {
            cx.set_decrementer(Cycles::new(100))?;
            for _ in 0..1000 {
                cx.load_real_u64(COUNTER, "work")?;
            }
            assert_eq!(cx.load_real_u64(Ra::new(0x3000), "count")?, 0, "disabled");
            cx.set_interrupts(true)?;
            assert_eq!(cx.load_real_u64(Ra::new(0x3000), "count")?, 1, "at once");
            for _ in 0..1200 {
                cx.load_real_u64(COUNTER, "work")?;
            }
            assert_eq!(
                cx.load_real_u64(Ra::new(0x3000), "count")?,
                3,
                "every 500 cycles"
            );
            Ok(ContextEnd::Halt)
        }),
    );
    let end = engine.run().unwrap();
    assert_eq!(end.cpus[0].counters.interrupts, 3);
}

#[test]
fn a_waiting_cpu_idles_until_the_interrupt_from_another() {
    let mut engine = machine(2, Box::new(Clocked::new()));
    engine.start_cpu(
        0,
        Box::new(|cx| {
            for _ in 0..5000 {
                cx.load_real_u64(COUNTER, "work")?;
            }
            cx.send_ipi(CpuId(1))?;
            loop {
                if cx.load_real_u64(DONE, "wait")? == 1 {
                    return Ok(ContextEnd::Halt);
                }
                cx.spin("wait")?;
            }
        }),
    );
    engine.start_cpu(
        1,
        Box::new(|cx| {
            cx.set_interrupts(true)?;
            cx.wait_for_interrupt()?;
            cx.store_real_u64(DONE, 1, "done")?;
            cx.wait_for_interrupt()?;
            Ok(ContextEnd::Halt)
        }),
    );
    let end = engine.run().unwrap();
    assert!(end.cpus[1].stack.get(Category::Idle) > Cycles::new(4000));
    assert_eq!(
        engine.machine().memory().load_u64(Ra::new(0x3008)).unwrap(),
        1
    );
}

#[test]
fn everybody_waiting_for_ever_is_a_deadlock() {
    let mut engine = machine(1, Box::new(Clocked::new()));
    engine.start_cpu(
        0,
        Box::new(|cx| {
            cx.wait_for_interrupt()?;
            Ok(ContextEnd::Halt)
        }),
    );
    assert!(matches!(engine.run(), Err(EngineError::Deadlock)));
}

#[test]
fn contexts_switch_back_and_forth_and_their_numbers_are_used_again() {
    let mut engine = machine(1, Box::new(Clocked::new()));
    engine.start_cpu(
        0,
        Box::new(|cx| {
            let own = crate::ContextId::from_index(0);
            let mut numbers = Vec::new();
            for _ in 0..3 {
                let child = cx.spawn(Box::new(move |cx| {
                    cx.retire(1)?;
                    Ok(ContextEnd::SwitchTo(own))
                }));
                numbers.push(child.get());
                cx.switch_to(child)?;
            }
            assert_eq!(numbers, [1, 1, 1]);
            Ok(ContextEnd::Halt)
        }),
    );
    engine.run().unwrap();
}

#[test]
fn a_switch_to_nowhere_ends_the_run_with_an_error() {
    let mut engine = machine(1, Box::new(Clocked::new()));
    engine.start_cpu(
        0,
        Box::new(|_| Ok(ContextEnd::SwitchTo(crate::ContextId::from_index(77)))),
    );
    assert!(matches!(
        engine.run(),
        Err(EngineError::NoContext { context: 77, .. })
    ));
}

#[test]
fn an_observer_hears_of_stores_into_the_table_alone() {
    struct Heard(Arc<Mutex<Vec<(u64, u64)>>>);
    impl Observer for Heard {
        fn interest(&self) -> Interest {
            Interest::TABLE_STORES
        }
        fn observe(&mut self, _: CpuId, _: Cycles, event: Event) {
            if let Event::TableStore { old, new, .. } = event {
                self.0.lock().push((old, new));
            }
        }
    }
    let heard = Arc::new(Mutex::new(Vec::new()));
    let observer: Box<dyn Observer> = Box::new(Heard(heard.clone()));
    let config = MachineConfig::small_test();
    let table = config.hpt.base();
    let clocked = Box::new(Clocked::new());
    let mut engine = Engine::with_observer(config, clocked, Some(observer)).unwrap();
    engine.start_cpu(
        0,
        Box::new(move |cx| {
            cx.store_real_u64(COUNTER, 9, "elsewhere")?;
            cx.store_real_u64(table, 5, "V")?;
            cx.store_real_u64(table, 6, "V")?;
            Ok(ContextEnd::Halt)
        }),
    );
    engine.run().unwrap();
    assert_eq!(*heard.lock(), [(0, 5), (5, 6)]);
}

/// How long a span was, where it began, functions on the stack at its end.
type Heard = (u64, Option<&'static str>, usize);

/// Keeps what it is told of spans.
struct Spans(Arc<Mutex<Vec<Heard>>>);

impl Vectors for Spans {
    fn storage(&self, _: &mut Ctx<'_>, fault: Fault) -> Run<()> {
        Err(Exception::Fault(fault))
    }

    fn interrupt(&self, _: &mut Ctx<'_>, _: Interrupt) -> Run<()> {
        Ok(())
    }

    fn longest_irqs_off(&self, cx: &Ctx<'_>, span: OffSpan) {
        let began = span.began_in.map(|frame| frame.function);
        let heard = (span.cycles.get(), began, cx.frames().len());
        self.0.lock().push(heard);
    }
}

#[test]
fn the_longest_spans_are_told_with_where_they_were() {
    let mut engine = Engine::new(MachineConfig::small_test(), Box::new(Clocked::new())).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    engine.machine().set_vectors(Arc::new(Spans(heard.clone())));
    engine.start_cpu(
        0,
        Box::new(move |cx| {
            cx.set_interrupts(true)?;
            for (function, work) in [("short", 10), ("long", 100), ("middle", 50)] {
                cx.call(function, |cx| {
                    cx.set_interrupts(false)?;
                    for _ in 0..work {
                        cx.load_real_u64(COUNTER, "work")?;
                    }
                    cx.set_interrupts(true)
                })?;
            }
            let none = cx.end_span();
            cx.call("begins", |cx| {
                cx.begin_span();
                Ok(())
            })?;
            cx.load_real_u64(COUNTER, "work")?;
            let span = cx.end_span();
            assert_eq!((none, cx.end_span()), (None, None));
            let told = span.map(|span| (span.cycles.get(), span.began_in.map(|f| f.function)));
            assert_eq!(told, Some((1, Some("begins"))));
            Ok(ContextEnd::Halt)
        }),
    );
    let longest = engine.run().unwrap().irqs_off_max.get();
    let heard = heard.lock();
    // A CPU begins with interrupts off.
    let functions: Vec<_> = heard.iter().filter_map(|&(_, began, _)| began).collect();
    assert_eq!(functions, ["short", "long"]);
    assert_eq!(heard.last(), Some(&(longest, Some("long"), 1)));
}

#[test]
fn the_longest_span_with_interrupts_off_leaves_out_idle_time() {
    let run = |off: u64, wait: u64, forget: bool| {
        let mut engine = machine(1, Box::new(Clocked::new()));
        engine.start_cpu(
            0,
            Box::new(move |cx| {
                cx.set_interrupts(true)?;
                for _ in 0..2 {
                    cx.set_interrupts(false)?;
                    for _ in 0..off {
                        cx.load_real_u64(COUNTER, "work")?;
                    }
                    cx.set_decrementer(Cycles::new(wait))?;
                    cx.wait_for_interrupt()?;
                    cx.set_interrupts(true)?;
                    if forget {
                        cx.machine().forget_irqs_off();
                    }
                }
                Ok(ContextEnd::Halt)
            }),
        );
        engine.run().unwrap().irqs_off_max.get()
    };
    let short = run(10, 5000, false);
    assert!((10..200).contains(&short), "{short}");
    assert_eq!(run(10, 90_000, false), short, "idle is no latency");
    let long = run(1000, 90_000, false);
    assert!((1000..1200).contains(&long), "{long}");
    assert_eq!(run(1000, 90_000, true), 0, "forgotten");
}
