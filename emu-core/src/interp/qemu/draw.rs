//! Which instructions are drawn for the comparison with QEMU.
//!
//! Owns their encodings and operands. Left out is what the architecture leaves undefined, what needs
//! privilege, and time.

use super::program::{INDEX, MEMORY, POOL, POOL_COUNT, VALUE_COUNT, VALUES};

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u32 {
        ((self.next() >> 32) % n) as u32
    }

    pub fn pool(&mut self) -> u32 {
        POOL[self.below(POOL_COUNT as u64) as usize]
    }

    /// A value with edges: few bits, extremes of each size.
    pub fn value(&mut self) -> u64 {
        let random = self.next();
        match self.below(8) {
            0 => random >> self.below(64),
            1 => u64::MAX << self.below(64),
            2 => 1 << self.below(64),
            3 => [0, 1, u64::MAX, i64::MIN as u64, i64::MAX as u64][self.below(5) as usize],
            4 => [0x8000_0000, 0x7fff_ffff, 0xffff_ffff, 0xffff_ffff_8000_0000]
                [self.below(4) as usize],
            5 => random as i32 as u64,
            _ => random,
        }
    }
}

pub const fn d(op: u32, rt: u32, ra: u32, imm: u32) -> u32 {
    op << 26 | rt << 21 | ra << 16 | imm & 0xffff
}

pub const fn x(rt: u32, ra: u32, rb: u32, xo: u32) -> u32 {
    31 << 26 | rt << 21 | ra << 16 | rb << 11 | xo << 1
}

const fn spr(number: u32) -> u32 {
    (number & 31) << 5 | number >> 5
}

pub const fn mtspr(number: u32, rs: u32) -> u32 {
    x(rs, 0, 0, 467) | spr(number) << 11
}

pub const fn mfspr(number: u32, rt: u32) -> u32 {
    x(rt, 0, 0, 339) | spr(number) << 11
}

/// Arithmetic with OE and Rc: extended opcode, and whether RB counts. divde is drawn apart.
const XO: [(u32, bool); 22] = [
    (266, true),
    (10, true),
    (138, true),
    (234, false),
    (202, false),
    (40, true),
    (8, true),
    (136, true),
    (232, false),
    (200, false),
    (104, false),
    (235, true),
    (233, true),
    (491, true),
    (459, true),
    (489, true),
    (457, true),
    (427, true),
    (395, true),
    (393, true),
    (393, true),
    (266, true),
];
/// Multiplications whose high half is wanted: without OE.
const HIGH: [u32; 4] = [75, 11, 73, 9];
/// Logic with Rc.
const LOGIC: [u32; 16] = [
    28, 60, 444, 412, 316, 476, 124, 284, 24, 536, 792, 27, 539, 794, 28, 444,
];
/// The same of one operand.
const UNARY: [u32; 5] = [954, 922, 986, 26, 58];
/// Without Rc.
const COUNTS: [u32; 7] = [122, 378, 506, 154, 186, 508, 252];
/// Loads by displacement and their size.
const D_LOADS: [(u32, u32); 16] = [
    (34, 1),
    (35, 1),
    (40, 2),
    (41, 2),
    (42, 2),
    (43, 2),
    (32, 4),
    (33, 4),
    (38, 1),
    (39, 1),
    (44, 2),
    (45, 2),
    (36, 4),
    (37, 4),
    (34, 1),
    (32, 4),
];
const X_LOADS: [u32; 29] = [
    87, 119, 279, 311, 343, 375, 23, 55, 341, 373, 21, 53, 790, 534, 532, 215, 247, 407, 439, 151,
    183, 149, 181, 918, 662, 660, 21, 149, 23,
];
const CR: [u32; 8] = [257, 129, 289, 225, 33, 449, 417, 193];

/// Cache blocks: dcbf, dcbst, dcbt, dcbtst, icbi, dcbz.
const CACHE: [u32; 6] = [86, 54, 278, 246, 982, 1014];
/// sync, lwsync, eieio, isync.
const BARRIERS: [u32; 4] = [0x7c00_04ac, 0x7c20_04ac, 0x7c00_06ac, 0x4c00_012c];

/// One test: words that end with the instruction.
pub fn unit(r: &mut Random, little_endian: bool) -> Vec<u32> {
    let mut words = Vec::new();
    if r.below(3) == 0 {
        let at = 8 * r.below(VALUE_COUNT);
        words.push(d(58, r.pool(), VALUES, at));
    }
    let (rt, ra, rb) = (r.pool(), r.pool(), r.pool());
    let rc = r.below(2);
    match r.below(17) {
        0 if r.below(8) == 0 => divide(r, rt, ra, rb, &mut words),
        0 | 1 => {
            let (xo, two) = XO[r.below(XO.len() as u64) as usize];
            words.push(x(rt, ra, if two { rb } else { 0 }, xo) | r.below(2) << 10 | rc);
        }
        2 => words.push(x(rt, ra, rb, HIGH[r.below(4) as usize]) | rc),
        3 => words.push(x(rt, ra, rb, LOGIC[r.below(16) as usize]) | rc),
        4 => match r.below(3) {
            0 => words.push(x(rt, ra, 0, UNARY[r.below(5) as usize]) | rc),
            1 => words.push(x(rt, ra, rb, COUNTS[r.below(5) as usize]) & !(31 << 11)),
            _ => words.push(x(rt, ra, rb, COUNTS[5 + r.below(2) as usize])),
        },
        5 => {
            let op = [7, 8, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29][r.below(12) as usize];
            words.push(d(op, rt, ra, r.next() as u32));
        }
        6 => words.push(compare(r, ra, rb)),
        7 | 8 => words.push(rotate(r, rt, ra, rb) | rc),
        9 => words.push(match r.below(3) {
            0 => x(rt, ra, r.below(32), 824) | rc,
            1 => x(rt, ra, r.below(32), 826) | r.below(2) << 1 | rc,
            _ => x(rt, ra, rb, 15) & !0x7fe | 15 << 1 | r.below(32) << 6,
        }),
        10 => condition(r, rt, &mut words),
        11 => branch(r, rt, &mut words),
        12 => conditional_store(r, rt, &mut words),
        // In little-endian mode they interrupt, which a user's program does not outlive.
        13 if !little_endian => several(r, &mut words),
        _ => memory(r, rt, &mut words),
    }
    words
}

fn compare(r: &mut Random, ra: u32, rb: u32) -> u32 {
    let field = r.below(8) << 23 | r.below(2) << 21;
    match r.below(4) {
        0 => d(11, 0, ra, r.next() as u32) | field,
        1 => d(10, 0, ra, r.next() as u32) | field,
        2 => x(0, ra, rb, 0) | field,
        _ => x(0, ra, rb, 32) | field,
    }
}

fn rotate(r: &mut Random, rs: u32, ra: u32, rb: u32) -> u32 {
    let fields = r.below(1 << 15) << 1 & !1;
    match r.below(4) {
        0 => 21 << 26 | rs << 21 | ra << 16 | fields,
        1 => 20 << 26 | rs << 21 | ra << 16 | fields,
        2 => 23 << 26 | rs << 21 | ra << 16 | rb << 11 | fields & 0x7fe,
        _ => {
            let form = r.below(6);
            let base = 30 << 26 | rs << 21 | ra << 16 | r.below(64) << 5;
            match form {
                0..4 => base | r.below(32) << 11 | form << 2 | r.below(2) << 1,
                4 => base | rb << 11 | 8 << 1,
                _ => base | rb << 11 | 9 << 1,
            }
        }
    }
}

/// divde of a quotient that fits, or by 0: QEMU 7.2 misses its overflow where the quotient fits 64 bits
/// without a sign.
fn divide(r: &mut Random, rt: u32, ra: u32, rb: u32, words: &mut Vec<u32>) {
    let sh = 3 + r.below(40);
    // sradi r22,ra,sh: its magnitude is at most 2^60.
    words.push(31 << 26 | ra << 21 | INDEX << 16 | (sh & 31) << 11 | 413 << 2 | sh >> 5 << 1);
    if r.below(8) == 0 {
        words.push(d(14, rb, 0, 0));
    } else {
        // rldicl rb,rb,0,1; oris after a turn by 32: bit 1 is set, so it is at least 2^62; sometimes neg.
        words.push(30 << 26 | rb << 21 | rb << 16 | 1 << 6);
        words.push(30 << 26 | rb << 21 | rb << 16 | 1 << 1);
        words.push(d(25, rb, rb, 0x4000));
        words.push(30 << 26 | rb << 21 | rb << 16 | 1 << 1);
        if r.below(2) == 0 {
            words.push(x(rb, rb, 0, 104));
        }
    }
    words.push(x(rt, INDEX, rb, 425) | r.below(2) << 10 | r.below(2));
}

fn condition(r: &mut Random, rt: u32, words: &mut Vec<u32>) {
    let one = 1 << r.below(8);
    let word = match r.below(9) {
        7 => mtspr(815, rt),
        8 => mfspr(815, rt),
        0 => x(rt, 0, 0, 19),
        1 => x(rt, 0, 0, 19) | 1 << 20 | one << 12,
        2 => x(rt, 0, 0, 144) | r.below(256) << 12,
        3 => x(rt, 0, 0, 144) | 1 << 20 | one << 12,
        4 => 19 << 26 | r.below(8) << 23 | r.below(8) << 18,
        5 => {
            words.push(d(15, rt, 0, r.below(8) << 13));
            mtspr(1, rt)
        }
        _ => {
            19 << 26
                | r.below(32) << 21
                | r.below(32) << 16
                | r.below(32) << 11
                | CR[r.below(8) as usize] << 1
        }
    };
    words.push(word);
}

/// A branch over an instruction, with CTR small or large.
fn branch(r: &mut Random, rt: u32, words: &mut Vec<u32>) {
    let bo = [0, 2, 4, 8, 10, 12, 16, 18, 20][r.below(9) as usize];
    let bo_without_ctr = [4, 12, 20][r.below(3) as usize];
    let bi = r.below(32);
    if r.below(2) == 0 {
        words.extend([d(14, INDEX, 0, r.below(3)), mtspr(9, INDEX)]);
    }
    let via = [8, 9, 815][r.below(3) as usize];
    if r.below(2) == 0 {
        words.push(16 << 26 | bo << 21 | bi << 16 | 8);
    } else {
        // bl .+4; mflr; addi; mtspr; then the branch through the register, to behind the next word.
        let bo = if via == 9 { bo_without_ctr } else { bo };
        let xo = match via {
            8 => 16,
            9 => 528,
            _ => 560,
        };
        words.extend([
            0x4800_0005,
            mfspr(8, INDEX),
            d(14, INDEX, INDEX, 20),
            mtspr(via, INDEX),
        ]);
        words.push(19 << 26 | bo << 21 | bi << 16 | xo << 1);
    }
    words.push(d(14, rt, rt, 1));
}

/// larx and stcx. of one size, which stores, or the second alone, which does not.
fn conditional_store(r: &mut Random, rt: u32, words: &mut Vec<u32>) {
    let (larx, stcx, size) =
        [(52, 694, 1), (116, 726, 2), (20, 150, 4), (84, 214, 8)][r.below(4) as usize];
    let offset = size * r.below(u64::from(32 / size));
    words.push(d(14, INDEX, 0, offset));
    if r.below(4) != 0 {
        words.push(x(r.pool(), MEMORY, INDEX, larx));
    }
    words.push(x(rt, MEMORY, INDEX, stcx) | 1);
}

/// Loads and stores of several registers: multiples and strings. None loads what addresses it.
fn several(r: &mut Random, words: &mut Vec<u32>) {
    let form = r.below(6);
    if form < 2 {
        let first = 25 + r.below(7);
        let bytes = 4 * (32 - first);
        let offset = r.below(u64::from(65 - bytes)).wrapping_sub(32);
        words.push(d(46 + form, first, MEMORY, offset));
        return;
    }
    // Up to eight registers, and around from r31 to r0.
    let first = [r.below(11), 25 + r.below(7)][r.below(2) as usize];
    let offset = r.below(33).wrapping_sub(32);
    let bytes = r.below(32);
    if form < 4 {
        words.push(d(14, INDEX, MEMORY, offset));
        words.push(x(first, INDEX, bytes, [597, 725][form as usize % 2]));
    } else {
        words.extend([d(14, INDEX, 0, bytes), mtspr(1, INDEX)]);
        words.push(d(14, INDEX, 0, offset));
        words.push(x(first, MEMORY, INDEX, [533, 661][form as usize % 2]));
    }
}

fn memory(r: &mut Random, rt: u32, words: &mut Vec<u32>) {
    let offset = r.below(56).wrapping_sub(32);
    match r.below(5) {
        4 if r.below(3) == 0 => words.push(BARRIERS[r.below(4) as usize]),
        4 => {
            words.push(d(14, INDEX, 0, offset));
            words.push(x(0, MEMORY, INDEX, CACHE[r.below(6) as usize]));
        }
        0 => {
            let (op, _) = D_LOADS[r.below(16) as usize];
            words.push(d(op, rt, MEMORY, offset));
        }
        1 => {
            let op = [(58, 0), (58, 1), (58, 2), (62, 0), (62, 1)][r.below(5) as usize];
            words.push(d(op.0, rt, MEMORY, offset & !3 | op.1));
        }
        _ => {
            words.push(d(14, INDEX, 0, offset));
            words.push(x(rt, MEMORY, INDEX, X_LOADS[r.below(29) as usize]));
        }
    }
}
