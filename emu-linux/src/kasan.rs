//! KASAN's shadow of vmalloc areas: a walk over page tables whose callback needs a page for each PTE.
//!
//! Owns populating and depopulating the shadow (Linux mm/kasan/shadow.c). Refuses the checks that use it.
//! Until b6ea95a34cbd ("kasan: avoid sleepable page allocation from atomic context", 2025, and in 6.1.y) the
//! callback allocated its page itself with GFP_KERNEL, inside the lazy section; from then on the pages of a
//! PTE table are there before the walk. The model of 6.1 does the latter, that of 2.6.38, which had no
//! KASAN, the former. Either way the callback takes init_mm.page_table_lock.

use crate::config::KernelVersion;
use crate::functions::Func;
use crate::kernel::{Errno, Kernel, Linux};
use crate::layout::va;
use crate::memmap::field;
use crate::mm::Mm;
use emu_core::{Ctx, Run};
use emu_mmu::{Ea, Ra};

/// log2 of the bytes that one byte of shadow stands for (KASAN_SHADOW_SCALE_SHIFT).
const SHADOW_SCALE_SHIFT: u32 = 3;
/// What fills the shadow of memory that was never allocated (KASAN_VMALLOC_INVALID).
const SHADOW_INVALID: u64 = 0xf8f8_f8f8_f8f8_f8f8;
/// One allocation in so many finds no page at hand and sleeps until one is.
const RECLAIM_ONE_IN: u64 = 4;

impl Linux {
    /// Shadow of an address of the vmalloc area: in its upper half, which no allocation reaches.
    pub(crate) fn shadow_of(&self, ea: Ea) -> Ea {
        let (start, end) = (self.layout.vmalloc_start, self.layout.vmalloc_end);
        Ea::new(start + (end - start) / 2 + ((ea.get() - start) >> SHADOW_SCALE_SHIFT))
    }

    /// The whole pages of shadow of an area.
    fn shadow_pages(&self, start: Ea, bytes: u64) -> (Ea, Ea) {
        let first = self.shadow_of(start).get() & !(self.page_bytes() - 1);
        let end = self.shadow_of(start + bytes).get();
        (
            Ea::new(first),
            Ea::new(end.next_multiple_of(self.page_bytes())),
        )
    }

    /// kasan_populate_vmalloc(): pages behind the shadow of an area. On failure what was populated stays,
    /// until the area is released.
    pub fn kasan_populate_vmalloc(&self, cx: &mut Ctx<'_>, start: Ea, bytes: u64) -> Kernel<()> {
        cx.call("kasan_populate_vmalloc", |cx| {
            let (mut shadow, end) = self.shadow_pages(start, bytes);
            if self.layout.version == KernelVersion::V2_6_38 {
                return self.apply_to_page_range(cx, shadow, end, &mut |linux, cx, ptep, _| {
                    linux.kasan_populate_vmalloc_pte(cx, ptep)
                });
            }
            while shadow < end {
                let next = self.addr_end(shadow, end, 1);
                let populated = self.populate_with_pages_at_hand(cx, shadow, next)?;
                if populated.is_err() {
                    return Ok(populated);
                }
                shadow = next;
            }
            Ok(Ok(()))
        })
    }

    /// The callback that allocates. One allocation in [`RECLAIM_ONE_IN`] sleeps, as any may.
    fn kasan_populate_vmalloc_pte(&self, cx: &mut Ctx<'_>, ptep: Ea) -> Kernel<()> {
        cx.call("kasan_populate_vmalloc_pte", |cx| {
            self.work(cx, Func::KasanPopulatePte)?;
            if cx.load_u64(ptep, "kasan_populate_vmalloc_pte: pte_none")? != 0 {
                return Ok(Ok(()));
            }
            let frame = match self.alloc_page(cx)? {
                Ok(frame) => frame,
                Err(errno) => return Ok(Err(errno)),
            };
            if (frame.get() / self.page_bytes()).is_multiple_of(RECLAIM_ONE_IN) {
                self.sleep_for_a_page(cx)?;
            }
            let used = self.shadow_set(cx, ptep, frame)?;
            if !used {
                self.free_page(cx, frame)?;
            }
            Ok(Ok(()))
        })
    }

    /// One PTE table of shadow: pages first, then the walk, then what was not used goes back.
    fn populate_with_pages_at_hand(&self, cx: &mut Ctx<'_>, start: Ea, end: Ea) -> Kernel<()> {
        let mut pages = Vec::new();
        let mut result = Ok(());
        for _ in 0..(end.get() - start.get()) / self.page_bytes() {
            match self.alloc_page(cx)? {
                Ok(frame) => pages.push(frame),
                Err(errno) => {
                    result = Err(errno);
                    break;
                }
            }
        }
        if result.is_ok() {
            result = self.apply_to_page_range(cx, start, end, &mut |linux, cx, ptep, _| {
                linux.work(cx, Func::KasanPopulatePte)?;
                let Some(&frame) = pages.last() else {
                    return Ok(Err(Errno::NoMemory));
                };
                if linux.shadow_set(cx, ptep, frame)? {
                    pages.pop();
                }
                Ok(Ok(()))
            })?;
        }
        for frame in pages {
            self.free_page(cx, frame)?;
        }
        Ok(result)
    }

    /// Fills a page and maps it under init_mm.page_table_lock; false if the PTE is set by now.
    fn shadow_set(&self, cx: &mut Ctx<'_>, ptep: Ea, frame: Ra) -> Run<bool> {
        for word in (0..self.page_bytes()).step_by(8) {
            cx.store_u64(field(va(frame), word), SHADOW_INVALID, "kasan: memset")?;
        }
        self.spin_lock(cx, Mm::INIT.page_table_lock())?;
        let empty = cx.load_u64(ptep, "kasan_populate_vmalloc_pte: pte_none")? == 0;
        if empty {
            self.set_pte_at(cx, ptep, self.layout.pte.kernel_pte(frame))?;
        }
        self.spin_unlock(cx, Mm::INIT.page_table_lock())?;
        Ok(empty)
    }

    /// kasan_release_vmalloc(): the shadow of an area, whose pages belong to it alone, is given back.
    pub fn kasan_release_vmalloc(&self, cx: &mut Ctx<'_>, start: Ea, bytes: u64) -> Run<()> {
        cx.call("kasan_release_vmalloc", |cx| {
            let (shadow, end) = self.shadow_pages(start, bytes);
            // The walk allocates nothing, so it cannot fail.
            self.apply_to_existing_page_range(cx, shadow, end, &mut |linux, cx, ptep, ea| {
                linux.kasan_depopulate_vmalloc_pte(cx, ptep, ea)?;
                Ok(Ok(()))
            })
            .map(|_| ())
        })
    }

    /// The callback of the release: the page is freed inside the section, while the flush of its
    /// translation may still wait in the batch.
    fn kasan_depopulate_vmalloc_pte(&self, cx: &mut Ctx<'_>, ptep: Ea, ea: Ea) -> Run<()> {
        self.work(cx, Func::KasanPopulatePte)?;
        let bits = self.layout.pte;
        self.spin_lock(cx, Mm::INIT.page_table_lock())?;
        let pte = cx.load_u64(ptep, "kasan_depopulate_vmalloc_pte: pte")?;
        let present = pte & bits.present != 0;
        if present {
            self.pte_clear(cx, Mm::INIT, ea, ptep)?;
        }
        self.spin_unlock(cx, Mm::INIT.page_table_lock())?;
        if present {
            self.free_page(cx, bits.frame(pte))?;
        }
        Ok(())
    }

    /// What an allocation that must wait for memory does: sleeps until somebody else has run.
    fn sleep_for_a_page(&self, cx: &mut Ctx<'_>) -> Run<()> {
        let here = cx.cpu_id();
        self.migrate_current(cx, here)
    }
}
