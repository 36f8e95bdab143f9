//! The words of a Corefile, as CoreDNS's own lexer cuts them.

use std::borrow::Cow;
use std::ops::Range;

use super::Refusal;

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// Without quotes and escapes.
    pub(super) text: Cow<'a, str>,
    /// Where it is, quotes included.
    pub(super) span: Range<usize>,
    /// From 1.
    pub(super) line: usize,
    /// Whether it is the first of its line.
    pub(super) is_first: bool,
}

/// All words of `corefile`, without comments. A word ends at white space, a quoted one (`"…"`, in
/// which `\"` is a quote) at its quote; `#` begins a comment, even within a word.
///
/// # Errors
/// If a quote is not closed.
pub(super) fn lex(corefile: &str) -> Result<Vec<Token<'_>>, Refusal> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut last_line = 0;
    let mut position = super::after_byte_order_mark(corefile);
    while let Some(next) = corefile[position..].chars().next() {
        let rest = &corefile[position..];
        let length = if next.is_whitespace() {
            next.len_utf8()
        } else if next == '#' {
            rest.find('\n').unwrap_or(rest.len())
        } else {
            let (text, length) = if next == '"' {
                quoted(rest, line)?
            } else {
                plain(rest)
            };
            let span = position..position + length;
            tokens.push(Token {
                text,
                span,
                line,
                is_first: line != last_line,
            });
            last_line = line;
            length
        };
        line += rest[..length].matches('\n').count();
        position += length;
    }
    Ok(tokens)
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

fn quoted(rest: &str, line: usize) -> Result<(Cow<'_, str>, usize), Refusal> {
    let mut escaped = false;
    for (position, char) in rest.char_indices().skip(1) {
        match char {
            '"' if !escaped => {
                return Ok((rest[1..position].replace("\\\"", "\"").into(), position + 1));
            }
            _ => escaped = char == '\\' && !escaped,
        }
    }
    Err(Refusal::Syntax {
        line,
        problem: "a quote is not closed",
    })
}
