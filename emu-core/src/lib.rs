//! The CPU emulator: CPUs with their state and clocks, guest code written in Rust on coroutines or as PPC64
//! instructions, the engine (deterministic, or with a host thread for each CPU), schedulers, costs and probes.
//!
//! Owns *when* things happen and *which CPU* they happen on. Refuses to know what an operating system
//! is: tasks, locks and page tables belong to the guest code above (`emu-linux`), the MMU itself to
//! `emu-mmu` below.
//!
//! Guest code is an ordinary function over a [`Ctx`]. It never holds a CPU: each verb of `Ctx` finds the
//! CPU it runs on anew, because between two verbs an interrupt may land and the code may go on
//! elsewhere.
//!
//! ```
//! use emu_core::{Clocked, Engine, MachineConfig, ContextEnd};
//! use emu_mmu::Ra;
//!
//! let config = MachineConfig::small_test();
//! let mut engine = Engine::new(config, Box::new(Clocked::new())).unwrap();
//! engine.start_cpu(0, Box::new(|cx| {
//!     cx.store_real_u64(Ra::new(0x1000), 42, "example: store")?;
//!     cx.retire(10)?;
//!     Ok(ContextEnd::Halt)
//! }));
//! let end = engine.run().unwrap();
//! assert_eq!(end.cpus.len(), 1);
//! assert!(end.cpus[0].clock.get() > 0);
//! ```

mod board;
mod cost;
mod cpu;
mod ctx;
mod engine;
mod exception;
pub mod explore;
mod guest;
mod handover;
mod interp;
pub mod latency;
mod machine;
mod pairs;
mod probe;
mod schedule;
mod scheduler;
mod script;
mod sync;
mod timing;

pub use cost::{Category, CycleStack, Cycles, Job, Path, PathStacks};
pub use cpu::{CpuId, CpuReport, HardwareCounters, OffSpan};
pub use ctx::{Ctx, Frame};
pub use engine::{Debugger, Engine, EngineError, Go, RunEnd, Stop};
pub use exception::{Exception, Interrupt, Run, Step, Vectors};
pub use guest::{ContextEnd, ContextId, GuestCode};
pub use interp::{
    Console, Interpreter, MSR_DR, MSR_EE, MSR_HV, MSR_IR, MSR_LE, MSR_ME, MSR_PR, MSR_RI, MSR_SF,
    Registers, Tracer, disassemble,
};
pub use machine::{Machine, MachineConfig};
pub use probe::{Event, Interest, Observer};
pub use schedule::{Schedule, ScheduleError};
pub use scheduler::{Choice, Clocked, Options, Random, Recorder, Replay, Scheduler};
pub use script::Beside;
pub use timing::{CostTable, Figure, Key, Lump, MachineProfile, ProfileError, Unit};
