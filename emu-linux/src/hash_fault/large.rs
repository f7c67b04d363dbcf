//! Hash faults of a kernel with 64K pages: one 64K HPTE (__hash_page_64K), or the 4K piece that was accessed
//! where the segment has 4K pages (__hash_page_4K), and the slots in the second half of the PTE table.
//!
//! Owns both ways into the table and what a 4K fault does to a page that has a 64K HPTE. Refuses pages that
//! map 4K units (4K_PFN): no mapping of the model does. Cache-inhibited pages are as others, because each
//! CPU of the model that has 64K pages can have them uncached (CI_LARGE_PAGE).

use super::{Claim, HashAccess, HashResult, HashTarget};
use crate::functions::Func;
use crate::kernel::Linux;
use crate::layout::{PIECE_BYTES, PIECES, RealPte, SlotRecord};
use crate::mm::VirtualPage;
use emu_core::{Ctx, Run, Step};
use emu_mmu::{Barrier, Ea, HpteR, PageSize};

const CLAIM_64K: [Step; 2] = [
    "__hash_page_64K: ldarx pte",
    "__hash_page_64K: stdcx. pte busy",
];
const CLAIM_PIECE: [Step; 2] = [
    "__hash_page_4K: ldarx pte",
    "__hash_page_4K: stdcx. pte busy, combo",
];

impl Linux {
    /// __real_pte(): a PTE with its slots. 6.1 reads them behind a read barrier, always; 2.6.38 only those
    /// of a page hashed in pieces.
    pub(crate) fn real_pte(&self, cx: &mut Ctx<'_>, ptep: Ea, pte: u64) -> Run<RealPte> {
        let bits = self.layout.pte;
        if !bits.has_second_half(pte) {
            return Ok(RealPte { pte, hidx: 0 });
        }
        if bits.slots == SlotRecord::SecondHalf {
            cx.barrier(Barrier::Lwsync, "__real_pte: smp_rmb")?;
        }
        let at = ptep + self.layout.second_half_offset();
        let hidx = cx.load_u64(at, "__real_pte: slots")?;
        Ok(RealPte { pte, hidx })
    }

    /// __hash_page_64K(): one HPTE of 64K.
    pub(super) fn hash_page_64k(
        &self,
        cx: &mut Ctx<'_>,
        target: HashTarget,
        access: HashAccess,
    ) -> Run<HashResult> {
        self.work(cx, Func::HashPage64k)?;
        let HashTarget { page, ptep } = target;
        let (old, new) = match self.claim_pte(cx, ptep, access, 0, CLAIM_64K)? {
            Claim::Claimed(old, new) => (old, new),
            Claim::Answer(answer) => return Ok(answer),
        };
        cx.barrier(Barrier::Isync, "__hash_page_64K: isync")?;
        let bits = self.layout.pte;
        let flags = self.layout.hpte_flags(new);
        if old & bits.hashpte != 0 {
            let rpte = self.real_pte(cx, ptep, old)?;
            let index = self.slot_of(page, bits.hidx_of(rpte, 0));
            let step = "__hash_page_64K: store updated pte";
            if self.update_in_place(cx, (target, index), flags, access, (new, step))? {
                return Ok(HashResult::Retry);
            }
        }
        let new = new & !bits.hpteflags();
        let r = HpteR::new(bits.frame(new), PageSize::P64K, PageSize::P64K).with_flags(flags);
        let hidx = self.insert_somewhere(cx, page, r)?;
        self.count(&self.counters.hpte_inserts);
        if bits.slots == SlotRecord::SecondHalf {
            self.store_slots(cx, ptep, bits.with_hidx(0, 0, hidx))?;
        }
        let new = new | bits.hashed_bits(new, 0, hidx);
        cx.store_u64(ptep, new, "__hash_page_64K: store pte, drop busy")?;
        Ok(HashResult::Retry)
    }

    /// __hash_page_4K() of a 64K kernel: the HPTE of the piece that was accessed. A 64K HPTE that the page
    /// still has goes first.
    pub(super) fn hash_piece(
        &self,
        cx: &mut Ctx<'_>,
        target: HashTarget,
        access: HashAccess,
    ) -> Run<HashResult> {
        self.work(cx, Func::HashPage4k)?;
        let HashTarget { page, ptep } = target;
        let bits = self.layout.pte;
        let (old, mut new) = match self.claim_pte(cx, ptep, access, bits.combo, CLAIM_PIECE)? {
            Claim::Claimed(old, new) => (old, new),
            Claim::Answer(answer) => return Ok(answer),
        };
        cx.barrier(Barrier::Isync, "__hash_page_4K: isync")?;
        let piece = page.vpn.get() % PIECES;
        let flags = self.layout.hpte_flags(new);
        let rpte = self.real_pte(cx, ptep, old)?;
        let (combo, hashed) = (old & bits.combo != 0, old & bits.hashpte != 0);
        let mut slots = if combo { rpte.hidx } else { 0 };
        if hashed && !combo {
            let whole = VirtualPage {
                vpn: page.vpn.align_down(PageSize::P64K),
                size: PageSize::P64K,
                ..page
            };
            self.flush_hash_page(cx, whole, rpte, false)?;
            new &= !bits.hashpte;
        } else if hashed && bits.is_piece_hashed(rpte, piece) {
            let index = self.slot_of(page, bits.hidx_of(rpte, piece));
            let step = "__hash_page_4K: store updated pte";
            if self.update_in_place(cx, (target, index), flags, access, (new, step))? {
                return Ok(HashResult::Retry);
            }
        }
        let ra = bits.frame(new) + piece * PIECE_BYTES;
        let r = HpteR::new(ra, PageSize::P4K, PageSize::P4K).with_flags(flags);
        let hidx = self.insert_somewhere(cx, page, r)?;
        self.count(&self.counters.hpte_inserts);
        slots = bits.with_hidx(slots, piece, hidx);
        self.store_slots(cx, ptep, slots)?;
        let new = (new | bits.hashed_bits(new, piece, hidx)) & !bits.busy;
        cx.store_u64(ptep, new, "__hash_page_4K: store pte, drop busy")?;
        Ok(HashResult::Retry)
    }

    /// The slots of a PTE, to be seen before the PTE that says they are there. BUSY is held.
    fn store_slots(&self, cx: &mut Ctx<'_>, ptep: Ea, slots: u64) -> Run<()> {
        let at = ptep + self.layout.second_half_offset();
        cx.store_u64(at, slots, "__hash_page: store slots")?;
        cx.barrier(Barrier::Lwsync, "__hash_page: slots before pte")
    }
}
