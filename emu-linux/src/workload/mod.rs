//! What is run: built-in scenarios and replayed captures.
//!
//! Owns the list of scenarios. Each workload is guest code: tasks that call the modelled kernel.

mod replay;
mod swap;
mod test_vmalloc;
mod user_random;
mod vmalloc_pairs;
mod vmalloc_random;

pub(crate) use replay::Replayer;

use crate::config::{RunConfig, RunError};
use crate::kernel::Linux;
use emu_core::{Ctx, Run};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A built-in scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ScenarioInfo {
    /// Name, as typed.
    pub name: &'static str,
    /// What it runs.
    pub about: &'static str,
}

/// Progress that guest code reports and the caller of the run reads.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    done: AtomicU64,
}

impl Meter {
    pub(crate) fn step(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// Starts a scenario's first tasks; runs in CPU 0's boot context.
pub(crate) type Start =
    fn(linux: &Arc<Linux>, cx: &mut Ctx<'_>, config: &RunConfig, meter: &Arc<Meter>) -> Run<()>;

pub(crate) struct Scenario {
    pub info: ScenarioInfo,
    pub start: Start,
    /// Operations that it counts on its meter.
    pub operations: fn(&RunConfig) -> u64,
    /// Most pages that `--touch` may name; `None` if the scenario has no use for it.
    pub touch_max: Option<u64>,
    /// True if `--operations` means something to it.
    pub repeats: bool,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        info: ScenarioInfo {
            name: "swapon-swapoff",
            about: "swapon and swapoff of 1572860 KiB, as in the report of March 2011: a swap map of \
                    96 vmalloc pages is mapped, touched, and unmapped again.",
        },
        start: swap::start,
        operations: |_| 2,
        touch_max: Some(swap::SWAP_MAP_PAGES),
        repeats: false,
    },
    Scenario {
        info: ScenarioInfo {
            name: "vmalloc-pairs",
            about: "One task: vmalloc of 8 pages, a store to each, vfree, over and over \
                    (--operations pairs, default 10000).",
        },
        start: vmalloc_pairs::start,
        operations: vmalloc_pairs::operations,
        touch_max: Some(vmalloc_pairs::PAGES),
        repeats: true,
    },
    Scenario {
        info: ScenarioInfo {
            name: "vmalloc-random",
            about: "Six tasks: vmalloc of 1 to 300 pages, stores to some of them, vfree, at random \
                    (--operations in all, default 3000). With --schedule random they are preempted \
                    and moved at any step.",
        },
        start: vmalloc_random::start,
        operations: vmalloc_random::operations,
        touch_max: None,
        repeats: true,
    },
    Scenario {
        info: ScenarioInfo {
            name: "user-random",
            about: "Two processes of two threads that store, load, unmap, move, swap out and fork at \
                    random and check what they read, beside two tasks that use vmalloc \
                    (--operations in all, default 4000). Best with --schedule random.",
        },
        start: user_random::start,
        operations: user_random::operations,
        touch_max: None,
        repeats: true,
    },
    Scenario {
        info: ScenarioInfo {
            name: "user-mprotect",
            about: "The same with mprotect, which clears and sets PTEs in one lazy section.",
        },
        start: user_random::start_mprotect,
        operations: user_random::operations,
        touch_max: None,
        repeats: true,
    },
    Scenario {
        info: ScenarioInfo {
            name: "test_vmalloc",
            about: "The ten cases of the kernel's test module for vmalloc (lib/test_vmalloc.c of 6.1), one \
                    worker for each CPU (--operations loops of each case, default 500). The kernel log \
                    has the module's summary.",
        },
        start: test_vmalloc::start,
        operations: test_vmalloc::operations,
        touch_max: None,
        repeats: true,
    },
];

/// All built-in scenarios.
pub fn scenarios() -> Vec<ScenarioInfo> {
    SCENARIOS.iter().map(|scenario| scenario.info).collect()
}

impl Scenario {
    /// Refuses options that would do nothing or cannot be met.
    pub(crate) fn check(&self, config: &RunConfig) -> Result<(), RunError> {
        let name = self.info.name;
        let refuse = |what, value: u64, right| {
            Err(RunError::Value {
                what,
                value: value.to_string(),
                right,
            })
        };
        match (config.touch, self.touch_max) {
            (Some(pages), None) => {
                return refuse("--touch", pages, format!("`{name}` has no use for it"));
            }
            (Some(pages), Some(most)) if pages > most => {
                return refuse(
                    "--touch",
                    pages,
                    format!("`{name}` has 0 to {most} pages to touch"),
                );
            }
            _ => {}
        }
        match config.operations {
            Some(n) if !self.repeats => {
                refuse("--operations", n, format!("`{name}` has no use for it"))
            }
            _ => Ok(()),
        }
    }
}

pub(crate) fn scenario(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.info.name == name)
}
