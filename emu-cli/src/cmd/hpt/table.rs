//! A table read from a file: a raw image or a stream, told apart by what they hold.

use crate::args::{Isa, Order, TableSource};
use anyhow::{Context, Result, bail};
use emu_mmu::{GuestMemory, HeaderOrder, Hpt, HpteFormat, Ra, StreamSurvey};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// A table in memory of its own, at real address 0, its entries in the ISA 2.x layout.
pub struct Table {
    /// Holds the table and nothing else.
    pub memory: GuestMemory,
    /// The table.
    pub hpt: Hpt,
    /// What the file was, in words.
    pub kind: String,
}

/// The smallest table: 2^11 groups.
const BYTES_MIN: u64 = 1 << 18;
/// The largest one taken: 2^28 groups.
const BYTES_MAX: u64 = 1 << 35;

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that is neither, or does not go with the flags.
    pub fn open(source: &TableSource) -> Result<Table> {
        let name = source.file.display();
        let length = std::fs::metadata(&source.file)
            .with_context(|| format!("cannot read `{name}`"))?
            .len();
        let table = match stream_order(source)? {
            Some((order, survey)) => from_stream(source, order, &survey),
            None if length.is_power_of_two() && (BYTES_MIN..=BYTES_MAX).contains(&length) => {
                from_image(source, length)
            }
            None => bail!(
                "it is neither a stream of a whole table nor an image of 2^18 to 2^35 bytes; \
                 for a stream of changes say --htab-bits"
            ),
        };
        table.with_context(|| format!("`{name}`"))
    }
}

fn reader(path: &Path) -> Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(BufReader::new(file))
}

/// The byte order under which the file is a stream, if there is one.
fn stream_order(source: &TableSource) -> Result<Option<(HeaderOrder, StreamSurvey)>> {
    let orders = match source.header_order {
        Some(Order::Little) => &[HeaderOrder::Little][..],
        Some(Order::Big) => &[HeaderOrder::Big],
        None => &[HeaderOrder::Little, HeaderOrder::Big],
    };
    for &order in orders {
        let Ok(survey) = StreamSurvey::of(&mut reader(&source.file)?, order) else {
            continue;
        };
        let fits = match source.htab_bits {
            Some(bits) => survey.records > 0 && survey.end > 0 && survey.end <= 8 << bits,
            None => survey.whole && survey.end >= BYTES_MIN / 16 && survey.end.is_power_of_two(),
        };
        if fits {
            return Ok(Some((order, survey)));
        }
    }
    Ok(None)
}

fn from_stream(source: &TableSource, order: HeaderOrder, survey: &StreamSurvey) -> Result<Table> {
    let groups_log2 = match source.htab_bits {
        Some(bits) => bits,
        None => (survey.end.ilog2() - 3) as u8,
    };
    let (memory, hpt) = empty(groups_log2)?;
    hpt.import_stream(&memory, &mut reader(&source.file)?, order)?;
    let order = match order {
        HeaderOrder::Little => "little",
        HeaderOrder::Big => "big",
    };
    Ok(Table {
        memory,
        hpt,
        kind: format!(
            "stream of {} records, headers {order}-endian",
            survey.records
        ),
    })
}

fn from_image(source: &TableSource, length: u64) -> Result<Table> {
    let groups_log2 = (length.ilog2() - 7) as u8;
    if let Some(bits) = source.htab_bits
        && bits != groups_log2
    {
        bail!("--htab-bits {bits}: the image is of 2^{groups_log2} groups");
    }
    let format = match source.isa {
        Isa::Isa2 => HpteFormat::Isa2,
        Isa::Isa3 => HpteFormat::Isa3,
    };
    let (memory, hpt) = empty(groups_log2)?;
    let mut file = reader(&source.file)?;
    for index in 0..hpt.groups() * 8 {
        let mut bytes = [0; 16];
        file.read_exact(&mut bytes)?;
        let both = u128::from_be_bytes(bytes);
        if both != 0 {
            let hpte = format.decode((both >> 64) as u64, both as u64);
            hpt.put(&memory, index, hpte)?;
        }
    }
    Ok(Table {
        memory,
        hpt,
        kind: "raw image".to_owned(),
    })
}

fn empty(groups_log2: u8) -> Result<(GuestMemory, Hpt)> {
    let hpt = Hpt::new(Ra::new(0), groups_log2)?;
    Ok((GuestMemory::new(hpt.size_bytes())?, hpt))
}
