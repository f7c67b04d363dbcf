//! The columns in front of every event: task, CPU, flags, time stamp, and the event's name.
//!
//! Refuses to guess: a task name may hold spaces, dashes, digits, brackets and colons, so the first
//! dash at which *all* columns follow is taken. A name of 15 bytes is too short to hold a fake set.

use super::{Comm, Flags, Malformed, TaskId, fields::number};

/// The columns of a line, and the rest of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub task: TaskId,
    pub cpu: u16,
    pub flags: Flags,
    pub timestamp_us: u64,
    /// Event name.
    pub name: &'a [u8],
    /// Text after `name: `.
    pub text: &'a [u8],
}

impl<'a> Columns<'a> {
    /// The columns of `line` (without its newline).
    pub fn parse(line: &'a [u8]) -> Result<Columns<'a>, Malformed> {
        let begin = line
            .iter()
            .position(|&b| b != b' ')
            .ok_or(Malformed::Columns)?;
        let line = &line[begin..];
        for dash in 0..line.len().min(Comm::LEN_MAX + 1) {
            if line[dash] != b'-' {
                continue;
            }
            let Some((pid, cpu, flags, timestamp_us, rest)) = after_dash(&line[dash + 1..]) else {
                continue;
            };
            let comm = Comm::new(&line[..dash]).ok_or(Malformed::Columns)?;
            let (name, text) = event_name(rest).ok_or(Malformed::EventName)?;
            let task = TaskId { comm, pid };
            return Ok(Columns {
                task,
                cpu,
                flags,
                timestamp_us,
                name,
                text,
            });
        }
        Err(Malformed::Columns)
    }
}

/// `PID [CPU] FLAGS TIMESTAMP: rest`, with an optional `(TGID)` before the CPU and flags optional.
fn after_dash(text: &[u8]) -> Option<(u32, u16, Flags, u64, &[u8])> {
    let (pid, text) = digits(text)?;
    let mut text = spaces(text)?;
    if let [b'(', rest @ ..] = text {
        let close = rest.iter().take(12).position(|&b| b == b')')?;
        text = spaces(&rest[close + 1..])?;
    }
    let [b'[', rest @ ..] = text else { return None };
    let (cpu, rest) = digits(rest)?;
    let [b']', rest @ ..] = rest else { return None };
    let (word, rest) = word(spaces(rest)?);
    let (pid, cpu) = (u32::try_from(pid).ok()?, u16::try_from(cpu).ok()?);
    if let Some(us) = timestamp(word) {
        return Some((pid, cpu, Flags::default(), us, spaces(rest)?));
    }
    let flags = Flags::new(word)?;
    let (word, rest) = self::word(spaces(rest)?);
    Some((pid, cpu, flags, timestamp(word)?, spaces(rest)?))
}

/// A decimal number at the start of `text`, and what follows.
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len());
    Some((number(&text[..end])?, &text[end..]))
}

/// What follows at least one space.
fn spaces(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|&b| b != b' ')?;
    (end > 0).then(|| &text[end..])
}

/// Text up to a space, and the rest from that space on.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|&b| b == b' ').unwrap_or(text.len()))
}

/// `SECONDS.FRACTION:` in microseconds, or `TICKS:` as it is.
fn timestamp(word: &[u8]) -> Option<u64> {
    let (&colon, word) = word.split_last()?;
    if colon != b':' {
        return None;
    }
    let (seconds, rest) = digits(word)?;
    let [b'.', fraction @ ..] = rest else {
        return rest.is_empty().then_some(seconds);
    };
    if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let us = (0..6).fold(0, |us, at| {
        us * 10 + u64::from(fraction.get(at).map_or(0, |digit| digit - b'0'))
    });
    seconds.checked_mul(1_000_000)?.checked_add(us)
}

/// `name: text`, the name made of letters, digits and underscores.
fn event_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text
        .iter()
        .position(|b| !b.is_ascii_alphanumeric() && *b != b'_')?;
    match &text[end..] {
        [b':', b' ', rest @ ..] | [b':', rest @ ..] if (1..=64).contains(&end) => {
            Some((&text[..end], rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(line: &str) -> (String, u32, u16, u64, String) {
        let c = Columns::parse(line.as_bytes()).expect("columns");
        let name = String::from_utf8_lossy(c.name).into_owned();
        (
            c.task.comm.to_string(),
            c.task.pid,
            c.cpu,
            c.timestamp_us,
            name,
        )
    }

    #[test]
    fn task_names_may_look_like_columns() {
        for comm in [
            "init",
            "kworker/1:1",
            "a b-c",
            "x-12 [003]",
            "-1 [0] ....",
            "]-7",
            "",
            "<idle>",
            "a: b: 1.0:",
        ] {
            let line = format!("{comm:>16}-43      [002] d..1.     1.001065: tlbie: lpid=0");
            let expected = (comm.to_string(), 43, 2, 1_001_065, "tlbie".to_string());
            assert_eq!(parsed(&line), expected, "{comm}");
        }
    }

    #[test]
    fn columns_of_other_kernels_and_options() {
        let expected = ("sh".to_string(), 9, 0, 12_500_000, "need".to_string());
        for columns in [
            "[000] d..1 ",
            "[000] ",
            "[000] d..1.. ",
            "(      9) [000] d..1. ",
            "(-------) [000] d..1. ",
        ] {
            assert_eq!(
                parsed(&format!(
                    "              sh-9       {columns}   12.5: need: x"
                )),
                expected
            );
        }
        assert_eq!(
            parsed("sh-9 [000] .... 12: need: x").3,
            12,
            "a counter clock has no point"
        );
    }

    #[test]
    fn what_is_not_a_record() {
        for line in [
            "",
            "   ",
            "hello",
            "sh-9 [000] d..1. 1.0 need: x",
            "sh-9 [70000] d..1. 1.0: need: x",
        ] {
            assert_eq!(
                Columns::parse(line.as_bytes()).unwrap_err(),
                Malformed::Columns,
                "{line}"
            );
        }
        for line in [
            "sh-9 [000] d..1. 1.0: schedule <-x",
            "sh-9 [000] d..1. 1.0: need",
        ] {
            assert_eq!(
                Columns::parse(line.as_bytes()).unwrap_err(),
                Malformed::EventName,
                "{line}"
            );
        }
    }
}
