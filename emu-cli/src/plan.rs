//! What the command line means: a source, a configuration, places for the output.
//!
//! Owns every check that needs the library's names or the file system. What it hands out can be run
//! as it is.

use crate::args::{CompareArgs, MachineArgs, OutputArgs, RunArgs};
use crate::output::Place;
use anyhow::{Context, Result, bail};
use emu_linux::{
    PolicyFile, PolicyInfo, RunConfig, RunError, Source, nearest, policies, scenarios,
};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

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
        let config = match (&args.policy, &args.policy_file) {
            (Some(name), _) => config_of(policy_named(name)?.name, &args.machine),
            (None, Some(path)) => {
                let file = policy_file(path)?;
                RunConfig {
                    policy_file: Some(file.clone()),
                    ..config_of(file.name(), &args.machine)
                }
            }
            (None, None) => {
                bail!("`emu run` needs `--policy NAME`; `emu policy list` names them all")
            }
        };
        let source = source_named(&args.source)?;
        refuse_scenario_flags(&args.machine, &source)?;
        let output = Output::new(&args.output, &source)?;
        let kernel_log = args.kernel_log.as_deref().map(Place::check).transpose()?;
        if let Some(log) = &kernel_log {
            refuse_to_overwrite_source(log, &source)?;
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
            source,
            config,
            output,
            kernel_log,
        })
    }
}

impl ComparePlan {
    /// Checks what was typed.
    ///
    /// # Errors
    /// One sentence that names what is wrong and what would be right.
    pub fn new(args: CompareArgs) -> Result<ComparePlan> {
        let policies = policies_named(&args.policies)?;
        let source = source_named(&args.source)?;
        refuse_scenario_flags(&args.machine, &source)?;
        let output = Output::new(&args.output, &source)?;
        let configs = policies
            .iter()
            .map(|policy| config_of(policy.name, &args.machine))
            .collect();
        Ok(ComparePlan {
            source,
            configs,
            output,
        })
    }
}

impl Output {
    fn new(args: &OutputArgs, source: &Source) -> Result<Output> {
        let place = match &args.output {
            Some(path) => Place::check(path)?,
            None => Place::Stdout,
        };
        refuse_to_overwrite_source(&place, source)?;
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

fn refuse_to_overwrite_source(place: &Place, source: &Source) -> Result<()> {
    if let (Some(path), Source::Trace(trace)) = (place.path(), source)
        && std::fs::canonicalize(trace).is_ok_and(|trace| trace == path)
    {
        bail!(
            "`{}` is the capture itself; write elsewhere",
            path.display()
        );
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

fn policies_named(names: &[String]) -> Result<Vec<PolicyInfo>> {
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

fn config_of(policy: &str, machine: &MachineArgs) -> RunConfig {
    RunConfig {
        kernel: machine.kernel,
        backend: machine.backend,
        htab_bits: machine.htab_bits,
        cpus: machine.cpus,
        seed: machine.seed,
        touch: machine.touch,
        operations: machine.operations,
        pin: machine.pin,
        fail_alloc: machine.fail_alloc,
        fail_map: machine.fail_map,
        preempt: machine.preempt,
        schedule: machine.schedule.clone(),
        check: !machine.no_check,
        ..RunConfig::new(policy)
    }
}

/// Largest policy file that is read, in bytes.
const POLICY_FILE_BYTES_MAX: u64 = 64 << 10;

fn policy_file(path: &Path) -> Result<PolicyFile> {
    use std::io::Read;
    let told = || format!("policy file `{}`", path.display());
    let file = std::fs::File::open(path).with_context(told)?;
    let mut text = String::new();
    let read = file
        .take(POLICY_FILE_BYTES_MAX + 1)
        .read_to_string(&mut text);
    if read.with_context(told)? as u64 > POLICY_FILE_BYTES_MAX {
        bail!("{} is longer than {POLICY_FILE_BYTES_MAX} bytes", told());
    }
    PolicyFile::parse(&text).with_context(told)
}

/// A scenario if it is the name of one, else a file.
fn source_named(typed: &OsStr) -> Result<Source> {
    if let Some(name) = typed.to_str()
        && scenarios().iter().any(|scenario| scenario.name == name)
    {
        return Ok(Source::Scenario(name.to_owned()));
    }
    let path = PathBuf::from(typed);
    if names_nothing(&path)? {
        let name = typed.to_string_lossy().into_owned();
        let nearest = nearest(&name, scenarios().iter().map(|scenario| scenario.name));
        let known = scenarios()
            .iter()
            .map(|scenario| scenario.name)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(RunError::NoScenario {
            name,
            nearest,
            known,
        }
        .into());
    }
    if path.is_dir() {
        bail!(
            "`{}` is a directory; name a capture in it, or a scenario",
            path.display()
        );
    }
    Ok(Source::Trace(path))
}

fn names_nothing(path: &Path) -> Result<bool> {
    if path.as_os_str().is_empty() {
        return Ok(true);
    }
    let exists = path
        .try_exists()
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(!exists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Verb, parse};

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
        std::fs::write(&path, vec![b'#'; POLICY_FILE_BYTES_MAX as usize + 1]).unwrap();
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
