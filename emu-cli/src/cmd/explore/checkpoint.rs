//! The checkpoint of an exploration: the cells that are done, a line of JSON each.
//!
//! Owns the file: a first line that says what was searched, then a cell a line, appended as each is done. A last
//! line that was cut off is dropped. Refuses a file of another search.

use anyhow::{Context, Result, bail};
use emu_linux::explore::{Bounds, Cell};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

/// Version of the file's lines.
const SCHEMA: &str = "ppc-mmu-emu/explore-checkpoint/1";

/// What was searched: cells of another search are no answer to this one.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    schema: String,
    version: String,
    bounds: Bounds,
    strategy: String,
    /// CRC of the scenario's file, if it is from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<u32>,
}

impl Search {
    /// A search with these bounds by this strategy, of the scenario in a file's text or of those that are shipped.
    pub fn new(bounds: Bounds, strategy: String, file: Option<&str>) -> Self {
        Search {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            bounds,
            strategy,
            file: file.map(|text| crc32fast::hash(text.as_bytes())),
        }
    }
}

/// A checkpoint file, open.
#[derive(Debug)]
pub struct Checkpoint(File);

impl Checkpoint {
    /// Opens the file, or begins it, and gives the cells that are done.
    pub fn open(path: &Path, search: &Search) -> Result<(Self, Vec<Cell>)> {
        let name = path.display();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("cannot open the checkpoint {name}"))?;
        let mut reader = BufReader::new(&file);
        let (mut line, mut whole, mut cells) = (String::new(), 0, Vec::new());
        loop {
            line.clear();
            let read = reader.read_line(&mut line);
            let bytes = read.with_context(|| format!("cannot read the checkpoint {name}"))?;
            if !line.ends_with('\n') {
                break;
            }
            if whole == 0 {
                let of: Search = serde_json::from_str(&line)
                    .with_context(|| format!("{name} is no checkpoint of `emu explore`"))?;
                if of != *search {
                    bail!(
                        "{name} is the checkpoint of another search: {} {} by {}{}; remove it or search as it did",
                        of.version,
                        bounds(&of.bounds),
                        of.strategy,
                        if of.file == search.file {
                            ""
                        } else {
                            " of another file"
                        }
                    );
                }
            } else {
                let cell = serde_json::from_str(&line);
                cells.push(cell.with_context(|| format!("{name}: a line is no result"))?);
            }
            whole += bytes as u64;
        }
        file.set_len(whole)
            .and_then(|()| file.seek(SeekFrom::Start(whole)))
            .with_context(|| format!("cannot write the checkpoint {name}"))?;
        let mut checkpoint = Checkpoint(file);
        if whole == 0 {
            checkpoint.append(search)?;
        }
        Ok((checkpoint, cells))
    }

    /// Adds a cell.
    pub fn add(&mut self, cell: &Cell) -> Result<()> {
        self.append(cell)
    }

    fn append(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.0
            .write_all(text.as_bytes())
            .context("cannot write the checkpoint")
    }
}

fn bounds(b: &Bounds) -> String {
    let late = if b.late {
        " and late invalidations"
    } else {
        ""
    };
    format!(
        "with bounds {}, {}, {}, {} and {}{late}",
        b.preemptions, b.migrations, b.switches, b.walks, b.departures
    )
}
