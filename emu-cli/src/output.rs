//! Where output goes: standard output, or a file that is written whole or not at all.
//!
//! Owns atomic writing. A place is checked before the run, so that a long run is not lost to a
//! mistyped path, and written after it: a file beside the target that then takes its name. Refuses
//! two outputs in one place.

use anyhow::{Context, Result, anyhow, bail};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A checked place for output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Standard output.
    Stdout,
    /// A file, present or not.
    File(Target),
}

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As typed.
    typed: PathBuf,
    /// Absolute, symbolic links followed.
    resolved: PathBuf,
    /// A device, a pipe: something that renaming would destroy and that no file can stand in for.
    special: bool,
}

/// Whether somebody read the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// Everything was written.
    Whole,
    /// The reader went away, which is its right.
    PipeClosed,
}

impl Place {
    /// Checks what `-o` or `--kernel-log` was given; `-` is standard output.
    ///
    /// # Errors
    /// A directory, a folder that is missing, a file that may not be written.
    pub fn check(typed: &Path) -> Result<Place> {
        if typed == Path::new("-") {
            return Ok(Place::Stdout);
        }
        Target::check(typed)
            .map(Place::File)
            .with_context(|| format!("cannot write `{}`", typed.display()))
    }

    /// The file, symbolic links followed; `None` for standard output.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Place::Stdout => None,
            Place::File(target) => Some(&target.resolved),
        }
    }
}

impl Place {
    /// Writes a file by `write`, which may go back in it, all of it or nothing; gives its length.
    ///
    /// # Errors
    /// What `write` or the system refused; standard output and devices, which cannot go back.
    pub fn write_file(&self, write: impl FnOnce(&mut File) -> Result<()>) -> Result<u64> {
        let target = match self {
            Place::File(target) if !target.special => target,
            _ => bail!("this is not written from front to back, so it needs a regular file"),
        };
        let mut file = target.beside().with_context(|| target.failed())?;
        write(file.as_file_mut())?;
        let length = target
            .complete(&file)
            .and_then(|()| file.as_file().metadata());
        let length = length.with_context(|| target.failed())?.len();
        file.persist(&target.resolved)
            .with_context(|| target.failed())?;
        Ok(length)
    }
}

impl Target {
    fn check(typed: &Path) -> Result<Target> {
        let metadata = match fs::metadata(typed) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let ends_as_folder = typed.as_os_str().as_encoded_bytes().ends_with(b"/");
        if ends_as_folder || metadata.as_ref().is_some_and(fs::Metadata::is_dir) {
            bail!("it is a directory; name a file");
        }
        let special = metadata
            .as_ref()
            .is_some_and(|metadata| !metadata.is_file());
        let resolved = match &metadata {
            Some(_) => fs::canonicalize(typed)?,
            None => {
                let name = typed
                    .file_name()
                    .ok_or_else(|| anyhow!("it names no file"))?;
                folder_of(typed)?.join(name)
            }
        };
        let target = Target {
            typed: typed.to_owned(),
            resolved,
            special,
        };
        if !special {
            if metadata.is_some() {
                // Renaming would replace a file that its owner has made read-only.
                OpenOptions::new().write(true).open(&target.resolved)?;
            }
            // Dropped at once: a killed run leaves nothing behind.
            target.beside()?;
        }
        Ok(target)
    }

    fn beside(&self) -> io::Result<NamedTempFile> {
        let folder = self.resolved.parent().unwrap_or(Path::new("/"));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".emu-");
        // As an ordinary new file has it; the umask still applies.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        builder.tempfile_in(folder)
    }

    fn stage(&self, text: &str) -> io::Result<NamedTempFile> {
        let mut file = self.beside()?;
        file.write_all(text.as_bytes())?;
        self.complete(&file)?;
        Ok(file)
    }

    /// Makes a written file ready to take the target's name.
    fn complete(&self, file: &NamedTempFile) -> io::Result<()> {
        if let Some(permissions) = self.permissions() {
            file.as_file().set_permissions(permissions)?;
        }
        file.as_file().sync_all()
    }

    /// Those of the file that is replaced.
    fn permissions(&self) -> Option<Permissions> {
        fs::metadata(&self.resolved)
            .ok()
            .map(|metadata| metadata.permissions())
    }

    fn stream(&self, text: &str) -> Result<Delivered> {
        let file = OpenOptions::new().write(true).open(&self.resolved);
        file.and_then(|mut file: File| quiet(file.write_all(text.as_bytes())))
            .with_context(|| self.failed())
    }

    fn failed(&self) -> String {
        format!("cannot write `{}`", self.typed.display())
    }
}

/// The folder that will hold `typed`, absolute.
fn folder_of(typed: &Path) -> Result<PathBuf> {
    let parent = match typed.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::canonicalize(parent).with_context(|| format!("folder `{}`", parent.display()))
}

fn quiet(written: io::Result<()>) -> io::Result<Delivered> {
    match written {
        Ok(()) => Ok(Delivered::Whole),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Delivered::PipeClosed),
        Err(error) => Err(error),
    }
}

/// Writes all outputs: files first, each whole or not at all, then standard output in order.
///
/// # Errors
/// What the system refused. No file has changed if writing the content of any of them failed.
pub fn deliver(outputs: &[(&Place, &str)]) -> Result<Delivered> {
    let mut staged = Vec::new();
    for (place, text) in outputs {
        if let Place::File(target) = place
            && !target.special
        {
            let file = target.stage(text).with_context(|| target.failed())?;
            staged.push((target, file));
        }
    }
    for (target, file) in staged {
        file.persist(&target.resolved)
            .with_context(|| target.failed())?;
    }
    let mut delivered = Delivered::Whole;
    for (place, text) in outputs {
        let end = match place {
            Place::File(target) if target.special => target.stream(text)?,
            Place::File(_) => Delivered::Whole,
            Place::Stdout => print(text).context("cannot write to standard output")?,
        };
        if end == Delivered::PipeClosed {
            delivered = end;
        }
    }
    Ok(delivered)
}

/// Prints lines on standard output as they come, until one fails or the reader goes away.
///
/// # Errors
/// That of the first line that is one, and what the system refused.
pub fn stream(lines: impl Iterator<Item = Result<String>>) -> Result<Delivered> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    for line in lines {
        // Lines before an error are printed: dropped, the writer flushes them.
        let line = line?;
        let written = quiet(writeln!(stdout, "{line}")).context("cannot write to standard output");
        if written? == Delivered::PipeClosed {
            return Ok(Delivered::PipeClosed);
        }
    }
    quiet(stdout.flush()).context("cannot write to standard output")
}

fn print(text: &str) -> io::Result<Delivered> {
    let mut stdout = io::stdout().lock();
    quiet(
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_appears_only_when_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::check(&folder.path().join("report")).unwrap();
        assert!(names_in(folder.path()).is_empty());
        assert_eq!(deliver(&[(&place, "text")]).unwrap(), Delivered::Whole);
        assert_eq!(names_in(folder.path()), ["report"]);
        assert_eq!(
            fs::read_to_string(folder.path().join("report")).unwrap(),
            "text"
        );
    }

    #[test]
    fn no_file_changes_if_one_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, gone) = (folder.path().join("kept"), folder.path().join("gone"));
        fs::write(&kept, "old").unwrap();
        fs::create_dir(&gone).unwrap();
        let places = [kept.clone(), gone.join("x")].map(|path| Place::check(&path).unwrap());
        fs::remove_dir(&gone).unwrap();
        let error = deliver(&[(&places[0], "new"), (&places[1], "new")]).unwrap_err();
        assert!(format!("{error:#}").contains("gone"));
        assert_eq!(fs::read_to_string(&kept).unwrap(), "old");
        assert_eq!(names_in(folder.path()), ["kept"]);
    }

    #[test]
    fn folders_and_missing_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| format!("{:#}", Place::check(path).unwrap_err());
        assert!(refused(folder.path()).contains("directory"));
        assert!(refused(&folder.path().join("new/")).contains("directory"));
        assert!(refused(&folder.path().join("no/file")).contains("folder"));
        assert!(names_in(folder.path()).is_empty());
    }

    #[test]
    fn a_file_written_by_parts_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::check(&folder.path().join("out")).unwrap();
        let failed = place.write_file(|file| {
            file.write_all(b"half")?;
            bail!("no more")
        });
        assert_eq!(failed.unwrap_err().to_string(), "no more");
        assert!(names_in(folder.path()).is_empty());
        let written = place.write_file(|file| Ok(file.write_all(b"whole")?));
        assert_eq!(written.unwrap(), 5);
        assert_eq!(names_in(folder.path()), ["out"]);
        assert!(Place::Stdout.write_file(|_| Ok(())).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_modes_stay() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        deliver(&[(&Place::check(&link).unwrap(), "new")]).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o640
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_and_not_replaced() {
        use std::os::unix::fs::FileTypeExt;
        let place = Place::check(Path::new("/dev/null")).unwrap();
        assert_eq!(deliver(&[(&place, "text")]).unwrap(), Delivered::Whole);
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
    }
}
