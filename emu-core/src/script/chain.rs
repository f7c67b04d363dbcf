//! Verbs that followed each other when their answers were those had first, to be performed in one go.
//!
//! Owns what is known of them together: the host looks once at whether an interrupt is due, how many steps are
//! left and what time it is. Stops behind the first that has another answer, and before the first that has no
//! short way now. Who watches is told of each step as by `quick`.

use super::perform::Under;
use super::quick::{Quick, Told};
use super::{Beside, Effect};
use crate::cost::Cycles;

/// Most verbs of a chain.
const VERBS_MAX: usize = 128;
/// Fewer verbs are not worth it.
const VERBS_MIN: usize = 3;

/// What a verb of a chain does.
pub(super) enum Op {
    Quick(Quick),
    Beside(Effect),
}

/// A verb of a chain.
struct Link {
    op: Op,
    /// The answer that goes on in the chain.
    answer: u64,
    /// The next that does more than take time.
    next: u16,
    /// Steps of the chain before it.
    steps: u32,
    /// Cycles of the chain before it.
    begins_at: u64,
    /// The place in the script.
    node: u32,
    /// What somebody who watches is told of it.
    told: Told,
}

impl Link {
    /// It only takes time, on the CPU of the chain.
    fn is_idle(&self) -> bool {
        matches!(self.op, Op::Quick(Quick::Wait(_) | Quick::ReadCpuId))
    }
}

/// A chain.
pub(super) struct Chain {
    links: Vec<Link>,
    /// All its cycles and steps.
    cycles: u64,
    steps: u32,
    /// The first verb that asks for the CPU's number, and the number.
    on_cpu: Option<(usize, u64)>,
    /// The place behind it.
    end: u32,
}

/// Where a chain was left.
pub(super) struct Left {
    pub node: u32,
    /// The verb there was performed, and had this answer, which the chain does not know.
    pub answer: Option<u64>,
    /// The verb there has no short way now.
    pub long_way: bool,
    /// It has begun: who watches was told.
    pub begun: bool,
}

/// A verb to be put into a chain.
pub(super) struct Known {
    pub op: Op,
    pub cycles: u64,
    pub answer: u64,
    pub told: Told,
    /// The place that the answer leads to.
    pub then: u32,
}

impl Chain {
    /// The verbs from a place on, which `next` gives. `None` if they are too few.
    pub fn new(first: u32, mut next: impl FnMut(u32) -> Option<Known>) -> Option<Self> {
        let mut chain = Chain {
            links: Vec::new(),
            cycles: 0,
            steps: 0,
            on_cpu: None,
            end: first,
        };
        while chain.links.len() < VERBS_MAX
            && let Some(known) = next(chain.end)
        {
            let Known {
                op, answer, told, ..
            } = known;
            if matches!(op, Op::Quick(Quick::ReadCpuId)) {
                let (_, cpu) = *chain.on_cpu.get_or_insert((chain.links.len(), answer));
                if cpu != answer {
                    break;
                }
            }
            let is_step = matches!(op, Op::Quick(_));
            chain.links.push(Link {
                op,
                answer,
                next: 0,
                steps: chain.steps,
                begins_at: chain.cycles,
                node: chain.end,
                told,
            });
            chain.cycles += known.cycles;
            chain.steps += u32::from(is_step);
            chain.end = known.then;
        }
        let mut next = chain.links.len() as u16;
        for (at, link) in chain.links.iter_mut().enumerate().rev() {
            link.next = next;
            if !link.is_idle() {
                next = at as u16;
            }
        }
        (chain.links.len() >= VERBS_MIN).then_some(chain)
    }

    /// The place behind it.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// The places in it, in order.
    pub fn nodes(&self) -> impl Iterator<Item = u32> {
        self.links.iter().map(|link| link.node)
    }

    /// Cycles and steps before a verb; behind the last, all.
    fn before(&self, at: usize) -> (u64, u32) {
        let link = self.links.get(at);
        link.map_or((self.cycles, self.steps), |link| {
            (link.begins_at, link.steps)
        })
    }

    /// The first verb that is not to be performed when so many steps are left, from `first` on.
    fn allowed(&self, first: usize, steps_left: u64, cpu: u64) -> usize {
        let links = match self.on_cpu {
            Some((at, known)) if known != cpu => at.max(first),
            _ => self.links.len(),
        };
        let (_, begun) = self.before(first);
        let steps_left = u64::from(begun).saturating_add(steps_left);
        let (_, steps) = self.before(links);
        match u64::from(steps) <= steps_left {
            true => links,
            false => (self.links[..links])
                .partition_point(|link| u64::from(link.steps) < steps_left)
                .max(first),
        }
    }
}

impl Under<'_, '_> {
    /// Performs a chain from its verb `first` on.
    #[inline(never)]
    pub fn follow_chain<const WATCHED: bool>(&mut self, chain: &Chain, first: usize) -> Left {
        let (begins_at, steps) = chain.before(first);
        let began = self.cpu.clock.get().wrapping_sub(begins_at);
        let ends = began.wrapping_add(chain.cycles);
        let attends = ends >= self.cpu.deadline.get() || WATCHED && self.machine.stopping();
        let allowed = match attends {
            true => first,
            false => chain.allowed(first, self.steps_left(), u64::from(self.cpu.id.0)),
        };
        let links = &chain.links[..allowed];
        let (mut at, mut answer, mut long_way) = (first, None, false);
        while let Some(link) = links.get(at) {
            let now = began.wrapping_add(link.begins_at);
            if WATCHED && matches!(link.op, Op::Quick(_)) {
                self.tell_step(now);
            }
            let had = match &link.op {
                Op::Quick(quick) => self.done_shortly(*quick, now, ends),
                Op::Beside(effect) => Some(effect(Beside {
                    machine: self.machine,
                    cpu: self.cpu.id,
                    now: Cycles::new(now),
                    local: self.carried.local,
                })),
            };
            if WATCHED && had.is_some() {
                self.tell(link.told);
            }
            match had {
                Some(value) if value == link.answer && WATCHED => at += 1,
                Some(value) if value == link.answer => at = usize::from(link.next),
                Some(_) => {
                    answer = had;
                    break;
                }
                None => {
                    long_way = true;
                    break;
                }
            }
        }
        // Those that only take time may lie on both sides of the last that is allowed.
        let at = at.min(allowed);
        let node = chain.links.get(at).map_or(chain.end, |link| link.node);
        let (done_at, done) = chain.before(at + usize::from(answer.is_some()));
        if !WATCHED {
            self.cpu.counters.verbs += u64::from(done - steps);
        }
        self.cpu.clock = Cycles::new(began.wrapping_add(done_at));
        Left {
            node,
            answer,
            long_way,
            begun: WATCHED && long_way,
        }
    }

    /// Tells somebody who watches that a step begins.
    #[inline]
    fn tell_step(&mut self, now: u64) {
        let (cpu, Some(watching)) = (&mut *self.cpu, &mut self.watching) else {
            return;
        };
        cpu.counters.verbs += 1;
        cpu.clock = Cycles::new(now);
        let step = watching.steps_less_verbs.wrapping_add(cpu.counters.verbs);
        (watching.watch).step(watching.others.with_running(cpu, step));
    }

    /// Steps before the one that the engine wants the CPU before.
    fn steps_left(&self) -> u64 {
        let verbs = self.cpu.counters.verbs;
        match &self.watching {
            Some(watching) => {
                let begun = watching.steps_less_verbs.wrapping_add(verbs);
                watching.pause_at.saturating_sub(begun.saturating_add(1))
            }
            None => self.cpu.stop_after.saturating_sub(verbs),
        }
    }
}
