//! Verbs of the reservation: ldarx and stdcx.
//!
//! Owns when a reservation is lost. Refuses what an access costs and who hears of it, which are those of every
//! access to memory.

use super::storage::note_replaced;
use super::{Ctx, charge};
use crate::cost::Category;
use crate::exception::{Run, Step};
use crate::script::{At, Verb};
use emu_mmu::{Access, Ea, Ra};

impl Ctx<'_> {
    /// ldarx: loads a doubleword and reserves it.
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    #[inline]
    pub fn load_reserve(&mut self, ea: Ea, step: Step) -> Run<u64> {
        if let Some((machine, cpu, ra)) = self.quick_way(ea, false)
            && let Ok(value) = machine.memory.load_u64(ra)
        {
            cpu.counters.verbs += 1;
            cpu.charge(Category::Reservation, machine.costs.load_reserve);
            cpu.reservation = Some((ra, value));
            return Ok(value);
        }
        self.slow_load_reserve(ea, step)
    }

    #[inline(never)]
    fn slow_load_reserve(&mut self, ea: Ea, step: Step) -> Run<u64> {
        if self.asks() {
            return self.ask(Verb::LoadReserve(At::Kernel(ea), step));
        }
        if let Some((machine, cpu, ra)) = self.short_way(ea, Access::Load)
            && let Ok(value) = machine.memory.load_u64(ra)
        {
            cpu.counters.verbs += 1;
            charge::load_reserve(machine, cpu, ra);
            cpu.reservation = Some((ra, value));
            return Ok(value);
        }
        self.begin()?;
        let ra = self.translate(ea, Access::Load)?;
        self.load_reserve_at(ra, step)
    }

    /// ldarx at a real address (real mode).
    ///
    /// # Errors
    /// An address outside memory, or the end of the run.
    pub fn load_reserve_real(&mut self, ra: Ra, step: Step) -> Run<u64> {
        if self.asks() {
            return self.ask(Verb::LoadReserve(At::Real(ra), step));
        }
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
        if let Some((machine, cpu, ra)) = self.quick_way(ea, true) {
            cpu.counters.verbs += 1;
            cpu.charge(Category::Reservation, machine.costs.store_conditional);
            let Some((reserved, old)) = cpu.reservation.take() else {
                return Ok(false);
            };
            return Ok(reserved == ra && machine.replace_u64(ra, old, value)?);
        }
        self.slow_store_conditional(ea, value, step)
    }

    #[inline(never)]
    fn slow_store_conditional(&mut self, ea: Ea, value: u64, step: Step) -> Run<bool> {
        if self.asks() {
            return self
                .ask(Verb::StoreConditional(At::Kernel(ea), value, step))
                .map(|stored| stored != 0);
        }
        if let Some((machine, cpu, ra)) = self.short_way(ea, Access::Store) {
            cpu.counters.verbs += 1;
            charge::store_conditional(machine, cpu, ra);
            let Some((reserved, old)) = cpu.reservation.take() else {
                return Ok(false);
            };
            return Ok(reserved == ra && machine.replace_u64(ra, old, value)?);
        }
        self.begin()?;
        let ra = self.translate(ea, Access::Store)?;
        self.store_conditional_at(ra, value, step)
    }

    /// ldarx, and stdcx. of what `change` makes of the doubleword, if it makes anything of it: one verb, or two
    /// between which others may come. Gives what was loaded and whether it was replaced.
    ///
    /// # Errors
    /// A storage interrupt that the guest could not resolve, or the end of the run.
    #[inline]
    pub fn exchange_u64(
        &mut self,
        ea: Ea,
        [load, store]: [Step; 2],
        change: impl FnOnce(u64) -> Option<u64>,
    ) -> Run<(u64, bool)> {
        let alone = !self.machine.runs_threads();
        if let Some((machine, cpu, ra)) = self.quick_way(ea, true)
            && let Ok(old) = machine.memory.load_u64(ra)
        {
            let costs = &machine.costs;
            let (first, both) = (
                costs.load_reserve,
                costs.load_reserve + costs.store_conditional,
            );
            let new = change(old);
            // Nothing but time passes between the two: on one host thread it is what was loaded.
            if let Some(new) = new
                && alone
                && cpu.clock.get() + first < cpu.quick_until.get()
                && machine.memory.quick_store_u64(ra, new)
            {
                cpu.counters.verbs += 2;
                cpu.charge(Category::Reservation, both);
                cpu.reservation = None;
                return Ok((old, true));
            }
            cpu.counters.verbs += 1;
            cpu.charge(Category::Reservation, first);
            cpu.reservation = Some((ra, old));
            let stored = match new {
                Some(new) => self.slow_store_conditional(ea, new, store)?,
                None => false,
            };
            return Ok((old, stored));
        }
        let old = self.slow_load_reserve(ea, load)?;
        let stored = match change(old) {
            Some(new) => self.slow_store_conditional(ea, new, store)?,
            None => false,
        };
        Ok((old, stored))
    }

    /// stdcx. at a real address (real mode); as [`Ctx::store_conditional`].
    ///
    /// # Errors
    /// An address outside memory, or the end of the run.
    pub fn store_conditional_real(&mut self, ra: Ra, value: u64, step: Step) -> Run<bool> {
        if self.asks() {
            return self
                .ask(Verb::StoreConditional(At::Real(ra), value, step))
                .map(|stored| stored != 0);
        }
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
}
