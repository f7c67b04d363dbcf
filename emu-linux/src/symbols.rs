//! Symbols of the modelled kernels, and backtraces as they print them.
//!
//! Owns which source function stands in which compiled symbol, where it calls from, and how much stack
//! it takes: data (`data/symbols-*.toml`, each figure with its origin). Refuses to guess: a function or
//! call that the data does not know is printed by name alone, and an address that would depend on it
//! is unknown.

use crate::config::KernelVersion;
use emu_core::Frame;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

const INLINED: &str = "inlined";

/// Why a symbol table was refused.
#[derive(Debug, thiserror::Error)]
pub enum SymbolError {
    /// Not TOML of the expected shape.
    #[error("{0}")]
    Parse(#[from] toml::de::Error),
    /// A base that is not a hexadecimal address.
    #[error("base of `{symbol}` is `{base}`: write up to 16 hexadecimal digits without 0x")]
    Base {
        /// The symbol.
        symbol: String,
        /// What stands there.
        base: String,
    },
    /// A base and a size that go past the end of the address space.
    #[error("`{symbol}` of {size:#x} bytes does not fit behind its base")]
    Size {
        /// The symbol.
        symbol: String,
        /// Its size in bytes.
        size: u64,
    },
    /// An offset past the end of its symbol.
    #[error("offset {offset:#x} is past the end of `{symbol}`")]
    Offset {
        /// The symbol.
        symbol: String,
        /// The offset in bytes.
        offset: u64,
    },
    /// A name that has no symbol.
    #[error("`{referrer}` names `{symbol}`, which has no entry in [symbols]")]
    NoSymbol {
        /// What names it.
        referrer: String,
        /// The missing symbol.
        symbol: String,
    },
}

/// A line of a call trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BacktraceLine {
    /// Stack pointer of the frame; `None` from the first frame inwards whose size is not known.
    pub sp: Option<u64>,
    /// Address in the function; `None` if the function or the call is not known.
    pub ip: Option<u64>,
    /// `symbol+offset/size`, or the name alone if the offset is not known.
    pub text: String,
}

impl std::fmt::Display for BacktraceLine {
    /// As a 64-bit PowerPC kernel prints it; an unknown address is sixteen question marks.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for address in [self.sp, self.ip] {
            match address {
                Some(address) => write!(f, "[{address:016x}] ")?,
                None => f.write_str("[????????????????] ")?,
            }
        }
        f.write_str(&self.text)
    }
}

/// A call stack as a kernel prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backtrace {
    /// The innermost function below the reporting ones, such as `.apply_to_pte_range+0x118/0x1f0`;
    /// empty if there is none.
    pub caller: String,
    /// The lines, innermost first.
    pub lines: Vec<BacktraceLine>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SymbolText {
    base: String,
    size: u64,
    frame: u64,
    #[serde(default)]
    sites: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    symbol: String,
    offset: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableText {
    symbols: BTreeMap<String, SymbolText>,
    entry: Vec<Place>,
    reporting: Vec<Place>,
    #[serde(default)]
    functions: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Symbol {
    base: u64,
    size: u64,
    frame: u64,
    sites: BTreeMap<String, u64>,
}

/// A printed frame: its symbol, and the inlined calls it was in, innermost last.
struct Printed<'a> {
    symbol: String,
    offset: Option<u64>,
    hooks: Vec<&'a str>,
}

impl From<&Place> for Printed<'_> {
    fn from(place: &Place) -> Self {
        let (symbol, offset) = (place.symbol.clone(), Some(place.offset));
        Printed {
            symbol,
            offset,
            hooks: Vec::new(),
        }
    }
}

/// The symbols of one kernel.
#[derive(Debug)]
pub struct SymbolTable {
    symbols: BTreeMap<String, Symbol>,
    entry: Vec<Place>,
    reporting: Vec<Place>,
    functions: BTreeMap<String, String>,
}

impl SymbolTable {
    /// The built-in table of a kernel.
    ///
    /// # Errors
    /// Those of [`SymbolTable::parse`]; a test holds that the built-in tables have none.
    pub fn builtin(kernel: KernelVersion) -> Result<Self, SymbolError> {
        Self::parse(match kernel {
            KernelVersion::V2_6_38 => include_str!("../data/symbols-2.6.38.toml"),
            KernelVersion::V6_1 => include_str!("../data/symbols-6.1.toml"),
        })
    }

    /// Reads a table. The built-in files say what each part means.
    ///
    /// # Errors
    /// Text that is not such a table, an address that is none, an offset past the end of its symbol, or
    /// a name without a symbol.
    pub fn parse(text: &str) -> Result<Self, SymbolError> {
        let text: TableText = toml::from_str(text)?;
        let mut symbols = BTreeMap::new();
        for (name, s) in text.symbols {
            let Ok(base) = u64::from_str_radix(&s.base, 16) else {
                return Err(SymbolError::Base {
                    symbol: name,
                    base: s.base,
                });
            };
            if base.checked_add(s.size).is_none() {
                return Err(SymbolError::Size {
                    symbol: name,
                    size: s.size,
                });
            }
            symbols.insert(
                name,
                Symbol {
                    base,
                    size: s.size,
                    frame: s.frame,
                    sites: s.sites,
                },
            );
        }
        let table = SymbolTable {
            symbols,
            entry: text.entry,
            reporting: text.reporting,
            functions: text.functions,
        };
        table.check()?;
        Ok(table)
    }

    fn check(&self) -> Result<(), SymbolError> {
        let known = |referrer: &str, symbol: &str| {
            self.symbols
                .get(symbol)
                .ok_or_else(|| SymbolError::NoSymbol {
                    referrer: referrer.to_owned(),
                    symbol: symbol.to_owned(),
                })
        };
        let inside = |symbol: &str, size: u64, offset: u64| {
            // A return address may be the end of a function whose last instruction is a call.
            if offset <= size {
                return Ok(());
            }
            Err(SymbolError::Offset {
                symbol: symbol.to_owned(),
                offset,
            })
        };
        for (name, symbol) in &self.symbols {
            for (site, &offset) in &symbol.sites {
                inside(name, symbol.size, offset)?;
                if site.starts_with('.') {
                    known(name, site)?;
                }
            }
        }
        for (part, places) in [("entry", &self.entry), ("reporting", &self.reporting)] {
            for place in places {
                let symbol = known(part, &place.symbol)?;
                inside(&place.symbol, symbol.size, place.offset)?;
            }
        }
        for (function, symbol) in &self.functions {
            if symbol != INLINED {
                known(function, symbol)?;
            }
        }
        Ok(())
    }

    /// The backtrace that debug_smp_processor_id prints when the innermost of `frames` calls it.
    /// `frames` is outermost first, as [`emu_core::Ctx::frames`] gives it; `stack_top` is the address
    /// just past the task's stack. A system call is known by its `sys_` name: the entry code's frames
    /// stand outside it. A kernel thread's outermost function starts where theirs would end.
    pub fn backtrace(&self, frames: &[Frame], stack_top: u64) -> Backtrace {
        self.print(
            frames,
            self.reporting.iter().map(Printed::from).collect(),
            stack_top,
        )
    }

    /// The backtrace of "scheduling while atomic": `__schedule_bug` and the function that walks the
    /// stack are inside the innermost of `frames`. Where `__schedule_bug` calls from is not known.
    pub fn schedule_bug_backtrace(&self, frames: &[Frame], stack_top: u64) -> Backtrace {
        let bug = ".__schedule_bug".to_owned();
        let mut reporting = vec![Printed {
            symbol: bug,
            offset: None,
            hooks: Vec::new(),
        }];
        reporting.extend(self.reporting.last().map(Printed::from));
        self.print(frames, reporting, stack_top)
    }

    /// The backtrace of other reports: only the function that walks the stack stands inside the innermost
    /// of `frames`.
    pub fn dump_stack_backtrace(&self, frames: &[Frame], stack_top: u64) -> Backtrace {
        let reporting = self.reporting.last().map(Printed::from);
        self.print(frames, reporting.into_iter().collect(), stack_top)
    }

    fn print(&self, frames: &[Frame], reporting: Vec<Printed<'_>>, stack_top: u64) -> Backtrace {
        let mut chain = Vec::new();
        if frames
            .first()
            .is_some_and(|frame| frame.function.starts_with("sys_"))
        {
            chain.extend(self.entry.iter().map(Printed::from));
        }
        let first = chain.len();
        self.push_frames(frames, &mut chain);
        let end = chain.len();
        chain.extend(reporting);
        for i in first..end {
            let callee = chain.get(i + 1).map(|printed| printed.symbol.as_str());
            // Only the innermost has made its call through a hook: further out, the next frame tells.
            let hooks = if i + 1 == end {
                chain[i].hooks.as_slice()
            } else {
                &[]
            };
            let sites = self
                .symbols
                .get(&chain[i].symbol)
                .map(|symbol| &symbol.sites);
            let offset = sites.and_then(|sites| {
                hooks
                    .iter()
                    .rev()
                    .copied()
                    .chain(callee)
                    .find_map(|site| sites.get(site).copied())
            });
            chain[i].offset = offset;
        }
        let caller = chain[first..end].last().map(|printed| self.text(printed));
        Backtrace {
            caller: caller.unwrap_or_default(),
            lines: self.lines(&chain, stack_top),
        }
    }

    /// Adds the printed frames of source functions. Neighbours that are parts of one symbol are one.
    fn push_frames<'a>(&self, frames: &'a [Frame], chain: &mut Vec<Printed<'a>>) {
        let first = chain.len();
        // Source functions already seen in the innermost printed frame: one again is a recursion.
        let mut parts = BTreeSet::new();
        for frame in frames {
            let printed = self.functions.get(frame.function).map(String::as_str);
            let symbol = match printed {
                Some(INLINED) => None,
                Some(symbol) => Some(symbol.to_owned()),
                None => Some(format!(".{}", frame.function)),
            };
            let last = chain[first..].last_mut();
            match (symbol, last) {
                (None, None) => {}
                (None, Some(last)) => last.hooks.extend([frame.function, frame.site]),
                (Some(symbol), Some(last))
                    if last.symbol == symbol && !parts.contains(frame.function) =>
                {
                    parts.insert(frame.function);
                    last.hooks.push(frame.site);
                }
                (Some(symbol), _) => {
                    parts = BTreeSet::from([frame.function]);
                    chain.push(Printed {
                        symbol,
                        offset: None,
                        hooks: vec![frame.site],
                    });
                }
            }
        }
    }

    fn text(&self, printed: &Printed<'_>) -> String {
        match (printed.offset, self.symbols.get(&printed.symbol)) {
            (Some(offset), Some(symbol)) => {
                format!("{}+{offset:#x}/{:#x}", printed.symbol, symbol.size)
            }
            _ => printed.symbol.clone(),
        }
    }

    /// `chain` is outermost first; the lines are innermost first.
    fn lines(&self, chain: &[Printed<'_>], stack_top: u64) -> Vec<BacktraceLine> {
        let outermost = self.entry.first().map(|place| place.symbol.as_str());
        let mut sp = Some(stack_top);
        // A kernel thread keeps the same room at the end of its stack (registers and a frame) as a
        // system call, Linux copy_thread.
        if chain.first().map(|printed| printed.symbol.as_str()) != outermost {
            sp = outermost.and_then(|name| self.below(sp, name));
        }
        let mut lines: Vec<BacktraceLine> = Vec::with_capacity(chain.len());
        for printed in chain {
            sp = self.below(sp, &printed.symbol);
            let base = self.symbols.get(&printed.symbol).map(|symbol| symbol.base);
            let ip = base.zip(printed.offset).map(|(base, offset)| base + offset);
            lines.push(BacktraceLine {
                sp,
                ip,
                text: self.text(printed),
            });
        }
        if let Some(innermost) = lines.last_mut() {
            innermost.text.push_str(" (unreliable)");
        }
        lines.reverse();
        lines
    }

    fn below(&self, sp: Option<u64>, symbol: &str) -> Option<u64> {
        sp?.checked_sub(self.symbols.get(symbol)?.frame)
    }
}

#[cfg(test)]
mod tests;
