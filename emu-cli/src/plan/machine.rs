//! Machines by name or file, and changes of them.

use super::source::toml_text;
use crate::args::MachineArgs;
use anyhow::{Context, Result, bail};
use emu_linux::MachineProfile;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The machine of that name, or of the file of that name.
///
/// # Errors
/// A name that there is not, with the nearest; a file that is no profile.
pub fn machine_named(typed: &OsStr) -> Result<MachineProfile> {
    let path = Path::new(typed);
    let name = typed.to_string_lossy();
    let is_file = path.extension().is_some() || path.components().count() > 1;
    if MachineProfile::NAMES.contains(&name.as_ref()) || !(is_file || path.is_file()) {
        return Ok(MachineProfile::builtin(&name)?);
    }
    let text = toml_text("machine profile", path)?;
    MachineProfile::parse(&text).with_context(|| format!("`{}`", path.display()))
}

/// The machines that names with commas between them, or `all`, stand for.
///
/// # Errors
/// As [`machine_named`]; `all` beside others, a machine named twice, a change that is refused.
pub fn machines_named(typed: &[OsString], changes: &[String]) -> Result<Vec<MachineProfile>> {
    let all: Vec<OsString> = MachineProfile::NAMES.map(OsString::from).to_vec();
    let typed = match typed.iter().any(|name| name == "all") {
        true if typed.len() > 1 => {
            bail!("`all` stands alone: `--machines all`, or names with commas between them")
        }
        true => &all,
        false => typed,
    };
    let mut machines: Vec<MachineProfile> = Vec::new();
    for name in typed {
        let mut machine = machine_named(name)?;
        if machines.iter().any(|other| other.name() == machine.name()) {
            bail!(
                "machine `{}` is named twice; name each once",
                machine.name()
            );
        }
        for change in changes {
            machine.set(change)?;
        }
        machines.push(machine);
    }
    Ok(machines)
}

/// The machine that was typed, if one was. Changes are tried on it, or on any machine: all have the same
/// figures.
///
/// # Errors
/// As [`machine_named`]; a change that is refused.
pub fn machine_typed(args: &MachineArgs) -> Result<Option<MachineProfile>> {
    let machine = args.machine.as_deref().map(machine_named).transpose()?;
    let mut tried = match &machine {
        Some(machine) => machine.clone(),
        None => MachineProfile::builtin(MachineProfile::NAMES[0])?,
    };
    for change in &args.set {
        tried.set(change)?;
    }
    Ok(machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_are_told_apart() {
        assert_eq!(machine_named("power9".as_ref()).unwrap().name(), "power9");
        let near = machine_named("power10".as_ref()).unwrap_err().to_string();
        assert!(near.contains("did you mean"), "{near}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let absent = machine_named(path.as_os_str()).unwrap_err();
        assert!(format!("{absent:#}").contains("mine.toml"));
        std::fs::write(&path, "name = 'mine'\nbase = 'power7'").unwrap();
        assert_eq!(machine_named(path.as_os_str()).unwrap().name(), "mine");
        std::fs::write(&path, "name = 'mine'\nbase = 'power7'\n[tbl]\nx = 1").unwrap();
        let said = format!("{:#}", machine_named(path.as_os_str()).unwrap_err());
        assert!(said.contains("mine.toml") && said.contains("tbl"), "{said}");
    }
}
