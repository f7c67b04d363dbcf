//! The entries that pend, found by page, frame, PTE or section.
//!
//! Owns a slab of entries, threaded on four doubly linked chains, oldest first. Nothing is
//! allocated once the slab has grown to the most that ever pended. Refuses to judge.

use super::Entry;
use crate::key_map::KeyMap;
use emu_mmu::{SegmentSize, Vpn};

/// The key of a page. Distinct pages may share one, so who looks up compares.
pub(super) fn page_key(vpn: Vpn, segment: SegmentSize) -> u64 {
    (vpn.get() << 1) | segment.b_field()
}

/// What entries are found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    /// [`page_key`].
    Page,
    /// Frame that the old PTE mapped.
    Frame,
    /// Address of the PTE.
    Pte,
    /// Task in whose section it was queued; entries without one are not on this chain.
    Section,
}

const CHAINS: [Chain; 4] = [Chain::Page, Chain::Frame, Chain::Pte, Chain::Section];
const NIL: usize = usize::MAX;

fn key(entry: &Entry, chain: Chain) -> Option<u64> {
    match chain {
        Chain::Page => Some(page_key(entry.vpn, entry.segment)),
        Chain::Frame => Some(entry.frame),
        Chain::Pte => Some(entry.pte),
        Chain::Section => entry.in_section.then_some(entry.task),
    }
}

/// Two ends: neighbours of a node, or first and last of a chain.
#[derive(Clone, Copy, Debug)]
struct Ends {
    front: usize,
    back: usize,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    entry: Entry,
    /// Its place in the order of queueing.
    order: u64,
    links: [Ends; CHAINS.len()],
}

/// The entries that pend.
#[derive(Debug, Default)]
pub(super) struct Pending {
    nodes: Vec<Option<Node>>,
    free: Vec<usize>,
    chains: [KeyMap<Ends>; CHAINS.len()],
    pushed: u64,
}

cloned_by_field!(Pending {
    nodes,
    free,
    chains,
    pushed,
});

impl Pending {
    /// All that pend.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.nodes.iter().flatten().map(|node| &node.entry)
    }

    /// How many pend.
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// One more than the greatest id in use.
    pub fn ids(&self) -> usize {
        self.nodes.len()
    }

    /// The entry with this id.
    pub fn get(&self, id: usize) -> Option<&Entry> {
        self.nodes.get(id)?.as_ref().map(|node| &node.entry)
    }

    /// The same, to change what it is not found by.
    pub fn get_mut(&mut self, id: usize) -> Option<&mut Entry> {
        self.nodes.get_mut(id)?.as_mut().map(|node| &mut node.entry)
    }

    /// The oldest entry on a chain.
    pub fn first(&self, chain: Chain, key: u64) -> Option<usize> {
        self.chains[chain as usize].get(&key).map(|ends| ends.front)
    }

    /// The entry after `id` on a chain.
    pub fn next(&self, chain: Chain, id: usize) -> Option<usize> {
        let node = self.nodes.get(id)?.as_ref()?;
        Some(node.links[chain as usize].back).filter(|&next| next != NIL)
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: Entry) {
        let id = self.free.pop().unwrap_or(self.nodes.len());
        let mut links = [Ends {
            front: NIL,
            back: NIL,
        }; CHAINS.len()];
        for chain in CHAINS {
            let Some(key) = key(&entry, chain) else {
                continue;
            };
            let fresh = Ends {
                front: id,
                back: NIL,
            };
            let ends = self.chains[chain as usize].entry(key).or_insert(fresh);
            links[chain as usize].front = ends.back;
            if let Some(Some(last)) = self.nodes.get_mut(ends.back) {
                last.links[chain as usize].back = id;
            }
            ends.back = id;
        }
        let node = Node {
            entry,
            order: self.pushed,
            links,
        };
        self.pushed += 1;
        match self.nodes.get_mut(id) {
            Some(place) => *place = Some(node),
            None => self.nodes.push(Some(node)),
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, id: usize) -> Option<Entry> {
        let node = self.nodes.get_mut(id)?.take()?;
        self.free.push(id);
        for chain in CHAINS {
            let Some(key) = key(&node.entry, chain) else {
                continue;
            };
            let i = chain as usize;
            let Ends { front, back } = node.links[i];
            if front == NIL && back == NIL {
                self.chains[i].remove(&key);
                continue;
            }
            match self.nodes.get_mut(front) {
                Some(Some(before)) => before.links[i].back = back,
                _ => self.set_end(chain, key, |ends| ends.front = back),
            }
            match self.nodes.get_mut(back) {
                Some(Some(after)) => after.links[i].front = front,
                _ => self.set_end(chain, key, |ends| ends.back = front),
            }
        }
        Some(node.entry)
    }

    /// Takes all out, in the order they were queued.
    pub fn drain(&mut self) -> Vec<Entry> {
        let mut nodes: Vec<Node> = self.nodes.drain(..).flatten().collect();
        nodes.sort_by_key(|node| node.order);
        self.free.clear();
        self.chains.iter_mut().for_each(KeyMap::clear);
        nodes.into_iter().map(|node| node.entry).collect()
    }

    fn set_end(&mut self, chain: Chain, key: u64, set: impl FnOnce(&mut Ends)) {
        if let Some(ends) = self.chains[chain as usize].get_mut(&key) {
            set(ends);
        }
    }
}
