//! Scenarios: a workload and the settings it is run with, as TOML text.
//!
//! Owns the built-in scenarios (`traces/scenarios/`), what a text describes and how settings stand over
//! each other. Refuses to run anything: `run` does.
//!
//! ```
//! use emu_linux::{Scenario, Source, run};
//!
//! let text = "name = 'short'\nsummary = 'Ten pairs.'\nworkload = 'vmalloc-pairs'\noperations = 10\n";
//! let scenario = Scenario::parse(text).unwrap();
//! let config = scenario.settings().config("mainline-6.1");
//! let report = run(&Source::File(Box::new(scenario)), &config, &mut |_| ()).unwrap();
//! assert_eq!(report.counters.vmalloc, 10);
//! ```

mod error;
mod file;
pub mod fuzzing;
mod settings;
#[cfg(test)]
mod tests;

pub use error::{ScenarioError, ScenarioErrors};
pub use settings::Settings;

use std::sync::LazyLock;

/// A scenario that is built in, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ScenarioInfo {
    /// Name, as typed.
    pub name: &'static str,
    /// What it runs.
    pub about: &'static str,
}

/// A checked scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    name: String,
    summary: String,
    workload: &'static str,
    policy: Option<String>,
    settings: Settings,
    text: String,
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// The texts of the built-in scenarios, in the order of the lists.
        const TEXTS: &[&str] = &[
            $(include_str!(concat!("../../../traces/scenarios/", $name, ".toml"))),*
        ];
    };
}

built_in![
    "swapon-swapoff",
    "vmalloc-pairs",
    "vmalloc-random",
    "vmalloc-areas",
    "live-mappings",
    "user-random",
    "user-mprotect",
    "user-unmap",
    "test_vmalloc",
    "vm-map-ram",
    "ioremap",
    "alloc-vm-area",
    "module-load",
    "kasan-populate",
];

/// A test reads them all, so that none is left out here.
static BUILT_IN: LazyLock<Vec<Scenario>> = LazyLock::new(|| {
    let parsed = TEXTS.iter().map(|text| Scenario::parse(text));
    parsed.filter_map(Result::ok).collect()
});

/// All built-in scenarios.
pub fn scenarios() -> Vec<ScenarioInfo> {
    let built_in = BUILT_IN.iter().map(|scenario| ScenarioInfo {
        name: &scenario.name,
        about: &scenario.summary,
    });
    built_in.collect()
}

impl Scenario {
    /// Reads and checks a text.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place and what would be right.
    pub fn parse(text: &str) -> Result<Self, ScenarioErrors> {
        file::parse(text)
    }

    /// The built-in scenario of that name.
    pub fn built_in(name: &str) -> Option<&'static Scenario> {
        BUILT_IN.iter().find(|scenario| scenario.name == name)
    }

    /// Its name, as reports have it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it runs, for a person.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// The workload that it runs.
    pub fn workload(&self) -> &'static str {
        self.workload
    }

    /// The policy that it names, if it names one.
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// The settings that it names.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }
}
