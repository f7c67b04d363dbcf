//! Each hot path over one table some number of times and nothing else, to be counted by callgrind or
//! perf; no clock is looked at.
//!
//! `cargo run --release --example hot_paths -- insert avx2 3`; without arguments every path once on
//! the fastest back end of this host.

use ppc_mmu_emu::mmu::{
    Access, AccessState, Backend, Batch, CompareOrder, Ea, FlushEntry, GuestMemory, Hpt, HpteR,
    HpteV, Mapping, Mmu, MmuGeometry, PageSize, Pages, Ra, SegmentSize, Sharing, SlbEntry, Vpn,
    Vsid,
};
use std::error::Error;
use std::hint::black_box;

type Done = Result<(), Box<dyn Error>>;

const PATHS: [&str; 5] = ["insert", "insert-shared", "find", "flush", "translate"];
const PAGES: Pages = Pages::new(SegmentSize::S1T, PageSize::P4K);
/// 2^13 groups, 1 MiB: the paths are those of a table beyond a cache.
const GROUPS_LOG2: u8 = 13;
/// Half of the slots.
const ENTRIES: usize = 4 << GROUPS_LOG2;
/// Entries of a flush, as in the kernel's batch.
const FLUSH_ENTRIES: usize = 192;
/// Pages that are translated: some in the ERAT, some in the TLB.
const PAGES_IN_USE: u64 = 1 << 10;
/// Translations of a pass.
const TRANSLATIONS: usize = 1 << 14;

/// A step of splitmix64 (Steele, Lea and Flood).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A kernel mapping of a virtual page.
fn mapping(vpn: Vpn, page: u64) -> Mapping {
    let ra = Ra::new((page << 12) & 0x3ff_ffff);
    let r = HpteR::new(ra, PAGES.base, PAGES.base).with_flags(0x194);
    Mapping { vpn, r }
}

/// A hash table and what goes into it.
struct Table {
    memory: GuestMemory,
    hpt: Hpt,
    backend: Backend,
    mappings: Vec<Mapping>,
}

impl Table {
    fn new(backend: Backend) -> Result<Self, Box<dyn Error>> {
        let mut state = u64::from(GROUPS_LOG2);
        let mappings = (0..ENTRIES as u64)
            .map(|page| mapping(Vpn::new(random(&mut state) >> 14), page))
            .collect();
        Ok(Table {
            memory: GuestMemory::new(2 << 20)?,
            hpt: Hpt::new(Ra::new(1 << 20), GROUPS_LOG2)?,
            backend,
            mappings,
        })
    }

    /// Empties it and inserts every page, alone or beside others; gives where each went.
    fn fill(&mut self, shared: bool) -> Result<Vec<FlushEntry>, Box<dyn Error>> {
        self.memory.zero(self.hpt.base(), self.hpt.size_bytes())?;
        let mappings = &self.mappings;
        let mut placed = Vec::with_capacity(mappings.len());
        let note = |i: usize, place: Option<_>| {
            let want = HpteV::new(mappings[i].vpn, PAGES.segment, PAGES.base);
            placed.extend(place.map(|index| FlushEntry { index, want }));
        };
        if shared {
            let batch = self.hpt.shared(&self.memory)?;
            forced(batch, self.backend)?.insert(PAGES, mappings, note);
        } else {
            let batch = self.hpt.exclusive(&mut self.memory)?;
            forced(batch, self.backend)?.insert(PAGES, mappings, note);
        }
        Ok(placed)
    }

    fn find(&self) -> Done {
        let vpns: Vec<Vpn> = self.mappings.iter().map(|m| m.vpn).collect();
        let mut found = 0;
        let batch = forced(self.hpt.shared(&self.memory)?, self.backend)?;
        batch.find(PAGES, &vpns, |_, place| {
            found += usize::from(place.is_some())
        });
        black_box(found);
        Ok(())
    }

    fn flush(&mut self) -> Done {
        let placed = self.fill(false)?;
        let mut batch = forced(self.hpt.shared(&self.memory)?, self.backend)?;
        for entries in placed.chunks(FLUSH_ENTRIES) {
            black_box(batch.flush(entries, CompareOrder::BeforeLock));
        }
        Ok(())
    }
}

/// The batch on this back end.
fn forced<S: Sharing>(
    batch: Batch<'_, S>,
    backend: Backend,
) -> Result<Batch<'_, S>, Box<dyn Error>> {
    let batch = batch.with_backend(backend);
    batch.ok_or_else(|| format!("this host cannot run the {} compare", backend.name()).into())
}

/// Translates random addresses of some pages.
fn translate() -> Done {
    let memory = GuestMemory::new(64 << 20)?;
    let hpt = Hpt::new(Ra::new(4 << 20), 15)?;
    let ea = Ea::new(0xd000_0000_0000_0000);
    let segment = SlbEntry::kernel(ea, Vsid::new(0xeb_71b0), PAGES.segment, PAGES.base);
    let vpn = |page: u64| Vpn::from_ea(segment.vsid, ea + (page << 12), PAGES.segment);
    let mappings: Vec<Mapping> = (0..PAGES_IN_USE).map(|p| mapping(vpn(p), p)).collect();
    hpt.shared(&memory)?.insert(PAGES, &mappings, |_, _| ());
    let mut mmu = Mmu::new(&MmuGeometry::POWER8)?;
    mmu.slbmte(segment.rs(), segment.rb(1))?;
    let mut state = 0;
    for _ in 0..TRANSLATIONS {
        let at = ea + ((random(&mut state) % PAGES_IN_USE) << 12);
        let kernel = AccessState::kernel();
        let ra = mmu.translate(&memory, &hpt, at, Access::Load, kernel, &mut ());
        black_box(ra).map_err(|fault| format!("{at:?}: {fault:?}"))?;
    }
    Ok(())
}

/// Runs a path some number of times and prints the operations of one pass.
fn run(path: &str, backend: Backend, passes: u32) -> Done {
    let mut table = Table::new(backend)?;
    if path == "find" {
        table.fill(false)?;
    }
    for _ in 0..passes {
        match path {
            "insert" => drop(table.fill(false)?),
            "insert-shared" => drop(table.fill(true)?),
            "find" => table.find()?,
            "flush" => table.flush()?,
            "translate" => translate()?,
            _ => return Err(format!("no path `{path}`: one of {}", PATHS.join(", ")).into()),
        }
    }
    let operations = if path == "translate" {
        TRANSLATIONS
    } else {
        ENTRIES
    };
    println!("{operations} operations of {path}, times {passes}");
    Ok(())
}

fn main() -> Done {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(path) = words.first() else {
        return PATHS
            .iter()
            .try_for_each(|path| run(path, Backend::best(), 1));
    };
    let backend = match words.get(1) {
        Some(name) => Backend::ALL
            .into_iter()
            .find(|backend| backend.name() == name)
            .ok_or_else(|| format!("no back end `{name}`"))?,
        None => Backend::best(),
    };
    let passes = words.get(2).map_or(Ok(1), |passes| passes.parse())?;
    run(path, backend, passes)
}
