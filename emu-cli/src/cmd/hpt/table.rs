//! A table read from a file: a raw image or a stream, told apart by what they hold.

use crate::args::{Isa, Order, TableSource};
use anyhow::{Context, Result, bail};
use emu_mmu::{GuestMemory, HeaderOrder, Hpt, HpteFormat, Ra, StreamError, StreamSurvey};
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

/// Standard input and other files that cannot be read twice are kept in memory up to this.
const KEPT_BYTES_MAX: u64 = 1 << 30;

/// What the table is read from, as often as it takes.
enum Input<'a> {
    File(&'a Path, u64),
    Kept(Vec<u8>),
}

impl Input<'_> {
    fn open(path: &Path) -> Result<Input<'_>> {
        if path == Path::new("-") {
            return Self::kept(&mut std::io::stdin().lock());
        }
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            bail!("it is a directory");
        }
        if metadata.is_file() {
            return Ok(Input::File(path, metadata.len()));
        }
        Self::kept(&mut File::open(path)?)
    }

    fn kept(from: &mut impl Read) -> Result<Input<'static>> {
        let mut bytes = Vec::new();
        from.take(KEPT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > KEPT_BYTES_MAX {
            bail!(
                "more than {KEPT_BYTES_MAX} bytes that can be read only once: store them in a file"
            );
        }
        Ok(Input::Kept(bytes))
    }

    fn length(&self) -> u64 {
        match self {
            Input::File(_, length) => *length,
            Input::Kept(bytes) => bytes.len() as u64,
        }
    }

    /// From the first byte on.
    fn reader(&self) -> Result<Box<dyn Read + '_>> {
        Ok(match self {
            Input::File(path, _) => Box::new(BufReader::new(File::open(path)?)),
            Input::Kept(bytes) => Box::new(&bytes[..]),
        })
    }
}

impl Table {
    /// Reads a file, or standard input for `-`.
    ///
    /// # Errors
    /// A file that is neither, or does not go with the flags.
    pub fn open(source: &TableSource) -> Result<Table> {
        let name = match source.file.to_str() {
            Some("-") => "standard input".to_owned(),
            _ => format!("`{}`", source.file.display()),
        };
        let input = Input::open(&source.file).with_context(|| format!("cannot read {name}"))?;
        read(source, &input).with_context(|| name)
    }
}

fn read(source: &TableSource, input: &Input<'_>) -> Result<Table> {
    let length = input.length();
    if length == 0 {
        bail!("it is empty");
    }
    let orders = match source.header_order {
        Some(Order::Little) => &[HeaderOrder::Little][..],
        Some(Order::Big) => &[HeaderOrder::Big],
        None => &[HeaderOrder::Little, HeaderOrder::Big],
    };
    let mut why_not = String::new();
    for &order in orders {
        let why = match StreamSurvey::of(&mut input.reader()?, order) {
            Ok(survey) => match unfit(source, &survey) {
                None => return from_stream(source, input, order, &survey),
                Some(why) => why,
            },
            Err(StreamError::Io(error)) => return Err(error.into()),
            Err(error) => error.to_string(),
        };
        why_not += &format!("; as a stream with {}-endian headers: {why}", word(order));
    }
    if length.is_power_of_two() && (BYTES_MIN..=BYTES_MAX).contains(&length) {
        return from_image(source, input);
    }
    bail!(
        "it is neither a stream nor an image of a table: an image has 2^18 to 2^35 bytes, a power of \
         two, and this has {length}{why_not}"
    )
}

/// Why this is no stream of the table that the flags tell of; `None` if it is one.
fn unfit(source: &TableSource, survey: &StreamSurvey) -> Option<String> {
    let end = survey.end;
    match source.htab_bits {
        Some(bits) if end > 8 << bits => {
            let entries = 8_u64 << bits;
            Some(format!(
                "it reaches entry {end}, and 2^{bits} groups have {entries}"
            ))
        }
        Some(_) => None,
        None if !survey.whole => Some(
            "its records leave gaps or go back; for a stream of changes say --htab-bits".to_owned(),
        ),
        None if end < BYTES_MIN / 16 || !end.is_power_of_two() || end > BYTES_MAX / 16 => {
            let is = "which is the size of no table; for a part of one say --htab-bits";
            Some(format!("it covers {end} entries, {is}"))
        }
        None => None,
    }
}

const fn word(order: HeaderOrder) -> &'static str {
    match order {
        HeaderOrder::Little => "little",
        HeaderOrder::Big => "big",
    }
}

fn from_stream(
    source: &TableSource,
    input: &Input<'_>,
    order: HeaderOrder,
    survey: &StreamSurvey,
) -> Result<Table> {
    let groups_log2 = match source.htab_bits {
        Some(bits) => bits,
        None => (survey.end.ilog2() - 3) as u8,
    };
    let (memory, hpt) = empty(groups_log2)?;
    hpt.import_stream(&memory, &mut input.reader()?, order)?;
    let order = word(order);
    Ok(Table {
        memory,
        hpt,
        kind: format!(
            "stream of {} records, headers {order}-endian",
            survey.records
        ),
    })
}

fn from_image(source: &TableSource, input: &Input<'_>) -> Result<Table> {
    let groups_log2 = (input.length().ilog2() - 7) as u8;
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
    let mut file = input.reader()?;
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
