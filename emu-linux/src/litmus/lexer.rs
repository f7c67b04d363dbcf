//! The words and signs of a litmus test, each with its place.
//!
//! Owns what separates them and what is a comment. Refuses to know what a word means.

use super::LitmusError;

/// One word or sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name: a letter, then letters, digits, `_`, and `-` before a letter.
    Word(String),
    /// A number.
    Number(u64),
    /// A sign.
    Sign(&'static str),
    /// The end of the text.
    End,
}

/// Where it stands, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub line: usize,
    pub column: usize,
}

impl At {
    pub fn error(self, message: impl Into<String>) -> LitmusError {
        LitmusError {
            line: self.line,
            column: self.column,
            message: message.into(),
        }
    }
}

/// Signs, the longer before those they begin with.
const SIGNS: [&str; 17] = [
    "/\\", "\\/", "!=", "{", "}", "(", ")", ";", "|", ",", "=", ":", "+", "-", "@", ".", "?",
];

struct Reader<'t> {
    rest: &'t str,
    at: At,
}

impl Reader<'_> {
    fn skip(&mut self, bytes: usize) {
        let (gone, rest) = self.rest.split_at(bytes);
        for c in gone.chars() {
            match c {
                '\n' => {
                    self.at = At {
                        line: self.at.line + 1,
                        column: 1,
                    }
                }
                _ => self.at.column += 1,
            }
        }
        self.rest = rest;
    }

    /// Passes over blanks and comments, which `(*` and `*)` enclose.
    fn skip_blank(&mut self) -> Result<(), LitmusError> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.skip(blank);
            if !self.rest.starts_with("(*") {
                return Ok(());
            }
            let end = self.rest.find("*)");
            let end = end.ok_or_else(|| self.at.error("this comment has no end: `*)`"))?;
            self.skip(end + 2);
        }
    }

    fn word_bytes(&self) -> usize {
        let mut bytes = 0;
        let mut chars = self.rest.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let next_is_letter = chars.peek().is_some_and(|(_, c)| c.is_ascii_alphabetic());
            if c.is_ascii_alphanumeric() || c == '_' || (c == '-' && next_is_letter) {
                bytes = at + 1;
            } else {
                break;
            }
        }
        bytes
    }

    fn number(&mut self, word: &str) -> Result<Token, LitmusError> {
        let read = match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => word.parse(),
        };
        let right = |_| {
            let right = "a number is decimal or 0x and hexadecimal, below 2^64";
            self.at.error(format!("`{word}`: {right}"))
        };
        Ok(Token::Number(read.map_err(right)?))
    }

    fn next(&mut self) -> Result<(At, Token), LitmusError> {
        self.skip_blank()?;
        let at = self.at;
        let Some(first) = self.rest.chars().next() else {
            return Ok((at, Token::End));
        };
        if first.is_ascii_alphanumeric() {
            let rest = self.rest;
            let word = &rest[..self.word_bytes()];
            let token = match first.is_ascii_digit() {
                true => self.number(word)?,
                false => Token::Word(word.to_owned()),
            };
            self.skip(word.len());
            return Ok((at, token));
        }
        let sign = SIGNS.iter().find(|sign| self.rest.starts_with(**sign));
        let sign = sign.ok_or_else(|| at.error(format!("`{first}` means nothing here")))?;
        self.skip(sign.len());
        Ok((at, Token::Sign(sign)))
    }
}

/// All tokens, the end included.
pub(super) fn tokens(text: &str) -> Result<Vec<(At, Token)>, LitmusError> {
    let at = At { line: 1, column: 1 };
    let mut reader = Reader { rest: text, at };
    let mut all = Vec::new();
    loop {
        let token = reader.next()?;
        let end = token.1 == Token::End;
        all.push(token);
        if end {
            return Ok(all);
        }
    }
}
