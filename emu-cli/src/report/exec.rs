//! The report of `emu exec`.

use super::layout::{grouped, table};
use crate::exec::Guest;
use emu_core::{Category, RunEnd};
use serde::Serialize;
use std::collections::BTreeMap;

/// Version of the JSON.
const SCHEMA: &str = "ppc-mmu-emu/exec/1";

/// How a program went.
#[derive(Debug, Serialize)]
pub struct ExecReport {
    schema: &'static str,
    /// What it halted with; `null` if it was stopped.
    exit: Option<u64>,
    #[serde(skip)]
    killed: bool,
    /// Each CPU.
    cpus: Vec<CpuLine>,
    /// What it printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    console: Option<String>,
}

#[derive(Debug, Serialize)]
struct CpuLine {
    cpu: u16,
    instructions: u64,
    cycles: u64,
    /// Address of the next instruction, in hexadecimal.
    pc: String,
    counters: BTreeMap<&'static str, u64>,
    cycles_by_category: BTreeMap<&'static str, u64>,
}

impl ExecReport {
    /// Of a run that has ended. `console` is what was printed, if that is not on standard output.
    pub fn new(guest: &Guest, end: &RunEnd, console: Option<String>) -> Self {
        let cpus = end.cpus.iter().enumerate().filter_map(|(cpu, report)| {
            let interpreter = guest.engine.interpreter(cpu as u16)?;
            let c = &report.counters;
            let counters = [
                ("erat_misses", c.erat_misses),
                ("walks", c.walks),
                ("groups_read", c.groups_read),
                ("tlbie", c.tlbie),
                ("tlbiel", c.tlbiel),
                ("ptesync", c.ptesync),
                ("interrupts", c.interrupts),
                ("storage_interrupts", c.storage_interrupts),
            ];
            let category = |c: Category| (c.name(), report.stack.get(c).get());
            Some(CpuLine {
                cpu: cpu as u16,
                instructions: interpreter.retired(),
                cycles: report.clock.get(),
                pc: format!("{:#x}", interpreter.registers.pc),
                counters: counters.into(),
                cycles_by_category: Category::ALL.into_iter().map(category).collect(),
            })
        });
        ExecReport {
            schema: SCHEMA,
            exit: guest.exit(),
            killed: guest.killed,
            cpus: cpus.collect(),
            console,
        }
    }

    /// What it halted with.
    pub const fn exit(&self) -> Option<u64> {
        self.exit
    }
}

/// For people.
pub fn text(report: &ExecReport) -> String {
    let mut text = match report.exit {
        Some(code) => format!("halted with {code}\n\n"),
        None if report.killed => "stopped: gdb ended the run\n\n".to_owned(),
        None => "stopped: the instructions allowed are used up\n\n".to_owned(),
    };
    let head = [
        "",
        "instructions",
        "cycles",
        "ERAT misses",
        "walks",
        "tlbie",
        "tlbiel",
        "ptesync",
        "interrupts",
        "storage",
    ];
    let rows = report.cpus.iter().map(|cpu| {
        let counter = |name| grouped(cpu.counters[name]);
        let mut row = vec![
            format!("CPU {}", cpu.cpu),
            grouped(cpu.instructions),
            grouped(cpu.cycles),
        ];
        let names = [
            "erat_misses",
            "walks",
            "tlbie",
            "tlbiel",
            "ptesync",
            "interrupts",
            "storage_interrupts",
        ];
        row.extend(names.map(counter));
        row
    });
    text.push_str(&table(&head, rows, "lr"));
    text.push_str("\ncycles by what they went to, all CPUs\n");
    let sum = |category: Category| -> u64 {
        report
            .cpus
            .iter()
            .map(|cpu| cpu.cycles_by_category[category.name()])
            .sum()
    };
    let rows = Category::ALL.into_iter().filter(|&c| sum(c) > 0);
    let rows = rows.map(|c| vec![format!("  {}", c.name()), grouped(sum(c))]);
    text.push_str(&table(&[], rows, "lr"));
    text
}
