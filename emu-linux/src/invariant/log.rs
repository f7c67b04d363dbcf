//! What broke, the history that led there and the names of those who did it.

use super::history::{Happened, History};
use crate::report::{ViolationDetail, ViolationReport};
use crate::tracepoint::Moment;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

/// What stands for the name of a task that was never named (as in the kernel's own traces).
pub(super) const COMM_UNKNOWN: &str = "<...>";

/// Name of a task.
#[derive(Clone, Debug)]
pub(super) struct Name {
    comm: Arc<str>,
    pid: u32,
    /// It exits: the name goes when another task follows on its CPU.
    exited: bool,
}

/// What broke, and what is needed to tell it.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub history: History,
    /// No history is kept: only what broke is asked for.
    pub brief: bool,
    pub names: Arc<HashMap<u64, Name>>,
    pub violations: HashMap<&'static str, ViolationReport>,
}

cloned_by_field!(Log {
    history,
    brief,
    names,
    violations,
});

impl Log {
    /// Names a task.
    pub fn name(&mut self, task: u64, comm: &str, pid: u32) {
        let name = Name {
            comm: comm.into(),
            pid,
            exited: false,
        };
        Arc::make_mut(&mut self.names).insert(task, name);
    }

    /// Notes an event.
    pub fn happened(&mut self, at: Moment, what: Happened) {
        if !self.brief {
            self.history.push(at, what);
        }
    }

    /// Counts a violation; the first of its kind is written out.
    pub fn broken(&mut self, kind: &'static str, at: Moment, what: &dyn Display) {
        if let Some(known) = self.violations.get_mut(kind) {
            known.count += 1;
            return;
        }
        let (comm, pid) = match self.names.get(&at.task) {
            Some(name) => (name.comm.to_string(), name.pid),
            None => (COMM_UNKNOWN.to_owned(), at.pid),
        };
        let message = match self.brief {
            true => String::new(),
            false => what.to_string(),
        };
        let first = ViolationDetail {
            message,
            cpu: at.cpu.0,
            cycle: at.now.get(),
            comm,
            pid,
            history: self.history.render(),
        };
        self.violations.insert(
            kind,
            ViolationReport {
                kind: kind.to_owned(),
                count: 1,
                first,
            },
        );
    }

    /// A task exits.
    pub fn exits(&mut self, task: u64) {
        if !self.brief
            && let Some(name) = Arc::make_mut(&mut self.names).get_mut(&task)
        {
            name.exited = true;
        }
    }

    /// A CPU goes on with another task than this.
    pub fn switched_from(&mut self, task: u64) {
        if !self.brief && self.names.get(&task).is_some_and(|name| name.exited) {
            Arc::make_mut(&mut self.names).remove(&task);
        }
    }
}
