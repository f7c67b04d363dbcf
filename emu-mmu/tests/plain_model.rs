//! The MMU against a plain model of the architecture's text, on random machine states: SLB and table by
//! linear search, no buffers, one page at a time. The model shares the bit positions with nobody: it is
//! written from Power ISA 2.07 Book III-S 5.7 with the choices of QEMU 7.2.

use emu_mmu::*;
use proptest::prelude::*;

/// One access's outcome: real address, or vector, cause and address.
type Outcome = Result<u64, (u16, u32, u64)>;

#[derive(Clone, Copy, Debug)]
struct Cpu {
    one_t: bool,
    isa3: bool,
    keys: bool,
    /// log2 of base and actual page, LP bits that count, their value.
    codes: &'static [(u32, u32, u64, u64)],
}

const CODES_970: &[(u32, u32, u64, u64)] = &[(24, 24, 0xff, 0)];
const CODES_POWER7: &[(u32, u32, u64, u64)] = &[
    (12, 16, 0x0f, 0x07),
    (12, 24, 0xff, 0x38),
    (16, 16, 0x0f, 0x01),
    (16, 24, 0xff, 0x08),
    (24, 24, 0xff, 0x00),
];

const CPUS: [(Cpu, MmuFeatures); 3] = [
    (
        Cpu {
            one_t: false,
            isa3: false,
            keys: false,
            codes: CODES_970,
        },
        MmuFeatures::PPC970,
    ),
    (
        Cpu {
            one_t: true,
            isa3: false,
            keys: true,
            codes: CODES_POWER7,
        },
        MmuFeatures::POWER8,
    ),
    (
        Cpu {
            one_t: true,
            isa3: true,
            keys: true,
            codes: CODES_POWER7,
        },
        MmuFeatures::POWER9,
    ),
];

struct Model {
    cpu: Cpu,
    slb: Vec<(u64, u64)>,
    /// Doublewords by entry number, in the ISA 2.x layout.
    table: Vec<(u64, u64)>,
    amr: u64,
    iamr: u64,
}

impl Model {
    fn actual(&self, base: u32, dw0: u64, dw1: u64) -> Option<u32> {
        if dw0 & 4 == 0 {
            return (base == 12).then_some(12);
        }
        let lp = dw1 >> 12 & 0xff;
        let of_base = self.cpu.codes.iter().filter(|c| c.0 == base);
        let mut fits = of_base.filter(|c| lp & c.2 == c.3);
        // Real page number bits inside the page must be 0.
        let code = fits.find(|c| dw1 & 0x0FFF_FFFF_FFFF_F000 & ((1 << c.1) - 1) == c.3 << 12)?;
        Some(code.1)
    }

    fn search(&self, b: u64, vsid: u64, offset: u64, base: u32) -> Option<usize> {
        let page = offset >> base;
        let folded = if b == 1 { vsid ^ (vsid << 25) } else { vsid };
        let hash = (folded ^ page) & ((1 << 39) - 1);
        let va = u128::from(vsid) << if b == 1 { 40 } else { 28 } | u128::from(offset);
        let mut avpn = (va >> 23) as u64 & ((1 << 55) - 1);
        if base > 23 {
            avpn &= !((1 << (base - 23)) - 1);
        }
        for (h, group) in [(0, hash & 2047), (1, !hash & 2047)] {
            for slot in 0..8 {
                let index = (group * 8 + slot) as usize;
                let (dw0, dw1) = self.table[index];
                let here = dw0 & 1 == 1 && dw0 >> 1 & 1 == h && dw0 >> 62 == b;
                let page = dw0 >> 7 & ((1 << 55) - 1) == avpn;
                if here && page && self.actual(base, dw0, dw1).is_some() {
                    return Some(index);
                }
            }
        }
        None
    }

    fn access(&mut self, ea: u64, access: Access, pr: bool) -> Outcome {
        let fetch = access == Access::Fetch;
        let store = access == Access::Store;
        let covers = |(rb, rs): &(u64, u64)| {
            let shift = if rs >> 62 == 1 { 40 } else { 28 };
            rb & 0x0800_0000 != 0 && ea >> shift == rb >> shift
        };
        let Some(&(_, rs)) = self.slb.iter().find(|e| covers(e)) else {
            return Err((if fetch { 0x480 } else { 0x380 }, 0, ea));
        };
        let fault = |cause: u32| {
            let vector = if fetch { 0x400 } else { 0x300 };
            Err((vector, cause | if store { 0x0200_0000 } else { 0 }, ea))
        };
        if fetch && rs & 0x200 != 0 {
            return fault(0x1000_0000);
        }
        let base = match rs & 0x130 {
            0 => 12,
            0x110 => 16,
            _ => 24,
        };
        let b = rs >> 62;
        let shift = if b == 1 { 40 } else { 28 };
        let vsid = (rs & 0x3FFF_FFFF_FFFF_FFFF) >> if b == 1 { 24 } else { 12 };
        let Some(index) = self.search(b, vsid, ea & ((1 << shift) - 1), base) else {
            return fault(0x4000_0000);
        };
        let (dw0, dw1) = self.table[index];
        let key = rs & if pr { 0x400 } else { 0x800 } != 0;
        let rights = match (dw1 >> 63 << 2 | dw1 & 3, key) {
            (0 | 1, false) | (2, _) => "rw",
            (1, true) | (3, _) | (6, false) => "r",
            _ => "",
        };
        let class = (dw1 >> 60 & 3) << 3 | dw1 >> 9 & 7;
        let of_class = |register: u64| register << (2 * class) >> 62;
        let mut cause = 0;
        if fetch && dw1 & 0xc != 0 {
            cause = 0x1000_0000;
        } else if !rights.contains(if store { 'w' } else { 'r' }) {
            cause = 0x0800_0000;
        }
        let forbidden = match access {
            Access::Fetch => of_class(self.iamr) & 1,
            Access::Load => of_class(self.amr) & 1,
            Access::Store => of_class(self.amr) & 2,
        };
        if forbidden != 0 {
            cause |= 0x0020_0000;
        }
        if cause != 0 {
            return fault(cause);
        }
        self.table[index].1 |= if store { 0x180 } else { 0x100 };
        let inside = (1 << self.actual(base, dw0, dw1).expect("it matched")) - 1;
        Ok(dw1 & 0x0FFF_FFFF_FFFF_F000 & !inside | ea & inside)
    }
}

/// A mapping: segment, page in it, sizes, and what makes it go wrong.
#[derive(Clone, Debug)]
struct Mapping {
    segment: usize,
    page: u64,
    code: usize,
    secondary: bool,
    slot: u8,
    dw1: u64,
    flip: Option<u32>,
}

fn mapping() -> impl Strategy<Value = Mapping> {
    let flip = prop_oneof![4 => Just(None), 1 => (0u32..64).prop_map(Some)];
    let place = (0usize..4, 0u64..6, 0usize..6, any::<bool>(), 0u8..8);
    // pp0 and key bits 0:1, and the low twelve bits; W and I as they come.
    (place, any::<u64>(), flip).prop_map(|((segment, page, code, secondary, slot), bits, flip)| {
        let dw1 = bits & 0xB000_0000_0000_0FFF;
        Mapping {
            segment,
            page,
            code,
            secondary,
            slot,
            dw1,
            flip,
        }
    })
}

/// The words of `slbmte`: four segments of every size the CPU has, one of them overlapping.
fn slb(cpu: Cpu, seeds: &[u64; 4]) -> Vec<(u64, u64)> {
    let mut entries = Vec::new();
    for (i, seed) in seeds.iter().enumerate() {
        let b = u64::from(cpu.one_t && seed >> 8 & 1 == 1);
        let llp = [0, 0x110, 0x100][if cpu.one_t { i % 3 } else { i % 2 * 2 }];
        let esid = if b == 1 {
            seed >> 40 & 3
        } else {
            seed >> 28 & 3
        };
        let (esid_shift, vsid_shift) = if b == 1 { (40, 24) } else { (28, 12) };
        let keys = seed & 0xE80;
        let vsid = (seed >> 20 & 0xF_FFFF) << vsid_shift;
        entries.push((
            esid << esid_shift | 0x0800_0000 | i as u64,
            b << 62 | vsid | keys | llp,
        ));
    }
    entries
}

fn place(model: &mut Model, m: &Mapping) {
    let (_, rs) = model.slb[m.segment];
    let base = [(0, 12), (0x110, 16), (0x100, 24)]
        .into_iter()
        .find(|(llp, _)| rs & 0x130 == *llp)
        .map_or(12, |(_, base)| base);
    let codes: Vec<_> = model.cpu.codes.iter().filter(|c| c.0 == base).collect();
    let code = codes.get(m.code).copied();
    let b = rs >> 62;
    let vsid = (rs & 0x3FFF_FFFF_FFFF_FFFF) >> if b == 1 { 24 } else { 12 };
    let offset = m.page << base;
    let va = u128::from(vsid) << if b == 1 { 40 } else { 28 } | u128::from(offset);
    let mut avpn = (va >> 23) as u64;
    if base == 24 {
        avpn &= !1;
    }
    let folded = if b == 1 { vsid ^ (vsid << 25) } else { vsid };
    let hash = folded ^ m.page;
    let group = if m.secondary { !hash } else { hash } & 2047;
    let large = if code.is_some() || base != 12 { 4 } else { 0 };
    let rpn = match code {
        Some(c) => (m.page + 1) << c.1 | c.3 << 12,
        None => (m.page + 1) << 12,
    };
    let h = u64::from(m.secondary) << 1;
    let mut words = (b << 62 | avpn << 7 | large | h | 1, m.dw1 | rpn);
    match m.flip {
        Some(bit) if bit < 32 => words.0 ^= 1 << (bit % 16),
        Some(bit) => words.1 ^= 1 << (bit - 32),
        None => {}
    }
    model.table[(group * 8) as usize + usize::from(m.slot)] = words;
}

fn shown(result: Result<Ra, Fault>) -> Outcome {
    result.map(Ra::get).map_err(|fault| {
        let cause = match fault {
            Fault::DataStorage { dsisr, .. } => dsisr,
            Fault::InstructionStorage { srr1, .. } => srr1,
            _ => 0,
        };
        (fault.vector(), cause, fault.ea().get())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn the_mmu_agrees_with_a_plain_model(
        cpu in 0usize..3,
        seeds: [u64; 4],
        mappings in prop::collection::vec(mapping(), 1..24),
        keys: (u64, u64, bool),
        accesses in prop::collection::vec((0usize..4, 0u64..8, any::<u64>(), 0u8..3, any::<bool>()), 1..24),
        buffers: bool,
    ) {
        let (cpu, features) = CPUS[cpu];
        let on = cpu.keys && keys.2;
        let (amr, iamr) = if on { (keys.0, keys.1) } else { (0, 0) };
        let table = vec![(0, 0); 1 << 14];
        let mut model = Model { cpu, slb: slb(cpu, &seeds), table, amr, iamr };
        for m in &mappings {
            place(&mut model, m);
        }
        let memory = GuestMemory::new(1 << 19).expect("memory");
        let format = if cpu.isa3 { HpteFormat::Isa3 } else { HpteFormat::Isa2 };
        let hpt = Hpt::new(Ra::new(1 << 18), 11).expect("table").with_format(format);
        for (index, &(v, r)) in model.table.iter().enumerate().filter(|(_, e)| **e != (0, 0)) {
            let hpte = Hpte { v: HpteV(v), r: HpteR(r) };
            hpt.put(&memory, index as u64, hpte).expect("put");
            // What the layout cannot hold is not in the table.
            let held = hpt.get(&memory, index as u64).expect("get");
            prop_assume!(held == hpte);
        }
        let mut mmu = Mmu::with_features(&MmuGeometry::POWER8, features).expect("geometry");
        mmu.choices = Choices::QEMU;
        (mmu.registers.keys.amr, mmu.registers.keys.iamr) = (amr, iamr);
        for &(rb, rs) in &model.slb {
            mmu.slbmte(rs, rb).expect("slbmte");
        }
        for (segment, page, offset, access, pr) in accesses {
            let (rb, rs) = model.slb[segment];
            let base = match rs & 0x130 { 0 => 12, 0x110 => 16, _ => 24 };
            let inside = offset & ((1 << base) - 1);
            let ea = rb & !0xFFF_FFFF | (page << base | inside) & 0xFFF_FFFF;
            let access = [Access::Fetch, Access::Load, Access::Store][usize::from(access)];
            let state = AccessState { pr, ..AccessState::kernel() };
            if !buffers {
                mmu.tlb.invalidate_all();
                mmu.erat.invalidate_all();
                mmu.ierat.invalidate_all();
            }
            let ours = mmu.translate(&memory, &hpt, Ea::new(ea), access, state, &mut ());
            prop_assert_eq!(shown(ours), model.access(ea, access, pr), "{:#x} {:?}", ea, access);
            for (index, &(v, r)) in model.table.iter().enumerate().filter(|(_, e)| **e != (0, 0)) {
                let hpte = hpt.get(&memory, index as u64).expect("get");
                prop_assert_eq!((hpte.v.0, hpte.r.0), (v, r), "entry {}", index);
            }
        }
    }
}
