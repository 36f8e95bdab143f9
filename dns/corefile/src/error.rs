//! What is wrong with a Corefile, and where.

use std::fmt;
use std::sync::Arc;

/// A place in a Corefile, or in a file that it imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// As it was named to whoever read it.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// A Corefile that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct Error {
    /// Where.
    pub at: Position,
    /// Why.
    pub problem: Problem,
}

/// Why a Corefile cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Braces or quotes do not match, or the like.
    #[error("{0}")]
    Syntax(&'static str),
    /// No such plugin here.
    #[error("plugin {name:?} is not known; known are: {}", known.join(", "))]
    UnknownPlugin {
        /// As it is written.
        name: String,
        /// All that there are.
        known: &'static [&'static str],
    },
    /// The plugin has no such option here.
    #[error("{plugin} has no option {name:?}; known are: {}", known.join(", "))]
    UnknownOption {
        /// Its name.
        plugin: String,
        /// As it is written.
        name: String,
        /// All that there are.
        known: &'static [&'static str],
    },
    /// A value is missing, or of another kind.
    #[error("{found:?} is not {expected}")]
    Value {
        /// What is there.
        found: String,
        /// What would be understood.
        expected: &'static str,
    },
    /// A value is missing.
    #[error("{after} needs {expected}")]
    Missing {
        /// The word that is not followed by it.
        after: String,
        /// What would be understood.
        expected: &'static str,
    },
    /// There is a word more than has a meaning.
    #[error("{0:?} is one word too many")]
    TooMany(String),
    /// What may be there once is there twice.
    #[error("{what} is there already, at {first}")]
    Twice {
        /// What it is.
        what: String,
        /// Where the other one is.
        first: Position,
    },
    /// It cannot be imported.
    #[error("cannot import {what:?}: {why}")]
    Import {
        /// Snippet, file or pattern.
        what: String,
        /// In a few words.
        why: String,
    },
    /// What CoreDNS could do and this resolver does not, with what to do instead.
    #[error("{0}")]
    Unsupported(String),
}

// === impl Error ===

impl Error {
    /// A stable word for this error.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.problem {
            Problem::Syntax(_) => "Syntax",
            Problem::UnknownPlugin { .. } => "UnknownPlugin",
            Problem::UnknownOption { .. } => "UnknownOption",
            Problem::Value { .. } => "Value",
            Problem::Missing { .. } => "Missing",
            Problem::TooMany(_) => "TooMany",
            Problem::Twice { .. } => "Twice",
            Problem::Import { .. } => "Import",
            Problem::Unsupported(_) => "Unsupported",
        }
    }
}

// === impl Position ===

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.file, self.line, self.column)
    }
}
