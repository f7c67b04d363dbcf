//! The verbs themselves: what each does to the machine, by the same functions as those of [`crate::Ctx`].

use super::perform::{Leave, Leaves, Under, end};
use super::{At, Beside, Size, Stage, Then, Verb};
use crate::cost::Category;
use crate::ctx::{charge, order, storage};
use crate::exception::{Exception, Step};
use crate::guest::Pause;
use crate::probe::{Event, Interest};
use emu_mmu::{Access, AccessState, Barrier, Ea, MemoryError, Ra};
use std::sync::atomic::Ordering;

impl Under<'_, '_> {
    pub(super) fn body(&mut self, verb: &Verb) -> Leaves<u64> {
        match *verb {
            Verb::Load(at, size, step) => self.load(at, size, step),
            Verb::Store(at, size, value, step) => self.store(at, size, value, step),
            Verb::ZeroLine(ea, step) => self.zero_line(ea, step),
            Verb::LoadReserve(at, step) => self.load_reserve(at, step),
            Verb::StoreConditional(at, value, step) => self.store_conditional(at, value, step),
            Verb::Invalidate(ref operand, step) => {
                order::invalidate(self.machine, self.cpu, **operand, step);
                self.cpu.tlbsync_done &= operand.local;
                Ok(0)
            }
            Verb::Barrier(barrier, step) => self.barrier(barrier, step),
            Verb::Beside(ref effect) => Ok(effect(Beside {
                machine: self.machine,
                cpu: self.cpu.id,
                now: self.cpu.clock,
                local: self.carried.local,
            })),
            Verb::Slbmte(..) | Verb::Slbie(..) | Verb::Slbia(_) => self.segment(verb),
            Verb::ReadCpuId(_) | Verb::Timebase | Verb::Retire(_) | Verb::Spin(_) => {
                self.instruction(verb)
            }
            _ => self.control(verb),
        }
    }

    fn translate(&mut self, at: At, access: Access) -> Leaves<Ra> {
        let (ea, state) = match at {
            At::Real(ra) => return Ok(ra),
            At::Kernel(ea) => (ea, self.cpu.state),
            At::User(ea) => (ea, AccessState::user()),
        };
        let (machine, cpu) = (self.machine, &mut *self.cpu);
        let translated = match cpu.mmu.quick_hit(ea, access, state) {
            Some(ra) => Ok(ra),
            None => storage::translate(machine, cpu, ea, access, state),
        };
        match translated {
            Ok(ra) => {
                if machine.wants_translation(ea) {
                    storage::note_translation(machine, cpu, ea, ra, access);
                }
                Ok(ra)
            }
            Err(fault) if machine.vectors.get().is_none() => Err(end(Exception::Fault(fault))),
            Err(fault) => {
                let enabled = cpu.interrupts_enabled;
                cpu.counters.storage_interrupts += 1;
                cpu.reservation = None;
                cpu.set_interrupts(false, || None);
                cpu.charge(Category::StorageInterrupts, machine.costs.interrupt_entry);
                let number = self.faults + 1;
                Err(Leave::Storage(fault, enabled, number))
            }
        }
    }

    fn note_access(&mut self, ra: Ra, store: bool, step: Step) {
        self.note(|| Event::Access { ra, store, step });
    }

    fn load(&mut self, at: At, size: Size, step: Step) -> Leaves<u64> {
        let ra = self.translate(at, Access::Load)?;
        charge::load(self.machine, self.cpu, ra);
        self.note_access(ra, false, step);
        let memory = &self.machine.memory;
        memory_of(match size {
            Size::Byte => memory.load_u8(ra).map(u64::from),
            Size::Half => memory.load_u16(ra).map(u64::from),
            Size::Word => memory.load_u32(ra).map(u64::from),
            Size::Double => memory.load_u64(ra),
        })
    }

    fn store(&mut self, at: At, size: Size, value: u64, step: Step) -> Leaves<u64> {
        let ra = self.translate(at, Access::Store)?;
        charge::store(self.machine, self.cpu, ra);
        self.note_access(ra, true, step);
        let memory = &self.machine.memory;
        if size == Size::Double {
            let stored = match self.machine.is_observed() {
                true => storage::store_heard(self.machine, self.cpu, ra, value, step),
                false => memory.store_u64(ra, value),
            };
            return memory_of(stored.map(|()| 0));
        }
        memory_of(match size {
            Size::Byte => memory.store_u8(ra, value as u8),
            Size::Half => memory.store_u16(ra, value as u16),
            Size::Word | Size::Double => memory.store_u32(ra, value as u32),
        })
        .map(|()| 0)
    }

    fn zero_line(&mut self, ea: Ea, step: Step) -> Leaves<u64> {
        let ra = self.translate(At::Kernel(ea), Access::Store)?;
        charge::zero_line(self.machine, self.cpu, ra);
        self.note_access(ra, true, step);
        let line = Ra::new(ra.get() & !127);
        memory_of(self.machine.memory.zero(line, 128)).map(|()| 0)
    }

    fn load_reserve(&mut self, at: At, step: Step) -> Leaves<u64> {
        let ra = self.translate(at, Access::Load)?;
        charge::load_reserve(self.machine, self.cpu, ra);
        self.note_access(ra, false, step);
        let value = memory_of(self.machine.memory.load_u64(ra))?;
        self.cpu.reservation = Some((ra, value));
        Ok(value)
    }

    fn store_conditional(&mut self, at: At, value: u64, step: Step) -> Leaves<u64> {
        let ra = self.translate(at, Access::Store)?;
        charge::store_conditional(self.machine, self.cpu, ra);
        let Some((reserved, old)) = self.cpu.reservation.take() else {
            return Ok(0);
        };
        if reserved != ra || !memory_of(self.machine.replace_u64(ra, old, value))? {
            return Ok(0);
        }
        self.note_access(ra, true, step);
        storage::note_replaced(self.machine, self.cpu, ra, (old, value), step);
        Ok(1)
    }

    fn barrier(&mut self, barrier: Barrier, step: Step) -> Leaves<u64> {
        let (machine, cpu) = (self.machine, &mut *self.cpu);
        order::charge_barrier(machine, cpu, barrier);
        let mut completes = false;
        if machine.late.load(Ordering::Relaxed) {
            match barrier {
                Barrier::Tlbsync => cpu.tlbsync_done = true,
                Barrier::Ptesync => completes = std::mem::take(&mut cpu.tlbsync_done),
                _ => {}
            }
        }
        if completes {
            return Err(Leave::Pause(Pause::Completion, Stage::Completed));
        }
        self.note_barrier(barrier, step);
        Ok(0)
    }

    fn segment(&mut self, verb: &Verb) -> Leaves<u64> {
        let (costs, cpu) = (&self.machine.costs, &mut *self.cpu);
        let refused = |what| end(Exception::Corrupt(what));
        match *verb {
            Verb::Slbmte(rs, rb) => {
                cpu.charge(Category::Slb, costs.slbmte);
                let done = cpu.mmu.slbmte(rs, rb);
                done.map_err(|_| refused("slbmte operand refused"))?;
            }
            Verb::Slbie(ea, class, segment) => {
                cpu.charge(Category::Slb, costs.slbie);
                cpu.mmu.slbie(ea, class, segment);
            }
            Verb::Slbia(ih) => {
                cpu.charge(Category::Slb, costs.slbia);
                let done = cpu.mmu.slbia(ih);
                done.map_err(|_| refused("slbia operand refused"))?;
            }
            _ => {}
        }
        Ok(0)
    }

    fn instruction(&mut self, verb: &Verb) -> Leaves<u64> {
        let (machine, cpu) = (self.machine, &mut *self.cpu);
        match *verb {
            Verb::ReadCpuId(step) => {
                cpu.charge(Category::LoadStore, machine.costs.load);
                self.note(|| Event::CpuNumber { step });
                Ok(u64::from(self.cpu.id.0))
            }
            Verb::Timebase => {
                cpu.charge(Category::Instructions, machine.costs.special_register);
                Ok(machine.costs.timebase(cpu.clock))
            }
            Verb::Retire(count) => {
                let cycles = machine.costs.instructions(count);
                cpu.charge(Category::Instructions, cycles.get());
                Ok(0)
            }
            Verb::Spin(step) => {
                let cycles = machine.costs.instructions(4).get();
                let more = if machine.cpus > 1 { 20 } else { 0 };
                cpu.charge(Category::Instructions, cycles + more);
                self.note(|| Event::Spin { step });
                Err(Leave::Pause(Pause::Spin, Stage::Done(0)))
            }
            _ => Ok(0),
        }
    }

    fn control(&mut self, verb: &Verb) -> Leaves<u64> {
        let (machine, cpu) = (self.machine, &mut *self.cpu);
        let costs = &machine.costs;
        match *verb {
            Verb::SetInterrupts(enabled) => {
                cpu.charge(Category::Instructions, costs.special_register);
                let was = cpu.interrupts_enabled;
                cpu.set_interrupts(enabled, || None);
                let was = u64::from(was);
                if enabled && was == 0 && cpu.clock >= cpu.deadline {
                    self.attend(Then::Done(was))?;
                }
                return Ok(was);
            }
            Verb::SetDecrementer(cycles) => {
                cpu.charge(Category::Instructions, costs.special_register);
                cpu.decrementer = cpu.clock + cycles;
                cpu.set_deadline();
            }
            Verb::SendIpi(to) => {
                if !machine.send_ipi(cpu, u64::from(to.0)) {
                    let what = "inter-processor interrupt to a CPU that is not there";
                    return Err(end(Exception::Corrupt(what)));
                }
                // Another CPU may be ready for it.
                if let Some(watching) = &mut self.watching {
                    watching.pause_at = 0;
                }
            }
            Verb::WaitForInterrupt if cpu.interrupt_due_at() > cpu.clock => {
                cpu.end_irqs_off();
                return Err(Leave::Pause(Pause::Wait, Stage::Done(0)));
            }
            Verb::EnterHypervisor => {
                let enabled = cpu.interrupts_enabled;
                cpu.reservation = None;
                cpu.set_interrupts(false, || None);
                cpu.charge(Category::Hypercalls, costs.hypercall_entry);
                return Ok(u64::from(enabled));
            }
            Verb::LeaveHypervisor(enabled) => {
                cpu.charge(Category::Hypercalls, costs.hypercall_return);
                cpu.set_interrupts(enabled, || None);
            }
            Verb::SwitchTo(next) => {
                machine.note(cpu, Interest::SWITCHES, || Event::Switch);
                cpu.reservation = None;
                cpu.context = next;
                return Err(Leave::Pause(Pause::Switch, Stage::Done(0)));
            }
            Verb::SetLocal(local) => {
                self.carried.local = local;
                cpu.local = local;
            }
            Verb::CpuId => return Ok(u64::from(cpu.id.0)),
            Verb::InterruptsEnabled => return Ok(u64::from(cpu.interrupts_enabled)),
            Verb::SlbEntries => return Ok(cpu.mmu.slb.entries().len() as u64),
            _ => {}
        }
        Ok(0)
    }
}

fn memory_of<T>(result: Result<T, MemoryError>) -> Leaves<T> {
    result.map_err(|error| end(Exception::Memory(error)))
}
