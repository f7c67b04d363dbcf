//! Guest code as a script: a verb, and for each answer the verb that follows.
//!
//! Guest code does nothing but ask for verbs, and what it asks next depends on nothing but the answers so far
//! (the contract of [`crate::explore::Fresh`]). So what is once known of it can be done again without it: a
//! machine that is run over and over follows the script, and calls the guest code only for an answer that it
//! never had at that place. And how far a context has come is one number, which can be put back; a coroutine
//! cannot.
//!
//! Interrupt handlers are scripts of their own: they leave nothing behind in the code that they interrupt but
//! what lies in guest memory, so what is known of that code holds with and without them.
//!
//! Owns the verbs as values ([`Verb`]), what is done for each (`perform`), the tree of what followed
//! (`course`), and who is in the midst of what (`context`). Refuses to be fast the first time.

mod body;
mod chain;
mod context;
mod course;
mod perform;
mod quick;

pub(crate) use context::{Library, Place, Script};
pub(crate) use perform::Watching;

use crate::cost::Cycles;
use crate::cpu::CpuId;
use crate::exception::{Run, Step};
use crate::guest::{ContextEnd, ContextId};
use crate::machine::Machine;
use corosensei::Yielder;
use emu_mmu::{Barrier, Ea, Ra, SegmentSize, TlbInvalidate};
use std::sync::Arc;

/// Where an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// An effective address, as the kernel.
    Kernel(Ea),
    /// An effective address, as a program.
    User(Ea),
    /// A real address.
    Real(Ra),
}

/// How much of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// A byte.
    Byte,
    /// A halfword.
    Half,
    /// A word.
    Word,
    /// A doubleword.
    Double,
}

/// What stands at the place where something is done that is no step ([`crate::Ctx::beside`]).
#[derive(Clone, Copy, Debug)]
pub struct Beside<'m> {
    /// The machine.
    pub machine: &'m Machine,
    /// The CPU.
    pub cpu: CpuId,
    /// Its clock.
    pub now: Cycles,
    /// The number that guest code gave the context.
    pub local: u64,
}

/// Something that is done beside the steps.
pub(crate) type Effect = Arc<dyn Fn(Beside<'_>) -> u64 + Send + Sync>;

/// What guest code asks for.
#[derive(Clone)]
pub(crate) enum Verb {
    Load(At, Size, Step),
    Store(At, Size, u64, Step),
    ZeroLine(Ea, Step),
    LoadReserve(At, Step),
    StoreConditional(At, u64, Step),
    ReadCpuId(Step),
    Timebase,
    Retire(u64),
    SetInterrupts(bool),
    SetDecrementer(Cycles),
    SendIpi(CpuId),
    WaitForInterrupt,
    EnterHypervisor,
    SwitchTo(ContextId),
    Invalidate(Box<TlbInvalidate>, Step),
    Barrier(Barrier, Step),
    Spin(Step),
    Slbmte(u64, u64),
    Slbie(Ea, bool, SegmentSize),
    Slbia(u8),
    /// From here on no steps: nothing comes before them.
    LeaveHypervisor(bool),
    SetLocal(u64),
    CpuId,
    InterruptsEnabled,
    SlbEntries,
    Beside(Effect),
}

/// Where in a verb the machine stands: an interrupt or a fault leaves it, and it is gone on with from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// It has not begun.
    Begin,
    /// The engine or an interrupt may want the CPU, and then it goes on.
    Attend(Then),
    /// An interrupt has landed and was handled: it begins anew.
    Landed(Then),
    /// So many storage interrupts of this access were handled.
    Handled(u32),
    /// They may have been too many in a row.
    Faulted(u32),
    /// The verb itself, after so many storage interrupts.
    Body(u32),
    /// A barrier that waited for invalidations has waited.
    Completed,
    /// It is done but for its answer.
    Done(u64),
}

/// What comes after attending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    Body(u32),
    Faulted(u32),
    Done(u64),
}

/// The answer to a verb: its value, or what the guest code ends with.
pub(crate) type Answer = Run<u64>;

/// By which guest code asks.
pub(crate) type ScriptYielder = Yielder<Answer, Verb>;

/// How guest code ends.
pub(crate) type Ending = Run<ContextEnd>;

impl Verb {
    /// It is a step: an interrupt may land before it, or another CPU go on.
    fn is_step(&self) -> bool {
        !matches!(
            self,
            Verb::LeaveHypervisor(_)
                | Verb::SetLocal(_)
                | Verb::CpuId
                | Verb::InterruptsEnabled
                | Verb::SlbEntries
                | Verb::Beside(_)
        )
    }
}
