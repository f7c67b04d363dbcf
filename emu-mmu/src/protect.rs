//! Protection: storage key, pp, no-execute, guarded and class keys, in the architecture's order.
//!
//! Owns the protection table (Power ISA 2.07 Book III-S 5.7.9.2) and the class keys (5.7.9.1).
//! Refuses to know where key, entry and registers come from.

use crate::hpte::HpteR;

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Access {
    /// Instruction fetch.
    Fetch,
    /// Data load.
    Load,
    /// Data store.
    Store,
}

/// Why an access was refused by an entry: one reason or two, as the cause bits of DSISR or SRR1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Denied(u32);

impl Denied {
    /// Segment N, entry N or guarded storage; fetches only.
    pub const NO_EXECUTE: Self = Self(0x1000_0000);
    /// Storage key and pp.
    pub const PROTECTION: Self = Self(0x0800_0000);
    /// AMR or IAMR.
    pub const CLASS_KEY: Self = Self(0x0020_0000);

    /// The cause bits of DSISR (data) or SRR1 (fetch), without the store bit.
    #[inline]
    pub const fn cause(self) -> u32 {
        self.0
    }

    /// Whether a reason is among these.
    #[inline]
    pub const fn contains(self, reason: Self) -> bool {
        self.0 & reason.0 == reason.0
    }
}

/// The virtual page class key registers (ISA 2.06 and 2.07), two bits for each of 32 keys, key 0 in
/// the two most significant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClassKeys {
    /// AMR: of a key's two bits the first forbids stores, the second loads.
    pub amr: u64,
    /// IAMR (ISA 2.07): the second bit of a key forbids fetches.
    pub iamr: u64,
    /// UAMOR: the AMR bits that problem state may change.
    pub uamor: u64,
}

impl ClassKeys {
    /// Whether nothing is forbidden.
    #[inline]
    pub const fn allow_all(&self) -> bool {
        self.amr | self.iamr == 0
    }

    /// Whether an access to a page of this key is forbidden. Holds in problem, privileged and
    /// hypervisor state alike.
    #[inline]
    pub const fn forbid(&self, key: u8, access: Access) -> bool {
        let shift = 62 - 2 * (key & 31) as u32;
        match access {
            Access::Fetch => self.iamr >> shift & 1 != 0,
            Access::Load => self.amr >> shift & 1 != 0,
            Access::Store => self.amr >> shift & 2 != 0,
        }
    }

    /// `mtspr AMR`: problem state (SPR 13) changes only what UAMOR allows (Power ISA 2.07 Book III-S
    /// 5.7.9.1).
    #[inline]
    pub const fn write_amr(&mut self, value: u64, problem_state: bool) {
        let mask = if problem_state { self.uamor } else { u64::MAX };
        self.amr = (self.amr & !mask) | (value & mask);
    }
}

/// Whether pp (bits 0:2) allows an access under a storage key. A fetch needs what a load needs.
/// Reserved pp values allow nothing.
#[inline]
pub const fn allowed(pp: u8, key: bool, access: Access) -> bool {
    let store = matches!(access, Access::Store);
    match (pp, key) {
        (0b000 | 0b001, false) | (0b010, _) => true,
        (0b011, _) | (0b001, true) | (0b110, false) => !store,
        _ => false,
    }
}

/// Judges an access by segment N, then the entry's N and G, or else its pp; class keys add to either.
///
/// # Errors
/// [`Denied`].
#[inline]
pub const fn check(
    r: HpteR,
    key: bool,
    segment_n: bool,
    access: Access,
    keys: &ClassKeys,
) -> Result<(), Denied> {
    let mut cause = 0;
    if matches!(access, Access::Fetch) && (segment_n || r.n() || r.g()) {
        cause = Denied::NO_EXECUTE.0;
    } else if !allowed(r.pp(), key, access) {
        cause = Denied::PROTECTION.0;
    }
    if !keys.allow_all() && keys.forbid(r.key(), access) {
        cause |= Denied::CLASS_KEY.0;
    }
    if cause == 0 {
        Ok(())
    } else {
        Err(Denied(cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_KEYS: ClassKeys = ClassKeys {
        amr: 0,
        iamr: 0,
        uamor: 0,
    };

    #[test]
    fn matrix() {
        // Power ISA 2.07 Book III-S figure of storage protection: (pp, key 0, key 1), n none, r
        // read, w read and write.
        let table = [
            (0b000, 'w', 'n'),
            (0b001, 'w', 'r'),
            (0b010, 'w', 'w'),
            (0b011, 'r', 'r'),
            (0b100, 'n', 'n'),
            (0b101, 'n', 'n'),
            (0b110, 'r', 'n'),
            (0b111, 'n', 'n'),
        ];
        for (pp, key0, key1) in table {
            for (key, may) in [(false, key0), (true, key1)] {
                assert_eq!(allowed(pp, key, Access::Load), may != 'n', "{pp:03b} {key}");
                assert_eq!(
                    allowed(pp, key, Access::Fetch),
                    may != 'n',
                    "{pp:03b} {key}"
                );
                assert_eq!(
                    allowed(pp, key, Access::Store),
                    may == 'w',
                    "{pp:03b} {key}"
                );
            }
        }
    }

    #[test]
    fn no_execute_comes_first() {
        let denied = |flags, n, access| check(HpteR(flags), true, n, access, &NO_KEYS);
        let no_execute = Err(Denied::NO_EXECUTE);
        assert_eq!(denied(HpteR::N, false, Access::Fetch), no_execute);
        assert_eq!(denied(HpteR::G, false, Access::Fetch), no_execute);
        assert_eq!(denied(2, true, Access::Fetch), no_execute);
        assert_eq!(denied(0, false, Access::Fetch), Err(Denied::PROTECTION));
        assert_eq!(denied(HpteR::N | HpteR::G | 2, true, Access::Store), Ok(()));
        assert_eq!(denied(1, false, Access::Store), Err(Denied::PROTECTION));
    }

    #[test]
    fn class_keys_take_away_and_never_give() {
        // Key 5 forbids stores, key 6 loads; fetches of key 7.
        let keys = ClassKeys {
            amr: 0b10 << 52 | 0b01 << 50,
            iamr: 0b01 << 48,
            uamor: 0,
        };
        let r = |key: u64, pp: u64| HpteR((key >> 3) << 60 | (key & 7) << 9 | pp);
        let judge = |key, pp, access| check(r(key, pp), true, false, access, &keys);
        assert_eq!(judge(5, 2, Access::Load), Ok(()));
        assert_eq!(judge(5, 2, Access::Store), Err(Denied::CLASS_KEY));
        assert_eq!(judge(6, 2, Access::Load), Err(Denied::CLASS_KEY));
        assert_eq!(judge(6, 2, Access::Store), Ok(()));
        assert_eq!(judge(7, 2, Access::Fetch), Err(Denied::CLASS_KEY));
        assert_eq!(judge(7, 2, Access::Load), Ok(()));
        assert_eq!(judge(8, 0, Access::Load), Err(Denied::PROTECTION));
        let both = judge(5, 0, Access::Store).expect_err("denied twice");
        assert!(both.contains(Denied::CLASS_KEY) && both.contains(Denied::PROTECTION));
    }

    #[test]
    fn problem_state_changes_what_uamor_allows() {
        let mut keys = ClassKeys {
            amr: 0xff,
            iamr: 0,
            uamor: 0xf0,
        };
        keys.write_amr(0, true);
        assert_eq!(keys.amr, 0x0f);
        keys.write_amr(0, false);
        assert_eq!(keys.amr, 0);
    }
}
