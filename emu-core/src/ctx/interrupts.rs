//! Verbs of interrupts, hypervisor calls and contexts.
//!
//! Owns the EE bit, the decrementer, inter-processor interrupts and the change to another context.
//! Refuses to know what a context is to the guest.

use super::Ctx;
use crate::cost::{Category, Cycles};
use crate::cpu::CpuId;
use crate::exception::{Exception, Run};
use crate::guest::{ContextId, GuestCode, Newborn, Pause};
use crate::probe::{Event, Interest};
use crate::script::Verb;

impl Ctx<'_> {
    /// True if external interrupts are enabled (the EE bit of the MSR).
    #[inline]
    pub fn interrupts_enabled(&self) -> bool {
        match &self.cpu {
            Some(cpu) => cpu.interrupts_enabled,
            None => self.told(Verb::InterruptsEnabled) != 0,
        }
    }

    /// Enables or disables external interrupts (the EE bit of the MSR) and gives what it was. Enabling lets a pending interrupt land at once.
    ///
    /// # Errors
    /// The end of the run.
    pub fn set_interrupts(&mut self, enabled: bool) -> Run<bool> {
        if self.asks() {
            return self.ask(Verb::SetInterrupts(enabled)).map(|was| was != 0);
        }
        self.begin()?;
        let machine = &*self.machine;
        let cpu = self.cpu.as_mut().expect("a running context has its CPU");
        cpu.charge(Category::Instructions, machine.costs.special_register);
        if cpu.interrupts_enabled == enabled {
            return Ok(enabled);
        }
        let longest = |cycles| machine.note_irqs_off(cycles);
        let span = cpu.switch_interrupts(enabled, self.frames.last(), longest);
        let attends = enabled && cpu.clock >= cpu.deadline;
        if let Some(span) = span {
            self.tell_irqs_off(span);
        }
        if attends {
            self.attend()?;
        }
        Ok(!enabled)
    }

    /// Arms the decrementer: an interrupt in `cycles` cycles.
    ///
    /// # Errors
    /// The end of the run.
    pub fn set_decrementer(&mut self, cycles: Cycles) -> Run<()> {
        if self.asks() {
            return self.ask(Verb::SetDecrementer(cycles)).map(drop);
        }
        self.begin()?;
        let cost = self.machine.costs.special_register;
        let cpu = self.cpu_mut();
        cpu.charge(Category::Instructions, cost);
        cpu.decrementer = cpu.clock + cycles;
        cpu.set_deadline();
        Ok(())
    }

    /// Sends an inter-processor interrupt.
    ///
    /// # Errors
    /// The end of the run.
    pub fn send_ipi(&mut self, to: CpuId) -> Run<()> {
        if self.asks() {
            return self.ask(Verb::SendIpi(to)).map(drop);
        }
        self.begin()?;
        let cpu = self.cpu.as_mut().expect("a running context has its CPU");
        match self.machine.send_ipi(cpu, u64::from(to.0)) {
            true => Ok(()),
            false => Err(Exception::Corrupt(
                "inter-processor interrupt to a CPU that is not there",
            )),
        }
    }

    /// Waits, idle, until an interrupt is due. It is taken at the next verb with interrupts enabled.
    ///
    /// # Errors
    /// The end of the run.
    pub fn wait_for_interrupt(&mut self) -> Run<()> {
        if self.asks() {
            return self.ask(Verb::WaitForInterrupt).map(drop);
        }
        self.begin()?;
        let cpu = self.cpu_ref();
        if cpu.interrupt_due_at() > cpu.clock {
            // Idle time is nobody's latency.
            if let Some(span) = self.cpu_mut().end_irqs_off() {
                self.note_irqs_off(span);
            }
            self.pause(Pause::Wait);
        }
        Ok(())
    }

    /// Calls the hypervisor (`sc` with LEV=1): `body` is its code, which runs on this CPU with the
    /// guest's interrupts held back until it returns.
    ///
    /// # Errors
    /// Those of `body`, or the end of the run.
    pub fn hypercall<T>(&mut self, body: impl FnOnce(&mut Self) -> Run<T>) -> Run<T> {
        if self.asks() {
            let enabled = self.ask(Verb::EnterHypervisor)? != 0;
            let result = body(self);
            self.ask(Verb::LeaveHypervisor(enabled))?;
            return result;
        }
        self.begin()?;
        let (entry, back) = {
            let costs = &self.machine.costs;
            (costs.hypercall_entry, costs.hypercall_return)
        };
        let cpu = self.cpu_mut();
        let enabled = cpu.interrupts_enabled;
        cpu.reservation = None;
        self.switch_interrupts(false);
        self.cpu_mut().charge(Category::Hypercalls, entry);
        let result = body(self);
        self.cpu_mut().charge(Category::Hypercalls, back);
        self.switch_interrupts(enabled);
        result
    }

    /// Makes a new context of guest code. It runs when some CPU switches to it.
    pub fn spawn(&mut self, code: GuestCode) -> ContextId {
        let id = self.machine.new_context_id();
        self.machine.newborn.lock().push((id, Newborn::Host(code)));
        id
    }

    /// Leaves this context for another on the same CPU; returns when somebody switches back, perhaps on
    /// another CPU. Clears the reservation, as a context switch does.
    ///
    /// # Errors
    /// The end of the run.
    pub fn switch_to(&mut self, next: ContextId) -> Run<()> {
        if self.asks() {
            return self.ask(Verb::SwitchTo(next)).map(drop);
        }
        self.begin()?;
        self.note_event(Interest::SWITCHES, || Event::Switch);
        let cpu = self.cpu_mut();
        cpu.reservation = None;
        cpu.context = next;
        self.pause(Pause::Switch);
        if self.machine.stopping() {
            return Err(Exception::Stop);
        }
        Ok(())
    }
}
