//! A program in machine code on a machine: from the image to its end.
//!
//! Owns the machine that the flags describe and what the guest prints. Refuses to interpret anything: the
//! library does.

mod gdb;
mod image;

pub use gdb::listen;
pub use image::Image;

use crate::args::ExecArgs;
use crate::plan::machine_named;
use anyhow::{Context, Result};
use emu_core::{
    Clocked, Console, CpuId, Cycles, Engine, Interpreter, MSR_LE, MachineConfig, Registers, RunEnd,
    Tracer, disassemble,
};
use emu_linux::{Mode, Timing};
use emu_mmu::{Hpt, Ra, TlbieForm};
use gdb::Session;
use std::io::Write;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// Most cycles that one CPU may run ahead of another.
const QUANTUM: Cycles = Cycles::new(1000);
/// The same for host threads, which meet seldom.
const QUANTUM_THREADS: Cycles = Cycles::new(20_000);

/// Where the guest's or the trace's text goes.
pub type Sink = Arc<Mutex<dyn Write + Send>>;

/// A machine with its program, ready to run.
#[derive(Debug)]
pub struct Guest {
    /// The engine.
    pub engine: Engine,
    /// A debugger ended the run.
    pub killed: bool,
    mode: Mode,
    little_endian: bool,
}

struct Printer(Sink);

impl Console for Printer {
    fn print(&self, bytes: &[u8]) {
        if let Ok(mut sink) = self.0.lock() {
            // A reader that went away is no matter of the guest.
            let _ = sink.write_all(bytes).and_then(|()| sink.flush());
        }
    }
}

struct Lines(Sink);

impl Tracer for Lines {
    fn instruction(&self, cpu: CpuId, now: Cycles, registers: &Registers, word: u32) {
        if let Ok(mut sink) = self.0.lock() {
            let text = disassemble(word);
            let _ = writeln!(sink, "{cpu} {now} {:016x}: {word:08x} {text}", registers.pc);
        }
    }
}

/// What a machine's CPUs take as an operand of tlbie, and their PVR (Linux 6.1
/// arch/powerpc/include/asm/reg.h).
fn kind(config: &MachineConfig, name: &str) -> (TlbieForm, u32) {
    match (config.costs.segments_1t, config.costs.pages_64k, name) {
        (0, 0, _) => (TlbieForm::Isa201, 0x003c_0300),
        (0, _, _) => (TlbieForm::Isa203, 0x003b_0301),
        (_, _, "power7") => (TlbieForm::Isa206, 0x003f_0201),
        (_, _, "power9") => (TlbieForm::Isa206, 0x004e_1200),
        _ => (TlbieForm::Isa206, Registers::PVR_POWER8),
    }
}

impl Guest {
    /// Builds the machine and loads the program.
    ///
    /// # Errors
    /// A machine that there is not, a program that does not fit.
    pub fn new(
        args: &ExecArgs,
        image: &Image,
        console: Option<Sink>,
        trace: Option<Sink>,
    ) -> Result<Self> {
        let mut profile = machine_named(&args.machine)?;
        for change in &args.set {
            profile.set(change)?;
        }
        let memory_bytes = args.memory << 20;
        let table_bytes = 1u64 << (args.htab_bits + 7);
        let base = memory_bytes
            .checked_sub(table_bytes)
            .map(|base| base & !(table_bytes - 1));
        let base = base.context("the hash table does not fit; take more `--memory`")?;
        let costs = match args.timing {
            Some(Timing::Functional) => profile.costs().into_functional(),
            _ => profile.costs(),
        };
        let mode = args.mode.unwrap_or(Mode::Deterministic);
        let config = MachineConfig {
            cpus: args.cpus,
            memory_bytes,
            hpt: Hpt::new(Ra::new(base), args.htab_bits)?,
            geometry: profile.geometry(),
            costs,
            quantum: if mode == Mode::Threads {
                QUANTUM_THREADS
            } else {
                QUANTUM
            },
        };
        let (tlbie_form, pvr) = kind(&config, profile.name());
        let mut engine = Engine::new(config, Box::new(Clocked::new()))?;
        image.load(engine.machine().memory(), base)?;
        for cpu in 0..args.cpus {
            let mut registers = Registers::new(image.entry, cpu);
            registers.gpr[4] = u64::from(args.cpus);
            registers.pvr = pvr;
            if image.little_endian {
                registers.msr |= MSR_LE;
            }
            let mut interpreter = Interpreter::new(registers);
            interpreter.tlbie_form = tlbie_form;
            interpreter.console = console.clone().map(|sink| Arc::new(Printer(sink)) as _);
            interpreter.tracer = trace.clone().map(|sink| Arc::new(Lines(sink)) as _);
            interpreter.instructions_max = args.max_instructions.unwrap_or(u64::MAX);
            engine.start_instructions(cpu, interpreter);
        }
        Ok(Guest {
            engine,
            killed: false,
            mode,
            little_endian: image.little_endian,
        })
    }

    /// Runs it.
    ///
    /// # Errors
    /// A CPU that stopped by itself, or CPUs that all wait for ever.
    pub fn run(&mut self) -> Result<RunEnd> {
        Ok(match self.mode {
            Mode::Threads => self.engine.run_threads()?,
            Mode::Deterministic => self.engine.run()?,
        })
    }

    /// Runs it under the first gdb that comes to `listener`, and on without it if it lets go.
    ///
    /// # Errors
    /// As [`Guest::run`]; a connection that breaks.
    pub fn debug(&mut self, listener: &TcpListener) -> Result<RunEnd> {
        match gdb::serve(self, listener)? {
            Session::Ended(end) => Ok(end),
            Session::Detached => self.run(),
            Session::Killed => {
                self.killed = true;
                Ok(self.engine.snapshot())
            }
        }
    }

    /// What the guest halted with.
    pub fn exit(&self) -> Option<u64> {
        let cpus = 0..self.engine.machine().cpus();
        cpus.filter_map(|cpu| self.engine.interpreter(cpu)?.exit())
            .next()
    }
}
