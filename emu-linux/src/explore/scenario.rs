//! Scenarios small enough to be explored: TOML, schema-checked.

use super::op::{Op, OpError};
use crate::config::Preempt;
use serde::Deserialize;

/// A scenario for the explorer.
#[derive(Clone, Debug)]
pub struct ExploreScenario {
    /// Its name.
    pub id: String,
    /// What it is about, a sentence.
    pub about: String,
    /// Where the kernel can be preempted.
    pub preempt: Preempt,
    /// This allocation of the explored tasks fails, counted from 1.
    pub fail_alloc: Option<u64>,
    /// This page of vmalloc cannot be mapped, counted from 1.
    pub fail_map: Option<u64>,
    /// A bug on purpose.
    #[cfg(test)]
    pub(crate) mutation: Option<crate::mutation::Mutation>,
    /// What is done once, before anything is explored.
    pub setup: Vec<Op>,
    /// The tasks.
    pub tasks: Vec<ExploreTask>,
}

/// One of its tasks.
#[derive(Clone, Debug)]
pub struct ExploreTask {
    /// Its name.
    pub name: String,
    /// The CPU whose run queue it begins on; on a machine with fewer, the last one.
    pub cpu: u16,
    /// Its address space, made by the set-up.
    pub mm: Option<String>,
    /// What it does.
    pub run: Vec<Op>,
}

/// Why a scenario was refused.
#[derive(Debug, thiserror::Error)]
pub enum ExploreScenarioError {
    /// Not TOML of the expected shape.
    #[error("{0}")]
    Parse(#[from] toml::de::Error),
    /// A line of a program.
    #[error("line {0}")]
    Op(#[from] OpError),
    /// A value that is not one of a few.
    #[error("`preempt = \"{0}\"`: none, full or rt is right")]
    Preempt(String),
    /// A task names what the set-up does not make.
    #[error("task `{task}` runs in `{mm}`, which the set-up does not make; `mm {mm}` there would")]
    NoMm {
        /// The task.
        task: String,
        /// The address space.
        mm: String,
    },
    /// A name that no replay string could have.
    #[error("`id = \"{0}\"`: letters, digits, `-` and `_` are right")]
    Id(String),
    /// A line needs what was not made before it.
    #[error("{of}: `{name}` was not made before; `{made_by} {name}` would")]
    NotMade {
        /// The task, or the set-up.
        of: String,
        /// An area or an address space.
        name: String,
        /// What makes one.
        made_by: &'static str,
    },
    /// A line of a user program where there is none.
    #[error(
        "{0}: a line of a user program needs a task with an address space; `mm = \"NAME\"` gives it one"
    )]
    NoUser(String),
    /// No task, or too many.
    #[error("{0} tasks: 1 to 4 are right")]
    Tasks(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    about: String,
    #[serde(default)]
    preempt: Option<String>,
    #[serde(default)]
    fail_alloc: Option<u64>,
    #[serde(default)]
    fail_map: Option<u64>,
    #[serde(default)]
    setup: Vec<String>,
    task: Vec<TaskTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskTable {
    name: String,
    #[serde(default)]
    cpu: u16,
    #[serde(default)]
    mm: Option<String>,
    run: Vec<String>,
}

fn ops(lines: &[String]) -> Result<Vec<Op>, OpError> {
    lines.iter().map(|line| line.parse()).collect()
}

/// Refuses lines that need what was not made before; `areas` and `mms` are what was. Adds what these make.
fn check<'a>(
    of: &str,
    lines: &'a [Op],
    user: bool,
    (areas, mms): (&mut Vec<&'a str>, &mut Vec<&'a str>),
) -> Result<(), ExploreScenarioError> {
    let not_made = |name: &str, made_by| ExploreScenarioError::NotMade {
        of: of.to_owned(),
        name: name.to_owned(),
        made_by,
    };
    for line in lines {
        if let Some(area) = line.needs_area().filter(|area| !areas.contains(area)) {
            return Err(not_made(area, "vmalloc"));
        }
        if let Some(mm) = line.needs_mm().filter(|mm| !mms.contains(mm)) {
            return Err(not_made(mm, "mm"));
        }
        if line.is_of_user() && !user {
            return Err(ExploreScenarioError::NoUser(of.to_owned()));
        }
        areas.extend(line.makes_area());
        if let Op::Mm(mm) = line {
            mms.push(mm);
        }
    }
    Ok(())
}

impl ExploreScenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// [`ExploreScenarioError`].
    pub fn parse(text: &str) -> Result<Self, ExploreScenarioError> {
        let file: File = toml::from_str(text)?;
        let preempt = match file.preempt.as_deref() {
            None | Some("full") => Preempt::Full,
            Some("none") => Preempt::None,
            Some("rt") => Preempt::Rt,
            Some(other) => return Err(ExploreScenarioError::Preempt(other.to_owned())),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        if file.id.is_empty() || !file.id.bytes().all(plain) {
            return Err(ExploreScenarioError::Id(file.id));
        }
        let setup = ops(&file.setup)?;
        let (mut areas, mut mms) = (Vec::new(), Vec::new());
        check("set-up", &setup, false, (&mut areas, &mut mms))?;
        if !(1..=4).contains(&file.task.len()) {
            return Err(ExploreScenarioError::Tasks(file.task.len()));
        }
        let mut tasks = Vec::new();
        for task in file.task {
            if let Some(mm) = &task.mm
                && !setup.contains(&Op::Mm(mm.clone()))
            {
                let (task, mm) = (task.name, mm.clone());
                return Err(ExploreScenarioError::NoMm { task, mm });
            }
            let run = ops(&task.run)?;
            let of = format!("task `{}`", task.name);
            let made = (&mut areas.clone(), &mut mms.clone());
            check(&of, &run, task.mm.is_some(), made)?;
            tasks.push(ExploreTask {
                run,
                name: task.name,
                cpu: task.cpu,
                mm: task.mm,
            });
        }
        Ok(ExploreScenario {
            id: file.id,
            about: file.about,
            preempt,
            fail_alloc: file.fail_alloc,
            fail_map: file.fail_map,
            #[cfg(test)]
            mutation: None,
            setup,
            tasks,
        })
    }
}

macro_rules! shipped {
    ($($file:literal),* $(,)?) => {
        [$(include_str!(concat!("../../../traces/scenarios/explore/", $file, ".toml"))),*]
    };
}

const SHIPPED: [&str; 13] = shipped![
    "unmap-vs-cow",
    "vfree-reuse",
    "two-vmallocs",
    "swapoff-migrate",
    "mprotect-vs-fault",
    "munmap-gather",
    "set-memory-vs-access",
    "enomem-midbatch",
    "error-midbatch",
    "sleeping-callback",
    "rt-ptl",
    "set-memory-replacing",
    "munmap-vs-thread",
];

/// The shipped scenarios.
///
/// # Errors
/// If a shipped file were damaged; a test reads them.
pub fn explore_scenarios() -> Result<Vec<ExploreScenario>, ExploreScenarioError> {
    SHIPPED
        .iter()
        .map(|text| ExploreScenario::parse(text))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_ones_are_read() {
        let all = explore_scenarios().unwrap();
        assert_eq!(all.len(), SHIPPED.len());
        assert!(
            all.iter()
                .all(|s| !s.about.is_empty() && !s.tasks.is_empty())
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |text: &str| ExploreScenario::parse(text).unwrap_err().to_string();
        let task = "[[task]]\nname = \"t\"\nrun = [\"load 0\"]\nmm = \"m\"";
        assert!(
            refused(&format!("id = \"x\"\nabout = \"y\"\n{task}")).contains("`mm m` there would")
        );
        assert!(refused("id = \"x\"\nabout = \"y\"\ntask = []").contains("0 tasks"));
        let id = |id: &str| refused(&format!("id = \"{id}\"\nabout = \"y\"\ntask = []"));
        assert!(id("x/y").contains("letters, digits"));
        assert!(id("").contains("letters, digits"));
        let setup = |line: &str| {
            refused(&format!(
                "id = \"x\"\nabout = \"y\"\nsetup = [\"{line}\"]\ntask = []"
            ))
        };
        assert!(setup("read a 0").contains("set-up: `a` was not made before; `vmalloc a` would"));
        assert!(setup("fork m").contains("`mm m` would"));
        assert!(setup("store 0").contains("user program"));
        let of_task = |line: &str| {
            let task = format!("[[task]]\nname = \"t\"\nrun = [\"{line}\"]");
            refused(&format!("id = \"x\"\nabout = \"y\"\n{task}"))
        };
        assert!(of_task("vfree b").contains("task `t`: `b` was not made before"));
        assert!(of_task("load 0").contains("task `t`: a line of a user program"));
        assert!(refused("id = \"x\"\nabot = \"y\"\ntask = []").contains("abot"));
        let text = "id = \"x\"\nabout = \"y\"\npreempt = \"some\"\ntask = []";
        assert!(refused(text).contains("none, full or rt"));
    }
}
