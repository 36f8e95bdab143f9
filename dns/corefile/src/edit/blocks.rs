//! The server blocks of a Corefile.

use std::borrow::Cow;
use std::ops::Range;

use super::Refusal;
use crate::lexer::{Token, after_byte_order_mark, lex};

/// A server block, or a snippet.
#[derive(Debug)]
pub(super) struct Block<'a> {
    /// Zones, or the snippet's name in parentheses.
    pub(super) keys: Vec<Cow<'a, str>>,
    /// Of all depths.
    pub(super) directives: Vec<Directive<'a>>,
    /// Line of the first key, from 1.
    pub(super) line: usize,
    /// From the first key to the closing brace.
    pub(super) span: Range<usize>,
    /// From the word before it: white space and comments.
    pub(super) gap_before: Range<usize>,
    /// Up to the word after it: white space and comments.
    pub(super) gap_after: Range<usize>,
}

/// A line of a block.
#[derive(Debug)]
pub(super) struct Directive<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) arguments: Vec<Cow<'a, str>>,
    pub(super) line: usize,
    /// 1: a plugin of a server block.
    pub(super) depth: usize,
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    position: usize,
    /// Where the text is, without its byte order mark.
    text: Range<usize>,
}

/// The blocks of `corefile`, if all of it is understood: what CoreDNS reads in another way than
/// this must not be edited.
///
/// # Errors
/// If it is not.
pub(super) fn parse(corefile: &str) -> Result<Vec<Block<'_>>, Refusal> {
    let tokens = lex(corefile)?;
    let mut parser = Parser {
        tokens,
        position: 0,
        text: after_byte_order_mark(corefile)..corefile.len(),
    };
    let mut blocks = Vec::new();
    while let Some(token) = parser.peek() {
        if token.is_first && token.text == "import" {
            parser.skip_line();
        } else {
            blocks.push(parser.block()?);
        }
    }
    Ok(blocks)
}

// === impl Parser ===

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.position)
    }

    fn skip_line(&mut self) {
        self.position += 1;
        while self.peek().is_some_and(|token| !token.is_first) {
            self.position += 1;
        }
    }

    fn block(&mut self) -> Result<Block<'a>, Refusal> {
        let first = self.position;
        let start = self.tokens[first].span.start;
        let line = self.tokens[first].line;
        let before = first
            .checked_sub(1)
            .map_or(self.text.start, |last| self.tokens[last].span.end);
        let keys = self.keys()?;
        let (directives, end) = self.body(line)?;
        let after = self.peek().map_or(self.text.end, |token| token.span.start);
        Ok(Block {
            keys,
            directives,
            line,
            span: start..end,
            gap_before: before..start,
            gap_after: end..after,
        })
    }

    /// The keys and the opening brace. A comma at the end of a line goes on with another key.
    fn keys(&mut self) -> Result<Vec<Cow<'a, str>>, Refusal> {
        let mut keys = Vec::new();
        let mut goes_on = true;
        while let Some(Token {
            text,
            line,
            is_first,
            ..
        }) = self.tokens.get(self.position)
        {
            let syntax = |problem| Refusal::Syntax {
                line: *line,
                problem,
            };
            match text.as_ref() {
                "}" => return Err(syntax("a closing brace has no opening one")),
                "{" if keys.is_empty() => return Err(syntax("a block has no key")),
                "{" => {
                    self.position += 1;
                    return Ok(keys);
                }
                _ if *is_first && !goes_on => return Err(syntax("a server block has no braces")),
                _ => {}
            }
            let key = text.strip_suffix(',').map(|key| Cow::Owned(key.to_owned()));
            goes_on = key.is_some();
            keys.push(key.unwrap_or_else(|| text.clone()));
            self.position += 1;
        }
        let line = self.tokens.last().map_or(1, |token| token.line);
        Err(Refusal::Syntax {
            line,
            problem: "a server block has no braces",
        })
    }

    /// What is in the braces, and where the closing one ends.
    fn body(&mut self, opened: usize) -> Result<(Vec<Directive<'a>>, usize), Refusal> {
        let mut directives: Vec<Directive<'a>> = Vec::new();
        let mut depth = 1;
        let mut begins = true;
        while let Some(token) = self.tokens.get(self.position) {
            self.position += 1;
            begins |= token.is_first;
            match token.text.as_ref() {
                "{" => {
                    depth += 1;
                    begins = true;
                }
                "}" => {
                    depth -= 1;
                    begins = true;
                    if depth == 0 {
                        return Ok((directives, token.span.end));
                    }
                }
                _ => {
                    let text = token.text.clone();
                    match directives.last_mut() {
                        Some(directive) if !begins => directive.arguments.push(text),
                        Some(_) | None => directives.push(Directive {
                            name: text,
                            arguments: Vec::new(),
                            line: token.line,
                            depth,
                        }),
                    }
                    begins = false;
                }
            }
        }
        Err(Refusal::Syntax {
            line: opened,
            problem: "a block is not closed",
        })
    }
}
