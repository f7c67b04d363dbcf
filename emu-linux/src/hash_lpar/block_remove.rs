//! A batch flushed by H_BLOCK_REMOVE (Linux 6.1 arch/powerpc/platforms/pseries/lpar.c, `do_block_remove`): up
//! to eight pages of one aligned block of eight in a call.
//!
//! Owns how the entries of a batch are divided into calls, and asking again for those that were busy. The
//! kernel goes through the batch in its order and begins a call whenever the block changes, so pages that lie
//! apart cost a call each.

use super::{ENTRY, fatal};
use crate::config::{Backend, FirmwareFeature, KernelVersion, RunConfig, RunError};
use crate::functions::Func;
use crate::kernel::Linux;
use crate::mm::VirtualPage;
use emu_core::{Ctx, Run};
use emu_mmu::hcall::{
    BLOCK_ENTRIES_MAX, HBLKR_BUSY, HBLKR_CTRL_MASK, HBLKR_NOT_FOUND, HBR_END, block_request,
};
use emu_mmu::{Ea, Hcall, HpteIndex, PageSize, SegmentSize};

/// Pages of a block, log2.
const BLOCK_SHIFT: u32 = BLOCK_ENTRIES_MAX.ilog2();

/// The block that a page lies in.
fn block_of(page: VirtualPage) -> u64 {
    page.vpn.get() >> (page.size.shift() - PageSize::P4K.shift() + BLOCK_SHIFT)
}

/// True if the firmware has H_BLOCK_REMOVE (FW_FEATURE_BLOCK_REMOVE, Linux 4.17 and later). The recorded
/// machine did not offer it.
pub(crate) fn block_remove_is_offered(
    config: &RunConfig,
    version: KernelVersion,
) -> Result<bool, RunError> {
    let Some(feature) = config.firmware_feature else {
        return Ok(false);
    };
    let right = match (config.backend, version) {
        (Backend::Native, _) => "the kernel calls no firmware without `--backend lpar`",
        (_, KernelVersion::V2_6_38) => "2.6.38 does not know it; take `--kernel 6.1`",
        (Backend::Lpar, KernelVersion::V6_1) => return Ok(feature == FirmwareFeature::BlockRemove),
    };
    Err(RunError::Value {
        what: "--firmware-feature",
        value: feature.name().to_owned(),
        right: right.to_owned(),
    })
}

impl Linux {
    /// The pages of a batch, those of a block to a call.
    pub(super) fn do_block_remove(
        &self,
        cx: &mut Ctx<'_>,
        b: Ea,
        number: u64,
        sizes: (SegmentSize, PageSize),
    ) -> Run<()> {
        let mut pages: Vec<(VirtualPage, HpteIndex)> = Vec::with_capacity(BLOCK_ENTRIES_MAX);
        for i in 0..number {
            self.work(cx, Func::PseriesLparFlushHashRangeEntry)?;
            let (page, rpte) = self.batch_entry(cx, b, i, sizes, [ENTRY; 2])?;
            for (page, index) in self.recorded_slots(page, rpte) {
                let full = pages.len() == BLOCK_ENTRIES_MAX;
                if full
                    || pages
                        .first()
                        .is_some_and(|&(first, _)| block_of(first) != block_of(page))
                {
                    self.h_block_remove(cx, &mut pages)?;
                }
                pages.push((page, index));
            }
        }
        if !pages.is_empty() {
            self.h_block_remove(cx, &mut pages)?;
        }
        Ok(())
    }

    /// H_BLOCK_REMOVE of pages of one block, each from its slot, until none is busy. Leaves `pages` empty.
    fn h_block_remove(
        &self,
        cx: &mut Ctx<'_>,
        pages: &mut Vec<(VirtualPage, HpteIndex)>,
    ) -> Run<()> {
        while let Some(&(first, _)) = pages.first() {
            let mut words = [HBR_END; BLOCK_ENTRIES_MAX];
            for (word, &(_, index)) in words.iter_mut().zip(pages.iter()) {
                *word = block_request(index);
            }
            let block = self.hpte_pattern(first);
            let done = self.hcall(cx, Hcall::BlockRemove, |hv, table| {
                hv.block_remove(table, block, &mut words)
            })?;
            if let Err(error) = done {
                return fatal(error);
            }
            let mut answers = words.iter();
            pages.retain(|&(page, _)| {
                match answers.next().map_or(0, |word| word & HBLKR_CTRL_MASK) {
                    HBLKR_BUSY => return true,
                    HBLKR_NOT_FOUND => self.note_nothing_to_remove(cx, page),
                    _ => self.count(&self.counters.hpte_invalidations),
                }
                false
            });
        }
        Ok(())
    }
}
