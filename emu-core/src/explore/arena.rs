//! The arena: a machine that is brought back to one state and run on from there, as often as wanted.
//!
//! A coroutine cannot be wound back. So nothing runs in the state that is returned to but contexts that wait
//! for an interrupt in their idle loop, which are the same there every time, and contexts that have not begun;
//! whatever else a run leaves is dropped, and made anew.

use super::late::Late;
use super::plan::{Plan, Turn};
use super::view::{ArenaEnd, ArenaError, Hardware, Limits, StepView};
use crate::cost::Cycles;
use crate::cpu::{Cpu, CpuId};
use crate::engine::{Engine, Parts};
use crate::guest::{Context, ContextEnd, ContextId, GuestCode, Outcome, Pause, StackPool};
use crate::machine::Machine;
use emu_mmu::{Access, AccessState, Ea, Mmu};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Makes the code of a context that has not begun.
pub type Fresh = Arc<dyn Fn() -> GuestCode + Send + Sync>;

/// A context of the state that is returned to.
struct Slot {
    fresh: Fresh,
    /// It waits in its idle loop where the exploration begins.
    idle: bool,
}

/// A machine to be run over and over.
pub struct Arena {
    machine: Arc<Machine>,
    base: Vec<Cpu>,
    slots: Vec<(ContextId, Slot)>,
    cpus: Vec<Option<Box<Cpu>>>,
    contexts: Vec<Option<Context>>,
    stacks: StackPool,
    limits: Limits,
    ticked: Vec<u64>,
    /// What is under way, if invalidations may be late.
    late: Option<Late>,
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena")
            .field("machine", &self.machine)
            .finish()
    }
}

impl Arena {
    /// Takes a machine whose CPUs all wait for an interrupt as the state to return to. `idle` makes the code of
    /// each CPU's context as it goes on from there; `tasks` are contexts that some CPU will switch to;
    /// `begin` are CPUs to be interrupted at once.
    ///
    /// # Errors
    /// A CPU that does not wait.
    pub fn new(
        engine: Engine,
        idle: Vec<Fresh>,
        tasks: Vec<(ContextId, Fresh)>,
        begin: &[CpuId],
        limits: Limits,
    ) -> Result<Self, ArenaError> {
        let Parts {
            machine,
            cpus,
            contexts,
            stacks,
        } = engine.into_parts();
        machine.memory.start_journal();
        let mut base = Vec::new();
        for (index, cpu) in cpus.into_iter().enumerate() {
            let cpu = cpu.filter(|cpu| cpu.waiting && !cpu.interrupts_enabled);
            let mut cpu = *cpu.ok_or(ArenaError::Busy(CpuId(index as u16)))?;
            cpu.explored = true;
            cpu.close_account();
            cpu.forced_interrupt = begin.contains(&cpu.id);
            base.push(cpu);
        }
        let ids = base.iter().map(|cpu| cpu.context);
        let waiting = ids
            .zip(idle)
            .map(|(id, fresh)| (id, Slot { fresh, idle: true }));
        let new = tasks
            .into_iter()
            .map(|(id, fresh)| (id, Slot { fresh, idle: false }));
        let slots = waiting.chain(new).collect();
        Ok(Arena {
            ticked: vec![0; base.len()],
            cpus: vec![],
            machine,
            base,
            slots,
            contexts,
            stacks,
            limits,
            late: None,
        })
    }

    /// From now on a `tlbie` reaches another CPU when the plan says so ([`Turn::Receive`]), at the latest when
    /// its sender completes a `ptesync` after a `tlbsync` (Power ISA 2.07 Book III-S 5.9.3.3).
    #[must_use]
    pub fn with_late_invalidations(mut self) -> Self {
        self.machine.late.store(true, Ordering::Relaxed);
        self.late = Some(Late::new(self.base.len()));
        self
    }

    /// The machine.
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// The MMU of a CPU as the last run left it.
    pub fn mmu(&self, cpu: CpuId) -> Option<&Mmu> {
        Some(&self.cpus.get(cpu.index())?.as_ref()?.mmu)
    }

    /// Brings the machine back, then runs the plan. With `watch`, tells each step before it is made. A departure
    /// that is not possible where it stands is left out.
    ///
    /// # Errors
    /// A host that has no stacks, a guest that runs what does not exist.
    pub fn run(
        &mut self,
        plan: &Plan,
        mut watch: Option<&mut dyn FnMut(StepView<'_>)>,
    ) -> Result<(ArenaEnd, u64), ArenaError> {
        self.return_to_base()?;
        let (mut running, mut next, mut waits) = (0, 0, 0);
        let mut ran = None;
        loop {
            self.deliver_interrupts();
            if !self.is_ready(running) {
                match (0..self.cpus.len()).find(|&cpu| self.is_ready(cpu)) {
                    Some(cpu) => running = cpu,
                    None => return Ok((ArenaEnd::Quiet, self.steps())),
                }
            }
            let before_a_step = match ran.replace(running) {
                Some(other) if other != running => self.begin_anew(running),
                _ => false,
            };
            let outcome = if before_a_step {
                Outcome::Paused(Pause::Budget)
            } else {
                let planned = plan.deviations().get(next).map(|d| d.step);
                let pause_at = match watch {
                    Some(_) => self.steps() + 1,
                    None => planned.unwrap_or(u64::MAX).min(self.limits.steps_max),
                };
                let pause_at = pause_at.max(self.steps() + 1).min(self.tick_due(running));
                self.go_on(running, pause_at)?
            };
            match outcome {
                Outcome::Paused(Pause::Budget) => {
                    let step = self.steps();
                    if step >= self.limits.steps_max {
                        return Ok((ArenaEnd::Hung, step));
                    }
                    if let Some(watch) = &mut watch {
                        watch(self.view(running, step));
                    }
                    while let Some(deviation) = plan.deviations().get(next)
                        && deviation.step <= step
                    {
                        running = self.turn(running, deviation.turn);
                        next += 1;
                    }
                    self.tick(running);
                }
                Outcome::Paused(Pause::Spin) => {
                    waits += 1;
                    if waits > self.limits.waits_max {
                        return Ok((ArenaEnd::Hung, self.steps()));
                    }
                    running = self.wait_for_another(running);
                }
                Outcome::Paused(Pause::Wait | Pause::Switch | Pause::Completion) => {}
                Outcome::Ended(Ok(ContextEnd::SwitchTo(_))) => {}
                Outcome::Ended(Ok(ContextEnd::Halt)) => {
                    return Ok((ArenaEnd::Halted, self.steps()));
                }
                Outcome::Ended(Err(exception)) => {
                    let cpu = CpuId(running as u16);
                    return Ok((ArenaEnd::Died(cpu, exception), self.steps()));
                }
            }
        }
    }

    /// A CPU that stopped before a step, and goes on after another, begins the step anew: it is one more.
    fn begin_anew(&mut self, cpu: usize) -> bool {
        let Some(Some(cpu)) = self.cpus.get_mut(cpu) else {
            return false;
        };
        let before_a_step = std::mem::take(&mut cpu.before_a_step);
        cpu.counters.verbs += u64::from(before_a_step);
        before_a_step
    }

    /// Steps begun since the start.
    fn steps(&self) -> u64 {
        let begun = |cpu: &Cpu| cpu.counters.verbs;
        let now: u64 = self.cpus.iter().flatten().map(|cpu| begun(cpu)).sum();
        now - self.base.iter().map(begun).sum::<u64>()
    }

    fn return_to_base(&mut self) -> Result<(), ArenaError> {
        self.machine.memory.undo_journal()?;
        let ended_quiet: Vec<ContextId> = self
            .cpus
            .iter()
            .flatten()
            .filter(|cpu| cpu.waiting)
            .map(|cpu| cpu.context)
            .collect();
        for (id, slot) in &self.slots {
            let as_it_was = slot.idle && ended_quiet.contains(id);
            if as_it_was && self.contexts.get(id.index()).is_some_and(Option::is_some) {
                continue;
            }
            if self.contexts.len() <= id.index() {
                self.contexts.resize_with(id.index() + 1, || None);
            }
            // One that is half-way through is unwound; a clean one gives its stack back.
            self.contexts[id.index()] = None;
            let stack = self.stacks.take()?;
            let code = (slot.fresh)();
            self.contexts[id.index()] = Some(Context::new(self.machine.clone(), code, stack));
        }
        self.cpus.resize_with(self.base.len(), || None);
        for (cpu, base) in self.cpus.iter_mut().zip(&self.base) {
            match cpu {
                Some(cpu) => cpu.copy_from(base),
                None => *cpu = Some(Box::new(base.clone())),
            }
        }
        self.ticked = self.base.iter().map(|cpu| cpu.counters.verbs).collect();
        if let Some(late) = &mut self.late {
            late.clear();
        }
        for cpu in 0..self.base.len() {
            self.machine.board.take_letters(cpu, |_| ());
            self.machine.board.take_interrupt(cpu);
        }
        Ok(())
    }

    /// What CPUs sent each other is due at once.
    fn deliver_interrupts(&mut self) {
        for (index, cpu) in self.cpus.iter_mut().enumerate() {
            if let Some(cpu) = cpu
                && self.machine.board.take_interrupt(index).is_some()
            {
                cpu.ipi_at = Some(Cycles::ZERO);
            }
        }
    }

    fn is_ready(&self, cpu: usize) -> bool {
        let cpu = self.cpus.get(cpu).and_then(Option::as_ref);
        cpu.is_some_and(|cpu| !cpu.waiting || cpu.forced_interrupt || cpu.ipi_at.is_some())
    }

    /// The step at which the timer of a CPU is due.
    fn tick_due(&self, cpu: usize) -> u64 {
        let verbs = self.cpus[cpu].as_ref().map_or(0, |c| c.counters.verbs);
        let since = verbs - self.ticked[cpu].min(verbs);
        let left = self.limits.steps_between_ticks.saturating_sub(since).max(1);
        self.steps() + left
    }

    /// Lets the timer interrupt land if it is due.
    fn tick(&mut self, cpu: usize) {
        if self.tick_due(cpu) <= self.steps() + 1
            && let Some(cpu) = &mut self.cpus[cpu]
        {
            self.ticked[cpu.id.index()] = cpu.counters.verbs;
            cpu.forced_interrupt = true;
        }
    }

    /// The CPU that goes on while `running` waits for another; if there is none, its timer interrupts.
    fn wait_for_another(&mut self, running: usize) -> usize {
        let mut others = (running + 1..self.cpus.len()).chain(0..running);
        if let Some(other) = others.find(|&cpu| self.is_ready(cpu)) {
            return other;
        }
        self.turn(running, Turn::Interrupt)
    }

    fn turn(&mut self, running: usize, turn: Turn) -> usize {
        let (to, interrupt) = match turn {
            Turn::Receive(cpu) => {
                if let Some(late) = &mut self.late {
                    late.receive(cpu.index(), &mut self.cpus);
                }
                return running;
            }
            Turn::Walk(cpu, ea) => {
                self.walk(cpu, ea);
                return running;
            }
            Turn::Interrupt => (running, true),
            Turn::SwitchTo(cpu) => (cpu.index(), false),
            Turn::Wake(cpu) => (cpu.index(), true),
        };
        if interrupt && let Some(Some(cpu)) = self.cpus.get_mut(to) {
            self.ticked[to] = cpu.counters.verbs;
            cpu.forced_interrupt = true;
        }
        if self.is_ready(to) { to } else { running }
    }

    /// A walk that no instruction waits for: it may set R, and a fault is nobody's (Power ISA 2.07 Book III-S
    /// 5.5 and 5.7.8).
    fn walk(&mut self, cpu: CpuId, ea: Ea) {
        let state = match ea.get() >> 60 {
            0 => AccessState::user(),
            _ => AccessState::kernel(),
        };
        if let Some(Some(cpu)) = self.cpus.get_mut(cpu.index()) {
            let (memory, hpt) = (&self.machine.memory, &self.machine.hpt);
            let _ = (cpu.mmu).translate(memory, hpt, ea, Access::Load, state, &mut ());
        }
    }

    fn view(&self, running: usize, step: u64) -> StepView<'_> {
        let mut view = StepView {
            machine: &self.machine,
            step,
            cpu: CpuId(running as u16),
            local: 0,
            depth: 0,
            interrupts_enabled: false,
            interrupted: 0,
            ready: 0,
            waiting: 0,
            under_way: self.late.as_ref().map_or(0, |late| late.to(running)),
            hardware: Hardware::new(&self.cpus, self.late.as_ref()),
        };
        for (index, cpu) in self.cpus.iter().enumerate() {
            let Some(cpu) = cpu else { continue };
            if index == running {
                (view.local, view.depth) = (cpu.local, cpu.depth);
                view.interrupts_enabled = cpu.interrupts_enabled;
            } else if self.is_ready(index) {
                view.ready |= 1 << index;
            }
            if cpu.waiting {
                view.waiting |= 1 << index;
            }
            if cpu.forced_interrupt || cpu.ipi_at.is_some() {
                view.interrupted |= 1 << index;
            }
        }
        view
    }

    /// Resumes a CPU until before the step `pause_at`.
    fn go_on(&mut self, index: usize, pause_at: u64) -> Result<Outcome, ArenaError> {
        let steps = self.steps();
        let id = CpuId(index as u16);
        let Some(mut cpu) = self.cpus[index].take() else {
            return Err(ArenaError::NoContext(id));
        };
        cpu.waiting = false;
        cpu.before_a_step = false;
        cpu.stop_after = cpu.counters.verbs + (pause_at - steps) - 1;
        cpu.set_deadline();
        if self.late.is_none() {
            self.machine.board.take_letters(index, |operand| {
                cpu.mmu.tlb_invalidate(&operand);
            });
        }
        let context_id = cpu.context;
        let Some(Some(context)) = self.contexts.get_mut(context_id.index()) else {
            self.cpus[index] = Some(cpu);
            return Err(ArenaError::NoContext(id));
        };
        let (mut cpu, outcome) = context.resume(cpu);
        match outcome {
            Outcome::Paused(Pause::Wait) => cpu.waiting = true,
            Outcome::Paused(Pause::Budget) => cpu.before_a_step = true,
            Outcome::Paused(_) => {}
            Outcome::Ended(end) => {
                if let Some(context) = self.contexts[context_id.index()].take() {
                    self.contexts[context_id.index()] = context.ended(&mut self.stacks);
                }
                if let Ok(ContextEnd::SwitchTo(next)) = end {
                    cpu.context = next;
                }
            }
        }
        self.cpus[index] = Some(cpu);
        if let Some(late) = &mut self.late {
            late.post(&self.machine, index);
            if matches!(outcome, Outcome::Paused(Pause::Completion)) {
                late.complete(index, &mut self.cpus);
            }
        }
        Ok(outcome)
    }
}
