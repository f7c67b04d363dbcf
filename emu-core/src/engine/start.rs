//! What a CPU begins with: host-written guest code or instructions.
//!
//! Owns the first context of each CPU. Refuses to run it.

use super::Engine;
use crate::guest::{Context, ContextId, GuestCode, Newborn};
use crate::interp::Interpreter;

impl Engine {
    /// Gives a CPU its first context. CPUs that are never started stay idle.
    pub fn start_cpu(&mut self, cpu: u16, code: GuestCode) -> ContextId {
        self.begin_on(cpu, Newborn::Host(code))
    }

    /// Lets a CPU run instructions from guest memory. With [`Machine::load_words`](crate::Machine::load_words), [`Engine::run`] and
    /// [`Engine::interpreter`] that is all it takes to time a piece of code.
    ///
    /// ```
    /// use emu_core::{Clocked, Engine, Interpreter, MachineConfig, Registers};
    /// use emu_mmu::Ra;
    ///
    /// let mut engine = Engine::new(MachineConfig::small_test(), Box::new(Clocked::new())).unwrap();
    /// // addi r3,r3,41; attn
    /// engine.machine().load_words(Ra::new(0x1000), &[0x3863_0029, 0x0000_0200]).unwrap();
    /// let mut registers = Registers::new(0x1000, 0);
    /// registers.gpr[3] = 1;
    /// engine.start_instructions(0, Interpreter::new(registers));
    /// let end = engine.run().unwrap();
    /// assert_eq!(engine.interpreter(0).unwrap().exit(), Some(42));
    /// assert_eq!(end.cpus[0].clock.get(), 2);
    /// ```
    pub fn start_instructions(&mut self, cpu: u16, interpreter: Interpreter) -> ContextId {
        self.begin_on(cpu, Newborn::Instructions(Box::new(interpreter)))
    }

    fn begin_on(&mut self, cpu: u16, newborn: Newborn) -> ContextId {
        let id = self.machine.new_context_id();
        self.machine.newborn.lock().push((id, newborn));
        if let Some(Some(cpu)) = self.cpus.get_mut(cpu as usize) {
            cpu.context = id;
        }
        id
    }

    /// What runs a CPU's instructions, once the run has begun; it stays to be read when the machine is
    /// off.
    pub fn interpreter(&self, cpu: u16) -> Option<&Interpreter> {
        let cpu = self.cpus.get(cpu as usize)?.as_ref()?;
        match self.contexts.get(cpu.context.index())? {
            Some(Context::Instructions(_, interpreter)) => Some(interpreter),
            _ => None,
        }
    }
}
