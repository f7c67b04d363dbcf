//! A program for a bare machine: vectors, a page table, and units that each end with an interrupt.
//!
//! Owns the layout of memory and the handler, which writes the state down, restores what units must find,
//! and goes on with the next unit in its MSR.

use super::super::draw::{Random, d, mfspr, mtspr, x};
use super::super::program::{HOME, INDEX, MEMORY, POOL, POOL_COUNT, VALUE_COUNT, VALUES};
use super::draw::{Unit, unit};
use emu_mmu::{
    Direct, Ea, GuestMemory, Hpt, HpteR, HpteV, PageSize, Ra, SegmentSize, SlbEntry, Vpn, Vsid,
};
use std::fmt::Write;

pub const MEMORY_BYTES: u64 = 64 << 20;
/// Where a POWER8 under QEMU begins.
pub const ENTRY: u64 = 0x10;
const COMMON: u64 = 0x2000;
const START: u64 = 0x3000;
const END: u64 = 0x3800;
/// What the handler restores.
const KEPT: u64 = 0x3c00;
/// Not 0 when the program has ended.
pub const FLAG: u64 = 0x3f00;
const VALUES_AT: u64 = 0x10_0000;
const HOME_AT: u64 = VALUES_AT + VALUE_COUNT * 8 + 64;
const CODE: u64 = 0x10_2000;
/// Frames of the pages at `PAGES`.
pub const FRAMES: u64 = 0x60_0000;
pub const TABLE: u64 = 0x80_0000;
pub const TABLE_BYTES: u64 = 1 << 18;
/// What QEMU loads ends here.
pub const IMAGE_BYTES: u64 = TABLE + TABLE_BYTES;
pub const DUMPS: u64 = 0x100_0000;
/// Special registers that are written down.
const SPECIAL: [(u32, &str); 11] = [
    (8, "LR"),
    (9, "CTR"),
    (1, "XER"),
    (26, "SRR0"),
    (27, "SRR1"),
    (19, "DAR"),
    (18, "DSISR"),
    (272, "SPRG0"),
    (274, "SPRG2"),
    (275, "SPRG3"),
    (815, "TAR"),
];
/// Where DSISR is in a state.
pub const DSISR: usize = 2 + 6;
const WINDOW: usize = 8;
/// The vector, CR, special registers, what is drawn, and the window.
pub const DUMP_WORDS: usize = 2 + SPECIAL.len() + POOL_COUNT + WINDOW;
/// r24: where the state is written down; r19 and r18 are the handler's; r18 the next unit's descriptor.
const DUMP: u32 = 24;
const SCRATCH: u32 = 19;
const NEXT: u32 = 18;
/// Nothing is read of key 2 and nothing written of key 1.
const AMR: u64 = 0x2400_0000_0000_0000;
const VSID: u64 = 0x77;
const VECTORS: [u64; 12] = [
    0x200, 0x300, 0x380, 0x400, 0x480, 0x600, 0x700, 0x800, 0x900, 0xc00, 0xf20, 0xf40,
];
/// Hypervisor emulation assistance, which an illegal instruction takes on a POWER8.
const ASSISTANCE: u64 = 0xe40;

pub struct Program {
    pub units: Vec<Unit>,
}

fn store(rs: u32, word: usize) -> u32 {
    d(62, rs, DUMP, 8 * word as u32)
}

/// lis and ori.
fn address(rt: u32, value: u64) -> [u32; 2] {
    [
        d(15, rt, 0, (value >> 16) as u32),
        d(24, rt, rt, value as u32),
    ]
}

/// ld of a doubleword at a low address.
fn kept(rt: u32, word: u64) -> u32 {
    d(58, rt, 0, (KEPT + 8 * word) as u32)
}

/// The segments: the code's, one for the kernel's keys, one whose pages have key 1 in every state, none,
/// and one without execution.
fn segments() -> Vec<(u64, u64)> {
    [
        (0, 0, (false, false, false)),
        (1, 1, (false, true, false)),
        (2, 1, (true, true, false)),
        (4, 1, (false, true, true)),
    ]
    .into_iter()
    .zip(0..)
    .map(|((esid, page_set, (ks, kp, n)), index)| {
        let ea = Ea::new(esid << 28);
        let vsid = Vsid::new(VSID + page_set);
        let entry = SlbEntry {
            ks,
            kp,
            n,
            ..SlbEntry::kernel(ea, vsid, SegmentSize::S256M, PageSize::P4K)
        };
        (entry.rs(), entry.rb(index))
    })
    .collect()
}

/// After `vector` is in r22: writes the state down and goes on.
fn handler() -> Vec<u32> {
    let mut words = vec![store(INDEX, 0), x(INDEX, 0, 0, 19), store(INDEX, 1)];
    for (i, (number, _)) in SPECIAL.into_iter().enumerate() {
        words.extend([mfspr(number, INDEX), store(INDEX, 2 + i)]);
    }
    let rest = 2 + SPECIAL.len();
    words.extend((0..).zip(POOL).map(|(i, gpr)| store(gpr, rest + i)));
    for i in 0..WINDOW {
        let offset = (8 * i as u32).wrapping_sub(32);
        words.extend([
            d(58, INDEX, HOME, offset),
            store(INDEX, rest + POOL_COUNT + i),
        ]);
    }
    words.push(d(14, DUMP, DUMP, 8 * DUMP_WORDS as u32));
    words.extend([d(14, INDEX, 0, 0), mtspr(19, INDEX), mtspr(18, INDEX)]);
    words.extend(restore());
    words.extend([d(58, INDEX, NEXT, 0), mtspr(26, INDEX)]);
    words.extend([d(58, INDEX, NEXT, 8), mtspr(27, INDEX)]);
    words.extend([d(14, NEXT, NEXT, 16), d(14, MEMORY, HOME, 0), 0x4c00_0024]);
    words
}

/// AMR, decrementer and SLB, from `KEPT`.
fn restore() -> Vec<u32> {
    let mut words = vec![
        kept(INDEX, 0),
        mtspr(29, INDEX),
        kept(INDEX, 1),
        mtspr(22, INDEX),
    ];
    for i in 0..segments().len() as u64 {
        words.extend([kept(INDEX, 2 + 2 * i), kept(SCRATCH, 3 + 2 * i)]);
        words.push(x(INDEX, 0, SCRATCH, 402));
    }
    words
}

fn put(memory: &GuestMemory, at: u64, words: &[u32]) {
    for (i, &word) in words.iter().enumerate() {
        memory.store_u32(Ra::new(at + 4 * i as u64), word).unwrap();
    }
}

fn put_wide(memory: &GuestMemory, at: u64, words: &[u64]) {
    for (i, &word) in words.iter().enumerate() {
        memory.store_u64(Ra::new(at + 8 * i as u64), word).unwrap();
    }
}

/// Enters a page of a set.
fn enter(memory: &GuestMemory, hpt: &Hpt, page_set: u64, ea: u64, r: u64) {
    let (vsid, ea) = (Vsid::new(VSID + page_set), Ea::new(ea));
    let (segment, page) = (SegmentSize::S256M, PageSize::P4K);
    let group = hpt.primary(Vpn::from_ea(vsid, ea, segment).hash(segment, page));
    let v = HpteV::wanted(vsid, ea, segment, page);
    let mut nobody = |_| ();
    let mut table = Direct::new(memory, &mut nobody);
    let slot = hpt.insert(&mut table, group, v, HpteR(r), false).unwrap();
    slot.expect("room in the group");
}

/// What the pages from 0 of a segment are: protection, N, G, keys, and none.
const PAGES: [Option<u64>; 12] = [
    Some(0x10),
    Some(0x11),
    Some(0x12),
    Some(0x13),
    Some(0x12 | 1 << 63),
    Some(0x12 | 4),
    Some(0x12 | 8),
    None,
    Some(0x12 | 0x200),
    Some(0x12 | 0x400),
    Some(0x10 | 1 << 63),
    Some(0x112),
];
pub const PAGE_COUNT: u64 = PAGES.len() as u64;

impl Program {
    /// Draws a program and lays it out.
    pub fn random(seed: u64, count: usize, memory: &GuestMemory) -> Self {
        let mut r = Random(seed * 2 + 1);
        (0..20).for_each(|_| {
            r.next();
        });
        let hpt = Hpt::new(Ra::new(TABLE), 11).unwrap();
        let mut at = CODE;
        let mut units = Vec::with_capacity(count);
        for _ in 0..count {
            let unit = unit(&mut r, at);
            let words: Vec<u32> = unit
                .words
                .iter()
                .map(|w| {
                    if unit.little_endian() {
                        w.swap_bytes()
                    } else {
                        *w
                    }
                })
                .collect();
            put(memory, at, &words);
            at += 4 * words.len() as u64;
            units.push(unit);
        }
        let descriptors = at.next_multiple_of(16);
        assert!(descriptors + 16 * count as u64 + 16 < FRAMES);
        let mut table: Vec<u64> = units.iter().flat_map(|u| [u.at, u.msr]).collect();
        table.extend([END, 0x9000_0000_0000_1000]);
        put_wide(memory, descriptors, &table);
        for page in (VALUES_AT..at).step_by(4096) {
            enter(memory, &hpt, 0, page, page | 0x12);
        }
        for (i, page) in (0..).zip(PAGES) {
            put(memory, FRAMES + 4096 * i + 0x800, &[0x4400_0002; 512]);
            if let Some(r) = page {
                enter(memory, &hpt, 1, 4096 * i, (FRAMES + 4096 * i) | r);
            }
        }
        let values: Vec<u64> = (0..VALUE_COUNT + 32).map(|_| r.value()).collect();
        put_wide(memory, VALUES_AT, &values);
        put_wide(memory, KEPT, &[AMR, 0x7fff_ffff]);
        let segments: Vec<u64> = segments()
            .into_iter()
            .flat_map(|(rs, rb)| [rs, rb])
            .collect();
        put_wide(memory, KEPT + 16, &segments);
        vectors(memory);
        put(memory, START, &start(&hpt, descriptors));
        put(
            memory,
            END,
            &[
                d(14, INDEX, 0, 1),
                d(62, INDEX, 0, FLAG as u32),
                0x4800_0000,
            ],
        );
        Program { units }
    }
}

/// Where it lets a user have TAR (FSCR), which a CPU here always does.
pub const ALLOWS_TAR: u64 = START + 4;
/// Where the program loops for ever under QEMU.
pub const LAST: u64 = END + 8;

fn vectors(memory: &GuestMemory) {
    let branch = |from: u64| 0x4800_0000 | (COMMON - from) as u32;
    put(memory, ENTRY, &[0x4800_0000 | (START - ENTRY) as u32]);
    for vector in VECTORS {
        put(
            memory,
            vector,
            &[d(14, INDEX, 0, vector as u32), branch(vector + 4)],
        );
    }
    // As a program interrupt: HSRR0 and HSRR1 to SRR0 and SRR1, with the bit of an illegal instruction.
    let mut words = vec![mfspr(314, INDEX), mtspr(26, INDEX), mfspr(315, INDEX)];
    words.extend([
        d(25, INDEX, INDEX, 8),
        mtspr(27, INDEX),
        d(14, INDEX, 0, 0x700),
    ]);
    words.push(branch(ASSISTANCE + 4 * words.len() as u64));
    put(memory, ASSISTANCE, &words);
    put(memory, COMMON, &handler());
}

/// The registers that the harness keeps, and what is drawn from the values.
fn start(hpt: &Hpt, descriptors: u64) -> Vec<u32> {
    let mut words = vec![d(14, 0, 0, 0x100), mtspr(153, 0)];
    words.extend(address(VALUES, VALUES_AT));
    words.extend(
        [
            address(HOME, HOME_AT),
            address(DUMP, DUMPS),
            address(NEXT, descriptors),
        ]
        .concat(),
    );
    words.extend([d(14, 0, 0, 0), mtspr(318, 0)]);
    words.extend(address(0, hpt.sdr1()));
    words.push(mtspr(25, 0));
    words.push(d(14, 0, 0, 0));
    for number in [1, 8, 9, 19, 18, 272, 273, 274, 275, 815] {
        words.push(mtspr(number, 0));
    }
    words.push(x(0, 0, 0, 144) | 255 << 12);
    words.extend(POOL.map(|gpr| d(58, gpr, VALUES, 8 * gpr)));
    // slbia, then the handler's end.
    words.push(0x7c00_03e4);
    words.extend(restore());
    words.extend([
        d(58, INDEX, NEXT, 0),
        mtspr(26, INDEX),
        d(58, INDEX, NEXT, 8),
        mtspr(27, INDEX),
    ]);
    words.extend([d(14, NEXT, NEXT, 16), d(14, MEMORY, HOME, 0), 0x4c00_0024]);
    words
}

/// Where two states differ.
pub fn differences(theirs: &[u64], ours: &[u64]) -> String {
    let mut text = String::new();
    for (word, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
        let special = 2 + SPECIAL.len();
        let name = match word {
            0 => "vector".to_owned(),
            1 => "CR".to_owned(),
            _ if word < special => SPECIAL[word - 2].1.to_owned(),
            _ if word < special + POOL_COUNT => format!("r{}", POOL[word - special]),
            _ => format!("memory {}", word - special - POOL_COUNT),
        };
        if theirs != ours {
            let _ = writeln!(text, "{name}: QEMU {theirs:#018x}, here {ours:#018x}");
        }
    }
    text
}
