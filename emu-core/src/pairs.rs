//! Departures as text: `distance.value` pairs in base 36, each distance from the one before.
//!
//! Owns the digits, for the two kinds of strings that replay. Refuses what a pair means.

use std::fmt;

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

/// Writes pairs of a place and a value, in the order of their places.
pub(crate) fn write(
    f: &mut fmt::Formatter<'_>,
    pairs: impl Iterator<Item = (u64, u64)>,
) -> fmt::Result {
    let mut from = 0;
    for (i, (at, value)) in pairs.enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(f, "{comma}{}.{}", base36(at - from), base36(value))?;
        from = at;
    }
    Ok(())
}

/// Gives each pair of a place and a value to `take`, until it refuses one.
///
/// # Errors
/// The text of the pair that is none, or was refused.
pub(crate) fn read(body: &str, mut take: impl FnMut(u64, u64) -> bool) -> Result<(), String> {
    let mut at = 0u64;
    for pair in body.split(',').filter(|pair| !pair.is_empty()) {
        let parsed = pair.split_once('.').and_then(|(distance, value)| {
            let next = at.checked_add(u64::from_str_radix(distance, 36).ok()?)?;
            Some((next, u64::from_str_radix(value, 36).ok()?))
        });
        match parsed {
            Some((next, value)) if take(next, value) => at = next,
            _ => return Err(pair.to_owned()),
        }
    }
    Ok(())
}
