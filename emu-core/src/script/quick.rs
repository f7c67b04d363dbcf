//! The short way of the verbs that a script asks for most.
//!
//! Owns what of a verb is known before it is performed ([`Quick`]), and the cases in which nothing can come
//! between: no checker hears of it, no interrupt is due, the ERAT serves it. There it does what `body` does, in
//! fewer of the host's instructions; in any other it does nothing at all, and the verb goes its long way. Refuses
//! verbs that other CPUs or checkers are told of.

use super::perform::{Leaves, Under};
use super::{At, Size, Stage, Verb};
use crate::cost::Cycles;
use crate::exception::Step;
use crate::machine::Machine;
use crate::probe::{Event, Interest};
use crate::timing::CostTable;
use emu_mmu::{AccessState, Barrier, Ea, Ra};
use std::sync::atomic::Ordering;

/// What is known of a verb.
#[derive(Clone, Copy)]
pub(super) enum Quick {
    /// It has no short way.
    None,
    Load(Ea),
    Store(Ea, u64),
    LoadReserve(Ea),
    StoreConditional(Ea, u64),
    ZeroLine(Ea),
    ReadCpuId,
    SetInterrupts(bool),
    /// It only takes time.
    Wait(u64),
}

impl Quick {
    pub fn of(verb: &Verb, machine: &Machine) -> Self {
        let quiet = |ea: Ea| !machine.may_want_translation(ea);
        let costs = &machine.costs;
        match *verb {
            Verb::Load(At::Kernel(ea), Size::Double, _) if quiet(ea) => Quick::Load(ea),
            Verb::Store(At::Kernel(ea), Size::Double, value, _) if quiet(ea) => {
                Quick::Store(ea, value)
            }
            Verb::LoadReserve(At::Kernel(ea), _) if quiet(ea) => Quick::LoadReserve(ea),
            Verb::StoreConditional(At::Kernel(ea), value, _) if quiet(ea) => {
                Quick::StoreConditional(ea, value)
            }
            Verb::ZeroLine(ea, _) if quiet(ea) => Quick::ZeroLine(ea),
            Verb::ReadCpuId(_) => Quick::ReadCpuId,
            Verb::SetInterrupts(enabled) => Quick::SetInterrupts(enabled),
            Verb::Retire(count) => Quick::Wait(costs.instructions(count).get()),
            Verb::Barrier(Barrier::Eieio, _) => Quick::Wait(costs.eieio),
            Verb::Barrier(Barrier::Isync, _) => Quick::Wait(costs.isync),
            Verb::Barrier(Barrier::Lwsync, _) => Quick::Wait(costs.lwsync),
            _ => Quick::None,
        }
    }
}

impl Quick {
    /// Cycles it takes.
    pub fn cycles(self, costs: &CostTable) -> u64 {
        match self {
            Quick::None => 0,
            Quick::Load(_) | Quick::ReadCpuId => costs.load,
            Quick::Store(..) | Quick::ZeroLine(_) => costs.store,
            Quick::LoadReserve(_) => costs.load_reserve,
            Quick::StoreConditional(..) => costs.store_conditional,
            Quick::SetInterrupts(_) => costs.special_register,
            Quick::Wait(cycles) => cycles,
        }
    }
}

/// What is told of a verb that went its short way.
#[derive(Clone, Copy)]
pub(super) enum Told {
    Nothing,
    Access { ea: Ea, store: bool, step: Step },
    CpuNumber(Step),
    Barrier(Barrier, Step),
}

impl Told {
    /// What is told where the verb had this answer.
    pub fn of(verb: &Verb, answer: u64) -> Self {
        let (at, store, step) = match *verb {
            Verb::Load(at, _, step) | Verb::LoadReserve(at, step) => (at, false, step),
            Verb::Store(at, _, _, step) => (at, true, step),
            Verb::StoreConditional(at, _, step) if answer == 1 => (at, true, step),
            Verb::ZeroLine(ea, step) => (At::Kernel(ea), true, step),
            Verb::ReadCpuId(step) => return Told::CpuNumber(step),
            Verb::Barrier(barrier, step) => return Told::Barrier(barrier, step),
            _ => return Told::Nothing,
        };
        match at {
            At::Kernel(ea) => Told::Access { ea, store, step },
            _ => Told::Nothing,
        }
    }
}

impl Under<'_, '_> {
    /// Verbs may go their short way as long as this context runs.
    pub fn may_be_quick(&self) -> bool {
        let (machine, cpu) = (self.machine, &*self.cpu);
        let heard_here = match &self.watching {
            Some(watching) => watching.hears_accesses,
            None => !machine.wants(Interest::ACCESSES),
        };
        heard_here
            && cpu.caches.is_none()
            && cpu.account_is_closed()
            && cpu.state == AccessState::kernel()
            && cpu.mmu.registers.keys.allow_all()
            && !machine.late.load(Ordering::Relaxed)
    }

    /// Performs a verb that has not begun, if it can go its short way.
    #[inline(always)]
    pub fn quickly(&mut self, quick: Quick) -> Option<u64> {
        if self.cpu.attends_now() {
            return None;
        }
        let value = self.shortly(quick)?;
        self.cpu.counters.verbs += 1;
        Some(value)
    }

    /// The same where somebody watches: they are told of the step, then of what it did.
    #[inline(never)]
    pub fn quickly_watched(&mut self, quick: Quick, verb: &Verb) -> Leaves<Option<u64>> {
        let (cpu, Some(watching)) = (&mut *self.cpu, &mut self.watching) else {
            return Ok(None);
        };
        let step = (watching.steps_less_verbs).wrapping_add(cpu.counters.verbs + 1);
        let attends = cpu.clock >= cpu.deadline || self.machine.stopping();
        if attends || step >= watching.pause_at || matches!(quick, Quick::None) {
            return Ok(None);
        }
        cpu.counters.verbs += 1;
        (watching.watch).step(watching.others.with_running(cpu, step));
        let Some(value) = self.shortly(quick) else {
            return self.go_on(verb, Stage::Body(0)).map(Some);
        };
        self.tell(Told::of(verb, value));
        Ok(Some(value))
    }

    /// Tells what a verb has done its short way.
    #[inline]
    pub(super) fn tell(&mut self, told: Told) {
        match told {
            Told::Nothing => {}
            Told::Access { ea, store, step } => {
                // It is the one that was used last, so that this is no other use.
                if let Some(ra) = self.cpu.mmu.quick_kernel_hit(ea, store) {
                    self.note(|| Event::Access { ra, store, step });
                }
            }
            Told::CpuNumber(step) => self.note(|| Event::CpuNumber { step }),
            Told::Barrier(barrier, step) => self.note(|| Event::Barrier { barrier, step }),
        }
    }

    #[inline(always)]
    fn shortly(&mut self, quick: Quick) -> Option<u64> {
        let ends = self.cpu.clock.get() + quick.cycles(&self.machine.costs);
        let value = self.done_shortly(quick, self.cpu.clock.get(), ends)?;
        self.cpu.clock = Cycles::new(ends);
        Some(value)
    }

    /// Performs a verb at a time, if it can go its short way and no interrupt is due until `ends`. The clock is left
    /// to who calls.
    #[inline(always)]
    pub(super) fn done_shortly(&mut self, quick: Quick, now: u64, ends: u64) -> Option<u64> {
        Some(match quick {
            Quick::None => return None,
            Quick::Load(ea) => self.loaded(ea)?.1,
            Quick::LoadReserve(ea) => {
                let (ra, value) = self.loaded(ea)?;
                self.cpu.reservation = Some((ra, value));
                value
            }
            Quick::Store(ea, value) => self.stored(ea, value)?,
            Quick::StoreConditional(ea, value) => self.replaced(ea, value)?,
            Quick::ZeroLine(ea) => {
                let ra = self.cpu.mmu.quick_kernel_hit(ea, true)?;
                let line = Ra::new(ra.get() & !127);
                self.machine.memory.zero(line, 128).ok().map(|()| 0)?
            }
            Quick::ReadCpuId => u64::from(self.cpu.id.0),
            Quick::SetInterrupts(enabled) => {
                let cpu = &mut *self.cpu;
                let was = cpu.interrupts_enabled;
                if enabled && !was && cpu.interrupt_due_at().get() <= ends {
                    return None;
                }
                cpu.clock = Cycles::new(now + self.machine.costs.special_register);
                cpu.set_interrupts(enabled, || None);
                u64::from(was)
            }
            Quick::Wait(_) => 0,
        })
    }

    #[inline(always)]
    fn loaded(&mut self, ea: Ea) -> Option<(Ra, u64)> {
        let ra = self.cpu.mmu.quick_kernel_hit(ea, false)?;
        Some((ra, self.machine.memory.load_u64(ra).ok()?))
    }

    #[inline(always)]
    fn stored(&mut self, ea: Ea, value: u64) -> Option<u64> {
        let ra = self.cpu.mmu.quick_kernel_hit(ea, true)?;
        let told = self.machine.hpt.contains(ra) || self.machine.watches(ra);
        (!told && self.machine.memory.quick_journalled_u64(ra, value)).then_some(0)
    }

    #[inline(always)]
    fn replaced(&mut self, ea: Ea, value: u64) -> Option<u64> {
        let ra = self.cpu.mmu.quick_kernel_hit(ea, true)?;
        let (reserved, old) = self.cpu.reservation?;
        let told = self.machine.hpt.contains(ra) || self.machine.watches(ra);
        let same = self.machine.memory.load_u64(ra).ok()? == old;
        // One that fails is rare.
        if told || reserved != ra || !same || !self.machine.memory.quick_journalled_u64(ra, value) {
            return None;
        }
        self.cpu.reservation = None;
        Some(1)
    }
}
