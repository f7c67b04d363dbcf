//! What is known of a piece of guest code: a tree of verbs, an edge for each answer one had.
//!
//! Owns the tree and the guest code, which is called where the tree ends. Refuses to know what a verb does.

use super::chain::{Chain, Known, Op};
use super::context::Level;
use super::perform::{Leave, Under};
use super::quick::{Quick, Told};
use super::{Answer, Ending, ScriptYielder, Stage, Verb};
use crate::ctx::Ctx;
use crate::exception::Exception;
use crate::guest::{GuestCode, StackPool};
use crate::machine::Machine;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use smallvec::SmallVec;
use std::io;
use std::sync::Arc;

/// What guest code does at some place.
pub(super) enum Next {
    Asks(Verb),
    Ends(Ending),
}

/// A place where guest code waits for an answer, or has ended.
struct Node {
    next: Next,
    /// An interrupt may land before the verb, or another CPU go on.
    is_step: bool,
    /// Where other answers lead that were had.
    others: SmallVec<[(Answer, u32); 0]>,
    /// The answer that led here, and at which place it was given; the first node has none.
    from: Option<(u32, Answer)>,
}

/// What is looked at of a place each time, apart from the rest of it: more of these fit the host's caches.
struct Way {
    quick: Quick,
    /// Where the value that was had first leads; node 0, which nothing leads to, while none was had.
    value: u64,
    then: u32,
    /// The chain it is in, from 1; 0 if it is in none.
    chain: u32,
    /// Which verb of the chain it is.
    at: u16,
    /// How often it was gone through alone.
    visits: u16,
}

/// Visits of a place before it is looked for a chain.
const VISITS_OF_A_CHAIN: u16 = 4;

impl Node {
    fn new(next: Next, from: Option<(u32, Answer)>) -> Self {
        Node {
            is_step: matches!(&next, Next::Asks(verb) if verb.is_step()),
            next,
            others: SmallVec::new(),
            from,
        }
    }

    #[inline(never)]
    fn known_of_others(&self, answer: Answer) -> Option<u32> {
        let other = self.others.iter().find(|(had, _)| *had == answer);
        other.map(|&(_, next)| next)
    }
}

/// Why a script was not followed on.
pub(super) enum Stopped {
    /// Nobody knows what follows this value.
    Unknown(u64),
    /// The verb gave no answer.
    Left(Leave),
    /// The code has ended.
    Ends(Ending),
}

/// Guest code that runs, on its own stack, and waits for the answer at a node.
struct Running {
    coroutine: Coroutine<Answer, Verb, Ending, DefaultStack>,
    at: u32,
}

/// Makes guest code, the same each time.
pub(super) type Make = Box<dyn Fn() -> GuestCode + Send>;

/// What is known of a piece of guest code.
pub(super) struct Course {
    make: Make,
    /// The context's own number that it begins with.
    local: u64,
    nodes: Vec<Node>,
    /// Of each node.
    ways: Vec<Way>,
    chains: Vec<Chain>,
    running: Option<Running>,
}

// SAFETY: as for `guest::Context`: the course is moved whole, and resumed by whoever has it to itself.
unsafe impl Send for Course {}

/// What guest code needs to run.
pub(super) struct Host<'a> {
    pub machine: &'a Arc<Machine>,
    pub stacks: &'a mut StackPool,
}

impl Course {
    /// Nothing is known yet.
    pub fn new(make: Make, local: u64) -> Self {
        Course {
            make,
            local,
            nodes: Vec::new(),
            ways: Vec::new(),
            chains: Vec::new(),
            running: None,
        }
    }

    /// Places known.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Finds out how it begins, if that is not known: at node 0.
    pub fn begin(&mut self, host: &mut Host<'_>) -> io::Result<()> {
        if self.nodes.is_empty() {
            let next = self.start(host)?;
            self.add(next, None, host.machine);
        }
        Ok(())
    }

    fn add(&mut self, next: Next, from: Option<(u32, Answer)>, machine: &Machine) -> u32 {
        let number = self.nodes.len() as u32;
        let quick = match &next {
            Next::Asks(verb) => Quick::of(verb, machine),
            Next::Ends(_) => Quick::None,
        };
        self.ways.push(Way {
            quick,
            value: 0,
            then: 0,
            chain: 0,
            at: 0,
            visits: 0,
        });
        self.nodes.push(Node::new(next, from));
        number
    }

    /// Where a value leads, if it was had.
    #[inline(always)]
    fn known(&self, node: u32, value: u64) -> Option<u32> {
        let way = &self.ways[node as usize];
        match way.then {
            0 => None,
            then if way.value == value => Some(then),
            _ => self.nodes[node as usize].known_of_others(Ok(value)),
        }
    }

    fn learn(&mut self, node: u32, answer: Answer, leads: u32) {
        let way = &mut self.ways[node as usize];
        match (way.then, answer) {
            (0, Ok(value)) => (way.value, way.then) = (value, leads),
            _ => self.nodes[node as usize].others.push((answer, leads)),
        }
    }

    /// A place that is gone through time and again becomes the first of a chain.
    #[inline(always)]
    fn count_visit(&mut self, node: u32, machine: &Machine) {
        let way = &mut self.ways[node as usize];
        if way.visits < VISITS_OF_A_CHAIN {
            way.visits += 1;
            if way.visits == VISITS_OF_A_CHAIN && way.chain == 0 {
                self.make_chain(node, machine);
            }
        }
    }

    #[inline(never)]
    fn make_chain(&mut self, first: u32, machine: &Machine) {
        let next = |node: u32| {
            let (way, node) = (&self.ways[node as usize], &self.nodes[node as usize]);
            if way.then == 0 || way.chain != 0 {
                return None;
            }
            let Next::Asks(verb) = &node.next else {
                return None;
            };
            let op = match (verb, way.quick) {
                (Verb::Beside(effect), _) => Op::Beside(effect.clone()),
                (_, Quick::None) => return None,
                // One that failed is rare.
                (_, Quick::StoreConditional(..)) if way.value != 1 => return None,
                (_, quick) => Op::Quick(quick),
            };
            Some(Known {
                op,
                cycles: way.quick.cycles(&machine.costs),
                answer: way.value,
                told: Told::of(verb, way.value),
                then: way.then,
            })
        };
        let Some(chain) = Chain::new(first, next) else {
            return;
        };
        let number = self.chains.len() as u32 + 1;
        for (at, node) in chain.nodes().enumerate() {
            let way = &mut self.ways[node as usize];
            (way.chain, way.at) = (number, at as u16);
        }
        self.chains.push(chain);
    }

    /// Goes on from a place as far as is known.
    #[inline]
    pub fn follow(&mut self, under: &mut Under<'_, '_>, level: &mut Level) -> Stopped {
        let (mut number, mut stage) = (level.node, level.stage);
        let (may_be_quick, watched) = (under.may_be_quick(), under.watching.is_some());
        let stopped = loop {
            let may_be_quick = may_be_quick && stage == Stage::Begin;
            let (mut long_way, mut begun) = (!may_be_quick, false);
            let way = &self.ways[number as usize];
            if may_be_quick && way.chain != 0 {
                let chain = &self.chains[way.chain as usize - 1];
                let left = match watched {
                    true => under.follow_chain::<true>(chain, usize::from(way.at)),
                    false => under.follow_chain::<false>(chain, usize::from(way.at)),
                };
                number = left.node;
                if let Some(value) = left.answer {
                    match self.known(number, value) {
                        Some(next) => number = next,
                        None => break Stopped::Unknown(value),
                    }
                    continue;
                }
                if number == chain.end() {
                    continue;
                }
                (long_way, begun) = (left.long_way, left.begun);
            }
            if !long_way
                && !watched
                && let Some(value) = under.quickly(self.ways[number as usize].quick)
            {
                self.count_visit(number, under.machine);
                match self.known(number, value) {
                    Some(next) => number = next,
                    None => break Stopped::Unknown(value),
                }
                continue;
            }
            let node = &self.nodes[number as usize];
            let verb = match &node.next {
                Next::Asks(verb) => verb,
                Next::Ends(ending) => break Stopped::Ends(*ending),
            };
            let quickly = match watched && !long_way {
                true => under.quickly_watched(self.ways[number as usize].quick, verb),
                false => Ok(None),
            };
            let done = match quickly {
                Ok(Some(value)) => Ok(value),
                Ok(None) if begun => under.go_on(verb, Stage::Body(0)),
                Ok(None) => under.perform(verb, node.is_step, stage),
                Err(leave) => Err(leave),
            };
            match done {
                Ok(value) => {
                    stage = Stage::Begin;
                    match self.known(number, value) {
                        Some(next) => number = next,
                        None => break Stopped::Unknown(value),
                    }
                }
                Err(leave) => break Stopped::Left(leave),
            }
        };
        (level.node, level.stage) = (number, stage);
        stopped
    }

    /// Where any answer leads.
    #[inline(never)]
    pub fn after(&mut self, node: u32, answer: Answer, host: &mut Host<'_>) -> io::Result<u32> {
        let known = match answer {
            Ok(value) => self.known(node, value),
            Err(_) => self.nodes[node as usize].known_of_others(answer),
        };
        if let Some(next) = known {
            return Ok(next);
        }
        if self
            .running
            .as_ref()
            .is_none_or(|running| running.at != node)
        {
            self.run_to(node, host)?;
        }
        let next = self.answered(answer, host);
        let new = self.add(next, Some((node, answer)), host.machine);
        self.learn(node, answer, new);
        if let Some(running) = &mut self.running {
            running.at = new;
        }
        Ok(new)
    }

    /// Gives the running guest code an answer.
    fn answered(&mut self, answer: Answer, host: &mut Host<'_>) -> Next {
        let Some(mut running) = self.running.take() else {
            return Next::Ends(Err(Exception::Stop));
        };
        match running.coroutine.resume(answer) {
            CoroutineResult::Yield(verb) => {
                self.running = Some(running);
                Next::Asks(verb)
            }
            CoroutineResult::Return(ending) => {
                host.stacks.put(running.coroutine.into_stack());
                Next::Ends(ending)
            }
        }
    }

    /// Begins the guest code on a stack of its own.
    fn start(&mut self, host: &mut Host<'_>) -> io::Result<Next> {
        self.stop(host);
        let stack = host.stacks.take()?;
        let (machine, local, code) = (host.machine.clone(), self.local, (self.make)());
        let body = move |yielder: &ScriptYielder, _: Answer| {
            code(&mut Ctx::asking(machine, local, yielder))
        };
        let coroutine = Coroutine::with_stack(stack, body);
        self.running = Some(Running { coroutine, at: 0 });
        Ok(self.answered(Ok(0), host))
    }

    /// Runs the guest code anew up to a node, by the answers that led there.
    fn run_to(&mut self, node: u32, host: &mut Host<'_>) -> io::Result<()> {
        let mut answers = Vec::new();
        let mut at = node;
        while let Some((before, answer)) = self.nodes[at as usize].from {
            answers.push(answer);
            at = before;
        }
        self.start(host)?;
        for answer in answers.into_iter().rev() {
            self.answered(answer, host);
        }
        if let Some(running) = &mut self.running {
            running.at = node;
        }
        Ok(())
    }

    /// Ends guest code that waits: it unwinds of itself.
    pub fn stop(&mut self, host: &mut Host<'_>) {
        while self.running.is_some() {
            self.answered(Err(Exception::Stop), host);
        }
    }
}
