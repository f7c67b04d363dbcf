//! Where an explored run departs from the undisturbed one, as a short printable string.

use crate::cpu::CpuId;
use crate::pairs;
use emu_mmu::Ea;

/// Format tag; changes whenever old strings would no longer replay.
const TAG: &str = "emx2:";
/// Values below name what happens on the CPU that runs; from here on, the CPU that is switched to.
const SWITCH: u64 = 2;
/// From here on, the waiting CPU that is interrupted.
const PULL: u64 = SWITCH + 64;
/// From here on, the CPU that an invalidation reaches.
const RECEIVE: u64 = PULL + 64;
/// From here on, the page that is walked for, and the CPU in the low bits.
const WALK: u64 = RECEIVE + 64;
/// log2 of how many CPUs a value has room for.
const CPU_BITS: u32 = 6;
/// log2 of the bytes of a page that is walked for.
const PAGE_BITS: u32 = 12;

/// What happens instead of the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Turn {
    /// A timer interrupt lands on the CPU that runs.
    Interrupt,
    /// Another CPU, which could go on all the time, goes on.
    SwitchTo(CpuId),
    /// A timer interrupt lands on a CPU that waits for one, and it goes on.
    Wake(CpuId),
    /// The oldest invalidation under way to a CPU reaches it; nothing where they are not late.
    Receive(CpuId),
    /// A CPU walks the table for the 4K page of an address, out of order or speculatively, and keeps the
    /// translation if there is one.
    Walk(CpuId, Ea),
}

/// A turn, and the number of steps before it since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deviation {
    /// The step that it comes before, from 1.
    pub step: u64,
    /// What happens there.
    pub turn: Turn,
}

/// All departures of a run, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan(Vec<Deviation>);

/// Why a plan's string was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Another format, or none.
    #[error("not a plan of this version: it must begin with `emx2:`")]
    Tag,
    /// Not `steps.value` in base 36, or no such turn.
    #[error("`{0}` is not a `steps.turn` pair in base 36")]
    Pair(String),
}

impl std::fmt::Display for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Turn::Interrupt => f.write_str("timer interrupt"),
            Turn::SwitchTo(cpu) => write!(f, "CPU {cpu} goes on"),
            Turn::Wake(cpu) => write!(f, "timer interrupt on idle CPU {cpu}, which goes on"),
            Turn::Receive(cpu) => write!(f, "an invalidation reaches CPU {cpu}"),
            Turn::Walk(cpu, ea) => write!(f, "CPU {cpu} walks the table for {ea}, speculatively"),
        }
    }
}

impl Turn {
    fn value(self) -> u64 {
        match self {
            Turn::Interrupt => 1,
            Turn::SwitchTo(cpu) => SWITCH + u64::from(cpu.0),
            Turn::Wake(cpu) => PULL + u64::from(cpu.0),
            Turn::Receive(cpu) => RECEIVE + u64::from(cpu.0),
            Turn::Walk(cpu, ea) => {
                let page = ea.get() >> PAGE_BITS;
                WALK + ((page << CPU_BITS) | (u64::from(cpu.0) % (1 << CPU_BITS)))
            }
        }
    }

    fn of_value(value: u64) -> Option<Self> {
        match value {
            1 => Some(Turn::Interrupt),
            SWITCH..PULL => Some(Turn::SwitchTo(CpuId((value - SWITCH) as u16))),
            PULL..RECEIVE => Some(Turn::Wake(CpuId((value - PULL) as u16))),
            RECEIVE..WALK => Some(Turn::Receive(CpuId((value - RECEIVE) as u16))),
            WALK.. => {
                let (page, cpu) = ((value - WALK) >> CPU_BITS, (value - WALK) % (1 << CPU_BITS));
                (page >> (64 - PAGE_BITS) == 0)
                    .then(|| Turn::Walk(CpuId(cpu as u16), Ea::new(page << PAGE_BITS)))
            }
            _ => None,
        }
    }
}

impl Plan {
    /// The run in which nothing is disturbed.
    pub fn undisturbed() -> Self {
        Plan::default()
    }

    /// This plan and one more departure after its last.
    pub fn and(&self, deviation: Deviation) -> Self {
        let mut all = self.0.clone();
        all.push(deviation);
        Plan(all)
    }

    /// This plan without one of its departures.
    pub fn without(&self, index: usize) -> Self {
        let mut all = self.0.clone();
        if index < all.len() {
            all.remove(index);
        }
        Plan(all)
    }

    /// The departures.
    pub fn deviations(&self) -> &[Deviation] {
        &self.0
    }

    /// Timer interrupts on a CPU that ran.
    pub fn interrupts(&self) -> usize {
        self.count(|turn| turn == Turn::Interrupt)
    }

    /// Timer interrupts on a CPU that waited: each may pull a task there.
    pub fn wakes(&self) -> usize {
        self.count(|turn| matches!(turn, Turn::Wake(_)))
    }

    /// Changes from a CPU that could have gone on to another.
    pub fn switches(&self) -> usize {
        self.count(|turn| matches!(turn, Turn::SwitchTo(_)))
    }

    /// Speculative walks.
    pub fn walks(&self) -> usize {
        self.count(|turn| matches!(turn, Turn::Walk(..)))
    }

    fn count(&self, which: impl Fn(Turn) -> bool) -> usize {
        self.0.iter().filter(|d| which(d.turn)).count()
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(TAG)?;
        pairs::write(f, self.0.iter().map(|d| (d.step, d.turn.value())))
    }
}

impl std::str::FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let body = text.strip_prefix(TAG).ok_or(PlanError::Tag)?;
        let mut plan = Vec::new();
        let read = pairs::read(body, |step, value| match Turn::of_value(value) {
            Some(turn) if step > 0 => {
                plan.push(Deviation { step, turn });
                true
            }
            _ => false,
        });
        read.map_err(PlanError::Pair)?;
        Ok(Plan(plan))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_round_trip(
            steps in prop::collection::vec(
                (1u64..100_000, prop_oneof![1..WALK, WALK..WALK + (1 << 58)]),
                0..20,
            ),
        ) {
            let mut plan = Plan::undisturbed();
            let mut at = 0;
            for (distance, value) in steps {
                at += distance;
                plan = plan.and(Deviation { step: at, turn: Turn::of_value(value).unwrap() });
            }
            prop_assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,60}") {
            let _ = text.parse::<Plan>();
            let _ = format!("emx2:{text}").parse::<Plan>();
        }
    }

    #[test]
    fn refusals_name_the_pair() {
        assert_eq!("emu1:".parse::<Plan>(), Err(PlanError::Tag));
        assert_eq!(
            "emx2:3.0".parse::<Plan>(),
            Err(PlanError::Pair("3.0".into()))
        );
        assert_eq!(
            "emx2:0.1".parse::<Plan>(),
            Err(PlanError::Pair("0.1".into()))
        );
    }
}
