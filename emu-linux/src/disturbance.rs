//! Disturbances of the scheduler that stack on any workload: how often the timer interrupts, and how often
//! the running task is moved to another CPU.
//!
//! Owns the push of a running task: a task that is to move is switched out first, and whoever runs next on its
//! CPU puts it on the run queue of the other (as the kernel's stopper thread does, migration_cpu_stop). Which
//! CPU follows from the seed. Refuses failures of allocations (`injection`).

use crate::config::{RunConfig, RunError};
use crate::kernel::Linux;
use crate::memmap::{TIF_NEED_RESCHED, field, pcpu, percpu, task};
use emu_core::{Ctx, Cycles, Run};
use emu_mmu::Ea;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Shortest time between two timer interrupts of a CPU, in cycles: the handler must fit in.
pub(crate) const TIMER_PERIOD_MIN: u64 = 10_000;
/// Longest: some minutes.
pub(crate) const TIMER_PERIOD_MAX: u64 = 1_000_000_000_000;

/// What disturbs a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disturbances {
    /// Time between two timer interrupts of a CPU.
    pub timer_period: Cycles,
    /// A CPU moves the task it runs at each tick of this number.
    pub migrate_every: Option<u64>,
    seed: u64,
}

impl Disturbances {
    /// Those of a configuration; `tick` is the kernel's own period.
    pub fn new(config: &RunConfig, tick: Cycles) -> Self {
        Disturbances {
            timer_period: config.timer_period.map_or(tick, Cycles::new),
            migrate_every: config.migrate_every.filter(|&every| every > 0),
            seed: config.seed,
        }
    }

    /// Refuses what would do nothing or cannot be.
    ///
    /// # Errors
    /// [`RunError::Value`].
    pub fn check(config: &RunConfig, cpus: u16) -> Result<(), RunError> {
        let refuse = |what, value: u64, right: &str| {
            Err(RunError::Value {
                what,
                value: value.to_string(),
                right: right.to_owned(),
            })
        };
        if let Some(period) = config.timer_period
            && !(TIMER_PERIOD_MIN..=TIMER_PERIOD_MAX).contains(&period)
        {
            let right = format!("cycles, from {TIMER_PERIOD_MIN} to {TIMER_PERIOD_MAX}");
            return refuse("--timer-period", period, &right);
        }
        match config.migrate_every {
            Some(0) => refuse("--migrate-every", 0, "timer ticks, 1 or more"),
            Some(every) if cpus < 2 => refuse(
                "--migrate-every",
                every,
                "one CPU has no other to move a task to; give --cpus 2 or more",
            ),
            Some(every) if config.pin => refuse(
                "--migrate-every",
                every,
                "with --pin no task can be moved; give one of the two",
            ),
            _ => Ok(()),
        }
    }
}

impl Linux {
    /// At a tick: asks for the running task to be moved, if it is time and it may move.
    pub(crate) fn disturb_running_task(&self, cx: &mut Ctx<'_>, of: Ea, ticks: u64) -> Run<()> {
        match self.disturbances.migrate_every {
            Some(every) if ticks.is_multiple_of(every) => {}
            _ => return Ok(()),
        }
        let here = u64::from(cx.read_cpu_id("scheduler_tick: this_cpu")?.0);
        let cpus = u64::from(self.cpus);
        let seed = self.disturbances.seed ^ ticks.rotate_left(20) ^ here.rotate_left(52);
        let step = ChaCha8Rng::seed_from_u64(seed).random_range(1..cpus);
        let to = (here + step) % cpus;
        if self.may_run_on(cx, of, to)? {
            let step = "scheduler_tick: move to";
            cx.store_u64(field(of, task::PUSH_TO), to + 1, step)?;
            self.change_flags(cx, of, 0, TIF_NEED_RESCHED)?;
        }
        Ok(())
    }

    /// In schedule(), for a task that could go on here: true if it is to be moved instead. It counts as
    /// waiting in a run queue all the while, so that nobody who wakes it queues it too.
    pub(crate) fn begin_push(&self, cx: &mut Ctx<'_>, rq: Ea, of: Ea) -> Run<bool> {
        if self.disturbances.migrate_every.is_none() {
            return Ok(false);
        }
        let request = field(of, task::PUSH_TO);
        let to = cx.load_u64(request, "schedule: move to")?;
        if to == 0 {
            return Ok(false);
        }
        cx.store_u64(request, 0, "schedule: move to")?;
        if !self.may_run_on(cx, of, to - 1)? {
            return Ok(false);
        }
        cx.store_u64(field(of, task::MOVE_TO), to - 1, "schedule: move to")?;
        cx.store_u64(field(of, task::ON_RQ), 1, "schedule: moving")?;
        cx.store_u64(field(rq, pcpu::RQ_PUSHING), of.get(), "schedule: moving")?;
        Ok(true)
    }

    /// In finish_task_switch, the run queue of this CPU released: the task that was switched out goes to its
    /// new CPU. Interrupts are off.
    pub(crate) fn finish_push(&self, cx: &mut Ctx<'_>, rq: Ea) -> Run<()> {
        if self.disturbances.migrate_every.is_none() {
            return Ok(());
        }
        let pushing = field(rq, pcpu::RQ_PUSHING);
        let of = Ea::new(cx.load_u64(pushing, "finish_task_switch: moving")?);
        if of.get() == 0 {
            return Ok(());
        }
        cx.store_u64(pushing, 0, "finish_task_switch: moving")?;
        let to = cx.load_u64(field(of, task::MOVE_TO), "migration_cpu_stop: to")?;
        let rq = percpu(to as u16);
        let lock = field(rq, pcpu::RQ_LOCK);
        self.raw_lock(cx, lock, "migration_cpu_stop: rq lock")?;
        cx.store_u64(field(of, task::CPU), to, "migration_cpu_stop: set_task_cpu")?;
        self.enqueue(cx, rq, of)?;
        let kick = self.kick_if_idle(cx, rq, to)?;
        self.raw_unlock(cx, lock, "migration_cpu_stop: rq unlock")?;
        match kick {
            Some(to) => cx.send_ipi(to),
            None => Ok(()),
        }
    }

    /// True if a CPU is still idle although a task waits on its run queue: it has just been pushed there, and
    /// an idle CPU that pulled it would undo the push.
    pub(crate) fn takes_a_pushed_task(&self, cx: &mut Ctx<'_>, rq: Ea) -> Run<bool> {
        if self.disturbances.migrate_every.is_none() {
            return Ok(false);
        }
        let running = cx.load_u64(field(rq, pcpu::RQ_CURR), "load_balance: curr")?;
        let idle = cx.load_u64(field(rq, pcpu::RQ_IDLE), "load_balance: idle")?;
        Ok(running == idle)
    }

    /// True if a task may run on that CPU.
    fn may_run_on(&self, cx: &mut Ctx<'_>, of: Ea, cpu: u64) -> Run<bool> {
        let allowed = self.cpus_allowed(cx, of, "is_cpu_allowed")?;
        Ok(allowed & (1 << cpu) != 0)
    }
}
