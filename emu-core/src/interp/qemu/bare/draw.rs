//! Which instructions are drawn for the comparison with a bare machine under QEMU: those of a user's
//! program in every mode, and what needs privilege or interrupts.
//!
//! Left out is what the architecture leaves undefined or to the CPU: time, several SLB entries for one
//! segment, accesses that QEMU or we divide differently.

use super::super::draw::{self as plain, Random, d, mfspr, mtspr, x};
use super::super::program::{INDEX, MEMORY};
use super::program::{FRAMES, PAGE_COUNT};
use crate::interp::{MSR_DR, MSR_EE, MSR_HV, MSR_IR, MSR_LE, MSR_ME, MSR_PR, MSR_RI, MSR_SF};

/// What ends a unit that does not end by itself.
const SC: u32 = 0x4400_0002;
const RFID: u32 = 0x4c00_0024;

/// A test: words at an address, begun in an MSR.
pub struct Unit {
    pub at: u64,
    pub msr: u64,
    pub words: Vec<u32>,
}

impl Unit {
    pub const fn little_endian(&self) -> bool {
        self.msr & MSR_LE != 0
    }

    const fn problem_state(&self) -> bool {
        self.msr & MSR_PR != 0
    }
}

/// The mode of a unit: real, either relocation, a user's; half of them 64-bit big-endian.
fn mode(r: &mut Random) -> u64 {
    let relocation = match r.below(8) {
        0 | 1 => 0,
        2 => MSR_DR,
        3 => MSR_IR,
        4 | 5 => MSR_IR | MSR_DR,
        _ => MSR_PR | MSR_EE | MSR_IR | MSR_DR,
    };
    let width = if r.below(4) == 0 { 0 } else { MSR_SF };
    let order = if r.below(3) == 0 { MSR_LE } else { 0 };
    let recoverable = if r.below(2) == 0 { MSR_RI } else { 0 };
    MSR_HV | MSR_ME | relocation | width | order | recoverable
}

/// Draws a unit that will lie at `at`.
pub fn unit(r: &mut Random, at: u64) -> Unit {
    let mut unit = Unit {
        at,
        msr: mode(r),
        words: Vec::new(),
    };
    match r.below(12) {
        0..4 => unit.words = plain::unit(r, unit.little_endian()),
        4..7 => page(r, &mut unit),
        7 => fetch(r, &mut unit),
        8 => special(r, &mut unit.words),
        9 => segments(r, &mut unit),
        10 => interrupt(r, &mut unit.words),
        _ if unit.problem_state() => privileged(r, &mut unit.words),
        _ if r.below(2) == 0 => machine_state(r, &mut unit.words),
        _ => return_from_interrupt(r, &mut unit),
    }
    unit.words.push(SC);
    unit
}

/// An address of a page: one of so many segments, the third of which is not there; or its frame in real
/// mode.
fn page_address(r: &mut Random, relocated: bool, segments: u64) -> u32 {
    let segment = if relocated {
        (1 + r.below(segments)) << 28
    } else {
        FRAMES as u32
    };
    segment | r.below(PAGE_COUNT) << 12
}

fn load_address(rt: u32, address: u32) -> [u32; 2] {
    [d(15, rt, 0, address >> 16), d(24, rt, rt, address)]
}

/// An access to a page, now and then over its end.
fn page(r: &mut Random, unit: &mut Unit) {
    let rt = r.pool();
    let offset = if r.below(6) == 0 {
        0xff8 + r.below(8)
    } else {
        r.below(0x700)
    };
    let aligned = r.below(3) != 0;
    let offset = if aligned { offset & !7 } else { offset };
    let little_endian = unit.little_endian();
    let words = &mut unit.words;
    words.extend(load_address(
        INDEX,
        page_address(r, unit.msr & MSR_DR != 0, 3) | offset,
    ));
    let several = u64::from(!little_endian);
    match r.below(6 + several) {
        0 => words.push(d(
            32 + [0, 2, 4, 6, 8, 10, 12][r.below(7) as usize],
            rt,
            INDEX,
            0,
        )),
        1 => words.push(d([58, 62][r.below(2) as usize], rt, INDEX, 0)),
        2 => words.push(x(
            rt,
            0,
            INDEX,
            [21, 149, 23, 151, 534, 662][r.below(6) as usize],
        )),
        // DAR may be of any byte of the block: cleared by rldicr.
        3 if offset < 0x700 => words.extend([
            30 << 26 | INDEX << 21 | INDEX << 16 | 24 << 6 | 1 << 5 | 1 << 2,
            x(0, 0, INDEX, [1014, 86, 54, 278][r.below(4) as usize]),
        ]),
        4 => {
            // Not aligned they interrupt.
            let (larx, stcx) = [(20, 150), (84, 214)][r.below(2) as usize];
            words.push(x(rt, 0, INDEX, larx));
            words.push(x(rt, 0, INDEX, stcx) | 1);
        }
        // Over the end of a page they could be divided.
        6 if offset < 0x700 => {
            let (first, bytes) = (25 + r.below(7), r.below(32));
            words.push(match r.below(4) {
                form @ 0..2 => d(46 + form, first, INDEX, 0),
                form => x(first, INDEX, bytes, [597, 725][form as usize % 2]),
            });
        }
        _ => words.push(d([34, 38, 36, 44][r.below(4) as usize], rt, INDEX, 0)),
    }
}

/// A branch to a page of system calls. The fourth segment, without execution, is for this alone: QEMU 7.2
/// forgets its N where it has translated an access to data.
fn fetch(r: &mut Random, unit: &mut Unit) {
    let relocated = unit.msr & MSR_IR != 0;
    let words = &mut unit.words;
    words.extend(load_address(
        INDEX,
        page_address(r, relocated, 4) | 0x800 | r.below(64) << 2,
    ));
    words.extend([mtspr(9, INDEX), 0x4e80_0420 | r.below(2)]);
}

/// A register to and from a special one.
fn special(r: &mut Random, words: &mut Vec<u32>) {
    let number = [272, 273, 274, 275, 27, 314, 304, 305, 19, 815][r.below(10) as usize];
    match r.below(4) {
        0 => words.push(mfspr(287, r.pool())),
        // SPRG3 as a user reads it.
        1 => words.push(mfspr(259, r.pool())),
        _ => words.extend([mtspr(number, r.pool()), mfspr(number, r.pool())]),
    }
}

/// SLB entries of segments 5 to 7, in slots of their own; an access through one.
fn segments(r: &mut Random, unit: &mut Unit) {
    let (relocated, user) = (unit.msr & MSR_DR != 0, unit.problem_state());
    let words = &mut unit.words;
    let segment = 5 + r.below(3);
    let (rs, rb) = (r.pool(), INDEX);
    words.extend(load_address(rb, segment << 28 | 1 << 27 | (segment + 3)));
    match r.below(8) {
        0..4 => {
            // What the old entry translated may still be in the ERAT, so slbie first. VSID 0x78 is
            // that of the pages; Ks, Kp, N.
            let old = load_address(rs, segment << 28);
            words.extend([old[0], old[1], x(0, 0, rs, 434), 0x4c00_012c]);
            let vsid = 0x77 + r.below(3);
            words.extend(load_address(rs, vsid << 12 | r.below(8) << 9));
            words.push(x(rs, 0, rb, 402));
            // Of an invalid entry they read what is undefined.
            words.push(x(r.pool(), 0, rb, [851, 915][r.below(2) as usize]));
        }
        // slbie of 256 MB, class 0.
        4 => {
            words.extend(load_address(rb, segment << 28));
            words.extend([x(0, 0, rb, 434), 0x4c00_012c]);
        }
        5 => words.extend([0x7c00_03e4, 0x4c00_012c]),
        // To a user QEMU has it illegal and not privileged.
        6 if !user => words.push(x(rs, 0, rb, 979) | 1),
        _ => {}
    }
    if relocated && r.below(2) == 0 {
        let page = r.below(PAGE_COUNT);
        words.extend(load_address(INDEX, segment << 28 | page << 12));
        words.push(d([32, 36][r.below(2) as usize], r.pool(), INDEX, 0));
    }
}

/// Traps, illegal instructions, and those of units that are off.
fn interrupt(r: &mut Random, words: &mut Vec<u32>) {
    let (to, ra, rb) = (r.below(32), r.pool(), r.pool());
    words.push(match r.below(9) {
        0 => x(to, ra, rb, 4),
        1 => x(to, ra, rb, 68),
        2 => d(3, to, ra, r.next() as u32),
        3 => d(2, to, ra, r.next() as u32),
        4 => [
            0,
            4 << 10,
            31 << 26 | 1023 << 1,
            19 << 26 | 1023 << 1,
            5 << 26,
        ][r.below(5) as usize],
        8 => vector_scalar(r, ra, rb),
        // lfd, stfs, fadd, lfdx
        5 => [
            d(50, 1, MEMORY, 0),
            d(52, 1, MEMORY, 0),
            0xfc22_182a,
            x(1, MEMORY, INDEX, 599),
        ][r.below(4) as usize],
        // lvx, vaddubm
        6 => [x(1, 0, MEMORY, 103), 4 << 26 | 0x2_1000][r.below(2) as usize],
        _ => SC,
    });
}

/// Loads, stores, moves, xxlor and pairs of floating-point registers.
fn vector_scalar(r: &mut Random, ra: u32, rb: u32) -> u32 {
    const XO: [u32; 19] = [
        12, 76, 140, 332, 524, 588, 652, 716, 780, 844, 908, 972, 51, 115, 179, 211, 243, 791, 919,
    ];
    let half = r.below(2);
    match r.below(6) {
        0 => 60 << 26 | 1 << 21 | 2 << 16 | 3 << 11 | 146 << 3 | half,
        1 => d(57 + 4 * half, 2, MEMORY, 8),
        _ => match XO[r.below(19) as usize] {
            // RB is none of a move's, and half none of a pair's.
            xo @ (51 | 115 | 179 | 211 | 243) => x(1, ra, 0, xo) | half,
            xo @ (791 | 919) => x(2, ra, rb, xo),
            xo => x(1, ra, rb, xo) | half,
        },
    }
}

/// What problem state may not.
fn privileged(r: &mut Random, words: &mut Vec<u32>) {
    let rt = r.pool();
    words.push(match r.below(10) {
        0 => x(rt, 0, 0, 83),
        1 => x(rt, 0, 0, 178),
        2 => x(rt, 0, 0, 146),
        3 => RFID,
        4 => mtspr([272, 26, 19, 22, 29, 318][r.below(6) as usize], rt),
        5 => mfspr([272, 26, 19, 22, 25, 287][r.below(6) as usize], rt),
        6 => x(rt, 0, rt, 402),
        7 => 0x7c00_03e4,
        8 => x(rt, 0, rt, 851),
        _ => x(0, 0, rt, 306),
    });
}

/// Bits of the MSR that are turned, among the low ones.
fn turned(r: &mut Random) -> u32 {
    let bits = MSR_PR | MSR_IR | MSR_DR | MSR_RI | MSR_ME | MSR_LE;
    (r.next() & bits) as u32
}

/// mtmsr and mtmsrd, and mfmsr.
fn machine_state(r: &mut Random, words: &mut Vec<u32>) {
    let rt = r.pool();
    words.extend([x(INDEX, 0, 0, 83), d(26, INDEX, INDEX, turned(r))]);
    let only_ee = u32::from(r.below(4) == 0);
    words.push(x(INDEX, only_ee, 0, [178, 146][r.below(2) as usize]));
    words.push(x(rt, 0, 0, 83));
}

/// rfid or hrfid to the word behind it, in another mode.
fn return_from_interrupt(r: &mut Random, unit: &mut Unit) {
    let rt = r.pool();
    let words = &mut unit.words;
    let bits = turned(r);
    words.extend([x(INDEX, 0, 0, 83), d(26, INDEX, INDEX, bits)]);
    if r.below(3) == 0 {
        // The other width: rldicl by 1, xori, rldicl by 63.
        words.push(30 << 26 | INDEX << 21 | INDEX << 16 | 1 << 11);
        words.push(d(26, INDEX, INDEX, 1));
        words.push(30 << 26 | INDEX << 21 | INDEX << 16 | 31 << 11 | 1 << 1);
    }
    let hypervisor = r.below(3) == 0;
    let (to, msr) = if hypervisor { (314, 315) } else { (26, 27) };
    words.push(mtspr(msr, INDEX));
    let behind = unit.at + 4 * (words.len() as u64 + 4);
    words.extend(load_address(INDEX, behind as u32));
    words.extend([
        mtspr(to, INDEX),
        if hypervisor { 0x4c00_0224 } else { RFID },
    ]);
    // In the byte order it comes to.
    let order = |word: u32| {
        if u64::from(bits) & MSR_LE != 0 {
            word.swap_bytes()
        } else {
            word
        }
    };
    words.push(order(d(14, rt, rt, 1)));
    words.push(order(SC));
}
