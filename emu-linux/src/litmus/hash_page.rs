//! The hash fault, `__hash_page_4K` of Linux 2.6.38 arch/powerpc/mm/hash_low_64.S, one step to a test.
//!
//! Owns the order of its verbs. Refuses to evict: a test has too few pages to fill two groups.

use super::place::{BITS, LAYOUT, NO_SLOT, entry_r, frame_number, pte};
use super::steps::{insert, update_and_flush};
use super::tracked::Tracked;
use emu_core::{Exception, Run};
use emu_mmu::{Barrier, HpteR, TableAccess};

/// 0: done, or another CPU holds the PTE; 1: the PTE does not allow the access.
pub(super) fn hash_page(on: &mut Tracked<'_, '_>, page: usize, store: bool) -> Run<u64> {
    let at = pte(page);
    let need = BITS.present | if store { BITS.write } else { 0 };
    let (old, new) = loop {
        let old = on.reserve(at, "__hash_page: ldarx")?;
        if need & !old != 0 {
            return Ok(1);
        }
        if old & BITS.busy != 0 {
            return Ok(0);
        }
        let dirty = if store { BITS.dirty } else { 0 };
        let new = old | BITS.busy | BITS.accessed | BITS.hashpte | dirty;
        if on.conditional(at, new, "__hash_page: stdcx.")? {
            break (old, new);
        }
    };
    on.barrier(Barrier::Isync, "__hash_page: isync")?;
    let flags = LAYOUT.hpte_flags(new);
    let hashed = old & BITS.hashpte != 0;
    if hashed && update_and_flush(on, page, BITS.hidx(old), flags)? {
        on.store(at, new & !BITS.busy, "__hash_page: release")?;
        return Ok(0);
    }
    let frame = (frame_number(BITS.frame(new)) as usize).checked_sub(1);
    let frame = frame.ok_or(Exception::Corrupt("the PTE maps no frame"))?;
    let HpteR(r) = entry_r(frame, flags);
    let hidx = insert(on, page, HpteR(r))?;
    if hidx == NO_SLOT {
        return Err(Exception::Corrupt("both groups are full"));
    }
    let clean = new & !BITS.hpteflags();
    let new = clean | BITS.hashpte | BITS.hidx_bits(hidx);
    on.store(at, new, "__hash_page: release")?;
    Ok(0)
}
