//! What an MMU does where the architecture leaves it undefined.
//!
//! Owns the choices, each with its own name. Refuses everything the architecture defines.

/// What several SLB entries for one address do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SlbMultihit {
    /// The lowest index translates.
    #[default]
    First,
    /// A machine check, as POWER7 to POWER9 report it (Linux 6.1 kernel/mce_power.c).
    MachineCheck,
}

/// What several entries of the table for one page do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum HptMultihit {
    /// The lowest slot of the primary group translates, then the lowest of the secondary one.
    #[default]
    First,
    /// A machine check, as POWER7 to POWER9 report a TLB multihit (Linux 6.1 kernel/mce_power.c). Both
    /// groups are read to the end, and entries that are the same in all bits count as several too.
    MachineCheck,
}

/// What is done about bits that software must keep 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum MustBeZero {
    /// They are not looked at.
    #[default]
    Ignored,
    /// They count: the entry matches only if they are 0.
    Compared,
}

/// What `larx` and `stcx.` do to storage that is Write Through Required or Caching Inhibited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum LarxUncached {
    /// A data storage interrupt with DSISR 0x04000000.
    #[default]
    DataStorage,
    /// They are performed.
    Performed,
}

/// What a TLB entry of a mixed page (an actual page larger than its segment's base page) serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum MixedPages {
    /// All of the actual page, also base pages that have no entry in the table.
    #[default]
    Whole,
    /// No other base page: the TLB keeps no mixed pages, so that each base page needs an entry of its
    /// own and gets its own R and C. QEMU 7.2, whose TLB holds 4 KB pieces, comes to the same.
    BasePage,
}

/// The choices. The default is what hardware most plausibly does: it ignores what it need not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Choices {
    /// Several SLB entries match.
    pub slb_multihit: SlbMultihit,
    /// Several entries of the table match.
    pub hpt_multihit: HptMultihit,
    /// AVPN bits inside the base page.
    pub avpn_low_bits: MustBeZero,
    /// Real page number bits between LP and the actual page.
    pub rpn_low_bits: MustBeZero,
    /// ESID bits 24:35 of a 1 TB SLB entry.
    pub slb_1t_low_esid: MustBeZero,
    /// The low 12 bits of the VSID field of a 1 TB SLB entry; compared means or-ed into what the
    /// search compares with AVPN.
    pub slb_1t_low_vsid: MustBeZero,
    /// The reach of a mixed page in the TLB.
    pub mixed_pages: MixedPages,
    /// `larx` and `stcx.` to W or I storage.
    pub larx_uncached: LarxUncached,
}

impl Choices {
    /// Whether these are the default ones.
    #[inline(always)]
    pub(crate) const fn are_default(&self) -> bool {
        let Choices {
            slb_multihit,
            hpt_multihit,
            avpn_low_bits,
            rpn_low_bits,
            slb_1t_low_esid,
            slb_1t_low_vsid,
            mixed_pages,
            larx_uncached,
        } = *self;
        // The default of each is its first value.
        let others = slb_multihit as u8
            | hpt_multihit as u8
            | avpn_low_bits as u8
            | rpn_low_bits as u8
            | slb_1t_low_esid as u8
            | slb_1t_low_vsid as u8
            | mixed_pages as u8
            | larx_uncached as u8;
        others == 0
    }

    /// As QEMU 7.2 chooses (target/ppc/mmu-hash64.c).
    pub const QEMU: Self = Self {
        slb_multihit: SlbMultihit::First,
        hpt_multihit: HptMultihit::First,
        avpn_low_bits: MustBeZero::Compared,
        rpn_low_bits: MustBeZero::Compared,
        slb_1t_low_esid: MustBeZero::Compared,
        slb_1t_low_vsid: MustBeZero::Compared,
        mixed_pages: MixedPages::BasePage,
        larx_uncached: LarxUncached::Performed,
    };
}

/// Where QEMU 7.2 is known not to do what the architecture says. All off but to reproduce it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Deviations {
    /// LPCR ISL counts in hypervisor state too.
    pub isl_in_hypervisor_state: bool,
    /// `dcbz` to W or I storage is performed.
    pub dcbz_uncached: bool,
}

impl Deviations {
    /// As QEMU 7.2.
    pub const QEMU: Self = Self {
        isl_in_hypervisor_state: true,
        dcbz_uncached: true,
    };
}
