//! The Linux side of the hash-MMU emulator: page tables, hash faults, lazy-MMU policies and the flush
//! batch, `apply_to_page_range`, vmalloc, tasks and preemption, captures of real kernels, checkers.
//!
//! Owns the model of the kernel. It is guest code over [`emu_core::Ctx`]: all its shared state lies in
//! guest memory, and it can be interrupted, preempted and moved at every verb. Refuses what hardware
//! does (`emu-mmu`) and when (`emu-core`).
//!
//! ```
//! use emu_linux::{RunConfig, Source, run};
//!
//! let source = Source::Scenario("swapon-swapoff".into());
//! let report = run(&source, &RunConfig::new("mmotm"), &mut |_| ()).unwrap();
//! assert_eq!(report.reports.len(), 6);
//! ```

mod alloc_vm_area;
pub mod apply;
#[cfg(test)]
mod behaviour;
pub mod config;
mod disturbance;
pub mod explore;
mod fail_each;
pub mod functions;
mod hash_fault;
mod hash_lpar;
mod hash_native;
mod hash_ops;
pub mod injection;
pub mod invariant;
mod ioremap;
mod kasan;
pub mod kept;
mod kernel;
mod kernel_path;
mod kernel_walk;
mod key_map;
pub mod latency;
pub mod layout;
pub mod lazy_mmu;
pub mod leaks;
pub mod litmus;
pub mod machine;
pub mod memmap;
pub mod mm;
mod mode;
mod mutation;
mod page_alloc;
mod pgtable;
pub mod printk;
mod real_table;
pub mod report;
mod reports;
mod rt;
mod run;
pub mod scenario;
mod sched;
pub mod set_memory;
pub mod span;
pub mod symbols;
mod sync;
pub mod task;
pub mod timeline;
mod timing;
mod tlb_hash;
pub mod trace;
pub mod tracepoint;
mod user;
mod vm_map_ram;
mod vmalloc;
mod vmap;
mod vmap_area;
mod watchdog;
mod workload;

pub use config::{
    Backend, FirmwareFeature, KernelVersion, Pages, Preempt, Progress, RunConfig, RunError,
    ScheduleChoice, Source, nearest,
};
pub use emu_core::{Figure, Key, MachineProfile, ProfileError, Unit};
pub use fail_each::{FAIL_EACH_SCHEMA, FailEachReport, Failure, Findings, fail_each};
pub use kernel::{Errno, Kernel, Linux};
pub use kernel_path::{OTHER_PART, PART_NAMES};
pub use lazy_mmu::policy::{PolicyInfo, policies};
pub use lazy_mmu::{LazyMmuPolicy, PolicyFile, PolicyFileError, VmallocWalk};
pub use mm::{Mm, VirtualPage};
pub use mode::Mode;
pub use report::{COMPARE_SCHEMA, CompareReport, CounterValues, RUN_SCHEMA, RunReport};
pub use run::{run, run_policy, survey};
pub use scenario::{Scenario, ScenarioErrors, ScenarioInfo, Settings, scenarios};
pub use timing::Timing;
