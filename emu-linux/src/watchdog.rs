//! Notices a run that gets nowhere.
//!
//! Owns how long is too long. Refuses to stop the run: it says so.

use emu_core::Cycles;

/// Notices a kernel that goes round in circles: a user program whose store faults for ever on a stale
/// read-only entry never ends by itself.
#[derive(Default)]
pub(crate) struct Watchdog {
    life: u64,
    since: Cycles,
    /// When the run was given up.
    pub bitten: Option<Cycles>,
}

/// Cycles without a sign of life after which a run is given up: several times what the largest
/// single operation takes.
const HUNG_CYCLES: Cycles = Cycles::new(1_000_000_000);

impl Watchdog {
    /// True if the run is to be given up; `life` changes while it gets on.
    pub fn bites(&mut self, now: Cycles, life: u64) -> bool {
        if life != self.life || now < self.since {
            (self.life, self.since) = (life, now);
        }
        let stuck = now - self.since > HUNG_CYCLES;
        if stuck && self.bitten.is_none() {
            self.bitten = Some(now);
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn giving_back_millions_of_pages_is_no_hang() {
        let mut watchdog = Watchdog::default();
        for life in 0..100 {
            assert!(!watchdog.bites(Cycles::new(life * 900_000_000), life));
        }
        assert!(watchdog.bites(Cycles::new(100 * 1_000_000_000), 99));
        assert_eq!(watchdog.bitten, Some(Cycles::new(100 * 1_000_000_000)));
    }
}
