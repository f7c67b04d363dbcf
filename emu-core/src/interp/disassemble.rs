//! Instructions as text.
//!
//! Owns the text of those that the crate `powerpc` does not know. Refuses to say more of a word than
//! `decode` makes of it.

use super::decode::{EXTENSIONS, decode};
use super::op::Op;
use powerpc::{Ins, Opcode};

/// An instruction word as an assembler would have it; its registers in the order RT, RA, RB for those few
/// that are told by their fields.
pub fn disassemble(word: u32) -> String {
    let ins = Ins::new(word, EXTENSIONS);
    if ins.op != Opcode::Illegal {
        return ins.simplified().to_string();
    }
    let decoded = decode(word);
    let name = format!("{:?}", decoded.op).to_lowercase();
    match decoded.op {
        Op::Illegal | Op::FpUnavailable | Op::VectorUnavailable | Op::VsxUnavailable => {
            format!(".long {word:#010x}")
        }
        Op::Nop => "nop".to_owned(),
        Op::Attn | Op::Hrfid => name,
        Op::Idle => "wait".to_owned(),
        Op::Sc | Op::Slbia => format!("{name} {}", decoded.a),
        Op::Tlbie | Op::Tlbiel => format!("{name} r{}, {}", decoded.c & 31, decoded.b),
        Op::Mtmsr => format!("{name} r{}, {}", decoded.a, decoded.b),
        Op::Bclr | Op::Bcctr | Op::Bctar => format!("{name} {}, {}", decoded.a, decoded.b),
        _ => {
            let [a, b, c] = [decoded.a, decoded.b, decoded.c & 31];
            format!("{name} r{a}, r{b}, r{c}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown() {
        assert_eq!(disassemble(0x3860_0001), "li r3, 0x1");
        assert_eq!(disassemble(0x7c00_1a24), "tlbiel r3, 0");
        assert_eq!(disassemble(0x7c60_2324), "slbmte r3, r0, r4");
        assert_eq!(disassemble(0x0000_0000), ".long 0x00000000");
        assert_eq!(disassemble(0x4400_0022), "sc 1");
    }
}
