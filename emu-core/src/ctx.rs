//! The context of guest code and its verbs.
//!
//! Owns the places where time passes and where an interrupt may land. Each verb finds its CPU anew and
//! gives back a value, never a reference to a CPU. Refuses kernel notions: a "task pointer" here is a
//! number that guest code gave the context.

mod ask;
pub(crate) mod charge;
mod interrupts;
mod memory;
pub(crate) mod order;
mod reservation;
pub(crate) mod storage;

use crate::cost::{Category, Cycles, Job, Path, Place};
use crate::cpu::{Cpu, CpuId, OffSince, OffSpan};
use crate::exception::{Exception, Interrupt, Run, Step, Vectors};
use crate::guest::{GuestYielder, Pause};
use crate::machine::Machine;
use crate::probe::{Event, Interest};
use crate::scheduler::{Choice, Options};
use crate::script::{ScriptYielder, Verb};
use crate::timing::Lump;
use emu_mmu::Fault;
use std::sync::Arc;

/// A function of the guest on the stack of its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function.
    pub function: &'static str,
    /// The call it is in, by the name of what it calls.
    pub site: &'static str,
}

/// To whom guest code gives way.
#[derive(Clone, Copy)]
enum Link<'y> {
    /// An engine, which takes the CPU and gives one back.
    Engine(&'y GuestYielder),
    /// Who does its verbs: it has no CPU.
    Script(&'y ScriptYielder),
}

/// Guest code's view of the machine.
pub struct Ctx<'y> {
    machine: Arc<Machine>,
    /// None while it is stopped, and where it asks for its verbs.
    cpu: Option<Box<Cpu>>,
    link: Link<'y>,
    local: u64,
    /// Interrupts it is in the midst of.
    depth: u32,
    frames: Vec<Frame>,
    place: Place,
    /// The guest's vectors, where they are not in use: to have them from the machine counts how many do.
    vectors: Option<Arc<dyn Vectors>>,
}

impl std::fmt::Debug for Ctx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx")
            .field("local", &self.local)
            .field("frames", &self.frames)
            .finish()
    }
}

impl<'y> Ctx<'y> {
    pub(crate) fn new(machine: Arc<Machine>, mut cpu: Box<Cpu>, yielder: &'y GuestYielder) -> Self {
        cpu.set_place(Place::default());
        cpu.depth = 0;
        Ctx::linked(machine, Some(cpu), Link::Engine(yielder))
    }

    fn linked(machine: Arc<Machine>, cpu: Option<Box<Cpu>>, link: Link<'y>) -> Self {
        Ctx {
            machine,
            cpu,
            link,
            local: 0,
            depth: 0,
            // As deep as a kernel's stack gets.
            frames: Vec::with_capacity(24),
            place: Place::default(),
            vectors: None,
        }
    }

    pub(crate) fn into_cpu(self) -> Box<Cpu> {
        self.cpu.expect("a running context has its CPU")
    }

    #[inline(always)]
    fn cpu_mut(&mut self) -> &mut Cpu {
        self.cpu.as_mut().expect("a running context has its CPU")
    }

    #[inline(always)]
    fn cpu_ref(&self) -> &Cpu {
        self.cpu.as_ref().expect("a running context has its CPU")
    }

    /// What all CPUs share.
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    // --- identity and time -------------------------------------------------------------------------

    /// The CPU this code runs on at this moment. It may be another one after the next verb.
    #[inline]
    pub fn cpu_id(&self) -> CpuId {
        match &self.cpu {
            Some(cpu) => cpu.id,
            None => CpuId(self.told(Verb::CpuId) as u16),
        }
    }

    /// The CPU's clock; zero in an arena with scripts, where what code does may not depend on time.
    #[inline]
    pub fn now(&self) -> Cycles {
        self.cpu.as_ref().map_or(Cycles::ZERO, |cpu| cpu.clock)
    }

    /// The number that guest code gave this context: what the kernel keeps in r13 as `current`.
    #[inline]
    pub fn local(&self) -> u64 {
        self.local
    }

    /// Sets the context's own number.
    pub fn set_local(&mut self, local: u64) {
        self.local = local;
        match &mut self.cpu {
            Some(cpu) => cpu.local = local,
            None => drop(self.told(Verb::SetLocal(local))),
        }
    }

    /// Reads this CPU's number from its per-CPU area: a verb, so that code may be moved before or after.
    ///
    /// # Errors
    /// The end of the run.
    #[inline]
    pub fn read_cpu_id(&mut self, step: Step) -> Run<CpuId> {
        if let Some(cpu) = self.cpu.as_mut()
            && cpu.clock < cpu.quick_until
        {
            cpu.counters.verbs += 1;
            cpu.charge(Category::LoadStore, self.machine.costs.load);
            return Ok(cpu.id);
        }
        self.slow_read_cpu_id(step)
    }

    #[inline(never)]
    fn slow_read_cpu_id(&mut self, step: Step) -> Run<CpuId> {
        if self.asks() {
            return Ok(CpuId(self.ask(Verb::ReadCpuId(step))? as u16));
        }
        self.begin()?;
        let load = self.machine.costs.load;
        let cpu = self.cpu_mut();
        cpu.charge(Category::LoadStore, load);
        self.note_event(Interest::ACCESSES, || Event::CpuNumber { step });
        Ok(self.cpu_id())
    }

    /// Reads the timebase (mftb).
    ///
    /// # Errors
    /// The end of the run.
    pub fn timebase(&mut self) -> Run<u64> {
        if self.asks() {
            return self.ask(Verb::Timebase);
        }
        self.begin()?;
        let cost = self.machine.costs.special_register;
        let cpu = self.cpu_mut();
        cpu.charge(Category::Instructions, cost);
        let clock = cpu.clock;
        Ok(self.machine.costs.timebase(clock))
    }

    /// Reads the low `bits` bits of the timebase; the scheduler may choose them.
    ///
    /// # Errors
    /// The end of the run.
    pub fn timebase_bits(&mut self, bits: u32) -> Run<u64> {
        let count = 1u64 << bits;
        let clocked = self.timebase()? & (count - 1);
        Ok(self
            .machine
            .choose(Choice::TimebaseBits, Options { count, clocked }))
    }

    /// Executes `count` straight-line instructions.
    ///
    /// # Errors
    /// The end of the run.
    #[inline]
    pub fn retire(&mut self, count: u64) -> Run<()> {
        if self.asks() {
            return self.ask(Verb::Retire(count)).map(drop);
        }
        self.begin()?;
        let cycles = self.machine.costs.instructions(count);
        self.cpu_mut().charge(Category::Instructions, cycles.get());
        Ok(())
    }

    /// Executes straight-line instructions whose cost on this machine is known: [`Ctx::retire`] of as many.
    ///
    /// # Errors
    /// The end of the run.
    #[inline(always)]
    pub fn retire_lump(&mut self, lump: Lump) -> Run<()> {
        if let Some(cpu) = self.cpu.as_mut()
            && cpu.clock < cpu.quick_until
        {
            cpu.counters.verbs += 1;
            cpu.charge(Category::Instructions, lump.cycles());
            return Ok(());
        }
        self.slow_retire(lump.instructions())
    }

    #[inline(never)]
    fn slow_retire(&mut self, count: u64) -> Run<()> {
        self.retire(count)
    }

    /// Asks the scheduler.
    pub fn choose(&mut self, kind: Choice, options: Options) -> u64 {
        self.machine.choose(kind, options)
    }

    // --- the engine's side -------------------------------------------------------------------------

    /// Begins a verb: an interrupt may land here, or another CPU go on.
    #[inline(always)]
    fn begin(&mut self) -> Run<()> {
        let cpu = self.cpu_mut();
        let attends = cpu.attends_now();
        cpu.counters.verbs += 1;
        if attends { self.attend() } else { Ok(()) }
    }

    #[cold]
    fn attend(&mut self) -> Run<()> {
        loop {
            if self.machine.stopping() {
                return Err(Exception::Stop);
            }
            let cpu = self.cpu_mut();
            if cpu.interrupts_enabled && cpu.interrupt_due_at() <= cpu.clock {
                self.take_interrupt()?;
                let cpu = self.cpu_mut();
                // In an exploration the verb begins anew: it can be departed from again.
                cpu.counters.verbs += u64::from(cpu.explored);
                continue;
            }
            let stops = match cpu.explored {
                false => cpu.clock >= cpu.budget_end,
                true => cpu.counters.verbs > cpu.stop_after,
            };
            if stops {
                self.pause(Pause::Budget);
                continue;
            }
            cpu.set_deadline();
            return Ok(());
        }
    }

    fn pause(&mut self, why: Pause) {
        let (Some(cpu), Link::Engine(yielder)) = (self.cpu.take(), self.link) else {
            return;
        };
        let mut cpu = yielder.suspend((cpu, why));
        cpu.set_place(self.place);
        cpu.local = self.local;
        cpu.depth = self.depth;
        self.cpu = Some(cpu);
    }

    fn take_interrupt(&mut self) -> Run<()> {
        let entry = self.machine.costs.interrupt_entry;
        let cpu = self.cpu_mut();
        let kind = if cpu.forced_interrupt || cpu.decrementer <= cpu.clock {
            cpu.forced_interrupt = false;
            cpu.decrementer = Cycles::MAX;
            Interrupt::Decrementer
        } else {
            cpu.ipi_at = None;
            Interrupt::Ipi
        };
        cpu.counters.interrupts += 1;
        cpu.reservation = None;
        self.switch_interrupts(false);
        self.cpu_mut().charge(Category::Interrupts, entry);
        self.note_event(Interest::SWITCHES, || Event::Interrupt);
        if self.machine.vectors.get().is_none() {
            return Err(Exception::Corrupt("no interrupt vectors installed"));
        }
        self.depth += 1;
        self.cpu_mut().depth = self.depth;
        self.call_vector(|vectors, cx| vectors.interrupt(cx, kind))?;
        self.depth -= 1;
        self.cpu_mut().depth = self.depth;
        let rfid = self.machine.costs.rfid;
        self.cpu_mut().charge(Category::Interrupts, rfid);
        self.switch_interrupts(true);
        Ok(())
    }

    #[cold]
    fn storage_interrupt(&mut self, fault: Fault) -> Run<()> {
        if self.machine.vectors.get().is_none() {
            return Err(Exception::Fault(fault));
        }
        let entry = self.machine.costs.interrupt_entry;
        let cpu = self.cpu_mut();
        let enabled = cpu.interrupts_enabled;
        cpu.counters.storage_interrupts += 1;
        cpu.reservation = None;
        self.switch_interrupts(false);
        self.cpu_mut().charge(Category::StorageInterrupts, entry);
        self.call_vector(|vectors, cx| vectors.storage(cx, fault))?;
        let rfid = self.machine.costs.rfid;
        self.cpu_mut().charge(Category::StorageInterrupts, rfid);
        self.switch_interrupts(enabled);
        Ok(())
    }

    /// Sets the EE bit of the MSR and notes a span that ends.
    #[inline]
    fn switch_interrupts(&mut self, enabled: bool) {
        let machine = &*self.machine;
        let cpu = self.cpu.as_mut().expect("a running context has its CPU");
        if cpu.interrupts_enabled == enabled {
            return;
        }
        let longest = |cycles| machine.note_irqs_off(cycles);
        if let Some(span) = cpu.switch_interrupts(enabled, self.frames.last(), longest) {
            self.tell_irqs_off(span);
        }
    }

    #[inline]
    fn note_irqs_off(&mut self, span: OffSpan) {
        if self.machine.note_irqs_off(span.cycles) {
            self.tell_irqs_off(span);
        }
    }

    /// Tells of the longest span so far.
    #[cold]
    fn tell_irqs_off(&self, span: OffSpan) {
        if let Some(vectors) = self.machine.vectors.get() {
            vectors.longest_irqs_off(self, span);
        }
    }

    /// Begins a span that guest code watches on this CPU, such as one with preemption off.
    #[inline]
    pub fn begin_span(&mut self) {
        let frame = self.frames.last().copied();
        if let Some(cpu) = &mut self.cpu {
            cpu.off_since = Some(OffSince::new(cpu.clock, frame));
        }
    }

    /// Ends the span of this CPU, if one was begun.
    #[inline]
    pub fn end_span(&mut self) -> Option<OffSpan> {
        let cpu = self.cpu.as_mut()?;
        Some(cpu.off_since.take()?.until(cpu.clock))
    }

    /// Calls one of the guest's vectors.
    #[inline]
    fn call_vector(&mut self, call: impl FnOnce(&dyn Vectors, &mut Self) -> Run<()>) -> Run<()> {
        let vectors = match self.vectors.take() {
            Some(vectors) => vectors,
            None => (self.machine.vectors.get().cloned())
                .ok_or(Exception::Corrupt("no interrupt vectors installed"))?,
        };
        let result = call(&*vectors, self);
        self.vectors = Some(vectors);
        result
    }

    #[inline(always)]
    fn note_event(&self, class: Interest, event: impl FnOnce() -> Event) {
        self.machine.note(self.cpu_ref(), class, event);
    }

    // --- the guest's own call stack ----------------------------------------------------------------

    /// Calls a guest function: it stands on the stack of this context while `body` runs.
    #[inline]
    pub fn call<T>(
        &mut self,
        function: &'static str,
        body: impl FnOnce(&mut Self) -> Run<T>,
    ) -> Run<T> {
        if let Some(frame) = self.frames.last_mut() {
            frame.site = function;
        }
        self.frames.push(Frame { function, site: "" });
        let result = body(self);
        self.frames.pop();
        result
    }

    /// Runs a part of the guest's work; its cycles are kept under `path`, unless it is in another inside.
    #[inline]
    pub fn in_path<T>(&mut self, path: Path, body: impl FnOnce(&mut Self) -> Run<T>) -> Run<T> {
        self.in_place(self.place.with_path(path), body)
    }

    /// Runs a job of the guest; its cycles are kept under `job`, unless it does another inside.
    #[inline]
    pub fn in_job<T>(&mut self, job: Job, body: impl FnOnce(&mut Self) -> Run<T>) -> Run<T> {
        self.in_place(self.place.with_job(job), body)
    }

    /// Runs a part of a job of the guest: [`Ctx::in_job`] and [`Ctx::in_path`] in one.
    #[inline]
    pub fn in_job_and_path<T>(
        &mut self,
        job: Job,
        path: Path,
        body: impl FnOnce(&mut Self) -> Run<T>,
    ) -> Run<T> {
        self.in_place(self.place.with_job(job).with_path(path), body)
    }

    #[inline]
    fn in_place<T>(&mut self, place: Place, body: impl FnOnce(&mut Self) -> Run<T>) -> Run<T> {
        let before = self.set_place(place);
        let result = body(self);
        self.set_place(before);
        result
    }

    #[inline]
    fn set_place(&mut self, place: Place) -> Place {
        if let Some(cpu) = &mut self.cpu {
            cpu.set_place(place);
        }
        std::mem::replace(&mut self.place, place)
    }

    /// Names the inlined call that the innermost function is in.
    #[inline]
    pub fn at(&mut self, site: &'static str) {
        if let Some(frame) = self.frames.last_mut() {
            frame.site = site;
        }
    }

    /// The functions on the stack, outermost first.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }
}
