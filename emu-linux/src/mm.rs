//! Address spaces: the mm_struct in guest memory and what hangs on it.
//!
//! Owns the name of an address space and its virtual pages. Refuses page tables (`pgtable`).

use crate::kernel::Linux;
use crate::memmap::{field, global, mm as mm_struct};
use emu_core::{Ctx, Run};
use emu_mmu::{Ea, PageSize, SegmentSize, Vpn};

/// An address space, by the address of its mm_struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mm(Ea);

impl Mm {
    /// init_mm: the kernel's own.
    pub const INIT: Mm = Mm(global::INIT_MM);

    /// The address space whose mm_struct lies at `address`.
    pub const fn at(address: Ea) -> Self {
        Mm(address)
    }

    /// Address of the mm_struct.
    pub const fn address(self) -> Ea {
        self.0
    }

    /// True for the kernel's own.
    #[inline]
    pub fn is_init(self) -> bool {
        self == Mm::INIT
    }

    /// Address of its page_table_lock.
    pub const fn page_table_lock(self) -> Ea {
        field(self.0, mm_struct::PAGE_TABLE_LOCK)
    }

    /// Address of its CPU mask.
    pub(crate) const fn cpumask(self) -> Ea {
        field(self.0, mm_struct::CPUMASK)
    }
}

/// A virtual page: its number, its segment size and its own, which together decide its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualPage {
    /// Virtual page number.
    pub vpn: Vpn,
    /// Size of the segment it lies in.
    pub segment: SegmentSize,
    /// Size of its HPTE.
    pub size: PageSize,
}

impl VirtualPage {
    /// The 4K piece of a 64K page that begins here.
    pub(crate) fn piece(self, piece: u64) -> VirtualPage {
        VirtualPage {
            vpn: self.vpn.wrapping_add(piece),
            ..self
        }
    }
}

impl Linux {
    /// The virtual page of a kernel address, of the size that its segment has.
    #[inline]
    pub(crate) fn kernel_page(&self, ea: Ea) -> VirtualPage {
        // Most are of the segment that vmalloc begins in.
        let (esid, first) = self.first_vmalloc_segment;
        let vsid = match ea.esid(self.segment) == esid {
            true => first,
            false => self.layout.kernel_vsid(ea, self.segment),
        };
        VirtualPage {
            vpn: Vpn::from_ea(vsid, ea, self.segment).align_down(self.hpte_page),
            segment: self.segment,
            size: self.hpte_page,
        }
    }

    /// Segment size of a user address: 1T at or above 1 TiB where the CPU has such segments, else 256M.
    pub(crate) fn user_segment(&self, ea: Ea) -> SegmentSize {
        if ea.get() >> 40 == 0 {
            SegmentSize::S256M
        } else {
            self.segment
        }
    }

    /// The virtual page of an address in an address space, of the size that its segment has.
    #[inline]
    pub(crate) fn virtual_page(&self, cx: &mut Ctx<'_>, mm: Mm, ea: Ea) -> Run<VirtualPage> {
        if mm.is_init() {
            return Ok(self.kernel_page(ea));
        }
        let context = cx.load_u64(field(mm.address(), mm_struct::CONTEXT), "get_vsid: context")?;
        let segment = self.user_segment(ea);
        let vsid = self.layout.user_vsid(context, ea, segment);
        Ok(VirtualPage {
            vpn: Vpn::from_ea(vsid, ea, segment).align_down(self.hpte_page),
            segment,
            size: self.hpte_page,
        })
    }

    /// Root of an address space's page table.
    #[inline]
    pub(crate) fn pgd(&self, cx: &mut Ctx<'_>, mm: Mm) -> Run<Ea> {
        if mm.is_init() {
            return Ok(global::SWAPPER_PG_DIR);
        }
        Ok(Ea::new(cx.load_u64(
            field(mm.address(), mm_struct::PGD),
            "mm->pgd",
        )?))
    }
}
