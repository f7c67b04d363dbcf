//! Invalidations of four CPUs under real threads: done when tlbsync is, and not before.

use super::*;
use emu_mmu::{Ea, HpteR, HpteV, PageSize, SegmentSize, SlbEntry, TlbInvalidate, Vpn};

const PAGE: PageSize = PageSize::P4K;
const SEGMENT: SegmentSize = SegmentSize::S256M;
const EA: Ea = Ea::new(0xd000_0000_0000_0000);
const POISON: u64 = 0xdead;
const SEEN: Ra = Ra::new(0x3000);

/// A page that CPU 0 moves from frame to frame while the others read it. What is read last of a frame that
/// was given up is poison.
struct Moving {
    hpte: Ra,
    v: HpteV,
    vpn: Vpn,
}

impl Moving {
    fn new(machine: &Machine) -> Self {
        let slb = Self::slb();
        let vpn = Vpn::from_ea(slb.vsid, EA, SEGMENT);
        let group = machine.hpt().primary(vpn.hash(SEGMENT, PAGE));
        Moving {
            hpte: machine.hpt().hpte_ra(group.slot(0)),
            v: HpteV::new(vpn, SEGMENT, PAGE).with_valid(),
            vpn,
        }
    }

    fn slb() -> SlbEntry {
        SlbEntry {
            esid: EA.esid(SEGMENT),
            vsid: emu_mmu::Vsid::new(0x1234),
            segment: SEGMENT,
            ks: false,
            kp: true,
            n: false,
            class: false,
            page: PAGE,
            valid: true,
        }
    }

    fn frame(i: u64) -> Ra {
        Ra::new(0x10_0000 + (i % 8) * 0x1000)
    }

    fn map(&self, cx: &mut Ctx<'_>, i: u64) -> Run<()> {
        cx.store_real_u64(Self::frame(i), i, "fill")?;
        let r = HpteR::new(Self::frame(i), PAGE, PAGE).with_flags(0x194);
        cx.store_real_u64(self.hpte + 8, r.0, "R")?;
        cx.barrier(Barrier::Eieio, "R before V")?;
        cx.store_real_u64(self.hpte, self.v.0, "V")
    }

    fn unmap(&self, cx: &mut Ctx<'_>, i: u64, completely: bool) -> Run<()> {
        cx.store_real_u64(self.hpte, 0, "V")?;
        cx.barrier(Barrier::Ptesync, "before")?;
        let operand = TlbInvalidate {
            vpn: self.vpn,
            segment: SEGMENT,
            base: PAGE,
            actual: PAGE,
            local: false,
        };
        cx.tlb_invalidate(operand, "tlbie")?;
        if completely {
            cx.barrier(Barrier::Eieio, "order")?;
            cx.barrier(Barrier::Tlbsync, "complete")?;
            cx.barrier(Barrier::Ptesync, "after")?;
        }
        cx.store_real_u64(Self::frame(i), POISON, "poison")
    }
}

/// How often a reader saw a frame that was given up.
fn poison_seen(completely: bool, rounds: u64) -> u64 {
    let mut engine = engine(4);
    let page = Arc::new(Moving::new(engine.machine()));
    for cpu in 0..4 {
        let page = page.clone();
        engine.start_cpu(
            cpu,
            Box::new(move |cx| {
                let slb = Moving::slb();
                cx.slbmte(slb.rs(), slb.rb(0))?;
                if cpu == 0 {
                    for i in 0..rounds {
                        page.map(cx, i)?;
                        cx.retire(200)?;
                        page.unmap(cx, i, completely)?;
                    }
                    return Ok(ContextEnd::Halt);
                }
                loop {
                    if cx.load_u64(EA, "read")? == POISON {
                        add(cx, SEEN)?;
                    }
                }
            }),
        );
    }
    engine.run_threads().unwrap();
    engine.machine().memory().load_u64(SEEN).unwrap()
}

#[test]
fn no_cpu_reads_through_an_old_translation_after_tlbsync() {
    assert_eq!(poison_seen(true, 4000), 0);
}

#[test]
fn without_tlbsync_some_cpu_does() {
    // Longer and longer: on a busy host the readers may begin late.
    assert!(
        (0..200).any(|i| poison_seen(false, 200 << (i / 20)) > 0),
        "the test sees a stale translation if there is one"
    );
}

#[test]
fn cpus_that_wait_for_each_others_invalidations_do_not_hang() {
    let mut engine = engine(4);
    let page = Arc::new(Moving::new(engine.machine()));
    for cpu in 0..4 {
        let page = page.clone();
        engine.start_cpu(
            cpu,
            Box::new(move |cx| {
                for i in 0..500 {
                    page.unmap(cx, i, true)?;
                }
                halt_together(cx, 4)
            }),
        );
    }
    let end = engine.run_threads().unwrap();
    let sent: u64 = end.cpus.iter().map(|cpu| cpu.counters.tlbie).sum();
    assert_eq!(sent, 2000);
}
