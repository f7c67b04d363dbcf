//! Reads a litmus test: its name, what lies in memory, a column for each task, the condition.
//!
//! Owns the syntax, and what may be named where. Every refusal has its place and says what would be right.

mod condition;
mod init;
mod step;
mod value;

use super::LitmusError;
use super::lexer::{At, Token, tokens};
use super::place::{CPUS_MAX, TASKS_MAX};
use super::test::{Claim, Init, Litmus, Location, Task};
use crate::config::nearest;

/// The tokens still to be read, and what was named so far.
struct Parser<'t> {
    text: &'t str,
    tokens: Vec<(At, Token)>,
    next: usize,
    init: Init,
    tasks: Vec<Task>,
    locations: Vec<(Location, String)>,
}

type Read<T> = Result<T, LitmusError>;

impl Litmus {
    /// Reads the text of a test.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and column.
    pub fn parse(text: &str) -> Result<Self, LitmusError> {
        Parser {
            text,
            tokens: tokens(text)?,
            next: 0,
            init: Init::default(),
            tasks: Vec::new(),
            locations: Vec::new(),
        }
        .litmus()
    }
}

impl Parser<'_> {
    fn litmus(mut self) -> Read<Litmus> {
        if !self.take_word("HLIT") {
            return self.refuse("a test begins with `HLIT NAME`");
        }
        let name = self.word("the test's name")?.1;
        self.init()?;
        self.header()?;
        while !self.is_word("exists") && !self.is_word("forbidden") {
            self.row()?;
        }
        let claim = match self.word("`exists` or `forbidden`")?.1.as_str() {
            "exists" => Claim::Exists,
            _ => Claim::Forbidden,
        };
        let begin = self.at();
        let condition = self.condition(0)?;
        if *self.peek() != Token::End {
            return self.refuse("the condition ends the test");
        }
        Ok(Litmus {
            condition_text: self.text_from(begin),
            name,
            init: self.init,
            tasks: self.tasks,
            claim,
            condition,
            locations: self.locations,
        })
    }

    /// `P0 @ 0,1 | P1 @ 1 ;`
    fn header(&mut self) -> Read<()> {
        loop {
            let (at, name) = self.word("a task's name")?;
            if self.tasks.iter().any(|task| task.name == name) {
                return Err(at.error(format!("two tasks named `{name}`")));
            }
            if self.tasks.len() == TASKS_MAX {
                return Err(at.error(format!("a test has at most {TASKS_MAX} tasks")));
            }
            self.sign("@", "`@` and the task's CPU come next: `P0 @ 0`")?;
            let mut cpus = vec![self.cpu()?];
            while self.take_sign(",") {
                let at = self.at();
                let cpu = self.cpu()?;
                if cpus.contains(&cpu) {
                    return Err(at.error(format!("CPU {cpu} is named twice")));
                }
                cpus.push(cpu);
            }
            self.tasks.push(Task {
                name,
                cpus,
                registers: Vec::new(),
                steps: Vec::new(),
            });
            if self.take_sign(";") {
                return Ok(());
            }
            self.sign("|", "`|` and the next task, or `;`")?;
        }
    }

    /// A step of each task, between `|`; a task without one leaves its place empty.
    fn row(&mut self) -> Read<()> {
        let mut task = 0;
        loop {
            if !self.is_sign("|") && !self.is_sign(";") {
                if task >= self.tasks.len() {
                    let tasks = self.tasks.len();
                    return self.refuse(format!("there are {tasks} tasks, this is one more step"));
                }
                let step = self.step(task)?;
                self.tasks[task].steps.push(step);
            }
            if self.take_sign(";") {
                return Ok(());
            }
            self.sign("|", "`|` and the next task's step, or `;`")?;
            task += 1;
        }
    }

    /// A CPU's number.
    fn cpu(&mut self) -> Read<u16> {
        let at = self.at();
        let cpu = self.number("a CPU's number")?;
        match u16::try_from(cpu) {
            Ok(cpu) if cpu < CPUS_MAX => Ok(cpu),
            _ => Err(at.error(format!("CPUs go from 0 to {}", CPUS_MAX - 1))),
        }
    }

    fn page(&mut self) -> Read<usize> {
        let (at, name) = self.word("a page")?;
        let names: Vec<&str> = self.init.pages.iter().map(String::as_str).collect();
        position(at, "page", &name, &names)
    }

    fn frame(&mut self) -> Read<usize> {
        let (at, name) = self.word("a frame")?;
        let names: Vec<&str> = self.init.frames.iter().map(|f| f.0.as_str()).collect();
        position(at, "frame", &name, &names)
    }

    // --- tokens ------------------------------------------------------------------------------------

    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |t| &t.1)
    }

    fn at(&self) -> At {
        let last = self.next.min(self.tokens.len() - 1);
        self.tokens[last].0
    }

    fn refuse<T>(&self, right: impl Into<String>) -> Read<T> {
        let found = match self.peek() {
            Token::Word(word) => format!("`{word}`"),
            Token::Number(number) => format!("`{number}`"),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::End => "the end".to_owned(),
        };
        Err(self.at().error(format!("{found}: {}", right.into())))
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(found) if found == word)
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.next += usize::from(found);
        found
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.next += usize::from(found);
        found
    }

    fn sign(&mut self, sign: &str, right: &str) -> Read<()> {
        match self.take_sign(sign) {
            true => Ok(()),
            false => self.refuse(format!("{right} is right")),
        }
    }

    fn word(&mut self, what: &str) -> Read<(At, String)> {
        let at = self.at();
        let Token::Word(word) = self.peek() else {
            return self.refuse(format!("{what} is right"));
        };
        let word = word.clone();
        self.next += 1;
        Ok((at, word))
    }

    fn number(&mut self, what: &str) -> Read<u64> {
        let Token::Number(number) = *self.peek() else {
            return self.refuse(format!("{what} is right"));
        };
        self.next += 1;
        Ok(number)
    }

    /// The text from a place to the next token, on one line.
    fn text_from(&self, begin: At) -> String {
        let end = self.at();
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(self.text.lines()) {
            let from = if number == begin.line {
                begin.column
            } else {
                1
            };
            let to = if number == end.line {
                end.column
            } else {
                usize::MAX
            };
            if (begin.line..=end.line).contains(&number) {
                let chars = line.chars().skip(from - 1).take(to.saturating_sub(from));
                lines.push(chars.collect::<String>());
            }
        }
        let words = lines.join(" ");
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// The number of a name.
fn position(at: At, what: &str, name: &str, names: &[&str]) -> Read<usize> {
    let found = names.iter().position(|known| *known == name);
    found.ok_or_else(|| {
        let right = match (nearest(name, names.iter().copied()), names.is_empty()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, true) => "there is none yet".to_owned(),
            (None, false) => format!("they are {}", names.join(", ")),
        };
        at.error(format!("no {what} `{name}`: {right}"))
    })
}
