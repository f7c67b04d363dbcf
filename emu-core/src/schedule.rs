//! Schedules as short printable strings.
//!
//! A schedule lists only where a run departed from its clocks: pairs of a distance (in choices, since
//! the last departure) and the value chosen, in base 36. `emu1:` alone is the clocked run.

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

fn base36(mut n: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(n % 36) as usize]);
        n /= 36;
        if n == 0 {
            break;
        }
    }
    digits.iter().rev().map(|&d| d as char).collect()
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(TAG)?;
        let mut from = 0;
        for (i, &(at, value)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}.{}", base36(at - from), base36(value))?;
            from = at;
        }
        Ok(())
    }
}

impl std::str::FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let body = text.strip_prefix(TAG).ok_or(ScheduleError::Tag)?;
        let mut schedule = Schedule::default();
        let mut at = 0u64;
        for pair in body.split(',').filter(|p| !p.is_empty()) {
            let parsed = pair.split_once('.').and_then(|(distance, value)| {
                let distance = u64::from_str_radix(distance, 36).ok()?;
                Some((
                    at.checked_add(distance)?,
                    u64::from_str_radix(value, 36).ok()?,
                ))
            });
            let (next, value) = parsed.ok_or_else(|| ScheduleError::Pair(pair.to_owned()))?;
            if next <= at && !schedule.0.is_empty() {
                return Err(ScheduleError::Pair(pair.to_owned()));
            }
            schedule.0.push((next, value));
            at = next;
        }
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
