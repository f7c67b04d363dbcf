//! How a table fares: how full its groups are and where its entries lie.

use super::Hpt;
use crate::memory::{GuestMemory, MemoryError};

/// Figures of one look at a table. Evictions leave no trace in it: count what [`Hpt::remove`] returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Health {
    /// Groups with 0 to 8 valid entries.
    pub groups_by_valid: [u64; 9],
    /// Valid entries.
    pub valid: u64,
    /// Of those, in their secondary groups.
    pub secondary: u64,
    /// Of those, bolted.
    pub bolted: u64,
    /// Valid entries with R.
    pub referenced: u64,
    /// Valid entries with C.
    pub changed: u64,
    /// Entries with the lock bit, valid or not.
    pub locked: u64,
}

impl Hpt {
    /// Looks at every entry, without locks.
    ///
    /// # Errors
    /// [`MemoryError`] if the table reaches outside memory.
    pub fn health(&self, memory: &GuestMemory) -> Result<Health, MemoryError> {
        let mut health = Health::default();
        for group in 0..self.groups() {
            let mut valid = 0;
            for slot in 0..8 {
                let hpte = self.get(memory, group * 8 + slot)?;
                health.locked += u64::from(hpte.v.is_locked());
                if !hpte.v.is_valid() {
                    continue;
                }
                valid += 1;
                health.secondary += u64::from(hpte.v.is_secondary());
                health.bolted += u64::from(hpte.v.is_bolted());
                health.referenced += u64::from(hpte.r.r());
                health.changed += u64::from(hpte.r.c());
            }
            health.groups_by_valid[valid] += 1;
            health.valid += valid as u64;
        }
        Ok(health)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Ra;
    use crate::hpte::{Hpte, HpteR, HpteV};

    #[test]
    fn figures() {
        let memory = GuestMemory::new(1 << 20).expect("memory");
        let hpt = Hpt::new(Ra::new(1 << 18), 11).expect("table");
        let put = |index, v, r| {
            let (v, r) = (HpteV(v), HpteR(r));
            hpt.put(&memory, index, Hpte { v, r }).expect("put");
        };
        put(0, 0x11, 0x100);
        put(1, 0x3, 0x180);
        put(9, 0x8, 0x180);
        put(16, 0x1, 0);
        let health = hpt.health(&memory).expect("health");
        assert_eq!(health.groups_by_valid, [2046, 1, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!((health.valid, health.secondary, health.bolted), (3, 1, 1));
        assert_eq!(
            (health.referenced, health.changed, health.locked),
            (2, 1, 1)
        );
    }
}
