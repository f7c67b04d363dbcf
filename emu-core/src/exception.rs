//! What a verb can end with besides its value, and the vectors that guest code supplies.
//!
//! Owns the error type of verbs and the vector interface. Refuses kernel errors such as -ENOMEM: those
//! are values of the guest code.

use crate::{Ctx, OffSpan};
use emu_mmu::{Fault, MemoryError};

/// Label of the kernel or hardware step that a verb performs, such as `"native_hpte_insert: store R"`.
pub type Step = &'static str;

/// Result of a verb.
pub type Run<T> = Result<T, Exception>;

/// Why a verb did not complete. Guest code hands it up with `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exception {
    /// The engine is ending the run; guest code unwinds without doing more.
    #[error("the run was stopped")]
    Stop,
    /// A storage interrupt that the guest's vector could not resolve (a kernel oops).
    #[error("unresolved {0}")]
    Fault(Fault),
    /// A real address outside guest memory, or misaligned.
    #[error("machine check: {0}")]
    Memory(#[from] MemoryError),
    /// Guest code found its own state impossible, such as a wild list pointer.
    #[error("guest state is corrupt: {0}")]
    Corrupt(&'static str),
}

/// An asynchronous interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interrupt {
    /// The decrementer passed zero (vector 0x900).
    Decrementer,
    /// Another CPU sent an inter-processor interrupt (external, vector 0x500).
    Ipi,
}

/// The guest's interrupt vectors. Handlers run on the stack of the interrupted code, on its CPU, with
/// external interrupts disabled, and may switch to another context before they return.
pub trait Vectors: Send + Sync {
    /// A storage interrupt (0x300, 0x380, 0x400, 0x480). `Ok` means: retry the access.
    ///
    /// # Errors
    /// Whatever ends the interrupted code: an unresolvable fault, or the end of the run.
    fn storage(&self, cx: &mut Ctx<'_>, fault: Fault) -> Run<()>;

    /// An asynchronous interrupt.
    ///
    /// # Errors
    /// The end of the run.
    fn interrupt(&self, cx: &mut Ctx<'_>, interrupt: Interrupt) -> Run<()>;

    /// The longest span so far with external interrupts disabled ends here. Looks only: a verb made here
    /// would be no step of the guest.
    fn longest_irqs_off(&self, cx: &Ctx<'_>, span: OffSpan) {
        let _ = (cx, span);
    }
}
