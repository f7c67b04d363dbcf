//! The rule that CPUs without lockless `tlbie` (PowerPC 970, POWER4) put on software: one CPU in the
//! system at a time between its first `tlbie` and the `ptesync` that completes it (Linux 2.6.38
//! arch/powerpc/include/asm/cputable.h, `CPU_FTR_LOCKLESS_TLBIE`).

use thiserror::Error;

/// Two CPUs in a `tlbie` sequence at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("CPU {second} issued tlbie while the sequence of CPU {first} was not complete")]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SequenceOverlap {
    /// The CPU whose sequence was open.
    pub first: u16,
    /// The CPU that issued `tlbie`.
    pub second: u16,
}

/// Follows the sequences of all CPUs.
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceChecker {
    open: Option<u16>,
}

impl SequenceChecker {
    /// A CPU issues a global `tlbie`.
    ///
    /// # Errors
    /// [`SequenceOverlap`] if another one has not completed its own.
    pub fn tlbie(&mut self, cpu: u16) -> Result<(), SequenceOverlap> {
        match self.open {
            Some(first) if first != cpu => Err(SequenceOverlap { first, second: cpu }),
            _ => {
                self.open = Some(cpu);
                Ok(())
            }
        }
    }

    /// A CPU's `ptesync` completes what it issued.
    pub fn ptesync(&mut self, cpu: u16) {
        if self.open == Some(cpu) {
            self.open = None;
        }
    }
}
