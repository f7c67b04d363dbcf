//! The context of guest code and its verbs.
//!
//! Owns the places where time passes and where an interrupt may land. Each verb finds its CPU anew and
//! gives back a value, never a reference to a CPU. Refuses kernel notions: a "task pointer" here is a
//! number that guest code gave the context.

use crate::cost::{Category, CostTable, Cycles};
use crate::cpu::{Cpu, CpuId};
use crate::exception::{Exception, Interrupt, Run, Step};
use crate::guest::{ContextId, GuestCode, GuestYielder, Pause};
use crate::machine::Machine;
use crate::probe::{Event, Interest};
use crate::scheduler::{Choice, Options};
use emu_mmu::{Access, AccessState, Barrier, Ea, Fault, Probe, Ra, TlbInvalidate, Walk};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A function of the guest on the stack of its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function.
    pub function: &'static str,
    /// The call it is in, by the name of what it calls.
    pub site: &'static str,
}

/// Guest code's view of the machine.
pub struct Ctx<'y> {
    machine: Arc<Machine>,
    cpu: Option<Box<Cpu>>,
    yielder: &'y GuestYielder,
    local: u64,
    frames: Vec<Frame>,
}

impl std::fmt::Debug for Ctx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx")
            .field("local", &self.local)
            .field("frames", &self.frames)
            .finish()
    }
}

/// Charges what a walk did to the CPU it happened on.
struct WalkCharge {
    walk: Option<Walk>,
}

impl Probe for WalkCharge {
    #[inline]
    fn walk(&mut self, walk: &Walk) {
        if !walk.erat_hit {
            self.walk = Some(*walk);
        }
    }
}

fn charge_walk(cpu: &mut Cpu, costs: &CostTable, walk: &Walk) {
    cpu.counters.erat_misses += 1;
    let mut cycles = costs.erat_miss;
    if !walk.tlb_hit && walk.groups_read > 0 {
        cpu.counters.walks += 1;
        cpu.counters.groups_read += u64::from(walk.groups_read);
        cycles += costs.walk + costs.walk_group * u64::from(walk.groups_read);
    }
    if walk.r_written || walk.c_written {
        cycles += costs.reference_change_update;
    }
    cpu.charge(Category::Translation, cycles);
}

macro_rules! sized_access {
    ($load:ident, $store:ident, $mem_load:ident, $mem_store:ident, $type:ty, $words:literal) => {
        #[doc = concat!("Loads ", $words, " at an effective address, big-endian.")]
        ///
        /// # Errors
        /// A storage interrupt that the guest could not resolve, or the end of the run.
        #[inline]
        pub fn $load(&mut self, ea: Ea, step: Step) -> Run<$type> {
            self.begin()?;
            let ra = self.translate(ea, Access::Load)?;
            let load = self.machine.costs.load;
            self.cpu_mut().charge(Category::LoadStore, load);
            self.note_access(ra, false, step);
            Ok(self.machine.memory.$mem_load(ra)?)
        }

        #[doc = concat!("Stores ", $words, " at an effective address, big-endian.")]
        ///
        /// # Errors
        /// A storage interrupt that the guest could not resolve, or the end of the run.
        #[inline]
        pub fn $store(&mut self, ea: Ea, value: $type, step: Step) -> Run<()> {
            self.begin()?;
            let ra = self.translate(ea, Access::Store)?;
            let store = self.machine.costs.store;
            self.cpu_mut().charge(Category::LoadStore, store);
            self.note_access(ra, true, step);
            Ok(self.machine.memory.$mem_store(ra, value)?)
        }
    };
}

impl<'y> Ctx<'y> {
    pub(crate) fn new(machine: Arc<Machine>, cpu: Box<Cpu>, yielder: &'y GuestYielder) -> Self {
        Ctx {
            machine,
            cpu: Some(cpu),
            yielder,
            local: 0,
            frames: Vec::new(),
        }
    }

    pub(crate) fn into_cpu(self) -> Box<Cpu> {
        self.cpu.expect("a running context has its CPU")
    }

    #[inline]
    fn cpu_mut(&mut self) -> &mut Cpu {
        self.cpu.as_mut().expect("a running context has its CPU")
    }

    #[inline]
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
        self.cpu_ref().id
    }

    /// The CPU's clock.
    #[inline]
    pub fn now(&self) -> Cycles {
        self.cpu_ref().clock
    }

    /// The number that guest code gave this context: what the kernel keeps in r13 as `current`.
    #[inline]
    pub fn local(&self) -> u64 {
        self.local
    }

    /// Sets the context's own number.
    pub fn set_local(&mut self, local: u64) {
        self.local = local;
    }

    /// Reads this CPU's number from its per-CPU area: a verb, so that code may be moved before or after.
    ///
    /// # Errors
    /// The end of the run.
    pub fn read_cpu_id(&mut self, step: Step) -> Run<CpuId> {
        self.begin()?;
        let load = self.machine.costs.load;
        let _ = step;
        let cpu = self.cpu_mut();
        cpu.charge(Category::LoadStore, load);
        Ok(cpu.id)
    }

    /// Reads the timebase (mftb).
    ///
    /// # Errors
    /// The end of the run.
    pub fn timebase(&mut self) -> Run<u64> {
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
        self.begin()?;
        let cycles = self.machine.costs.instructions(count);
        self.cpu_mut().charge(Category::Instructions, cycles.get());
        Ok(())
    }

    /// Asks the scheduler.
    pub fn choose(&mut self, kind: Choice, options: Options) -> u64 {
        self.machine.choose(kind, options)
    }

    // --- the engine's side -------------------------------------------------------------------------

    /// Begins a verb: an interrupt may land here, or another CPU go on.
    #[inline]
    fn begin(&mut self) -> Run<()> {
        let cpu = self.cpu_mut();
        cpu.counters.verbs += 1;
        if cpu.clock >= cpu.deadline {
            self.attend()
        } else {
            Ok(())
        }
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
                continue;
            }
            if cpu.clock >= cpu.budget_end {
                self.pause(Pause::Budget);
                continue;
            }
            cpu.set_deadline();
            return Ok(());
        }
    }

    fn pause(&mut self, why: Pause) {
        let cpu = self.cpu.take().expect("a running context has its CPU");
        let cpu = self.yielder.suspend((cpu, why));
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
        cpu.set_interrupts(false);
        cpu.charge(Category::Interrupts, entry);
        self.note_event(Interest::SWITCHES, || Event::Interrupt);
        let vectors = self.vectors()?;
        vectors.interrupt(self, kind)?;
        let rfid = self.machine.costs.rfid;
        self.cpu_mut().charge(Category::Interrupts, rfid);
        self.switch_interrupts(true);
        Ok(())
    }

    #[cold]
    fn storage_interrupt(&mut self, fault: Fault) -> Run<()> {
        let Ok(vectors) = self.vectors() else {
            return Err(Exception::Fault(fault));
        };
        let entry = self.machine.costs.interrupt_entry;
        let cpu = self.cpu_mut();
        let enabled = cpu.interrupts_enabled;
        cpu.counters.storage_interrupts += 1;
        cpu.reservation = None;
        cpu.set_interrupts(false);
        cpu.charge(Category::Interrupts, entry);
        vectors.storage(self, fault)?;
        let rfid = self.machine.costs.rfid;
        self.cpu_mut().charge(Category::Interrupts, rfid);
        self.switch_interrupts(enabled);
        Ok(())
    }

    /// Sets the EE bit of the MSR and notes a span that ends.
    #[inline]
    fn switch_interrupts(&mut self, enabled: bool) {
        let span = self.cpu_mut().set_interrupts(enabled);
        self.machine.note_irqs_off(span);
    }

    fn vectors(&self) -> Run<Arc<dyn crate::exception::Vectors>> {
        self.machine
            .vectors
            .get()
            .cloned()
            .ok_or(Exception::Corrupt("no interrupt vectors installed"))
    }

    #[inline]
    fn note_event(&self, class: Interest, event: impl FnOnce() -> Event) {
        if self.machine.wants(class) {
            let cpu = self.cpu_ref();
            self.machine.observe(cpu.id, cpu.clock, event());
        }
    }

    #[inline]
    fn note_access(&self, ra: Ra, store: bool, step: Step) {
        self.note_event(Interest::ACCESSES, || Event::Access { ra, store, step });
    }

    // --- memory ------------------------------------------------------------------------------------

    #[inline]
    fn translate(&mut self, ea: Ea, access: Access) -> Run<Ra> {
        let state = self.cpu_ref().state;
        self.translate_as(ea, access, state)
    }

    /// Translates in a given state; the CPU may be another one after each interrupt.
    #[inline]
    fn translate_as(&mut self, ea: Ea, access: Access, state: AccessState) -> Run<Ra> {
        loop {
            let machine = &self.machine;
            let cpu = self.cpu.as_mut().expect("a running context has its CPU");
            let mut charge = WalkCharge { walk: None };
            let result = cpu.mmu.translate(
                &machine.memory,
                &machine.hpt,
                ea,
                access,
                state,
                &mut charge,
            );
            if let Some(walk) = charge.walk {
                charge_walk(cpu, &machine.costs, &walk);
            }
            match result {
                Ok(ra) => {
                    if machine.wants_translation(ea) {
                        self.note_translation(ea, ra, access);
                    }
                    return Ok(ra);
                }
                Err(fault) => self.storage_interrupt(fault)?,
            }
        }
    }

    #[cold]
    fn note_translation(&mut self, ea: Ea, ra: Ra, access: Access) {
        let cpu = self.cpu_mut();
        let page = cpu.mmu.slb.lookup(ea).map(|(_, entry)| {
            let vpn = emu_mmu::Vpn::from_ea(entry.vsid, ea, entry.segment);
            (vpn, entry.segment)
        });
        let store = access == Access::Store;
        self.note_event(Interest::TRANSLATIONS, || Event::Translated {
            ea,
            page,
            ra,
            store,
        });
    }

    sized_access!(load_u8, store_u8, load_u8, store_u8, u8, "a byte");
    sized_access!(load_u16, store_u16, load_u16, store_u16, u16, "a halfword");
    sized_access!(load_u32, store_u32, load_u32, store_u32, u32, "a word");

    /// Loads a doubleword at an effective address, big-endian.
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    #[inline]
    pub fn load_u64(&mut self, ea: Ea, step: Step) -> Run<u64> {
        self.begin()?;
        let ra = self.translate(ea, Access::Load)?;
        self.load_at(ra, step)
    }

    /// Stores a doubleword at an effective address, big-endian.
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    #[inline]
    pub fn store_u64(&mut self, ea: Ea, value: u64, step: Step) -> Run<()> {
        self.begin()?;
        let ra = self.translate(ea, Access::Store)?;
        self.store_at(ra, value, step)
    }

    /// Loads a doubleword as a user program (problem state).
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    pub fn user_load_u64(&mut self, ea: Ea, step: Step) -> Run<u64> {
        self.begin()?;
        let ra = self.translate_as(ea, Access::Load, AccessState::user())?;
        self.load_at(ra, step)
    }

    /// Stores a doubleword as a user program (problem state).
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    pub fn user_store_u64(&mut self, ea: Ea, value: u64, step: Step) -> Run<()> {
        self.begin()?;
        let ra = self.translate_as(ea, Access::Store, AccessState::user())?;
        self.store_at(ra, value, step)
    }

    /// Loads a doubleword at a real address (real mode).
    ///
    /// # Errors
    /// An address outside memory, or the end of the run.
    pub fn load_real_u64(&mut self, ra: Ra, step: Step) -> Run<u64> {
        self.begin()?;
        self.load_at(ra, step)
    }

    /// Stores a doubleword at a real address (real mode).
    ///
    /// # Errors
    /// An address outside memory, or the end of the run.
    pub fn store_real_u64(&mut self, ra: Ra, value: u64, step: Step) -> Run<()> {
        self.begin()?;
        self.store_at(ra, value, step)
    }

    #[inline]
    fn load_at(&mut self, ra: Ra, step: Step) -> Run<u64> {
        let load = self.machine.costs.load;
        self.cpu_mut().charge(Category::LoadStore, load);
        self.note_access(ra, false, step);
        Ok(self.machine.memory.load_u64(ra)?)
    }

    #[inline]
    fn store_at(&mut self, ra: Ra, value: u64, step: Step) -> Run<()> {
        let store = self.machine.costs.store;
        self.cpu_mut().charge(Category::LoadStore, store);
        self.note_access(ra, true, step);
        if self.machine.wants(Interest::TABLE_STORES) && self.machine.hpt.contains(ra) {
            let old = self.machine.memory.load_u64(ra)?;
            self.machine.memory.store_u64(ra, value)?;
            self.note_event(Interest::TABLE_STORES, || Event::TableStore {
                ra,
                old,
                new: value,
                step,
            });
            return Ok(());
        }
        if self.machine.watches(ra) {
            let old = self.machine.memory.load_u64(ra)?;
            self.machine.memory.store_u64(ra, value)?;
            self.note_watched(ra, old, value, step);
            return Ok(());
        }
        Ok(self.machine.memory.store_u64(ra, value)?)
    }

    #[cold]
    fn note_watched(&self, ra: Ra, old: u64, new: u64, step: Step) {
        self.note_event(Interest::WATCHED_STORES, || Event::WatchedStore {
            ra,
            old,
            new,
            step,
        });
    }

    /// ldarx: loads a doubleword and reserves it.
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    pub fn load_reserve(&mut self, ea: Ea, step: Step) -> Run<u64> {
        self.begin()?;
        let ra = self.translate(ea, Access::Load)?;
        self.load_reserve_at(ra, step)
    }

    /// ldarx at a real address (real mode).
    ///
    /// # Errors
    /// An address outside memory, or the end of the run.
    pub fn load_reserve_real(&mut self, ra: Ra, step: Step) -> Run<u64> {
        self.begin()?;
        self.load_reserve_at(ra, step)
    }

    fn load_reserve_at(&mut self, ra: Ra, step: Step) -> Run<u64> {
        let cost = self.machine.costs.load_reserve;
        self.cpu_mut().charge(Category::Reservation, cost);
        self.note_access(ra, false, step);
        let value = self.machine.memory.load_u64(ra)?;
        self.cpu_mut().reservation = Some((ra, value));
        Ok(value)
    }

    /// stdcx.: stores if the reservation stands. An interrupt or a context switch since the
    /// load-reserve clears it; a store by another CPU is noticed by the value it leaves, so a value
    /// changed and changed back counts as unchanged.
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    pub fn store_conditional(&mut self, ea: Ea, value: u64, step: Step) -> Run<bool> {
        self.begin()?;
        let ra = self.translate(ea, Access::Store)?;
        self.store_conditional_at(ra, value, step)
    }

    /// stdcx. at a real address (real mode); as [`Ctx::store_conditional`].
    ///
    /// # Errors
    /// An address outside memory, or the end of the run.
    pub fn store_conditional_real(&mut self, ra: Ra, value: u64, step: Step) -> Run<bool> {
        self.begin()?;
        self.store_conditional_at(ra, value, step)
    }

    fn store_conditional_at(&mut self, ra: Ra, value: u64, step: Step) -> Run<bool> {
        let cost = self.machine.costs.store_conditional;
        let cpu = self.cpu_mut();
        cpu.charge(Category::Reservation, cost);
        let Some((reserved, old)) = cpu.reservation.take() else {
            return Ok(false);
        };
        if reserved != ra
            || self
                .machine
                .memory
                .compare_exchange_u64(ra, old, value)?
                .is_err()
        {
            return Ok(false);
        }
        self.note_access(ra, true, step);
        if self.machine.hpt.contains(ra) {
            self.note_event(Interest::TABLE_STORES, || Event::TableStore {
                ra,
                old,
                new: value,
                step,
            });
        }
        if self.machine.watches(ra) {
            self.note_watched(ra, old, value, step);
        }
        Ok(true)
    }

    /// dcbz: zeroes the 128-byte line that holds an effective address.
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    pub fn dcbz(&mut self, ea: Ea, step: Step) -> Run<()> {
        self.begin()?;
        let ra = self.translate(ea, Access::Store)?;
        let store = self.machine.costs.store;
        self.cpu_mut().charge(Category::LoadStore, store);
        self.note_access(ra, true, step);
        Ok(self.machine.memory.zero(Ra::new(ra.get() & !127), 128)?)
    }

    // --- invalidation and order --------------------------------------------------------------------

    /// tlbie or tlbiel, as `operand.local` says. A global one reaches the other CPUs before they next
    /// translate.
    ///
    /// # Errors
    /// The end of the run.
    pub fn tlb_invalidate(&mut self, operand: TlbInvalidate, step: Step) -> Run<()> {
        self.begin()?;
        let (tlbie, tlbiel) = (self.machine.costs.tlbie, self.machine.costs.tlbiel);
        let cpu = self.cpu_mut();
        cpu.mmu.tlb_invalidate(&operand);
        if operand.local {
            cpu.counters.tlbiel += 1;
            cpu.charge(Category::Tlbiel, tlbiel);
        } else {
            cpu.counters.tlbie += 1;
            cpu.charge(Category::Tlbie, tlbie);
            let own = cpu.id.index();
            for (index, mail) in self.machine.mail.iter().enumerate() {
                if index != own {
                    mail.invalidations.lock().push(operand);
                    mail.full.store(true, Ordering::Release);
                }
            }
        }
        self.note_event(Interest::INVALIDATIONS, || Event::Invalidate {
            operand,
            step,
        });
        Ok(())
    }

    /// A barrier. tlbsync waits until every CPU has done the invalidations before it.
    ///
    /// # Errors
    /// The end of the run.
    pub fn barrier(&mut self, barrier: Barrier, step: Step) -> Run<()> {
        self.begin()?;
        let _ = step;
        let costs = &self.machine.costs;
        let others = u64::from(self.machine.cpus - 1);
        let (category, cycles) = match barrier {
            Barrier::Eieio => (Category::Barriers, costs.eieio),
            Barrier::Isync => (Category::Barriers, costs.isync),
            Barrier::Lwsync => (Category::Barriers, costs.lwsync),
            Barrier::Ptesync => (Category::Ptesync, costs.ptesync),
            Barrier::Tlbsync => (
                Category::Tlbie,
                costs.tlbsync + others * costs.tlbsync_per_cpu,
            ),
        };
        let cpu = self.cpu_mut();
        if barrier == Barrier::Ptesync {
            cpu.counters.ptesync += 1;
        }
        cpu.charge(category, cycles);
        if barrier == Barrier::Ptesync {
            self.note_event(Interest::INVALIDATIONS, || Event::Ptesync);
        }
        Ok(())
    }

    /// One turn of a wait for another CPU: lets the engine run the others.
    ///
    /// # Errors
    /// The end of the run.
    pub fn spin(&mut self, step: Step) -> Run<()> {
        let _ = step;
        self.retire(4)?;
        if self.machine.cpus > 1 {
            let cpu = self.cpu_mut();
            cpu.charge(Category::Instructions, 20);
        }
        Ok(())
    }

    /// slbmte.
    ///
    /// # Errors
    /// An operand that the CPU refuses (illegal instruction), or the end of the run.
    pub fn slbmte(&mut self, rs: u64, rb: u64) -> Run<()> {
        self.begin()?;
        let cost = self.machine.costs.slbmte;
        let cpu = self.cpu_mut();
        cpu.charge(Category::Slb, cost);
        cpu.mmu
            .slbmte(rs, rb)
            .map_err(|_| Exception::Corrupt("slbmte operand refused"))
    }

    /// Number of entries of the CPU's SLB.
    pub fn slb_entries(&self) -> u64 {
        self.cpu_ref().mmu.slb.entries().len() as u64
    }

    /// slbie of the segment of `ea`, with the class bit and segment size of the operand.
    ///
    /// # Errors
    /// The end of the run.
    pub fn slbie(&mut self, ea: Ea, class: bool, segment: emu_mmu::SegmentSize) -> Run<()> {
        self.begin()?;
        let cost = self.machine.costs.slbie;
        let cpu = self.cpu_mut();
        cpu.charge(Category::Slb, cost);
        cpu.mmu.slbie(ea, class, segment);
        Ok(())
    }

    /// slbia with its IH field.
    ///
    /// # Errors
    /// The end of the run.
    pub fn slbia(&mut self, ih: u8) -> Run<()> {
        self.begin()?;
        let cost = self.machine.costs.slbia;
        let cpu = self.cpu_mut();
        cpu.charge(Category::Slb, cost);
        cpu.mmu
            .slbia(ih)
            .map(|_| ())
            .map_err(|_| Exception::Corrupt("slbia operand refused"))
    }

    // --- interrupts and contexts -------------------------------------------------------------------

    /// True if external interrupts are enabled (the EE bit of the MSR).
    #[inline]
    pub fn interrupts_enabled(&self) -> bool {
        self.cpu_ref().interrupts_enabled
    }

    /// Enables or disables external interrupts (the EE bit of the MSR) and gives what it was. Enabling lets a pending interrupt land at once.
    ///
    /// # Errors
    /// The end of the run.
    pub fn set_interrupts(&mut self, enabled: bool) -> Run<bool> {
        self.begin()?;
        let cost = self.machine.costs.special_register;
        let cpu = self.cpu_mut();
        cpu.charge(Category::Instructions, cost);
        let was = cpu.interrupts_enabled;
        self.switch_interrupts(enabled);
        let cpu = self.cpu_mut();
        if enabled && !was && cpu.clock >= cpu.deadline {
            self.attend()?;
        }
        Ok(was)
    }

    /// Arms the decrementer: an interrupt in `cycles` cycles.
    ///
    /// # Errors
    /// The end of the run.
    pub fn set_decrementer(&mut self, cycles: Cycles) -> Run<()> {
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
        self.begin()?;
        let delay = Cycles::new(self.machine.costs.ipi);
        let Some(mail) = self.machine.mail.get(to.index()) else {
            return Err(Exception::Corrupt(
                "inter-processor interrupt to a CPU that is not there",
            ));
        };
        let at = self.now() + delay;
        let mut ipi = mail.ipi.lock();
        *ipi = Some(ipi.map_or(at, |earlier| earlier.min(at)));
        drop(ipi);
        // The receiver may have been waiting with nothing due, so this CPU's budget took no account of it.
        let cpu = self.cpu_mut();
        cpu.budget_end = cpu.budget_end.min(at);
        cpu.set_deadline();
        Ok(())
    }

    /// Waits, idle, until an interrupt is due. It is taken at the next verb with interrupts enabled.
    ///
    /// # Errors
    /// The end of the run.
    pub fn wait_for_interrupt(&mut self) -> Run<()> {
        self.begin()?;
        let cpu = self.cpu_ref();
        if cpu.interrupt_due_at() > cpu.clock {
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
        self.begin()?;
        let (entry, back) = {
            let costs = &self.machine.costs;
            (costs.hypercall_entry, costs.hypercall_return)
        };
        let cpu = self.cpu_mut();
        let enabled = cpu.interrupts_enabled;
        cpu.reservation = None;
        cpu.set_interrupts(false);
        cpu.charge(Category::Hypercalls, entry);
        let result = body(self);
        self.cpu_mut().charge(Category::Hypercalls, back);
        self.switch_interrupts(enabled);
        result
    }

    /// Makes a new context of guest code. It runs when some CPU switches to it.
    pub fn spawn(&mut self, code: GuestCode) -> ContextId {
        let id = self.machine.new_context_id();
        self.machine.newborn.lock().push((id, code));
        id
    }

    /// Leaves this context for another on the same CPU; returns when somebody switches back, perhaps on
    /// another CPU. Clears the reservation, as a context switch does.
    ///
    /// # Errors
    /// The end of the run.
    pub fn switch_to(&mut self, next: ContextId) -> Run<()> {
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
