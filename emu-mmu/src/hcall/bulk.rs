//! The calls on several entries: H_BULK_REMOVE and H_BLOCK_REMOVE, which answer in the words that
//! asked.
//!
//! Locks are held over all entries of a call until one TLB sequence has covered them. To wait for a
//! lock while holding others could be for ever, so what is held is completed first.

use super::{
    Answer, BLOCK_ENTRIES_MAX, BULK_ENTRIES_MAX, Cleared, H_ANDCOND, H_AVPN, H_PARTIAL, H_SUCCESS,
    HBLKR_AVPN, HBLKR_BUSY, HBLKR_NOT_FOUND, HBLKR_SUCCESS, HBR_ANDCOND, HBR_AVPN, HBR_C, HBR_END,
    HBR_NOT_FOUND, HBR_PARAMETER, HBR_R, HBR_REQUEST, HBR_RESPONSE, HcallError, HpteIndex, HpteR,
    HpteV, Hypervisor, TableAccess,
};

/// Type bits of a word.
const TYPE_MASK: u64 = HBR_END;
/// Condition flags of a word of H_BULK_REMOVE.
const FLAGS_MASK: u64 = HBR_AVPN | HBR_ANDCOND;
/// Index of the entry.
const INDEX_MASK: u64 = 0x00FF_FFFF_FFFF_FFFF;

/// What H_BLOCK_REMOVE did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BlockStatus {
    /// H_SUCCESS: every word has its final answer.
    Success,
    /// H_PARTIAL: some words were answered busy; ask again for those.
    Partial,
}

impl BlockStatus {
    /// The return code in register 3.
    pub const fn code(self) -> i64 {
        match self {
            Self::Success => H_SUCCESS,
            Self::Partial => H_PARTIAL,
        }
    }
}

/// The two words of H_BULK_REMOVE that ask to remove the entry at `index` if it is for `page`.
pub const fn bulk_request(index: HpteIndex, page: HpteV) -> [u64; 2] {
    [
        HBR_REQUEST | HBR_AVPN | index.0,
        page.0 & HpteV::COMPARE_MASK,
    ]
}

/// The word of H_BLOCK_REMOVE that asks to remove the entry at `index` if it is in the block.
pub const fn block_request(index: HpteIndex) -> u64 {
    HBR_REQUEST | HBLKR_AVPN | index.0
}

impl Hypervisor {
    /// H_BULK_REMOVE: removes up to four entries, as H_REMOVE each, with one set of barriers. Each
    /// first word of a pair is answered in place: [`HBR_RESPONSE`], a code, R and C, and the index.
    /// [`HBR_END`] ends the list.
    ///
    /// # Errors
    /// Those of the access; H_PARAMETER at the first word that is no request, has both conditions or
    /// names no entry: it is answered with [`HBR_PARAMETER`], and what stood before it is done.
    pub fn bulk_remove<A: TableAccess>(
        &self,
        a: &mut A,
        words: &mut [u64; 2 * BULK_ENTRIES_MAX],
    ) -> Answer<(), A::Error> {
        let mut held: Vec<(usize, Cleared)> = Vec::with_capacity(BULK_ENTRIES_MAX);
        let mut result = Ok(());
        for at in (0..words.len()).step_by(2) {
            let (word, avpn) = (words[at], words[at + 1]);
            if word & TYPE_MASK == HBR_END {
                break;
            }
            let index = HpteIndex(word & INDEX_MASK);
            let flags = match word & FLAGS_MASK {
                0 => Some(0),
                HBR_AVPN => Some(H_AVPN),
                HBR_ANDCOND => Some(H_ANDCOND),
                _ => None,
            };
            let request = word & !(FLAGS_MASK | INDEX_MASK) == HBR_REQUEST;
            let (Some(flags), true, true) = (flags, request, self.has(index)) else {
                words[at] = HBR_RESPONSE | HBR_PARAMETER | (word & (FLAGS_MASK | INDEX_MASK));
                result = Err(HcallError::Parameter);
                break;
            };
            let dw0 = match self.try_lock(a, index)? {
                Some(dw0) => dw0,
                None => {
                    self.complete_bulk(a, &mut held, words)?;
                    self.lock(a, index)?
                }
            };
            match self.clear(a, flags, index, dw0, avpn)? {
                Ok(cleared) => held.push((at, cleared)),
                Err(_) => {
                    words[at] = HBR_RESPONSE | HBR_NOT_FOUND | (word & (FLAGS_MASK | INDEX_MASK));
                }
            }
        }
        self.complete_bulk(a, &mut held, words)?;
        Ok(result)
    }

    fn complete_bulk<A: TableAccess>(
        &self,
        a: &mut A,
        held: &mut Vec<(usize, Cleared)>,
        words: &mut [u64; 2 * BULK_ENTRIES_MAX],
    ) -> Result<(), A::Error> {
        let cleared: Vec<Cleared> = held.iter().map(|(_, cleared)| *cleared).collect();
        let entries = self.complete(a, &cleared)?;
        for ((at, _), entry) in held.drain(..).zip(entries) {
            let r = if entry.r.0 & HpteR::R != 0 { HBR_R } else { 0 };
            let c = if entry.r.0 & HpteR::C != 0 { HBR_C } else { 0 };
            words[at] = HBR_RESPONSE | r | c | (words[at] & (FLAGS_MASK | INDEX_MASK));
        }
        Ok(())
    }

    /// H_BLOCK_REMOVE: removes up to eight entries whose pages lie in one naturally aligned block of
    /// eight pages, with one set of barriers. `block` is the AVPN of the block with B; each word is
    /// answered in place. [`HBR_END`] ends the list. R and C are not answered.
    ///
    /// # Errors
    /// Those of the access; H_PARAMETER at the first word that is no request for an entry of the block
    /// of the words before it; what stood before it is done, the word stays as it was.
    pub fn block_remove<A: TableAccess>(
        &self,
        a: &mut A,
        block: HpteV,
        words: &mut [u64; BLOCK_ENTRIES_MAX],
    ) -> Answer<BlockStatus, A::Error> {
        let avpn = block.0 & HpteV::COMPARE_MASK;
        let mut held: Vec<Cleared> = Vec::with_capacity(BLOCK_ENTRIES_MAX);
        let mut result = Ok(BlockStatus::Success);
        for word in words.iter_mut() {
            if *word & TYPE_MASK == HBR_END {
                break;
            }
            let index = HpteIndex(*word & INDEX_MASK);
            if *word & !INDEX_MASK != HBR_REQUEST | HBLKR_AVPN || !self.has(index) {
                result = Err(HcallError::Parameter);
                break;
            }
            let Some(dw0) = self.try_lock(a, index)? else {
                // Its owner may be this very call, when an entry is named twice.
                *word = HBLKR_BUSY | index.0;
                result = Ok(BlockStatus::Partial);
                continue;
            };
            if !self.in_block(a, &held, index, dw0)? {
                self.unlock(a, index, dw0)?;
                result = Err(HcallError::Parameter);
                break;
            }
            *word = index.0
                | match self.clear(a, H_AVPN, index, dw0, avpn)? {
                    Ok(cleared) => {
                        held.push(cleared);
                        HBLKR_SUCCESS
                    }
                    Err(_) => HBLKR_NOT_FOUND,
                };
        }
        self.complete(a, &held)?;
        Ok(result)
    }

    /// False if a valid entry is for a page outside the block of the first one removed.
    fn in_block<A: TableAccess>(
        &self,
        a: &mut A,
        held: &[Cleared],
        index: HpteIndex,
        dw0: u64,
    ) -> Result<bool, A::Error> {
        let Some(first) = held.first() else {
            return Ok(true);
        };
        let dw1 = a.load(self.hpt.hpte_ra(index) + 8, "H_BLOCK_REMOVE: load R")?;
        let hpte = self.guests(dw0, dw1);
        let v = hpte.v;
        let Some(page) = self.page_in(index, hpte) else {
            return Ok(true);
        };
        let differs = v.0 & HpteV::COMPARE_MASK != first.v.0 & HpteV::COMPARE_MASK;
        let block = |vpn: crate::addr::Vpn| vpn.get() >> (first.operand.base.shift() - 12) >> 3;
        Ok(!v.is_valid() || differs || block(page.vpn) == block(first.operand.vpn))
    }
}
