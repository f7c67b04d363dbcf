//! Protection: storage key, pp, no-execute and guarded, in the architecture's order.
//!
//! Owns the protection table (Power ISA 2.07 Book III-S 5.7.9.2). Class keys (AMR, IAMR) are not
//! applied yet: an access is judged as with AMR = IAMR = 0.

use crate::hpte::HpteR;

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Instruction fetch.
    Fetch,
    /// Data load.
    Load,
    /// Data store.
    Store,
}

/// Why an access was refused by an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    /// Segment N, entry N or guarded storage; fetches only.
    NoExecute,
    /// Storage key and pp.
    Protection,
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

/// Judges an access by segment N, then the entry's N and G, then its pp.
///
/// # Errors
/// The first [`Denied`] in that order.
#[inline]
pub const fn check(r: HpteR, key: bool, segment_n: bool, access: Access) -> Result<(), Denied> {
    if matches!(access, Access::Fetch) && (segment_n || r.n() || r.g()) {
        return Err(Denied::NoExecute);
    }
    if allowed(r.pp(), key, access) {
        Ok(())
    } else {
        Err(Denied::Protection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let denied = |flags, n, access| check(HpteR(flags), true, n, access);
        assert_eq!(
            denied(HpteR::N, false, Access::Fetch),
            Err(Denied::NoExecute)
        );
        assert_eq!(
            denied(HpteR::G, false, Access::Fetch),
            Err(Denied::NoExecute)
        );
        assert_eq!(denied(2, true, Access::Fetch), Err(Denied::NoExecute));
        assert_eq!(denied(0, false, Access::Fetch), Err(Denied::Protection));
        assert_eq!(denied(HpteR::N | HpteR::G | 2, true, Access::Store), Ok(()));
        assert_eq!(denied(1, false, Access::Store), Err(Denied::Protection));
    }
}
