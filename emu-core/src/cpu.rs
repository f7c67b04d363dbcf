//! One emulated CPU: clock, interrupt state, MMU, reservation.
//!
//! Owns per-CPU hardware state. Refuses to know which task runs: it names a guest context, no more.

use crate::cost::{Account, Category, CycleStack, Cycles, PathStacks, Place};
use crate::ctx::Frame;
use crate::guest::ContextId;
use crate::machine::MachineConfig;
use crate::timing::OwnCaches;
use emu_mmu::{AccessState, GeometryError, Mmu, Ra};

/// Number of a CPU, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuId(pub u16);

impl CpuId {
    /// The number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Display for CpuId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What the hardware of one CPU did, in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardwareCounters {
    /// Translations that missed the ERAT.
    pub erat_misses: u64,
    /// Translations that missed the TLB and walked the hash table.
    pub walks: u64,
    /// Groups read by walks.
    pub groups_read: u64,
    /// Global invalidations issued.
    pub tlbie: u64,
    /// Local invalidations issued.
    pub tlbiel: u64,
    /// ptesync executed.
    pub ptesync: u64,
    /// Asynchronous interrupts taken.
    pub interrupts: u64,
    /// Storage interrupts taken.
    pub storage_interrupts: u64,
    /// Verbs executed.
    pub verbs: u64,
}

/// A span of a CPU's clock in which something was off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffSpan {
    /// When it began.
    pub began: Cycles,
    /// The innermost function when it began; none outside every function.
    pub began_in: Option<Frame>,
    /// How long it was.
    pub cycles: Cycles,
}

/// The beginning of such a span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OffSince {
    at: Cycles,
    frame: Option<Frame>,
}

impl OffSince {
    pub fn new(at: Cycles, frame: Option<Frame>) -> Self {
        OffSince { at, frame }
    }

    pub fn until(self, end: Cycles) -> OffSpan {
        OffSpan {
            began: self.at,
            began_in: self.frame,
            cycles: end.saturating_sub(self.at),
        }
    }
}

/// State of one CPU when a run ended.
#[derive(Clone, Copy, Debug)]
pub struct CpuReport {
    /// Its clock.
    pub clock: Cycles,
    /// Where its cycles went; they sum to the clock.
    pub stack: CycleStack,
    /// The same by job and path.
    pub paths: PathStacks,
    /// What its hardware did.
    pub counters: HardwareCounters,
    /// Longest span with external interrupts disabled, idle excluded.
    pub irqs_off_max: Cycles,
}

#[derive(Clone)]
pub(crate) struct Cpu {
    pub id: CpuId,
    pub clock: Cycles,
    /// A verb that begins at or after this point attends to the engine or to an interrupt first.
    pub deadline: Cycles,
    /// A verb that begins before this point may go the quick way: the deadline, or zero.
    pub quick_until: Cycles,
    /// Nobody listens, an access costs the same wherever its line is, and addresses are plainly translated.
    quick: bool,
    pub budget_end: Cycles,
    pub decrementer: Cycles,
    pub ipi_at: Option<Cycles>,
    pub forced_interrupt: bool,
    pub interrupts_enabled: bool,
    pub waiting: bool,
    /// It stopped to change contexts, not because its budget was used up.
    pub switched: bool,
    pub context: ContextId,
    /// The number that guest code gave the context that runs here.
    pub local: u64,
    /// Interrupts that the context which runs here is in the midst of.
    pub depth: u32,
    /// It is explored: it pauses by verbs, not by its clock.
    pub explored: bool,
    /// Verbs after which an explored CPU pauses.
    pub stop_after: u64,
    /// It paused there.
    pub before_a_step: bool,
    pub state: AccessState,
    pub mmu: Mmu,
    pub reservation: Option<(Ra, u64)>,
    /// Its last tlbie is followed by a tlbsync; kept only where invalidations may be late.
    pub tlbsync_done: bool,
    /// Where the cycles of the place it is at begin.
    place_first: usize,
    /// Where its clock would be without the loads and stores since it came to this place: their cycles go to
    /// the account when it leaves, and are most.
    apart: u64,
    account: Account,
    /// Its own caches, unless there is no timing.
    pub caches: Option<OwnCaches>,
    pub counters: HardwareCounters,
    pub irqs_off_since: Option<OffSince>,
    /// A span that guest code began.
    pub off_since: Option<OffSince>,
    pub irqs_off_max: Cycles,
}

impl Cpu {
    pub fn new(id: CpuId, config: &MachineConfig) -> Result<Self, GeometryError> {
        Ok(Cpu {
            id,
            clock: Cycles::ZERO,
            deadline: Cycles::ZERO,
            quick_until: Cycles::ZERO,
            quick: false,
            budget_end: Cycles::ZERO,
            decrementer: Cycles::MAX,
            ipi_at: None,
            forced_interrupt: false,
            interrupts_enabled: false,
            waiting: false,
            switched: false,
            context: ContextId::NONE,
            local: 0,
            depth: 0,
            explored: false,
            stop_after: u64::MAX,
            before_a_step: false,
            state: AccessState::kernel(),
            mmu: Mmu::new(&config.geometry)?,
            reservation: None,
            tlbsync_done: false,
            place_first: Place::default().first(),
            apart: 0,
            account: Account::new(),
            caches: (config.costs.has_caches()).then(|| OwnCaches::new(&config.costs, id.0)),
            counters: HardwareCounters::default(),
            irqs_off_since: None,
            off_since: None,
            irqs_off_max: Cycles::ZERO,
        })
    }

    /// Counts where its cycles go no longer.
    pub fn close_account(&mut self) {
        self.account = Account::none();
    }

    /// True if it does not count where its cycles go.
    pub fn account_is_closed(&self) -> bool {
        self.account.is_none()
    }

    /// Takes over the state of another CPU, in the memory of this one.
    pub fn copy_from(&mut self, other: &Self) {
        // By name, so that none is forgotten.
        let Cpu {
            id,
            clock,
            deadline,
            quick_until,
            quick,
            budget_end,
            decrementer,
            ipi_at,
            forced_interrupt,
            interrupts_enabled,
            waiting,
            switched,
            context,
            local,
            depth,
            explored,
            stop_after,
            before_a_step,
            state,
            reservation,
            tlbsync_done,
            place_first,
            apart,
            counters,
            irqs_off_since,
            off_since,
            irqs_off_max,
            mmu,
            account,
            caches,
        } = other;
        self.mmu.copy_from(mmu);
        self.account.clone_from(account);
        self.caches.clone_from(caches);
        self.id = *id;
        self.clock = *clock;
        self.deadline = *deadline;
        self.quick_until = *quick_until;
        self.quick = *quick;
        self.budget_end = *budget_end;
        self.decrementer = *decrementer;
        self.ipi_at = *ipi_at;
        self.forced_interrupt = *forced_interrupt;
        self.interrupts_enabled = *interrupts_enabled;
        self.waiting = *waiting;
        self.switched = *switched;
        self.context = *context;
        self.local = *local;
        self.depth = *depth;
        self.explored = *explored;
        self.stop_after = *stop_after;
        self.before_a_step = *before_a_step;
        self.state = *state;
        self.reservation = *reservation;
        self.tlbsync_done = *tlbsync_done;
        self.place_first = *place_first;
        self.apart = *apart;
        self.counters = *counters;
        self.irqs_off_since = *irqs_off_since;
        self.off_since = *off_since;
        self.irqs_off_max = *irqs_off_max;
    }

    /// Another CPU sent an interrupt that is due `at` this time.
    pub fn receive_ipi(&mut self, at: Option<u64>) {
        if let Some(at) = at.map(Cycles::new) {
            self.ipi_at = Some(self.ipi_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// When it goes on: its clock, or the next interrupt if it waits for one.
    pub fn ready_at(&self) -> Cycles {
        if self.waiting {
            self.interrupt_due_at().max(self.clock)
        } else {
            self.clock
        }
    }

    #[inline(always)]
    pub fn charge(&mut self, category: Category, cycles: u64) {
        self.clock = Cycles::new(self.clock.get() + cycles);
        if category as usize != Category::LoadStore as usize {
            self.apart += cycles;
            self.account.charge(self.place_first, category, cycles);
        }
    }

    /// Cycles go to this place from now on.
    #[inline]
    pub fn set_place(&mut self, place: Place) {
        let clock = self.clock.get();
        let loads = clock - self.apart;
        self.apart = clock;
        (self.account).charge(self.place_first, Category::LoadStore, loads);
        self.place_first = place.first();
    }

    /// When the next asynchronous interrupt is due, whether or not it is enabled.
    #[inline]
    pub fn interrupt_due_at(&self) -> Cycles {
        if self.forced_interrupt {
            return Cycles::ZERO;
        }
        self.decrementer.min(self.ipi_at.unwrap_or(Cycles::MAX))
    }

    /// Whether the next verb attends to the engine or to an interrupt first.
    #[inline(always)]
    pub fn attends_now(&self) -> bool {
        self.clock >= self.deadline || self.counters.verbs >= self.stop_after
    }

    /// Begins a budget; `observed` says whether anybody listens meanwhile.
    pub fn set_budget(&mut self, budget: Cycles, observed: bool) {
        self.budget_end = self.clock + budget;
        let plain = self.state == AccessState::kernel() && self.mmu.registers.keys.allow_all();
        self.quick = !observed && self.caches.is_none() && plain;
        self.set_deadline();
    }

    #[inline]
    pub fn set_deadline(&mut self) {
        let end = match self.explored {
            true => Cycles::MAX,
            false => self.budget_end,
        };
        self.deadline = if self.interrupts_enabled {
            end.min(self.interrupt_due_at())
        } else {
            end
        };
        // One that pauses by verbs looks at each.
        self.quick_until = if self.quick && self.stop_after == u64::MAX {
            self.deadline
        } else {
            Cycles::ZERO
        };
    }

    /// Sets the EE bit, in `frame`. Gives the span with interrupts disabled that ends here, if one does.
    pub fn set_interrupts(
        &mut self,
        enabled: bool,
        frame: impl FnOnce() -> Option<Frame>,
    ) -> Option<OffSpan> {
        if enabled == self.interrupts_enabled {
            return None;
        }
        self.switch_interrupts(enabled, frame().as_ref(), |_| true)
    }

    /// Sets the EE bit to what it is not, in `frame`. A span with interrupts disabled that ends here is told to
    /// `is_longest`, and given if that is so.
    #[inline(always)]
    pub fn switch_interrupts(
        &mut self,
        enabled: bool,
        frame: Option<&Frame>,
        is_longest: impl FnOnce(Cycles) -> bool,
    ) -> Option<OffSpan> {
        self.interrupts_enabled = enabled;
        self.set_deadline();
        if !enabled {
            self.irqs_off_since = Some(OffSince::new(self.clock, frame.copied()));
            return None;
        }
        let cycles = self.clock.saturating_sub(self.irqs_off_since.as_ref()?.at);
        self.irqs_off_max = self.irqs_off_max.max(cycles);
        let since = match is_longest(cycles) {
            true => self.irqs_off_since,
            false => None,
        };
        self.irqs_off_since = None;
        Some(since?.until(self.clock))
    }

    /// Ends the span with interrupts disabled, if there is one.
    pub fn end_irqs_off(&mut self) -> Option<OffSpan> {
        let span = self.irqs_off_since.take()?.until(self.clock);
        self.irqs_off_max = self.irqs_off_max.max(span.cycles);
        Some(span)
    }

    pub fn idle_until(&mut self, point: Cycles) {
        let wait = point.saturating_sub(self.clock);
        self.charge(Category::Idle, wait.get());
    }

    /// Waits idle. An idle CPU delays nobody: a span with interrupts disabled has ended before, and another
    /// begins after.
    pub fn wait_until(&mut self, point: Cycles) {
        self.idle_until(point);
        self.irqs_off_since = (!self.interrupts_enabled).then_some(OffSince::new(self.clock, None));
    }

    pub fn report(&self) -> CpuReport {
        let mut account = self.account.clone();
        let loads = self.clock.get() - self.apart;
        account.charge(self.place_first, Category::LoadStore, loads);
        let paths = account.stacks();
        CpuReport {
            clock: self.clock,
            stack: paths.sum(),
            paths,
            counters: self.counters,
            irqs_off_max: self.irqs_off_max,
        }
    }
}
