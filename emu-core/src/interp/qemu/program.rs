//! Random programs for the comparison with QEMU.
//!
//! Owns the harness around the instructions that are drawn, and the ELF file.

use super::draw::{Random, d, mfspr, mtspr, unit, x};
use std::fmt::Write;

/// Where a program lies; Linux gives user programs nothing below 64 KiB.
pub const BASE: u64 = 0x10_0000;
pub const MEMORY_BYTES: u64 = 32 << 20;
/// Registers that are drawn: all but those from r18 to r24.
pub(super) const POOL: [u32; POOL_COUNT] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 25, 26, 27, 28, 29, 30, 31,
];
pub(super) const POOL_COUNT: usize = 25;
/// r20: table of values; r21: memory; r22: index; r23: memory, which an update may move; r24: where the
/// state is written down.
pub(super) const VALUES: u32 = 20;
pub(super) const HOME: u32 = 21;
pub(super) const INDEX: u32 = 22;
pub(super) const MEMORY: u32 = 23;
pub(super) const DUMP: u32 = 24;
/// Doublewords of memory that are written down, with as many before `MEMORY` as after.
const WINDOW: usize = 8;
/// What is drawn, r23, CR, XER, CTR and the window.
pub const DUMP_WORDS: usize = POOL_COUNT + 4 + WINDOW;
pub(super) const VALUE_COUNT: u64 = 512;

pub struct Program {
    pub little_endian: bool,
    pub image: Vec<u8>,
    pub entry: u64,
    pub dump: u64,
    pub dump_bytes: u64,
    /// The words before each state that was written down.
    pub tested: Vec<Vec<u32>>,
}

/// Writes the state down and puts r23 back.
fn dump_routine() -> Vec<u32> {
    let mut words = Vec::new();
    let store = |rs: u32, word: usize| d(62, rs, DUMP, 8 * word as u32);
    words.extend((0..).zip(POOL).map(|(i, gpr)| store(gpr, i)));
    let rest = POOL_COUNT;
    words.push(store(MEMORY, rest));
    words.extend([x(INDEX, 0, 0, 19), store(INDEX, rest + 1)]);
    words.extend([mfspr(1, INDEX), store(INDEX, rest + 2)]);
    words.extend([mfspr(9, INDEX), store(INDEX, rest + 3)]);
    for i in 0..WINDOW {
        let offset = (8 * i as u32).wrapping_sub(32);
        words.extend([d(58, INDEX, HOME, offset), store(INDEX, rest + 4 + i)]);
    }
    words.push(d(14, MEMORY, HOME, 0));
    words.push(d(14, DUMP, DUMP, 8 * DUMP_WORDS as u32));
    words.push(0x4e80_0020);
    words
}

/// li of a 32-bit address.
fn address(rt: u32, value: u64) -> [u32; 2] {
    [
        d(15, rt, 0, (value >> 16) as u32),
        d(24, rt, rt, value as u32),
    ]
}

impl Program {
    pub fn random(seed: u64, count: usize, little_endian: bool) -> Self {
        let mut r = Random(seed * 2 + 1 + u64::from(little_endian) * 1_000_000);
        (0..20).for_each(|_| {
            r.next();
        });
        let tested: Vec<Vec<u32>> = (0..count).map(|_| unit(&mut r, little_endian)).collect();
        let values: Vec<u64> = (0..VALUE_COUNT + 32).map(|_| r.value()).collect();
        let (values_at, memory_at) = (BASE, BASE + VALUE_COUNT * 8 + 64);
        let code_at = BASE + values.len() as u64 * 8;
        let routine = dump_routine();
        let entry = code_at + 4 * routine.len() as u64;
        let words: usize = tested.iter().map(|words| words.len() + 1).sum();
        // With room for what is before the tests and behind them.
        let dump = (entry + 4 * words as u64 + 0x2000) & !0xfff;
        let dump_bytes = (count * DUMP_WORDS * 8) as u64;
        let mut code = routine;
        code.extend(
            [
                address(VALUES, values_at),
                address(HOME, memory_at),
                address(DUMP, dump),
            ]
            .concat(),
        );
        code.push(d(14, MEMORY, HOME, 0));
        code.extend([
            d(14, 0, 0, 0),
            mtspr(9, 0),
            mtspr(1, 0),
            mtspr(815, 0),
            x(0, 0, 0, 144) | 255 << 12,
        ]);
        code.extend(POOL.map(|gpr| d(58, gpr, VALUES, 8 * gpr)));
        for words in &tested {
            code.extend(words);
            let back = (code.len() * 4) as u32;
            code.push(0x4800_0001 | back.wrapping_neg() & 0x03ff_fffc);
        }
        // write(1, dump, dump_bytes) until it is all gone; exit(0).
        code.extend([address(4, dump), address(5, dump_bytes)].concat());
        code.extend([d(14, 3, 0, 1), d(14, 0, 0, 4), 0x4400_0002]);
        code.extend([x(4, 4, 3, 266), x(5, 3, 5, 40), d(11, 1, 5, 0), 0x4082_ffe8]);
        code.extend([d(14, 3, 0, 0), d(14, 0, 0, 1), 0x4400_0002]);
        let bytes = |big: &[u8]| -> Vec<u8> {
            let mut bytes = big.to_vec();
            if little_endian {
                bytes.reverse();
            }
            bytes
        };
        let mut image: Vec<u8> = values
            .iter()
            .flat_map(|v| bytes(&v.to_be_bytes()))
            .collect();
        image.extend(code.iter().flat_map(|word| bytes(&word.to_be_bytes())));
        Program {
            little_endian,
            image,
            entry,
            dump,
            dump_bytes,
            tested,
        }
    }

    /// As an ELF file of one segment that may be written and executed.
    pub fn elf(&self) -> Vec<u8> {
        let mut elf = vec![
            0x7f,
            b'E',
            b'L',
            b'F',
            2,
            2 - u8::from(self.little_endian),
            1,
            0,
        ];
        elf.resize(16, 0);
        let mut field = |bytes: usize, value: u64| {
            let all = value.to_be_bytes();
            let mut part = all[8 - bytes..].to_vec();
            if self.little_endian {
                part.reverse();
            }
            elf.extend(part);
        };
        let header = 0x1000;
        // Type, machine, version, entry, headers, ABI 2: the entry is code, no descriptor.
        for (bytes, value) in [
            (2, 2),
            (2, 21),
            (4, 1),
            (8, self.entry),
            (8, 64),
            (8, 0),
            (4, 2),
            (2, 64),
            (2, 56),
            (2, 1),
            (2, 64),
            (2, 0),
            (2, 0),
            (4, 1),
            (4, 7),
            (8, header),
            (8, BASE),
            (8, BASE),
            (8, self.image.len() as u64),
            (8, self.dump + self.dump_bytes - BASE),
            (8, 0x1000),
        ] {
            field(bytes, value);
        }
        elf.resize(header as usize, 0);
        elf.extend(&self.image);
        elf
    }
}

/// Where two states differ.
pub fn differences(theirs: &[u64], ours: &[u64]) -> String {
    let mut text = String::new();
    for (word, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
        if theirs != ours {
            let name = match word.checked_sub(POOL_COUNT) {
                None => format!("r{}", POOL[word]),
                Some(rest @ 0..4) => ["r23", "CR", "XER", "CTR"][rest].to_owned(),
                Some(rest) => format!("memory {}", 8 * (rest as i64 - 8)),
            };
            let _ = writeln!(text, "{name}: QEMU {theirs:#018x}, here {ours:#018x}");
        }
    }
    text
}
