//! Whether steps take the time that the machine takes for them.
//!
//! Owns the choice. Refuses figures: those of a machine are `emu-core`'s cost table.

use emu_core::CostTable;

/// What a step costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// One cycle for each step that can be interrupted, none for straight-line instructions: order
    /// without time. Cycles of a report are then steps, and a microsecond is 1000 of them.
    Functional,
    /// What the machine's cost table says.
    #[default]
    Cycle,
}

impl Timing {
    /// Both.
    pub const ALL: [Timing; 2] = [Timing::Functional, Timing::Cycle];

    /// The name as typed and reported.
    pub const fn name(self) -> &'static str {
        match self {
            Timing::Functional => "functional",
            Timing::Cycle => "cycle",
        }
    }

    /// The costs that a machine with this table runs by.
    pub(crate) fn costs(self, machine: CostTable) -> CostTable {
        match self {
            Timing::Functional => machine.into_functional(),
            Timing::Cycle => machine,
        }
    }
}
