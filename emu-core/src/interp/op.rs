//! A decoded instruction: what to do, and its fields.
//!
//! Owns the packing into eight bytes, so that a page of instructions is shared by all CPUs as atomic
//! words. Refuses to know encodings: that is `decode`'s.

macro_rules! ops {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// The numbers, in order.
        #[repr(u8)]
        enum Number { $($name,)* }

        /// What an instruction does, by number; 0 is a word that nobody has decoded yet. No enum, so that a
        /// stored number is taken as it is: every choice by it has an arm for the rest.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) struct Op(u8);

        #[expect(non_upper_case_globals, reason = "they stand for the variants of an enum")]
        impl Op {
            $($(#[doc = $doc])* pub const $name: Op = Op(Number::$name as u8);)*

            #[cfg(test)]
            const ALL: &'static [Op] = &[$(Op::$name,)*];
            const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];
        }
    };
}

ops! {
    /// Not decoded yet.
    Fetch,
    /// No instruction of this CPU.
    Illegal,
    /// Needs the floating-point unit, which is switched off for good.
    FpUnavailable,
    /// Needs the vector unit, which is switched off for good.
    VectorUnavailable,
    /// Needs the vector-scalar registers, which are switched off for good.
    VsxUnavailable,
    // Fixed-point with immediates. Fields: a=RT b=RA imm.
    Li, Addi, Addic, AddicRc, Subfic, Mulli,
    // a=RS b=RA imm.
    Ori, Xori, AndiRc,
    // a=field b=RA imm or c=RB.
    CmpiW, CmpiD, CmpliW, CmpliD, CmpW, CmpD, CmplW, CmplD,
    // a=RT b=RA c=RB with Rc in its bit 7, imm bit 0=OE.
    Add, Addc, Adde, Addme, Addze, Subf, Subfc, Subfe, Subfme, Subfze, Neg,
    Mullw, Mulld, Mulhw, Mulhwu, Mulhd, Mulhdu,
    Divw, Divwu, Divd, Divdu, Divwe, Divweu, Divde, Divdeu,
    // a=RS b=RA c=RB with Rc.
    And, Andc, Or, Orc, Xor, Nand, Nor, Eqv, Extsb, Extsh, Extsw, Cntlzw, Cntlzd,
    Popcntb, Popcntw, Popcntd, Prtyw, Prtyd, Cmpb, Bpermd,
    /// a=RT b=RA c=RB imm=BC.
    Isel,
    Slw, Srw, Sraw, Sld, Srd, Srad,
    // c=SH with Rc.
    Srawi, Sradi,
    // c=SH or RB with Rc and, in bit 6, a mask that wraps; imm=mask of the low word.
    Rlwinm, Rlwimi, Rlwnm,
    // c=SH or RB with Rc; imm=MB or ME.
    Rldicl, Rldicr, Rldic, Rldimi, Rldcl, Rldcr,
    /// imm=displacement a: bit 0=LK, bit 1=AA.
    B,
    /// a=BO b=BI c: bit 0=LK, bit 1=AA; imm=displacement.
    Bc,
    // a=BO b=BI c: bit 0=LK.
    Bclr, Bcctr, Bctar,
    // a=BT b=BA c=BB.
    Crand, Crandc, Creqv, Crnand, Crnor, Cror, Crorc, Crxor,
    // a=BF b=BFA.
    Mcrf, Mcrxr,
    /// a=RT.
    Mfcr,
    // a=RT or RS, imm=mask of CR.
    Mfocrf, Mtcrf,
    // Loads and stores. a=RT or RS b=RA imm=displacement; X forms: c=RB.
    Lbz, Lbzu, Lbzx, Lbzux, Lhz, Lhzu, Lhzx, Lhzux, Lha, Lhau, Lhax, Lhaux,
    Lwz, Lwzu, Lwzx, Lwzux, Lwa, Lwax, Lwaux, Ld, Ldu, Ldx, Ldux, Lhbrx, Lwbrx, Ldbrx,
    Stb, Stbu, Stbx, Stbux, Sth, Sthu, Sthx, Sthux, Stw, Stwu, Stwx, Stwux,
    Std, Stdu, Stdx, Stdux, Sthbrx, Stwbrx, Stdbrx,
    Lbarx, Lharx, Lwarx, Ldarx, Stbcx, Sthcx, Stwcx, Stdcx,
    Lmw, Stmw, Lswi, Stswi, Lswx, Stswx,
    Dcbz, Dcbf, Icbi, Nop,
    // a=TO b=RA c=RB or imm.
    Tw, Twi, Td, Tdi,
    /// a=L.
    Sync,
    Eieio, Isync, Tlbsync,
    /// a=LEV.
    Sc,
    Rfid, Hrfid, Attn, Idle,
    // a=RT or RS, imm=number of the register.
    Mfmsr, Mfspr, Mtspr,
    // a=RS b=L.
    Mtmsr, Mtmsrd,
    // a=RT or RS c=RB.
    Slbmte, Slbie, Slbmfee, Slbmfev, Slbfee,
    /// a=IH.
    Slbia,
    // a=RS b=L c=RB.
    Tlbie, Tlbiel,
}

impl Op {
    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Op::NAMES.get(usize::from(self.0)).unwrap_or(&"?"))
    }
}

/// Rc, in `c`.
pub(crate) const RC: u8 = 0x80;
/// A mask that wraps, in `c`.
pub(crate) const WRAP: u8 = 0x40;
/// OE, in `imm`.
pub(crate) const OE: u32 = 1;

/// An instruction, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub op: Op,
    pub a: u8,
    pub b: u8,
    pub c: u8,
    pub imm: u32,
}

impl Decoded {
    pub const fn new(op: Op, a: u8, b: u8, c: u8, imm: u32) -> Self {
        Decoded { op, a, b, c, imm }
    }

    /// As one word, 0 only for what is not decoded.
    pub const fn pack(self) -> u64 {
        self.op.number() as u64
            | (self.a as u64) << 8
            | (self.b as u64) << 16
            | (self.c as u64) << 24
            | (self.imm as u64) << 32
    }

    #[inline(always)]
    pub fn unpack(word: u64) -> Self {
        Decoded {
            op: Op(word as u8),
            a: (word >> 8) as u8,
            b: (word >> 16) as u8,
            c: (word >> 24) as u8,
            imm: (word >> 32) as u32,
        }
    }

    /// The immediate, sign-extended.
    #[inline(always)]
    pub const fn simm(self) -> u64 {
        self.imm as i32 as u64
    }

    #[inline(always)]
    pub const fn rc(self) -> bool {
        self.c & RC != 0
    }

    #[inline(always)]
    pub const fn oe(self) -> bool {
        self.imm & OE != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_every_field() {
        for (number, &op) in Op::ALL.iter().enumerate() {
            assert_eq!(usize::from(op.number()), number);
            let d = Decoded::new(op, 31, 17, RC | 5, 0xffff_8000);
            assert_eq!(Decoded::unpack(d.pack()), d);
        }
        assert_eq!(Decoded::unpack(0).op, Op::Fetch);
    }
}
