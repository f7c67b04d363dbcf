//! Policies composed of named points of shipped ones, from a TOML text.
//!
//! Owns the text and its checks. Refuses code: what a point does is written in a policy's file.
//!
//! ```toml
//! name = "my-rule"
//! about = "The hooks of 6.1 round the sections of mmotm."
//! enter = "mainline-6.1"
//! leave = "mainline-6.1"
//! ```

use super::policy::{policies, shipped};
use super::{LazyMmuPolicy, VmallocWalk};
use crate::config::nearest;
use crate::kernel::Linux;
use crate::mm::Mm;
use emu_core::{Ctx, Run};
use emu_mmu::Ea;

/// Policy whose points stand where the text names none: the defaults of the trait.
const BASE: &str = "mmotm";
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 40;

macro_rules! points {
    ($($point:ident),* $(,)?) => {
        /// The text as TOML has it.
        #[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Text {
            name: String,
            about: String,
            $($point: Option<String>,)*
        }

        /// Keys that name a point.
        const POINTS: &[&str] = &[$(stringify!($point)),*];

        impl Text {
            /// The points that the text names, with their policies.
            fn points(&self) -> Vec<(&'static str, &str)> {
                [$((stringify!($point), self.$point.as_deref())),*]
                    .into_iter()
                    .filter_map(|(point, policy)| policy.map(|policy| (point, policy)))
                    .collect()
            }
        }

        /// A policy whose points come from several.
        struct Composed {
            name: String,
            origin: String,
            about: String,
            $($point: &'static dyn LazyMmuPolicy,)*
        }

        impl Composed {
            fn new(text: &Text) -> Self {
                Composed {
                    name: text.name.clone(),
                    origin: text.origin(),
                    about: text.about.clone(),
                    $($point: part(text.$point.as_deref()),)*
                }
            }
        }
    };
}

points! {
    vmalloc_walk,
    enter,
    leave,
    batch_active,
    flush_range_batch,
    switch_out,
    switch_in,
    kernel_table_allocated,
    kernel_section,
    kernel_loop,
    mapping_failed,
}

/// The policy that a point comes from. Names were checked when the text was read.
fn part(policy: Option<&str>) -> &'static dyn LazyMmuPolicy {
    policy.and_then(shipped).unwrap_or(&super::policy::Mmotm)
}

/// Why a policy file was refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// Not TOML, a value of another type, a key missing.
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
    /// A key that is no point.
    #[error("no point `{key}`{}; the keys are name, about, {known}", hint(.nearest))]
    NoPoint {
        /// The key.
        key: String,
        /// The nearest key there is.
        nearest: Option<String>,
        /// All points.
        known: String,
    },
    /// A point with a policy that is not shipped.
    #[error("{point}: no policy `{name}`{}; `emu policy list` names them all", hint(.nearest))]
    NoPolicy {
        /// The point.
        point: &'static str,
        /// What was asked for.
        name: String,
        /// The nearest name there is.
        nearest: Option<String>,
    },
    /// A name that cannot stand in reports.
    #[error(
        "the name `{name}` is {problem}; take 1 to {NAME_BYTES_MAX} lower-case letters, digits, dots \
         and hyphens, not the name of a shipped policy"
    )]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

fn hint(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|name| format!(", did you mean `{name}`?"))
        .unwrap_or_default()
}

/// A checked composition of points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile(Text);

impl PolicyFile {
    /// Reads and checks a TOML text: `name`, `about`, and for each point the shipped policy whose code
    /// stands there. Points that are not named are those of `mmotm`.
    ///
    /// # Errors
    /// A text that is not TOML, a key or a policy that does not exist, a name that is taken.
    pub fn parse(text: &str) -> Result<Self, PolicyFileError> {
        let table: toml::Table = toml::from_str(text)?;
        let known = || ["name", "about"].into_iter().chain(POINTS.iter().copied());
        if let Some(key) = table.keys().find(|key| known().all(|k| k != key.as_str())) {
            return Err(PolicyFileError::NoPoint {
                key: key.clone(),
                nearest: nearest(key, known()),
                known: POINTS.join(", "),
            });
        }
        let text: Text = toml::from_str(text)?;
        check_name(&text.name)?;
        for (point, policy) in text.points() {
            if shipped(policy).is_none() {
                return Err(PolicyFileError::NoPolicy {
                    point,
                    name: policy.to_owned(),
                    nearest: nearest(policy, policies().iter().map(|p| p.name)),
                });
            }
        }
        Ok(PolicyFile(text))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The policy.
    pub fn policy(&self) -> Box<dyn LazyMmuPolicy> {
        Box::new(Composed::new(&self.0))
    }
}

fn check_name(name: &str) -> Result<(), PolicyFileError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    let problem = if name.is_empty() {
        "empty"
    } else if name.len() > NAME_BYTES_MAX {
        "too long"
    } else if !name.bytes().all(allowed) {
        "no plain word"
    } else if shipped(name).is_some() {
        "taken"
    } else {
        return Ok(());
    };
    Err(PolicyFileError::Name {
        name: name.to_owned(),
        problem,
    })
}

impl Text {
    fn origin(&self) -> String {
        let points = self.points();
        let mut parts: Vec<String> = points
            .iter()
            .map(|(point, policy)| format!("{point} of {policy}"))
            .collect();
        if parts.len() < POINTS.len() {
            parts.push(format!("the rest of {BASE}"));
        }
        format!("a policy file: {}", parts.join(", "))
    }
}

impl LazyMmuPolicy for Composed {
    fn name(&self) -> &str {
        &self.name
    }

    fn origin(&self) -> &str {
        &self.origin
    }

    fn about(&self) -> &str {
        &self.about
    }

    fn vmalloc_walk(&self) -> VmallocWalk {
        self.vmalloc_walk.vmalloc_walk()
    }

    fn enter(&self, linux: &Linux, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        self.enter.enter(linux, cx, mm)
    }

    fn leave(&self, linux: &Linux, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        self.leave.leave(linux, cx, mm)
    }

    fn batch_active(&self, linux: &Linux, cx: &mut Ctx<'_>, b: Ea, mm: Mm) -> Run<bool> {
        self.batch_active.batch_active(linux, cx, b, mm)
    }

    fn flush_range_batch(&self, linux: &Linux, cx: &mut Ctx<'_>, callers: Ea) -> Run<Ea> {
        self.flush_range_batch.flush_range_batch(linux, cx, callers)
    }

    fn switch_out(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        self.switch_out.switch_out(linux, cx)
    }

    fn switch_in(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        self.switch_in.switch_in(linux, cx)
    }

    fn kernel_table_allocated(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        self.kernel_table_allocated
            .kernel_table_allocated(linux, cx)
    }

    fn kernel_section_begin(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        self.kernel_section.kernel_section_begin(linux, cx)
    }

    fn kernel_section_end(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        self.kernel_section.kernel_section_end(linux, cx)
    }

    fn kernel_loop_begin(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        self.kernel_loop.kernel_loop_begin(linux, cx)
    }

    fn kernel_loop_end(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        self.kernel_loop.kernel_loop_end(linux, cx)
    }

    fn mapping_failed(&self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        self.mapping_failed.mapping_failed(linux, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name = 'mine'\nabout = 'a test'\nenter = 'mainline-6.1'\nleave = \
                        'mainline-6.1'\nkernel_section = 'apply-ptl'\n";

    #[test]
    fn a_composition_says_what_it_is_made_of() {
        let policy = PolicyFile::parse(GOOD).unwrap().policy();
        assert_eq!((policy.name(), policy.about()), ("mine", "a test"));
        assert_eq!(
            policy.origin(),
            "a policy file: enter of mainline-6.1, leave of mainline-6.1, kernel_section of \
             apply-ptl, the rest of mmotm"
        );
        assert_eq!(policy.vmalloc_walk(), VmallocWalk::ApplyBatch);
        let walk = format!("{GOOD}vmalloc_walk = 'no-kernel-batch'\n");
        let policy = PolicyFile::parse(&walk).unwrap().policy();
        assert_eq!(policy.vmalloc_walk(), VmallocWalk::OpenCoded);
    }

    #[test]
    fn every_refusal_names_what_was_wrong_and_what_would_be_right() {
        for (text, words) in [
            (
                "name = 'x'\nabout = 'y'\nentr = 'mmotm'",
                ["`entr`", "`enter`"],
            ),
            (
                "name = 'x'\nabout = 'y'\nenter = 'mmtom'",
                ["`mmtom`", "`mmotm`"],
            ),
            ("name = 'x'\nabout = 'y'\nenter = 3", ["integer", "string"]),
            ("name = 'x'", ["missing", "about"]),
            ("name = 'mmotm'\nabout = 'y'", ["`mmotm`", "taken"]),
            ("name = ''\nabout = 'y'", ["empty", "letters"]),
            ("name = 'a b'\nabout = 'y'", ["`a b`", "letters"]),
            ("name = ", ["name", "line"]),
        ] {
            let said = PolicyFile::parse(text).unwrap_err().to_string();
            assert!(
                words.iter().all(|word| said.contains(word)),
                "{text}: {said}"
            );
        }
    }
}
