//! Machine profiles: the figures of a machine, each with where it is from.
//!
//! Owns the file format (TOML), the profiles that are built in and changes typed by hand. A key that is
//! not in the schema is refused with the nearest that is. Refuses to know what a figure is used for.

use super::costs::{CostTable, Key};
use emu_mmu::{MmuGeometry, Replacement, TlbGeometry};
use std::collections::BTreeMap;
use toml::{Table, Value};

const FUNCTIONS: &str = include_str!("../../../traces/machines/functions.toml");
const BUILTIN: [(&str, &str); 5] = [
    (
        "ppc970",
        include_str!("../../../traces/machines/ppc970.toml"),
    ),
    (
        "power5",
        include_str!("../../../traces/machines/power5.toml"),
    ),
    (
        "power7",
        include_str!("../../../traces/machines/power7.toml"),
    ),
    (
        "power8",
        include_str!("../../../traces/machines/power8.toml"),
    ),
    (
        "power9",
        include_str!("../../../traces/machines/power9.toml"),
    ),
];
/// Most instructions that a function may be said to have.
const INSTRUCTIONS_MAX: u64 = 1_000_000;
/// Source of a figure that [`MachineProfile::set`] changed.
const BY_HAND: &str = "set by hand";

/// Why a profile, or a change to one, was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Not TOML.
    #[error("machine profile: {0}")]
    Parse(String),
    /// Something other than `{ value = N, source = "..." }` where a figure stands.
    #[error("`{path}` in a machine profile is `{{ value = N, source = \"...\" }}`: {what}")]
    Shape {
        /// Where.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A key that no profile has.
    #[error("a machine profile has no `{path}`{}", or_nearest(.nearest))]
    Unknown {
        /// The key.
        path: String,
        /// The nearest that there is.
        nearest: Option<String>,
    },
    /// No profile of that name.
    #[error("no machine `{name}`{} The machines are: {}", sentence_end(.nearest), MachineProfile::NAMES.join(", "))]
    NoMachine {
        /// The name.
        name: String,
        /// The nearest that there is.
        nearest: Option<String>,
    },
    /// A figure has neither a source nor the word `estimate`.
    #[error("`{0}` names no source; write where the figure is from, or `estimate`")]
    NoSource(String),
    /// A profile lacks a figure.
    #[error(
        "machine `{machine}` has no figure for `{path}`; give one, or `base = \"...\"` to take the rest from"
    )]
    Missing {
        /// The machine's name.
        machine: String,
        /// The missing key.
        path: &'static str,
    },
    /// A figure out of its range.
    #[error("`{path}` is {value}: take {min} to {max}")]
    Range {
        /// The key.
        path: String,
        /// The value given.
        value: String,
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
    /// Not `path=value`.
    #[error("`{0}` is no change of a machine: write PATH=VALUE, such as `l1d.latency=3`")]
    Assignment(String),
}

fn or_nearest(nearest: &Option<String>) -> String {
    let hint = nearest.as_ref().map(|n| format!(", did you mean `{n}`?"));
    hint.unwrap_or_default()
}

fn sentence_end(nearest: &Option<String>) -> String {
    let hint = nearest.as_ref().map(|n| format!(", did you mean `{n}`?"));
    hint.unwrap_or_else(|| ".".to_owned())
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

/// A figure and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Its value, in the unit of its [`Key`]; instructions for a function.
    pub value: u64,
    /// Where it is from, or a text that begins with `estimate`.
    pub source: String,
}

impl Figure {
    /// True if nobody measured or documented it.
    pub fn is_estimate(&self) -> bool {
        self.source.starts_with("estimate")
    }
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineProfile {
    name: String,
    about: String,
    figures: BTreeMap<&'static str, Figure>,
    functions: BTreeMap<String, Figure>,
}

impl MachineProfile {
    /// Names of the profiles that are built in, oldest machine first.
    pub const NAMES: [&'static str; 5] = {
        let mut names = [""; 5];
        let mut i = 0;
        while i < names.len() {
            names[i] = BUILTIN[i].0;
            i += 1;
        }
        names
    };

    /// The built-in profile of that name.
    ///
    /// # Errors
    /// [`ProfileError::NoMachine`].
    pub fn builtin(name: &str) -> Result<Self, ProfileError> {
        match BUILTIN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::parse(text),
            None => Err(ProfileError::NoMachine {
                name: name.to_owned(),
                nearest: nearest(name, Self::NAMES.into_iter()),
            }),
        }
    }

    /// The text of a built-in profile, to start one of one's own.
    pub fn builtin_text(name: &str) -> Option<&'static str> {
        let found = BUILTIN.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| *text)
    }

    /// Reads a profile. With `base = "NAME"` it has the figures of that built-in profile where it gives
    /// none itself.
    ///
    /// # Errors
    /// Text that does not parse; a key, a value or a source that the schema refuses; a missing figure.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let file = parse_table(text)?;
        let mut profile = match word(&file, "base")? {
            Some(base) => Self::builtin(&base)?,
            None => MachineProfile {
                name: String::new(),
                about: String::new(),
                figures: BTreeMap::new(),
                functions: function_counts()?,
            },
        };
        profile.name = word(&file, "name")?.ok_or_else(|| ProfileError::Shape {
            path: "name".to_owned(),
            what: "a profile begins with `name = \"...\"`".to_owned(),
        })?;
        profile.about = word(&file, "about")?.unwrap_or_default();
        let words = ["name", "about", "base"];
        for (section, value) in file.iter().filter(|(k, _)| !words.contains(&k.as_str())) {
            let Value::Table(figures) = value else {
                return Err(profile.unknown(section));
            };
            for (key, value) in figures {
                profile.read(&format!("{section}.{key}"), value)?;
            }
        }
        profile.try_costs()?;
        Ok(profile)
    }

    /// Changes one figure, by a text such as `tlb.tlbsync=300` or `functions.vmalloc=60`.
    ///
    /// # Errors
    /// A text of another form, a figure that there is not, a value out of range.
    pub fn set(&mut self, assignment: &str) -> Result<(), ProfileError> {
        let (path, value) = assignment
            .split_once('=')
            .ok_or_else(|| ProfileError::Assignment(assignment.to_owned()))?;
        let (path, value) = (path.trim(), value.trim());
        let number: Option<u64> = value.replace('_', "").parse().ok();
        let figure = Figure {
            value: number.unwrap_or(u64::MAX),
            source: BY_HAND.to_owned(),
        };
        self.put(path, figure, value)
    }

    fn read(&mut self, path: &str, value: &Value) -> Result<(), ProfileError> {
        let figure = figure(path, value)?;
        let typed = figure.value.to_string();
        self.put(path, figure, &typed)
    }

    /// Takes a figure if the schema does; `typed` is its value as written.
    fn put(&mut self, path: &str, figure: Figure, typed: &str) -> Result<(), ProfileError> {
        let range = |min, max| match (min..=max).contains(&figure.value) {
            true => Ok(()),
            false => Err(ProfileError::Range {
                path: path.to_owned(),
                value: typed.to_owned(),
                min,
                max,
            }),
        };
        if let Some(name) = path.strip_prefix("functions.")
            && let Some(slot) = self.functions.get_mut(name)
        {
            range(0, INSTRUCTIONS_MAX)?;
            *slot = figure;
            return Ok(());
        }
        let Some(key) = CostTable::KEYS.iter().find(|key| key.path == path) else {
            return Err(self.unknown(path));
        };
        range(key.min, key.max)?;
        self.figures.insert(key.path, figure);
        Ok(())
    }

    fn unknown(&self, path: &str) -> ProfileError {
        let functions: Vec<String> = self
            .functions
            .keys()
            .map(|name| format!("functions.{name}"))
            .collect();
        let paths = CostTable::KEYS.iter().map(|key| key.path);
        ProfileError::Unknown {
            path: path.to_owned(),
            nearest: nearest(path, paths.chain(functions.iter().map(String::as_str))),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is, in a sentence.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Its figures in the order of the schema.
    pub fn figures(&self) -> impl Iterator<Item = (&'static Key, &Figure)> {
        CostTable::KEYS
            .iter()
            .filter_map(|key| Some((key, self.figures.get(key.path)?)))
    }

    /// The figure at a path.
    pub fn figure(&self, path: &str) -> Option<&Figure> {
        match path.strip_prefix("functions.") {
            Some(name) => self.functions.get(name),
            None => self.figures.get(path),
        }
    }

    /// Instructions of the modelled kernel functions, by name.
    pub fn functions(&self) -> impl Iterator<Item = (&str, &Figure)> {
        self.functions.iter().map(|(name, f)| (name.as_str(), f))
    }

    fn try_costs(&self) -> Result<CostTable, ProfileError> {
        let functions = self.functions.iter().map(|(k, f)| (k.clone(), f.value));
        let missing = |path| ProfileError::Missing {
            machine: self.name.clone(),
            path,
        };
        CostTable::from_figures(
            |path| {
                let found = self.figures.get(path);
                found.map(|f| f.value).ok_or_else(|| missing(path))
            },
            functions.collect(),
        )
    }

    /// The figures as a run reads them.
    ///
    /// # Panics
    /// Never: a profile without one of them is not made.
    pub fn costs(&self) -> CostTable {
        self.try_costs().expect("a profile has every figure")
    }

    /// Shapes of the translation structures. One that cannot be built is refused when the machine is.
    pub fn geometry(&self) -> MmuGeometry {
        let costs = self.costs();
        let shape = |sets, ways| TlbGeometry {
            sets: sets as u32,
            ways: ways as u32,
        };
        MmuGeometry {
            slb_entries: costs.slb_entries as usize,
            erat: shape(costs.erat_sets, costs.erat_ways),
            ierat: shape(costs.ierat_sets, costs.ierat_ways),
            tlb: shape(costs.tlb_sets, costs.tlb_ways),
            erat_replacement: Replacement::Lru,
            tlb_replacement: Replacement::Lru,
        }
    }
}

fn parse_table(text: &str) -> Result<Table, ProfileError> {
    text.parse()
        .map_err(|error: toml::de::Error| ProfileError::Parse(error.to_string().trim().to_owned()))
}

fn word(file: &Table, key: &str) -> Result<Option<String>, ProfileError> {
    match file.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(ProfileError::Shape {
            path: key.to_owned(),
            what: "a text is needed".to_owned(),
        }),
    }
}

fn figure(path: &str, value: &Value) -> Result<Figure, ProfileError> {
    let refuse = |what: &str| ProfileError::Shape {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let Value::Table(figure) = value else {
        return Err(refuse("it is no table"));
    };
    if let Some(key) = figure.keys().find(|k| *k != "value" && *k != "source") {
        return Err(refuse(&format!("`{key}` is neither")));
    }
    let number = figure.get("value").and_then(Value::as_integer);
    let number = number.and_then(|n| u64::try_from(n).ok());
    let source = figure.get("source").and_then(Value::as_str).unwrap_or("");
    if source.trim().is_empty() {
        return Err(ProfileError::NoSource(path.to_owned()));
    }
    Ok(Figure {
        value: number.ok_or_else(|| refuse("`value` is a number from 0"))?,
        source: source.to_owned(),
    })
}

fn function_counts() -> Result<BTreeMap<String, Figure>, ProfileError> {
    let file = parse_table(FUNCTIONS)?;
    let Some(Value::Table(functions)) = file.get("functions") else {
        return Err(ProfileError::Parse("no table `functions`".to_owned()));
    };
    let read = |(name, value): (&String, &Value)| {
        let figure = figure(&format!("functions.{name}"), value)?;
        Ok((name.clone(), figure))
    };
    functions.iter().map(read).collect()
}
