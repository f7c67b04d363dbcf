//! A vector against the MMU.

use super::format::{Expect, Hex, RecordedAccess, RecordedCpu, RecordedKind, Vector};
use super::{VectorError, format::RecordedHpte};
use crate::access::{Accessed, Storage};
use crate::addr::{Ea, HpteIndex, PageSize, Ra};
use crate::choices::{Choices, Deviations, LarxUncached};
use crate::fault::Fault;
use crate::hpt::Hpt;
use crate::hpte::HpteR;
use crate::memory::GuestMemory;
use crate::registers::Lpcr;
use crate::replace::{Replacement, TlbGeometry};
use crate::translate::{AccessState, Mmu, MmuFeatures, MmuGeometry};
use core::fmt;

/// Bytes of memory that vectors run in; only what they touch costs.
const MEMORY_BYTES: u64 = 16 << 30;
/// Buffers are empty before every access, so the smallest will do.
const SMALL: TlbGeometry = TlbGeometry { sets: 1, ways: 4 };

/// One access whose result was not the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which access of the vector, from 0.
    pub access: usize,
    /// What was recorded.
    pub recorded: String,
    /// What this crate gives.
    pub ours: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            access,
            recorded,
            ours,
        } = self;
        write!(f, "access {access}: recorded {recorded}; here {ours}")
    }
}

/// How a vector came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every access gave what was recorded.
    Passed,
    /// The recording departs from the architecture in a known way: with that departure switched on
    /// every access gives what was recorded. Holds where the architecture's answer is another, which
    /// may be nowhere.
    Deviates(Vec<Difference>),
    /// Something differs.
    Failed(Vec<Difference>),
}

/// Runs vectors, one after another, in one memory.
#[derive(Debug)]
pub struct Runner {
    memory: GuestMemory,
    choices: Choices,
}

/// What one access gave: `Ok(None)` for a hint.
type Given = Result<Option<Accessed>, Fault>;

impl Runner {
    /// A runner that decides what the architecture leaves undefined as QEMU 7.2 does.
    ///
    /// # Errors
    /// [`VectorError::Setup`] if the host has no address space for it.
    pub fn new() -> Result<Self, VectorError> {
        Self::with_choices(Choices::QEMU)
    }

    /// A runner that decides by these choices.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_choices(choices: Choices) -> Result<Self, VectorError> {
        let memory = GuestMemory::new(MEMORY_BYTES)?;
        Ok(Self { memory, choices })
    }

    /// Sets a vector's state up, makes its accesses and compares.
    ///
    /// # Errors
    /// [`VectorError`] for a state that cannot be set up.
    pub fn run(&mut self, vector: &Vector) -> Result<Verdict, VectorError> {
        let marked = vector.qemu_deviates.is_some();
        let mut choices = self.choices;
        if marked {
            // The recording is questioned there: what it shows settles nothing.
            choices.larx_uncached = LarxUncached::default();
        }
        let ours = self.differences(vector, choices, Deviations::default())?;
        if ours.is_empty() && !marked {
            return Ok(Verdict::Passed);
        }
        if marked {
            choices.larx_uncached = Choices::QEMU.larx_uncached;
        }
        let as_recorded = self.differences(vector, choices, Deviations::QEMU)?;
        Ok(if as_recorded.is_empty() {
            Verdict::Deviates(ours)
        } else {
            Verdict::Failed(as_recorded)
        })
    }

    fn differences(
        &mut self,
        vector: &Vector,
        choices: Choices,
        deviations: Deviations,
    ) -> Result<Vec<Difference>, VectorError> {
        let (mut mmu, hpt) = machine(vector)?;
        mmu.choices = choices;
        mmu.deviations = deviations;
        let memory = |error| VectorError::Memory {
            id: vector.id,
            error,
        };
        let entries = hpt.groups() * 8;
        if let Some(hpte) = vector.hptes.iter().find(|h| h.index >= entries) {
            let (id, index) = (vector.id, hpte.index);
            return Err(VectorError::Index { id, index, entries });
        }
        for h in &vector.hptes {
            self.store_hpte(&hpt, h, h.dw0.0, h.dw1.0).map_err(memory)?;
        }
        let mut differences = Vec::new();
        for (i, access) in vector.accesses.iter().enumerate() {
            mmu.tlb.invalidate_all();
            mmu.erat.invalidate_all();
            mmu.ierat.invalidate_all();
            let given = give(&mut mmu, &self.memory, &hpt, access);
            let rc = self.rc(&hpt, &vector.hptes).map_err(memory)?;
            if !agrees(&given, &access.expect) || rc != access.rc_after {
                differences.push(Difference {
                    access: i,
                    recorded: said(&expected(&access.expect), &access.rc_after),
                    ours: said(&shown(&given), &rc),
                });
            }
        }
        for h in &vector.hptes {
            self.store_hpte(&hpt, h, 0, 0).map_err(memory)?;
        }
        Ok(differences)
    }

    fn store_hpte(
        &self,
        hpt: &Hpt,
        hpte: &RecordedHpte,
        dw0: u64,
        dw1: u64,
    ) -> Result<(), crate::memory::MemoryError> {
        let ra = hpt.hpte_ra(HpteIndex(hpte.index));
        self.memory.store_u64(ra + 8, dw1)?;
        self.memory.store_u64(ra, dw0)
    }

    /// 2 R + C of each entry; `x` for one that changed in any other bit.
    fn rc(&self, hpt: &Hpt, hptes: &[RecordedHpte]) -> Result<String, crate::memory::MemoryError> {
        let mut digits = String::with_capacity(hptes.len());
        for h in hptes {
            let ra = hpt.hpte_ra(HpteIndex(h.index));
            let (dw0, dw1) = (self.memory.load_u64(ra)?, self.memory.load_u64(ra + 8)?);
            let others = !(HpteR::R | HpteR::C);
            let same = dw0 == h.dw0.0 && (dw1 ^ h.dw1.0) & others == 0;
            digits.push(match (same, dw1 & HpteR::R != 0, dw1 & HpteR::C != 0) {
                (false, _, _) => 'x',
                (true, false, false) => '0',
                (true, false, true) => '1',
                (true, true, false) => '2',
                (true, true, true) => '3',
            });
        }
        Ok(digits)
    }
}

/// The MMU and table of a vector, the table still empty.
fn machine(vector: &Vector) -> Result<(Mmu, Hpt), VectorError> {
    let (slb_entries, features) = match vector.cpu {
        RecordedCpu::Ppc970 => (64, MmuFeatures::PPC970),
        RecordedCpu::Power5Plus => (64, MmuFeatures::POWER5_PLUS),
        RecordedCpu::Power8 => (32, MmuFeatures::POWER8),
        RecordedCpu::Power9 => (32, MmuFeatures::POWER9),
    };
    let geometry = MmuGeometry {
        slb_entries,
        erat: SMALL,
        ierat: SMALL,
        tlb: SMALL,
        erat_replacement: Replacement::Lru,
        tlb_replacement: Replacement::Lru,
    };
    let id = vector.id;
    let mut mmu = Mmu::with_features(&geometry, features)?;
    mmu.registers.keys.amr = vector.amr.0;
    mmu.registers.keys.iamr = vector.iamr.0;
    mmu.registers.lpcr = Lpcr(vector.lpcr.0);
    for slb in &vector.slb {
        mmu.slbmte(slb.rs.0, slb.rb.0)
            .map_err(|error| VectorError::Slb { id, error })?;
    }
    let hpt_error = |error| VectorError::Hpt { id, error };
    let hpt = match (vector.sdr1, vector.pate0) {
        (_, Some(Hex(dw0))) => {
            let (hpt, page) = Hpt::from_partition_entry(dw0).map_err(hpt_error)?;
            mmu.registers.vrma_ps = page.unwrap_or(PageSize::P4K);
            hpt
        }
        (sdr1, None) => Hpt::from_sdr1(sdr1.unwrap_or_default().0).map_err(hpt_error)?,
    };
    Ok((mmu, hpt))
}

/// Makes one access.
fn give(mmu: &mut Mmu, memory: &GuestMemory, hpt: &Hpt, access: &RecordedAccess) -> Given {
    use RecordedKind as K;
    let on = |bit: Option<u8>| bit.unwrap_or(1) != 0;
    let fetch = access.kind == K::Fetch;
    let state = AccessState {
        pr: access.pr != 0,
        ir: fetch || access.pr != 0,
        dr: on(access.dr),
        hv: on(access.hv),
        sf: on(access.sf),
    };
    let ea = Ea::new(access.ea.0);
    let storage = match access.kind {
        K::Ld => Storage::Load(8),
        K::Lwz => Storage::Load(4),
        K::Std => Storage::Store(8),
        K::Stw => Storage::Store(4),
        K::Sth => Storage::Store(2),
        K::Stb => Storage::Store(1),
        K::Ldarx | K::LdarxStdcx => Storage::LoadReserve(8),
        K::Dcbz => Storage::Dcbz,
        K::Dcbst | K::Dcbf => Storage::Dcbst,
        K::Icbi => Storage::Icbi,
        K::Dcbt => Storage::Dcbt,
        K::Fetch => Storage::Fetch,
    };
    let given = mmu.access(memory, hpt, ea, storage, state, &mut ())?;
    if access.kind == K::LdarxStdcx {
        let store = Storage::StoreConditional(8);
        return mmu.access(memory, hpt, ea, store, state, &mut ());
    }
    Ok(given)
}

/// Whether a result is the recorded one, as far as that says.
fn agrees(given: &Given, expect: &Expect) -> bool {
    let is = |recorded: Option<Hex>, ours: u64| recorded.is_none_or(|Hex(value)| value == ours);
    let fault = match given {
        Ok(accessed) => {
            let ra = accessed.map(|a| a.ra.get());
            let ra2 = accessed.and_then(|a| a.next_page).map(Ra::get);
            let reached = match expect.ra {
                Some(Hex(value)) => ra == Some(value) && ra2 == expect.ra2.map(|r| r.0),
                None => expect.ok.is_some_and(|ok| ok == 1),
            };
            return expect.vector.is_none() && reached;
        }
        Err(fault) => fault,
    };
    if expect.vector != Some(Hex(u64::from(fault.vector()))) {
        return false;
    }
    match *fault {
        Fault::DataStorage { dar, dsisr } => {
            is(expect.dar, dar.get()) && is(expect.dsisr, dsisr.into())
        }
        Fault::DataSegment { dar } | Fault::Alignment { dar } => is(expect.dar, dar.get()),
        Fault::InstructionStorage { srr1, .. } => is(expect.srr1, srr1.into()),
        Fault::HypervisorDataStorage { hdar, hdsisr } => {
            is(expect.hdar, hdar.get()) && is(expect.hdsisr, hdsisr.into())
        }
        Fault::HypervisorInstructionStorage { hsrr1, .. } => is(expect.srr1, hsrr1.into()),
        Fault::InstructionSegment { .. }
        | Fault::MachineCheck { .. }
        | Fault::SlbMultihit { .. }
        | Fault::TlbMultihit { .. } => true,
    }
}

fn said(result: &str, rc: &str) -> String {
    format!("{result}, RC {rc}")
}

fn shown(given: &Given) -> String {
    match given {
        Err(fault) => format!("{fault} (vector {:#x})", fault.vector()),
        Ok(None) => "nothing done".to_owned(),
        Ok(Some(Accessed { ra, next_page })) => match next_page {
            None => format!("real address {ra}"),
            Some(next) => format!("real addresses {ra} and {next}"),
        },
    }
}

fn expected(expect: &Expect) -> String {
    let fields = [
        ("real address", expect.ra),
        ("and", expect.ra2),
        ("vector", expect.vector),
        ("DSISR", expect.dsisr),
        ("DAR", expect.dar),
        ("SRR1", expect.srr1),
        ("HDSISR", expect.hdsisr),
        ("HDAR", expect.hdar),
    ];
    let text: Vec<String> = fields
        .into_iter()
        .filter_map(|(name, value)| value.map(|Hex(value)| format!("{name} {value:#x}")))
        .collect();
    if text.is_empty() {
        "no fault".to_owned()
    } else {
        text.join(" ")
    }
}
