//! What the per-CPU allocator asks of vmalloc: chunks.
//!
//! Owns a model of chunks only (Linux mm/percpu.c, mm/percpu-vm.c): an area with one unit for each CPU,
//! made when the chunk before is full and freed when its last object is. Objects are packed one behind
//! the other, and a new one is cleared in each unit through the area, as pcpu_alloc() does, which touches
//! its pages. Left out: holes, sizes of chunks sorted into slots, units populated page by page.

use crate::kernel::Linux;
use emu_core::{Ctx, Run};
use emu_mmu::Ea;
use std::collections::BTreeMap;

/// Bytes of a CPU's unit in a chunk (include/linux/percpu.h, PCPU_MIN_UNIT_SIZE).
const UNIT_BYTES: u64 = 32 << 10;

#[derive(Clone, Copy, Debug, Default)]
struct Chunk {
    used_bytes: u64,
    objects: u64,
}

/// The chunks in use, by address.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    chunks: BTreeMap<Ea, Chunk>,
    /// The one with room.
    open: Option<Ea>,
}

impl Chunks {
    /// __alloc_percpu(): an object of at most a unit, at a power of two.
    pub fn allocate(
        &mut self,
        linux: &Linux,
        cx: &mut Ctx<'_>,
        bytes: u64,
        align: u64,
    ) -> Run<Option<Ea>> {
        let room = self.open.and_then(|at| {
            let chunk = self.chunks.get(&at)?;
            let offset = chunk.used_bytes.next_multiple_of(align);
            (offset + bytes <= UNIT_BYTES).then_some((at, offset))
        });
        let (at, offset) = match room {
            Some(room) => room,
            None => match linux.vmalloc(cx, UNIT_BYTES * u64::from(linux.cpus))? {
                Ok(at) => {
                    self.chunks.insert(at, Chunk::default());
                    self.open = Some(at);
                    (at, 0)
                }
                Err(_) => return Ok(None),
            },
        };
        if let Some(chunk) = self.chunks.get_mut(&at) {
            chunk.used_bytes = offset + bytes;
            chunk.objects += 1;
        }
        for cpu in 0..u64::from(linux.cpus) {
            linux.touch(cx, at + (cpu * UNIT_BYTES + offset), true)?;
        }
        Ok(Some(at + offset))
    }

    /// free_percpu(); nothing for a null pointer.
    pub fn free(&mut self, linux: &Linux, cx: &mut Ctx<'_>, object: Ea) -> Run<()> {
        let Some((&at, chunk)) = self.chunks.range_mut(..=object).next_back() else {
            return Ok(());
        };
        if object.get() - at.get() >= UNIT_BYTES {
            return Ok(());
        }
        chunk.objects = chunk.objects.saturating_sub(1);
        if chunk.objects == 0 {
            self.chunks.remove(&at);
            self.open = self.open.filter(|&open| open != at);
            linux.vfree(cx, at)?;
        }
        Ok(())
    }

    /// Frees the chunks that are left.
    pub fn free_all(self, linux: &Linux, cx: &mut Ctx<'_>) -> Run<()> {
        for at in self.chunks.into_keys() {
            linux.vfree(cx, at)?;
        }
        Ok(())
    }
}
