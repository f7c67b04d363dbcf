//! The hash-fault path: from a storage interrupt to an entry in the hash table, with the BUSY and
//! HASHPTE protocol on the Linux PTE and no lock.
//!
//! Owns `hash_page`; what is different with 64K pages is in `large`. Refuses page faults: what has no PTE to hash goes to do_page_fault.

mod large;

use crate::config::{Pages, Preempt};
use crate::functions::Func;
use crate::kernel::{Errno, Linux};
use crate::layout::pa;
use crate::mm::{Mm, VirtualPage};
use crate::mutation::Mutation;
use crate::tracepoint::Tracepoint;
use emu_core::{Ctx, Exception, Run, Step};
use emu_mmu::{Ea, Fault, HpteIndex, HpteR, PageSize};

const DSISR_STORE: u32 = 0x0200_0000;
const DSISR_NO_HPTE: u32 = 0x4000_0000;

/// What hash_page answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashResult {
    /// Retry the access.
    Retry,
    /// Not for the hash table: do_page_fault.
    PageFault,
}

/// A page to be hashed and its Linux PTE.
#[derive(Clone, Copy)]
struct HashTarget {
    page: VirtualPage,
    ptep: Ea,
}

/// The access that a page is hashed for.
#[derive(Clone, Copy)]
struct HashAccess {
    /// Bits that the PTE must have.
    bits: u64,
    store: bool,
    /// The hardware had found no HPTE.
    no_hpte: bool,
}

/// Steps of a claim: the reserving load and the store.
const CLAIM_4K: [Step; 2] = [
    "__hash_page_4K: ldarx pte",
    "__hash_page_4K: stdcx. pte busy",
];

/// What a claim of a PTE found.
enum Claim {
    /// The PTE before, and the value now stored with BUSY set.
    Claimed(u64, u64),
    Answer(HashResult),
}

impl Linux {
    /// Data storage interrupt (0x300). Interrupts are off until it turns out to be a page fault.
    pub(crate) fn data_storage(
        &self,
        cx: &mut Ctx<'_>,
        fault: Fault,
        ea: Ea,
        dsisr: u32,
    ) -> Run<()> {
        let store = dsisr & DSISR_STORE != 0;
        let no_hpte = dsisr & DSISR_NO_HPTE != 0;
        let mm = self.mm_of(cx, ea)?;
        if let Some(mm) = mm {
            let result = self.hash_page(cx, mm, ea, store, no_hpte)?;
            self.trace(cx, Tracepoint::HashFaultReturn { ea: ea.get() });
            if result == HashResult::Retry {
                return self.return_from_fault(cx, mm);
            }
        }
        let mm = match mm {
            Some(mm) if !mm.is_init() => mm,
            _ => {
                // There is no populate-on-fault for kernel addresses on this architecture: an oops.
                self.work(cx, Func::DoPageFault)?;
                return Err(Exception::Fault(fault));
            }
        };
        cx.set_interrupts(true)?;
        let mut handled = self.user_page_fault(cx, mm, ea, store)?;
        if handled == Err(Errno::NoMemory) {
            // pagefault_out_of_memory(): whoever is not killed tries again.
            handled = self.user_page_fault(cx, mm, ea, store)?;
        }
        cx.set_interrupts(false)?;
        handled.map_err(|_| Exception::Fault(fault))
    }

    /// The way back to a user program: without kernel preemption a used-up slice ends here too.
    fn return_from_fault(&self, cx: &mut Ctx<'_>, mm: Mm) -> Run<()> {
        if mm.is_init() || self.preempt != Preempt::None || !self.need_resched(cx)? {
            return Ok(());
        }
        cx.set_interrupts(true)?;
        self.schedule(cx)?;
        cx.set_interrupts(false).map(|_| ())
    }

    /// The address space that an address belongs to: init_mm for vmalloc and ioremap, the task's own for region 0.
    fn mm_of(&self, cx: &mut Ctx<'_>, ea: Ea) -> Run<Option<Mm>> {
        if self.layout.is_kernel_mapped(ea) {
            return Ok(Some(Mm::INIT));
        }
        if ea.get() >> 60 == 0 {
            self.current_mm(cx)
        } else {
            Ok(None)
        }
    }

    /// hash_page().
    pub(crate) fn hash_page(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        ea: Ea,
        store: bool,
        no_hpte: bool,
    ) -> Run<HashResult> {
        self.work(cx, Func::HashPage)?;
        self.count(&self.counters.hash_faults);
        self.trace(cx, Tracepoint::HashFault { ea: ea.get() });
        let Some(ptep) = self.find_pte(cx, mm, ea)? else {
            return Ok(HashResult::PageFault);
        };
        let pte = cx.load_u64(ptep, "hash_page: pre-check")?;
        let access = self.layout.access_bits(!mm.is_init(), store);
        if pte & access != access {
            return Ok(HashResult::PageFault);
        }
        self.hash_pte(cx, mm, ea, ptep, access, store, no_hpte)
    }

    /// hash_preload(): hashes a page that was just mapped. Interrupts are off, the page-table lock is held.
    pub(crate) fn hash_preload(&self, cx: &mut Ctx<'_>, mm: Mm, ea: Ea, ptep: Ea) -> Run<()> {
        self.work(cx, Func::HashPage)?;
        let access = self.layout.pte.present;
        self.hash_pte(cx, mm, ea, ptep, access, false, true)
            .map(|_| ())
    }

    /// The way into the hash table that the kernel's page size and the segment's leave.
    #[expect(
        clippy::too_many_arguments,
        reason = "a fault, and what it was answered so far"
    )]
    fn hash_pte(
        &self,
        cx: &mut Ctx<'_>,
        mm: Mm,
        ea: Ea,
        ptep: Ea,
        access: u64,
        store: bool,
        no_hpte: bool,
    ) -> Run<HashResult> {
        let page = self.virtual_page(cx, mm, ea)?;
        let target = HashTarget { page, ptep };
        let fault = HashAccess {
            bits: access,
            store,
            no_hpte,
        };
        match (self.layout.pages, page.size) {
            (Pages::K4, _) => self.hash_page_4k(cx, target, fault),
            (Pages::K64, PageSize::P4K) => self.hash_piece(cx, target, fault),
            (Pages::K64, _) => self.hash_page_64k(cx, target, fault),
        }
    }

    /// __hash_page_4K().
    fn hash_page_4k(
        &self,
        cx: &mut Ctx<'_>,
        target: HashTarget,
        access: HashAccess,
    ) -> Run<HashResult> {
        self.work(cx, Func::HashPage4k)?;
        let HashTarget { page, ptep } = target;
        let (old, mut new) = match self.claim_pte(cx, ptep, access, 0, CLAIM_4K)? {
            Claim::Claimed(old, new) => (old, new),
            Claim::Answer(answer) => return Ok(answer),
        };
        cx.barrier(emu_mmu::Barrier::Isync, "__hash_page_4K: isync")?;
        let bits = self.layout.pte;
        let flags = self.layout.hpte_flags(new);
        if old & bits.hashpte != 0 {
            let index = self.slot_of(page, bits.hidx(old));
            let step = "__hash_page_4K: store updated pte";
            if self.update_in_place(cx, (target, index), flags, access, (new, step))? {
                return Ok(HashResult::Retry);
            }
        }
        new = (new & !bits.hpteflags()) | bits.hashpte;
        let r = HpteR::new(bits.frame(new), PageSize::P4K, PageSize::P4K).with_flags(flags);
        let hidx = self.insert_somewhere(cx, page, r)?;
        self.count(&self.counters.hpte_inserts);
        if self.mutated(Mutation::DoubleInsert) {
            self.insert_somewhere(cx, page, r)?;
        }
        if self.mutated(Mutation::ForgetUnlock) {
            new |= bits.busy;
        }
        cx.store_u64(
            ptep,
            new | bits.hidx_bits(hidx),
            "__hash_page_4K: store pte, drop busy",
        )?;
        Ok(HashResult::Retry)
    }

    /// An entry that is where the PTE says it is gets the new protection, and the PTE its new value without
    /// BUSY; false if it is not there.
    fn update_in_place(
        &self,
        cx: &mut Ctx<'_>,
        (HashTarget { page, ptep }, index): (HashTarget, HpteIndex),
        flags: u64,
        access: HashAccess,
        (new, step): (u64, Step),
    ) -> Run<bool> {
        let updated = self.hpte_updatepp(cx, index, page, flags, access.no_hpte)?;
        if updated {
            cx.store_u64(ptep, new & !self.layout.pte.busy, step)?;
        }
        Ok(updated)
    }

    /// Sets BUSY on the PTE if the access is allowed and nobody works on it. The order of the two checks
    /// differs between the kernels. Sets the bits `set` with it.
    fn claim_pte(
        &self,
        cx: &mut Ctx<'_>,
        ptep: Ea,
        access: HashAccess,
        set: u64,
        steps: [Step; 2],
    ) -> Run<Claim> {
        let bits = self.layout.pte;
        loop {
            let busy = |old| old & bits.busy != 0;
            let denied = |old| old & access.bits != access.bits;
            let claimed = |old| {
                let mut new = old | bits.busy | bits.accessed | set;
                if self.layout.hashpte_with_busy {
                    new |= bits.hashpte;
                }
                if access.store {
                    new |= bits.dirty;
                }
                new
            };
            let change = |old| (!busy(old) && !denied(old)).then(|| claimed(old));
            let (old, changed) = cx.exchange_u64(ptep, steps, change)?;
            if changed {
                return Ok(Claim::Claimed(old, claimed(old)));
            }
            if busy(old) && (self.layout.busy_before_access || !denied(old)) {
                return Ok(Claim::Answer(HashResult::Retry));
            }
            if denied(old) {
                return Ok(Claim::Answer(HashResult::PageFault));
            }
        }
    }

    /// Hashes a page as if its segment had pages of a size; for tests.
    #[cfg(test)]
    pub(crate) fn hash_as(&self, cx: &mut Ctx<'_>, ea: Ea, ptep: Ea, size: PageSize) -> Run<()> {
        let page = VirtualPage {
            size,
            ..self.kernel_page(ea)
        };
        let access = HashAccess {
            bits: self.layout.access_bits(false, true),
            store: true,
            no_hpte: true,
        };
        let target = HashTarget { page, ptep };
        let answer = match size {
            PageSize::P4K => self.hash_piece(cx, target, access)?,
            _ => self.hash_page_64k(cx, target, access)?,
        };
        assert_eq!(answer, HashResult::Retry);
        Ok(())
    }

    /// What a store to a PTE would be answered without being claimed; for tests.
    #[cfg(test)]
    pub(crate) fn answer_of_claim(
        &self,
        cx: &mut Ctx<'_>,
        ptep: Ea,
        bits: u64,
    ) -> Run<Option<HashResult>> {
        let access = HashAccess {
            bits,
            store: true,
            no_hpte: true,
        };
        Ok(match self.claim_pte(cx, ptep, access, 0, CLAIM_4K)? {
            Claim::Claimed(..) => None,
            Claim::Answer(answer) => Some(answer),
        })
    }

    /// Inserts into the primary group, else the secondary, else evicts from one of them and tries again.
    /// Gives the slot record. Nothing checks whether another entry for the page exists. A slot that the record
    /// cannot hold is given back, and one of the primary group is made free instead.
    fn insert_somewhere(&self, cx: &mut Ctx<'_>, page: VirtualPage, r: HpteR) -> Run<u64> {
        let hash = page.vpn.hash(page.segment, page.size);
        let (primary, secondary) = (self.hpt.primary(hash), self.hpt.secondary(hash));
        loop {
            if let Some(hidx) = self.hpte_insert(cx, primary, page, r, false)? {
                return Ok(hidx);
            }
            let hidx = self.hpte_insert(cx, secondary, page, r, true)?;
            let unusable = hidx.filter(|&hidx| self.layout.pte.is_unusable(hidx));
            if let Some(hidx) = unusable {
                self.hpte_invalidate(cx, self.slot_of(page, hidx), page, false)?;
            } else if let Some(hidx) = hidx {
                return Ok(hidx);
            }
            let victim = if unusable.is_some() || cx.timebase_bits(1)? == 1 {
                primary
            } else {
                secondary
            };
            if self.hpte_remove(cx, victim)? {
                self.count(&self.counters.hpte_evictions);
            }
        }
    }

    /// SLB miss (0x380): real mode, no locks. Round robin over the slots that are not
    /// bolted, without a search for a free one.
    pub(crate) fn slb_miss(&self, cx: &mut Ctx<'_>, fault: Fault, ea: Ea) -> Run<()> {
        use crate::memmap::{field, pcpu, percpu};
        self.work(cx, Func::SlbMiss)?;
        let linear = ea.get() >> 60 == 0xc && pa(ea).get() < cx.machine().memory().len();
        let user = ea.get() >> 60 == 0;
        if !linear && !user && !self.layout.is_kernel_mapped(ea) {
            return Err(Exception::Fault(fault));
        }
        let entries = cx.slb_entries();
        let bolted = if self.layout.vmalloc_segment_bolted {
            3
        } else {
            2
        };
        let rr = pa(field(percpu(cx.cpu_id().0), pcpu::STAB_RR));
        let mut slot = cx.load_real_u64(rr, "slb_miss: stab_rr")? + 1;
        if slot >= entries {
            slot = bolted;
        }
        cx.store_real_u64(rr, slot, "slb_miss: stab_rr")?;
        if user {
            self.slb_miss_user(cx, ea, slot)
        } else {
            self.slbmte_kernel(cx, ea, slot)
        }
    }

    /// slbmte of the segment of a kernel address into a slot. The linear map has 16M pages.
    pub(crate) fn slbmte_kernel(&self, cx: &mut Ctx<'_>, ea: Ea, slot: u64) -> Run<()> {
        let page = if self.layout.is_kernel_mapped(ea) {
            self.hpte_page
        } else {
            PageSize::P16M
        };
        let entry = emu_mmu::SlbEntry {
            esid: ea.esid(self.segment),
            vsid: self.layout.kernel_vsid(ea, self.segment),
            segment: self.segment,
            ks: false,
            kp: true,
            n: false,
            class: false,
            page,
            valid: true,
        };
        cx.slbmte(entry.rs(), entry.rb(slot))
    }
}
