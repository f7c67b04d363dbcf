//! The lines of a vector file.

use super::VectorError;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// A 64-bit number, written "0x...".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hex(pub u64);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Hex)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is no number of the form 0x1f")))
    }
}

/// The machine a vector was recorded on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum RecordedCpu {
    /// PowerPC 970FX.
    #[serde(rename = "970")]
    Ppc970,
    /// POWER5+.
    #[serde(rename = "power5+")]
    Power5Plus,
    /// POWER8.
    #[serde(rename = "power8")]
    Power8,
    /// POWER9.
    #[serde(rename = "power9")]
    Power9,
}

impl std::fmt::Display for RecordedCpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ppc970 => "970",
            Self::Power5Plus => "power5+",
            Self::Power8 => "power8",
            Self::Power9 => "power9",
        })
    }
}

/// The operands of one `slbmte`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedSlb {
    /// RB.
    pub rb: Hex,
    /// RS.
    pub rs: Hex,
}

/// One entry of the table, as it lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedHpte {
    /// Its number in the table.
    pub index: u64,
    /// Doubleword 0.
    pub dw0: Hex,
    /// Doubleword 1.
    pub dw1: Hex,
}

/// What an access was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedKind {
    /// A load of 8 bytes.
    Ld,
    /// A load of 4 bytes.
    Lwz,
    /// A store of 8 bytes.
    Std,
    /// A store of 4 bytes.
    Stw,
    /// A store of 2 bytes.
    Sth,
    /// A store of 1 byte.
    Stb,
    /// A load with reservation.
    Ldarx,
    /// The same, and a conditional store that succeeds.
    LdarxStdcx,
    /// A store to a block.
    Dcbz,
    /// A load.
    Dcbst,
    /// A load.
    Dcbf,
    /// A load.
    Icbi,
    /// A hint.
    Dcbt,
    /// Four instructions fetched.
    Fetch,
}

/// What an access gave. Fields that do not apply are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The real address reached.
    pub ra: Option<Hex>,
    /// The real address of the first byte in the second page.
    pub ra2: Option<Hex>,
    /// 1: it did not fault, and nothing more is known.
    pub ok: Option<u8>,
    /// The interrupt's vector.
    pub vector: Option<Hex>,
    /// DSISR.
    pub dsisr: Option<Hex>,
    /// DAR.
    pub dar: Option<Hex>,
    /// SRR1 or HSRR1, the cause bits alone.
    pub srr1: Option<Hex>,
    /// HDSISR.
    pub hdsisr: Option<Hex>,
    /// HDAR.
    pub hdar: Option<Hex>,
}

/// One access and its result.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedAccess {
    /// The effective address.
    pub ea: Hex,
    /// What it was.
    pub kind: RecordedKind,
    /// MSR PR.
    pub pr: u8,
    /// MSR HV; 1 if absent.
    pub hv: Option<u8>,
    /// MSR SF; 1 if absent.
    pub sf: Option<u8>,
    /// MSR DR; 1 if absent.
    pub dr: Option<u8>,
    /// What it gave.
    pub expect: Expect,
    /// 2 R + C of each entry of the vector afterwards, one digit each.
    pub rc_after: String,
}

/// The mapping of the code that made the accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedStub {
    /// Position in `slb`.
    pub slb: u64,
    /// Position in `hptes`.
    pub hpte: u64,
}

/// One machine state and the accesses made in it, in order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Its number.
    pub id: u64,
    /// What it is about.
    pub cat: String,
    /// Recorded on.
    pub cpu: RecordedCpu,
    /// SDR1 (not POWER9).
    pub sdr1: Option<Hex>,
    /// Doubleword 0 of the partition table entry (POWER9).
    pub pate0: Option<Hex>,
    /// AMR.
    #[serde(default)]
    pub amr: Hex,
    /// IAMR.
    #[serde(default)]
    pub iamr: Hex,
    /// LPCR.
    #[serde(default)]
    pub lpcr: Hex,
    /// The `slbmte` instructions, in order, on an SLB that was all invalid.
    pub slb: Vec<RecordedSlb>,
    /// The entries of the table, zero elsewhere.
    pub hptes: Vec<RecordedHpte>,
    /// Which of them map the code that made the accesses.
    pub stub: Option<RecordedStub>,
    /// Why the architecture leaves it undefined.
    pub undef: Option<String>,
    /// How the recorded machine departs from the architecture.
    pub qemu_deviates: Option<String>,
    /// Free text.
    pub note: Option<String>,
    /// The accesses, in order. R and C carry over.
    pub accesses: Vec<RecordedAccess>,
}

impl Vector {
    /// Reads one line.
    ///
    /// # Errors
    /// [`VectorError::Json`], which says what is wrong and where; [`VectorError::Table`] and
    /// [`VectorError::Rc`] for fields that do not go together.
    pub fn parse(line: &str) -> Result<Self, VectorError> {
        let vector: Self = serde_json::from_str(line)?;
        vector.checked()
    }

    fn checked(self) -> Result<Self, VectorError> {
        let (id, cpu) = (self.id, self.cpu);
        let (here, other, needs) = match cpu {
            RecordedCpu::Power9 => (self.pate0, self.sdr1, "pate0"),
            _ => (self.sdr1, self.pate0, "sdr1"),
        };
        if here.is_none() || other.is_some() {
            return Err(VectorError::Table { id, cpu, needs });
        }
        let entries = self.hptes.len();
        for access in &self.accesses {
            let digits = access.rc_after.bytes();
            if digits.len() != entries || !digits.clone().all(|d| (b'0'..=b'3').contains(&d)) {
                let text = access.rc_after.clone();
                return Err(VectorError::Rc { id, text, entries });
            }
        }
        Ok(self)
    }
}
