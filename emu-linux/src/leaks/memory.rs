//! Which memory nobody can give back any more: what is in the ledger and is not reached from the kernel's
//! page tables, its areas and its blocks. Reads guest memory when the run is over, by no code of the guest.

use super::{Leak, Ledger, Taker};
use crate::injection::AllocKind;
use crate::kernel::Linux;
use crate::layout::pa;
use crate::memmap::{area, field, global, vmap_block as block};
use crate::pgtable::PGD_LEVEL;
use crate::vm_map_ram::BLOCK_PAGES;
use emu_mmu::{Ea, GuestMemory};
use std::collections::BTreeSet;

/// Most areas that are followed: a list that is longer is a circle.
const AREAS_MAX: usize = 1 << 20;

/// Guest memory, and what of it is reached.
struct Reached<'m> {
    memory: &'m GuestMemory,
    addresses: BTreeSet<u64>,
}

impl Reached<'_> {
    fn load(&self, at: Ea) -> u64 {
        self.memory.load_u64(pa(at)).unwrap_or(0)
    }

    fn keep(&mut self, at: Ea) {
        self.addresses.insert(pa(at).get());
    }
}

impl Linux {
    /// What of the ledger's memory is lost, one leak for each object.
    pub(super) fn memory_left(
        &self,
        memory: &GuestMemory,
        ledger: &Ledger,
        areas_stay: bool,
    ) -> Vec<Leak> {
        let mut reached = Reached {
            memory,
            addresses: BTreeSet::new(),
        };
        let root = global::SWAPPER_PG_DIR;
        self.reach_tables(&mut reached, root, PGD_LEVEL);
        let blocks: Vec<Ea> = ledger
            .memory
            .iter()
            .filter(|(_, (kind, _))| *kind == AllocKind::VmapBlock)
            .map(|(&at, _)| crate::layout::va(emu_mmu::Ra::new(at)))
            .collect();
        let mut leaks = Vec::new();
        for vb in blocks {
            let node = Ea::new(reached.load(field(vb, block::AREA)));
            let unused =
                reached.load(field(vb, block::FREE)) + reached.load(field(vb, block::DIRTY));
            reached.keep(vb);
            reached.keep(node);
            if let (Some((_, taker)), true) =
                (ledger.memory.get(&pa(vb).get()), unused < BLOCK_PAGES)
            {
                leaks.push(taker.leak("mapped page of a block".to_owned(), BLOCK_PAGES - unused));
            }
        }
        self.reach_areas(&mut reached, areas_stay);
        let lost = |(at, (kind, taker)): (&u64, &(AllocKind, Taker))| {
            (!reached.addresses.contains(at)).then(|| taker.leak(kind.to_string(), 1))
        };
        leaks.extend(ledger.memory.iter().filter_map(lost));
        leaks
    }

    /// Keeps the tables below `table`.
    fn reach_tables(&self, reached: &mut Reached<'_>, table: Ea, level: usize) {
        for i in 0..1u64 << self.layout.index_bits[level] {
            let entry = field(table, i * 8);
            if self.layout.is_folded(level - 1) {
                self.reach_tables(reached, entry, level - 1);
                continue;
            }
            let below = reached.load(entry);
            if below != 0 {
                reached.keep(Ea::new(below));
                if level > 1 {
                    self.reach_tables(reached, Ea::new(below), level - 1);
                }
            }
        }
    }

    /// Keeps the areas that wait for a purge, and all of those that stay.
    fn reach_areas(&self, reached: &mut Reached<'_>, areas_stay: bool) {
        let mut here = Ea::new(reached.load(global::VMAP_AREA_FIRST));
        for _ in 0..AREAS_MAX {
            if here == Ea::new(0) {
                break;
            }
            if reached.load(field(here, area::LAZY)) == 1 {
                reached.keep(here);
            } else if areas_stay {
                reached.keep(here);
                self.reach_pages(reached, here);
            }
            here = Ea::new(reached.load(field(here, area::NEXT)));
        }
    }

    /// Keeps the array and the pages of an area; those that its PTEs map if it has no array.
    fn reach_pages(&self, reached: &mut Reached<'_>, node: Ea) {
        let start = reached.load(field(node, area::START));
        let end = reached.load(field(node, area::END));
        let array = Ea::new(reached.load(field(node, area::PAGES)));
        if reached.load(field(node, area::ARRAY_VMALLOCED)) == 0 && array != Ea::new(0) {
            reached.keep(array);
        }
        let bits = self.layout.pte;
        for ea in (start..end).step_by(self.page_bytes() as usize) {
            let pte = self.peek_pte(reached.memory, Ea::new(ea)).unwrap_or(0);
            if pte & bits.present != 0 {
                reached.addresses.insert(bits.frame(pte).get());
            }
        }
    }
}
