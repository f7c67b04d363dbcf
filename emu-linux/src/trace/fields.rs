//! The `key=value` fields of an event, and numbers as the kernel prints them.

use super::Malformed;

/// The `key=value` part of a record.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a>(pub &'a [u8]);

impl<'a> Args<'a> {
    /// The text of field `key`: after `key` and `=` or `: `, up to a space or comma.
    fn text(self, key: &'static str) -> Result<&'a [u8], Malformed> {
        let name = key.as_bytes();
        let mut at = 0;
        while let Some(found) = find(&self.0[at..], name) {
            let begin = at + found;
            let end = begin + name.len();
            at = end;
            if begin > 0 && self.0[begin - 1] != b' ' {
                continue;
            }
            let value = match &self.0[end..] {
                [b'=', value @ ..] | [b':', b' ', value @ ..] => value,
                // the tracepoint hash_fault: "addr 0x1 and access = 0x2 trap = 0x3"
                [b' ', b'=', b' ', value @ ..] | [b' ', value @ ..] => value,
                _ => continue,
            };
            let stop = value
                .iter()
                .position(|&b| b == b' ' || b == b',')
                .unwrap_or(value.len());
            return Ok(&value[..stop]);
        }
        Err(Malformed::Missing(key))
    }

    /// A number.
    pub fn u64(self, key: &'static str) -> Result<u64, Malformed> {
        number(self.text(key)?).ok_or(Malformed::Number(key))
    }

    /// A number that may be negative.
    pub fn i64(self, key: &'static str) -> Result<i64, Malformed> {
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
    pub fn fetched(self, key: &'static str) -> Result<u64, Malformed> {
        if self.text(key)? == b"(fault)" {
            Ok(0)
        } else {
            self.u64(key)
        }
    }
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
            let digit = char::from(digit).to_digit(16)?;
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
