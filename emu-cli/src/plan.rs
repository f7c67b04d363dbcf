//! What the command line means: a source, a configuration, places for the output.
//!
//! Owns every check that needs the library's names or the file system. What it hands out can be run
//! as it is.

mod machine;
mod source;

pub use machine::{machine_named, machines_named};
pub use source::{no_scenario, scenario_text};

use crate::args::{CompareArgs, FailAlloc, MachineArgs, OutputArgs, RunArgs};
use crate::output::Place;
use anyhow::{Context, Result, bail};
use emu_linux::{PolicyFile, PolicyInfo, RunConfig, RunError, Settings, Source, nearest, policies};
use source::{Named, toml_text};
use std::path::Path;

/// `emu run`, checked.
#[derive(Debug)]
pub struct RunPlan {
    /// What is run.
    pub source: Source,
    /// How.
    pub config: RunConfig,
    /// The form and place of the report.
    pub output: Output,
    /// Place of the kernel log, if it is asked for.
    pub kernel_log: Option<Place>,
    /// Place of the timeline, if it is asked for.
    pub timeline: Option<Place>,
    /// One run for each allocation, made to fail.
    pub each: bool,
}

/// `emu compare`, checked.
#[derive(Debug)]
pub struct ComparePlan {
    /// What is run.
    pub source: Source,
    /// How, one for each policy.
    pub configs: Vec<RunConfig>,
    /// The form and place of the report.
    pub output: Output,
}

/// The form and place of a report.
#[derive(Debug)]
pub struct Output {
    /// JSON, not text.
    pub json: bool,
    /// Where.
    pub place: Place,
}

impl RunPlan {
    /// Checks what was typed.
    ///
    /// # Errors
    /// One sentence that names what is wrong and what would be right.
    pub fn new(args: RunArgs) -> Result<RunPlan> {
        let named = Named::new(&args.source)?;
        refuse_scenario_flags(&args.machine, &named.source)?;
        let policy = args.policy.as_deref().or(match args.policy_file {
            Some(_) => None,
            None => named.policy(),
        });
        let config = match (policy, &args.policy_file) {
            (Some(name), _) => config_of(policy_named(name)?.name, &args.machine, &named)?,
            (None, Some(path)) => {
                let file = policy_file(path)?;
                RunConfig {
                    policy_file: Some(file.clone()),
                    ..config_of(file.name(), &args.machine, &named)?
                }
            }
            (None, None) => {
                bail!("`emu run` needs `--policy NAME`; `emu policy list` names them all")
            }
        };
        let config = RunConfig {
            timeline: args.timeline.is_some(),
            ..config
        };
        let output = Output::new(&args.output, &named)?;
        let kernel_log = args.kernel_log.as_deref().map(Place::check).transpose()?;
        let timeline = args.timeline.as_deref().map(Place::check).transpose()?;
        let each = args.machine.fail_alloc == Some(FailAlloc::Each);
        if each && (kernel_log.is_some() || timeline.is_some()) {
            bail!(
                "`--fail-alloc each` is many runs and has no one kernel log or timeline; name one allocation"
            );
        }
        if let Some(timeline) = &timeline {
            named.refuse_to_overwrite(timeline)?;
            let others = [Some(&output.place), kernel_log.as_ref()];
            if others
                .into_iter()
                .flatten()
                .any(|other| other.path() == timeline.path())
            {
                bail!(
                    "`--timeline` needs a place of its own: name a file that no other output has"
                );
            }
        }
        if let Some(log) = &kernel_log {
            named.refuse_to_overwrite(log)?;
            match (log.path(), output.place.path()) {
                (None, None) if output.json => bail!(
                    "standard output can hold the JSON or the kernel log: give `-o FILE` or \
                     `--kernel-log FILE`"
                ),
                (Some(log), Some(report)) if log == report => bail!(
                    "`-o` and `--kernel-log` name the same file `{}`; give each its own",
                    report.display()
                ),
                _ => {}
            }
        }
        Ok(RunPlan {
            source: named.source,
            config,
            output,
            kernel_log,
            timeline,
            each,
        })
    }
}

impl ComparePlan {
    /// Checks what was typed.
    ///
    /// # Errors
    /// One sentence that names what is wrong and what would be right.
    pub fn new(args: CompareArgs) -> Result<ComparePlan> {
        if args.machine.fail_alloc == Some(FailAlloc::Each) {
            bail!("`--fail-alloc each` is for `emu run`; `emu compare` takes a number");
        }
        let policies = policies_named(&args.policies)?;
        let named = Named::new(&args.source)?;
        refuse_scenario_flags(&args.machine, &named.source)?;
        let output = Output::new(&args.output, &named)?;
        let configs = policies
            .iter()
            .map(|policy| config_of(policy.name, &args.machine, &named))
            .collect::<Result<_>>()?;
        Ok(ComparePlan {
            source: named.source,
            configs,
            output,
        })
    }
}

impl Output {
    fn new(args: &OutputArgs, named: &Named) -> Result<Output> {
        let place = match &args.output {
            Some(path) => Place::check(path)?,
            None => Place::Stdout,
        };
        named.refuse_to_overwrite(&place)?;
        Ok(Output {
            json: args.json,
            place,
        })
    }
}

/// The flags that only a scenario understands.
fn refuse_scenario_flags(machine: &MachineArgs, source: &Source) -> Result<()> {
    if let Source::Trace(trace) = source {
        let given = [
            ("--touch", machine.touch),
            ("--operations", machine.operations),
        ];
        if let Some((flag, _)) = given.iter().find(|(_, value)| value.is_some()) {
            bail!(
                "`{flag}` is for scenarios; `{}` is replayed whole",
                trace.display()
            );
        }
    }
    Ok(())
}

/// The policy called `name`.
///
/// # Errors
/// [`RunError::NoPolicy`] with the nearest name.
pub fn policy_named(name: &str) -> Result<PolicyInfo, RunError> {
    policies()
        .into_iter()
        .find(|policy| policy.name == name)
        .ok_or_else(|| RunError::NoPolicy {
            name: name.to_owned(),
            nearest: nearest(name, policies().iter().map(|policy| policy.name)),
        })
}

/// The policies that names with commas between them, or `all`, stand for.
pub(crate) fn policies_named(names: &[String]) -> Result<Vec<PolicyInfo>> {
    if names.iter().any(|name| name == "all") {
        if names.len() > 1 {
            bail!("`all` stands alone: `--policies all`, or names with commas between them");
        }
        return Ok(policies());
    }
    let mut chosen: Vec<PolicyInfo> = Vec::new();
    for name in names {
        if name.is_empty() {
            bail!("`--policies` has an empty name; `emu policy list` names them all");
        }
        let policy = policy_named(name)?;
        if chosen.iter().any(|other| other.name == policy.name) {
            bail!("policy `{name}` is named twice; name each once");
        }
        chosen.push(policy);
    }
    Ok(chosen)
}

/// What was typed stands over what a scenario's file says.
fn config_of(policy: &str, args: &MachineArgs, named: &Named) -> Result<RunConfig> {
    let typed = Settings {
        machine: machine::machine_typed(args)?,
        ..args.settings()
    };
    let settings = typed.over(named.settings());
    Ok(RunConfig {
        check: !args.no_check,
        machine_changes: args.set.clone(),
        ..settings.config(policy)
    })
}

fn policy_file(path: &Path) -> Result<PolicyFile> {
    let text = toml_text("policy file", path)?;
    PolicyFile::parse(&text).with_context(|| format!("policy file `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Verb, parse};
    use emu_linux::scenarios;

    fn plan(words: &[&str]) -> Result<RunPlan> {
        let words = ["emu", "run"].iter().chain(words).map(|word| word.into());
        let Verb::Run(args) = parse(words).unwrap().verb else {
            panic!("not run")
        };
        RunPlan::new(args)
    }

    fn scenario() -> &'static str {
        scenarios()[0].name
    }

    #[test]
    fn what_was_typed_reaches_the_configuration() {
        let policy = policies()[0].name;
        let words = [
            scenario(),
            "--policy",
            policy,
            "--cpus",
            "2",
            "--pin",
            "--no-check",
        ];
        let plan = plan(&words).unwrap();
        assert_eq!(plan.source, Source::Scenario(scenario().into()));
        let expected = RunConfig {
            cpus: Some(2),
            pin: true,
            check: false,
            ..RunConfig::new(policy)
        };
        assert_eq!(plan.config, expected);
        assert_eq!(plan.output.place, Place::Stdout);
    }

    #[test]
    fn policy_files_are_read_and_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let typed = path.to_str().unwrap();
        let words = [scenario(), "--policy-file", typed];
        assert!(format!("{:#}", plan(&words).unwrap_err()).contains("mine.toml"));
        std::fs::write(
            &path,
            "name = 'mine'\nabout = 'a test'\nenter = 'mainline-6.1'",
        )
        .unwrap();
        let config = plan(&words).unwrap().config;
        assert_eq!(config.policy, "mine");
        assert!(config.policy_file.is_some());
        std::fs::write(&path, "name = 'mine'\nabout = 'a test'\nentr = 'mmotm'").unwrap();
        let said = format!("{:#}", plan(&words).unwrap_err());
        assert!(
            said.contains("mine.toml") && said.contains("`enter`"),
            "{said}"
        );
        std::fs::write(&path, vec![b'#'; (64 << 10) + 1]).unwrap();
        assert!(format!("{:#}", plan(&words).unwrap_err()).contains("longer"));
    }

    #[test]
    fn standard_output_holds_json_or_the_log() {
        let common = [
            scenario(),
            "--policy",
            policies()[0].name,
            "--kernel-log",
            "-",
        ];
        assert!(plan(&common).is_ok());
        let with = |more: &[&str]| plan(&[&common[..], more].concat());
        assert!(format!("{:#}", with(&["--json"]).unwrap_err()).contains("-o FILE"));
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        assert!(with(&["--json", "-o", out.to_str().unwrap()]).is_ok());
    }

    #[test]
    fn outputs_do_not_meet_each_other_nor_the_capture() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let file = file.to_str().unwrap();
        let policy = policies()[0].name;
        let both = [
            scenario(),
            "--policy",
            policy,
            "-o",
            file,
            "--kernel-log",
            file,
        ];
        assert!(format!("{:#}", plan(&both).unwrap_err()).contains("same file"));
        std::fs::write(file, "# tracer: nop\n").unwrap();
        for flag in ["-o", "--kernel-log"] {
            let onto = plan(&[file, "--policy", policy, flag, file]).unwrap_err();
            assert!(format!("{onto:#}").contains("capture itself"));
        }
    }

    #[test]
    fn flags_of_scenarios_are_refused_for_captures() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "# tracer: nop\n").unwrap();
        let policy = policies()[0].name;
        for flag in ["--touch", "--operations"] {
            let refused = plan(&[file.to_str().unwrap(), "--policy", policy, flag, "3"]);
            assert!(refused.unwrap_err().to_string().contains(flag));
            assert!(plan(&[scenario(), "--policy", policy, flag, "3"]).is_ok());
        }
    }

    #[test]
    fn lists_of_policies_are_checked() {
        let names = |list: &[&str]| {
            let list: Vec<String> = list.iter().map(|&name| name.to_owned()).collect();
            policies_named(&list)
                .map(|chosen| chosen.len())
                .map_err(|error| error.to_string())
        };
        let first = policies()[0].name;
        assert_eq!(names(&["all"]), Ok(policies().len()));
        assert_eq!(names(&[first]), Ok(1));
        assert!(names(&["all", first]).unwrap_err().contains("alone"));
        assert!(names(&[first, first]).unwrap_err().contains("twice"));
        assert!(names(&[first, ""]).unwrap_err().contains("empty"));
        assert!(
            names(&["no-such-policy-at-all"])
                .unwrap_err()
                .contains("emu policy list")
        );
    }
}
