//! Host-written guest code on coroutines: the wrapper of corosensei and its pool of stacks.
//!
//! Owns what a guest context is to the engine. A context is resumed with the CPU it runs on and gives it
//! back when it stops, so guest code cannot keep a CPU across a stop.

use crate::cpu::Cpu;
use crate::ctx::Ctx;
use crate::exception::{Exception, Run};
use crate::machine::Machine;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::sync::Arc;

/// Bytes of host stack of one guest context; pages are touched only as used.
const STACK_BYTES: usize = 512 * 1024;

/// Number of a guest context. Numbers of ended contexts are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContextId(u32);

impl ContextId {
    /// No context.
    pub const NONE: ContextId = ContextId(u32::MAX);

    /// The number as guest code may store it in guest memory.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// A context number read back from guest memory. Switching to one that does not exist ends the run
    /// with an error.
    pub const fn from_index(index: u32) -> Self {
        ContextId(index)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How a guest context ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextEnd {
    /// The CPU goes on with another context.
    SwitchTo(ContextId),
    /// The machine is switched off: the run is over.
    Halt,
}

/// Guest code: a function over a [`Ctx`].
pub type GuestCode = Box<dyn FnOnce(&mut Ctx<'_>) -> Run<ContextEnd> + Send>;

/// Why a context gave its CPU back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Its budget ran out.
    Budget,
    /// It waits for an interrupt.
    Wait,
    /// It switched to another context (already named in the CPU).
    Switch,
}

pub(crate) type Resumed = Box<Cpu>;
pub(crate) type GuestYielder = Yielder<Resumed, (Resumed, Pause)>;
type Ended = (Resumed, Result<ContextEnd, Exception>);

/// One coroutine.
pub(crate) struct Context {
    coroutine: Coroutine<Resumed, (Resumed, Pause), Ended, DefaultStack>,
}

pub(crate) enum Outcome {
    Paused(Pause),
    Ended(Result<ContextEnd, Exception>),
}

impl Context {
    pub fn new(machine: Arc<Machine>, code: GuestCode, stack: DefaultStack) -> Self {
        let coroutine =
            Coroutine::with_stack(stack, move |yielder: &GuestYielder, cpu: Resumed| {
                let mut cx = Ctx::new(machine, cpu, yielder);
                let end = code(&mut cx);
                (cx.into_cpu(), end)
            });
        Context { coroutine }
    }

    pub fn resume(&mut self, cpu: Resumed) -> (Resumed, Outcome) {
        match self.coroutine.resume(cpu) {
            CoroutineResult::Yield((cpu, pause)) => (cpu, Outcome::Paused(pause)),
            CoroutineResult::Return((cpu, end)) => (cpu, Outcome::Ended(end)),
        }
    }

    pub fn into_stack(self) -> DefaultStack {
        self.coroutine.into_stack()
    }
}

/// Stacks of ended contexts, kept because a fresh one costs hundreds of times more than a used one.
#[derive(Default)]
pub(crate) struct StackPool(Vec<DefaultStack>);

impl StackPool {
    pub fn take(&mut self) -> std::io::Result<DefaultStack> {
        match self.0.pop() {
            Some(stack) => Ok(stack),
            None => DefaultStack::new(STACK_BYTES),
        }
    }

    pub fn put(&mut self, stack: DefaultStack) {
        if self.0.len() < 64 {
            self.0.push(stack);
        }
    }
}
