//! The words of a Corefile, as CoreDNS's own lexer cuts them.

use std::borrow::Cow;
use std::ops::Range;

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    /// Without quotes and escapes.
    pub(crate) text: Cow<'a, str>,
    /// Where it is, quotes included.
    pub(crate) span: Range<usize>,
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// Whether it is the first of its line.
    pub(crate) is_first: bool,
}

/// A quote is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenQuote {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

// === impl OpenQuote ===

impl OpenQuote {
    pub(crate) const PROBLEM: &'static str = "a quote is not closed";
}

/// All words of `corefile`, without comments. A word ends at white space, a quoted one (`"…"`, in
/// which `\"` is a quote) at its quote; `#` begins a comment, even within a word.
///
/// # Errors
/// If a quote is not closed.
pub(crate) fn lex(corefile: &str) -> Result<Vec<Token<'_>>, OpenQuote> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut column = 1;
    let mut last_line = 0;
    let mut position = after_byte_order_mark(corefile);
    while let Some(next) = corefile[position..].chars().next() {
        let rest = &corefile[position..];
        let mut is_word = false;
        let length = if next.is_whitespace() {
            next.len_utf8()
        } else if next == '#' {
            rest.find('\n').unwrap_or(rest.len())
        } else {
            let (text, length) = if next == '"' {
                quoted(rest).ok_or(OpenQuote { line, column })?
            } else {
                plain(rest)
            };
            let span = position..position + length;
            tokens.push(Token {
                text,
                span,
                line,
                column,
                is_first: line != last_line,
            });
            is_word = true;
            length
        };
        let passed = &rest[..length];
        line += passed.matches('\n').count();
        column = match passed.rfind('\n') {
            Some(newline) => passed[newline + 1..].chars().count() + 1,
            None => column + passed.chars().count(),
        };
        if is_word {
            // A quoted word may end on another line than it began, and what follows is on that one.
            last_line = line;
        }
        position += length;
    }
    Ok(tokens)
}

pub(crate) fn after_byte_order_mark(corefile: &str) -> usize {
    corefile
        .strip_prefix('\u{feff}')
        .map_or(0, |rest| corefile.len() - rest.len())
}

fn plain(rest: &str) -> (Cow<'_, str>, usize) {
    // CoreDNS drops carriage returns, which do not end a word.
    let ends = |char: char| (char.is_whitespace() && char != '\r') || char == '#';
    let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
    if word.contains('\r') {
        (word.replace('\r', "").into(), word.len())
    } else {
        (word.into(), word.len())
    }
}

/// None if the quote is not closed.
fn quoted(rest: &str) -> Option<(Cow<'_, str>, usize)> {
    let mut escaped = false;
    for (position, char) in rest.char_indices().skip(1) {
        match char {
            '"' if !escaped => {
                return Some((rest[1..position].replace("\\\"", "\"").into(), position + 1));
            }
            _ => escaped = char == '\\' && !escaped,
        }
    }
    None
}
