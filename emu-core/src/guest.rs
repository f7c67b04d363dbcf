//! What runs on a CPU: host-written guest code on a coroutine, by the wrapper of corosensei and its pool of
//! stacks, or instructions.
//!
//! Owns what a guest context is to the engine. A context is resumed with the CPU it runs on and gives it
//! back when it stops, so guest code cannot keep a CPU across a stop.

use crate::cpu::Cpu;
use crate::ctx::Ctx;
use crate::exception::{Exception, Run};
use crate::interp::Interpreter;
use crate::machine::Machine;
use crate::script::Script;
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
///
/// Under [`Engine::run_threads`](crate::Engine::run_threads) each verb may return on another host thread.
/// Guest code therefore keeps nothing across a verb that belongs to a host thread: no guard of a host
/// lock, no reference into a thread-local, no `Rc` shared with anything outside.
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
    /// It waits for another CPU; in an exploration only.
    Spin,
    /// It waits until the other CPUs have done the invalidations it sent; in host threads only.
    Completion,
}

pub(crate) type Resumed = Box<Cpu>;
pub(crate) type GuestYielder = Yielder<Resumed, (Resumed, Pause)>;
type Ended = (Resumed, Result<ContextEnd, Exception>);

/// What a context that has not begun is made of.
pub(crate) enum Newborn {
    /// Host-written guest code, for a coroutine.
    Host(GuestCode),
    /// Instructions in guest memory.
    Instructions(Box<Interpreter>),
}

/// What runs on a CPU: it is resumed with the CPU and gives it back.
pub(crate) enum Context {
    /// Host-written guest code on a coroutine.
    Host(Coroutine<Resumed, (Resumed, Pause), Ended, DefaultStack>),
    /// Instructions in guest memory.
    Instructions(Arc<Machine>, Box<Interpreter>),
    /// Host-written guest code, called only for what is not known of it.
    Script(Box<Script>),
}

// SAFETY: needed because a guest context goes on where its task does, on any CPU and so on any host
// thread, and corosensei cannot know what lies on the stack. A context is moved whole, through a lock,
// and resumed by one thread at a time (`Handover`), so what only its own stack refers to is never
// touched by two threads. What comes in or goes out is `Send` by its type: `GuestCode`, `Machine`
// behind its `Arc`, the CPU and the end (the assertions below). What is left is guest code that keeps,
// across a verb, something tied to the host thread it began on: a lock's guard, a reference into a
// thread-local, an `Rc` with a twin elsewhere. Types cannot forbid that; it is the contract of
// `GuestCode`, which the kernel model keeps: it locks host state (reports, checkers) in blocks without a
// verb, and the lints of this workspace refuse `Rc` and thread-locals.
unsafe impl Send for Context {}

const _: () = {
    const fn crosses_threads<T: Send>() {}
    crosses_threads::<Resumed>();
    crosses_threads::<GuestCode>();
    crosses_threads::<Arc<Machine>>();
    crosses_threads::<Box<Interpreter>>();
    crosses_threads::<(Pause, Ended)>();
};

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
        Context::Host(coroutine)
    }

    /// Makes one of what it is to run.
    pub fn born(
        machine: Arc<Machine>,
        newborn: Newborn,
        stacks: &mut StackPool,
    ) -> std::io::Result<Self> {
        Ok(match newborn {
            Newborn::Host(code) => Context::new(machine, code, stacks.take()?),
            Newborn::Instructions(interpreter) => Context::Instructions(machine, interpreter),
        })
    }

    pub fn resume(&mut self, mut cpu: Resumed) -> (Resumed, Outcome) {
        match self {
            Context::Host(coroutine) => match coroutine.resume(cpu) {
                CoroutineResult::Yield((cpu, pause)) => (cpu, Outcome::Paused(pause)),
                CoroutineResult::Return((cpu, end)) => (cpu, Outcome::Ended(end)),
            },
            Context::Instructions(machine, interpreter) => {
                let outcome = interpreter.resume(machine, &mut cpu);
                (cpu, outcome)
            }
            Context::Script(script) => script.resume(cpu, None),
        }
    }

    /// What is left of one that has ended: a coroutine gives its stack back, a CPU's registers stay to be
    /// read.
    pub fn ended(self, stacks: &mut StackPool) -> Option<Self> {
        match self {
            Context::Host(coroutine) => {
                stacks.put(coroutine.into_stack());
                None
            }
            Context::Instructions(..) | Context::Script(_) => Some(self),
        }
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
