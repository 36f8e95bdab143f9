//! From words to blocks of directives: snippets, imports and variables are resolved here.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::arguments::{Directive, Word};
use crate::error::{Error, Position, Problem};
use crate::lexer::{OpenQuote, lex};
use crate::surroundings::Surroundings;

/// Words of all imports together: a few lines of snippets that import each other could otherwise
/// fill the memory. CoreDNS's own largest users have some thousand.
const MAX_WORDS: usize = 200_000;
/// Imports, one in another.
const MAX_DEPTH: usize = 64;

/// A server block.
#[derive(Debug)]
pub(crate) struct Block {
    /// Zones with scheme and port.
    pub(crate) keys: Vec<Word>,
    pub(crate) directives: Vec<Directive>,
}

struct Parser<'a> {
    /// What is still to be read; an import puts its words before it.
    words: VecDeque<Word>,
    /// Of all that was read and imported.
    count: usize,
    snippets: HashMap<String, Snippet>,
    surroundings: &'a dyn Surroundings,
    /// Where the last word was, for what is missing after it.
    last: Position,
}

struct Snippet {
    at: Position,
    words: Vec<Word>,
}

/// The server blocks of `text`, which is called `file` in errors.
pub(crate) fn blocks(
    file: &str,
    text: &str,
    surroundings: &dyn Surroundings,
) -> Result<Vec<Block>, Error> {
    let file: Arc<str> = file.into();
    let mut parser = Parser {
        words: words(&file, text, 0)?.into(),
        count: 0,
        snippets: HashMap::new(),
        surroundings,
        last: Position {
            file,
            line: 1,
            column: 1,
        },
    };
    parser.count = parser.words.len();
    parser.all()
}

fn words(file: &Arc<str>, text: &str, depth: usize) -> Result<Vec<Word>, Error> {
    let position = |line, column| Position {
        file: Arc::clone(file),
        line,
        column,
    };
    let tokens = lex(text).map_err(|quote| Error {
        at: position(quote.line, quote.column),
        problem: Problem::Syntax(OpenQuote::PROBLEM),
    })?;
    let words = tokens.into_iter().map(|token| Word {
        text: token.text.into_owned(),
        at: position(token.line, token.column),
        is_first: token.is_first,
        depth,
    });
    Ok(words.collect())
}

// === impl Parser ===

impl Parser<'_> {
    fn all(&mut self) -> Result<Vec<Block>, Error> {
        let mut blocks = Vec::new();
        while self.peek_resolved()?.is_some() {
            let keys = self.keys()?;
            if let [only] = keys.as_slice()
                && only.text.starts_with('(')
                && only.text.ends_with(')')
            {
                self.snippet(&keys[0])?;
                continue;
            }
            let directives = self.body()?;
            if keys.is_empty() {
                continue;
            }
            blocks.push(Block { keys, directives });
        }
        Ok(blocks)
    }

    fn next(&mut self) -> Option<Word> {
        let word = self.words.pop_front()?;
        self.last = word.at.clone();
        Some(word)
    }

    /// The next word, after imports if it begins one: `import` only counts as the first of a line.
    fn peek_resolved(&mut self) -> Result<Option<&Word>, Error> {
        while self
            .words
            .front()
            .is_some_and(|word| word.is_first && word.text == "import")
        {
            self.import()?;
        }
        Ok(self.words.front())
    }

    /// Keys up to the opening brace or the end of the line. A comma goes on with another key.
    fn keys(&mut self) -> Result<Vec<Word>, Error> {
        let mut keys: Vec<Word> = Vec::new();
        let mut goes_on = true;
        while let Some(word) = self.peek_resolved()? {
            let at = word.at.clone();
            match word.text.as_str() {
                "{" if goes_on && !keys.is_empty() => {
                    return Err(syntax(at, "another zone should follow the comma"));
                }
                "{" if keys.is_empty() => return Err(syntax(at, "a block has no zone")),
                "{" => break,
                "}" => return Err(syntax(at, "a closing brace has no opening one")),
                _ if word.is_first && !goes_on => break,
                _ => {}
            }
            let Some(mut word) = self.next() else { break };
            word.text = self.with_variables(&word.text);
            goes_on = word.text.ends_with(',');
            // `a,b` is one word to the lexer and two zones to people; CoreDNS takes it for one.
            if let Some(key) = word.text.strip_suffix(',') {
                word.text = key.to_owned();
            }
            if !word.text.is_empty() {
                keys.push(word);
            }
        }
        if goes_on && !keys.is_empty() {
            return Err(syntax(
                self.last.clone(),
                "another zone should follow the comma",
            ));
        }
        Ok(keys)
    }

    /// Takes the snippet's words, which are looked at only where they are imported.
    fn snippet(&mut self, key: &Word) -> Result<(), Error> {
        match self.next() {
            Some(word) if word.text == "{" => {}
            Some(_) | None => {
                return Err(syntax(key.at.clone(), "a snippet has no opening brace"));
            }
        }
        let name = key.text[1..key.text.len() - 1].to_owned();
        let mut words: Vec<Word> = Vec::new();
        let mut depth = 1;
        while let Some(word) = self.next() {
            match word.text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                if let Some(first) = words.first_mut() {
                    first.is_first = true;
                }
                return match self.snippets.get(&name) {
                    Some(Snippet { at, .. }) => Err(Error {
                        at: key.at.clone(),
                        problem: Problem::Twice {
                            what: format!("snippet {}", key.text),
                            first: at.clone(),
                        },
                    }),
                    None => {
                        let at = key.at.clone();
                        self.snippets.insert(name, Snippet { at, words });
                        Ok(())
                    }
                };
            }
            words.push(word);
        }
        Err(syntax(key.at.clone(), "a snippet is not closed"))
    }

    /// The directives of a block. Braces may be left out where there is only one block.
    fn body(&mut self) -> Result<Vec<Directive>, Error> {
        let opened = match self.words.front() {
            Some(word) if word.text == "{" => self.next().map(|word| word.at),
            Some(_) | None => None,
        };
        if opened.is_some()
            && let Some(word) = self.words.front_mut()
        {
            word.is_first = true;
        }
        let mut directives = Vec::new();
        while let Some(word) = self.peek_resolved()? {
            if word.text == "}" {
                let at = word.at.clone();
                if opened.is_none() {
                    return Err(syntax(at, "a closing brace has no opening one"));
                }
                self.next();
                return Ok(directives);
            }
            directives.push(self.directive()?);
        }
        match opened {
            Some(at) => Err(syntax(at, "a block is not closed")),
            None => Ok(directives),
        }
    }

    fn directive(&mut self) -> Result<Directive, Error> {
        let Some(mut name) = self.next() else {
            return Err(syntax(self.last.clone(), "a plugin is missing"));
        };
        name.text = self.with_variables(&name.text);
        if name.text == "{" {
            return Err(syntax(name.at, "a brace has no plugin before it"));
        }
        let mut directive = Directive::new(name);
        let mut opened: Option<Position> = None;
        while let Some(word) = self.peek_resolved()? {
            let at = word.at.clone();
            match (word.text.as_str(), &opened) {
                // As CoreDNS has it, the brace may be on the next line.
                ("{", None) => {
                    self.next();
                    opened = Some(at);
                    if let Some(word) = self.words.front_mut() {
                        word.is_first = true;
                    }
                    continue;
                }
                ("{", Some(_)) => return Err(syntax(at, "no option here has a block of its own")),
                ("}", Some(_)) => {
                    self.next();
                    opened = None;
                    if let Some(word) = self.words.front()
                        && !word.is_first
                    {
                        return Err(syntax(
                            word.at.clone(),
                            "nothing may follow a closing brace on its line",
                        ));
                    }
                    break;
                }
                ("}", None) if !word.is_first => {
                    return Err(syntax(
                        at,
                        "the closing brace should be on a line of its own",
                    ));
                }
                (_, None) if word.is_first => break,
                _ => {}
            }
            let Some(mut word) = self.next() else { break };
            word.text = self.with_variables(&word.text);
            directive.push(word, opened.is_some());
        }
        match opened {
            Some(at) => Err(syntax(at, "a block is not closed")),
            None => Ok(directive),
        }
    }

    /// Puts what is imported in the place of the `import`.
    fn import(&mut self) -> Result<(), Error> {
        let Some(import) = self.next() else {
            return Ok(());
        };
        let pattern = match self.words.front() {
            Some(word) if !word.is_first => self.next(),
            Some(_) | None => None,
        };
        let failed = |what: &str, why: String| Error {
            at: import.at.clone(),
            problem: Problem::Import {
                what: what.to_owned(),
                why,
            },
        };
        let Some(pattern) = pattern else {
            return Err(Error {
                at: import.at,
                problem: Problem::Missing {
                    after: "import".to_owned(),
                    expected: "a snippet or a file",
                },
            });
        };
        if let Some(word) = self.words.front()
            && !word.is_first
            && word.text != "}"
        {
            return Err(Error {
                at: word.at.clone(),
                problem: Problem::TooMany(word.text.clone()),
            });
        }
        let depth = import.depth + 1;
        let what = self.with_variables(&pattern.text);
        if depth > MAX_DEPTH {
            return Err(failed(&what, "it imports itself".to_owned()));
        }
        let imported = match self.snippets.get(&what) {
            Some(snippet) => snippet
                .words
                .iter()
                .map(|word| Word {
                    depth,
                    ..word.clone()
                })
                .collect(),
            None => self.imported_files(&what, &import.at.file, depth, &failed)?,
        };
        self.count += imported.len();
        if self.count > MAX_WORDS {
            return Err(failed(&what, "too much is imported".to_owned()));
        }
        for word in imported.into_iter().rev() {
            self.words.push_front(word);
        }
        Ok(())
    }

    fn imported_files(
        &self,
        pattern: &str,
        from: &str,
        depth: usize,
        failed: &impl Fn(&str, String) -> Error,
    ) -> Result<Vec<Word>, Error> {
        if pattern.is_empty() {
            return Err(failed(pattern, "the name is empty".to_owned()));
        }
        if pattern.matches('*').count() > 1 || pattern.contains(['?', '[']) {
            return Err(failed(pattern, "a pattern has one *, no more".to_owned()));
        }
        let files = self.surroundings.files(from, pattern);
        let mut all = Vec::new();
        for file in files.map_err(|why| failed(pattern, why))? {
            all.append(&mut words(&file.path.into(), &file.text, depth)?);
        }
        Ok(all)
    }

    /// `text` with `{%X%}` and `{$X}` replaced by what the variable holds. That is not looked at
    /// again: a value that names itself would never end.
    fn with_variables(&self, text: &str) -> String {
        let mut replaced = text.to_owned();
        for (begin, end) in [("{%", "%}"), ("{$", "}")] {
            let mut from = 0;
            while let Some(start) = replaced[from..].find(begin).map(|start| from + start) {
                let name = start + begin.len();
                let Some(length) = replaced[name..].find(end).filter(|length| *length > 0) else {
                    break;
                };
                let value = self.surroundings.variable(&replaced[name..name + length]);
                let value = value.unwrap_or_default();
                replaced.replace_range(start..name + length + end.len(), &value);
                from = start + value.len();
            }
        }
        replaced
    }
}

fn syntax(at: Position, problem: &'static str) -> Error {
    Error {
        at,
        problem: Problem::Syntax(problem),
    }
}
