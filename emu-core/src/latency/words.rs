//! Instruction words that the probes' guest loops are made of.
//!
//! Owns their encodings (Power ISA 2.07 Books I to III-S). Refuses to run them.

/// ptesync.
pub const PTESYNC: u32 = 0x7c40_04ac;
/// eieio.
pub const EIEIO: u32 = 0x7c00_06ac;
/// tlbsync.
pub const TLBSYNC: u32 = 0x7c00_046c;
/// rfid.
const RFID: u32 = 0x4c00_0024;
/// attn: the machine is off.
const ATTN: u32 = 0x0000_0200;
/// nop.
const NOP: u32 = 0x6000_0000;

/// Where the handler of a data segment interrupt lies (Power ISA 2.07 Book III-S 6.5).
pub const SEGMENT_VECTOR: u64 = 0x380;

const fn x(rt: u32, ra: u32, rb: u32, xo: u32) -> u32 {
    31 << 26 | rt << 21 | ra << 16 | rb << 11 | xo << 1
}

/// ld RT,0(RA).
pub const fn ld(rt: u32, ra: u32) -> u32 {
    58 << 26 | rt << 21 | ra << 16
}

/// ldarx RT,0,RB.
pub const fn ldarx(rt: u32, rb: u32) -> u32 {
    x(rt, 0, rb, 84)
}

/// stdcx. RS,0,RB.
pub const fn stdcx(rs: u32, rb: u32) -> u32 {
    x(rs, 0, rb, 214) | 1
}

/// tlbie RB.
pub const fn tlbie(rb: u32) -> u32 {
    x(0, 0, rb, 306)
}

/// tlbiel RB.
pub const fn tlbiel(rb: u32) -> u32 {
    x(0, 0, rb, 274)
}

/// rldicr RA,RS,SH,ME.
const fn rldicr(ra: u32, rs: u32, sh: u32, me: u32) -> u32 {
    let low = (sh & 31) << 11 | (me & 31) << 6;
    30 << 26 | rs << 21 | ra << 16 | low | (me >> 5) << 5 | 1 << 2 | (sh >> 5) << 1
}

/// `body` again and again until CTR is 0, then the end of the run.
pub fn counted(body: &[u32]) -> Vec<u32> {
    let back = -4 * body.len() as i32;
    let bdnz = 16 << 26 | 16 << 21 | back as u32 & 0xfffc;
    body.iter().copied().chain([bdnz, ATTN]).collect()
}

/// Instructions of a turn of [`idle_loop`].
pub const IDLE_LOOP: u64 = 11;

/// A loop around nothing, of so many turns below 0x8000; r6 counts.
pub fn idle_loop(turns: u16) -> Vec<u32> {
    let addi = |ra: u32, by: u16| 14 << 26 | 6 << 21 | ra << 16 | u32::from(by);
    let nops = IDLE_LOOP as usize - 3;
    let back = -4 * (IDLE_LOOP as i32 - 1);
    let bne = 16 << 26 | 4 << 21 | 2 << 16 | back as u32 & 0xfffc;
    let mut words = vec![addi(0, turns)];
    words.extend(vec![NOP; nops]);
    words.extend([addi(6, u16::MAX), 11 << 26 | 6 << 16, bne]);
    words
}

/// Register that the segment handler keeps the next SLB entry in; it begins with 0.
pub const SLB_NEXT: usize = 22;
/// Register with the number of SLB entries.
pub const SLB_ENTRIES: usize = 24;
/// Register whose bits the VSID keeps of the ESID.
pub const VSID_MASK: usize = 25;

/// A handler of data segment interrupts: makes an entry for DAR in the next place of the SLB, one place
/// after the other. The VSID is the ESID shifted left by 20, and-ed with [`VSID_MASK`].
pub const SEGMENT_HANDLER: [u32; 12] = [
    x(20, 19, 0, 339),                       // mfdar r20
    rldicr(21, 20, 0, 35),                   // ESID
    25 << 26 | 21 << 21 | 21 << 16 | 0x0800, // oris r21,r21,0x800: V
    x(21, 21, 22, 444),                      // or r21,r21,r22: the place
    rldicr(23, 20, 4, 31),                   // ESID << 20 where slbmte has the VSID
    x(23, 23, 25, 28),                       // and r23,r23,r25
    x(23, 0, 21, 402),                       // slbmte r23,r21
    14 << 26 | 22 << 21 | 22 << 16 | 1,      // addi r22,r22,1
    x(1, 22, 24, 32),                        // cmpld r22,r24
    16 << 26 | 12 << 21 | 8,                 // blt over the next
    14 << 26 | 22 << 21,                     // li r22,0
    RFID,
];

/// Instructions of [`SEGMENT_HANDLER`] that cost what straight-line ones do, when the next place is not
/// the first: all but mfdar, slbmte, rfid and the one that is jumped over.
pub const SEGMENT_HANDLER_STRAIGHT: u64 = SEGMENT_HANDLER.len() as u64 - 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disassemble;

    #[test]
    fn the_words_are_those_instructions() {
        let told: Vec<String> = SEGMENT_HANDLER.map(disassemble).to_vec();
        let names: Vec<&str> = told.iter().filter_map(|t| t.split(' ').next()).collect();
        let handler = "mfdar rldicr oris or rldicr and slbmte addi cmpld blt li rfid";
        assert_eq!(names.join(" "), handler, "{told:#?}");
        let loops = [ld(3, 3), ldarx(4, 3), stdcx(4, 3), tlbie(5), tlbiel(5)].map(disassemble);
        let told = "ld r3, 0x0(r3)|ldarx r4, r0, r3|stdcx. r4, r0, r3|tlbie r5|tlbiel r5, 0";
        assert_eq!(loops.join("|"), told);
        let barriers = [PTESYNC, EIEIO, TLBSYNC, NOP, counted(&[NOP])[1]].map(disassemble);
        let idle: Vec<String> = idle_loop(7).into_iter().map(disassemble).collect();
        assert_eq!(idle.len() as u64, IDLE_LOOP + 1);
        assert_eq!((&idle[0][..], &idle[1][..]), ("li r6, 0x7", "nop"));
        assert_eq!(
            idle[9..].join("|"),
            "subi r6, r6, 0x1|cmpwi r6, 0x0|bne -0x28"
        );
        assert_eq!(barriers.join("|"), "ptesync|eieio|tlbsync|nop|bdnz -0x4");
    }
}
