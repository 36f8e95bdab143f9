//! A directive and its words, taken one by one.

use crate::error::{Error, Position, Problem};

/// A word of a directive.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) at: Position,
    /// Whether it is the first of its line.
    pub(crate) is_first: bool,
    /// How many imports brought it here.
    pub(crate) depth: usize,
}

/// A plugin with its arguments and its block.
#[derive(Debug)]
pub(crate) struct Directive {
    pub(crate) line: Line,
    /// The lines of its block.
    pub(crate) options: Vec<Line>,
}

/// A line: a name, and what follows it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: Word,
    pub(crate) arguments: Vec<Word>,
}

/// The arguments of a line, to be taken from the left.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    line: &'a Line,
    left: &'a [Word],
}

// === impl Word ===

impl Word {
    pub(crate) fn error(&self, problem: Problem) -> Error {
        Error {
            at: self.at.clone(),
            problem,
        }
    }

    pub(crate) fn is_not(&self, expected: &'static str) -> Error {
        self.error(Problem::Value {
            found: self.text.clone(),
            expected,
        })
    }

    /// What `parse` makes of it.
    pub(crate) fn value<T>(
        &self,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Error> {
        parse(&self.text).ok_or_else(|| self.is_not(expected))
    }
}

// === impl Directive ===

impl Directive {
    pub(crate) fn new(name: Word) -> Self {
        Self {
            line: Line {
                name,
                arguments: Vec::new(),
            },
            options: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, word: Word, in_block: bool) {
        if !in_block {
            self.line.arguments.push(word);
            return;
        }
        match self.options.last_mut() {
            Some(line) if !word.is_first => line.arguments.push(word),
            Some(_) | None => self.options.push(Line {
                name: word,
                arguments: Vec::new(),
            }),
        }
    }

    /// Refuses a block.
    pub(crate) fn no_options(&self) -> Result<(), Error> {
        match self.options.first() {
            Some(option) => Err(self.unknown(option, &[])),
            None => Ok(()),
        }
    }

    pub(crate) fn unknown(&self, option: &Line, known: &'static [&'static str]) -> Error {
        option.name.error(Problem::UnknownOption {
            plugin: self.line.name.text.clone(),
            name: option.name.text.clone(),
            known,
        })
    }
}

// === impl Line ===

impl Line {
    pub(crate) fn arguments(&self) -> Arguments<'_> {
        Arguments {
            line: self,
            left: &self.arguments,
        }
    }

    /// Refuses arguments.
    pub(crate) fn no_arguments(&self) -> Result<(), Error> {
        self.arguments().end()
    }

    /// The only argument, as `parse` makes it out.
    pub(crate) fn one<T>(
        &self,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Error> {
        let mut arguments = self.arguments();
        let value = arguments.value(expected, parse)?;
        arguments.end()?;
        Ok(value)
    }
}

// === impl Arguments ===

impl<'a> Arguments<'a> {
    pub(crate) fn next(&mut self) -> Option<&'a Word> {
        let (first, left) = self.left.split_first()?;
        self.left = left;
        Some(first)
    }

    /// The next, if `is_meant`.
    pub(crate) fn next_if(&mut self, is_meant: impl FnOnce(&str) -> bool) -> Option<&'a Word> {
        let first = self.left.first().filter(|word| is_meant(&word.text))?;
        self.left = &self.left[1..];
        Some(first)
    }

    pub(crate) fn required(&mut self, expected: &'static str) -> Result<&'a Word, Error> {
        let before = &self.line.arguments[..self.line.arguments.len() - self.left.len()];
        let last = before.last().unwrap_or(&self.line.name);
        self.next().ok_or_else(|| {
            last.error(Problem::Missing {
                after: last.text.clone(),
                expected,
            })
        })
    }

    pub(crate) fn value<T>(
        &mut self,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Error> {
        self.required(expected)?.value(expected, parse)
    }

    /// The next, if there is one.
    pub(crate) fn optional<T>(
        &mut self,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.next()
            .map(|word| word.value(expected, parse))
            .transpose()
    }

    pub(crate) fn rest(&mut self) -> &'a [Word] {
        std::mem::take(&mut self.left)
    }

    /// Refuses what is left.
    pub(crate) fn end(&self) -> Result<(), Error> {
        match self.left.first() {
            Some(word) => Err(word.error(Problem::TooMany(word.text.clone()))),
            None => Ok(()),
        }
    }
}
