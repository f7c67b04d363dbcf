//! One table that fits the second-level cache: vector against scalar search.

use super::table::{Mps, PAGES, random};
use anyhow::{Context, Result, ensure};
use emu_mmu::{Backend, GuestMemory, Hpt, HpteR, Mapping, Ra, Vpn};
use std::time::Instant;

/// log2 of the groups: 256 KiB, the smallest table there is.
const GROUPS_LOG2: u8 = 11;
/// Searches of one pass: half of pages that are there, each slot as often as any other.
const SEARCHES: usize = 8 << GROUPS_LOG2;
/// Passes of one measurement.
const PASSES: usize = 80;

/// A full table and searches in it.
pub struct Search {
    memory: GuestMemory,
    hpt: Hpt,
    vpns: Vec<Vpn>,
    present: usize,
}

impl Search {
    /// Fills every slot of every group with pages of that primary group.
    pub fn new() -> Result<Self> {
        let bytes = 128u64 << GROUPS_LOG2;
        let mut memory = GuestMemory::new(2 * bytes)?;
        memory.prefer_huge_pages(Ra::new(0), 2 * bytes);
        let hpt = Hpt::new(Ra::new(bytes), GROUPS_LOG2)?;
        let mut state = 7;
        let mut filled = vec![0u8; 1 << GROUPS_LOG2];
        let mut mappings = Vec::new();
        while mappings.len() < 8 << GROUPS_LOG2 {
            let vpn = Vpn::new(random(&mut state) >> 14);
            let group = hpt.primary(vpn.hash(PAGES.segment, PAGES.base)).0 as usize;
            if filled[group] < 8 {
                filled[group] += 1;
                let r = HpteR::new(Ra::new(0), PAGES.base, PAGES.base).with_flags(0x194);
                mappings.push(Mapping { vpn, r });
            }
        }
        let mut lost = 0;
        hpt.exclusive(&mut memory)?
            .insert(PAGES, &mappings, |_, place| {
                lost += u32::from(place.is_none())
            });
        ensure!(lost == 0, "{lost} pages found no slot");
        let mut vpns: Vec<Vpn> = mappings.iter().step_by(2).map(|m| m.vpn).collect();
        let present = vpns.len();
        vpns.resize_with(SEARCHES, || Vpn::new(random(&mut state) >> 14));
        for i in (1..vpns.len()).rev() {
            vpns.swap(i, random(&mut state) as usize % (i + 1));
        }
        Ok(Search {
            memory,
            hpt,
            vpns,
            present,
        })
    }

    /// Millions of searches a second, absent pages searched in both groups.
    pub fn rate(&mut self, backend: Backend) -> Result<Mps> {
        let batch = self.hpt.exclusive(&mut self.memory)?;
        let batch = batch.with_backend(backend).context("not on this host")?;
        let began = Instant::now();
        for _ in 0..PASSES {
            let mut found = 0;
            batch.find(PAGES, &self.vpns, |_, place| {
                found += usize::from(place.is_some())
            });
            ensure!(found >= self.present, "{found} pages found");
        }
        Ok((PASSES * SEARCHES) as f64 / began.elapsed().as_secs_f64() / 1e6)
    }
}
