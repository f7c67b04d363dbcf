//! The calls by register, for a CPU that executes `sc 1`.
//!
//! Owns which register is which operand and answer. Refuses the two resize calls, which need more than
//! the table: [`Hypervisor::resize_prepare`] and [`Hypervisor::resize_commit`].

use super::{
    Answer, BLOCK_ENTRIES_MAX, BULK_ENTRIES_MAX, H_SUCCESS, Hcall, HcallError, HpteIndex, HpteR,
    HpteV, Hypervisor, TableAccess,
};
use crate::addr::Ra;

/// Registers 4 to 12: a call's operands, then its answers.
pub type CallRegisters = [u64; 9];

impl Hypervisor {
    /// Runs the call that register 3 names on registers 4 to 12, and gives the return code for
    /// register 3 ([`H_SUCCESS`], [`super::H_PARTIAL`], or that of a [`HcallError`]). Registers that
    /// carry no answer stay as they are. H_FUNCTION for an unknown number and for the resize calls.
    ///
    /// # Errors
    /// Those of the access.
    pub fn dispatch<A: TableAccess>(
        &self,
        a: &mut A,
        opcode: u64,
        r: &mut CallRegisters,
    ) -> Result<i64, A::Error> {
        let code = self.call(a, opcode, r)?;
        Ok(code.unwrap_or_else(HcallError::code))
    }

    fn call<A: TableAccess>(
        &self,
        a: &mut A,
        opcode: u64,
        r: &mut CallRegisters,
    ) -> Answer<i64, A::Error> {
        let (flags, index) = (r[0], HpteIndex(r[1]));
        let answer = match Hcall::from_opcode(opcode) {
            Some(Hcall::Enter) => self
                .enter(a, flags, index, HpteV(r[2]), HpteR(r[3]))?
                .map(|index| r[0] = index.0),
            Some(Hcall::Remove) => self
                .remove(a, flags, index, r[2])?
                .map(|hpte| (r[0], r[1]) = (hpte.v.0, hpte.r.0)),
            Some(Hcall::Protect) => self.protect(a, flags, index, r[2])?,
            Some(Hcall::Read) => self.read(a, flags, index)?.map(|entries| {
                for (pair, hpte) in r.chunks_exact_mut(2).zip(entries) {
                    pair.copy_from_slice(&[hpte.v.0, hpte.r.0]);
                }
            }),
            Some(Hcall::ClearRef) => self.clear_ref(a, flags, index)?.map(|word| r[0] = word.0),
            Some(Hcall::ClearMod) => self.clear_mod(a, flags, index)?.map(|word| r[0] = word.0),
            Some(Hcall::PageInit) => self.page_init(a, flags, Ra::new(r[1]), Ra::new(r[2]))?,
            Some(Hcall::BulkRemove) => {
                let mut words = [0; 2 * BULK_ENTRIES_MAX];
                words.copy_from_slice(&r[..2 * BULK_ENTRIES_MAX]);
                let answer = self.bulk_remove(a, &mut words)?;
                r[..2 * BULK_ENTRIES_MAX].copy_from_slice(&words);
                answer
            }
            Some(Hcall::BlockRemove) => {
                let mut words = [0; BLOCK_ENTRIES_MAX];
                words.copy_from_slice(&r[1..]);
                let answer = self.block_remove(a, HpteV(r[0]), &mut words)?;
                r[..BLOCK_ENTRIES_MAX].copy_from_slice(&words);
                return Ok(answer.map(|status| status.code()));
            }
            Some(Hcall::ResizeHptPrepare | Hcall::ResizeHptCommit) | None => {
                Err(HcallError::Function)
            }
        };
        Ok(answer.map(|()| H_SUCCESS))
    }
}
