//! `emu bench exec`: instructions interpreted in a second, beside the same program under QEMU.
//!
//! Owns the program, which is the same image for both: its entry is for the bare machine, and Linux's is 4
//! bytes on. QEMU translates it to the host's code and keeps what it translated, so the ratio says what an
//! interpreter gives up for a clock, counters and interrupts at every instruction.

use super::host::Host;
use super::spread::{Figures, Spread};
use crate::exec::Image;
use anyhow::{Context, Result, ensure};
use emu_core::{Clocked, CostTable, Engine, Interpreter, MachineConfig, Registers};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The program, as `traces/guest/build.sh` makes it.
const IMAGE: &[u8] = include_bytes!("../../../traces/guest/bench.elf");
/// Where an ELF file of 64 bits has its entry.
const ENTRY_AT: usize = 24;
/// QEMU's emulator of a program.
const QEMU: &str = "qemu-ppc64";

/// The report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this document's keys.
    pub schema: &'static str,
    /// The machine.
    pub host: Host,
    /// Rounds.
    pub rounds: usize,
    /// Instructions of a run.
    pub instructions: u64,
    /// False if QEMU is not installed: then nothing is said of it.
    pub qemu: bool,
    /// Rates and the ratio.
    #[serde(flatten)]
    pub figures: BTreeMap<String, Spread>,
}

/// Measures; `step` is told before each step how many are done, and of how many.
pub fn measure(rounds: usize, step: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let mut figures = Figures::default();
    let mut instructions = 0;
    let mut qemu = true;
    let program = for_linux()?;
    let timed = emu_linux::MachineProfile::builtin("power8")?.costs();
    let mips = |instructions: u64, seconds: f64| instructions as f64 / seconds / 1e6;
    for round in 0..rounds {
        step(round as u64, rounds as u64);
        let (retired, _, seconds) = interpreted(timed.clone())?;
        figures.add("cycle_mips", mips(retired, seconds));
        let (retired, code, seconds) = interpreted(CostTable::functional())?;
        let functional = mips(retired, seconds);
        figures.add("functional_mips", functional);
        instructions = retired;
        let Some((theirs, seconds)) = under_qemu(&program)? else {
            qemu = false;
            continue;
        };
        ensure!(
            theirs as u64 == code,
            "QEMU came to {theirs}, the interpreter to {code}"
        );
        figures.add("qemu_mips", mips(retired, seconds));
        figures.add("functional_vs_qemu", functional / mips(retired, seconds));
    }
    Ok(Report {
        schema: "ppc-mmu-emu/bench-exec/1",
        host: Host::look(None),
        rounds,
        instructions,
        qemu,
        figures: figures.spreads(),
    })
}

/// Runs the program here: instructions, what it came to, and seconds.
fn interpreted(costs: CostTable) -> Result<(u64, u64, f64)> {
    let image = Image::parse(IMAGE)?;
    let config = MachineConfig {
        costs,
        ..MachineConfig::small_test()
    };
    let end = config.hpt.base().get();
    let mut engine = Engine::new(config, Box::new(Clocked::new()))?;
    image.load(engine.machine().memory(), end)?;
    engine.start_instructions(0, Interpreter::new(Registers::new(image.entry, 0)));
    let began = Instant::now();
    engine.run()?;
    let seconds = began.elapsed().as_secs_f64();
    let interpreter = engine.interpreter(0).context("CPU 0 ran")?;
    let exit = interpreter.exit().context("the program halts")?;
    Ok((interpreter.retired(), exit, seconds))
}

/// The program with Linux's entry, in a file that may be executed.
fn for_linux() -> Result<tempfile::TempPath> {
    let mut bytes = IMAGE.to_owned();
    let field = &mut bytes[ENTRY_AT..ENTRY_AT + 8];
    let entry = u64::from_be_bytes(field.try_into()?) + 4;
    field.copy_from_slice(&entry.to_be_bytes());
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
    let mut file = builder.prefix("emu-bench-").tempfile()?;
    file.write_all(&bytes)?;
    // Closed: a file that is open for writing cannot be executed.
    Ok(file.into_temp_path())
}

/// Runs the program under QEMU: what it came to and seconds, its start included; `None` if there is none.
fn under_qemu(program: &std::path::Path) -> Result<Option<(i32, f64)>> {
    let mut command = Command::new(QEMU);
    command.args(["-cpu", "power8"]).arg(program);
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let seconds = began.elapsed().as_secs_f64();
    match status {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        status => {
            let code = status.context("cannot run qemu-ppc64")?.code();
            Ok(Some((code.context("QEMU was killed")?, seconds)))
        }
    }
}
