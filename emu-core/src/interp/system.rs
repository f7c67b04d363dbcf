//! Privileged instructions: MSR, special registers, SLB, TLB, returns from interrupts; and calls of the
//! host.
//!
//! Owns which registers there are and who may touch them. Refuses to move the hash table: SDR1 says where
//! the machine has it.

use super::interrupts::{ILLEGAL, PRIVILEGED};
use super::op::{Decoded, Op};
use super::registers::{MSR_DR, MSR_EE, MSR_HV, MSR_IR, MSR_LE, MSR_ME, MSR_PR, MSR_RI};
use super::{Flow, Interpreter, NO_PAGE, Trap};
use crate::cost::Category;
use crate::cpu::Cpu;
use crate::ctx::order;
use crate::guest::Pause;
use crate::machine::Machine;
use emu_mmu::{Ea, Scope, SlbieOperand, TlbInvalidate, TlbieForm};

/// The label of interpreted invalidations in events.
const STEP: crate::Step = "instruction";
/// LOW: what mtmsr can change.
const LOW: u64 = 0xffff_ffff;
/// H_SUCCESS, H_FUNCTION and H_PARAMETER (PAPR, 14.5).
const H_SUCCESS: u64 = 0;
const H_FUNCTION: u64 = -2i64 as u64;
const H_PARAMETER: u64 = -4i64 as u64;
/// H_PUT_TERM_CHAR, H_IPI, H_CEDE (PAPR), and a call of our own in the range left to platforms.
const H_PUT_TERM_CHAR: u64 = 0x58;
const H_IPI: u64 = 0x6c;
const H_CEDE: u64 = 0xe0;
const H_HALT: u64 = 0xf100;

impl Interpreter {
    pub(super) fn system(&mut self, d: Decoded, machine: &Machine, cpu: &mut Cpu) -> Flow {
        match d.op {
            Op::Sc if d.a == 1 => return self.host_call(machine, cpu),
            Op::Sc => return Err(Trap::SystemCall),
            // The service processor stops the machine.
            Op::Attn => {
                self.exit = Some(self.gpr(3));
                return Err(Trap::Halt);
            }
            Op::Mfspr => return self.read_special(d, machine, cpu),
            Op::Mtspr => return self.write_special(d, machine, cpu),
            _ if self.registers.problem_state() => return Err(PRIVILEGED),
            Op::Mfmsr => self.set_gpr(d.a, self.registers.msr),
            Op::Mtmsr | Op::Mtmsrd => self.write_msr(d, machine, cpu),
            Op::Rfid => self.return_to(self.registers.srr0, self.registers.srr1, machine, cpu),
            Op::Hrfid => self.return_to(self.registers.hsrr0, self.registers.hsrr1, machine, cpu),
            Op::Idle => return Err(Trap::Pause(Pause::Wait)),
            Op::Tlbie | Op::Tlbiel => return self.invalidate(d, machine, cpu),
            _ => return self.segments(d, machine, cpu),
        }
        Ok(())
    }

    /// A call of the host, by `sc 1` as a guest calls its hypervisor: the number in r3, which takes the
    /// result.
    fn host_call(&mut self, machine: &Machine, cpu: &mut Cpu) -> Flow {
        self.own_charge();
        self.settle(machine, cpu);
        cpu.reservation = None;
        let costs = &machine.costs;
        cpu.charge(
            Category::Hypercalls,
            costs.hypercall_entry + costs.hypercall_return,
        );
        let (number, arguments) = (self.gpr(3), [self.gpr(4), self.gpr(5)]);
        let result = match number {
            H_PUT_TERM_CHAR => self.print(arguments[1]),
            H_IPI => match machine.send_ipi(cpu, arguments[0]) {
                true => H_SUCCESS,
                false => H_PARAMETER,
            },
            H_CEDE => {
                self.set_gpr(3, H_SUCCESS);
                self.set_msr(self.registers.msr | MSR_EE, machine, cpu);
                return Err(Trap::Pause(Pause::Wait));
            }
            H_HALT => {
                self.exit = Some(arguments[0]);
                return Err(Trap::Halt);
            }
            _ => H_FUNCTION,
        };
        self.set_gpr(3, result);
        Ok(())
    }

    fn print(&self, len: u64) -> u64 {
        if len > 16 {
            return H_PARAMETER;
        }
        let text = [self.gpr(6), self.gpr(7)].map(u64::to_be_bytes).concat();
        if let Some(console) = &self.console {
            console.print(&text[..len as usize]);
        }
        H_SUCCESS
    }

    /// It has a charge as a special register has.
    fn special_charge(&mut self, machine: &Machine, cpu: &mut Cpu) {
        self.own_charge();
        self.settle(machine, cpu);
        cpu.charge(Category::Instructions, machine.costs.special_register);
    }

    /// mtmsr and mtmsrd: HV, ME and LE stay; problem state brings EE, IR and DR along. L=1 writes EE and
    /// RI alone.
    fn write_msr(&mut self, d: Decoded, machine: &Machine, cpu: &mut Cpu) {
        self.special_charge(machine, cpu);
        let (old, value) = (self.registers.msr, self.gpr(d.a));
        let writes = match (d.b, d.op) {
            (1, _) => MSR_EE | MSR_RI,
            (_, Op::Mtmsr) => LOW & !(MSR_HV | MSR_ME | MSR_LE),
            _ => !(MSR_HV | MSR_ME | MSR_LE),
        };
        let mut msr = old & !writes | value & writes;
        if d.b == 0 && msr & MSR_PR != 0 {
            msr |= MSR_EE | MSR_IR | MSR_DR;
        }
        self.set_msr(msr, machine, cpu);
    }

    /// rfid and hrfid.
    fn return_to(&mut self, to: u64, msr: u64, machine: &Machine, cpu: &mut Cpu) {
        self.own_charge();
        self.settle(machine, cpu);
        cpu.charge(self.return_as, machine.costs.rfid);
        let old = self.registers.msr;
        let mut msr = msr;
        if old & MSR_HV == 0 {
            msr = msr & !(MSR_HV | MSR_ME) | old & MSR_ME;
        }
        if msr & MSR_PR != 0 {
            msr |= MSR_EE | MSR_IR | MSR_DR;
        }
        self.next = to & !3;
        self.set_msr(msr, machine, cpu);
    }

    /// tlbie and tlbiel.
    fn invalidate(&mut self, d: Decoded, machine: &Machine, cpu: &mut Cpu) -> Flow {
        let (rb, local) = (self.gpr(d.c), d.op == Op::Tlbiel);
        self.own_charge();
        self.settle(machine, cpu);
        cpu.counters.verbs += 1;
        self.page_ea = NO_PAGE;
        let form = self.tlbie_form;
        if form == TlbieForm::Isa206 && rb >> 10 & 3 != 0 {
            // More than a page at once: only this CPU's, as a kernel does when it starts.
            let scope = Scope::from_rb(rb, local).filter(|_| local).ok_or(ILLEGAL)?;
            cpu.mmu.tlb_invalidate_scope(&scope);
            cpu.counters.tlbiel += 1;
            cpu.charge(Category::Tlbiel, machine.costs.tlbiel);
            return Ok(());
        }
        let operand = TlbInvalidate::from_form(form, rb, d.b != 0, local).ok_or(ILLEGAL)?;
        order::invalidate(machine, cpu, operand, STEP);
        Ok(())
    }

    fn segments(&mut self, d: Decoded, machine: &Machine, cpu: &mut Cpu) -> Flow {
        let rb = self.gpr(d.c);
        let cost = match d.op {
            Op::Slbie => machine.costs.slbie,
            Op::Slbia => machine.costs.slbia,
            _ => machine.costs.slbmte,
        };
        self.own_charge();
        self.settle(machine, cpu);
        cpu.counters.verbs += 1;
        cpu.charge(Category::Slb, cost);
        self.page_ea = NO_PAGE;
        let slb = &cpu.mmu.slb;
        match d.op {
            Op::Slbmte => cpu.mmu.slbmte(self.gpr(d.a), rb).map_err(|_| ILLEGAL)?,
            Op::Slbie => {
                let operand = SlbieOperand::from_rb(rb).map_err(|_| ILLEGAL)?;
                cpu.mmu.slbie(operand.ea, operand.class, operand.segment);
            }
            Op::Slbia => {
                cpu.mmu.slbia(d.a).map_err(|_| ILLEGAL)?;
            }
            Op::Slbmfee => self.set_gpr(d.a, slb.slbmfee(rb & 0xfff).map_err(|_| ILLEGAL)?),
            Op::Slbmfev => self.set_gpr(d.a, slb.slbmfev(rb & 0xfff).map_err(|_| ILLEGAL)?),
            Op::Slbfee => {
                let found = slb.slbfee(Ea::new(rb));
                let equal = if found.is_some() { 2 } else { 0 };
                self.set_gpr(d.a, found.unwrap_or(0));
                let so = u32::from(self.registers.so);
                self.registers.set_field(0, equal | so);
            }
            _ => return Err(ILLEGAL),
        }
        Ok(())
    }

    fn read_special(&mut self, d: Decoded, machine: &Machine, cpu: &mut Cpu) -> Flow {
        let value = match d.imm {
            1 => self.registers.xer(),
            8 => self.registers.lr,
            9 => self.registers.ctr,
            number => {
                self.may_touch(number)?;
                self.special_charge(machine, cpu);
                self.special(number, machine, cpu).ok_or(ILLEGAL)?
            }
        };
        self.set_gpr(d.a, value);
        Ok(())
    }

    fn write_special(&mut self, d: Decoded, machine: &Machine, cpu: &mut Cpu) -> Flow {
        let value = self.gpr(d.a);
        match d.imm {
            1 => self.registers.set_xer(value),
            8 => self.registers.lr = value,
            9 => self.registers.ctr = value,
            number => {
                self.may_touch(number)?;
                self.special_charge(machine, cpu);
                self.set_special(number, value, machine, cpu)
                    .ok_or(ILLEGAL)?;
            }
        }
        Ok(())
    }

    /// Registers whose number has bit 0x10 are privileged.
    fn may_touch(&self, number: u32) -> Flow {
        match self.registers.problem_state() && number & 0x10 != 0 {
            true => Err(PRIVILEGED),
            false => Ok(()),
        }
    }
}
