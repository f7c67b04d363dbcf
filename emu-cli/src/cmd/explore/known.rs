//! The scenarios that can be explored: those that are shipped, or the one of a file.
//!
//! Owns which of them were asked for. Refuses what a scenario is: that is the library's.

use super::cells::Job;
use crate::args::ExploreArgs;
use crate::plan::{policies_named, scenario_text};
use anyhow::{Context, Result, anyhow, bail};
use emu_linux::explore::{ExploreScenario, ReplayError, Replayed, explore_scenarios, replay_of};
use emu_linux::nearest;
use std::path::Path;

/// What a file's name ends with; no scenario's does.
const FILE: &str = ".toml";

/// The scenarios that a name or a string may mean.
pub struct Known {
    scenarios: Vec<ExploreScenario>,
    /// The text of the file that has the only one.
    text: Option<String>,
}

impl Known {
    /// Those among which a typed name is one: a file has its own.
    pub fn named(name: Option<&str>) -> Result<Self> {
        Known::in_file(name.filter(|name| name.ends_with(FILE)).map(Path::new))
    }

    /// The one of a file, or without a file those that are shipped.
    pub fn in_file(path: Option<&Path>) -> Result<Self> {
        match path {
            Some(path) => {
                let text = scenario_text(path)?;
                let mut known = Known::in_text(&text)
                    .with_context(|| format!("scenario `{}`", path.display()))?;
                known.text = Some(text);
                Ok(known)
            }
            None => Ok(Known {
                scenarios: explore_scenarios().context("a shipped scenario is damaged")?,
                text: None,
            }),
        }
    }

    /// The one that a text has.
    pub fn in_text(text: &str) -> Result<Self> {
        Ok(Known {
            scenarios: vec![ExploreScenario::parse(text)?],
            text: None,
        })
    }

    /// One schedule again, from its string.
    pub fn replay(&self, string: &str) -> Result<Replayed> {
        replay_of(&self.scenarios, string).map_err(|error| match error {
            ReplayError::NoScenario(..) if self.text.is_none() => {
                anyhow!("{error}; if it was explored from a file, `--scenario FILE.toml` names it")
            }
            error => error.into(),
        })
    }

    /// The text of the file that has the only one, if they are not those that are shipped.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// One by its name.
    pub fn find(&self, id: &str) -> Result<&ExploreScenario> {
        let found = self.scenarios.iter().find(|scenario| scenario.id == id);
        found.ok_or_else(|| {
            let ids: Vec<&str> = self.scenarios.iter().map(|s| s.id.as_str()).collect();
            let near = nearest(id, ids.iter().copied());
            let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            anyhow!(
                "no scenario `{id}` to explore{near} They are: {}; a file's name ends with `{FILE}`",
                ids.join(", ")
            )
        })
    }

    /// The cells that were asked for.
    pub fn jobs(&self, args: &ExploreArgs) -> Result<Vec<Job<'_>>> {
        let scenarios = self.chosen(args)?;
        let policies = policies_named(&args.policies)?;
        let mut jobs = Vec::new();
        for &scenario in &scenarios {
            for policy in &policies {
                for &cpus in &args.cpus {
                    let policy = policy.name;
                    jobs.push(Job {
                        scenario,
                        policy,
                        cpus,
                    });
                }
            }
        }
        Ok(jobs)
    }

    fn chosen(&self, args: &ExploreArgs) -> Result<Vec<&ExploreScenario>> {
        let all = || self.scenarios.iter().collect();
        match (
            args.scenario.as_deref().unwrap_or("all"),
            args.only.is_empty(),
        ) {
            ("all", true) => Ok(all()),
            ("all", false) => args.only.iter().map(|id| self.find(id)).collect(),
            (_, false) => {
                bail!("`--only` narrows `emu explore all`; one scenario was named already")
            }
            (_, true) if self.text.is_some() => Ok(all()),
            (id, true) => Ok(vec![self.find(id)?]),
        }
    }
}
