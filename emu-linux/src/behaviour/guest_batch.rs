//! The same work as guest machine code and as the kernel model: a range is touched, and its PTEs are cleared by
//! apply_to_page_range in a lazy section. What both counted is the same.

use super::Bench;
use crate::config::KernelVersion;
use emu_core::{Clocked, Console, Engine, HardwareCounters, Interpreter, MachineConfig, Registers};
use emu_mmu::Ra;
use parking_lot::Mutex;
use std::sync::Arc;

/// The image of `traces/guest/batch.c`.
const IMAGE: &[u8] = include_bytes!("../../../traces/guest/batch.elf");
const PAGES: u64 = 300;

/// What is compared: events of the kernel by name, the batches in order, tlbie and ptesync.
#[derive(Debug, PartialEq, Eq)]
struct Events {
    hash_faults: u64,
    hpte_inserts: u64,
    hpte_invalidations: u64,
    batches: Vec<(u64, u64)>,
    tlbie: u64,
    ptesync: u64,
}

#[derive(Default)]
struct Printed(Mutex<Vec<u8>>);

impl Console for Printed {
    fn print(&self, bytes: &[u8]) {
        self.0.lock().extend_from_slice(bytes);
    }
}

fn number(at: usize, bytes: usize) -> u64 {
    let field = &IMAGE[at..at + bytes];
    field.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
}

/// Runs the image; its loadable segments are those of a big-endian ELF file of 64 bits.
fn guest() -> Events {
    let mut engine = Engine::new(MachineConfig::small_test(), Box::new(Clocked::new())).unwrap();
    let memory = engine.machine().clone();
    let headers = number(32, 8) as usize;
    for header in (0..number(56, 2) as usize).map(|i| headers + 56 * i) {
        let (offset, at, bytes) = (
            number(header + 8, 8),
            number(header + 24, 8),
            number(header + 32, 8),
        );
        if number(header, 4) == 1 {
            for i in 0..bytes {
                let byte = IMAGE[(offset + i) as usize];
                memory.memory().store_u8(Ra::new(at + i), byte).unwrap();
            }
        }
    }
    let printed = Arc::new(Printed::default());
    let mut registers = Registers::new(number(24, 8), 0);
    registers.gpr[4] = 1;
    let mut interpreter = Interpreter::new(registers);
    interpreter.console = Some(printed.clone());
    engine.start_instructions(0, interpreter);
    let end = engine.run().unwrap();
    assert_eq!(engine.interpreter(0).unwrap().exit(), Some(0));
    let text = String::from_utf8(printed.0.lock().clone()).unwrap();
    let values = |name: &str| -> Vec<u64> {
        let of_name = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        of_name.collect()
    };
    let mut batches: Vec<(u64, u64)> = values("batch").into_iter().map(|size| (size, 1)).collect();
    batches.sort_unstable();
    Events {
        hash_faults: values("hash_faults")[0],
        hpte_inserts: values("hpte_inserts")[0],
        hpte_invalidations: values("hpte_invalidations")[0],
        batches,
        tlbie: end.cpus[0].counters.tlbie,
        ptesync: end.cpus[0].counters.ptesync,
    }
}

/// The kernel model's; `pages` are touched and unmapped of an area that is mapped in any case.
fn modelled(pages: u64) -> (crate::CounterValues, HardwareCounters) {
    let kept = Arc::new(Mutex::new(None));
    let keep = kept.clone();
    let (_, end) =
        Bench::new("hugh-preempt-fixed", KernelVersion::V2_6_38).run_to_end(move |linux, cx| {
            let ea = linux.vmalloc(cx, PAGES * linux.page_bytes())?.unwrap();
            let before = linux.counters.values();
            for page in 0..pages {
                linux.touch(cx, ea + page * linux.page_bytes(), true)?;
            }
            linux.unmap_foreign_frames(cx, ea, pages)?.unwrap();
            *keep.lock() = Some(linux.counters.values().since(&before));
            Ok(())
        });
    let counters = kept.lock().take().unwrap();
    (counters, end.cpus[0].counters)
}

#[test]
fn a_batch_in_machine_code_counts_what_the_model_counts() {
    let (counters, hardware) = modelled(PAGES);
    let (_, idle) = modelled(0);
    let model = Events {
        hash_faults: counters.hash_faults,
        hpte_inserts: counters.hpte_inserts,
        hpte_invalidations: counters.hpte_invalidations,
        batches: counters.batch_sizes.into_iter().collect(),
        tlbie: hardware.tlbie - idle.tlbie,
        ptesync: hardware.ptesync - idle.ptesync,
    };
    assert_eq!(guest(), model);
    assert_eq!(model.batches, [(108, 1), (192, 1)]);
}
