//! The lock bit of an entry: bit 3 of doubleword 0 (Linux 2.6.38 arch/powerpc/mm/hash_native_64.c,
//! `HPTE_LOCK_BIT`).

use super::{Barrier, Hpt, TableAccess};
use crate::addr::HpteIndex;
use crate::hpte::HpteV;

impl Hpt {
    /// Takes an entry's lock and returns doubleword 0 with the lock bit set. Waits while another
    /// holds it.
    ///
    /// # Errors
    /// Those of the access.
    pub fn lock_slot<A: TableAccess>(
        &self,
        a: &mut A,
        index: HpteIndex,
    ) -> Result<HpteV, A::Error> {
        let ra = self.hpte_ra(index);
        loop {
            let v = HpteV(a.load(ra, "native_lock_hpte: load V")?);
            if v.is_locked() {
                a.spin("native_lock_hpte: spin")?;
                continue;
            }
            let locked = v.with_lock();
            if a.compare_exchange(ra, v.0, locked.0, "native_lock_hpte: set the lock bit")? {
                a.barrier(Barrier::Isync, "native_lock_hpte: acquire")?;
                return Ok(locked);
            }
        }
    }

    /// Releases an entry's lock, leaving the rest of doubleword 0 as it is.
    ///
    /// # Errors
    /// Those of the access.
    pub fn unlock_slot<A: TableAccess>(&self, a: &mut A, index: HpteIndex) -> Result<(), A::Error> {
        let ra = self.hpte_ra(index);
        a.barrier(Barrier::Lwsync, "native_unlock_hpte: release")?;
        loop {
            let v = HpteV(a.load(ra, "native_unlock_hpte: load V")?);
            let open = v.without_lock();
            if a.compare_exchange(ra, v.0, open.0, "native_unlock_hpte: clear the lock bit")? {
                return Ok(());
            }
        }
    }
}
