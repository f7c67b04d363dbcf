//! A run in an arena: which CPU goes on, what a plan has before its steps, when it has ended.
//!
//! Owns where a run stands. Refuses to bring the machine back: that is the arena's.

use super::arena::Arena;
use super::plan::{Plan, Turn};
use super::view::{ArenaEnd, ArenaError, Others, Watch};
use crate::cost::Cycles;
use crate::cpu::{Cpu, CpuId};
use crate::guest::{Context, ContextEnd, Outcome, Pause};
use crate::script::Watching;
use emu_mmu::{Access, AccessState, Ea};

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    /// The CPU that goes on.
    running: usize,
    /// How many of the plan's departures were made.
    next: usize,
    /// Turns of waiting so far.
    waits: u64,
    /// The CPU that ran last.
    ran: Option<usize>,
    /// It stands before this step.
    before: Option<u64>,
}

impl Arena {
    /// Brings the machine back, then runs the plan. With `watch`, tells each step before it is made. A departure
    /// that is not possible where it stands is left out.
    ///
    /// # Errors
    /// A host that has no stacks, a guest that runs what does not exist.
    pub fn run(
        &mut self,
        plan: &Plan,
        watch: Option<&mut dyn Watch>,
    ) -> Result<(ArenaEnd, u64), ArenaError> {
        self.begin()?;
        self.finish(plan, watch)
    }

    /// Brings the machine back.
    ///
    /// # Errors
    /// A host that has no stacks.
    pub fn begin(&mut self) -> Result<(), ArenaError> {
        self.return_to_base()?;
        self.standing = Standing::default();
        Ok(())
    }

    /// Goes on from where it stands to the end of the plan's run. What it did of the plan stays done.
    ///
    /// # Errors
    /// As [`Arena::run`].
    pub fn finish(
        &mut self,
        plan: &Plan,
        watch: Option<&mut dyn Watch>,
    ) -> Result<(ArenaEnd, u64), ArenaError> {
        match self.go(plan, u64::MAX, watch)? {
            Some(end) => Ok(end),
            None => Ok((ArenaEnd::Hung, self.steps())),
        }
    }

    /// Goes on along a plan until it stands before a step, with what the plan has there done; or gives how the
    /// run ended before.
    ///
    /// # Errors
    /// As [`Arena::run`].
    pub fn go_to(&mut self, plan: &Plan, step: u64) -> Result<Option<(ArenaEnd, u64)>, ArenaError> {
        self.go(plan, step, None)
    }

    /// Departs from the run where it stands; not possible, it does nothing.
    pub fn depart(&mut self, turn: Turn) {
        self.standing.running = self.turn(self.standing.running, turn);
    }

    fn go(
        &mut self,
        plan: &Plan,
        until: u64,
        mut watch: Option<&mut dyn Watch>,
    ) -> Result<Option<(ArenaEnd, u64)>, ArenaError> {
        loop {
            if let Some(step) = self.standing.before {
                self.follow(plan, step);
                if step >= until {
                    return Ok(None);
                }
                self.standing.before = None;
                self.tick(self.standing.running);
            }
            self.deliver_interrupts();
            if !self.is_ready(self.standing.running) {
                match (0..self.cpus.len()).find(|&cpu| self.is_ready(cpu)) {
                    Some(cpu) => self.standing.running = cpu,
                    None => return Ok(Some((ArenaEnd::Quiet, self.steps()))),
                }
            }
            let running = self.standing.running;
            let before_a_step = match self.standing.ran.replace(running) {
                Some(other) if other != running => self.begin_anew(running),
                _ => false,
            };
            let outcome = if before_a_step {
                Outcome::Paused(Pause::Budget)
            } else {
                let pause_at = self.next_planned(plan).min(until);
                self.go_on(running, pause_at, &mut watch)?
            };
            match outcome {
                Outcome::Paused(Pause::Budget) => {
                    let step = self.steps();
                    if step >= self.limits.steps_max {
                        return Ok(Some((ArenaEnd::Hung, step)));
                    }
                    if let (Some(watch), Some(cpu)) = (&mut watch, &self.cpus[running]) {
                        watch.step(self.others(running).with_running(cpu, step));
                    }
                    self.standing.before = Some(step);
                }
                Outcome::Paused(Pause::Spin) => {
                    self.standing.waits += 1;
                    if self.standing.waits > self.limits.waits_max {
                        return Ok(Some((ArenaEnd::Hung, self.steps())));
                    }
                    self.standing.running = self.wait_for_another(running);
                }
                Outcome::Paused(Pause::Wait | Pause::Switch | Pause::Completion) => {}
                Outcome::Ended(Ok(ContextEnd::SwitchTo(_))) => {}
                Outcome::Ended(Ok(ContextEnd::Halt)) => {
                    return Ok(Some((ArenaEnd::Halted, self.steps())));
                }
                Outcome::Ended(Err(exception)) => {
                    let cpu = CpuId(running as u16);
                    return Ok(Some((ArenaEnd::Died(cpu, exception), self.steps())));
                }
            }
        }
    }

    /// Does what the plan has before a step.
    fn follow(&mut self, plan: &Plan, step: u64) {
        while let Some(deviation) = plan.deviations().get(self.standing.next)
            && deviation.step <= step
        {
            self.depart(deviation.turn);
            self.standing.next += 1;
        }
    }

    /// The step before which the plan has something.
    fn next_planned(&self, plan: &Plan) -> u64 {
        let planned = plan.deviations().get(self.standing.next).map(|d| d.step);
        planned.unwrap_or(u64::MAX).min(self.limits.steps_max)
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

    /// What stands on the CPUs but `running`.
    fn others(&self, running: usize) -> Others<'_> {
        let mut others = Others {
            machine: &self.machine,
            interrupted: 0,
            ready: 0,
            waiting: 0,
            under_way: self.late.as_ref().map_or(0, |late| late.to(running)),
            cpus: &self.cpus,
            contexts: &self.contexts,
            late: self.late.as_ref(),
        };
        for (index, cpu) in self.cpus.iter().enumerate() {
            let Some(cpu) = cpu.as_ref().filter(|_| index != running) else {
                continue;
            };
            others.ready |= u64::from(self.is_ready(index)) << index;
            others.waiting |= u64::from(cpu.waiting) << index;
            let interrupted = cpu.forced_interrupt || cpu.ipi_at.is_some();
            others.interrupted |= u64::from(interrupted) << index;
        }
        others
    }

    /// Resumes a CPU until before the step `pause_at`.
    fn go_on(
        &mut self,
        index: usize,
        pause_at: u64,
        watch: &mut Option<&mut dyn Watch>,
    ) -> Result<Outcome, ArenaError> {
        let steps = self.steps();
        let pause_at = pause_at.max(steps + 1).min(self.tick_due(index));
        let id = CpuId(index as u16);
        let Some(mut cpu) = self.cpus[index].take() else {
            return Err(ArenaError::NoContext(id));
        };
        cpu.waiting = false;
        cpu.before_a_step = false;
        let verbs_before = cpu.counters.verbs;
        // One who watches is told of each step, by who makes it if that can be.
        let pause_at = match watch {
            Some(_) if self.stops => steps + 1,
            _ => pause_at,
        };
        cpu.stop_after = match watch {
            Some(_) => cpu.counters.verbs,
            None => cpu.counters.verbs + (pause_at - steps) - 1,
        };
        cpu.set_deadline();
        if self.late.is_none() {
            self.machine.board.take_letters(index, |operand| {
                cpu.mmu.tlb_invalidate(&operand);
            });
        }
        let context_id = cpu.context;
        let context = self.contexts.get_mut(context_id.index());
        let Some(mut context) = context.and_then(Option::take) else {
            self.cpus[index] = Some(cpu);
            return Err(ArenaError::NoContext(id));
        };
        let (mut cpu, outcome) = match (&mut context, watch) {
            (Context::Script(script), Some(watch)) => {
                let others = self.others(index);
                let mut watching = Watching {
                    steps_less_verbs: steps.wrapping_sub(cpu.counters.verbs),
                    pause_at,
                    hears_accesses: watch.hears_accesses(),
                    watch: &mut **watch,
                    others,
                };
                script.resume(cpu, Some(&mut watching))
            }
            (context, _) => context.resume(cpu),
        };
        self.contexts[context_id.index()] = Some(context);
        self.made += cpu.counters.verbs - verbs_before;
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
