//! The calls on R and C: H_CLEAR_REF and H_CLEAR_MOD.

use super::{Answer, HcallError, HpteIndex, HpteR, HpteV, Hypervisor, TableAccess};
use crate::hpt::{Barrier, tlbie_sequence};

impl Hypervisor {
    /// H_CLEAR_REF: clears R of an entry that stays valid, invalidates its translation in every TLB so
    /// that the next access sets R again, and returns doubleword 1 as it was.
    ///
    /// # Errors
    /// Those of the access; H_NOT_FOUND if it is not valid, H_PARAMETER.
    pub fn clear_ref<A: TableAccess>(
        &self,
        a: &mut A,
        flags: u64,
        index: HpteIndex,
    ) -> Answer<HpteR, A::Error> {
        if flags != 0 || !self.has(index) {
            return Ok(Err(HcallError::Parameter));
        }
        let dw0 = self.lock(a, index)?;
        let ra = self.hpt.hpte_ra(index) + 8;
        let mut dw1 = a.load(ra, "H_CLEAR_REF: load R")?;
        let Some(operand) = self.page_in(index, self.guests(dw0, dw1)) else {
            self.unlock(a, index, dw0)?;
            return Ok(Err(HcallError::NotFound));
        };
        if !HpteV(dw0).is_valid() {
            self.unlock(a, index, dw0)?;
            return Ok(Err(HcallError::NotFound));
        }
        // Hardware may store C beside it at any time, which a plain store would undo.
        while !a.compare_exchange(ra, dw1, dw1 & !HpteR::R, "H_CLEAR_REF: clear R")? {
            dw1 = a.load(ra, "H_CLEAR_REF: load R")?;
        }
        tlbie_sequence(a, &[operand])?;
        self.unlock(a, index, dw0)?;
        Ok(Ok(self.guests(dw0, dw1).r))
    }

    /// H_CLEAR_MOD: clears C of an entry and returns doubleword 1 as it was. The entry is not valid
    /// until every TLB has forgotten it: a copy with C set would let stores go unnoticed.
    ///
    /// # Errors
    /// Those of the access; H_NOT_FOUND if it is not valid, H_PARAMETER.
    pub fn clear_mod<A: TableAccess>(
        &self,
        a: &mut A,
        flags: u64,
        index: HpteIndex,
    ) -> Answer<HpteR, A::Error> {
        if flags != 0 || !self.has(index) {
            return Ok(Err(HcallError::Parameter));
        }
        let dw0 = self.lock(a, index)?;
        let c = match self.clear(a, 0, index, dw0, 0)? {
            Ok(cleared) => cleared,
            Err(error) => return Ok(Err(error)),
        };
        tlbie_sequence(a, &[c.operand])?;
        let ra = self.hpt.hpte_ra(index);
        let dw1 = a.load(ra + 8, "H_CLEAR_MOD: load R and C")?;
        a.store(ra + 8, dw1 & !HpteR::C, "H_CLEAR_MOD: clear C")?;
        a.barrier(Barrier::Eieio, "H_CLEAR_MOD: R before V")?;
        a.store(ra, dw0, "H_CLEAR_MOD: store V")?;
        a.barrier(Barrier::Ptesync, "H_CLEAR_MOD: ptesync")?;
        Ok(Ok(self.guests(dw0, dw1).r))
    }
}
