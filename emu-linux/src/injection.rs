//! Failures on demand: which allocation or mapping is made to fail, and whether it came to that.
//!
//! Owns the count of allocations and of pages that are mapped, and the check that code which may sleep may
//! do so. Refuses an injection that did nothing: the run then tells what would have done something.

use crate::config::{KernelVersion, Preempt, RunError};
use crate::kernel::Linux;
use crate::layout::pa;
use crate::memmap::{field, pcpu, percpu, task};
use crate::reports::AtomicContext;
use emu_core::{Choice, Ctx, Options, Run};
use emu_mmu::Ea;
use serde::Serialize;
use std::fmt;

/// What is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AllocKind {
    /// A page frame.
    Page,
    /// A page table.
    PageTable,
    /// An area of kernel addresses.
    VmapArea,
    /// An area's array of pages.
    PageArray,
    /// A block of vm_map_ram.
    VmapBlock,
    /// An address space.
    MmStruct,
    /// A task's stack, with the task in it.
    Task,
}

impl fmt::Display for AllocKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AllocKind::Page => "page",
            AllocKind::PageTable => "page table",
            AllocKind::VmapArea => "vmap_area",
            AllocKind::PageArray => "page array",
            AllocKind::VmapBlock => "vmap_block",
            AllocKind::MmStruct => "mm_struct",
            AllocKind::Task => "task",
        })
    }
}

/// The allocation that was made to fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedAllocation {
    /// What was asked for.
    pub kind: AllocKind,
    /// The function that asked, as far as the model names it.
    pub function: String,
    /// Name of the task.
    pub comm: String,
    /// Its process id.
    pub pid: u32,
}

impl Linux {
    /// Counts a page to be mapped; true if this is the one that `--fail-map` takes away.
    pub(crate) fn mapping_fails(&self, cx: &Ctx<'_>) -> bool {
        let nth = cx.beside(&self.kept, |kept, _| kept.count_mapping());
        self.fail_map == Some(nth)
    }

    /// Counts an allocation with GFP_KERNEL; true if it is to fail. What the idle task allocates to start
    /// the work is not counted: without it there would be none.
    pub(crate) fn allocation_fails(&self, cx: &mut Ctx<'_>, kind: AllocKind) -> Run<bool> {
        let idle = field(percpu(cx.cpu_id().0), pcpu::IDLE_TASK).get() == cx.local();
        let mut fails = false;
        if !idle {
            self.might_sleep(cx)?;
            let nth = cx.beside(&self.kept, |kept, _| kept.count_allocation());
            fails = self.fail_alloc == Some(nth);
        }
        if kind == AllocKind::PageTable {
            let options = Options {
                count: 2,
                clocked: u64::from(fails),
            };
            fails = cx.choose(Choice::AllocationFailure, options) == 1;
        }
        if fails {
            let (comm, pid) = self.comm_and_pid(cx);
            *self.failed.lock() = Some(FailedAllocation {
                kind,
                function: innermost(cx).to_owned(),
                comm,
                pid,
            });
        }
        Ok(fails)
    }

    /// might_sleep() of CONFIG_DEBUG_ATOMIC_SLEEP (CONFIG_DEBUG_SPINLOCK_SLEEP in 2.6.38): a report if the
    /// caller holds a lock, has preemption or interrupts off; one a second. Takes no time unless it reports:
    /// the kernels that were measured were built without it. Nothing where preempt_count does not count.
    pub(crate) fn might_sleep(&self, cx: &mut Ctx<'_>) -> Run<()> {
        let at = pa(field(Ea::new(cx.local()), task::PREEMPT_COUNT));
        let count = cx.peek_u64(at) as u32;
        let atomic = count != 0 || !cx.interrupts_enabled();
        if !atomic || self.preempt == Preempt::None {
            return Ok(());
        }
        let context = AtomicContext {
            preempt_count: count,
            irqs_off: !cx.interrupts_enabled(),
        };
        let place = match self.layout.version {
            // The line is not known.
            KernelVersion::V2_6_38 => "mm/page_alloc.c:????",
            KernelVersion::V6_1 => "include/linux/sched/mm.h:274",
        };
        self.report_sleeping_lock(cx, place, context)
    }

    /// An allocation or a mapping that was to fail but never came is an option that did nothing.
    pub(crate) fn check_injections(&self) -> Result<(), RunError> {
        let asked = [
            (
                "--fail-alloc",
                self.fail_alloc,
                self.kept.allocations(),
                "makes allocations",
            ),
            (
                "--fail-map",
                self.fail_map,
                self.kept.pages_mapped(),
                "maps pages",
            ),
        ];
        for (what, nth, done, does) in asked {
            if let Some(nth) = nth.filter(|&nth| nth == 0 || nth > done) {
                return Err(RunError::Value {
                    what,
                    value: nth.to_string(),
                    right: format!("the run {does} 1 to {done}"),
                });
            }
        }
        Ok(())
    }
}

/// The innermost function that the model names; the task's own code if none.
pub(crate) fn innermost(cx: &Ctx<'_>) -> &'static str {
    cx.frames()
        .last()
        .map_or("the task", |frame| frame.function)
}
