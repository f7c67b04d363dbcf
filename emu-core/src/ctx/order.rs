//! Verbs of invalidation and order: tlbie, barriers, the SLB.
//!
//! Owns what these cost and how a global invalidation reaches the other CPUs. Refuses to know which
//! sequence is right: that is software's.

use super::Ctx;
use crate::cost::Category;
use crate::cpu::Cpu;
use crate::exception::{Exception, Run, Step};
use crate::guest::Pause;
use crate::machine::Machine;
use crate::probe::{Event, Interest};
use crate::script::Verb;
use emu_mmu::{Barrier, Ea, TlbInvalidate};
use std::sync::atomic::{Ordering, fence};

/// tlbie or tlbiel: what it does here, what it costs, and who hears of it.
pub(crate) fn invalidate(machine: &Machine, cpu: &mut Cpu, operand: TlbInvalidate, step: Step) {
    cpu.mmu.tlb_invalidate(&operand);
    if operand.local {
        cpu.counters.tlbiel += 1;
        cpu.charge(Category::Tlbiel, machine.costs.tlbiel);
    } else {
        cpu.counters.tlbie += 1;
        let (own, now) = (cpu.id.index(), cpu.clock.get());
        let wait = machine.bus.issue(own, now, &machine.costs);
        cpu.charge(Category::TlbieWait, wait);
        cpu.charge(Category::Tlbie, machine.costs.tlbie);
        machine.board.post(own, &operand);
    }
    machine.note(cpu, Interest::INVALIDATIONS, || Event::Invalidate {
        operand,
        step,
    });
}

/// What a barrier costs. tlbsync waits until the other CPUs have done this one's invalidations and
/// those before them.
#[inline(always)]
pub(crate) fn charge_barrier(machine: &Machine, cpu: &mut Cpu, barrier: Barrier) {
    let costs = &machine.costs;
    let others = u64::from(machine.cpus - 1);
    let (category, cycles) = match barrier {
        Barrier::Eieio => (Category::Barriers, costs.eieio),
        Barrier::Isync => (Category::Barriers, costs.isync),
        Barrier::Lwsync => (Category::Barriers, costs.lwsync),
        Barrier::Ptesync => (Category::Ptesync, costs.ptesync),
        Barrier::Tlbsync => {
            let completion = machine.bus.completion(cpu.id.index(), cpu.clock.get());
            let fixed = costs.tlbsync + others * costs.tlbsync_per_cpu;
            (Category::TlbieWait, fixed + completion)
        }
    };
    if barrier == Barrier::Ptesync {
        cpu.counters.ptesync += 1;
    }
    cpu.charge(category, cycles);
}

/// Orders stores before loads between host threads.
pub(crate) fn fence_threads() {
    fence(Ordering::SeqCst);
}

/// Tells of a barrier.
pub(crate) fn note_barrier(machine: &Machine, cpu: &Cpu, barrier: Barrier, step: Step) {
    machine.note(cpu, Interest::ACCESSES, || Event::Barrier { barrier, step });
    note_ptesync(machine, cpu, barrier);
}

/// Tells of a ptesync those who hear of invalidations.
pub(crate) fn note_ptesync(machine: &Machine, cpu: &Cpu, barrier: Barrier) {
    if barrier == Barrier::Ptesync {
        machine.note(cpu, Interest::INVALIDATIONS, || Event::Ptesync);
    }
}

impl Ctx<'_> {
    /// tlbie or tlbiel, as `operand.local` says. A global one reaches the other CPUs before they next
    /// translate.
    ///
    /// # Errors
    /// The end of the run.
    pub fn tlb_invalidate(&mut self, operand: TlbInvalidate, step: Step) -> Run<()> {
        if self.asks() {
            return self
                .ask(Verb::Invalidate(Box::new(operand), step))
                .map(drop);
        }
        self.begin()?;
        let cpu = self.cpu.as_mut().expect("a running context has its CPU");
        invalidate(&self.machine, cpu, operand, step);
        cpu.tlbsync_done &= operand.local;
        Ok(())
    }

    /// A barrier. tlbsync waits until every CPU has done the invalidations before it.
    ///
    /// # Errors
    /// The end of the run.
    #[inline]
    pub fn barrier(&mut self, barrier: Barrier, step: Step) -> Run<()> {
        if !self.machine.runs_threads()
            && let Some(cpu) = self.cpu.as_mut()
            && cpu.clock < cpu.quick_until
        {
            cpu.counters.verbs += 1;
            charge_barrier(&self.machine, cpu, barrier);
            return Ok(());
        }
        self.slow_barrier(barrier, step)
    }

    #[inline(never)]
    fn slow_barrier(&mut self, barrier: Barrier, step: Step) -> Run<()> {
        if self.asks() {
            return self.ask(Verb::Barrier(barrier, step)).map(drop);
        }
        self.begin()?;
        let cpu = self.cpu.as_mut().expect("a running context has its CPU");
        charge_barrier(&self.machine, cpu, barrier);
        if self.machine.runs_threads() {
            self.order_threads(barrier);
        }
        if self.machine.late.load(Ordering::Relaxed) {
            self.complete_late(barrier);
        }
        note_barrier(&self.machine, self.cpu_ref(), barrier, step);
        Ok(())
    }

    /// What a barrier is between host threads.
    #[inline(never)]
    fn order_threads(&mut self, barrier: Barrier) {
        match barrier {
            // Loads acquire and stores release as it is.
            Barrier::Isync | Barrier::Lwsync => {}
            Barrier::Eieio | Barrier::Ptesync => fence_threads(),
            Barrier::Tlbsync => self.pause(Pause::Completion),
        }
    }

    /// What a barrier is where invalidations may be late: a ptesync after a tlbsync waits for them.
    #[inline(never)]
    fn complete_late(&mut self, barrier: Barrier) {
        let cpu = self.cpu_mut();
        match barrier {
            Barrier::Tlbsync => cpu.tlbsync_done = true,
            Barrier::Ptesync if std::mem::take(&mut cpu.tlbsync_done) => {
                self.pause(Pause::Completion);
            }
            _ => {}
        }
    }

    /// One turn of a wait for another CPU: lets the engine run the others.
    ///
    /// # Errors
    /// The end of the run.
    pub fn spin(&mut self, step: Step) -> Run<()> {
        if self.asks() {
            return self.ask(Verb::Spin(step)).map(drop);
        }
        self.retire(4)?;
        if self.machine.cpus > 1 {
            let cpu = self.cpu_mut();
            cpu.charge(Category::Instructions, 20);
        }
        self.note_event(Interest::ACCESSES, || Event::Spin { step });
        if self.cpu_ref().explored {
            self.pause(Pause::Spin);
        }
        Ok(())
    }

    /// slbmte.
    ///
    /// # Errors
    /// An operand that the CPU refuses (illegal instruction), or the end of the run.
    pub fn slbmte(&mut self, rs: u64, rb: u64) -> Run<()> {
        if self.asks() {
            return self.ask(Verb::Slbmte(rs, rb)).map(drop);
        }
        self.begin()?;
        let cost = self.machine.costs.slbmte;
        let cpu = self.cpu_mut();
        cpu.charge(Category::Slb, cost);
        cpu.mmu
            .slbmte(rs, rb)
            .map_err(|_| Exception::Corrupt("slbmte operand refused"))
    }

    /// Number of entries of the CPU's SLB.
    pub fn slb_entries(&self) -> u64 {
        match &self.cpu {
            Some(cpu) => cpu.mmu.slb.entries().len() as u64,
            None => self.told(Verb::SlbEntries),
        }
    }

    /// slbie of the segment of `ea`, with the class bit and segment size of the operand.
    ///
    /// # Errors
    /// The end of the run.
    pub fn slbie(&mut self, ea: Ea, class: bool, segment: emu_mmu::SegmentSize) -> Run<()> {
        if self.asks() {
            return self.ask(Verb::Slbie(ea, class, segment)).map(drop);
        }
        self.begin()?;
        let cost = self.machine.costs.slbie;
        let cpu = self.cpu_mut();
        cpu.charge(Category::Slb, cost);
        cpu.mmu.slbie(ea, class, segment);
        Ok(())
    }

    /// slbia with its IH field.
    ///
    /// # Errors
    /// The end of the run.
    pub fn slbia(&mut self, ih: u8) -> Run<()> {
        if self.asks() {
            return self.ask(Verb::Slbia(ih)).map(drop);
        }
        self.begin()?;
        let cost = self.machine.costs.slbia;
        let cpu = self.cpu_mut();
        cpu.charge(Category::Slb, cost);
        cpu.mmu
            .slbia(ih)
            .map(|_| ())
            .map_err(|_| Exception::Corrupt("slbia operand refused"))
    }
}
