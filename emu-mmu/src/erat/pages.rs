//! Which slots hold a virtual page: so that a tlbie that names none of them costs no scan.
//!
//! Owns counts and a guess for each bucket of pages; what it says is always confirmed by the slot.

use super::changed::Changed;
use crate::addr::{PageSize, Vpn};

/// Buckets of 4 KB pages; a power of two.
const BUCKETS: usize = 256;

/// Pages of one bucket.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    entries: u32,
    /// The slot noted last.
    slot: u32,
}

/// Where an invalidation must look.
pub(super) enum Look {
    /// Nowhere.
    Nowhere,
    /// Here, if this slot is still in the bucket; else everywhere.
    At(usize),
    /// Everywhere.
    Everywhere,
}

/// Counts of the pages present.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    small: Box<[Bucket; BUCKETS]>,
    changed: Changed<{ BUCKETS / 64 }>,
    /// Entries of each actual size.
    of_size: [u32; 4],
}

impl Pages {
    pub fn new() -> Self {
        Pages {
            small: Box::new([Bucket::default(); BUCKETS]),
            changed: Changed::none(),
            of_size: [0; 4],
        }
    }

    /// Takes over what another holds, in the same memory.
    pub fn copy_from(&mut self, other: &Self) {
        (self.changed).copy(&mut self.small[..], &other.changed, &other.small[..]);
        self.of_size = other.of_size;
    }

    /// The bucket of a page. The address bits that no operand carries are far above.
    pub const fn bucket(vpn: Vpn) -> usize {
        vpn.get() as usize % BUCKETS
    }

    fn bucket_mut(&mut self, vpn: Vpn) -> &mut Bucket {
        let bucket = Self::bucket(vpn);
        self.changed.note(bucket);
        &mut self.small[bucket]
    }

    pub fn add(&mut self, vpn: Vpn, actual: PageSize, slot: usize) {
        self.of_size[actual as usize] += 1;
        if actual == PageSize::P4K {
            let bucket = self.bucket_mut(vpn);
            bucket.entries += 1;
            bucket.slot = slot as u32;
        }
    }

    pub fn remove(&mut self, vpn: Vpn, actual: PageSize) {
        self.of_size[actual as usize] -= 1;
        if actual == PageSize::P4K {
            self.bucket_mut(vpn).entries -= 1;
        }
    }

    /// Whether any page of an actual size is present.
    #[inline]
    pub const fn holds(&self, actual: PageSize) -> bool {
        self.of_size[actual as usize] != 0
    }

    pub fn look(&self, vpn: Vpn, actual: PageSize) -> Look {
        if self.of_size[actual as usize] == 0 {
            return Look::Nowhere;
        }
        if actual != PageSize::P4K {
            return Look::Everywhere;
        }
        let bucket = self.small[Self::bucket(vpn)];
        match bucket.entries {
            0 => Look::Nowhere,
            1 => Look::At(bucket.slot as usize),
            _ => Look::Everywhere,
        }
    }
}
