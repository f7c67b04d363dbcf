//! What is known of a piece of guest code: a tree of verbs, an edge for each answer one had.
//!
//! Owns the tree and the guest code, which is called where the tree ends. Refuses to know what a verb does.

use super::context::Level;
use super::perform::{Leave, Under};
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
    /// Where the value that was had first leads; node 0, which nothing leads to, while none was had.
    value: u64,
    then: u32,
    /// Where other answers lead that were had.
    others: SmallVec<[(Answer, u32); 0]>,
    /// The answer that led here, and at which place it was given; the first node has none.
    from: Option<(u32, Answer)>,
}

impl Node {
    fn new(next: Next, from: Option<(u32, Answer)>) -> Self {
        Node {
            is_step: matches!(&next, Next::Asks(verb) if verb.is_step()),
            next,
            value: 0,
            then: 0,
            others: SmallVec::new(),
            from,
        }
    }

    /// Where the value leads, if it was had.
    #[inline(always)]
    fn known(&self, value: u64) -> Option<u32> {
        match self.then {
            0 => None,
            then if self.value == value => Some(then),
            _ => self.known_of_others(Ok(value)),
        }
    }

    #[inline(never)]
    fn known_of_others(&self, answer: Answer) -> Option<u32> {
        let other = self.others.iter().find(|(had, _)| *had == answer);
        other.map(|&(_, next)| next)
    }

    fn learn(&mut self, answer: Answer, leads: u32) {
        match (self.then, answer) {
            (0, Ok(value)) => (self.value, self.then) = (value, leads),
            _ => self.others.push((answer, leads)),
        }
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
            self.nodes.push(Node::new(next, None));
        }
        Ok(())
    }

    /// Goes on from a place as far as is known.
    #[inline]
    pub fn follow(&self, under: &mut Under<'_, '_>, level: &mut Level) -> Stopped {
        let (mut number, mut stage) = (level.node, level.stage);
        let stopped = loop {
            let node = &self.nodes[number as usize];
            let verb = match &node.next {
                Next::Asks(verb) => verb,
                Next::Ends(ending) => break Stopped::Ends(*ending),
            };
            match under.perform(verb, node.is_step, stage) {
                Ok(value) => {
                    stage = Stage::Begin;
                    match node.known(value) {
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
        let at = &self.nodes[node as usize];
        let known = match answer {
            Ok(value) => at.known(value),
            Err(_) => at.known_of_others(answer),
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
        let new = self.nodes.len() as u32;
        self.nodes.push(Node::new(next, Some((node, answer))));
        self.nodes[node as usize].learn(answer, new);
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
