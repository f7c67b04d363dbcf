//! The lines that tasks of an explored scenario are made of.
//!
//! Owns the words and what each needs to have been made before. Refuses what they do: that is `program`'s.

use crate::set_memory::SetMemory;
use std::str::FromStr;

/// One line of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// `vmalloc AREA PAGES`.
    Vmalloc(String, u64),
    /// `vfree AREA`.
    Vfree(String),
    /// `read AREA PAGE`: the kernel loads a doubleword through the mapping.
    Read(String, u64),
    /// `write AREA PAGE`: it stores one of the task's own.
    Write(String, u64),
    /// `set-memory AREA PAGES ro|rw|nx|x`.
    SetMemory(String, u64, SetMemory),
    /// `set-memory-replacing AREA PAGES ro|rw|nx|x`: as Linux 5.14 to 5.16.
    SetMemoryReplacing(String, u64, SetMemory),
    /// `apply-sleeping AREA PAGES`: apply_to_page_range with a callback that sleeps at each PTE.
    ApplySleeping(String, u64),
    /// `mm NAME`: a new address space.
    Mm(String),
    /// `fault MM PAGE`: the page is there and writable, but not hashed by this task.
    Fault(String, u64),
    /// `fork MM`: a copy, so that the pages are write-protected for copy on write.
    Fork(String),
    /// `store PAGE`: the user program stores one of its own doublewords.
    Store(u64),
    /// `try-store PAGE`: the same; if the page is write-protected the program catches SIGSEGV.
    TryStore(u64),
    /// `load PAGE`.
    Load(u64),
    /// `munmap PAGE PAGES`.
    Munmap(u64, u64),
    /// `mprotect PAGE PAGES ro|rw`.
    Mprotect(u64, u64, bool),
    /// `swap-out PAGE`.
    SwapOut(u64),
}

impl Op {
    /// The area it makes.
    pub(super) fn makes_area(&self) -> Option<&str> {
        match self {
            Op::Vmalloc(area, _) => Some(area),
            _ => None,
        }
    }

    /// The area that must have been made before.
    pub(super) fn needs_area(&self) -> Option<&str> {
        match self {
            Op::Vfree(area)
            | Op::Read(area, _)
            | Op::Write(area, _)
            | Op::SetMemory(area, ..)
            | Op::SetMemoryReplacing(area, ..)
            | Op::ApplySleeping(area, _) => Some(area),
            _ => None,
        }
    }

    /// The address space that must have been made before.
    pub(super) fn needs_mm(&self) -> Option<&str> {
        match self {
            Op::Fault(mm, _) | Op::Fork(mm) => Some(mm),
            _ => None,
        }
    }

    /// Whether it is a line of a user program.
    pub(super) const fn is_of_user(&self) -> bool {
        matches!(
            self,
            Op::Store(_)
                | Op::TryStore(_)
                | Op::Load(_)
                | Op::Munmap(..)
                | Op::Mprotect(..)
                | Op::SwapOut(_)
        )
    }
}

/// Why a line was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{line}`: {right}")]
pub struct OpError {
    /// The line.
    pub line: String,
    /// What would be right.
    pub right: String,
}

/// Each word with its operands.
const WORDS: [(&str, &str); 16] = [
    ("vmalloc", "AREA PAGES"),
    ("vfree", "AREA"),
    ("read", "AREA PAGE"),
    ("write", "AREA PAGE"),
    ("set-memory", "AREA PAGES ro|rw|nx|x"),
    ("set-memory-replacing", "AREA PAGES ro|rw|nx|x"),
    ("apply-sleeping", "AREA PAGES"),
    ("mm", "NAME"),
    ("fault", "MM PAGE"),
    ("fork", "MM"),
    ("store", "PAGE"),
    ("try-store", "PAGE"),
    ("load", "PAGE"),
    ("munmap", "PAGE PAGES"),
    ("mprotect", "PAGE PAGES ro|rw"),
    ("swap-out", "PAGE"),
];

impl FromStr for Op {
    type Err = OpError;

    fn from_str(line: &str) -> Result<Self, OpError> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let refuse = |right: String| OpError {
            line: line.to_owned(),
            right,
        };
        let (&word, operands) = words.split_first().ok_or_else(|| refuse("empty".into()))?;
        let Some((_, usage)) = WORDS.iter().find(|(known, _)| *known == word) else {
            let near = crate::config::nearest(word, WORDS.iter().map(|(known, _)| *known));
            let right = near.map_or("no such word".to_owned(), |near| {
                format!("did you mean `{near}`?")
            });
            return Err(refuse(right));
        };
        let name = |i: usize| operands.get(i).map(|name| (*name).to_owned());
        let number = |i: usize| {
            operands
                .get(i)
                .and_then(|n| n.parse().ok())
                .filter(|&n| n <= 64)
        };
        let action = |i: usize| match operands.get(i).copied()? {
            "ro" => Some(SetMemory::ReadOnly),
            "rw" => Some(SetMemory::ReadWrite),
            "nx" => Some(SetMemory::NoExecute),
            "x" => Some(SetMemory::Execute),
            _ => None,
        };
        let op = (|| {
            Some(match word {
                "vmalloc" => Op::Vmalloc(name(0)?, number(1).filter(|&n| n > 0)?),
                "vfree" => Op::Vfree(name(0)?),
                "read" => Op::Read(name(0)?, number(1)?),
                "write" => Op::Write(name(0)?, number(1)?),
                "set-memory" => Op::SetMemory(name(0)?, number(1)?, action(2)?),
                "set-memory-replacing" => Op::SetMemoryReplacing(name(0)?, number(1)?, action(2)?),
                "apply-sleeping" => Op::ApplySleeping(name(0)?, number(1)?),
                "mm" => Op::Mm(name(0)?),
                "fault" => Op::Fault(name(0)?, number(1)?),
                "fork" => Op::Fork(name(0)?),
                "store" => Op::Store(number(0)?),
                "try-store" => Op::TryStore(number(0)?),
                "load" => Op::Load(number(0)?),
                "munmap" => Op::Munmap(number(0)?, number(1)?),
                "mprotect" => Op::Mprotect(
                    number(0)?,
                    number(1)?,
                    match operands.get(2).copied()? {
                        "ro" => false,
                        "rw" => true,
                        _ => return None,
                    },
                ),
                "swap-out" => Op::SwapOut(number(0)?),
                _ => return None,
            })
        })();
        let expected = usage.split(' ').count();
        op.filter(|_| operands.len() == expected)
            .ok_or_else(|| refuse(format!("`{word} {usage}` is right; numbers go to 64")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_or_refused_with_what_is_right() {
        assert_eq!("vmalloc a 2".parse(), Ok(Op::Vmalloc("a".into(), 2)));
        assert_eq!("mprotect 0 1 ro".parse(), Ok(Op::Mprotect(0, 1, false)));
        let refused = |line: &str| line.parse::<Op>().unwrap_err().to_string();
        assert_eq!(
            refused("vmaloc a 2"),
            "`vmaloc a 2`: did you mean `vmalloc`?"
        );
        let right = "`mprotect PAGE PAGES ro|rw` is right; numbers go to 64";
        assert_eq!(
            refused("mprotect 0 1 wo"),
            format!("`mprotect 0 1 wo`: {right}")
        );
        assert!(refused("load 65").contains("numbers go to 64"));
        assert!(refused("load 1 2").contains("`load PAGE` is right"));
        assert!(refused("").contains("empty"));
    }
}
