//! Verbs of guest code that has no CPU: it asks for them, and is answered (`crate::script`).
//!
//! Owns what guest code does between an answer and the next question. Refuses to do a verb.

use super::{Ctx, Link};
use crate::exception::{Exception, Run};
use crate::machine::Machine;
use crate::script::{Beside, ScriptYielder, Verb};
use emu_mmu::Ra;
use std::sync::Arc;

impl<'y> Ctx<'y> {
    /// The context of guest code that asks.
    pub(crate) fn asking(machine: Arc<Machine>, local: u64, yielder: &'y ScriptYielder) -> Self {
        let mut cx = Ctx::linked(machine, None, Link::Script(yielder));
        cx.local = local;
        cx
    }

    /// Guest code asks for its verbs, and has no CPU.
    #[inline(always)]
    pub(super) fn asks(&self) -> bool {
        self.cpu.is_none()
    }

    /// Asks for a verb. The interrupts that come before it are handled elsewhere.
    #[inline(never)]
    pub(super) fn ask(&self, verb: Verb) -> Run<u64> {
        match self.link {
            Link::Script(yielder) => yielder.suspend(verb),
            Link::Engine(_) => Err(Exception::Corrupt("a context without a CPU")),
        }
    }

    /// Asks for what cannot fail.
    pub(super) fn told(&self, verb: Verb) -> u64 {
        self.ask(verb).unwrap_or(0)
    }

    /// Does something that is no step, takes no time and no CPU sees: looks at memory or changes it without a
    /// verb, tells a checker, counts in what is kept `with` the guest. In an exploration it is done again without
    /// the guest code around it, so it depends on nothing but what it is given and what it was made with. Gives
    /// what `effect` gives; 0 when the run is stopped.
    #[inline]
    pub fn beside<T, E>(&self, with: &Arc<T>, effect: E) -> u64
    where
        T: Send + Sync + 'static,
        E: Fn(&T, Beside<'_>) -> u64 + Send + Sync + 'static,
    {
        match &self.cpu {
            Some(cpu) => {
                let at = Beside {
                    machine: &self.machine,
                    cpu: cpu.id,
                    now: cpu.clock,
                    local: self.local,
                };
                effect(with, at)
            }
            None => {
                let with = with.clone();
                self.told(Verb::Beside(Arc::new(move |at| effect(&with, at))))
            }
        }
    }

    /// Looks at a doubleword of guest memory without a verb; 0 outside it.
    #[inline]
    pub fn peek_u64(&self, ra: Ra) -> u64 {
        self.beside(&self.machine, move |machine, _| {
            machine.memory.load_u64(ra).unwrap_or(0)
        })
    }

    /// [`Machine::watch_page`], from guest code.
    pub fn watch_page(&self, ra: Ra, watch: bool) {
        self.beside(&self.machine, move |machine, _| {
            machine.watch_page(ra, watch);
            0
        });
    }
}
