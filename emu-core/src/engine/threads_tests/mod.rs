//! The threaded engine on small pieces of guest code.

mod completion;
mod ends;

use super::*;
use crate::exception::{Interrupt, Run, Vectors};
use crate::scheduler::{Clocked, Random};
use crate::{Ctx, Event, Interest};
use emu_mmu::{Barrier, Fault, Ra};
use parking_lot::Mutex;

const COUNTER: Ra = Ra::new(0x1000);
const DONE: Ra = Ra::new(0x2000);

/// A page fault is tried again; interrupts are taken and forgotten.
struct Again;

impl Vectors for Again {
    fn storage(&self, cx: &mut Ctx<'_>, _: Fault) -> Run<()> {
        cx.spin("no page: again")
    }

    fn interrupt(&self, _: &mut Ctx<'_>, _: Interrupt) -> Run<()> {
        Ok(())
    }
}

fn engine(cpus: u16) -> Engine {
    engine_with(cpus, Box::new(Clocked::new()), None)
}

fn engine_with(
    cpus: u16,
    scheduler: Box<dyn Scheduler>,
    observer: Option<Box<dyn Observer>>,
) -> Engine {
    let config = MachineConfig {
        cpus,
        ..MachineConfig::small_test()
    };
    let engine = Engine::with_observer(config, scheduler, observer).unwrap();
    engine.machine().set_vectors(Arc::new(Again));
    engine
}

/// Adds one with load-reserve and store-conditional.
fn add(cx: &mut Ctx<'_>, ra: Ra) -> Run<u64> {
    loop {
        let n = cx.load_reserve_real(ra, "add")?;
        if cx.store_conditional_real(ra, n + 1, "add")? {
            return Ok(n + 1);
        }
    }
}

/// Says that this CPU is done, and switches the machine off when all are.
fn halt_together(cx: &mut Ctx<'_>, cpus: u16) -> Run<ContextEnd> {
    add(cx, DONE)?;
    while cx.load_real_u64(DONE, "wait")? < u64::from(cpus) {
        cx.spin("wait")?;
    }
    Ok(ContextEnd::Halt)
}

#[test]
fn reservations_lose_no_update_of_eight_cpus() {
    let mut engine = engine(8);
    for cpu in 0..8 {
        engine.start_cpu(
            cpu,
            Box::new(|cx| {
                for _ in 0..2000 {
                    add(cx, COUNTER)?;
                }
                halt_together(cx, 8)
            }),
        );
    }
    let end = engine.run_threads().unwrap();
    assert_eq!(engine.machine().memory().load_u64(COUNTER), Ok(16_000));
    assert!(!end.stopped);
    assert_eq!(end.cpus.len(), 8);
    for cpu in &end.cpus {
        assert_eq!(cpu.clock, end.cpus[0].clock, "clocks end together");
        assert_eq!(cpu.stack.total(), cpu.clock);
    }
}

#[test]
fn one_cpu_runs_as_under_the_deterministic_engine() {
    let run = |seed: u64, threads: bool| {
        let mut engine = engine_with(1, Box::new(Random::new(seed, 200)), None);
        engine.start_cpu(
            0,
            Box::new(|cx| {
                let own = ContextId::from_index(0);
                cx.set_interrupts(true)?;
                for i in 0..50 {
                    let child = cx.spawn(Box::new(move |cx| {
                        cx.retire(10 * i)?;
                        Ok(ContextEnd::SwitchTo(own))
                    }));
                    cx.switch_to(child)?;
                    cx.set_interrupts(false)?;
                    cx.set_decrementer(Cycles::new(40 * i))?;
                    cx.wait_for_interrupt()?;
                    cx.set_interrupts(true)?;
                    cx.barrier(Barrier::Tlbsync, "sync")?;
                }
                Ok(ContextEnd::Halt)
            }),
        );
        let mut polls = Vec::new();
        let mut poll = |now| polls.push(now);
        let end = match threads {
            true => engine.run_threads_polled(&mut poll),
            false => engine.run_polled(&mut poll),
        };
        (format!("{:?}", end.unwrap()), polls)
    };
    for seed in 0..20 {
        assert_eq!(run(seed, true), run(seed, false), "seed {seed}");
    }
}

#[test]
fn a_context_goes_round_the_cpus_and_waits_to_be_off_the_last_one() {
    const AT: Ra = Ra::new(0x4000);
    const ROUNDS: u64 = 2000;
    let mut engine = engine(4);
    let bases: Vec<ContextId> = (0..4).map(ContextId::from_index).collect();
    let hosts = Arc::new(Mutex::new(std::collections::HashSet::new()));
    for cpu in 0..4u16 {
        let (bases, hosts) = (bases.clone(), hosts.clone());
        engine.start_cpu(
            cpu,
            Box::new(move |cx| {
                if cpu == 0 {
                    let traveller = cx.spawn(Box::new(move |cx| {
                        for round in 1..=ROUNDS {
                            let here = cx.cpu_id().index();
                            assert_eq!(here as u64, (round - 1) % 4, "where it was asked to go on");
                            hosts.lock().insert(std::thread::current().id());
                            // The next CPU may ask for this context before it is off this one.
                            cx.store_real_u64(AT, round % 4, "go on there")?;
                            cx.switch_to(bases[here])?;
                        }
                        Ok(ContextEnd::Halt)
                    }));
                    cx.store_real_u64(COUNTER, u64::from(traveller.get()), "its number")?;
                }
                loop {
                    let traveller = cx.load_real_u64(COUNTER, "made?")? as u32;
                    if traveller != 0 && cx.load_real_u64(AT, "here?")? == u64::from(cpu) {
                        cx.store_real_u64(AT, u64::MAX, "taken")?;
                        cx.switch_to(ContextId::from_index(traveller))?;
                    }
                    cx.spin("not here")?;
                }
            }),
        );
    }
    engine.run_threads().unwrap();
    assert_eq!(hosts.lock().len(), 4, "each CPU has a thread");
}

#[test]
fn no_cpu_runs_further_ahead_than_a_quantum() {
    let posted = |cpu: u16| Ra::new(0x5000 + u64::from(cpu) * 8);
    let mut engine = engine(4);
    let quantum = MachineConfig::small_test().quantum.get();
    for cpu in 0..4u16 {
        engine.start_cpu(
            cpu,
            Box::new(move |cx| {
                for _ in 0..3000 {
                    let now = cx.now().get();
                    cx.store_real_u64(posted(cpu), now, "my clock")?;
                    // Different speeds.
                    cx.retire(1 + 10 * u64::from(cpu))?;
                    for other in 0..4 {
                        let theirs = cx.load_real_u64(posted(other), "their clock")?;
                        assert!(now <= theirs + quantum + 100, "{now} and {theirs}");
                    }
                }
                // A CPU that is done holds up nobody.
                add(cx, DONE)?;
                while cpu == 0 && cx.load_real_u64(DONE, "wait")? < 4 {
                    cx.spin("wait")?;
                }
                cx.store_real_u64(posted(cpu), u64::MAX / 2, "done")?;
                if cpu == 0 {
                    return Ok(ContextEnd::Halt);
                }
                cx.wait_for_interrupt()?;
                Ok(ContextEnd::Halt)
            }),
        );
    }
    engine.run_threads().unwrap();
}

#[test]
fn cpus_that_all_sleep_go_on_at_the_earliest_timer() {
    let mut engine = engine(3);
    for cpu in 0..3u64 {
        engine.start_cpu(
            cpu as u16,
            Box::new(move |cx| {
                cx.set_interrupts(true)?;
                for _ in 0..20 {
                    cx.set_decrementer(Cycles::new(1_000_000 + cpu * 300_000))?;
                    cx.wait_for_interrupt()?;
                    cx.retire(10)?;
                }
                halt_together(cx, 3)
            }),
        );
    }
    let end = engine.run_threads().unwrap();
    let taken: Vec<u64> = end.cpus.iter().map(|cpu| cpu.counters.interrupts).collect();
    assert_eq!(taken, [20; 3]);
    let clock = end.cpus[0].clock.get();
    assert!((32_000_000..33_000_000).contains(&clock), "{clock}");
}

#[test]
fn an_interrupt_wakes_a_cpu_at_its_time() {
    let mut engine = engine(2);
    engine.start_cpu(
        0,
        Box::new(|cx| {
            for round in 1..=200 {
                for _ in 0..500 {
                    cx.load_real_u64(COUNTER, "work")?;
                }
                cx.send_ipi(CpuId(1))?;
                while cx.load_real_u64(COUNTER, "woken?")? < round {
                    cx.spin("woken?")?;
                }
            }
            Ok(ContextEnd::Halt)
        }),
    );
    engine.start_cpu(
        1,
        Box::new(|cx| {
            loop {
                cx.set_interrupts(false)?;
                cx.wait_for_interrupt()?;
                cx.set_interrupts(true)?;
                add(cx, COUNTER)?;
            }
        }),
    );
    let end = engine.run_threads().unwrap();
    // Each round CPU 0 works 500 cycles, and looks on for at most a quantum.
    let idle = end.cpus[1].stack.get(crate::Category::Idle).get();
    assert!((90_000..330_000).contains(&idle), "{idle}");
}

#[test]
fn an_observer_hears_every_store_in_the_order_of_their_values() {
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
    let mut engine = engine_with(4, Box::new(Random::new(3, 0)), Some(observer));
    let table = engine.machine().hpt().base();
    for cpu in 0..4 {
        engine.start_cpu(
            cpu,
            Box::new(move |cx| {
                for _ in 0..1000 {
                    add(cx, table)?;
                }
                halt_together(cx, 4)
            }),
        );
    }
    engine.run_threads().unwrap();
    let expected: Vec<(u64, u64)> = (0..4000).map(|n| (n, n + 1)).collect();
    assert_eq!(*heard.lock(), expected);
}
