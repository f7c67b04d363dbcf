//! White-box tests of the kernel model: guest code that sets a state up by hand and looks at what one
//! kernel path makes of it.

mod batch;
mod crimes;
mod guest_batch;
mod hash_faults;
mod nesting;
mod pages_64k;
mod pairs;
mod per_cpu;
mod vmalloc_areas;

use crate::config::{KernelVersion, RunConfig};
use crate::invariant::{Monitor, SharedMonitor};
use crate::kernel::Linux;
use crate::lazy_mmu::policy;
use crate::machine::{machine_config, machine_of};
use crate::mm::Mm;
use crate::task::{KernelVectors, TaskSpec};
use emu_core::{Clocked, CpuId, Ctx, Cycles, Engine, Event, Interest, Observer, Run, RunEnd};
use emu_mmu::{Ea, PageSize};
use std::sync::Arc;

/// A kernel to run a piece of guest code on.
struct Bench {
    config: RunConfig,
    version: KernelVersion,
    /// Size of the HPTEs, if it is not the configuration's: as if the CPU had another MMU.
    hpte_page: Option<PageSize>,
}

impl Bench {
    fn new(policy: &str, version: KernelVersion) -> Self {
        Bench {
            config: RunConfig::new(policy),
            version,
            hpte_page: None,
        }
    }

    /// Boots one CPU and runs `body` as a task. Gives the kernel for a look at its counters and reports.
    fn run(
        self,
        body: impl FnOnce(&Arc<Linux>, &mut Ctx<'_>) -> Run<()> + Send + 'static,
    ) -> Arc<Linux> {
        self.run_to_end(body).0
    }

    /// The same, with what the hardware counted, the boot included.
    fn run_to_end(
        self,
        body: impl FnOnce(&Arc<Linux>, &mut Ctx<'_>) -> Run<()> + Send + 'static,
    ) -> (Arc<Linux>, RunEnd) {
        struct Watch(Arc<SharedMonitor>);
        impl Observer for Watch {
            fn interest(&self) -> Interest {
                Monitor::INTEREST
            }
            fn quiet_addresses(&self) -> std::ops::Range<u64> {
                Monitor::QUIET
            }
            fn observe(&mut self, cpu: CpuId, now: Cycles, event: Event) {
                self.0.with(|monitor| monitor.hardware(cpu, now, event));
            }
        }
        let pages = self.config.pages.unwrap_or_default();
        let machine = machine_of(&self.config, self.version).unwrap();
        let shape = machine_config(&self.config, &machine, pages, 1).unwrap();
        let monitor = Monitor::new(shape.hpt.base(), shape.hpt.groups_log2());
        let monitor = Arc::new(SharedMonitor::new(monitor));
        let rule = policy::policy(&self.config.policy).unwrap();
        let linux = Linux::new(
            &self.config,
            self.version,
            pages,
            &shape,
            rule,
            Some(monitor.clone()),
            true,
        );
        let mut linux = linux.unwrap();
        linux.hpte_page = self.hpte_page.unwrap_or(linux.hpte_page);
        let linux = Arc::new(linux);
        let observer = Box::new(Watch(monitor));
        let mut engine =
            Engine::with_observer(shape, Box::new(Clocked::new()), Some(observer)).unwrap();
        engine
            .machine()
            .set_vectors(Arc::new(KernelVectors(linux.clone())));
        let booting = linux.clone();
        engine.start_cpu(
            0,
            Box::new(move |cx| {
                booting.boot(cx)?;
                booting.become_idle_task(cx, 0)?;
                let task = TaskSpec {
                    comm: "test".into(),
                    pid: Some(7),
                    stack: None,
                    cpus_allowed: u64::MAX,
                    cpu: CpuId(0),
                    mm: None,
                    body: Box::new(body),
                };
                booting
                    .spawn_task(cx, task)?
                    .expect("there is room for one task");
                booting.idle_loop(cx)
            }),
        );
        let end = engine.run().unwrap();
        (linux, end)
    }
}

impl Linux {
    /// Names of the rules broken so far.
    fn broken(&self) -> Vec<String> {
        let monitor = self.monitor.as_ref().expect("every bench has a monitor");
        let violations = monitor.with(|monitor| monitor.violations());
        violations
            .into_iter()
            .map(|violation| violation.kind)
            .collect()
    }

    /// How often a rule broke so far.
    fn times_broken(&self, kind: &str) -> u64 {
        let monitor = self.monitor.as_ref().expect("every bench has a monitor");
        let violations = monitor.with(|monitor| monitor.violations());
        let count = |v: &crate::report::ViolationReport| v.count;
        violations.iter().find(|v| v.kind == kind).map_or(0, count)
    }

    /// The PTE of an address and its value.
    fn pte_of(&self, cx: &mut Ctx<'_>, ea: Ea) -> Run<(Ea, u64)> {
        let ptep = self.find_pte(cx, Mm::INIT, ea)?.expect("the table exists");
        Ok((ptep, cx.load_u64(ptep, "test")?))
    }

    fn set_init_mm_cpumask(&self, cx: &mut Ctx<'_>, mask: u64) -> Run<()> {
        cx.store_u64(Mm::INIT.cpumask(), mask, "test")
    }
}

const BOTH: [KernelVersion; 2] = KernelVersion::ALL;

#[test]
fn a_monitor_hears_of_a_boot_without_a_violation() {
    for version in BOTH {
        let linux = Bench::new("mmotm", version).run(|_, _| Ok(()));
        assert_eq!(linux.broken(), Vec::<String>::new());
    }
}
