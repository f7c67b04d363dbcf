//! Verbs that reach memory: loads, stores, dcbz.
//!
//! Owns the way from an effective address to a value, with what it costs and who hears of it. Refuses
//! to resolve a fault: that is the guest's vector.

use super::storage::{note_translation, store_told, translate};
use super::{Ctx, charge};
use crate::cost::Category;
use crate::cpu::Cpu;
use crate::exception::{Run, Step};
use crate::guest::Pause;
use crate::machine::Machine;
use crate::probe::{Event, Interest};
use crate::script::{At, Size, Verb};
use emu_mmu::{Access, AccessState, Ea, Fault, Ra};

/// Faults of one access after which an explored CPU waits for somebody else.
const FAULTS_OF_A_WAIT: u32 = 3;

/// A load and a store of one size: the short way where nothing but the access happens, else the long one.
macro_rules! sized_access {
    ($load:ident, $slow_load:ident, $store:ident, $slow_store:ident, $long_store:ident,
        $quick_store:ident, $type:ty, $size:expr, $words:literal) => {
        #[doc = concat!("Loads ", $words, " at an effective address, big-endian.")]
        ///
        /// # Errors
        /// A storage interrupt that the guest could not resolve, or the end of the run.
        #[inline]
        pub fn $load(&mut self, ea: Ea, step: Step) -> Run<$type> {
            if let Some((machine, cpu, ra)) = self.quick_way(ea, false)
                && let Ok(value) = machine.memory.$load(ra)
            {
                cpu.counters.verbs += 1;
                cpu.charge(Category::LoadStore, machine.costs.load);
                return Ok(value);
            }
            self.$slow_load(ea, step)
        }

        #[inline(never)]
        fn $slow_load(&mut self, ea: Ea, step: Step) -> Run<$type> {
            if self.asks() {
                let value = self.ask(Verb::Load(At::Kernel(ea), $size, step))?;
                return Ok(value as $type);
            }
            if let Some((machine, cpu, ra)) = self.short_way(ea, Access::Load)
                && let Ok(value) = machine.memory.$load(ra)
            {
                cpu.counters.verbs += 1;
                charge::load(machine, cpu, ra);
                return Ok(value);
            }
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
            if let Some((machine, cpu, ra)) = self.quick_way(ea, true)
                && machine.memory.$quick_store(ra, value)
            {
                cpu.counters.verbs += 1;
                cpu.charge(Category::LoadStore, machine.costs.store);
                return Ok(());
            }
            self.$slow_store(ea, value, step)
        }

        #[inline(never)]
        fn $slow_store(&mut self, ea: Ea, value: $type, step: Step) -> Run<()> {
            if self.asks() {
                let verb = Verb::Store(At::Kernel(ea), $size, u64::from(value), step);
                return self.ask(verb).map(drop);
            }
            if let Some((machine, cpu, ra)) = self.short_way(ea, Access::Store)
                && machine.memory.$store(ra, value).is_ok()
            {
                cpu.counters.verbs += 1;
                charge::store(machine, cpu, ra);
                return Ok(());
            }
            self.$long_store(ea, value, step)
        }
    };
}

/// The long way of a store of less than a doubleword.
macro_rules! small_store {
    ($long_store:ident, $store:ident, $type:ty) => {
        fn $long_store(&mut self, ea: Ea, value: $type, step: Step) -> Run<()> {
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
    pub(super) fn charge(&mut self, charge: impl Fn(&Machine, &mut Cpu, Ra), ra: Ra) {
        let cpu = self.cpu.as_mut().expect("a running context has its CPU");
        charge(&self.machine, cpu, ra);
    }

    /// [`Self::short_way`] where every access costs the same: on the way of most verbs of a run without
    /// timing.
    #[inline(always)]
    pub(super) fn quick_way(&mut self, ea: Ea, store: bool) -> Option<(&Machine, &mut Cpu, Ra)> {
        let cpu = self.cpu.as_mut()?;
        if cpu.clock >= cpu.quick_until {
            return None;
        }
        let ra = cpu.mmu.quick_kernel_hit(ea, store)?;
        Some((&self.machine, cpu, ra))
    }

    /// Where an access goes if nothing is due, nobody hears of it and the translation is at hand: then the
    /// access is all that happens. The use of the translation is noted; to note it again changes nothing.
    #[inline(always)]
    pub(super) fn short_way(&mut self, ea: Ea, access: Access) -> Option<(&Machine, &mut Cpu, Ra)> {
        let machine = &*self.machine;
        let cpu = self.cpu.as_mut()?;
        // Where the quick way is open it has just been tried.
        let tried = cpu.clock < cpu.quick_until;
        if tried || cpu.attends_now() || machine.hears_access(ea) {
            return None;
        }
        let ra = cpu.mmu.quick_hit(ea, access, cpu.state)?;
        if access == Access::Store && machine.hears_store(ra) {
            return None;
        }
        Some((machine, cpu, ra))
    }

    #[inline(always)]
    pub(super) fn note_access(&self, ra: Ra, store: bool, step: Step) {
        self.note_event(Interest::ACCESSES, || Event::Access { ra, store, step });
    }

    #[inline(always)]
    pub(super) fn translate(&mut self, ea: Ea, access: Access) -> Run<Ra> {
        let state = self.cpu_ref().state;
        self.translate_as(ea, access, state)
    }

    /// Translates in a given state; the CPU may be another one after each interrupt.
    #[inline(always)]
    fn translate_as(&mut self, ea: Ea, access: Access, state: AccessState) -> Run<Ra> {
        let machine = &*self.machine;
        let cpu = self.cpu.as_mut().expect("a running context has its CPU");
        // Where the quick way is open it has just been tried.
        let tried = cpu.clock < cpu.quick_until && !state.pr;
        let result = match tried {
            true => translate(machine, cpu, ea, access, state),
            false => match cpu.mmu.quick_hit(ea, access, state) {
                Some(ra) => Ok(ra),
                None => translate(machine, cpu, ea, access, state),
            },
        };
        match result {
            Ok(ra) => {
                if self.machine.wants_translation(ea) {
                    self.note_translation(ea, ra, access);
                }
                Ok(ra)
            }
            Err(fault) => self.translate_again(ea, access, state, fault),
        }
    }

    /// Lets the guest resolve faults until the access is translated.
    #[inline(never)]
    fn translate_again(
        &mut self,
        ea: Ea,
        access: Access,
        state: AccessState,
        mut fault: Fault,
    ) -> Run<Ra> {
        let mut faults = 0;
        loop {
            self.storage_interrupt(fault)?;
            // Interrupts that waited land before the access is made again: else one that faults for ever
            // would keep them out for ever.
            let cpu = self.cpu_ref();
            let explored = cpu.explored;
            if cpu.clock >= cpu.deadline {
                self.attend()?;
            }
            faults += 1;
            if explored && faults % FAULTS_OF_A_WAIT == 0 {
                self.pause(Pause::Spin);
                self.attend()?;
            }
            let cpu = self.cpu.as_mut().expect("a running context has its CPU");
            match translate(&self.machine, cpu, ea, access, state) {
                Ok(ra) => {
                    if self.machine.wants_translation(ea) {
                        self.note_translation(ea, ra, access);
                    }
                    return Ok(ra);
                }
                Err(again) => fault = again,
            }
        }
    }

    #[cold]
    fn note_translation(&mut self, ea: Ea, ra: Ra, access: Access) {
        let cpu = self.cpu.as_mut().expect("a running context has its CPU");
        note_translation(&self.machine, cpu, ea, ra, access);
    }

    sized_access!(
        load_u8,
        slow_load_u8,
        store_u8,
        slow_store_u8,
        long_store_u8,
        quick_store_u8,
        u8,
        Size::Byte,
        "a byte"
    );
    sized_access!(
        load_u16,
        slow_load_u16,
        store_u16,
        slow_store_u16,
        long_store_u16,
        quick_store_u16,
        u16,
        Size::Half,
        "a halfword"
    );
    sized_access!(
        load_u32,
        slow_load_u32,
        store_u32,
        slow_store_u32,
        long_store_u32,
        quick_store_u32,
        u32,
        Size::Word,
        "a word"
    );
    sized_access!(
        load_u64,
        slow_load_u64,
        store_u64,
        slow_store_u64,
        long_store_u64,
        quick_store_u64,
        u64,
        Size::Double,
        "a doubleword"
    );
    /// Loads doublewords one after the other: a verb each.
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    #[inline(always)]
    pub fn load_u64s<const N: usize>(&mut self, at: [Ea; N], steps: [Step; N]) -> Run<[u64; N]> {
        match self.quick_load_u64s(at) {
            Some(values) => Ok(values),
            None => self.slow_load_u64s(at, steps),
        }
    }

    #[inline(never)]
    fn slow_load_u64s<const N: usize>(&mut self, at: [Ea; N], steps: [Step; N]) -> Run<[u64; N]> {
        let mut values = [0; N];
        for (value, (ea, step)) in values.iter_mut().zip(at.into_iter().zip(steps)) {
            *value = self.slow_load_u64(ea, step)?;
        }
        Ok(values)
    }

    /// The same where all are on one page and can be loaded the quick way; nothing is done if not.
    #[inline(always)]
    fn quick_load_u64s<const N: usize>(&mut self, at: [Ea; N]) -> Option<[u64; N]> {
        let first = *at.first()?;
        let together = at.iter().fold(0, |all, ea| all | (ea.get() ^ first.get())) < 4096;
        let cost = self.machine.costs.load;
        let cpu = self.cpu.as_ref()?;
        let last = cpu.clock.get() + cost * (N as u64 - 1);
        if !together || last >= cpu.quick_until.get() {
            return None;
        }
        let (machine, cpu, ra) = self.quick_way(first, false)?;
        let mut values = [0; N];
        for (value, ea) in values.iter_mut().zip(at) {
            // One page of effective addresses is one page of real ones.
            let ra = Ra::new(ra.get() ^ ea.get() ^ first.get());
            *value = machine.memory.load_u64(ra).ok()?;
        }
        cpu.counters.verbs += N as u64;
        cpu.charge(Category::LoadStore, cost * N as u64);
        Some(values)
    }

    /// Loads a doubleword and stores what `change` makes of it: two verbs, the loads and stores of two steps.
    /// `change` makes no verb. Gives what was loaded.
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    #[inline(always)]
    pub fn update_u64(
        &mut self,
        ea: Ea,
        [load, store]: [Step; 2],
        change: impl FnOnce(&mut Self, u64) -> u64,
    ) -> Run<u64> {
        if let Some((machine, cpu, ra)) = self.quick_way(ea, true)
            && let Ok(old) = machine.memory.load_u64(ra)
        {
            cpu.counters.verbs += 1;
            cpu.charge(Category::LoadStore, machine.costs.load);
            let new = change(self, old);
            // Nothing but time has passed since: what may be stored to is where it was.
            if let Some(cpu) = self.cpu.as_mut()
                && cpu.clock < cpu.quick_until
                && self.machine.memory.quick_store_u64(ra, new)
            {
                cpu.counters.verbs += 1;
                cpu.charge(Category::LoadStore, self.machine.costs.store);
                return Ok(old);
            }
            self.slow_store_u64(ea, new, store)?;
            return Ok(old);
        }
        let old = self.slow_load_u64(ea, load)?;
        let new = change(self, old);
        self.slow_store_u64(ea, new, store)?;
        Ok(old)
    }

    small_store!(long_store_u8, store_u8, u8);
    small_store!(long_store_u16, store_u16, u16);
    small_store!(long_store_u32, store_u32, u32);

    fn long_store_u64(&mut self, ea: Ea, value: u64, step: Step) -> Run<()> {
        self.begin()?;
        let ra = self.translate(ea, Access::Store)?;
        self.store_at(ra, value, step)
    }

    /// Loads a doubleword as a user program (problem state).
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    pub fn user_load_u64(&mut self, ea: Ea, step: Step) -> Run<u64> {
        if self.asks() {
            return self.ask(Verb::Load(At::User(ea), Size::Double, step));
        }
        self.begin()?;
        let ra = self.translate_as(ea, Access::Load, AccessState::user())?;
        self.load_at(ra, step)
    }

    /// Stores a doubleword as a user program (problem state).
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    pub fn user_store_u64(&mut self, ea: Ea, value: u64, step: Step) -> Run<()> {
        if self.asks() {
            return self
                .ask(Verb::Store(At::User(ea), Size::Double, value, step))
                .map(drop);
        }
        self.begin()?;
        let ra = self.translate_as(ea, Access::Store, AccessState::user())?;
        self.store_at(ra, value, step)
    }

    /// Loads a doubleword at a real address (real mode).
    ///
    /// # Errors
    /// An address outside memory, or the end of the run.
    pub fn load_real_u64(&mut self, ra: Ra, step: Step) -> Run<u64> {
        if self.asks() {
            return self.ask(Verb::Load(At::Real(ra), Size::Double, step));
        }
        self.begin()?;
        self.load_at(ra, step)
    }

    /// Stores a doubleword at a real address (real mode).
    ///
    /// # Errors
    /// An address outside memory, or the end of the run.
    pub fn store_real_u64(&mut self, ra: Ra, value: u64, step: Step) -> Run<()> {
        if self.asks() {
            return self
                .ask(Verb::Store(At::Real(ra), Size::Double, value, step))
                .map(drop);
        }
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

    /// dcbz: zeroes the 128-byte line that holds an effective address.
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    pub fn dcbz(&mut self, ea: Ea, step: Step) -> Run<()> {
        if self.asks() {
            return self.ask(Verb::ZeroLine(ea, step)).map(drop);
        }
        self.begin()?;
        let ra = self.translate(ea, Access::Store)?;
        self.charge(charge::zero_line, ra);
        self.note_access(ra, true, step);
        Ok(self.machine.memory.zero(Ra::new(ra.get() & !127), 128)?)
    }
}
