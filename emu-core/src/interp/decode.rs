//! From an instruction word to what it does.
//!
//! Owns the choice of fields. Which instruction a word is, the crate `powerpc` says; what it lacks or
//! refuses (SLB moves, tlbiel, hints, later fixed-point instructions) is in a table here (Power ISA 2.07
//! Books I to III-S). Refuses floating point and vectors, whose units are off for good.

use super::op::{Decoded, OE, Op, RC, WRAP};
use powerpc::{Extension, Extensions, Ins, Opcode};

pub(super) const EXTENSIONS: Extensions = Extensions::from_extension(Extension::Ppc64);

/// Which fields an instruction has.
#[derive(Clone, Copy)]
enum Form {
    /// RT or RS, RA, signed immediate.
    D,
    /// RT or RS, RA, signed immediate of words.
    Ds,
    /// RS, RA, unsigned immediate.
    Ui,
    /// RT or RS, RA, RB, with Rc.
    X,
    /// RT, RA, RB, with OE and Rc.
    Xo,
    /// RT or RS, RA, RB; bit 31 is none of Rc.
    XNoRc,
    /// RS, RA, a shift of six bits, with Rc.
    Sh6,
}

fn bits(word: u32, shift: u32, mask: u32) -> u8 {
    (word >> shift & mask) as u8
}

/// Decodes a word.
pub(crate) fn decode(word: u32) -> Decoded {
    let ins = Ins::new(word, EXTENSIONS);
    let found = match ins.op {
        Opcode::Illegal => None,
        op => arithmetic(op)
            .or_else(|| logical(op))
            .or_else(|| storage(op))
            .map(|(op, form)| fields(op, form, word))
            .or_else(|| special_form(op, word))
            .or_else(|| system(op, word)),
    };
    found
        .or_else(|| beyond_the_crate(word))
        .unwrap_or_else(|| unit_off(word))
}

fn fields(op: Op, form: Form, word: u32) -> Decoded {
    let (a, b, c) = (bits(word, 21, 31), bits(word, 16, 31), bits(word, 11, 31));
    let rc = if word & 1 != 0 { RC } else { 0 };
    let simm = word as u16 as i16 as u32;
    match form {
        Form::D => Decoded::new(op, a, b, 0, simm),
        Form::Ds => Decoded::new(op, a, b, 0, simm & !3),
        Form::Ui => Decoded::new(op, a, b, 0, word & 0xffff),
        Form::X => Decoded::new(op, a, b, c | rc, 0),
        Form::Xo => Decoded::new(op, a, b, c | rc, if word & 0x400 != 0 { OE } else { 0 }),
        Form::XNoRc => Decoded::new(op, a, b, c, 0),
        Form::Sh6 => Decoded::new(op, a, b, c | bits(word, 1, 1) << 5 | rc, 0),
    }
}

fn arithmetic(op: Opcode) -> Option<(Op, Form)> {
    use Opcode as O;
    Some(match op {
        O::Addic => (Op::Addic, Form::D),
        O::Addic_ => (Op::AddicRc, Form::D),
        O::Subfic => (Op::Subfic, Form::D),
        O::Mulli => (Op::Mulli, Form::D),
        O::Add => (Op::Add, Form::Xo),
        O::Addc => (Op::Addc, Form::Xo),
        O::Adde => (Op::Adde, Form::Xo),
        O::Addme => (Op::Addme, Form::Xo),
        O::Addze => (Op::Addze, Form::Xo),
        O::Subf => (Op::Subf, Form::Xo),
        O::Subfc => (Op::Subfc, Form::Xo),
        O::Subfe => (Op::Subfe, Form::Xo),
        O::Subfme => (Op::Subfme, Form::Xo),
        O::Subfze => (Op::Subfze, Form::Xo),
        O::Neg => (Op::Neg, Form::Xo),
        O::Mullw => (Op::Mullw, Form::Xo),
        O::Mulld => (Op::Mulld, Form::Xo),
        O::Mulhw => (Op::Mulhw, Form::X),
        O::Mulhwu => (Op::Mulhwu, Form::X),
        O::Mulhd => (Op::Mulhd, Form::X),
        O::Mulhdu => (Op::Mulhdu, Form::X),
        O::Divw => (Op::Divw, Form::Xo),
        O::Divwu => (Op::Divwu, Form::Xo),
        O::Divd => (Op::Divd, Form::Xo),
        O::Divdu => (Op::Divdu, Form::Xo),
        _ => return None,
    })
}

fn logical(op: Opcode) -> Option<(Op, Form)> {
    use Opcode as O;
    Some(match op {
        O::Ori => (Op::Ori, Form::Ui),
        O::Xori => (Op::Xori, Form::Ui),
        O::Andi_ => (Op::AndiRc, Form::Ui),
        O::And => (Op::And, Form::X),
        O::Andc => (Op::Andc, Form::X),
        O::Or => (Op::Or, Form::X),
        O::Orc => (Op::Orc, Form::X),
        O::Xor => (Op::Xor, Form::X),
        O::Nand => (Op::Nand, Form::X),
        O::Nor => (Op::Nor, Form::X),
        O::Eqv => (Op::Eqv, Form::X),
        O::Extsb => (Op::Extsb, Form::X),
        O::Extsh => (Op::Extsh, Form::X),
        O::Extsw => (Op::Extsw, Form::X),
        O::Cntlzw => (Op::Cntlzw, Form::X),
        O::Cntlzd => (Op::Cntlzd, Form::X),
        O::Slw => (Op::Slw, Form::X),
        O::Srw => (Op::Srw, Form::X),
        O::Sraw => (Op::Sraw, Form::X),
        O::Srawi => (Op::Srawi, Form::X),
        O::Sld => (Op::Sld, Form::X),
        O::Srd => (Op::Srd, Form::X),
        O::Srad => (Op::Srad, Form::X),
        O::Sradi => (Op::Sradi, Form::Sh6),
        O::Tw => (Op::Tw, Form::XNoRc),
        O::Td => (Op::Td, Form::XNoRc),
        O::Twi => (Op::Twi, Form::D),
        O::Tdi => (Op::Tdi, Form::D),
        O::Crand => (Op::Crand, Form::XNoRc),
        O::Crandc => (Op::Crandc, Form::XNoRc),
        O::Creqv => (Op::Creqv, Form::XNoRc),
        O::Crnand => (Op::Crnand, Form::XNoRc),
        O::Crnor => (Op::Crnor, Form::XNoRc),
        O::Cror => (Op::Cror, Form::XNoRc),
        O::Crorc => (Op::Crorc, Form::XNoRc),
        O::Crxor => (Op::Crxor, Form::XNoRc),
        _ => return None,
    })
}

macro_rules! same_names {
    ($op:expr, $($form:ident: $($name:ident)*;)*) => {
        match $op {
            $($(Opcode::$name => (Op::$name, Form::$form),)*)*
            Opcode::Stwcx_ => (Op::Stwcx, Form::XNoRc),
            Opcode::Stdcx_ => (Op::Stdcx, Form::XNoRc),
            Opcode::Dcbzl => (Op::Dcbz, Form::XNoRc),
            Opcode::Dcbst => (Op::Dcbf, Form::XNoRc),
            Opcode::Dcbt | Opcode::Dcbtst => (Op::Nop, Form::XNoRc),
            _ => return None,
        }
    };
}

fn storage(op: Opcode) -> Option<(Op, Form)> {
    Some(same_names! { op,
        D: Lbz Lbzu Lhz Lhzu Lha Lhau Lwz Lwzu Stb Stbu Sth Sthu Stw Stwu Lmw Stmw;
        Ds: Lwa Ld Ldu Std Stdu;
        XNoRc: Lbzx Lbzux Lhzx Lhzux Lhax Lhaux Lwzx Lwzux Lwax Lwaux Ldx Ldux
            Lhbrx Lwbrx Stbx Stbux Sthx Sthux Stwx Stwux Stdx Stdux Sthbrx Stwbrx
            Lwarx Ldarx Lswi Stswi Lswx Stswx Dcbz Dcbf Icbi;
    })
}

/// Instructions whose fields lie as no others do.
fn special_form(op: Opcode, word: u32) -> Option<Decoded> {
    use Opcode as O;
    let (a, b, c) = (bits(word, 21, 31), bits(word, 16, 31), bits(word, 11, 31));
    let rc = if word & 1 != 0 { RC } else { 0 };
    let (mb, me) = (word >> 6 & 31, word >> 1 & 31);
    let mb6 = mb | (word & 0x20);
    let sh6 = c | bits(word, 1, 1) << 5 | rc;
    let wrap = if mb > me { WRAP } else { 0 };
    let simm = word as u16 as i16 as u32;
    let double = word >> 21 & 1 != 0;
    let crf = bits(word, 23, 7);
    let of = |w, d| if double { d } else { w };
    let link = bits(word, 0, 3);
    Some(match op {
        O::Addi if b == 0 => Decoded::new(Op::Li, a, 0, 0, simm),
        O::Addi => Decoded::new(Op::Addi, a, b, 0, simm),
        O::Addis if b == 0 => Decoded::new(Op::Li, a, 0, 0, word << 16),
        O::Addis => Decoded::new(Op::Addi, a, b, 0, word << 16),
        O::Oris => Decoded::new(Op::Ori, a, b, 0, word << 16),
        O::Xoris => Decoded::new(Op::Xori, a, b, 0, word << 16),
        O::Andis_ => Decoded::new(Op::AndiRc, a, b, 0, word << 16),
        O::Cmpi => Decoded::new(of(Op::CmpiW, Op::CmpiD), crf, b, 0, simm),
        O::Cmpli => Decoded::new(of(Op::CmpliW, Op::CmpliD), crf, b, 0, word & 0xffff),
        O::Cmp => Decoded::new(of(Op::CmpW, Op::CmpD), crf, b, c, 0),
        O::Cmpl => Decoded::new(of(Op::CmplW, Op::CmplD), crf, b, c, 0),
        O::Rlwinm => Decoded::new(Op::Rlwinm, a, b, c | rc | wrap, mask32(mb, me)),
        O::Rlwimi => Decoded::new(Op::Rlwimi, a, b, c | rc | wrap, mask32(mb, me)),
        O::Rlwnm => Decoded::new(Op::Rlwnm, a, b, c | rc | wrap, mask32(mb, me)),
        O::Rldicl => Decoded::new(Op::Rldicl, a, b, sh6, mb6),
        O::Rldicr => Decoded::new(Op::Rldicr, a, b, sh6, mb6),
        O::Rldic => Decoded::new(Op::Rldic, a, b, sh6, mb6),
        O::Rldimi => Decoded::new(Op::Rldimi, a, b, sh6, mb6),
        O::Rldcl => Decoded::new(Op::Rldcl, a, b, c | rc, mb6),
        O::Rldcr => Decoded::new(Op::Rldcr, a, b, c | rc, mb6),
        O::B => Decoded::new(Op::B, link, 0, 0, ((word << 6) as i32 >> 6) as u32 & !3),
        O::Bc => Decoded::new(Op::Bc, a, b, link, simm & !3),
        O::Bclr => Decoded::new(Op::Bclr, a, b, link & 1, 0),
        O::Bcctr => Decoded::new(Op::Bcctr, a, b, link & 1, 0),
        O::Mcrf => Decoded::new(Op::Mcrf, crf, bits(word, 18, 7), 0, 0),
        O::Mcrxr => Decoded::new(Op::Mcrxr, crf, 0, 0, 0),
        O::Mfcr => Decoded::new(Op::Mfcr, a, 0, 0, 0),
        O::Mfocrf => Decoded::new(Op::Mfocrf, a, 0, 0, crm(word)),
        O::Mtcrf => Decoded::new(Op::Mtcrf, a, 0, 0, crm(word)),
        _ => return None,
    })
}

/// The bits of a word from `mb` to `me`, around its end if `mb` is greater.
fn mask32(mb: u32, me: u32) -> u32 {
    let (from, to) = (u32::MAX >> mb, u32::MAX << (31 - me));
    if mb <= me { from & to } else { from | to }
}

/// FXM as a mask of CR.
fn crm(word: u32) -> u32 {
    (0..8)
        .filter(|i| word >> (12 + i) & 1 != 0)
        .map(|i| 0xf << (4 * i))
        .sum()
}

/// SPR or TBR, whose halves are the other way round.
fn spr(word: u32) -> u32 {
    word >> 16 & 31 | (word >> 11 & 31) << 5
}

fn system(op: Opcode, word: u32) -> Option<Decoded> {
    use Opcode as O;
    let (a, c) = (bits(word, 21, 31), bits(word, 11, 31));
    let l = bits(word, 16, 1);
    Some(match op {
        O::Sync => Decoded::new(Op::Sync, a & 3, 0, 0, 0),
        O::Eieio => Decoded::new(Op::Eieio, 0, 0, 0, 0),
        O::Isync => Decoded::new(Op::Isync, 0, 0, 0, 0),
        O::Tlbsync => Decoded::new(Op::Tlbsync, 0, 0, 0, 0),
        O::Sc => Decoded::new(Op::Sc, 0, 0, 0, 0),
        O::Rfid => Decoded::new(Op::Rfid, 0, 0, 0, 0),
        O::Mfmsr => Decoded::new(Op::Mfmsr, a, 0, 0, 0),
        O::Mfspr | O::Mftb => Decoded::new(Op::Mfspr, a, 0, 0, spr(word)),
        O::Mtspr => Decoded::new(Op::Mtspr, a, 0, 0, spr(word)),
        O::Mtmsr => Decoded::new(Op::Mtmsr, a, l, 0, 0),
        O::Mtmsrd => Decoded::new(Op::Mtmsrd, a, l, 0, 0),
        O::Slbie => Decoded::new(Op::Slbie, 0, 0, c, 0),
        O::Slbia => Decoded::new(Op::Slbia, 0, 0, 0, 0),
        O::Tlbie => Decoded::new(Op::Tlbie, 0, 0, c, 0),
        _ => return None,
    })
}

/// What the crate lacks or refuses: mask, pattern, instruction, fields.
const BEYOND: &[(u32, u32, Op, Form)] = &[
    (0xfc0007ff, 0x7c000324, Op::Slbmte, Form::XNoRc),
    (0xfc1f07ff, 0x7c000726, Op::Slbmfee, Form::XNoRc),
    (0xfc1f07ff, 0x7c0006a6, Op::Slbmfev, Form::XNoRc),
    (0xfc1f07ff, 0x7c0007a7, Op::Slbfee, Form::XNoRc),
    (0xff1fffff, 0x7c0003e4, Op::Slbia, Form::XNoRc),
    (0xfc1e07ff, 0x7c000264, Op::Tlbie, Form::XNoRc),
    (0xfc1e07ff, 0x7c000224, Op::Tlbiel, Form::XNoRc),
    (0xfc1efffe, 0x7c000124, Op::Mtmsr, Form::XNoRc),
    (0xfffff01f, 0x44000002, Op::Sc, Form::XNoRc),
    (0xffffffff, 0x4c000224, Op::Hrfid, Form::XNoRc),
    (0xff9fffff, 0x7c00007c, Op::Idle, Form::XNoRc),
    (0xff9fffff, 0x7c00003c, Op::Idle, Form::XNoRc),
    (0xffffffff, 0x00000200, Op::Attn, Form::XNoRc),
    (0xfc0007fe, 0x4c000020, Op::Bclr, Form::XNoRc),
    (0xfc0007fe, 0x4c000420, Op::Bcctr, Form::XNoRc),
    (0xfc0007fe, 0x4c000460, Op::Bctar, Form::XNoRc),
    (0xfc0007fe, 0x7c000028, Op::Lwarx, Form::XNoRc),
    (0xfc0007fe, 0x7c000068, Op::Lbarx, Form::XNoRc),
    (0xfc0007fe, 0x7c0000a8, Op::Ldarx, Form::XNoRc),
    (0xfc0007fe, 0x7c0000e8, Op::Lharx, Form::XNoRc),
    (0xfc0007ff, 0x7c00056d, Op::Stbcx, Form::XNoRc),
    (0xfc0007ff, 0x7c0005ad, Op::Sthcx, Form::XNoRc),
    (0xfc0007ff, 0x7c000428, Op::Ldbrx, Form::XNoRc),
    (0xfc0007ff, 0x7c000528, Op::Stdbrx, Form::XNoRc),
    (0xfc00ffff, 0x7c0000f4, Op::Popcntb, Form::XNoRc),
    (0xfc00ffff, 0x7c0002f4, Op::Popcntw, Form::XNoRc),
    (0xfc00ffff, 0x7c0003f4, Op::Popcntd, Form::XNoRc),
    (0xfc00ffff, 0x7c000134, Op::Prtyw, Form::XNoRc),
    (0xfc00ffff, 0x7c000174, Op::Prtyd, Form::XNoRc),
    (0xfc0007ff, 0x7c0003f8, Op::Cmpb, Form::XNoRc),
    (0xfc0007ff, 0x7c0001f8, Op::Bpermd, Form::XNoRc),
    (0xfc00003f, 0x7c00001e, Op::Isel, Form::XNoRc),
    (0xfc0003fe, 0x7c000356, Op::Divwe, Form::Xo),
    (0xfc0003fe, 0x7c000316, Op::Divweu, Form::Xo),
    (0xfc0003fe, 0x7c000352, Op::Divde, Form::Xo),
    (0xfc0003fe, 0x7c000312, Op::Divdeu, Form::Xo),
    // Hints with a stream or a target.
    (0xfc0007fe, 0x7c00022c, Op::Nop, Form::XNoRc),
    (0xfc0007fe, 0x7c0001ec, Op::Nop, Form::XNoRc),
    (0xfc0007fe, 0x7c00002c, Op::Nop, Form::XNoRc),
    (0xfc0007fe, 0x7c0000ac, Op::Dcbf, Form::XNoRc),
    (0xfc1007ff, 0x7c100120, Op::Mtcrf, Form::XNoRc),
];

fn beyond_the_crate(word: u32) -> Option<Decoded> {
    let &(_, _, op, form) = BEYOND.iter().find(|e| word & e.0 == e.1)?;
    let d = fields(op, form, word);
    Some(match op {
        Op::Sc => Decoded::new(op, bits(word, 5, 127), 0, 0, 0),
        Op::Slbia => Decoded::new(op, bits(word, 21, 7), 0, 0, 0),
        Op::Bclr | Op::Bcctr | Op::Bctar => Decoded::new(op, d.a, d.b, bits(word, 0, 1), 0),
        Op::Isel => Decoded::new(op, d.a, d.b, d.c, word >> 6 & 31),
        Op::Tlbie | Op::Tlbiel | Op::Mtmsr => Decoded::new(op, d.a, d.b & 1, d.c, 0),
        Op::Mtcrf => Decoded::new(op, d.a, 0, 0, crm(word)),
        _ => d,
    })
}

/// A word of a unit that is off, or of none.
fn unit_off(word: u32) -> Decoded {
    let op = match (word >> 26, word >> 1 & 0x3ff) {
        (4, _) => Op::VectorUnavailable,
        // Vector loads and stores.
        (31, 7 | 39 | 71 | 103 | 359 | 135 | 167 | 199 | 231 | 487 | 6 | 38) => {
            Op::VectorUnavailable
        }
        (48..=55 | 59 | 63, _) => Op::FpUnavailable,
        // Pairs: lfdp, stfdp.
        (57 | 61, _) if word & 3 == 0 => Op::FpUnavailable,
        // Floating-point loads and stores.
        (31, 535 | 567 | 599 | 631 | 663 | 695 | 727 | 759 | 983 | 855 | 887 | 791 | 919) => {
            Op::FpUnavailable
        }
        // Moves to and from a vector-scalar register, by its half (SX, TX).
        (31, 51 | 115 | 179 | 211 | 243) if word & 1 == 0 => Op::FpUnavailable,
        (31, 51 | 115 | 179 | 211 | 243) => Op::VectorUnavailable,
        (60, _) => Op::VsxUnavailable,
        // Vector-scalar loads and stores.
        (31, 12 | 76 | 140 | 332 | 524 | 588 | 652 | 716 | 780 | 844 | 908 | 972) => {
            Op::VsxUnavailable
        }
        _ => Op::Illegal,
    };
    Decoded::new(op, 0, 0, 0, 0)
}
