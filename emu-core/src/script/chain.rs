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
    /// The place in the script.
    node: u32,
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
        let mut done_at = 0;
        while chain.links.len() < VERBS_MAX
            && let Some((op, cycles, answer, then)) = next(chain.end)
        {
            done_at += cycles;
            chain.links.push(Link {
                op,
                answer,
                done_at,
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
        let mut done_at = before.last().map_or(0, |link| link.done_at);
        let began = self.cpu.clock.get().wrapping_sub(done_at);
        let ends = began.wrapping_add(links.last().map_or(done_at, |link| link.done_at));
        let mut left = Left {
            node: chain.end,
            answer: None,
        };
        let all = if ends < self.cpu.deadline.get() {
            links
        } else {
            &[]
        };
        let mut verbs = self.cpu.counters.verbs;
        if let Some(link) = links.first().filter(|_| all.is_empty()) {
            left.node = link.node;
        }
        for link in all {
            let answer = match &link.op {
                Op::Quick(quick) if verbs < self.cpu.stop_after => {
                    let now = began.wrapping_add(done_at);
                    self.done_shortly(*quick, now, ends)
                }
                Op::Quick(_) => None,
                Op::Beside(effect) => Some(effect(Beside {
                    machine: self.machine,
                    cpu: self.cpu.id,
                    now: Cycles::new(began.wrapping_add(done_at)),
                    local: self.carried.local,
                })),
            };
            let Some(answer) = answer else {
                left.node = link.node;
                break;
            };
            verbs += u64::from(matches!(link.op, Op::Quick(_)));
            done_at = link.done_at;
            if answer != link.answer {
                (left.node, left.answer) = (link.node, Some(answer));
                break;
            }
        }
        self.cpu.counters.verbs = verbs;
        self.cpu.clock = Cycles::new(began.wrapping_add(done_at));
        left
    }
}
