//! Special-purpose registers by number (Power ISA 2.07 Book III-S 4.4.1).
//!
//! Owns which there are. Refuses others: their instructions are illegal.

use super::Interpreter;
use crate::cost::Cycles;
use crate::cpu::Cpu;
use crate::machine::Machine;
use emu_mmu::Lpcr;

impl Interpreter {
    /// The timebase; everything executed is charged.
    fn timebase(&self, machine: &Machine, cpu: &Cpu) -> u64 {
        let clock = machine.costs.timebase(cpu.clock);
        clock.wrapping_add(self.timebase_offset)
    }

    /// A special register, `None` if there is none that can be read.
    pub(super) fn special(&self, number: u32, machine: &Machine, cpu: &Cpu) -> Option<u64> {
        let r = &self.registers;
        let mmu = &cpu.mmu.registers;
        Some(match number {
            3 | 17 => r.dscr,
            13 | 29 => mmu.keys.amr,
            18 => u64::from(r.dsisr),
            19 => r.dar,
            22 => {
                let now = machine.costs.timebase(cpu.clock);
                self.decrementer_zero.wrapping_sub(now) & 0xffff_ffff
            }
            25 => machine.hpt.sdr1(),
            26 => r.srr0,
            27 => r.srr1,
            28 => r.cfar,
            61 => mmu.keys.iamr,
            136 => u64::from(r.ctrl),
            157 => mmu.keys.uamor,
            256 => u64::from(r.vrsave),
            259 => r.sprg[3],
            268 | 526 => self.timebase(machine, cpu),
            269 => self.timebase(machine, cpu) >> 32,
            272..=275 => r.sprg[number as usize - 272],
            287 => u64::from(r.pvr),
            304 => r.hsprg[0],
            305 => r.hsprg[1],
            308 | 309 => self.timebase(machine, cpu),
            312 => mmu.rmor,
            313 => mmu.hrmor,
            314 => r.hsrr0,
            315 => r.hsrr1,
            318 => mmu.lpcr.0,
            319 => u64::from(cpu.mmu.lpid()),
            815 => r.tar,
            896 => r.ppr,
            898 => r.ppr >> 32,
            1008 => r.hid[0],
            1009 => r.hid[1],
            1012 => r.hid[2],
            1014 => r.hid[3],
            1023 => u64::from(r.pir),
            _ => return None,
        })
    }

    /// Writes a special register; `None` if there is none that can be written so.
    pub(super) fn set_special(
        &mut self,
        number: u32,
        value: u64,
        machine: &Machine,
        cpu: &mut Cpu,
    ) -> Option<()> {
        let problem = self.registers.problem_state();
        let r = &mut self.registers;
        match number {
            3 | 17 => r.dscr = value,
            13 if problem => {
                let keys = &mut cpu.mmu.registers.keys;
                keys.amr = keys.amr & !keys.uamor | value & keys.uamor;
            }
            18 => r.dsisr = value as u32,
            19 => r.dar = value,
            22 => self.set_decrementer(value as u32, machine, cpu),
            // The table stays where the machine has it.
            25 if value == machine.hpt.sdr1() => {}
            26 => r.srr0 = value & !3,
            27 => r.srr1 = value,
            28 => r.cfar = value,
            13 | 29 => cpu.mmu.registers.keys.amr = value,
            61 => cpu.mmu.registers.keys.iamr = value,
            152 => r.ctrl = value as u32,
            157 => cpu.mmu.registers.keys.uamor = value,
            256 => r.vrsave = value as u32,
            272..=275 => r.sprg[number as usize - 272] = value,
            284 => self.set_timebase(!0xffff_ffff, value & 0xffff_ffff, machine, cpu),
            285 => self.set_timebase(0xffff_ffff, value << 32, machine, cpu),
            286 => self.set_timebase(0xff_ffff, value & !0xff_ffff, machine, cpu),
            304 => r.hsprg[0] = value,
            305 => r.hsprg[1] = value,
            312 => cpu.mmu.registers.rmor = value,
            313 => cpu.mmu.registers.hrmor = value,
            314 => r.hsrr0 = value,
            315 => r.hsrr1 = value,
            318 => cpu.mmu.registers.lpcr = Lpcr(value),
            319 => cpu.mmu.set_lpid(value as u32),
            815 => r.tar = value,
            896 => r.ppr = value,
            898 => r.ppr = r.ppr & 0xffff_ffff | value << 32,
            1008 => r.hid[0] = value,
            1009 => r.hid[1] = value,
            1012 => r.hid[2] = value,
            1014 => r.hid[3] = value,
            _ => return None,
        }
        if number == 313 {
            self.machine_state_changed(machine, cpu);
        }
        Some(())
    }

    /// Writes part of the timebase and keeps the bits of `kept`.
    fn set_timebase(&mut self, kept: u64, value: u64, machine: &Machine, cpu: &Cpu) {
        let now = self.timebase(machine, cpu) & kept | value;
        self.timebase_offset = now.wrapping_sub(machine.costs.timebase(cpu.clock));
    }

    /// The decrementer interrupts when it has passed below 0, at once if it is written so.
    fn set_decrementer(&mut self, value: u32, machine: &Machine, cpu: &mut Cpu) {
        let now = machine.costs.timebase(cpu.clock);
        self.decrementer_zero = now.wrapping_add(value as i32 as u64);
        cpu.decrementer = match value as i32 {
            ..0 => cpu.clock,
            ticks => {
                let costs = &machine.costs;
                let at =
                    u128::from(now + ticks as u64 + 1) * u128::from(costs.frequency_mhz) * 1000;
                Cycles::new(at.div_ceil(u128::from(costs.timebase_khz)) as u64)
            }
        };
        cpu.set_deadline();
    }
}
