//! What is run: the workloads that scenarios name, and replayed captures.
//!
//! Owns the list of workloads. Each is guest code: tasks that call the modelled kernel. What it is run with
//! is a scenario's (`scenario`).

mod areas;
mod kernel_mappings;
mod live_mappings;
mod replay;
mod swap;
mod test_vmalloc;
mod user_random;
mod user_unmap;
mod vmalloc_pairs;
mod vmalloc_random;

pub(crate) use replay::Replayer;

use crate::config::{Pages, RunConfig, RunError};
use crate::kernel::Linux;
use crate::task::TaskSpec;
use emu_core::{CpuId, Ctx, Run};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Progress that guest code reports and the caller of the run reads.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    done: AtomicU64,
    tidied: AtomicU64,
}

impl Meter {
    pub(crate) fn step(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// A task that has done its operations gave one more thing back.
    pub(crate) fn tidy(&self) {
        self.tidied.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes while a workload gets on, after its last operation too.
    pub(crate) fn life(&self) -> u64 {
        self.done() + self.tidied.load(Ordering::Relaxed)
    }
}

/// A task that does one operation so many times, each a system call of its own.
struct Repeated<S> {
    comm: String,
    cpu: CpuId,
    operations: u64,
    /// What it keeps between two operations.
    state: S,
    one: fn(&Linux, &mut Ctx<'_>, &mut S) -> Run<()>,
    /// What it does before it exits.
    last: fn(&Linux, &mut Ctx<'_>, S, &Meter) -> Run<()>,
}

impl<S: Send + 'static> Repeated<S> {
    fn spawn(self, linux: &Arc<Linux>, cx: &mut Ctx<'_>, meter: &Arc<Meter>) -> Run<()> {
        let task = self.task(linux, meter);
        linux.spawn_task(cx, task).map(|_| ())
    }

    /// The task, still to be made.
    fn task(self, linux: &Linux, meter: &Arc<Meter>) -> TaskSpec {
        let Repeated {
            comm,
            cpu,
            operations,
            mut state,
            one,
            last,
        } = self;
        let meter = meter.clone();
        TaskSpec {
            comm,
            pid: None,
            stack: None,
            cpus_allowed: linux.allowed(cpu),
            cpu,
            mm: None,
            body: Box::new(move |linux, cx| {
                for _ in 0..operations {
                    one(linux, cx, &mut state)?;
                    meter.step();
                    linux.return_to_user(cx)?;
                }
                last(linux, cx, state, &meter)
            }),
        }
    }
}

/// Starts a workload's first tasks; runs in CPU 0's boot context.
pub(crate) type Start =
    fn(linux: &Arc<Linux>, cx: &mut Ctx<'_>, config: &RunConfig, meter: &Arc<Meter>) -> Run<()>;

/// Something to run.
pub(crate) struct Workload {
    /// Name, as a scenario has it.
    pub name: &'static str,
    pub start: Start,
    /// Operations that it counts on its meter.
    pub operations: fn(&RunConfig) -> u64,
    /// Most pages that `touch` may name; `None` if the workload has no use for it.
    pub touch_max: Option<fn(Pages) -> u64>,
    /// True if `operations` means something to it.
    pub repeats: bool,
}

/// All of them. A scenario is made of one by a file in `traces/scenarios/` and its name in `scenario`.
const WORKLOADS: &[Workload] = &[
    Workload {
        name: "swapon-swapoff",
        start: swap::start,
        operations: |_| 2,
        touch_max: Some(swap::swap_map_pages),
        repeats: false,
    },
    Workload {
        name: "vmalloc-pairs",
        start: vmalloc_pairs::start,
        operations: vmalloc_pairs::operations,
        touch_max: Some(|_| vmalloc_pairs::PAGES),
        repeats: true,
    },
    Workload {
        name: "vmalloc-random",
        start: vmalloc_random::start,
        operations: vmalloc_random::operations,
        touch_max: None,
        repeats: true,
    },
    Workload {
        name: "vmalloc-areas",
        start: areas::start,
        operations: areas::operations,
        touch_max: Some(areas::pages_max),
        repeats: true,
    },
    Workload {
        name: "live-mappings",
        start: live_mappings::start,
        operations: live_mappings::operations,
        touch_max: Some(live_mappings::pages_max),
        repeats: true,
    },
    Workload {
        name: "user-random",
        start: user_random::start,
        operations: user_random::operations,
        touch_max: None,
        repeats: true,
    },
    Workload {
        name: "user-mprotect",
        start: user_random::start_mprotect,
        operations: user_random::operations,
        touch_max: None,
        repeats: true,
    },
    Workload {
        name: "user-unmap",
        start: user_unmap::start,
        operations: user_unmap::operations,
        touch_max: Some(user_unmap::pages_max),
        repeats: true,
    },
    Workload {
        name: "test_vmalloc",
        start: test_vmalloc::start,
        operations: test_vmalloc::operations,
        touch_max: None,
        repeats: true,
    },
    Workload {
        name: "vm-map-ram",
        start: kernel_mappings::start_vm_map_ram,
        operations: kernel_mappings::operations,
        touch_max: None,
        repeats: true,
    },
    Workload {
        name: "ioremap",
        start: kernel_mappings::start_ioremap,
        operations: kernel_mappings::operations,
        touch_max: None,
        repeats: true,
    },
    Workload {
        name: "alloc-vm-area",
        start: kernel_mappings::start_alloc_vm_area,
        operations: kernel_mappings::operations,
        touch_max: None,
        repeats: true,
    },
    Workload {
        name: "module-load",
        start: kernel_mappings::start_module_load,
        operations: kernel_mappings::operations,
        touch_max: None,
        repeats: true,
    },
    Workload {
        name: "kasan-populate",
        start: kernel_mappings::start_kasan_populate,
        operations: kernel_mappings::operations,
        touch_max: None,
        repeats: true,
    },
];

impl Workload {
    /// Refuses options that would do nothing or cannot be met.
    pub(crate) fn check(&self, config: &RunConfig) -> Result<(), RunError> {
        let pages = config.pages.unwrap_or_default();
        let given = [
            (
                "--touch",
                config.touch,
                self.accepts_touch(config.touch, pages),
            ),
            (
                "--operations",
                config.operations,
                self.accepts_operations(config.operations),
            ),
        ];
        for (what, value, accepted) in given {
            if let (Some(value), Err(right)) = (value, accepted) {
                return Err(RunError::Value {
                    what,
                    value: value.to_string(),
                    right,
                });
            }
        }
        Ok(())
    }

    /// Pages of a size to touch; what would be right if they are not.
    pub(crate) fn accepts_touch(&self, touch: Option<u64>, pages: Pages) -> Result<(), String> {
        let name = self.name;
        match (touch, self.touch_max.map(|most| most(pages))) {
            (Some(_), None) => Err(format!("`{name}` has no use for it")),
            (Some(touch), Some(most)) if touch > most => {
                Err(format!("`{name}` has 0 to {most} pages to touch"))
            }
            _ => Ok(()),
        }
    }

    /// A number of operations; what would be right if it is not.
    pub(crate) fn accepts_operations(&self, operations: Option<u64>) -> Result<(), String> {
        match operations {
            Some(_) if !self.repeats => Err(format!("`{}` has no use for it", self.name)),
            _ => Ok(()),
        }
    }
}

/// All workloads.
pub(crate) fn workloads() -> &'static [Workload] {
    WORKLOADS
}

/// The workload of that name.
pub(crate) fn workload(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == name)
}
