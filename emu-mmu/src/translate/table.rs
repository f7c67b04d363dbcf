//! The walk of the table: search of both groups, and the R and C bits. Refuses protection: the
//! caller judges in between.

use super::Walk;
use crate::addr::{PageSize, Ra, Vpn};
use crate::hpt::Hpt;
use crate::hpte::{Hpte, HpteR, HpteV};
use crate::memory::{GuestMemory, MemoryError};
use crate::protect::Access;
use crate::pteg::Pteg;
use crate::slb::SlbEntry;

/// Searches both groups for the entry of a page (Power ISA 2.07 Book III-S 5.7.7.3). Several
/// matches: the lowest slot of the primary group wins; the architecture leaves it undefined.
pub(super) fn search(
    memory: &GuestMemory,
    hpt: &Hpt,
    vpn: Vpn,
    segment: &SlbEntry,
    walk: &mut Walk,
) -> Result<Option<(Ra, Hpte, PageSize)>, MemoryError> {
    let want = HpteV::new(vpn, segment.segment, segment.page);
    let hash = vpn.hash(segment.segment, segment.page);
    let groups = [
        (hpt.primary(hash), want),
        (hpt.secondary(hash), want.with_secondary()),
    ];
    for (group, want) in groups {
        let pteg = Pteg::load(memory, hpt.group_ra(group))?;
        walk.groups_read += 1;
        if let Some(slot) = pteg.search_mask(want, segment.page).first() {
            walk.entries_compared += slot + 1;
            let hpte = pteg.0[usize::from(slot)];
            let ra = hpt.hpte_ra(group.slot(slot));
            return Ok(hpte.actual(segment.page).map(|actual| (ra, hpte, actual)));
        }
        walk.entries_compared += 8;
    }
    Ok(None)
}

/// Sets R, and C for a store, by byte stores as hardware does (Power ISA 2.07 Book III-S 5.7.8): no
/// check that the entry is still valid. Returns doubleword 1 with them.
pub(super) fn set_rc(
    memory: &GuestMemory,
    hpte_ra: Ra,
    r: HpteR,
    access: Access,
    walk: &mut Walk,
) -> Result<HpteR, MemoryError> {
    let mut word = r.0;
    if !r.r() {
        word |= HpteR::R;
        memory.store_u8(hpte_ra + 14, (word >> 8) as u8)?;
        walk.r_written = true;
    }
    if access == Access::Store && !r.c() {
        word |= HpteR::C;
        memory.store_u8(hpte_ra + 15, word as u8)?;
        walk.c_written = true;
    }
    Ok(HpteR(word))
}
