//! A program under gdb, by its remote protocol.
//!
//! Owns the connection and what gdb's wishes are to the library's debugger: a CPU is a thread. Refuses the
//! protocol itself, which is the crate `gdbstub`'s, and a second client.

mod registers;

use super::Guest;
use anyhow::{Context, Result, anyhow, bail};
use emu_core::{CpuId, Debugger, EngineError, Go, RunEnd, Stop};
use gdbstub::common::{Signal, Tid};
use gdbstub::conn::ConnectionExt;
use gdbstub::stub::run_blocking::{BlockingEventLoop, Event, WaitForStopReasonError};
use gdbstub::stub::{DisconnectReason, GdbStub, MultiThreadStopReason};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, SwBreakpoint, SwBreakpointOps,
};
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{Target, TargetError, TargetResult};
use registers::{Bytes, PowerPc64};
use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, TcpStream};

/// Budgets between two looks at the connection.
const LOOK_EVERY: u32 = 16;

/// Listens for gdb at `ADDR:PORT`, or at `:PORT` of this host alone, and says where on standard error.
///
/// # Errors
/// An address that there is not, a port that is taken.
pub fn listen(address: &str) -> Result<TcpListener> {
    let full = match address.starts_with(':') {
        true => format!("127.0.0.1{address}"),
        false => address.to_owned(),
    };
    let listener = TcpListener::bind(&full);
    let listener = listener.with_context(|| format!("cannot listen for gdb at `{address}`"))?;
    let at = listener.local_addr()?;
    eprintln!("stopped before the first instruction; in gdb: target remote {at}");
    Ok(listener)
}

/// How a session ended.
pub enum Session {
    /// The run has ended under it.
    Ended(RunEnd),
    /// gdb let go: the program runs on.
    Detached,
    /// gdb ended the run.
    Killed,
}

/// Serves one gdb.
///
/// # Errors
/// A connection that broke, and the error that a killed run had come to.
pub fn serve(guest: &mut Guest, listener: &TcpListener) -> Result<Session> {
    let (connection, _) = listener.accept().context("no gdb")?;
    let mut target = Cpus {
        debugger: guest.engine.debugger()?,
        little_endian: guest.little_endian,
        wishes: BTreeMap::new(),
        others: Go::On,
        looks: 0,
        end: None,
        error: None,
    };
    let stub = GdbStub::new(connection);
    let reason = stub.run_blocking::<Loop>(&mut target);
    match reason.map_err(|error| anyhow!("the connection to gdb broke: {error}"))? {
        DisconnectReason::Disconnect => Ok(Session::Detached),
        DisconnectReason::Kill => match target.error {
            Some(error) => Err(error.into()),
            None => Ok(Session::Killed),
        },
        DisconnectReason::TargetExited(_) | DisconnectReason::TargetTerminated(_) => {
            match target.end {
                Some(end) => Ok(Session::Ended(end)),
                None => bail!("the session with gdb ended, and the run has not"),
            }
        }
    }
}

/// The machine as gdb's target.
struct Cpus<'e> {
    debugger: Debugger<'e>,
    little_endian: bool,
    /// How CPUs are to go on, as far as gdb has said, and all others.
    wishes: BTreeMap<u16, Go>,
    others: Go,
    looks: u32,
    end: Option<RunEnd>,
    /// What the run came to when it could not go on.
    error: Option<EngineError>,
}

fn tid(cpu: CpuId) -> Tid {
    Tid::MIN.saturating_add(cpu.index())
}

fn cpu(tid: Tid) -> CpuId {
    CpuId((tid.get() - 1) as u16)
}

fn on(cpu: CpuId, signal: Signal) -> MultiThreadStopReason<u64> {
    let tid = tid(cpu);
    MultiThreadStopReason::SignalWithThread { tid, signal }
}

impl Cpus<'_> {
    /// Runs until something is to be told; `None` if the connection has something to say.
    fn go(&mut self, connection: &mut TcpStream) -> io::Result<Option<MultiThreadStopReason<u64>>> {
        let (wishes, others, looks) = (&self.wishes, self.others, &mut self.looks);
        let mut heard = Ok(None);
        let mut poll = || {
            *looks = looks.wrapping_add(1);
            if *looks % LOOK_EVERY == 0 {
                heard = connection.peek();
            }
            !matches!(heard, Ok(None))
        };
        let go = |cpu: CpuId| wishes.get(&cpu.0).copied().unwrap_or(others);
        let stop = self.debugger.run(go, &mut poll);
        let asked = heard?.is_some();
        Ok(Some(match stop {
            Ok(Stop::Asked) if asked => return Ok(None),
            Ok(Stop::Asked) => MultiThreadStopReason::Signal(Signal::SIGINT),
            Ok(Stop::Breakpoint(cpu)) => MultiThreadStopReason::SwBreak(tid(cpu)),
            Ok(Stop::Step(cpu)) => on(cpu, Signal::SIGTRAP),
            Ok(Stop::Ended(end)) => {
                let stopped = end.stopped;
                self.end = Some(end);
                match stopped {
                    true => MultiThreadStopReason::Terminated(Signal::SIGXCPU),
                    false => MultiThreadStopReason::Exited(self.exit()),
                }
            }
            Err(error) => {
                let at = match &error {
                    EngineError::Guest { cpu, .. } => *cpu,
                    _ => CpuId(0),
                };
                self.error = Some(error);
                on(at, Signal::SIGABRT)
            }
        }))
    }

    /// The low byte of what the guest halted with.
    fn exit(&self) -> u8 {
        let mut exits = (self.debugger.cpus().into_iter()).filter_map(|c| self.debugger.exit(c));
        exits.next().unwrap_or_default() as u8
    }
}

struct Loop<'e>(std::marker::PhantomData<&'e ()>);

impl<'e> BlockingEventLoop for Loop<'e> {
    type Target = Cpus<'e>;
    type Connection = TcpStream;
    type StopReason = MultiThreadStopReason<u64>;

    fn wait_for_stop_reason(
        target: &mut Cpus<'e>,
        connection: &mut TcpStream,
    ) -> Result<Event<Self::StopReason>, WaitForStopReasonError<&'static str, io::Error>> {
        let told = target.go(connection);
        match told.map_err(WaitForStopReasonError::Connection)? {
            Some(reason) => Ok(Event::TargetStopped(reason)),
            None => connection
                .read()
                .map(Event::IncomingData)
                .map_err(WaitForStopReasonError::Connection),
        }
    }

    fn on_interrupt(_: &mut Cpus<'e>) -> Result<Option<Self::StopReason>, &'static str> {
        Ok(Some(MultiThreadStopReason::Signal(Signal::SIGINT)))
    }
}

impl Target for Cpus<'_> {
    type Arch = PowerPc64;
    type Error = &'static str;

    fn base_ops(&mut self) -> BaseOps<'_, PowerPc64, &'static str> {
        BaseOps::MultiThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadBase for Cpus<'_> {
    fn read_registers(&mut self, bytes: &mut Bytes, tid: Tid) -> TargetResult<(), Self> {
        let registers = self.debugger.registers(cpu(tid));
        bytes.take(registers.ok_or(TargetError::NonFatal)?, self.little_endian);
        Ok(())
    }

    fn write_registers(&mut self, bytes: &Bytes, tid: Tid) -> TargetResult<(), Self> {
        let registers = self.debugger.registers_mut(cpu(tid));
        let given = registers.is_some_and(|r| bytes.give(r, self.little_endian));
        given.then_some(()).ok_or(TargetError::NonFatal)
    }

    fn read_addrs(&mut self, ea: u64, data: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        match self.debugger.read(cpu(tid), ea, data) {
            0 if !data.is_empty() => Err(TargetError::NonFatal),
            bytes => Ok(bytes),
        }
    }

    fn write_addrs(&mut self, ea: u64, data: &[u8], tid: Tid) -> TargetResult<(), Self> {
        let written = self.debugger.write(cpu(tid), ea, data);
        written.then_some(()).ok_or(TargetError::NonFatal)
    }

    fn list_active_threads(&mut self, is_active: &mut dyn FnMut(Tid)) -> Result<(), &'static str> {
        self.debugger
            .cpus()
            .into_iter()
            .map(tid)
            .for_each(is_active);
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl ThreadExtraInfo for Cpus<'_> {
    fn thread_extra_info(&self, tid: Tid, text: &mut [u8]) -> Result<usize, &'static str> {
        let (clock, waits) = self.debugger.clock(cpu(tid)).unwrap_or_default();
        let waits = if waits {
            ", waits for an interrupt"
        } else {
            ""
        };
        let told = format!("CPU {} at {clock} cycles{waits}", cpu(tid));
        let bytes = told.len().min(text.len());
        text[..bytes].copy_from_slice(&told.as_bytes()[..bytes]);
        Ok(bytes)
    }
}

impl MultiThreadResume for Cpus<'_> {
    fn resume(&mut self) -> Result<(), &'static str> {
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), &'static str> {
        self.wishes.clear();
        self.others = Go::On;
        Ok(())
    }

    /// A signal is nothing to a CPU.
    fn set_resume_action_continue(
        &mut self,
        tid: Tid,
        _: Option<Signal>,
    ) -> Result<(), &'static str> {
        self.wishes.insert(cpu(tid).0, Go::On);
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSingleStep for Cpus<'_> {
    fn set_resume_action_step(&mut self, tid: Tid, _: Option<Signal>) -> Result<(), &'static str> {
        self.wishes.insert(cpu(tid).0, Go::Step);
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for Cpus<'_> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), &'static str> {
        self.others = Go::Held;
        Ok(())
    }
}

impl Breakpoints for Cpus<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Cpus<'_> {
    fn add_sw_breakpoint(&mut self, ea: u64, _: usize) -> TargetResult<bool, Self> {
        self.debugger.insert_breakpoint(ea);
        Ok(true)
    }

    fn remove_sw_breakpoint(&mut self, ea: u64, _: usize) -> TargetResult<bool, Self> {
        self.debugger.remove_breakpoint(ea);
        Ok(true)
    }
}
