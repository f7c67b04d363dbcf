//! Schedules as short printable strings.
//!
//! A schedule lists only where a run departed from its clocks: pairs of a distance (in choices, since
//! the last departure) and the value chosen, in base 36. `emu1:` alone is the clocked run.

use crate::pairs;

/// Format tag; changes whenever old strings would no longer replay.
const TAG: &str = "emu1:";

/// Departures from the clocked run, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule(Vec<(u64, u64)>);

/// Why a schedule string was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Another format, or none.
    #[error("not a schedule of this version: it must begin with `emu1:`")]
    Tag,
    /// A pair that is not `distance.value` in base 36.
    #[error("`{0}` is not a `distance.value` pair in base 36")]
    Pair(String),
}

impl Schedule {
    /// The departures: number of the choice from 0, and its value.
    pub fn deviations(&self) -> &[(u64, u64)] {
        &self.0
    }

    pub(crate) fn push(&mut self, at: u64, value: u64) {
        self.0.push((at, value));
    }
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(TAG)?;
        pairs::write(f, self.0.iter().copied())
    }
}

impl std::str::FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let body = text.strip_prefix(TAG).ok_or(ScheduleError::Tag)?;
        let mut schedule = Schedule::default();
        let read = pairs::read(body, |at, value| {
            let later = schedule.0.last().is_none_or(|&(last, _)| at > last);
            schedule.0.push((at, value));
            later
        });
        read.map_err(ScheduleError::Pair)?;
        Ok(schedule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_round_trip(steps in proptest::collection::vec((1u64..1 << 40, any::<u64>()), 0..50)) {
            let mut schedule = Schedule::default();
            let mut at = 0;
            for (distance, value) in steps {
                at += distance;
                schedule.push(at, value);
            }
            prop_assert_eq!(schedule.to_string().parse::<Schedule>().unwrap(), schedule);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,60}") {
            let _ = text.parse::<Schedule>();
            let _ = format!("emu1:{text}").parse::<Schedule>();
        }
    }

    #[test]
    fn refusals_name_the_pair() {
        assert_eq!("x".parse::<Schedule>(), Err(ScheduleError::Tag));
        assert_eq!(
            "emu1:3.?".parse::<Schedule>(),
            Err(ScheduleError::Pair("3.?".into()))
        );
    }
}
