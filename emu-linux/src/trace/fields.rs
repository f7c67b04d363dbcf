//! The `key=value` fields of an event, and numbers as the kernel prints them.

use super::Malformed;
use std::cell::Cell;

/// The `key=value` part of a record. Fields are looked for where the last one ended, and from the
/// start if they are not there, so that reading them in the usual order costs one pass.
pub(crate) struct Args<'a> {
    text: &'a [u8],
    at: Cell<usize>,
}

impl<'a> Args<'a> {
    /// The fields in `text`.
    pub fn new(text: &'a [u8]) -> Args<'a> {
        Args {
            text,
            at: Cell::new(0),
        }
    }

    /// The text of field `key`: after `key` and `=` or `: `, up to a space or comma.
    fn text(&self, key: &'static str) -> Result<&'a [u8], Malformed> {
        let mut begin = self.at.get();
        while let [b' ' | b',', ..] = self.text[begin..] {
            begin += 1;
        }
        let found = value_at(self.text, begin, key).or_else(|| search(self.text, key));
        let (start, end) = found.ok_or(Malformed::Missing(key))?;
        self.at.set(end);
        Ok(&self.text[start..end])
    }

    /// A number.
    pub fn u64(&self, key: &'static str) -> Result<u64, Malformed> {
        number(self.text(key)?).ok_or(Malformed::Number(key))
    }

    /// A number that may be negative.
    pub fn i64(&self, key: &'static str) -> Result<i64, Malformed> {
        match self.text(key)? {
            [b'-', magnitude @ ..] => number(magnitude)
                .and_then(|n| 0i64.checked_sub_unsigned(n))
                .ok_or(Malformed::Number(key)),
            text => number(text)
                .and_then(|n| i64::try_from(n).ok())
                .ok_or(Malformed::Number(key)),
        }
    }

    /// A number read through a pointer: a kprobe prints `(fault)` for an error pointer.
    pub fn fetched(&self, key: &'static str) -> Result<u64, Malformed> {
        if self.text(key)? == b"(fault)" {
            Ok(0)
        } else {
            self.u64(key)
        }
    }
}

/// Start and end of the value of `key`, if `key` stands at `begin`.
fn value_at(text: &[u8], begin: usize, key: &str) -> Option<(usize, usize)> {
    let end = begin + key.len();
    if !text[begin..].starts_with(key.as_bytes()) {
        return None;
    }
    let start = match &text[end..] {
        [b'=', ..] => end + 1,
        // the tracepoint hash_fault: "addr 0x1 and access = 0x2 trap = 0x3"
        [b' ', b'=', b' ', ..] => end + 3,
        [b':', b' ', ..] => end + 2,
        [b' ', ..] => end + 1,
        _ => return None,
    };
    let length = text[start..].iter().position(|&b| b == b' ' || b == b',');
    Some((start, length.map_or(text.len(), |length| start + length)))
}

/// The same wherever `key` stands.
fn search(text: &[u8], key: &str) -> Option<(usize, usize)> {
    let mut at = 0;
    while let Some(found) = find(&text[at..], key.as_bytes()) {
        let begin = at + found;
        at = begin + key.len();
        if (begin == 0 || text[begin - 1] == b' ')
            && let Some(value) = value_at(text, begin, key)
        {
            return Some(value);
        }
    }
    None
}

/// Where `needle` first stands in `text`.
pub(crate) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = 0;
    while let Some(offset) = text[at..].iter().position(|&b| b == first) {
        at += offset;
        if text[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// A decimal or `0x` number.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if let [b'0', b'x', digits @ ..] = text {
        if digits.is_empty() || digits.len() > 16 {
            return None;
        }
        return digits.iter().try_fold(0u64, |value, &digit| {
            let digit = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                b'A'..=b'F' => digit - b'A' + 10,
                _ => return None,
            };
            Some(value << 4 | u64::from(digit))
        });
    }
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &digit| {
        let digit = digit.checked_sub(b'0').filter(|&d| d <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
