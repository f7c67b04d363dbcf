//! The interpreter by groups of instructions, and that no word makes it fail.

use super::*;
use crate::{Clocked, Engine, MachineConfig, RunEnd};
use emu_mmu::{Ea, PageSize, Ra, SegmentSize, SlbEntry, Vsid};
use proptest::prelude::*;

const CODE: u64 = 0x1_0000;
const DATA: u64 = 0x2_0000;
const ATTN: u32 = 0x0000_0200;

/// Runs words to their attn.
fn run_on(engine: &mut Engine, words: &[u32], set: impl FnOnce(&mut Registers)) -> RunEnd {
    let machine = engine.machine().clone();
    machine.load_words(Ra::new(CODE), words).unwrap();
    let mut registers = Registers::new(CODE, 0);
    set(&mut registers);
    engine.start_instructions(0, Interpreter::new(registers));
    engine.run().unwrap()
}

fn engine() -> Engine {
    Engine::new(MachineConfig::small_test(), Box::new(Clocked::new())).unwrap()
}

fn run(words: &[u32], set: impl FnOnce(&mut Registers)) -> Registers {
    let mut engine = engine();
    let mut words = words.to_vec();
    words.push(ATTN);
    run_on(&mut engine, &words, set);
    engine.interpreter(0).unwrap().registers.clone()
}

fn d(op: u32, rt: u32, ra: u32, imm: i32) -> u32 {
    op << 26 | rt << 21 | ra << 16 | imm as u32 & 0xffff
}

fn x(rt: u32, ra: u32, rb: u32, xo: u32) -> u32 {
    31 << 26 | rt << 21 | ra << 16 | rb << 11 | xo << 1
}

#[test]
fn carries_and_overflow() {
    // addco. r5,r3,r4
    let r = run(&[x(5, 3, 4, 512 + 10) | 1], |r| {
        (r.gpr[3], r.gpr[4]) = (u64::MAX, 1);
    });
    assert_eq!(
        (r.gpr[5], r.xer() & XER_CA_BIT, r.cr >> 28),
        (0, XER_CA_BIT, 2)
    );
    // addo r5,r3,r4 overflows; SO stays, and goes into CR by the next compare.
    let r = run(&[x(5, 3, 4, 512 + 266), x(0, 3, 3, 0)], |r| {
        (r.gpr[3], r.gpr[4]) = (i64::MAX as u64, 1);
    });
    assert_eq!((r.gpr[5], r.cr >> 28), (1 << 63, 3));
    // The same sum carries out of the low word in 32-bit mode.
    let r = run(&[x(5, 3, 4, 10)], |r| {
        r.msr &= !MSR_SF;
        (r.gpr[3], r.gpr[4]) = (0xffff_ffff, 1);
    });
    assert_eq!(r.xer() & XER_CA_BIT, XER_CA_BIT);
}

const XER_CA_BIT: u64 = 1 << 29;

#[test]
fn rotates_with_masks_that_wrap() {
    // rlwinm r4,r3,8,28,3
    let r = run(
        &[21 << 26 | 3 << 21 | 4 << 16 | 8 << 11 | 28 << 6 | 3 << 1],
        |r| {
            r.gpr[3] = 0xffff_ffff_1234_5678;
        },
    );
    assert_eq!(r.gpr[4], 0x3456_7812_3000_0002);
    // sradi r4,r3,4 of a negative number that loses bits.
    let r = run(&[31 << 26 | 3 << 21 | 4 << 16 | 4 << 11 | 413 << 2], |r| {
        r.gpr[3] = -17i64 as u64
    });
    assert_eq!((r.gpr[4] as i64, r.xer() & XER_CA_BIT), (-2, XER_CA_BIT));
}

#[test]
fn loads_and_stores_of_all_sizes() {
    let words = [
        d(62, 3, 10, 0),          // std r3,0(r10)
        d(34, 4, 10, 1),          // lbz r4,1(r10)
        d(43, 5, 10, 6),          // lhau r5,6(r10)
        x(6, 0, 10, 534),         // lwbrx r6,0,r10: not aligned
        d(36, 4, 10, 0x1ffb - 6), // stw r4 over a page boundary
        d(32, 7, 10, 0x1ffb - 6),
    ];
    let r = run(&words, |r| {
        (r.gpr[3], r.gpr[10]) = (0x0102_0304_0506_ff80, DATA);
    });
    assert_eq!((r.gpr[4], r.gpr[5] as i64, r.gpr[10]), (2, -128, DATA + 6));
    assert_eq!((r.gpr[6], r.gpr[7]), (0x80ff, 2));
}

#[test]
fn extended_divisions_that_overflow() {
    // divdeo r5,r3,r4 by the dividend, the divisor, the quotient or none, and OV.
    let min = i64::MIN as u64;
    let cases = [
        (425, 1, 4, Some(1 << 62)),
        (425, 1, 2, None), // 2^63 has no sign to spare
        (425, 1, u64::MAX - 1, Some(min)),
        (425, 3, 4, None), // fits 64 bits, but not with a sign
        (425, u64::MAX, 4, Some(3 << 62)),
        (425, 7, 0, None),
        (393, 3, 4, Some(3 << 62)),
        (393, 4, 4, None),
        (393, 0, 0, None),
        (427, 1, 4, Some(1 << 30)),
        (427, 1, 2, None),
        (395, 3, 4, Some(3 << 30)),
        (395, 4, 4, None),
    ];
    for (xo, dividend, divisor, quotient) in cases {
        let r = run(&[x(5, 3, 4, 512 + xo) | 1], |r| {
            (r.gpr[3], r.gpr[4]) = (dividend, divisor);
        });
        let overflow = r.xer() & (1 << 31 | 1 << 30);
        match quotient {
            Some(quotient) => assert_eq!((r.gpr[5], overflow), (quotient, 0), "{xo} {dividend}"),
            None => assert_eq!((overflow, r.cr >> 28 & 1), (3 << 30, 1), "{xo} {dividend}"),
        }
    }
}

/// Where the first of some words interrupts to, with DAR; nothing of it was done.
fn interrupted(word: u32, set: impl Fn(&mut Registers)) -> (u64, u64) {
    let mut engine = engine();
    let mut before = Registers::new(CODE, 0);
    set(&mut before);
    let in_order = |word: u32| match before.little_endian() {
        true => word.swap_bytes(),
        false => word,
    };
    for vector in [0x600, 0x700] {
        engine
            .machine()
            .load_words(Ra::new(vector), &[in_order(ATTN)])
            .unwrap();
    }
    run_on(&mut engine, &[in_order(word)], set);
    let r = &engine.interpreter(0).unwrap().registers;
    assert_eq!((r.gpr, r.srr0), (before.gpr, CODE), "{word:#x}");
    (r.pc - 4, r.dar)
}

#[test]
fn multiples_and_strings_that_interrupt() {
    let (lmw, stmw) = (d(46, 29, 10, 8), d(47, 29, 10, 8));
    let (lswi, stswi) = (x(4, 10, 9, 597), x(4, 10, 9, 725));
    let (lswx, stswx) = (x(4, 10, 3, 533), x(4, 10, 3, 661));
    let set = |r: &mut Registers| {
        (r.gpr[10], r.gpr[3]) = (DATA, 8);
        r.set_xer(9);
    };
    for (word, offset) in [
        (lmw, 8),
        (stmw, 8),
        (lswi, 0),
        (stswi, 0),
        (lswx, 8),
        (stswx, 8),
    ] {
        // Power ISA 2.07 Book III-S 6.5.8: an alignment interrupt in little-endian mode.
        let little_endian = |r: &mut Registers| {
            set(r);
            r.msr |= MSR_LE;
        };
        assert_eq!(
            interrupted(word, little_endian),
            (0x600, DATA + offset),
            "{word:#x}"
        );
    }
    // Invalid forms: what addresses is loaded too, around from r31 to r0 or r0 as no register.
    for word in [
        d(46, 10, 10, 0),
        d(46, 9, 30, 0),
        d(46, 0, 0, 0),
        x(9, 10, 9, 597),
        x(31, 0, 9, 597),
        x(8, 10, 3, 533),
        x(2, 10, 3, 533),
    ] {
        assert_eq!(interrupted(word, set).0, 0x700, "{word:#x}");
    }
}

#[test]
fn little_endian_code_and_data() {
    let mut engine = engine();
    let words: Vec<u32> = [d(62, 3, 10, 0), d(32, 4, 10, 0), ATTN]
        .map(u32::swap_bytes)
        .to_vec();
    run_on(&mut engine, &words, |r| {
        r.msr |= MSR_LE;
        (r.gpr[3], r.gpr[10]) = (0x0102_0304_0506_0708, DATA);
    });
    assert_eq!(engine.interpreter(0).unwrap().registers.gpr[4], 0x0506_0708);
    let there = engine.machine().memory().load_u64(Ra::new(DATA)).unwrap();
    assert_eq!(there, 0x0807_0605_0403_0201);
}

#[test]
fn interrupts_go_to_their_vectors() {
    let cases: [(u32, u64, u64); 8] = [
        (0x0000_0000, 0x700, 0x8_0000),        // illegal
        (0x4400_0002, 0xc00, 0),               // sc
        (0x7fe0_0008, 0x700, 0x2_0000),        // trap
        (x(3, 0, 0, 20) | 10 << 11, 0x600, 0), // lwarx, not aligned
        (50 << 26, 0x800, 0),                  // lfd
        (x(3, 0, 0, 103), 0xf20, 0),           // lvx
        (x(3, 0, 0, 844), 0xf40, 0),           // lxvd2x
        (x(3, 4, 0, 51) | 1, 0xf20, 0),        // mfvsrd of a vector register
    ];
    for (word, vector, cause) in cases {
        let mut engine = engine();
        engine
            .machine()
            .load_words(Ra::new(vector), &[ATTN])
            .unwrap();
        run_on(&mut engine, &[word], |r| r.gpr[10] = DATA + 1);
        let r = &engine.interpreter(0).unwrap().registers;
        assert_eq!(r.pc, vector + 4, "{word:#x}");
        let after = if vector == 0xc00 { 4 } else { 0 };
        assert_eq!(
            (r.srr0, r.srr1 & 0x783f_0000),
            (CODE + after, cause),
            "{word:#x}"
        );
    }
}

#[test]
fn problem_state_may_not() {
    let mut engine = engine();
    engine
        .machine()
        .load_words(Ra::new(0x700), &[ATTN])
        .unwrap();
    let slb = SlbEntry {
        kp: false,
        ..SlbEntry::kernel(Ea::new(0), Vsid::new(1), SegmentSize::S256M, PageSize::P4K)
    };
    // slbmte r3,r4; then a user's mfmsr through no translation at all: fetched in real mode.
    let words = [x(3, 0, 4, 402), x(3, 0, 0, 83)];
    run_on(&mut engine, &words, |r| {
        (r.gpr[3], r.gpr[4]) = (slb.rs(), slb.rb(0));
        r.msr |= MSR_PR;
    });
    let r = &engine.interpreter(0).unwrap().registers;
    assert_eq!((r.srr0, r.srr1 & 0x783f_0000), (CODE, 0x4_0000));
    assert_eq!(r.msr & MSR_PR, 0);
}

#[test]
fn a_store_to_code_is_seen() {
    // stw r3,16(r5); isync; then the patched word.
    let words = [d(36, 3, 5, 12), 0x4c00_012c, 0x6000_0000, d(14, 4, 0, 1)];
    let r = run(&words, |r| {
        (r.gpr[3], r.gpr[5]) = (u64::from(d(14, 4, 0, 2)), CODE);
    });
    assert_eq!(r.gpr[4], 2);
    // Executed once before it is patched: a loop of two rounds.
    let words = [
        d(14, 4, 4, 1),                                 // addi r4,r4,1, later 16
        d(36, 3, 5, 0),                                 // stw r3,0(r5)
        0x4c00_012c,                                    // isync
        16 << 26 | 16 << 21 | (-12i32 as u32 & 0xfffc), // bdnz
    ];
    let r = run(&words, |r| {
        (r.gpr[3], r.gpr[5], r.ctr) = (u64::from(d(14, 4, 4, 16)), CODE, 2);
    });
    assert_eq!(r.gpr[4], 17);
}

#[test]
fn the_decrementer_interrupts_in_a_loop_that_touches_nothing() {
    let mut engine = engine();
    engine
        .machine()
        .load_words(Ra::new(0x900), &[ATTN])
        .unwrap();
    // mtdec r3; mtmsrd r4,1; b .
    let words = [x(3, 22, 0, 467), x(4, 1, 0, 178), 0x4800_0000];
    let end = run_on(&mut engine, &words, |r| {
        (r.gpr[3], r.gpr[4]) = (1000, MSR_EE)
    });
    let r = &engine.interpreter(0).unwrap().registers;
    assert_eq!((r.srr0, r.srr1 & MSR_EE), (CODE + 8, MSR_EE));
    let clock = end.cpus[0].clock.get();
    assert!((1000..1010).contains(&clock), "{clock}");
    assert_eq!(end.cpus[0].counters.interrupts, 1);
}

#[test]
fn translation_counts_as_for_the_verbs() {
    let mut engine = engine();
    let (vector, ea) = (0x380, 0x1000_0000u64);
    // The segment interrupt's handler: slbmte r6,r7; rfid, twice for the page that is not there.
    engine
        .machine()
        .load_words(Ra::new(vector), &[x(6, 0, 7, 402), 0x4c00_0024])
        .unwrap();
    engine
        .machine()
        .load_words(Ra::new(0x300), &[ATTN])
        .unwrap();
    let slb = SlbEntry::kernel(Ea::new(ea), Vsid::new(5), SegmentSize::S256M, PageSize::P4K);
    let words = [d(32, 3, 5, 0x120)];
    let end = run_on(&mut engine, &words, |r| {
        (r.gpr[6], r.gpr[7], r.gpr[5]) = (slb.rs(), slb.rb(3), ea);
        r.msr |= MSR_DR;
    });
    let r = &engine.interpreter(0).unwrap().registers;
    assert_eq!((r.dar, r.dsisr, r.srr0), (ea + 0x120, 0x4000_0000, CODE));
    let counters = end.cpus[0].counters;
    assert_eq!((counters.storage_interrupts, counters.walks), (2, 1));
}

#[test]
fn reservations() {
    // lwarx r4,0,r5; stwcx. r3,0,r5; mfcr r6; stwcx. again; mfcr r7
    let stwcx = x(3, 0, 5, 150) | 1;
    let words = [
        x(4, 0, 5, 20),
        stwcx,
        x(6, 0, 0, 19),
        stwcx,
        x(7, 0, 0, 19),
        d(58, 8, 10, 0),
    ];
    let r = run(&words, |r| {
        (r.gpr[3], r.gpr[5], r.gpr[10]) = (7, DATA + 4, DATA);
    });
    assert_eq!((r.gpr[6] >> 28, r.gpr[7] >> 28, r.gpr[8]), (2, 0, 7));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Random words in memory, each vector's too.
    #[test]
    fn no_word_makes_it_fail(seed: u64) {
        let engine = engine();
        let memory = engine.machine().clone();
        let mut state = seed | 1;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for at in (0..0x4_0000u64).step_by(8) {
            memory.memory().store_u64(Ra::new(at), random()).unwrap();
        }
        let mut steps = 0;
        while steps < 100_000 {
            let mut registers = Registers::new(CODE + random() % 0x1_0000, 0);
            registers.gpr.iter_mut().for_each(|gpr| *gpr = random() >> (random() % 64));
            registers.msr ^= random() & (MSR_EE | MSR_SF | MSR_LE);
            let mut interpreter = Interpreter::new(registers);
            interpreter.instructions_max = 1000;
            let mut one = Engine::new(MachineConfig::small_test(), Box::new(Clocked::new())).unwrap();
            for at in (0..0x4_0000u64).step_by(8) {
                let word = memory.memory().load_u64(Ra::new(at)).unwrap();
                one.machine().memory().store_u64(Ra::new(at), word).unwrap();
            }
            one.start_instructions(0, interpreter);
            // A CPU may stop by itself or wait for ever; it may not panic.
            let _ = one.run();
            steps += one.interpreter(0).map_or(0, Interpreter::retired).max(1000);
        }
    }
}
