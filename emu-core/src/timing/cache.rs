//! The caches: L1D and L2 of each CPU, one L3, and which CPU holds which 128-byte line.
//!
//! Owns where a line is found and what it costs to get it there. Data is not in here: memory is always
//! right, and the caches know lines by address alone. Every level replaces the least recently used line.
//! L1D is written through and takes no line for a store; L2 holds what L1D holds; L3 is filled with what
//! the L2s read. Refuses bandwidth, prefetch and the store queue's depth.
//!
//! Between CPUs a word for each line says which of them hold it. A store takes the line from the others,
//! whose copies are found to be gone at their next access. With threads the words are atomic, so that no
//! copy outlives a store; two CPUs that miss at the same moment may both be told that memory served them.

use super::CostTable;
use crate::cost::Category;
use emu_mmu::{GuestMemory, MemoryError, Ra};
use parking_lot::Mutex;

/// log2 of the bytes of a line: 128 on every machine here.
const LINE_SHIFT: u32 = 7;
/// Pieces of the L3, each with a lock of its own.
const L3_PIECES: u64 = 64;
/// Bytes that a table of words is rounded up to: the largest page of a host.
const TABLE_ROUND: u64 = 64 << 10;

/// A set-associative list of lines.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    /// Line + 1, most recently used first in each set; 0 is empty.
    tags: Vec<u64>,
    sets: u64,
    ways: usize,
}

impl Level {
    /// A level of so many bytes; at least one set of one way.
    pub fn new(bytes: u64, ways: u64) -> Self {
        let ways = ways.max(1);
        let sets = ((bytes >> LINE_SHIFT) / ways).max(1);
        Level {
            tags: vec![0; (sets * ways) as usize],
            sets,
            ways: ways as usize,
        }
    }

    #[inline(always)]
    fn first(&self, line: u64) -> usize {
        let set = match self.sets.is_power_of_two() {
            true => line & (self.sets - 1),
            false => line % self.sets,
        };
        set as usize * self.ways
    }

    /// True if the line is there; it is then the most recently used.
    #[inline(always)]
    pub fn hit(&mut self, line: u64) -> bool {
        let first = self.first(line);
        self.tags[first] == line + 1 || self.hit_behind(first, line)
    }

    #[inline(never)]
    fn hit_behind(&mut self, first: usize, line: u64) -> bool {
        let set = &mut self.tags[first..first + self.ways];
        let Some(way) = set.iter().position(|&tag| tag == line + 1) else {
            return false;
        };
        to_front(&mut set[..=way], line + 1);
        true
    }

    /// Takes a line in and gives the one that had to go.
    pub fn fill(&mut self, line: u64) -> Option<u64> {
        if self.hit(line) {
            return None;
        }
        let first = self.first(line);
        to_front(&mut self.tags[first..first + self.ways], line + 1).checked_sub(1)
    }

    /// Drops a line.
    pub fn drop_line(&mut self, line: u64) {
        let first = self.first(line);
        let set = &mut self.tags[first..first + self.ways];
        if let Some(way) = set.iter().position(|&tag| tag == line + 1) {
            set[way..].rotate_left(1);
            set[self.ways - 1] = 0;
        }
    }
}

/// Puts a tag first; the others move up, and the last one falls out. A set is too short for the host's
/// block moves to be worth their call.
#[inline(always)]
fn to_front(set: &mut [u64], tag: u64) -> u64 {
    set.iter_mut()
        .fold(tag, |moved, slot| std::mem::replace(slot, moved))
}

/// The levels of one CPU.
#[derive(Clone, Debug)]
pub(crate) struct OwnCaches {
    l1d: Level,
    l2: Level,
    /// The CPU's bit in the words of the lines.
    bit: u64,
}

impl OwnCaches {
    /// Empty, for CPU number `cpu`, below 64.
    pub fn new(costs: &CostTable, cpu: u16) -> Self {
        OwnCaches {
            l1d: Level::new(costs.l1d_bytes, costs.l1d_ways),
            l2: Level::new(costs.l2_bytes, costs.l2_ways),
            bit: 1 << (cpu & 63),
        }
    }
}

/// What the CPUs share.
#[derive(Debug)]
pub(crate) struct SharedCaches {
    l3: Vec<Mutex<Level>>,
    /// A doubleword for each line of memory: a bit for each CPU that holds it. `None` with one CPU.
    holders: Option<GuestMemory>,
}

/// Where a line was, and what it costs to have it.
pub(crate) type Served = (Category, u64);

impl SharedCaches {
    /// Empty caches over so much memory.
    ///
    /// # Errors
    /// Memory that the host refuses.
    pub fn new(costs: &CostTable, cpus: u16, memory_bytes: u64) -> Result<Self, MemoryError> {
        let pieces = match ((costs.l3_bytes >> LINE_SHIFT) / costs.l3_ways.max(1)) % L3_PIECES {
            _ if costs.l3_bytes == 0 => 0,
            0 => L3_PIECES,
            _ => 1,
        };
        let piece = |_| Mutex::new(Level::new(costs.l3_bytes / pieces, costs.l3_ways));
        let words = (memory_bytes >> LINE_SHIFT).max(1) * 8;
        let words = words.next_multiple_of(TABLE_ROUND);
        Ok(SharedCaches {
            l3: (0..pieces).map(piece).collect(),
            holders: (cpus > 1).then(|| GuestMemory::new(words)).transpose()?,
        })
    }

    /// A load: what serves it.
    #[inline(always)]
    pub fn load(&self, own: &mut OwnCaches, costs: &CostTable, ra: Ra) -> Served {
        let line = ra.get() >> LINE_SHIFT;
        if own.l1d.hit(line) && self.holds(own, line) {
            return (Category::LoadStore, costs.load);
        }
        self.load_beyond(own, costs, line)
    }

    #[inline(never)]
    fn load_beyond(&self, own: &mut OwnCaches, costs: &CostTable, line: u64) -> Served {
        let served = self.read_from_l2(own, costs, line);
        own.l1d.fill(line);
        served
    }

    /// A read by the table walker, which does not look into L1D.
    pub fn walk(&self, own: &mut OwnCaches, costs: &CostTable, ra: Ra) -> u64 {
        self.read_from_l2(own, costs, ra.get() >> LINE_SHIFT).1
    }

    fn read_from_l2(&self, own: &mut OwnCaches, costs: &CostTable, line: u64) -> Served {
        if own.l2.hit(line) && self.holds(own, line) {
            return (Category::L2, costs.l2_latency);
        }
        let served = self.fetch(own, costs, line);
        self.join(own, line);
        served
    }

    /// A store: what it costs beyond its place in the store queue.
    #[inline(always)]
    pub fn store(&self, own: &mut OwnCaches, costs: &CostTable, ra: Ra) -> Option<Served> {
        let line = ra.get() >> LINE_SHIFT;
        if own.l2.hit(line) && self.holds_alone(own, line) {
            return None;
        }
        Some(self.take(own, costs, line, false))
    }

    /// dcbz: the line is made here, and read from nowhere.
    pub fn make_zero(&self, own: &mut OwnCaches, costs: &CostTable, ra: Ra) -> Option<Served> {
        let line = ra.get() >> LINE_SHIFT;
        own.l1d.drop_line(line);
        if own.l2.hit(line) && self.holds_alone(own, line) {
            return None;
        }
        Some(self.take(own, costs, line, true))
    }

    /// Makes a line this CPU's alone.
    #[inline(never)]
    fn take(&self, own: &mut OwnCaches, costs: &CostTable, line: u64, whole: bool) -> Served {
        let before = self.replace(line, own.bit);
        let here = own.l2.hit(line) && before & own.bit != 0;
        if here || (whole && before & !own.bit != 0) {
            self.enter(own, line);
            return (Category::Transfer, costs.coherence_upgrade);
        }
        if whole {
            self.enter(own, line);
            return (Category::L2, costs.l2_latency);
        }
        let served = match before & !own.bit {
            0 => self.in_l3_or_memory(costs, line),
            _ => (Category::Transfer, costs.coherence_transfer),
        };
        self.enter(own, line);
        served
    }

    fn fetch(&self, own: &OwnCaches, costs: &CostTable, line: u64) -> Served {
        match self.word(line) & !own.bit {
            0 => self.in_l3_or_memory(costs, line),
            _ => (Category::Transfer, costs.coherence_transfer),
        }
    }

    fn in_l3_or_memory(&self, costs: &CostTable, line: u64) -> Served {
        let pieces = self.l3.len() as u64;
        if pieces == 0 {
            return (Category::Memory, costs.memory_latency);
        }
        let mut piece = self.l3[(line % pieces) as usize].lock();
        if piece.hit(line / pieces) {
            return (Category::L3, costs.l3_latency);
        }
        piece.fill(line / pieces);
        (Category::Memory, costs.memory_latency)
    }

    /// Takes a line into L2; the one that goes is held no more.
    fn enter(&self, own: &mut OwnCaches, line: u64) {
        if let Some(gone) = own.l2.fill(line) {
            own.l1d.drop_line(gone);
            self.change(gone, |word| word & !own.bit);
        }
    }

    fn join(&self, own: &mut OwnCaches, line: u64) {
        self.enter(own, line);
        self.change(line, |word| word | own.bit);
    }

    // --- the words of the lines --------------------------------------------------------------------

    #[inline(always)]
    fn word(&self, line: u64) -> u64 {
        match &self.holders {
            None => 0,
            Some(words) => words.load_u64(Ra::new(line * 8)).unwrap_or(0),
        }
    }

    #[inline(always)]
    fn holds(&self, own: &OwnCaches, line: u64) -> bool {
        self.holders.is_none() || self.word(line) & own.bit != 0
    }

    #[inline(always)]
    fn holds_alone(&self, own: &OwnCaches, line: u64) -> bool {
        self.holders.is_none() || self.word(line) == own.bit
    }

    fn replace(&self, line: u64, new: u64) -> u64 {
        self.change(line, |_| new)
    }

    /// Changes the word of a line and gives what it was. A line beyond memory has none: the access
    /// itself is refused.
    fn change(&self, line: u64, new: impl Fn(u64) -> u64) -> u64 {
        let Some(words) = &self.holders else { return 0 };
        let at = Ra::new(line * 8);
        let Ok(mut old) = words.load_u64(at) else {
            return 0;
        };
        loop {
            match words.compare_exchange_u64(at, old, new(old)) {
                Ok(Ok(_)) => return old,
                Ok(Err(now)) => old = now,
                Err(_) => return old,
            }
        }
    }
}
