//! What a run is told beside its workload and its policy: by a scenario's text, by the command line.

use crate::config::{
    Backend, FirmwareFeature, KernelVersion, Pages, Preempt, RunConfig, ScheduleChoice,
};
use crate::mode::Mode;
use crate::timing::Timing;
use emu_core::MachineProfile;

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// Settings of a run; `None` where nothing was said.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Settings {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        impl Settings {
            /// These where they say something, those of `below` elsewhere.
            #[must_use]
            pub fn over(self, below: Settings) -> Settings {
                Settings { $($name: self.$name.or(below.$name),)* }
            }
        }
    };
}

settings! {
    /// Kernel whose layout and behaviour is modelled.
    kernel: KernelVersion,
    /// Base page size.
    pages: Pages,
    /// Size of the hash-table entries for 64K pages.
    hpte_pages: Pages,
    /// The machine.
    machine: MachineProfile,
    /// Who writes the hash table.
    backend: Backend,
    /// What the firmware offers.
    firmware_feature: FirmwareFeature,
    /// Entries of a flush batch.
    batch_size: u64,
    /// log2 of the number of groups.
    htab_bits: u8,
    /// Number of CPUs.
    cpus: u16,
    /// Seed of every random choice.
    seed: u64,
    /// Pages touched.
    touch: u64,
    /// Operations of a workload that repeats.
    operations: u64,
    /// Where kernel code can be preempted.
    preempt: Preempt,
    /// Tasks may run on one CPU only.
    pin: bool,
    /// Who makes the choices.
    schedule: ScheduleChoice,
    /// The engine.
    mode: Mode,
    /// What a step costs.
    timing: Timing,
    /// Which allocation of the kernel fails.
    fail_alloc: u64,
    /// Which page that vmalloc is to map is missing.
    fail_map: u64,
    /// Cycles between two timer interrupts.
    timer_period: u64,
    /// Which timer interrupts move the running task.
    migrate_every: u64,
}

impl Settings {
    /// The run that they describe, under a policy; what they do not say is as in [`RunConfig::new`].
    pub fn config(&self, policy: &str) -> RunConfig {
        let usual = RunConfig::new(policy);
        let schedule = self.schedule.clone();
        RunConfig {
            kernel: self.kernel,
            pages: self.pages,
            hpte_pages: self.hpte_pages,
            machine: self.machine.clone(),
            backend: self.backend.unwrap_or(usual.backend),
            firmware_feature: self.firmware_feature,
            batch_size: self.batch_size,
            htab_bits: self.htab_bits,
            cpus: self.cpus,
            seed: self.seed.unwrap_or(usual.seed),
            touch: self.touch,
            operations: self.operations,
            preempt: self.preempt.unwrap_or(usual.preempt),
            pin: self.pin.unwrap_or(usual.pin),
            schedule: schedule.unwrap_or(usual.schedule),
            mode: self.mode.unwrap_or(usual.mode),
            timing: self.timing.unwrap_or(usual.timing),
            fail_alloc: self.fail_alloc,
            fail_map: self.fail_map,
            timer_period: self.timer_period,
            migrate_every: self.migrate_every,
            ..RunConfig::new(policy)
        }
    }

    /// `config` with these where it leaves the choice to its source.
    pub(crate) fn fill(&self, config: &RunConfig) -> RunConfig {
        RunConfig {
            kernel: config.kernel.or(self.kernel),
            pages: config.pages.or(self.pages),
            hpte_pages: config.hpte_pages.or(self.hpte_pages),
            machine: config.machine.clone().or_else(|| self.machine.clone()),
            firmware_feature: config.firmware_feature.or(self.firmware_feature),
            batch_size: config.batch_size.or(self.batch_size),
            htab_bits: config.htab_bits.or(self.htab_bits),
            cpus: config.cpus.or(self.cpus),
            touch: config.touch.or(self.touch),
            operations: config.operations.or(self.operations),
            fail_alloc: config.fail_alloc.or(self.fail_alloc),
            fail_map: config.fail_map.or(self.fail_map),
            timer_period: config.timer_period.or(self.timer_period),
            migrate_every: config.migrate_every.or(self.migrate_every),
            ..config.clone()
        }
    }
}
