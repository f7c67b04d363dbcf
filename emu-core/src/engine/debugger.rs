//! A machine under a debugger: stopped, looked into, and let go on.
//!
//! Owns breakpoints and steps of CPUs that run instructions, and memory as such a CPU would see it.
//! Refuses to change what it looks at: reading leaves the TLBs, R and C, and every counter as they are.
//! Speaks no protocol. Host-written guest code runs on under it and cannot be stopped.

use super::{Engine, EngineError, RunEnd, prepare, wake};
use crate::cost::Cycles;
use crate::cpu::CpuId;
use crate::exception::Exception;
use crate::guest::{Context, ContextEnd, Outcome};
use crate::interp::{Interpreter, Registers, Stopped, Stops};
use emu_mmu::{
    Access, AccessState, Ea, GuestMemory, MemoryError, Probe, Ra, Registers as MmuRegisters, Walk,
    WalkMemory,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Longest budget under a debugger: how soon it is heard.
const BUDGET_MAX: Cycles = Cycles::new(100_000);
const PAGE: u64 = 4096;

/// How a CPU is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// Until something stops the machine.
    On,
    /// One instruction. If an interrupt is due before, that is the first of its vector.
    Step,
    /// Not at all.
    Held,
}

/// Why the machine stopped.
#[derive(Debug)]
pub enum Stop {
    /// That CPU stands at a breakpoint, whose instruction is not executed yet.
    Breakpoint(CpuId),
    /// That CPU has made its step.
    Step(CpuId),
    /// The caller asked, or all CPUs that may go on wait and others are held.
    Asked,
    /// The guest halted, or a limit or a request ended the run.
    Ended(RunEnd),
}

/// A machine whose CPUs run instructions, under a debugger; when it is dropped they run free.
#[derive(Debug)]
pub struct Debugger<'e> {
    engine: &'e mut Engine,
    breakpoints: Arc<BTreeSet<u64>>,
}

/// Memory in which a walk sets no R and C.
struct Untouched<'m>(&'m GuestMemory);

impl WalkMemory for Untouched<'_> {
    fn load_group(&self, ra: Ra) -> Result<[u64; 16], MemoryError> {
        self.0.load_group(ra)
    }

    fn store_u8(&self, _: Ra, _: u8) -> Result<(), MemoryError> {
        Ok(())
    }
}

struct Nobody;

impl Probe for Nobody {
    fn walk(&mut self, _: &Walk) {}
}

impl Engine {
    /// Takes the machine under a debugger, stopped where it stands.
    ///
    /// # Errors
    /// A host out of stacks for what has not begun yet.
    pub fn debugger(&mut self) -> Result<Debugger<'_>, EngineError> {
        self.adopt_newborn()?;
        let mut debugger = Debugger {
            engine: self,
            breakpoints: Arc::default(),
        };
        for cpu in debugger.cpus() {
            if let Some(interpreter) = debugger.interpreter_mut(cpu) {
                interpreter.stops = Some(Box::default());
            }
        }
        Ok(debugger)
    }
}

impl Drop for Debugger<'_> {
    fn drop(&mut self) {
        for cpu in self.cpus() {
            if let Some(interpreter) = self.interpreter_mut(cpu) {
                interpreter.stops = None;
            }
        }
    }
}

impl Debugger<'_> {
    /// The CPUs that run instructions.
    pub fn cpus(&self) -> Vec<CpuId> {
        let all = (0..self.engine.machine.cpus()).map(CpuId);
        all.filter(|cpu| self.engine.interpreter(cpu.0).is_some())
            .collect()
    }

    fn interpreter_mut(&mut self, cpu: CpuId) -> Option<&mut Interpreter> {
        let context = self.engine.cpus.get(cpu.index())?.as_ref()?.context;
        match self.engine.contexts.get_mut(context.index())? {
            Some(Context::Instructions(_, interpreter)) => Some(interpreter),
            _ => None,
        }
    }

    /// A CPU's registers; `None` if it runs no instructions.
    pub fn registers(&self, cpu: CpuId) -> Option<&Registers> {
        Some(&self.engine.interpreter(cpu.0)?.registers)
    }

    /// The same, to be changed. What the MSR brings about it brings about when the CPU goes on.
    pub fn registers_mut(&mut self, cpu: CpuId) -> Option<&mut Registers> {
        Some(&mut self.interpreter_mut(cpu)?.registers)
    }

    /// What the guest halted with on that CPU, if it did.
    pub fn exit(&self, cpu: CpuId) -> Option<u64> {
        self.engine.interpreter(cpu.0)?.exit()
    }

    /// A CPU's clock, and whether it waits for an interrupt.
    pub fn clock(&self, cpu: CpuId) -> Option<(Cycles, bool)> {
        let cpu = self.engine.cpus.get(cpu.index())?.as_ref()?;
        Some((cpu.clock, cpu.waiting))
    }

    /// Where a load by the CPU would go, whatever the page's protection; or else a fetch, for code with
    /// only one of IR and DR set.
    fn place(&self, cpu: CpuId, ea: u64) -> Option<Ra> {
        let state = self.registers(cpu)?.access_state();
        let state = AccessState { pr: false, ..state };
        let mut mmu = self.engine.cpus.get(cpu.index())?.as_ref()?.mmu.clone();
        mmu.registers.keys = MmuRegisters::default().keys;
        let machine = &self.engine.machine;
        let memory = Untouched(machine.memory());
        [Access::Load, Access::Fetch]
            .into_iter()
            .find_map(|access| {
                let ea = Ea::new(ea);
                let found = mmu.translate(&memory, machine.hpt(), ea, access, state, &mut Nobody);
                found.ok().filter(|ra| ra.get() < machine.memory().len())
            })
    }

    /// The bytes of one access, with their real addresses, as far as they are mapped.
    fn places(&self, cpu: CpuId, ea: u64, bytes: usize) -> Vec<Ra> {
        let mut places = Vec::with_capacity(bytes);
        while places.len() < bytes {
            let at = ea.wrapping_add(places.len() as u64);
            let here = (PAGE - at % PAGE).min((bytes - places.len()) as u64);
            let Some(first) = self.place(cpu, at) else {
                break;
            };
            places.extend((0..here).map(|i| Ra::new(first.get() + i)));
        }
        places
    }

    /// Reads memory as the CPU sees data now, translated or real, whatever the protection (and as it sees
    /// instructions, where there is no data): how many bytes could be read. Nothing of it is changed, no R is set and no buffer filled.
    pub fn read(&self, cpu: CpuId, ea: u64, data: &mut [u8]) -> usize {
        let memory = self.engine.machine.memory();
        let places = self.places(cpu, ea, data.len());
        let loaded = places.iter().map_while(|&ra| memory.load_u8(ra).ok());
        data.iter_mut()
            .zip(loaded)
            .map(|(to, byte)| *to = byte)
            .count()
    }

    /// Writes memory as the CPU sees data now, whatever the protection: false if not all of it is there, and
    /// then nothing is written. Instructions that it holds are decoded anew.
    pub fn write(&mut self, cpu: CpuId, ea: u64, data: &[u8]) -> bool {
        let machine = &self.engine.machine;
        let places = self.places(cpu, ea, data.len());
        places.len() == data.len()
            && places.iter().zip(data).all(|(&ra, &byte)| {
                let stored = machine.memory().store_u8(ra, byte).is_ok();
                machine.code().written(ra, 1);
                stored
            })
    }

    /// Sets a breakpoint: every CPU stops before it executes an instruction at this effective address,
    /// whatever its mode. False if there was one.
    pub fn insert_breakpoint(&mut self, ea: u64) -> bool {
        Arc::make_mut(&mut self.breakpoints).insert(ea)
    }

    /// Takes a breakpoint away; false if there was none.
    pub fn remove_breakpoint(&mut self, ea: u64) -> bool {
        Arc::make_mut(&mut self.breakpoints).remove(&ea)
    }

    /// Lets CPUs go on, each as `go` says, until one stops. `poll` is called every now and then and
    /// stops the machine by saying true. A CPU that stopped at a breakpoint executes its instruction.
    ///
    /// The clocks say which CPU is next, as ever; a stop ends its turn, so that a run with stops may give the
    /// CPUs their turns in another order than one without.
    ///
    /// # Errors
    /// As [`Engine::run`]. The machine stands as it was then, and can be looked into.
    pub fn run(
        &mut self,
        go: impl Fn(CpuId) -> Go,
        poll: &mut dyn FnMut() -> bool,
    ) -> Result<Stop, EngineError> {
        let mut held = 0;
        for cpu in self.cpus() {
            let breakpoints = self.breakpoints.clone();
            let going = go(cpu);
            held |= u64::from(going == Go::Held) << cpu.index();
            if let Some(stops) = self.stops_of(cpu) {
                stops.breakpoints = breakpoints;
                stops.steps = (going == Go::Step).then_some(1);
                stops.stopped = None;
            }
        }
        self.engine.held = held;
        let stop = self.until_stopped(poll);
        self.engine.held = 0;
        match stop {
            Err(EngineError::Deadlock) if held != 0 => Ok(Stop::Asked),
            stop => stop,
        }
    }

    fn stops_of(&mut self, cpu: CpuId) -> Option<&mut Stops> {
        self.interpreter_mut(cpu)?.stops.as_deref_mut()
    }

    fn until_stopped(&mut self, poll: &mut dyn FnMut() -> bool) -> Result<Stop, EngineError> {
        loop {
            if self.engine.machine.stopping() {
                return Ok(Stop::Ended(self.engine.end(true)));
            }
            if poll() {
                return Ok(Stop::Asked);
            }
            let (index, budget) = self.engine.next_cpu()?;
            let Some(mut cpu) = self.engine.cpus[index].take() else {
                continue;
            };
            let id = cpu.id;
            wake(&self.engine.machine, &mut cpu);
            prepare(&self.engine.machine, &mut cpu, budget.min(BUDGET_MAX));
            match self.engine.resume(cpu)? {
                Outcome::Paused(_) | Outcome::Ended(Ok(ContextEnd::SwitchTo(_))) => {}
                Outcome::Ended(Ok(ContextEnd::Halt)) => {
                    return Ok(Stop::Ended(self.engine.end(false)));
                }
                Outcome::Ended(Err(Exception::Stop)) => {
                    return Ok(Stop::Ended(self.engine.end(true)));
                }
                Outcome::Ended(Err(exception)) => {
                    return Err(EngineError::Guest { cpu: id, exception });
                }
            }
            match self.stops_of(id).and_then(|stops| stops.stopped.take()) {
                Some(Stopped::Breakpoint) => return Ok(Stop::Breakpoint(id)),
                Some(Stopped::Step) => return Ok(Stop::Step(id)),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clocked, MSR_DR, MachineConfig};
    use emu_mmu::{Direct, HpteR, HpteV, PageSize, SegmentSize, SlbEntry, Vpn, Vsid};

    const CODE: u64 = 0x1_0000;

    /// Two CPUs: addi r3,r3,1 three times; bdnz to the second; attn.
    fn engine() -> Engine {
        let config = MachineConfig {
            cpus: 2,
            ..MachineConfig::small_test()
        };
        let mut engine = Engine::new(config, Box::new(Clocked::new())).unwrap();
        let words = [
            0x3863_0001,
            0x3863_0001,
            0x3863_0001,
            0x4200_fff8,
            0x0000_0200,
        ];
        let machine = engine.machine().clone();
        machine.load_words(Ra::new(CODE), &words).unwrap();
        for cpu in 0..2 {
            let mut registers = Registers::new(CODE, cpu);
            (registers.gpr[3], registers.ctr) = (0, 3);
            engine.start_instructions(cpu, Interpreter::new(registers));
        }
        engine
    }

    fn on(_: CpuId) -> Go {
        Go::On
    }

    #[test]
    fn breakpoints_and_steps() {
        let mut engine = engine();
        let mut d = engine.debugger().unwrap();
        let quiet = &mut || false;
        assert!(d.insert_breakpoint(CODE + 8) && !d.insert_breakpoint(CODE + 8));
        let mut stops = [0; 2];
        for _ in 0..6 {
            let Ok(Stop::Breakpoint(cpu)) = d.run(on, quiet) else {
                panic!("each CPU comes by three times");
            };
            assert_eq!(d.registers(cpu).unwrap().pc, CODE + 8);
            stops[cpu.index()] += 1;
            let sum = d.registers(cpu).unwrap().gpr[3];
            assert_eq!(sum, 2 * stops[cpu.index()]);
        }
        assert_eq!(stops, [3, 3]);
        assert!(d.remove_breakpoint(CODE + 8) && !d.remove_breakpoint(CODE + 8));
        assert!(matches!(d.run(on, &mut || true), Ok(Stop::Asked)));
        assert!(matches!(d.run(on, quiet), Ok(Stop::Ended(_))));
    }

    #[test]
    fn a_step_is_one_instruction_and_held_cpus_stand() {
        let mut engine = engine();
        let mut d = engine.debugger().unwrap();
        let only_1 = |cpu: CpuId| if cpu.0 == 1 { Go::Step } else { Go::Held };
        for step in 1..=3 {
            assert!(matches!(
                d.run(only_1, &mut || false),
                Ok(Stop::Step(CpuId(1)))
            ));
            assert_eq!(d.registers(CpuId(1)).unwrap().pc, CODE + 4 * step);
        }
        assert_eq!(d.registers(CpuId(0)).unwrap().pc, CODE);
        d.registers_mut(CpuId(1)).unwrap().pc = CODE + 16;
        let Ok(Stop::Ended(end)) = d.run(only_1, &mut || false) else {
            panic!("attn ends the run");
        };
        assert!(!end.stopped);
    }

    #[test]
    fn memory_through_the_table_without_a_trace() {
        let mut engine = engine();
        let machine = engine.machine().clone();
        let (memory, hpt) = (machine.memory(), *machine.hpt());
        let (ea, ra) = (Ea::new(0x2000_0000), Ra::new(0x3_0000));
        let segment = SlbEntry::kernel(ea, Vsid::new(9), SegmentSize::S256M, PageSize::P4K);
        let vpn = Vpn::from_ea(segment.vsid, ea, SegmentSize::S256M);
        let group = hpt.primary(vpn.hash(SegmentSize::S256M, PageSize::P4K));
        let v = HpteV::wanted(segment.vsid, ea, SegmentSize::S256M, PageSize::P4K);
        let mut nobody = |_| ();
        let mut table = Direct::new(memory, &mut nobody);
        let slot = hpt.insert(&mut table, group, v, HpteR(ra.get() | 2), false);
        let index = hpt.hpte_ra(group.slot(slot.unwrap().unwrap()));
        let mut d = engine.debugger().unwrap();
        let cpu = CpuId(0);
        memory.store_u64(ra, 0x1122_3344_5566_7788).unwrap();
        memory.store_u64(Ra::new(ea.get() & 0xf_0000), 0).unwrap();
        assert_eq!(d.read(cpu, ra.get(), &mut [0; 8]), 8, "real mode");
        d.registers_mut(cpu).unwrap().msr |= MSR_DR;
        assert_eq!(d.read(cpu, ea.get(), &mut [0; 8]), 0, "no segment");
        assert_eq!(d.read(cpu, CODE, &mut [0; 8]), 8, "fetched in real mode");
        let entry = d.engine.cpus[0].as_mut().unwrap();
        entry.mmu.slbmte(segment.rs(), segment.rb(0)).unwrap();
        let mut data = [0; 4];
        assert_eq!(d.read(cpu, ea.get() + 2, &mut data), 4);
        assert_eq!(data, [0x33, 0x44, 0x55, 0x66]);
        let mut across = [0; 16];
        assert_eq!(d.read(cpu, ea.get() + 0xff8, &mut across), 8, "one page");
        assert!(!d.write(cpu, ea.get() + 0xff8, &across));
        assert!(d.write(cpu, ea.get(), &[0xff]));
        assert_eq!(memory.load_u64(ra).unwrap() >> 56, 0xff);
        let r = memory.load_u64(Ra::new(index.get() + 8)).unwrap();
        assert_eq!(r & 0x180, 0, "R and C are the guest's");
        assert_eq!(d.engine.snapshot().cpus[0].counters.walks, 0);
    }
}
