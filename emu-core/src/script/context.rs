//! A context that follows scripts: its own, and on top of it those of the interrupt handlers it is in.
//!
//! Owns how far it has come ([`Place`]), and the scripts of all contexts of a machine ([`Library`]). Refuses to
//! know what a verb does.

use super::course::{Course, Host, Stopped};
use super::perform::{Carried, Leave, Under, Watching};
use super::{Answer, Stage};
use crate::cpu::Cpu;
use crate::exception::{Exception, Interrupt};
use crate::explore::Fresh;
use crate::guest::{ContextEnd, ContextId, Outcome, Resumed, StackPool};
use crate::machine::Machine;
use emu_mmu::Fault;
use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::io;
use std::sync::Arc;

/// Places above which what is known is given up and found out anew: some hundred MB.
const PLACES_MAX: usize = 2_000_000;

/// A piece of guest code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Code {
    Context(ContextId),
    /// The handler of an interrupt of a context with this number.
    Interrupt(Interrupt, u64),
    Storage(Fault, u64),
}

/// What follows the end of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Return {
    Nowhere,
    Interrupt,
    /// Interrupts were enabled before, or not.
    Storage(bool),
}

/// How far a script has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Level {
    course: u32,
    pub node: u32,
    pub stage: Stage,
    then: Return,
}

/// How far a context has come: it stands for every answer that it had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Its own script, and those of the handlers it is in; none if it has not begun.
    levels: SmallVec<[Level; 3]>,
    carried: Carried,
}

/// The scripts of a machine.
pub(crate) struct Library {
    machine: Arc<Machine>,
    courses: Vec<Course>,
    by_code: HashMap<Code, u32>,
    stacks: StackPool,
}

impl Library {
    pub fn new(machine: Arc<Machine>) -> Self {
        Library {
            machine,
            courses: Vec::new(),
            by_code: HashMap::new(),
            stacks: StackPool::default(),
        }
    }

    /// Forgets what is known if it is too much. Nobody may be in the midst of anything.
    pub fn tidy(&mut self) {
        if self.is_full() {
            self.clear();
        }
    }

    /// Too much is known.
    pub fn is_full(&self) -> bool {
        self.courses.iter().map(Course::len).sum::<usize>() > PLACES_MAX
    }

    fn clear(&mut self) {
        let Library {
            machine,
            courses,
            by_code,
            stacks,
        } = self;
        let mut host = Host { machine, stacks };
        courses.iter_mut().for_each(|course| course.stop(&mut host));
        courses.clear();
        by_code.clear();
    }

    /// The script of a piece of code, at its beginning.
    fn begin(&mut self, code: Code, fresh: &Fresh, then: Return) -> io::Result<Level> {
        let course = match self.by_code.get(&code) {
            Some(&course) => course,
            None => {
                let number = self.courses.len() as u32;
                self.courses.push(course_of(&self.machine, code, fresh));
                self.by_code.insert(code, number);
                number
            }
        };
        let mut host = Host {
            machine: &self.machine,
            stacks: &mut self.stacks,
        };
        self.courses[course as usize].begin(&mut host)?;
        Ok(Level {
            course,
            node: 0,
            stage: Stage::Begin,
            then,
        })
    }

    /// The place behind an answer.
    fn answer(&mut self, level: &mut Level, answer: Answer) -> io::Result<()> {
        let mut host = Host {
            machine: &self.machine,
            stacks: &mut self.stacks,
        };
        let course = &mut self.courses[level.course as usize];
        level.node = course.after(level.node, answer, &mut host)?;
        level.stage = Stage::Begin;
        Ok(())
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        self.clear();
    }
}

fn course_of(machine: &Arc<Machine>, code: Code, fresh: &Fresh) -> Course {
    let vectors = machine.vectors.get().cloned();
    let none = Exception::Corrupt("no interrupt vectors installed");
    match code {
        Code::Context(_) => {
            let fresh = fresh.clone();
            Course::new(Box::new(move || fresh()), 0)
        }
        Code::Interrupt(kind, local) => {
            let make = move || -> crate::GuestCode {
                let vectors = vectors.clone();
                Box::new(move |cx| {
                    vectors.ok_or(none)?.interrupt(cx, kind)?;
                    Ok(ContextEnd::Halt)
                })
            };
            Course::new(Box::new(make), local)
        }
        Code::Storage(fault, local) => {
            let make = move || -> crate::GuestCode {
                let vectors = vectors.clone();
                Box::new(move |cx| {
                    vectors.ok_or(none)?.storage(cx, fault)?;
                    Ok(ContextEnd::Halt)
                })
            };
            Course::new(Box::new(make), local)
        }
    }
}

/// A context that follows its script.
pub(crate) struct Script {
    machine: Arc<Machine>,
    library: Arc<Mutex<Library>>,
    id: ContextId,
    fresh: Fresh,
    place: Place,
}

impl Script {
    /// The context `id`, whose guest code `fresh` makes, before its beginning.
    pub fn new(library: Arc<Mutex<Library>>, id: ContextId, fresh: Fresh) -> Self {
        let machine = library.lock().machine.clone();
        Script {
            machine,
            library,
            id,
            fresh,
            place: Place::default(),
        }
    }

    /// Back to before it began.
    pub fn begin_again(&mut self) {
        self.place.levels.clear();
        self.place.carried = Carried::default();
    }

    /// How far it has come.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Puts it where it was.
    pub fn go_to(&mut self, place: &Place) {
        self.place.clone_from(place);
    }

    /// Goes on with a CPU; with somebody watching, until the step that they want it before.
    pub fn resume(
        &mut self,
        mut cpu: Resumed,
        watching: Option<&mut Watching<'_>>,
    ) -> (Resumed, Outcome) {
        let outcome = self.go_on(&mut cpu, watching).unwrap_or_else(|_| {
            let what = Exception::Corrupt("no host stack for guest code");
            Outcome::Ended(Err(what))
        });
        (cpu, outcome)
    }

    fn go_on(&mut self, cpu: &mut Cpu, watching: Option<&mut Watching<'_>>) -> io::Result<Outcome> {
        let Script {
            machine,
            library,
            id,
            fresh,
            place: Place { levels, carried },
        } = self;
        let library = &mut *library.lock();
        cpu.depth = carried.depth;
        if levels.is_empty() {
            levels.push(library.begin(Code::Context(*id), fresh, Return::Nowhere)?);
        } else {
            cpu.local = carried.local;
        }
        let mut under = Under::new(machine, cpu, carried, watching);
        while let Some(level) = levels.last_mut() {
            let course = &mut library.courses[level.course as usize];
            let left = match course.follow(&mut under, level) {
                Stopped::Left(leave) => leave,
                Stopped::Unknown(value) => {
                    library.answer(level, Ok(value))?;
                    continue;
                }
                Stopped::Ends(ending) if level.then == Return::Nowhere => {
                    return Ok(Outcome::Ended(ending));
                }
                Stopped::Ends(ending) => {
                    let then = level.then;
                    levels.pop();
                    match (ending, then, levels.last_mut()) {
                        (Err(exception), _, Some(level)) => {
                            library.answer(level, Err(exception))?
                        }
                        (Ok(_), Return::Storage(enabled), _) => under.return_from_storage(enabled),
                        (Ok(_), _, _) => under.return_from_interrupt(),
                        (Err(_), _, None) => {}
                    }
                    continue;
                }
            };
            match left {
                Leave::End(exception) => library.answer(level, Err(exception))?,
                Leave::Pause(why, stage) => {
                    level.stage = stage;
                    return Ok(Outcome::Paused(why));
                }
                Leave::Interrupt(kind, then) => {
                    level.stage = Stage::Landed(then);
                    let code = Code::Interrupt(kind, under.carried.local);
                    levels.push(library.begin(code, fresh, Return::Interrupt)?);
                }
                Leave::Storage(fault, enabled, number) => {
                    level.stage = Stage::Handled(number);
                    let code = Code::Storage(fault, under.carried.local);
                    levels.push(library.begin(code, fresh, Return::Storage(enabled))?);
                }
            }
        }
        Ok(Outcome::Ended(Err(Exception::Stop)))
    }
}
