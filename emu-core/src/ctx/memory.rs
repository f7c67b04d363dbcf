//! Verbs that reach memory: loads, stores, load-reserve and store-conditional, dcbz.
//!
//! Owns the way from an effective address to a value, with what it costs and who hears of it. Refuses
//! to resolve a fault: that is the guest's vector.

use super::storage::{note_replaced, note_translation, store_told, translate};
use super::{Ctx, charge};
use crate::cpu::Cpu;
use crate::exception::{Run, Step};
use crate::guest::Pause;
use crate::machine::Machine;
use crate::probe::{Event, Interest};
use emu_mmu::{Access, AccessState, Ea, Ra};

/// Faults of one access after which an explored CPU waits for somebody else.
const FAULTS_OF_A_WAIT: u32 = 3;

/// A load and a store of one size: the short way where nothing but the access happens, else the long one.
macro_rules! sized_access {
    ($load:ident, $slow_load:ident, $store:ident, $slow_store:ident, $type:ty, $words:literal) => {
        #[doc = concat!("Loads ", $words, " at an effective address, big-endian.")]
        ///
        /// # Errors
        /// A storage interrupt that the guest could not resolve, or the end of the run.
        #[inline]
        pub fn $load(&mut self, ea: Ea, step: Step) -> Run<$type> {
            if let Some((machine, cpu, ra)) = self.short_way(ea, Access::Load)
                && let Ok(value) = machine.memory.$load(ra)
            {
                cpu.counters.verbs += 1;
                charge::load(machine, cpu, ra);
                return Ok(value);
            }
            self.$slow_load(ea, step)
        }

        #[inline(never)]
        fn $slow_load(&mut self, ea: Ea, step: Step) -> Run<$type> {
            self.begin()?;
            let ra = self.translate(ea, Access::Load)?;
            self.charge(charge::load, ra);
            self.note_access(ra, false, step);
            Ok(self.machine.memory.$load(ra)?)
        }

        #[doc = concat!("Stores ", $words, " at an effective address, big-endian.")]
        ///
        /// # Errors
        /// A storage interrupt that the guest could not resolve, or the end of the run.
        #[inline]
        pub fn $store(&mut self, ea: Ea, value: $type, step: Step) -> Run<()> {
            if let Some((machine, cpu, ra)) = self.short_way(ea, Access::Store)
                && machine.memory.$store(ra, value).is_ok()
            {
                cpu.counters.verbs += 1;
                charge::store(machine, cpu, ra);
                return Ok(());
            }
            self.$slow_store(ea, value, step)
        }
    };
}

/// The long way of a store of less than a doubleword.
macro_rules! small_store {
    ($slow_store:ident, $store:ident, $type:ty) => {
        #[inline(never)]
        fn $slow_store(&mut self, ea: Ea, value: $type, step: Step) -> Run<()> {
            self.begin()?;
            let ra = self.translate(ea, Access::Store)?;
            self.charge(charge::store, ra);
            self.note_access(ra, true, step);
            Ok(self.machine.memory.$store(ra, value)?)
        }
    };
}

impl Ctx<'_> {
    #[inline(always)]
    fn charge(&mut self, charge: impl Fn(&Machine, &mut Cpu, Ra), ra: Ra) {
        let cpu = self.cpu.as_mut().expect("a running context has its CPU");
        charge(&self.machine, cpu, ra);
    }

    /// Where an access goes if nothing is due, nobody listens and the translation is at hand: then the
    /// access is all that happens. The use of the translation is noted; to note it again changes nothing.
    #[inline(always)]
    fn short_way(&mut self, ea: Ea, access: Access) -> Option<(&Machine, &mut Cpu, Ra)> {
        let machine = &*self.machine;
        let cpu = self.cpu.as_mut()?;
        if cpu.clock >= cpu.deadline || machine.is_observed() {
            return None;
        }
        let ra = cpu.mmu.quick_hit(ea, access, cpu.state)?;
        Some((machine, cpu, ra))
    }

    #[inline(always)]
    fn note_access(&self, ra: Ra, store: bool, step: Step) {
        self.note_event(Interest::ACCESSES, || Event::Access { ra, store, step });
    }

    #[inline(always)]
    fn translate(&mut self, ea: Ea, access: Access) -> Run<Ra> {
        let state = self.cpu_ref().state;
        self.translate_as(ea, access, state)
    }

    /// Translates in a given state; the CPU may be another one after each interrupt.
    #[inline(always)]
    fn translate_as(&mut self, ea: Ea, access: Access, state: AccessState) -> Run<Ra> {
        match self.cpu_mut().mmu.quick_hit(ea, access, state) {
            Some(ra) => {
                if self.machine.wants_translation(ea) {
                    self.note_translation(ea, ra, access);
                }
                Ok(ra)
            }
            None => self.translate_slowly(ea, access, state),
        }
    }

    #[inline(never)]
    fn translate_slowly(&mut self, ea: Ea, access: Access, state: AccessState) -> Run<Ra> {
        let mut faults = 0;
        loop {
            let cpu = self.cpu.as_mut().expect("a running context has its CPU");
            match translate(&self.machine, cpu, ea, access, state) {
                Ok(ra) => {
                    if self.machine.wants_translation(ea) {
                        self.note_translation(ea, ra, access);
                    }
                    return Ok(ra);
                }
                Err(fault) => {
                    self.storage_interrupt(fault)?;
                    // Interrupts that waited land before the access is made again: else one that faults
                    // for ever would keep them out for ever.
                    let cpu = self.cpu_ref();
                    let explored = cpu.stop_at.is_some();
                    if cpu.clock >= cpu.deadline {
                        self.attend()?;
                    }
                    faults += 1;
                    if explored && faults % FAULTS_OF_A_WAIT == 0 {
                        self.pause(Pause::Spin);
                        self.attend()?;
                    }
                }
            }
        }
    }

    #[cold]
    fn note_translation(&mut self, ea: Ea, ra: Ra, access: Access) {
        let cpu = self.cpu.as_mut().expect("a running context has its CPU");
        note_translation(&self.machine, cpu, ea, ra, access);
    }

    sized_access!(load_u8, slow_load_u8, store_u8, slow_store_u8, u8, "a byte");
    sized_access!(
        load_u16,
        slow_load_u16,
        store_u16,
        slow_store_u16,
        u16,
        "a halfword"
    );
    sized_access!(
        load_u32,
        slow_load_u32,
        store_u32,
        slow_store_u32,
        u32,
        "a word"
    );
    sized_access!(
        load_u64,
        slow_load_u64,
        store_u64,
        slow_store_u64,
        u64,
        "a doubleword"
    );
    small_store!(slow_store_u8, store_u8, u8);
    small_store!(slow_store_u16, store_u16, u16);
    small_store!(slow_store_u32, store_u32, u32);

    #[inline(never)]
    fn slow_store_u64(&mut self, ea: Ea, value: u64, step: Step) -> Run<()> {
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

    #[inline(always)]
    fn load_at(&mut self, ra: Ra, step: Step) -> Run<u64> {
        self.charge(charge::load, ra);
        self.note_access(ra, false, step);
        Ok(self.machine.memory.load_u64(ra)?)
    }

    #[inline(always)]
    fn store_at(&mut self, ra: Ra, value: u64, step: Step) -> Run<()> {
        self.charge(charge::store, ra);
        if self.machine.is_observed() {
            return self.store_observed(ra, value, step);
        }
        Ok(self.machine.memory.store_u64(ra, value)?)
    }

    /// A store that somebody may want to hear of.
    #[inline(never)]
    fn store_observed(&mut self, ra: Ra, value: u64, step: Step) -> Run<()> {
        Ok(store_told(&self.machine, self.cpu_ref(), ra, value, step)?)
    }

    /// ldarx: loads a doubleword and reserves it.
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    #[inline]
    pub fn load_reserve(&mut self, ea: Ea, step: Step) -> Run<u64> {
        if let Some((machine, cpu, ra)) = self.short_way(ea, Access::Load)
            && let Ok(value) = machine.memory.load_u64(ra)
        {
            cpu.counters.verbs += 1;
            charge::load_reserve(machine, cpu, ra);
            cpu.reservation = Some((ra, value));
            return Ok(value);
        }
        self.slow_load_reserve(ea, step)
    }

    #[inline(never)]
    fn slow_load_reserve(&mut self, ea: Ea, step: Step) -> Run<u64> {
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
        self.charge(charge::load_reserve, ra);
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
    #[inline]
    pub fn store_conditional(&mut self, ea: Ea, value: u64, step: Step) -> Run<bool> {
        if let Some((machine, cpu, ra)) = self.short_way(ea, Access::Store) {
            cpu.counters.verbs += 1;
            charge::store_conditional(machine, cpu, ra);
            let Some((reserved, old)) = cpu.reservation.take() else {
                return Ok(false);
            };
            return Ok(reserved == ra && machine.replace_u64(ra, old, value)?);
        }
        self.slow_store_conditional(ea, value, step)
    }

    #[inline(never)]
    fn slow_store_conditional(&mut self, ea: Ea, value: u64, step: Step) -> Run<bool> {
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
        self.charge(charge::store_conditional, ra);
        let cpu = self.cpu_mut();
        let Some((reserved, old)) = cpu.reservation.take() else {
            return Ok(false);
        };
        if reserved != ra || !self.machine.replace_u64(ra, old, value)? {
            return Ok(false);
        }
        self.note_access(ra, true, step);
        note_replaced(&self.machine, self.cpu_ref(), ra, (old, value), step);
        Ok(true)
    }

    /// dcbz: zeroes the 128-byte line that holds an effective address.
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    pub fn dcbz(&mut self, ea: Ea, step: Step) -> Run<()> {
        self.begin()?;
        let ra = self.translate(ea, Access::Store)?;
        self.charge(charge::zero_line, ra);
        self.note_access(ra, true, step);
        Ok(self.machine.memory.zero(Ra::new(ra.get() & !127), 128)?)
    }
}
