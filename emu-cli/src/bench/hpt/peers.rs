//! What others offer for the same keys: general hash maps, pre-sized.

use super::table::{Mps, Table};
use dashmap::DashMap;
use hashbrown::HashMap;
use std::hint::black_box;
use std::time::Instant;

/// The maps, kept from round to round so that their memory is touched before the clock runs, as the
/// table's is.
pub struct Peers {
    hashbrown: HashMap<u64, u64>,
    dashmap: DashMap<u64, u64>,
}

impl Peers {
    /// Maps with room for the pages of a table, filled once.
    pub fn new(table: &Table) -> Self {
        let mut peers = Peers {
            hashbrown: HashMap::with_capacity(table.mappings.len()),
            dashmap: DashMap::with_capacity(table.mappings.len()),
        };
        peers.hashbrown(table);
        peers.dashmap(table);
        peers
    }

    /// Inserts every page of a table into an empty hashbrown map with its default hasher.
    pub fn hashbrown(&mut self, table: &Table) -> Mps {
        self.hashbrown.clear();
        let began = Instant::now();
        for mapping in &table.mappings {
            self.hashbrown.insert(mapping.vpn.get(), mapping.r.0);
        }
        black_box(self.hashbrown.len());
        table.mappings.len() as f64 / began.elapsed().as_secs_f64() / 1e6
    }

    /// The first quarter of them into an empty dashmap, from one thread.
    pub fn dashmap(&mut self, table: &Table) -> Mps {
        self.dashmap.clear();
        let quarter = &table.mappings[..table.mappings.len() / 4];
        let began = Instant::now();
        for mapping in quarter {
            self.dashmap.insert(mapping.vpn.get(), mapping.r.0);
        }
        black_box(self.dashmap.len());
        quarter.len() as f64 / began.elapsed().as_secs_f64() / 1e6
    }
}
