//! Random departures.

use super::Search;
use crate::explore::ExploreError;
use emu_core::CpuId;
use emu_core::explore::{Deviation, Plan, Turn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

impl Search<'_> {
    /// Departures before random steps of the undisturbed run, between `least` and `most` of them.
    pub(super) fn sample(
        &mut self,
        (least, most): (usize, usize),
        schedules: u64,
        seed: u64,
        cpus: u16,
    ) -> Result<(), ExploreError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let steps = self.run(&Plan::undisturbed())?;
        while self.schedules < schedules && !self.stopped {
            let count = rng.random_range(least..=most);
            let mut at: Vec<u64> = (0..count).map(|_| rng.random_range(1..=steps)).collect();
            at.sort_unstable();
            at.dedup();
            let mut plan = Plan::undisturbed();
            for step in at {
                let cpu = CpuId(rng.random_range(0..cpus));
                let turn = match rng.random_range(0..if cpus > 1 { 3 } else { 1 }) {
                    0 => Turn::Interrupt,
                    1 => Turn::SwitchTo(cpu),
                    _ => Turn::Wake(cpu),
                };
                plan = plan.and(Deviation { step, turn });
            }
            self.run(&plan)?;
        }
        Ok(())
    }
}
