//! Verbs that followed each other when their answers were those had first, to be performed in one go.
//!
//! Owns what is known of them together: the host looks once at whether an interrupt is due, how many steps are
//! left and what time it is. Stops behind the first that has another answer, and before the first that has no
//! short way now. Refuses runs that somebody watches.

use super::perform::Under;
use super::quick::Quick;
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
    /// Cycles of the chain when it is done.
    done_at: u64,
    /// Steps of the chain when it is done.
    steps: u32,
    /// The place in the script.
    node: u32,
}

impl Link {
    fn done(&self) -> (u64, u32) {
        (self.done_at, self.steps)
    }
}

/// A chain.
pub(super) struct Chain {
    links: Vec<Link>,
    /// The place behind it.
    end: u32,
}

/// Where a chain was left.
pub(super) struct Left {
    pub node: u32,
    /// The verb there was performed, and had this answer, which the chain does not know.
    pub answer: Option<u64>,
}

impl Chain {
    /// The verbs from a place on, which `next` gives: what each place does, its cycles, the answer it had, and the
    /// place that this leads to. `None` if they are too few.
    pub fn new(
        first: u32,
        mut next: impl FnMut(u32) -> Option<(Op, u64, u64, u32)>,
    ) -> Option<Self> {
        let mut chain = Chain {
            links: Vec::new(),
            end: first,
        };
        let (mut done_at, mut steps) = (0, 0);
        while chain.links.len() < VERBS_MAX
            && let Some((op, cycles, answer, then)) = next(chain.end)
        {
            done_at += cycles;
            steps += u32::from(matches!(op, Op::Quick(_)));
            chain.links.push(Link {
                op,
                answer,
                done_at,
                steps,
                node: chain.end,
            });
            chain.end = then;
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
}

impl Under<'_, '_> {
    /// Performs a chain from its verb `first` on.
    #[inline(never)]
    pub fn follow_chain(&mut self, chain: &Chain, first: usize) -> Left {
        let (before, links) = chain.links.split_at(first.min(chain.links.len()));
        let (mut done_at, mut steps) = before.last().map_or((0, 0), Link::done);
        let (steps_before, began) = (steps, self.cpu.clock.get().wrapping_sub(done_at));
        let mut left = Left {
            node: chain.end,
            answer: None,
        };
        let (ends, steps_all) = links.last().map_or((0, 0), Link::done);
        let ends = began.wrapping_add(ends);
        let steps_left = (self.cpu.stop_after).saturating_sub(self.cpu.counters.verbs);
        let allowed = if ends >= self.cpu.deadline.get() {
            0
        } else if u64::from(steps_all - steps_before) <= steps_left {
            links.len()
        } else {
            links.partition_point(|link| u64::from(link.steps - steps_before) <= steps_left)
        };
        let (allowed, others) = links.split_at(allowed);
        if let Some(link) = others.first() {
            left.node = link.node;
        }
        for link in allowed {
            let answer = match &link.op {
                Op::Quick(quick) => self.done_shortly(*quick, began.wrapping_add(done_at), ends),
                Op::Beside(effect) => Some(effect(Beside {
                    machine: self.machine,
                    cpu: self.cpu.id,
                    now: Cycles::new(began.wrapping_add(done_at)),
                    local: self.carried.local,
                })),
            };
            if answer != Some(link.answer) {
                left.node = link.node;
                left.answer = answer;
                if answer.is_some() {
                    (done_at, steps) = link.done();
                }
                break;
            }
            (done_at, steps) = link.done();
        }
        self.cpu.counters.verbs += u64::from(steps - steps_before);
        self.cpu.clock = Cycles::new(began.wrapping_add(done_at));
        left
    }
}
